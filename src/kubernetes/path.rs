//! From kubectl's words to the API's path: asking the API itself costs a tenth of starting kubectl.

use crate::names::kubernetes::{ADDON_API, HELM_API};
use crate::url::encode;

/// (kubectl's word, the API group with its version, the plural, whether each object is in a namespace).
///
/// Source: kubernetes.io/docs/reference/kubernetes-api; for charts see [`HELM_API`], for add-ons [`ADDON_API`].
const KINDS: [(&str, &str, &str, bool); 13] = [
    ("addons", ADDON_API, "addons", true),
    ("configmap", "v1", "configmaps", true),
    ("deployment", "apps/v1", "deployments", true),
    ("events", "v1", "events", true),
    ("helmchart", HELM_API, "helmcharts", true),
    ("helmchartconfig", HELM_API, "helmchartconfigs", true),
    ("job", "batch/v1", "jobs", true),
    ("namespace", "v1", "namespaces", false),
    ("node", "v1", "nodes", false),
    ("nodes", "v1", "nodes", false),
    ("persistentvolume", "v1", "persistentvolumes", false),
    ("pods", "v1", "pods", true),
    ("secret", "v1", "secrets", true),
];

/// The path of `KIND [-A | -n NAMESPACE] [-l SELECTOR] [--field-selector SELECTOR] [NAME]`; `None` for anything else. What is
/// in namespaces has to say in which, or `-A`: without either kubectl would mean one of its own, and the API all of them.
pub(super) fn path(words: &[&str]) -> Option<String> {
    let (kind, rest) = words.split_first()?;
    let (_, group, plural, namespaced) = KINDS.into_iter().find(|(word, ..)| word == kind)?;
    let (mut namespace, mut name) = (None, None);
    let mut selectors = Vec::new();
    let mut everywhere = false;
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        match *word {
            "-n" => namespace = Some(*rest.next()?),
            "-A" => everywhere = true,
            "-l" => selectors.push(("labelSelector", *rest.next()?)),
            "--field-selector" => selectors.push(("fieldSelector", *rest.next()?)),
            flag if flag.starts_with('-') => return None,
            other => name = Some(other),
        }
    }
    if namespaced != (everywhere || namespace.is_some())
        || everywhere && (namespace.is_some() || name.is_some())
    {
        return None;
    }
    // Only the oldest group has no name.
    let root = if group.contains('/') { "/apis" } else { "/api" };
    let mut path = format!("{root}/{group}");
    for (before, part) in [("namespaces/", namespace), ("", Some(plural)), ("", name)] {
        if let Some(part) = part {
            path.push('/');
            path.push_str(before);
            path.push_str(&encode(part));
        }
    }
    Some(with(path, selectors))
}

/// A path with more in its query.
pub(super) fn with<'q>(
    mut path: String,
    query: impl IntoIterator<Item = (&'static str, &'q str)>,
) -> String {
    for (key, value) in query {
        path.push(if path.contains('?') { '&' } else { '?' });
        path.push_str(key);
        path.push('=');
        path.push_str(&encode(value));
    }
    path
}

/// The path of a pod's last log lines; `previous`: before its container's last restart.
pub(super) fn log(namespace: &str, pod: &str, lines: u32, previous: bool) -> String {
    let previous = if previous { "&previous=true" } else { "" };
    format!(
        "/api/v1/namespaces/{}/pods/{}/log?tailLines={lines}{previous}",
        encode(namespace),
        encode(pod)
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn kubectls_words_become_the_apis_paths() {
        let cases = [
            (vec!["node", "k3s-cp-1"], Some("/api/v1/nodes/k3s-cp-1")),
            (
                vec!["deployment", "-n", "kube-system", "x"],
                Some("/apis/apps/v1/namespaces/kube-system/deployments/x"),
            ),
            (
                vec!["pods", "-n", "default", "-l", "a.b/c=d,e=f"],
                Some("/api/v1/namespaces/default/pods?labelSelector=a.b%2Fc%3Dd%2Ce%3Df"),
            ),
            (vec!["--raw=/readyz"], None),
            (
                vec!["nodes", "-l", "a=b", "--field-selector", "c=d"],
                Some("/api/v1/nodes?labelSelector=a%3Db&fieldSelector=c%3Dd"),
            ),
            (
                vec!["pods", "-A", "--field-selector", "status.phase=Pending"],
                Some("/api/v1/pods?fieldSelector=status.phase%3DPending"),
            ),
            (vec!["pods", "-A", "x"], None),
            // kubectl's own namespace by kubectl, and every one by the API: a drain that saw `default` alone was over too soon.
            (vec!["pods"], None),
            (vec!["pods", "x"], None),
            (vec!["pods", "-A", "-n", "x"], None),
            (vec!["nodes", "-A"], None),
        ];
        for (words, path) in cases {
            assert_eq!(super::path(&words).as_deref(), path, "{words:?}");
        }
    }
}
