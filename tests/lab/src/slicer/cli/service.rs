//! `slicer service generate`: a unit that runs a daemon.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail, ensure};

use super::args::Generate;
use crate::{host::licence::Licence, say};

/// Prints the unit, or installs, enables and starts it.
pub(crate) fn run(order: &Generate) -> Result<()> {
    ensure!(
        !order.name.is_empty()
            && order
                .name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_.@".contains(&b)),
        "--name {}: not the name of a unit",
        order.name
    );
    let text = unit(order)?;
    if !order.install {
        say::raw(text.as_bytes());
        return Ok(());
    }
    install(order, &text, Path::new("/etc/systemd/system"))?;
    let unit = format!("{}.service", order.name);
    systemctl(&["daemon-reload"])?;
    systemctl(&["enable", &unit])?;
    systemctl(&["restart", &unit])?;
    say::line(format!("Installed and started {unit}"));
    Ok(())
}

fn unit(order: &Generate) -> Result<String> {
    let here = std::env::current_dir()?;
    let work = order
        .working_directory
        .clone()
        .unwrap_or_else(|| here.clone());
    let licence = match &order.license_file {
        Some(path) => absolute(&here, path),
        None => Licence::default_path(),
    };
    let config = order
        .config
        .clone()
        .unwrap_or_else(|| PathBuf::from("slicer.yaml"));
    let program = std::env::current_exe().unwrap_or_else(|_| "/usr/local/bin/slicer".into());
    let start = format!(
        "{} up {} --license-file {}{}",
        program.display(),
        absolute(&work, &config).display(),
        licence.display(),
        if order.suspend_on_shutdown {
            " --suspend-on-shutdown"
        } else {
            ""
        }
    );
    let (user, start) = match &order.user {
        None => (String::new(), start),
        Some(user) => (format!("User={user}\n"), format!("/usr/bin/sudo {start}")),
    };
    Ok(format!(
        "[Unit]
Description=Slicer stand-in ({name})
Wants=network-online.target
After=network-online.target

[Service]
Type=simple
{user}WorkingDirectory={work}
ExecStart={start}
Restart=always
RestartSec=30s
KillMode=mixed
TimeoutStopSec={stop}

[Install]
WantedBy=multi-user.target
",
        name = order.name,
        work = work.display(),
        stop = order.timeout_stop_sec,
    ))
}

fn absolute(base: &Path, path: &Path) -> PathBuf {
    let path = path.strip_prefix(".").unwrap_or(path);
    base.join(path)
}

fn install(order: &Generate, text: &str, directory: &Path) -> Result<()> {
    let path = directory.join(format!("{}.service", order.name));
    if path.exists() && !order.force {
        bail!(
            "{} exists already: pass --force to overwrite it",
            path.display()
        );
    }
    std::fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))
}

fn systemctl(args: &[&str]) -> Result<()> {
    let status = Command::new("systemctl")
        .args(args)
        .status()
        .context("failed to run systemctl")?;
    ensure!(status.success(), "systemctl {} failed", args.join(" "));
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::args::{Cli, Command as Cmd, Service};

    fn order(flags: &[&str]) -> Generate {
        let cli =
            Cli::try_parse_from(["slicer", "service", "generate"].iter().chain(flags)).unwrap();
        let Cmd::Service {
            command: Service::Generate(order),
        } = cli.command
        else {
            panic!("not generate")
        };
        order
    }

    /// Each daemon has its own directory and its licence by name: the unit must say both.
    #[test]
    fn the_unit_names_directory_and_licence() {
        let order = order(&[
            "--name",
            "slicer-a",
            "--working-directory",
            "/root/a",
            "--license-file",
            "/l",
            "./a.yaml",
        ]);
        let text = unit(&order).unwrap();
        assert!(text.contains("WorkingDirectory=/root/a\n"), "{text}");
        assert!(
            text.contains(" up /root/a/a.yaml --license-file /l\n"),
            "{text}"
        );
        assert!(
            text.contains("TimeoutStopSec=120\n") && text.contains("KillMode=mixed\n"),
            "{text}"
        );
    }

    /// The flag of the documents for hosts whose VMs are to survive a reboot.
    #[test]
    fn the_unit_passes_on_that_vms_are_suspended() {
        let order = order(&[
            "--name",
            "a",
            "--license-file",
            "/l",
            "--suspend-on-shutdown",
        ]);
        let text = unit(&order).unwrap();
        assert!(
            text.contains(" --license-file /l --suspend-on-shutdown\n"),
            "{text}"
        );
    }

    /// A unit that is there stays unless forced.
    #[test]
    fn a_unit_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let mut order = order(&["--name", "x"]);
        install(&order, "one", dir.path()).unwrap();
        assert!(install(&order, "two", dir.path()).is_err());
        order.force = true;
        install(&order, "two", dir.path()).unwrap();
        assert_eq!(
            std::fs::read_to_string(dir.path().join("x.service")).unwrap(),
            "two"
        );
    }
}
