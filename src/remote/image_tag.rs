//! Where an image's tag is asked for: short names mean Docker Hub, as every container runtime reads them.

/// What images without a registry's host belong to.
///
/// Source: distribution/reference normalize.go (`defaultDomain`, `legacyDefaultDomain`, `officialRepoPrefix`).
const HUB: &str = "docker.io";

/// The host that answers for it.
///
/// Source: containerd/containerd core/remotes/docker/registry.go (`DefaultHost`).
const HUB_REGISTRY: &str = "registry-1.docker.io";

/// A registry's host, a repository in it, and a tag.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ImageTag {
    /// The registry's host.
    pub registry: String,
    /// The repository.
    pub repository: String,
    /// The tag.
    pub tag: String,
}

impl ImageTag {
    /// Of an image as Kubernetes names it, such as `ghcr.io/a/b`.
    pub fn new(image: &str, tag: &str) -> Self {
        let (registry, repository) = match image.split_once('/') {
            Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest),
            _ => (HUB, image),
        };
        let hub = matches!(registry, HUB | "index.docker.io");
        let repository = if hub && !repository.contains('/') {
            format!("library/{repository}")
        } else {
            repository.to_owned()
        };
        Self {
            registry: if hub { HUB_REGISTRY } else { registry }.to_owned(),
            repository,
            tag: tag.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::ImageTag;

    #[test]
    fn short_names_are_docker_hubs() {
        for (image, registry, repository) in [
            ("ghcr.io/a/b", "ghcr.io", "a/b"),
            ("localhost:5000/b", "localhost:5000", "b"),
            (
                "docker.io/busybox",
                "registry-1.docker.io",
                "library/busybox",
            ),
            ("a/b", "registry-1.docker.io", "a/b"),
            ("busybox", "registry-1.docker.io", "library/busybox"),
        ] {
            let tag = ImageTag::new(image, "1");
            assert_eq!(
                (tag.registry.as_str(), tag.repository.as_str()),
                (registry, repository)
            );
        }
    }
}
