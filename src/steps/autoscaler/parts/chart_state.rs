//! How far k3s's Helm controller is with the autoscaler's chart.

use serde_json::Value;

use crate::failure::{Code, Failure, Result};
use crate::kubernetes::{Kubernetes, bounded, condition};
use crate::names::autoscaler::{AUTOSCALER, INSTALL_JOB, NAMESPACE};
use crate::names::kubernetes::{JOB_NAME, TRUE};
use crate::pipeline::Finding;

/// Where the installation stands, and the command that shows more of it.
pub(crate) struct ChartState {
    pub(crate) finding: Finding,
    pub(crate) hint: String,
    /// What no further try changes. An older form of the chart may have left it: it counts where it stays.
    pub(crate) failure: Option<Failure>,
}

/// Where its installation stands; `otherwise` once it is through, and what was to follow is not seen yet.
pub(crate) async fn chart_state(kubernetes: &Kubernetes, otherwise: &str) -> Result<ChartState> {
    let job = format!("{INSTALL_JOB}{AUTOSCALER}");
    let state = |why: String, hint: String| ChartState {
        finding: Finding::Unknown(why),
        hint,
        failure: None,
    };
    let object = kubernetes.get(&["job", "-n", NAMESPACE, &job]).await?;
    let Some(object) = object else {
        let hint = format!("slicer-k3s kubectl describe helmchart -n {NAMESPACE} {AUTOSCALER}");
        return Ok(state("k3s has not made the chart's job yet".into(), hint));
    };
    let log = format!("slicer-k3s kubectl logs -n {NAMESPACE} job/{job}");
    if condition(&object, "Complete") == Some(TRUE) {
        return Ok(state(otherwise.into(), log));
    }
    let (words, hint) = match said(kubernetes, &job).await? {
        Said::Logged(words) => (words, log),
        Said::Stuck(words) => (words, pods_hint()),
    };
    if condition(&object, "Failed") == Some(TRUE) {
        return Err(
            Failure::new(Code::Autoscaler, "the autoscaler's chart was not installed")
                .because(words)
                .hint(hint)
                .permanent(),
        );
    }
    Ok(ChartState {
        failure: not_found(&words),
        ..state(format!("the chart is being installed: {words}"), hint)
    })
}

/// What Helm says of a chart that its repository does not have: the job would try again for ever.
///
/// Source: helm/helm v4 `pkg/downloader/chart_downloader.go`, `ResolveChartVersion` ("chart … not found in … index"), and
/// pkg/repo/v1/index.go ("no chart version found for …", `ErrNoChartName`).
const NOT_FOUND: [&str; 3] = [
    "no chart version found for",
    "no chart name found",
    " not found in ",
];

fn not_found(words: &str) -> Option<Failure> {
    let about_chart = words.contains("chart") && NOT_FOUND.iter().any(|text| words.contains(text));
    about_chart.then(|| {
        Failure::new(
            Code::Autoscaler,
            "the repository does not have the autoscaler's chart in this version",
        )
        .because(words)
        .hint("set `chart-version` (or `chart-repo`) in [autoscaler] of cluster.toml, then slicer-k3s init")
        .permanent()
    })
}

/// The command that shows why pods without a log do not run.
pub(crate) fn pods_hint() -> String {
    format!("slicer-k3s kubectl get events -n {NAMESPACE} --field-selector type=Warning")
}

/// So many of the last lines of a try's log are read: its shell shows few commands after Helm's error.
const LINES: u32 = 40;

/// What the job says.
enum Said {
    /// Why it ended, or the last line of its log.
    Logged(String),
    /// Why its pod has not logged anything.
    Stuck(String),
}

/// What is no one's word in the job's log: each command that its shell runs, after one "+" or more, and the end of the lines
/// that the shell reads before it does so.
///
/// Source: k3s-io/klipper-helm v0.13.3 entry (`set -v`, `set -x`); the same since v0.9.8, and so in v0.11.1, which
/// k3s@af977adf takes (scripts/version.sh).
fn is_word(line: &str) -> bool {
    let traced = line.trim_start_matches('+');
    let traced = traced.len() < line.len() && traced.starts_with(' ');
    !line.is_empty() && !traced && !["fi", "set +v -x"].contains(&line)
}

/// Begins what Helm ends of.
///
/// Source: spf13/cobra command.go (`ErrPrefix`), which Helm leaves as it is.
const ERROR: &str = "Error: ";

/// The reason in a try's log: Helm's error, else the last line that says anything.
fn reason(log: &str) -> Option<&str> {
    let mut lines = log.lines().map(str::trim);
    let error = lines.rfind(|line| line.starts_with(ERROR));
    error.or_else(|| log.lines().map(str::trim).rfind(|line| is_word(line)))
}

/// Whether the try before the one that runs failed. Its log has the reason; that of the new one has nothing yet. The message
/// that klipper-helm leaves for Kubernetes does not say it: that holds its own words alone.
fn tries_again(pod: &Value) -> bool {
    let container = &pod["status"]["containerStatuses"][0];
    let before = &container["lastState"]["terminated"];
    !container["state"]["running"].is_null() && !before.is_null() && before["exitCode"] != 0
}

/// What the newest of the job's pods that says anything does.
async fn said(kubernetes: &Kubernetes, job: &str) -> Result<Said> {
    let selector = format!("{JOB_NAME}={job}");
    let mut pods = kubernetes
        .list(&["pods", "-n", NAMESPACE, "-l", &selector])
        .await?;
    let made = |pod: &Value| {
        pod["metadata"]["creationTimestamp"]
            .as_str()
            .map(str::to_owned)
    };
    pods.sort_by_key(made);
    let mut why = None;
    for pod in pods.iter().rev() {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let log = kubernetes
            .log(NAMESPACE, name, LINES, tries_again(pod))
            .await?;
        if let Some(line) = reason(&log) {
            return Ok(Said::Logged(bounded(line)));
        }
        if why.is_none() {
            why = kubernetes.stuck(NAMESPACE, pod).await?;
        }
    }
    let nothing = match pods.as_slice() {
        [] => "its pod is not made yet",
        _ => "its pod has not logged anything",
    };
    Ok(Said::Stuck(why.unwrap_or_else(|| nothing.to_owned())))
}
