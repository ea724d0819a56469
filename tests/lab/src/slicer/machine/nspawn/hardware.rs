//! What a VM's kernel would say of its memory and CPUs, as files that are bound over the host's.

use std::{fmt::Write as _, fs, os::unix::fs::PermissionsExt, path::Path};

use anyhow::{Context, Result};

use crate::{daemon::record::Record, host::profile};

/// Writes the files where the root's own boot script finds them, and binds each over its path.
pub(crate) fn write(root: &Path, record: &Record, arch: &str) -> Result<()> {
    programs(root, arch, record.cpus)?;
    let put = |target: &str, text: &str| -> Result<()> {
        let path = root.join("etc/slicer-lab/over").join(target);
        fs::create_dir_all(path.parent().unwrap_or(root))?;
        fs::write(&path, text).with_context(|| format!("write {}", path.display()))
    };
    put("proc/meminfo", &meminfo(record.ram_bytes))?;
    if let Ok(text) = fs::read_to_string("/proc/cpuinfo") {
        put("proc/cpuinfo", &cpuinfo(&text, record.cpus))?;
    }
    let range = if record.cpus == 1 {
        "0\n".to_owned()
    } else {
        format!("0-{}\n", record.cpus - 1)
    };
    for name in ["online", "present", "possible"] {
        put(&format!("sys/devices/system/cpu/{name}"), &range)?;
    }
    Ok(())
}

/// A fresh machine's memory: nearly all of it free, and a little kept by the kernel.
fn meminfo(bytes: u64) -> String {
    let total = (bytes - bytes / 64) >> 10;
    let mut text = String::new();
    for (name, kib) in [
        ("MemTotal", total),
        ("MemFree", total / 10 * 8),
        ("MemAvailable", total / 10 * 9),
        ("Buffers", total / 100),
        ("Cached", total / 20),
        ("SwapCached", 0),
        ("Active", total / 20),
        ("Inactive", total / 20),
        ("SwapTotal", 0),
        ("SwapFree", 0),
        ("Dirty", 0),
        ("Writeback", 0),
        ("Slab", total / 100),
        ("SReclaimable", total / 200),
    ] {
        let _ = writeln!(text, "{:<16}{kib:>8} kB", format!("{name}:"));
    }
    text.push_str(
        "HugePages_Total:       0\nHugePages_Free:        0\nHugepagesize:       2048 kB\n",
    );
    text
}

/// The first CPU's lines, once for each that the VM has.
fn cpuinfo(host: &str, cpus: u32) -> String {
    let first = host.split("\n\n").next().unwrap_or_default();
    let renumbered = |number: u32| {
        let mut lines: Vec<String> = first
            .lines()
            .map(|line| match line.split_once(':') {
                Some((key, _)) => match key.trim() {
                    "processor" | "core id" | "apicid" | "initial apicid" => {
                        format!("{key}: {number}")
                    }
                    "siblings" | "cpu cores" => format!("{key}: {cpus}"),
                    _ => line.to_owned(),
                },
                None => line.to_owned(),
            })
            .collect();
        // A kubelet that finds no clock speed does not start; a disguised host may tell none.
        if !lines.iter().any(|line| line.starts_with("cpu MHz")) {
            lines.push("cpu MHz\t\t: 2400.000".to_owned());
        }
        lines.join("\n") + "\n\n"
    };
    (0..cpus).map(renumbered).collect()
}

/// Programs that tell what the kernel would, where the kernel tells about the machine beneath.
fn programs(root: &Path, arch: &str, cpus: u32) -> Result<()> {
    let put = |name: &str, body: &str| -> Result<()> {
        let path = root.join("usr/local/bin").join(name);
        fs::write(&path, format!("#!/bin/sh\n{body}\n"))
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("write {}", path.display()))
    };
    put("nproc", &format!("echo {cpus}"))?;
    if arch == std::env::consts::ARCH {
        return Ok(());
    }
    let real = std::env::consts::ARCH;
    put(
        "uname",
        &format!("/bin/uname \"$@\" | sed 's/{real}/{arch}/g'"),
    )?;
    put("arch", &format!("echo {arch}"))?;
    let debian = profile::go_arch(arch);
    put(
        "dpkg",
        &format!(
            "case ${{1-}} in --print-architecture) echo {debian} ;; *) exec /usr/bin/dpkg \"$@\" ;; esac"
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kubelet takes its capacity from these files.
    #[test]
    fn the_files_say_what_the_vm_has() {
        assert!(meminfo(4 << 30).starts_with("MemTotal:        4128768 kB\n"));
        let text = cpuinfo(
            "processor\t: 0\nmodel name\t: x\ncore id\t: 7\n\nprocessor\t: 1\n",
            3,
        );
        assert_eq!(text.matches("processor").count(), 3);
        assert!(
            text.contains("processor\t: 2\nmodel name\t: x\ncore id\t: 2\n"),
            "{text}"
        );
    }
}
