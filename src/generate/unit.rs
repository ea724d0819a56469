//! A daemon's systemd unit.

use askama::Template;

use super::{host_yaml, render};
use crate::failure::Result;
use crate::names::slicer::PROGRAM;
use crate::plan::{Daemon, Plan};
use crate::secret::sha256;

/// Where the units of a host lie that are written by hand or by us.
///
/// Source: systemd.unit(5), "Unit File Load Path".
pub const UNITS: &str = "/etc/systemd/system";

/// The file of a unit.
pub fn unit_path(name: &str) -> String {
    format!("{UNITS}/{name}")
}

#[derive(Template)]
#[template(path = "slicer.service", escape = "none")]
struct Unit<'a> {
    group: &'a str,
    cluster: &'a str,
    directory: String,
    file: String,
    config: String,
    licence: Option<String>,
    program: &'static str,
}

/// The unit of a daemon, back after every reboot.
pub fn unit(plan: &Plan, daemon: &Daemon, cluster_key: &str) -> Result<String> {
    let licence = plan
        .host(&daemon.host)
        .and_then(|host| host.licence_file.as_deref())
        .map(word);
    let (directory, file, config) = match &daemon.adopted {
        None => (
            plan.directory(daemon),
            format!("./{}.yaml", daemon.group),
            host_yaml(plan, daemon, cluster_key)?,
        ),
        // What its YAML says is the person's to change, and no reason for another unit.
        Some(own) => (own.directory.clone(), word(&own.file), own.file.clone()),
    };
    render(&Unit {
        group: &daemon.group,
        cluster: &plan.cluster,
        directory,
        file,
        config: sha256(config.as_bytes()),
        licence,
        program: PROGRAM,
    })
}

/// One word of a unit's command line: quoted, specifiers and variables escaped.
fn word(text: &str) -> String {
    let escaped = text
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('%', "%%")
        .replace('$', "$$");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::plan;

    #[test]
    fn the_unit_names_everything_by_absolute_path() {
        let plan = plan();
        insta::assert_snapshot!(unit(&plan, &plan.daemons[0], "ssh-ed25519 AAAA cluster").unwrap(), @r#"
        # Written by slicer-k3s for cluster home.
        [Unit]
        Description=Slicer daemon of host group k3s-cp
        Wants=network-online.target
        After=network-online.target containerd.service
        StartLimitIntervalSec=0

        [Service]
        Type=simple
        WorkingDirectory=/var/lib/slicer-k3s/home/k3s-cp
        # Tells which configuration the running process has read.
        Environment=SLICER_K3S_CONFIG=dfabd5bcc3a96a1a0742e5c3d8a6a210b9820c0e3a5a6baed739ccc189c687cd
        ExecStart=/usr/local/bin/slicer up ./k3s-cp.yaml --license-file "/home/alex/.slicer/LICENSE"
        Restart=always
        RestartSec=5s
        KillMode=mixed
        # VMs are shut down gracefully, which takes up to two minutes.
        TimeoutStopSec=180

        [Install]
        WantedBy=multi-user.target
        "#);
    }

    #[test]
    fn an_adopted_daemon_keeps_its_directory_and_file() {
        let plan = plan();
        let mut daemon = plan.daemons[0].clone();
        daemon.adopted = Some(crate::testing::adopted(&daemon));
        let text = unit(&plan, &daemon, "").unwrap();
        assert!(text.contains("WorkingDirectory=/home/alex\n"), "{text}");
        assert!(text.contains("slicer up \"/home/alex/k3s-cp.yaml\" --license-file"));
    }

    #[test]
    fn a_licence_path_cannot_break_out_of_its_word() {
        assert_eq!(word("/home/a b/50%\"$x"), r#""/home/a b/50%%\"$$x""#);
    }
}
