//! What a host presents itself as: its processor, memory and model.
//!
//! A container shares the real machine's kernel, so the system call uname, the
//! kubelet's arch label and /proc/device-tree (a link that only Arm kernels have)
//! stay what they are; everything that people and scripts read is replaced.

use std::path::Path;

use anyhow::Result;

use super::furnish::{executable, write};
use crate::fleet::{Arch, Host};

/// Gives the machine whose overlay's upper layer is `upper` the looks of `host`.
pub(crate) fn dress(upper: &Path, host: &Host) -> Result<()> {
    let at = |path: &str| upper.join(path);
    write(
        &at("etc/slicer-lab/profile.json"),
        serde_json::to_string_pretty(&host.profile())? + "\n",
    )?;
    write(&at("etc/slicer-lab/over/proc/cpuinfo"), cpuinfo(host))?;
    write(
        &at("etc/slicer-lab/over/proc/meminfo"),
        meminfo(host.ram_gb << 20),
    )?;
    let count = format!("#!/bin/sh\necho {}\n", host.cpus);
    executable(&at("usr/local/bin/nproc"), &count)?;
    executable(
        &at("usr/local/bin/getconf"),
        &format!(
            "#!/bin/sh\ncase ${{1-}} in _NPROCESSORS_*) echo {} ;; *) exec /usr/bin/getconf \"$@\" ;; esac\n",
            host.cpus
        ),
    )?;
    executable(&at("usr/local/bin/df"), &df(host.disk_gb << 20))?;
    if host.arch == Arch::Arm64 {
        arm(upper, host)?;
    }
    Ok(())
}

/// `df` that shows the root file system as a disk of `kib`, a sixteenth of it in use. File systems that are mounted
/// below it, and all other ways to call it, show what is real.
fn df(kib: u64) -> String {
    let used = kib / 16;
    let row = format!("{kib} {used} {}", kib - used);
    format!(
        "#!/bin/sh\ncase ${{1-}} in\n-Pk) /bin/df \"$@\" | awk '$6 == \"/\" {{ print $1, \"{row}\", \"7%\", $6; next }} {{ print }}' ;;\n*) exec /bin/df \"$@\" ;;\nesac\n"
    )
}

fn arm(upper: &Path, host: &Host) -> Result<()> {
    let at = |path: &str| upper.join(path);
    executable(
        &at("usr/local/bin/uname"),
        "#!/bin/sh\n/bin/uname \"$@\" | sed 's/x86_64/aarch64/g'\n",
    )?;
    executable(&at("usr/local/bin/arch"), "#!/bin/sh\necho aarch64\n")?;
    executable(
        &at("usr/local/bin/dpkg"),
        "#!/bin/sh\ncase ${1-} in --print-architecture) echo arm64 ;; *) exec /usr/bin/dpkg \"$@\" ;; esac\n",
    )?;
    // As firmware writes it: with a NUL at the end.
    write(
        &at("etc/slicer-lab/firmware/devicetree/base/model"),
        format!("{}\0", host.model),
    )
}

fn cpuinfo(host: &Host) -> String {
    use std::fmt::Write as _;
    let mut text = String::new();
    for cpu in 0..host.cpus {
        // Writing to a String cannot fail.
        let _ = match host.arch {
            Arch::Amd64 => write!(
                text,
                "processor\t: {cpu}\nvendor_id\t: GenuineIntel\nmodel name\t: {}\nsiblings\t: {n}\ncore id\t\t: {cpu}\ncpu cores\t: {n}\nflags\t\t: fpu sse sse2 vmx svm\n\n",
                host.model,
                n = host.cpus
            ),
            Arch::Arm64 => write!(
                text,
                "processor\t: {cpu}\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm aes crc32\nCPU implementer\t: 0x41\nCPU architecture: 8\nCPU part\t: 0xd0b\n\n"
            ),
        };
    }
    if host.arch == Arch::Arm64 {
        let _ = writeln!(text, "Model\t\t: {}", host.model);
    }
    text
}

fn meminfo(kib: u64) -> String {
    // The firmware and the kernel keep some for themselves, as on any real machine.
    let total = kib - kib / 32;
    format!(
        "MemTotal:       {total} kB\nMemFree:        {} kB\nMemAvailable:   {} kB\nBuffers:        20480 kB\nCached:         409600 kB\nSwapCached:     0 kB\nShmem:          2048 kB\nSReclaimable:   40960 kB\nSwapTotal:      0 kB\nSwapFree:       0 kB\n",
        total / 10 * 8,
        total / 10 * 9
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pi() -> Host {
        toml::from_str(
            "name = 'pi5'\nmodel = 'Raspberry Pi 5'\narch = 'aarch64'\ncpus = 4\nram-gb = 16\nuser = 'pi'",
        )
        .unwrap()
    }

    /// A 16 GB machine never shows a round 16 GB: whoever rounds down would lose a VM.
    #[test]
    fn memory_is_a_little_less_than_fitted() {
        let text = meminfo(16 << 20);
        let total: u64 = text.split_whitespace().nth(1).unwrap().parse().unwrap();
        assert!(total < 16 << 20 && total > 15 << 20, "{total}");
    }

    /// Four cores and the model's name, as the product's look reads them.
    #[test]
    fn the_pi_looks_like_one() {
        let text = cpuinfo(&pi());
        assert_eq!(text.matches("processor\t:").count(), 4);
        assert!(text.contains("Model\t\t: Raspberry Pi 5"));
        let profile = serde_json::to_value(pi().profile()).unwrap();
        assert_eq!(profile["arch"], "aarch64");
        assert_eq!(profile["ram_bytes"], 17_179_869_184_u64);
    }
}
