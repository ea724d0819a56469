//! From kubectl's words to the API's path: asking the API itself costs a tenth of starting kubectl.

use super::{ADDON_API, HELM_API};

/// (kubectl's word, the API group with its version, the plural).
///
/// Source: kubernetes.io/docs/reference/kubernetes-api; for charts see [`HELM_API`], for add-ons [`ADDON_API`].
const KINDS: [(&str, &str, &str); 11] = [
    ("addons", ADDON_API, "addons"),
    ("configmap", "v1", "configmaps"),
    ("deployment", "apps/v1", "deployments"),
    ("events", "v1", "events"),
    ("helmchart", HELM_API, "helmcharts"),
    ("helmchartconfig", HELM_API, "helmchartconfigs"),
    ("job", "batch/v1", "jobs"),
    ("node", "v1", "nodes"),
    ("nodes", "v1", "nodes"),
    ("pods", "v1", "pods"),
    ("secret", "v1", "secrets"),
];

/// The path of `KIND [-A | -n NAMESPACE] [-l SELECTOR | --field-selector SELECTOR] [NAME]`; `None` for anything else, which is kubectl's to answer.
pub(super) fn path(words: &[&str]) -> Option<String> {
    let (kind, rest) = words.split_first()?;
    let (_, group, plural) = KINDS.into_iter().find(|(word, _, _)| word == kind)?;
    let (mut namespace, mut selector, mut name) = (None, None, None);
    let mut everywhere = false;
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        match *word {
            "-n" => namespace = Some(*rest.next()?),
            "-A" => everywhere = true,
            "-l" => selector = Some(("labelSelector", *rest.next()?)),
            "--field-selector" => selector = Some(("fieldSelector", *rest.next()?)),
            flag if flag.starts_with('-') => return None,
            other => name = Some(other),
        }
    }
    // Without a namespace kubectl means one of its own, the API all of them.
    if everywhere && (namespace.is_some() || name.is_some()) {
        return None;
    }
    // Only the oldest group has no name.
    let root = if group.contains('/') { "/apis" } else { "/api" };
    let mut path = format!("{root}/{group}");
    for (before, part) in [("namespaces/", namespace), ("", Some(plural)), ("", name)] {
        if let Some(part) = part {
            path.push('/');
            path.push_str(before);
            path.push_str(&escape(part));
        }
    }
    if let Some((kind, selector)) = selector {
        path.push('?');
        path.push_str(kind);
        path.push('=');
        path.push_str(&escape(selector));
    }
    Some(path)
}

/// The path of a pod's last log lines; `previous`: before its container's last restart.
pub(super) fn log(namespace: &str, pod: &str, lines: u32, previous: bool) -> String {
    let previous = if previous { "&previous=true" } else { "" };
    format!(
        "/api/v1/namespaces/{}/pods/{}/log?tailLines={lines}{previous}",
        escape(namespace),
        escape(pod)
    )
}

/// Percent-encodes what is not plain.
fn escape(part: &str) -> String {
    use std::fmt::Write as _;
    part.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
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
                vec!["pods", "-A", "--field-selector", "status.phase=Pending"],
                Some("/api/v1/pods?fieldSelector=status.phase%3DPending"),
            ),
            (vec!["pods", "-A", "x"], None),
        ];
        for (words, path) in cases {
            assert_eq!(super::path(&words).as_deref(), path, "{words:?}");
        }
    }
}
