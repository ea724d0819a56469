//! Versions: `v1.34.4+k3s1`, and the redirect by which a channel names one.

/// The version that a channel's redirect names: its last part, `+` possibly escaped.
///
/// Source: k3s's install script resolves channels the same way.
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
}
