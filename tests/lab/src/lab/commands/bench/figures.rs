//! What was measured, and what follows from it: medians, ratios, a file and a table.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use serde_json::{Map, Number, Value};

use crate::place::Place;

/// What a figure must not exceed.
const TARGETS: [(&str, f64); 14] = [
    ("init_over_floor", 1.10),
    ("init_over_manual", 0.75),
    ("init_three_over_one", 1.2),
    ("rerun_seconds", 2.0),
    ("rerun_changes", 0.0),
    ("status_seconds", 1.5),
    ("init_proven_after_end_seconds", 40.0),
    ("binary_bytes", 15_000_000.0),
    ("startup_milliseconds", 10.0),
    ("peak_rss_mib", 64.0),
    ("add_host_seconds", 20.0),
    ("autoscaler_gap_seconds", 10.0),
    ("add_host_bystanders", 0.0),
    ("enrol_5_over_1", 1.5),
];

/// (figure, samples above, samples below).
const RATIOS: [(&str, &str, &str); 7] = [
    ("init_over_manual", "init_seconds", "manual_seconds"),
    ("init_over_floor", "init_seconds", "floor_seconds"),
    ("init_three_over_one", "init_seconds", "init_one_seconds"),
    // To the end of the command: every server Ready and a voter, which the manual does not wait for.
    (
        "init_end_over_floor_end",
        "init_end_seconds",
        "floor_end_seconds",
    ),
    ("init_end_over_manual", "init_end_seconds", "manual_seconds"),
    (
        "init_three_over_one_end",
        "init_end_seconds",
        "init_one_end_seconds",
    ),
    ("enrol_5_over_1", "enrol_five_seconds", "enrol_one_seconds"),
];

/// (figure, samples, samples that are subtracted).
const DIFFERENCES: [(&str, &str, &str); 1] = [(
    "init_proven_after_end_seconds",
    "init_proven_seconds",
    "init_end_seconds",
)];

/// Every sample by its figure's name.
#[derive(Default)]
pub(super) struct Samples(BTreeMap<String, Vec<f64>>);

impl Samples {
    /// None yet, or those of earlier runs.
    pub(super) fn open(append: bool) -> Result<Self> {
        let path = directory().join("bench-samples.json");
        if !append || !path.is_file() {
            return Ok(Self::default());
        }
        let text = std::fs::read(&path)?;
        let samples = serde_json::from_slice(&text)
            .with_context(|| format!("{} is of another version", path.display()))?;
        Ok(Self(samples))
    }

    /// Notes one.
    pub(super) fn add(&mut self, name: &str, value: f64) {
        crate::say::line(format_args!("    {name} {}", shown(value)));
        self.0.entry(name.to_owned()).or_default().push(value);
    }

    /// Keeps them.
    pub(super) fn save(&self) -> Result<()> {
        std::fs::create_dir_all(directory())?;
        let text = serde_json::to_vec_pretty(&self.0)?;
        Ok(std::fs::write(
            directory().join("bench-samples.json"),
            text,
        )?)
    }

    /// Medians and ratios; what was not measured is not there.
    fn figures(&self) -> BTreeMap<String, f64> {
        let mut figures: BTreeMap<String, f64> = self
            .0
            .iter()
            .filter_map(|(name, samples)| Some((name.clone(), median(samples)?)))
            .collect();
        for (name, above, below) in RATIOS {
            if let (Some(above), Some(below)) = (figures.get(above), figures.get(below)) {
                figures.insert(name.to_owned(), above / below);
            }
        }
        for (name, longer, shorter) in DIFFERENCES {
            if let (Some(longer), Some(shorter)) = (figures.get(longer), figures.get(shorter)) {
                figures.insert(name.to_owned(), longer - shorter);
            }
        }
        figures
    }

    /// Writes the figures, flat; where.
    pub(super) fn write_figures(&self) -> Result<PathBuf> {
        let figures: Map<String, Value> = self
            .figures()
            .into_iter()
            .filter_map(|(name, value)| {
                let rounded = (value * 1000.0).round() / 1000.0;
                Some((name, Value::Number(Number::from_f64(rounded)?)))
            })
            .collect();
        std::fs::create_dir_all(directory())?;
        let path = directory().join("bench.json");
        std::fs::write(&path, serde_json::to_vec_pretty(&figures)?)?;
        Ok(path)
    }

    /// For people.
    pub(super) fn table(&self) -> String {
        let mut text = format!(
            "{:<26}{:>12}{:>10}  {:<8}samples\n",
            "figure", "median", "at most", ""
        );
        for (name, value) in self.figures() {
            let target = TARGETS.iter().find(|(target, _)| *target == name);
            let (most, verdict) = match target {
                Some((_, most)) if value <= *most => (shown(*most), "yes"),
                Some((_, most)) => (shown(*most), "no"),
                None => (String::new(), ""),
            };
            let samples: Vec<String> = self
                .0
                .get(&name)
                .into_iter()
                .flatten()
                .map(|value| shown(*value))
                .collect();
            let line = format!(
                "{name:<26}{:>12}{most:>10}  {verdict:<8}{}",
                shown(value),
                samples.join(" ")
            );
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
    }
}

fn directory() -> PathBuf {
    Place::workspace().join("target/lab")
}

/// Whole numbers as such, others as precisely as they are worth.
fn shown(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

fn median(samples: &[f64]) -> Option<f64> {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = *sorted.get(middle)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    Some(f64::midpoint(*sorted.get(middle - 1)?, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ratios_follow_from_the_samples() {
        let mut samples = Samples::default();
        for value in [60.0, 90.0, 50.0] {
            samples.add("init_seconds", value);
        }
        samples.add("manual_seconds", 100.0);
        samples.add("manual_seconds", 140.0);
        let figures = samples.figures();
        assert!((figures["init_seconds"] - 60.0).abs() < 1e-9);
        assert!((figures["init_over_manual"] - 0.5).abs() < 1e-9);
        // What was not measured is not claimed.
        assert!(!figures.contains_key("init_over_floor"));
        assert!(samples.table().contains("init_over_manual"));
    }
}
