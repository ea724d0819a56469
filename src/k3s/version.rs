//! Versions: `v1.34.4+k3s1`, their order, and the redirect by which a channel names one.

use std::fmt;

/// A release of k3s: the Kubernetes in it, and which of k3s's releases of that Kubernetes it is.
///
/// The order is that of the releases. By the rules of semantic versions what follows a `+` does not count, and
/// `semver::Version` compares it as text, where `k3s10` comes before `k3s9`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Release {
    kubernetes: semver::Version,
    revision: u32,
}

impl Release {
    /// Reads `v1.34.4+k3s1`; a build that k3s did not release (`v1.34.4+k3s-1a2b3c4d`) has no place in the order.
    pub fn parse(text: &str) -> Option<Self> {
        let (kubernetes, revision) = text.strip_prefix('v')?.split_once("+k3s")?;
        let release = Self {
            kubernetes: semver::Version::parse(kubernetes).ok()?,
            revision: revision.parse().ok()?,
        };
        (release.to_string() == text).then_some(release)
    }

    /// What `k3s --version` prints: `k3s version v1.34.4+k3s1 (abcdef)`, and a second line.
    ///
    /// Source: k3s@af977adf pkg/cli/cmds/root.go.
    pub fn printed(text: &str) -> Option<Self> {
        Self::parse(text.split_whitespace().nth(2)?)
    }

    /// The Kubernetes in it: versions that differ only in k3s's own number are the same one.
    pub fn kubernetes(&self) -> &semver::Version {
        &self.kubernetes
    }

    /// How many minor versions it is ahead of another one; negative where it is behind.
    pub fn minors_ahead_of(&self, other: &Self) -> i64 {
        let minor = |release: &Self| i64::try_from(release.kubernetes.minor).unwrap_or(i64::MAX);
        minor(self).saturating_sub(minor(other))
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{}+k3s{}", self.kubernetes, self.revision)
    }
}

/// The version that a channel's redirect names: its last part, `+` possibly escaped.
///
/// Source: k3s@af977adf install.sh, `get_release_version`.
pub fn version_of(redirect: &str) -> Option<String> {
    let last = redirect
        .rsplit('/')
        .next()?
        .replace("%2B", "+")
        .replace("%2b", "+");
    let (release, build) = last.strip_prefix('v')?.split_once('+')?;
    semver::Version::parse(&format!("{release}+{build}")).ok()?;
    build.starts_with("k3s").then_some(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_k3s_version_is_one() {
        let found = "https://github.com/k3s-io/k3s/releases/tag/v1.34.4%2Bk3s1";
        assert_eq!(version_of(found).as_deref(), Some("v1.34.4+k3s1"));
        assert_eq!(
            version_of("https://x/v1.34.4+k3s1").as_deref(),
            Some("v1.34.4+k3s1")
        );
        for nonsense in [
            "",
            "https://x/stable",
            "https://x/v1.34.4",
            "https://x/v1.34.4+k3s1;reboot",
        ] {
            assert_eq!(version_of(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn releases_are_ordered_as_k3s_numbers_them() {
        let ordered = [
            "v1.9.9+k3s1",
            "v1.34.4-rc1+k3s1",
            "v1.34.4+k3s1",
            "v1.34.4+k3s2",
            "v1.34.4+k3s9",
            "v1.34.4+k3s10",
            "v1.34.5+k3s1",
            "v1.34.10+k3s1",
            "v1.35.0+k3s1",
        ];
        for pair in ordered.windows(2) {
            let [older, newer] = [pair[0], pair[1]].map(|text| Release::parse(text).unwrap());
            assert!(older < newer, "{older} is not older than {newer}");
        }
        let release = |text| Release::parse(text).unwrap();
        let (old, new) = (release("v1.33.9+k3s1"), release("v1.35.0+k3s1"));
        assert_eq!(
            (new.minors_ahead_of(&old), old.minors_ahead_of(&new)),
            (2, -2)
        );
        assert_eq!(release("v1.34.4+k3s10").to_string(), "v1.34.4+k3s10");
    }

    /// Versions reach commands that a person copies: nothing else than a version passes for one.
    #[test]
    fn what_is_no_release_has_no_place_in_the_order() {
        for nonsense in [
            "",
            "v1",
            "v1.34.4",
            "1.34.4+k3s1",
            "v1.34.4+k3s",
            "v1.34.4+k3s-1a2b3c4d",
            "v1.34.4+k3s1 ",
            "v1.34.4+k3s+1",
            "v1.34.4+k3s01",
            "v1.34.4+k3s1;reboot",
            "v1.34.4+rke2r1",
        ] {
            assert_eq!(Release::parse(nonsense), None, "{nonsense}");
        }
        let printed = Release::printed("k3s version v1.34.4+k3s1 (00000000)\ngo version go1.24\n");
        assert_eq!(printed, Release::parse("v1.34.4+k3s1"));
        assert_eq!(Release::printed("sh: 1: not found"), None);
    }
}
