//! Hostile input: real samples, mutated by a seeded generator, against everything that reads what we did not write.
//!
//! A target ends with a panic that names the case where one panics, hangs, or would show something raw on a terminal.
//! `SLICER_K3S_FUZZ` is how many cases each target gets; `SLICER_K3S_FUZZ_SEED` begins elsewhere.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::escape::is_raw;

/// Cases a target where nothing is said.
const CASES: u64 = 300;

/// No case may take longer, on however busy a machine.
const LIMIT: Duration = Duration::from_secs(30);

/// Longest input.
const LONGEST: usize = 16 * 1024;

/// What parsers stumble over.
const NASTY: [&str; 38] = [
    "",
    "\0",
    "\n",
    "\r",
    "\t",
    " ",
    "\"",
    "'",
    "\\",
    "[",
    "]",
    "[[",
    "{",
    "}",
    "=",
    ":",
    ",",
    "/",
    "|",
    "#",
    "== ",
    "null",
    "-1",
    "0",
    "1e999",
    "99999999999999999999",
    "255.255.255.255/33",
    "0.0.0.0/0",
    "::1",
    "\u{1b}[2J",
    "\u{9b}31m",
    "\u{202e}",
    "\u{feff}",
    "\u{200b}",
    "\u{1f980}",
    "é",
    "\u{fffd}",
    "==",
];

/// Numbers that look random and are the same for the same seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    /// Below `end`, which counts as 1 where it is 0.
    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.next() % end).unwrap_or(0)
    }

    /// A short range of `bytes`.
    fn range(&mut self, bytes: &[u8]) -> std::ops::Range<usize> {
        let begin = self.below(bytes.len() + 1);
        let end = (begin + self.below(24)).min(bytes.len());
        begin..end
    }
}

/// One input: a sample with a few things wrong with it.
fn mutated(dice: &mut Dice, samples: &[&str]) -> String {
    let mut bytes = samples[dice.below(samples.len())].as_bytes().to_vec();
    for _ in 0..=dice.below(8) {
        let range = dice.range(&bytes);
        let insert = match dice.below(8) {
            0 => Vec::new(),
            1 => bytes[range.clone()].repeat(1 + dice.below(40)),
            2 => vec![u8::try_from(dice.below(256)).unwrap_or(0)],
            3 => {
                let other = samples[dice.below(samples.len())].as_bytes();
                other[dice.range(other)].to_vec()
            }
            4 => {
                bytes.truncate(range.start);
                continue;
            }
            _ => NASTY[dice.below(NASTY.len())].as_bytes().to_vec(),
        };
        bytes.splice(range, insert);
        bytes.truncate(LONGEST);
    }
    // As everything from a machine is: decoded lossily.
    String::from_utf8_lossy(&bytes).into_owned()
}

fn number(variable: &str, otherwise: u64) -> u64 {
    std::env::var(variable)
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(otherwise)
}

/// Whether a terminal may be shown it.
fn is_harmless(shown: &str) -> bool {
    !shown.chars().any(|c| c != '\n' && is_raw(c))
}

/// Gives `case` many inputs like `samples`; what it returns is what a person would be shown of it.
pub(crate) fn fuzz<F>(name: &'static str, samples: &'static [&'static str], case: F)
where
    F: Fn(&str) -> Vec<String> + Send + 'static,
{
    let cases = number("SLICER_K3S_FUZZ", CASES);
    let seed = number("SLICER_K3S_FUZZ_SEED", 1)
        ^ name.bytes().fold(0x9E37_79B9_7F4A_7C15, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        });
    let current = Arc::new(Mutex::new((0_u64, String::new(), Instant::now())));
    let told = Arc::clone(&current);
    let worker = std::thread::spawn(move || {
        let mut dice = Dice(seed | 1);
        for count in 0..cases {
            // The samples themselves come first: a target that reads none of them tests nothing.
            let input = match usize::try_from(count)
                .ok()
                .and_then(|count| samples.get(count))
            {
                Some(sample) => (*sample).to_owned(),
                None => mutated(&mut dice, samples),
            };
            *told.lock().unwrap_or_else(PoisonError::into_inner) =
                (count, input.clone(), Instant::now());
            let shown = catch_unwind(AssertUnwindSafe(|| case(&input)));
            let shown = shown.unwrap_or_else(|_| panic!("{name}: case {count} panics: {input:?}"));
            // Other tests may look for theirs where only a few cases are tried beside them.
            if cases > CASES && count % 256 == 0 {
                crate::secret::forget_all();
            }
            for text in shown {
                assert!(
                    is_harmless(&text),
                    "{name}: case {count} would show {text:?} of {input:?}"
                );
            }
        }
    });
    while !worker.is_finished() {
        std::thread::sleep(Duration::from_millis(5));
        let (count, input, since) = current
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        assert!(
            since.elapsed() < LIMIT,
            "{name}: case {count} hangs: {input:?}"
        );
    }
    if let Err(panic) = worker.join() {
        std::panic::resume_unwind(panic);
    }
}

#[test]
fn fuzz_finds_what_it_is_for() {
    use crate::escape::escape;

    let finds = |case: fn(&str) -> Vec<String>| {
        catch_unwind(|| fuzz("own", &["size = 10\n", "name = \"x\"\n"], case)).is_err()
    };
    assert!(!finds(|text| vec![escape(text)]));
    assert!(finds(|text| vec![text.to_owned()]), "something raw");
    assert!(
        finds(|text| vec![text.as_bytes()[3].to_string()]),
        "an index out of bounds"
    );
}
