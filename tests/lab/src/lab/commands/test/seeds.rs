//! Random moments that can be had again: every round of a check that kills prints the seed that its moment comes from.

use anyhow::{Context as _, Result};

use crate::cli::Test;

/// How many rounds a check runs, and with which seeds.
pub(crate) struct Seeds {
    /// `None`: as many as the check has by itself.
    rounds: Option<u64>,
    first: u64,
}

/// One round's source of chance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seed(u64);

impl Seeds {
    /// As the command line says, else the check's own number of rounds from a seed that the kernel gives.
    pub(super) fn of(options: &Test) -> Result<Self> {
        Ok(Self {
            rounds: options.seeds,
            first: options.seed.map_or_else(random, Ok)?,
        })
    }

    /// A seed for each round, of which there are `usual` unless somebody wants another number.
    pub(super) fn rounds(&self, usual: u64) -> impl Iterator<Item = Seed> {
        let first = self.first;
        (0..self.rounds.unwrap_or(usual)).map(move |round| Seed(first.wrapping_add(round)))
    }
}

impl Seed {
    /// For a choice between two: neighbouring rounds differ.
    pub(super) fn is_odd(self) -> bool {
        self.0 % 2 == 1
    }

    /// Between 0 and 1; neighbouring seeds have nothing in common (the finalizer of `SplitMix64`).
    pub(super) fn fraction(self) -> f64 {
        let mut word = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^= word >> 31;
        // 32 bits are more than a moment needs, and exact as a float.
        let high = u32::try_from(word >> 32).unwrap_or(u32::MAX);
        f64::from(high) / f64::from(u32::MAX)
    }
}

/// How to repeat the round.
impl std::fmt::Display for Seed {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "--seed {} --seeds 1", self.0)
    }
}

/// Small enough to be typed.
fn random() -> Result<u64> {
    let uuid = std::fs::read_to_string("/proc/sys/kernel/random/uuid")?;
    let word = uuid.get(..7).unwrap_or_default();
    u64::from_str_radix(word, 16)
        .with_context(|| format!("the kernel's random uuid is none: {uuid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seeds(rounds: Option<u64>, first: u64) -> Seeds {
        Seeds { rounds, first }
    }

    /// A round is repeated by its own seed alone.
    #[test]
    fn a_round_can_be_had_again() {
        let all: Vec<f64> = seeds(None, 40).rounds(4).map(Seed::fraction).collect();
        let again: Vec<f64> = seeds(Some(1), 42).rounds(4).map(Seed::fraction).collect();
        assert_eq!(all.len(), 4);
        assert_eq!(again.len(), 1);
        assert!((all[2] - again[0]).abs() < f64::EPSILON);
        assert_eq!(
            seeds(None, 42).rounds(1).next().unwrap().to_string(),
            "--seed 42 --seeds 1"
        );
    }

    /// Neighbouring seeds must not mean neighbouring moments.
    #[test]
    fn moments_are_spread() {
        let mut all: Vec<f64> = seeds(Some(100), 0).rounds(1).map(Seed::fraction).collect();
        all.sort_by(f64::total_cmp);
        assert!((0.0..0.1).contains(&all[0]) && (0.9..=1.0).contains(&all[99]));
        assert!(all.windows(2).all(|pair| pair[1] - pair[0] < 0.1));
        assert!(random().unwrap() <= 0xfff_ffff);
    }
}
