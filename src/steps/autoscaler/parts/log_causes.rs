//! What the autoscaler's log tells of it.

/// (text in its log, cause): what ends it at start.
///
/// Source: kubernetes/autoscaler fork of Slicer @093de0a5, `cloudprovider/slicer/slicer_cloud_provider.go` and
/// `slicer_config.go`; what follows "from" is the group's address. The last one is Go's own: `core/static_autoscaler.go`
/// takes the first group without a look at how many there are (`RunOnce`).
const KNOWN_CRASHES: [(&str, &str); 7] = [
    ("No config file provided", "it was given no cloud-config"),
    (
        "Could not open cloud provider configuration file",
        "its cloud-config is not mounted",
    ),
    ("Failed to parse config", "it cannot read its cloud-config"),
    (
        "Failed to create HTTP client with CA bundle",
        "its CA bundle is unreadable",
    ),
    (
        "Failed to fetch node groups from ",
        "a group's Slicer API does not answer it, or refuses its token",
    ),
    (
        "Failed to find slicer host group",
        "a daemon does not have the group of that name",
    ),
    ("index out of range", "its cloud-config holds no group"),
];

/// The death that a log tells of, with its line.
pub(crate) fn death(log: &str) -> Option<(&'static str, &str)> {
    log.lines().rev().find_map(|line| {
        let (_, cause) = KNOWN_CRASHES.iter().find(|(text, _)| line.contains(text))?;
        Some((*cause, line.trim()))
    })
}

/// What it says once the provider is built: the first right after that, the second one scan interval later.
///
/// Source: kubernetes/autoscaler@093de0a5 cluster-autoscaler/main.go, `registerSignalHandlers`, which follows `buildAutoscaler`;
/// cluster-autoscaler/core/static_autoscaler.go, `RunOnce` (at `--v=4`, which the chart's values set).
const BUILT: [&str; 2] = ["Registered cleanup signal handler", "Starting main loop"];

/// Whether its log tells that the provider is built, which takes an answer from every group.
pub(crate) fn has_read(log: &str) -> bool {
    BUILT.iter().any(|line| log.contains(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_last_words_are_understood() {
        // As the provider prints it.
        let log = "I0101 ok\nF1129 21:03:30.868710 1 slicer_cloud_provider.go:85] Failed to fetch node groups from \
             http://192.168.139.1:8082, error: Get \"http://192.168.139.1:8082/hostgroup\": EOF\n";
        let (cause, line) = death(log).unwrap();
        assert!(cause.contains("does not answer") && line.contains("192.168.139.1:8082"));
        assert_eq!(death("I0101 5 unregistered nodes present\n"), None);
    }
}
