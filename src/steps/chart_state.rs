//! How far k3s's Helm controller is with the autoscaler's chart.

use crate::failure::{Code, Failure, Result};
use crate::generate::{AUTOSCALER, NAMESPACE};
use crate::kubernetes::{Kubernetes, condition};
use crate::pipeline::Finding;

/// Where its installation stands; `otherwise` once it is through, and what was to follow is not seen yet.
pub(super) async fn chart_state(kubernetes: &Kubernetes, otherwise: &str) -> Result<Finding> {
    let job = format!("helm-install-{AUTOSCALER}");
    let object = kubernetes.get(&["job", "-n", NAMESPACE, &job]).await?;
    let Some(object) = object else {
        return Ok(Finding::Unknown(
            "k3s has not made the chart's job yet".into(),
        ));
    };
    if condition(&object, "Complete") == Some("True") {
        return Ok(Finding::Unknown(otherwise.into()));
    }
    let log = kubernetes
        .logs(NAMESPACE, &format!("job-name={job}"), 20)
        .await?;
    let words = log.lines().map(str::trim).rfind(|line| !line.is_empty());
    let words = words
        .unwrap_or("its pod has not logged anything")
        .to_owned();
    if condition(&object, "Failed") == Some("True") {
        return Err(
            Failure::new(Code::Autoscaler, "the autoscaler's chart was not installed")
                .because(words)
                .hint(format!("slicer-k3s kubectl logs -n {NAMESPACE} job/{job}"))
                .lasting(),
        );
    }
    Ok(Finding::Unknown(format!(
        "the chart is being installed: {words}"
    )))
}
