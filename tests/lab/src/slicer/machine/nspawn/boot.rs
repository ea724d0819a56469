//! Booting a VM: disk, wire, cgroups, then the machine itself.

use std::{fs, path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result, bail};
use tokio::{
    process::{Child, Command},
    sync::oneshot,
    time::{Instant, sleep},
};

use super::{cgroup, disk, guest, hardware, network};
use crate::{
    host::{Places, profile, variant::Variant},
    machine::{Ending, Launch},
};

/// How long the machine's first process may take to appear.
const LIMIT: Duration = Duration::from_secs(20);
/// nspawn's exit code when the guest rebooted.
const REBOOTED: i32 = 133;

/// Boots a VM.
pub(crate) async fn boot(
    places: &Places,
    variant: &Variant,
    launch: &Launch,
) -> Result<oneshot::Receiver<Ending>> {
    let hostname = &launch.record.hostname;
    let directory = places.vm(hostname);
    let new = disk::mount(places, hostname, launch.group.disk_bytes).await?;
    if new {
        let root = directory.join("root");
        guest::prepare(&root, launch, variant)?;
        let arch = profile::arch(&places.profile);
        hardware::write(&root, &launch.record, &arch)?;
        disk::prepared(&directory)?;
    }
    guest::seed(&directory, launch.userdata.as_deref())?;
    network::plug(launch).await?;
    let mut child = command(places, launch)?
        .spawn()
        .context("start systemd-nspawn")?;
    let leader = match leader(&mut child).await {
        Ok(leader) => leader,
        Err(error) => {
            let _ = child.start_kill();
            return Err(error)
                .with_context(|| format!("see {}", places.serial(hostname).display()));
        }
    };
    fs::write(directory.join("leader.pid"), format!("{leader}\n"))?;
    let (sender, receiver) = oneshot::channel();
    tokio::spawn(async move {
        let ending = match child.wait().await.ok().and_then(|status| status.code()) {
            Some(REBOOTED) => Ending::Reboot,
            Some(0) => Ending::PowerOff,
            _ => Ending::Death,
        };
        let _ = sender.send(ending);
    });
    Ok(receiver)
}

fn command(places: &Places, launch: &Launch) -> Result<Command> {
    let record = &launch.record;
    let directory = places.vm(&record.hostname);
    let cgroups = cgroup::make(&record.hostname, record.ram_bytes)?;
    fs::create_dir_all(&places.log)?;
    let serial = fs::File::options()
        .create(true)
        .append(true)
        .open(places.serial(&record.hostname))
        .context("open the serial log")?;
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", cgroup::JOIN, "join"])
        .arg(cgroups.join(":"));
    command.args([
        "systemd-nspawn",
        "--quiet",
        "--boot",
        "--register=no",
        "--keep-unit",
    ]);
    command.arg(format!("--directory={}", directory.join("root").display()));
    command.arg(format!("--machine={}", record.hostname));
    command.arg(format!(
        "--network-namespace-path=/run/netns/{}",
        network::namespace(&record.hostname)
    ));
    command.args([
        "--capability=all",
        "--system-call-filter=@known",
        "--console=read-only",
    ]);
    command.args(["--resolv-conf=off", "--timezone=off", "--link-journal=no"]);
    command.args(["--bind=/dev/kmsg", "--bind=/dev/fuse"]);
    command.arg(bind("--bind-ro", &directory.join("seed"), guest::SEED));
    for name in disk::DATA {
        command.arg(bind(
            "--bind",
            &directory.join(name),
            &format!("/var/lib/{name}"),
        ));
    }
    command
        .env("SYSTEMD_NSPAWN_API_VFS_WRITABLE", "network")
        .env_remove("NOTIFY_SOCKET")
        // Of its own, or a terminal's Ctrl-C for the daemon would end the VM before its turn.
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(serial.try_clone()?)
        .stderr(serial);
    Ok(command)
}

fn bind(flag: &str, from: &Path, to: &str) -> String {
    // A colon would end the path.
    format!(
        "{flag}={}:{to}",
        from.display().to_string().replace(':', "\\:")
    )
}

/// Waits for the machine's first process: nspawn's child that is number one in its own namespace.
async fn leader(child: &mut Child) -> Result<i32> {
    let nspawn = child.id().context("nspawn ended at once")?;
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(status) = child.try_wait()? {
            bail!("nspawn ended at once: {status}");
        }
        let children = fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children"))
            .unwrap_or_default();
        if let Some(pid) = children.split_whitespace().find(|pid| is_first(pid)) {
            return pid.parse().context("process number");
        }
        if Instant::now() >= end {
            bail!("the machine's first process did not appear");
        }
        sleep(Duration::from_millis(10)).await;
    }
}

fn is_first(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|text| {
        text.lines()
            .find_map(|line| line.strip_prefix("NSpid:"))
            .is_some_and(|numbers| {
                numbers.split_whitespace().count() > 1 && numbers.ends_with("\t1")
            })
    })
}
