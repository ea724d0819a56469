//! The names answered for, and the address each one has.

use std::net::Ipv4Addr;

/// What a name serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Site {
    /// The k3s install script.
    K3sInstaller,
    /// The k3s release channels.
    K3sChannels,
    /// Release pages, which redirect downloads to [`Site::ReleaseAssets`].
    Releases,
    /// The store that release downloads are redirected to.
    ReleaseAssets,
    /// The Slicer installer.
    SlicerInstaller,
    /// The autoscaler's chart repository.
    Charts,
    /// An image registry that holds images under this prefix.
    Registry(Registry),
    /// Tokens for anonymous pulls from Docker's registry.
    HubTokens,
}

/// One registry: the prefix of its image names, and where it sends clients for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Registry {
    /// What image names begin with.
    pub(crate) prefix: &'static str,
    /// The `WWW-Authenticate` realm and service; `None` serves everybody.
    pub(crate) realm: Option<(&'static str, &'static str)>,
}

/// A name and what it serves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name {
    /// The host name.
    pub(crate) host: &'static str,
    /// What it serves.
    pub(crate) site: Site,
    /// The name whose faults also strike this one: a user breaks `github.com`, not its store.
    pub(crate) shares_faults_with: Option<&'static str>,
}

const HUB: Site = Site::Registry(Registry {
    prefix: "docker.io",
    realm: Some(("https://auth.docker.io/token", "registry.docker.io")),
});

/// All names, in the order of their addresses.
pub(crate) const NAMES: &[Name] = &[
    name("get.k3s.io", Site::K3sInstaller),
    name("update.k3s.io", Site::K3sChannels),
    name("github.com", Site::Releases),
    name("get.slicervm.com", Site::SlicerInstaller),
    name("kubernetes.github.io", Site::Charts),
    name("registry-1.docker.io", HUB),
    Name {
        shares_faults_with: Some("registry-1.docker.io"),
        ..name("docker.io", HUB)
    },
    name(
        "ghcr.io",
        Site::Registry(Registry {
            prefix: "ghcr.io",
            realm: Some(("https://ghcr.io/token", "ghcr.io")),
        }),
    ),
    name(
        "registry.k8s.io",
        Site::Registry(Registry {
            prefix: "registry.k8s.io",
            realm: None,
        }),
    ),
    Name {
        shares_faults_with: Some("registry-1.docker.io"),
        ..name("auth.docker.io", Site::HubTokens)
    },
    Name {
        shares_faults_with: Some("github.com"),
        ..name("release-assets.githubusercontent.com", Site::ReleaseAssets)
    },
];

/// The first name's address; the others follow.
pub(crate) const FIRST: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

const fn name(host: &'static str, site: Site) -> Name {
    Name {
        host,
        site,
        shares_faults_with: None,
    }
}

/// The address of the name at `index` when the first one has `first`.
pub(crate) fn address(first: Ipv4Addr, index: usize) -> Ipv4Addr {
    Ipv4Addr::from_bits(first.to_bits() + u32::try_from(index).unwrap_or_default())
}

/// The index of a host name, whatever its case and with or without the root's dot.
pub(crate) fn find(host: &str) -> Option<usize> {
    let host = host.strip_suffix('.').unwrap_or(host);
    NAMES
        .iter()
        .position(|name| name.host.eq_ignore_ascii_case(host))
}
