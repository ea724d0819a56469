//! What can be told of the product's file alone: its size, and how long it takes to start.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Result, bail};

use super::Work;
use super::figures::Samples;

/// Starts of which the quickest counts: the others waited for somebody else's work.
const STARTS: u32 = 30;

/// Measures it.
pub(super) fn measure(work: &Work, _: &str, samples: &mut Samples) -> Result<()> {
    #[expect(clippy::cast_precision_loss, reason = "no program has 2^52 bytes")]
    samples.add(
        "binary_bytes",
        std::fs::metadata(&work.program)?.len() as f64,
    );
    let mut best = f64::INFINITY;
    for _ in 0..STARTS {
        let begin = Instant::now();
        let status = Command::new(&work.program)
            .arg("--version")
            .stdout(Stdio::null())
            .status()?;
        if !status.success() {
            bail!("--version failed: {status}");
        }
        best = best.min(begin.elapsed().as_secs_f64() * 1000.0);
    }
    samples.add("startup_milliseconds", best);
    Ok(())
}
