//! Where the time of a run went: a table by step, the critical path marked (`--timings`).

use std::collections::HashSet;
use std::fmt::Write as _;
use std::time::Duration;

use crate::escape::escape;
use crate::event::Outcome;
use crate::pipeline::{Ended, critical_path};

/// What took less is not worth a line, unless it is on the critical path.
const LEAST: Duration = Duration::from_millis(100);

/// Seconds of a column.
fn seconds(time: Duration) -> String {
    format!("{:>6.1}", time.as_secs_f64())
}

/// The table; `before` is what the command took before its steps, `total` all of it.
pub fn timings(ended: &[Ended], before: Duration, total: Duration) -> String {
    let path = critical_path(ended);
    let critical: HashSet<_> = path.iter().map(|step| &step.id).collect();
    let mut shown: Vec<&Ended> = ended
        .iter()
        .filter(|step| step.outcome != Outcome::Skipped)
        .filter(|step| step.span.took >= LEAST || critical.contains(&step.id))
        .collect();
    shown.sort_by_key(|step| (step.span.began, step.span.end()));
    let mut text = String::from("   start   took  apply   wait  step (* critical path)\n");
    let _ = writeln!(
        text,
        "* {} {}                before the steps",
        seconds(Duration::ZERO),
        seconds(before)
    );
    for step in &shown {
        let span = &step.span;
        let mark = if critical.contains(&step.id) {
            '*'
        } else {
            ' '
        };
        let _ = writeln!(
            text,
            "{mark} {} {} {} {}  {}",
            seconds(before + span.began),
            seconds(span.took),
            seconds(span.applied),
            seconds(span.waited),
            escape(&step.id.to_string())
        );
    }
    let rest = ended.len() - shown.len();
    if rest > 0 {
        let _ = writeln!(
            text,
            "  {rest} more took less than {:.1} s each",
            LEAST.as_secs_f64()
        );
    }
    let waited: Duration = path.iter().map(|step| step.span.waited).sum();
    let _ = write!(
        text,
        "{:.1} s in all; on the critical path {} steps, {:.1} s of them waiting",
        total.as_secs_f64(),
        path.len(),
        waited.as_secs_f64()
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::Span;
    use crate::step_id::StepName;

    fn step(name: StepName, began: u64, took: u64, after: Option<StepName>) -> Ended {
        Ended {
            id: name.on("x"),
            outcome: Outcome::Changed,
            failure: None,
            span: Span {
                began: Duration::from_secs(began),
                took: Duration::from_secs(took),
                applied: Duration::from_secs(1),
                waited: Duration::from_secs(took - 1),
                after: after.map(|name| name.on("x")),
            },
        }
    }

    #[test]
    fn the_chain_that_made_it_long_is_marked() {
        let ended = [
            step(StepName::VmUp, 0, 5, None),
            step(StepName::Routes, 0, 2, None),
            step(StepName::K3sStarted, 5, 10, Some(StepName::VmUp)),
            step(StepName::Chart, 5, 3, Some(StepName::VmUp)),
        ];
        let text = timings(&ended, Duration::from_secs(2), Duration::from_secs(17));
        insta::assert_snapshot!(text, @r"
           start   took  apply   wait  step (* critical path)
        *    0.0    2.0                before the steps
             2.0    2.0    1.0    1.0  routes/x
        *    2.0    5.0    1.0    4.0  vm-up/x
             7.0    3.0    1.0    2.0  chart/x
        *    7.0   10.0    1.0    9.0  k3s-started/x
        17.0 s in all; on the critical path 2 steps, 13.0 s of them waiting
        ");
    }
}
