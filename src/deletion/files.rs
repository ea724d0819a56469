//! Files and directories on machines: those that carry the cluster's own name in our own directories, and a server's file that
//! this program wrote and cluster.toml no longer asks for.

use crate::failure::{Code, Failure, Result};
use crate::names::ours::{MARK, ROOT, SETTINGS};

/// A path that a rule lets go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeletablePath(String);

impl DeletablePath {
    /// A path of this cluster on a host: its directory or one below it, or a file of its name among the settings. An error where it
    /// is none, whatever else it is.
    pub fn of_cluster(cluster: &str, path: &str) -> Result<Self> {
        if is_name(cluster) && (is_below(cluster, path) || is_setting(cluster, path)) {
            return Ok(Self(path.to_owned()));
        }
        let what = format!("{path} is no path of the cluster {cluster} and is not removed");
        Err(Failure::new(Code::Command, what)
            .because("its name, or the cluster's, is none that slicer-k3s gives")
            .permanent())
    }

    /// A configuration file of a server with this content, where we wrote it.
    pub fn written_by_us(path: &str, content: &str) -> Option<Self> {
        content.starts_with(MARK).then(|| Self(path.to_owned()))
    }

    /// A unit of a host with this content, where we wrote it.
    pub fn unit_written_by_us(path: &str, content: &str) -> Option<Self> {
        let ours = content.starts_with(MARK.trim_end());
        ours.then(|| Self(path.to_owned()))
    }

    /// The unit of a daemon that was found to be ours (see [`super::Belongings`]).
    pub(super) fn unit(path: &str) -> Self {
        Self(path.to_owned())
    }

    /// The path.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A name as this program gives it. Names of directories and groups come from machines, and what is called so gets deleted.
pub fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !name.is_empty() && name.bytes().all(plain)
}

/// Whether it is the cluster's directory, or a group's in it.
fn is_below(cluster: &str, path: &str) -> bool {
    let rest = path.strip_prefix(ROOT);
    let mut parts = rest.unwrap_or_default().split('/');
    let root = parts.next() == Some("") && parts.next() == Some(cluster);
    root && match (parts.next(), parts.next()) {
        (None, _) => true,
        (Some(group), None) => is_name(group),
        _ => false,
    }
}

fn is_setting(cluster: &str, path: &str) -> bool {
    let Some(rest) = path
        .strip_prefix(SETTINGS)
        .and_then(|rest| rest.strip_prefix('/'))
    else {
        return false;
    };
    let name = match rest.split_once('/') {
        Some((directory, name)) if is_name(directory.trim_end_matches(".d")) => name,
        Some(_) => return false,
        None => rest,
    };
    let forms = [
        cluster.to_owned(),
        format!("{cluster}.json"),
        format!("{cluster}.json.new"),
        format!("withdrawn.{cluster}"),
    ];
    forms.iter().any(|form| form == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_that_carry_the_clusters_name_in_our_directories_go() {
        for path in [
            "/var/lib/slicer-k3s/home",
            "/var/lib/slicer-k3s/home/k3s-agents-1",
            "/etc/slicer-k3s/home.json",
            "/etc/slicer-k3s/last-run.d/home.json",
            "/etc/slicer-k3s/last-run.d/home.json.new",
            "/etc/slicer-k3s/routes.d/home",
            "/etc/slicer-k3s/withdrawn.home",
        ] {
            assert_eq!(
                DeletablePath::of_cluster("home", path).unwrap().as_str(),
                path
            );
        }
        for path in [
            "",
            "/",
            "/var/lib/slicer-k3s",
            "/var/lib/slicer-k3s/",
            "/var/lib/slicer-k3s/home/",
            "/var/lib/slicer-k3s/home/..",
            "/var/lib/slicer-k3s/home/a/b",
            "/var/lib/slicer-k3s/homes",
            "/var/lib/slicer-k3s/another",
            "/root/k3s-agents",
            "/etc/slicer-k3s/another.json",
            "/etc/slicer-k3s/routes.d/../home",
            "/etc/slicer-k3s/a/b/home",
            "/etc/slicer-k3s",
        ] {
            assert!(DeletablePath::of_cluster("home", path).is_err(), "{path}");
        }
        for cluster in ["", "..", "a/b", "*"] {
            let path = format!("/var/lib/slicer-k3s/{cluster}");
            assert!(
                DeletablePath::of_cluster(cluster, &path).is_err(),
                "{cluster}"
            );
        }
    }

    #[test]
    fn a_servers_file_goes_only_where_we_wrote_it() {
        let path = "/etc/rancher/k3s/registries.yaml";
        let ours = format!("{MARK}mirrors: {{}}\n");
        assert!(DeletablePath::written_by_us(path, &ours).is_some());
        assert_eq!(DeletablePath::written_by_us(path, "mirrors: {}\n"), None);
    }

    #[test]
    fn a_unit_goes_only_where_we_wrote_it() {
        let ours = crate::generate::routes_unit().unwrap();
        let unit = DeletablePath::unit_written_by_us;
        assert!(unit("/etc/systemd/system/slicer-routes.service", &ours).is_some());
        for theirs in ["", "[Unit]\n", "# Written by hand.\n"] {
            assert_eq!(
                unit("/etc/systemd/system/slicer-routes.service", theirs),
                None
            );
        }
    }
}
