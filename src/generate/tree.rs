//! Everything that a plan puts anywhere, as one tree of files, with placeholders for what only a machine knows.

use serde_json::{Value, json};

use super::{File, NodeGroup, cloud_config, helm_chart, host_files, server_files, values};
use crate::failure::Result;
use crate::k3s::api_url;
use crate::names::k3s::AGENT_TOKEN_PATH;
use crate::names::slicer::TOKEN_PATHS;
use crate::plan::Plan;
use crate::secret::Secret;
use crate::state::Secrets;
use crate::yaml;

/// A plan's files, and what must be filled in before they can be used by hand.
#[derive(Debug)]
pub struct Tree {
    /// Files; their paths are relative to the tree's root, those of a machine below `hosts/NAME` or `servers/NAME`.
    pub files: Vec<File>,
    /// Placeholders, each with how to learn what it stands for.
    pub placeholders: Vec<(String, String)>,
}

/// The tree of a plan. Its root holds the manual's own files (devices.json for k3sup-pro, cloud-config.toml,
/// values-slicer.yaml) and the HelmChart that takes the place of a helm on the workstation.
pub fn tree(plan: &Plan, secrets: &Secrets) -> Result<Tree> {
    let mut files = Vec::new();
    for host in &plan.hosts {
        let host_files = host_files(plan, &host.name, &secrets.ssh_public_key)?;
        files.extend(below(&format!("hosts/{}", host.name), host_files));
    }
    for server in &plan.servers {
        let server_files = server_files(plan, server, secrets)?;
        files.extend(below(&format!("servers/{}", server.name), server_files));
    }
    files.push(open("devices.json", format!("{:#}\n", devices(plan))));
    let mut placeholders = Vec::new();
    if let (Some(server), true) = (plan.servers.first(), plan.workers().next().is_some()) {
        let mut placeholder = |name: String, how: String| {
            placeholders.push((name.clone(), how));
            name
        };
        let token = placeholder(
            "REPLACE-WITH-AGENT-TOKEN".to_owned(),
            format!("on {}: sudo cat {AGENT_TOKEN_PATH}", server.name),
        );
        let mut groups = Vec::new();
        for daemon in plan.workers() {
            groups.push(NodeGroup {
                name: daemon.group.clone(),
                url: daemon.url(),
                token: Secret::new(placeholder(
                    format!("REPLACE-WITH-SLICER-TOKEN-OF-{}", daemon.host),
                    format!("on {}: sudo cat {}", daemon.host, TOKEN_PATHS[0]),
                )),
                min: daemon.min,
                max: daemon.max,
            });
        }
        let hash = placeholder(
            "REPLACE-WITH-SHA256".to_owned(),
            "sha256sum < cloud-config.toml, once that is complete".to_owned(),
        );
        files.push(File {
            path: "cloud-config.toml".to_owned(),
            mode: "0600",
            content: cloud_config(&api_url(server), &Secret::new(token), &groups)?,
            secret: true,
        });
        files.push(open(
            "values-slicer.yaml",
            yaml::write(&values(plan, &hash))?,
        ));
        files.push(open(
            "helmchart.yaml",
            yaml::write(&helm_chart(plan, &hash)?)?,
        ));
    }
    placeholders.dedup();
    Ok(Tree {
        files,
        placeholders,
    })
}

fn below(directory: &str, files: Vec<File>) -> impl Iterator<Item = File> {
    files.into_iter().map(move |file| File {
        path: format!("{directory}{}", file.path),
        ..file
    })
}

fn open(path: &str, content: String) -> File {
    File {
        path: path.to_owned(),
        mode: "0644",
        content,
        secret: false,
    }
}

/// The servers as `slicer vm list --json` prints them: what `k3sup-pro plan` reads.
///
/// Source: slicervm/docs.slicervm.com@05085f9 docs/examples/autoscaling-k3s.md.
fn devices(plan: &Plan) -> Value {
    let servers = plan.servers.iter().map(|server| {
        json!({
            "hostname": server.name,
            "ip": server.address,
            "status": "Running",
            "tags": [],
        })
    });
    servers.collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::testing::{plan, secrets};

    #[test]
    fn the_tree_holds_every_machines_files_and_the_manuals() {
        let tree = tree(&plan(), &secrets()).unwrap();
        let paths: Vec<&str> = tree.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths.iter().collect::<HashSet<_>>().len(), paths.len());
        for path in [
            "hosts/n100/var/lib/slicer-k3s/home/k3s-cp/k3s-cp.yaml",
            "hosts/n100/etc/systemd/system/slicer-k3s-cp.service",
            "hosts/ryzen/etc/slicer-k3s/routes.d/home",
            "hosts/ryzen/usr/local/lib/slicer-k3s/keep-routes",
            "servers/k3s-cp-3/etc/rancher/k3s/config.yaml",
            "devices.json",
            "cloud-config.toml",
            "values-slicer.yaml",
            "helmchart.yaml",
        ] {
            assert!(paths.contains(&path), "{path} is not among {paths:#?}");
        }
    }

    /// What stands for something unknown is named, so that nobody deploys it by mistake.
    #[test]
    fn every_placeholder_is_told() {
        let tree = tree(&plan(), &secrets()).unwrap();
        for file in &tree.files {
            let words = file
                .content
                .split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
            for word in words.filter(|word| word.starts_with("REPLACE-WITH-")) {
                assert!(
                    tree.placeholders.iter().any(|(name, _)| name == word),
                    "{word} in {}",
                    file.path
                );
            }
        }
        assert_eq!(tree.placeholders.len(), 4, "{:?}", tree.placeholders);
    }

    #[test]
    fn devices_are_a_list_that_k3sup_pro_reads() {
        let devices = devices(&plan());
        assert_eq!(devices[0]["hostname"], "k3s-cp-1");
        assert_eq!(devices[0]["ip"], "192.168.137.2");
        assert_eq!(devices.as_array().unwrap().len(), 3);
    }
}
