//! A fleet as its file describes it: which hosts there are and what each presents itself as.

use std::net::Ipv4Addr;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::address::Segment;

/// Names end up in interface names, which hold 15 characters.
const LONGEST_NAME: usize = 12;
/// Hosts have addresses from .11 on; more than this would run into the broadcast address.
const MOST_HOSTS: usize = 200;

/// A fleet file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Fleet {
    /// One line for `lab status`.
    pub(crate) description: String,
    /// The hosts, in order of their addresses.
    #[serde(rename = "host")]
    pub(crate) hosts: Vec<Host>,
}

/// One host of a fleet.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Host {
    /// Its hostname.
    pub(crate) name: String,
    /// What its firmware calls it.
    pub(crate) model: String,
    /// The architecture that it claims.
    pub(crate) arch: Arch,
    /// The cores that it claims.
    pub(crate) cpus: u32,
    /// The memory that it claims.
    pub(crate) ram_gb: u64,
    /// The disk that it claims: what the real machine has free is nobody's matter here.
    #[serde(default = "roomy")]
    pub(crate) disk_gb: u64,
    /// The account that a person logs in to.
    pub(crate) user: String,
    /// sudo asks for this; without it sudo does not ask.
    #[serde(default)]
    pub(crate) sudo_password: Option<String>,
    /// The shell that sshd gives its commands to.
    #[serde(default)]
    pub(crate) shell: Shell,
    /// The language that its programs speak to this account, such as `de_DE.UTF-8`.
    #[serde(default)]
    pub(crate) language: Option<String>,
    /// Whether Slicer is installed.
    #[serde(default = "yes")]
    pub(crate) slicer: bool,
    /// Who configures its network.
    #[serde(default)]
    pub(crate) network: Daemon,
    /// The host that is its router; without one it is plugged into the LAN itself.
    #[serde(default)]
    pub(crate) behind: Option<String>,
}

/// A login shell.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Shell {
    #[default]
    Bash,
    Dash,
    Fish,
    Tcsh,
    Zsh,
}

impl Shell {
    /// Its program.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Bash => "/bin/bash",
            Self::Dash => "/usr/bin/dash",
            Self::Fish => "/usr/bin/fish",
            Self::Tcsh => "/usr/bin/tcsh",
            Self::Zsh => "/usr/bin/zsh",
        }
    }
}

/// What configures a host's network at every boot.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Daemon {
    /// The lab's own script, once: nobody meddles afterwards.
    #[default]
    Lab,
    /// systemd-networkd, as on Debian's cloud images.
    Networkd,
    /// `/etc/network/interfaces`, as a plain Debian.
    Ifupdown,
    /// `NetworkManager`, as on desktops and on Raspberry Pi OS.
    NetworkManager,
}

/// A processor architecture, by the kernel's name for it.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, PartialEq, Eq)]
pub(crate) enum Arch {
    /// Intel and AMD.
    #[serde(rename = "x86_64")]
    Amd64,
    /// 64-bit Arm.
    #[serde(rename = "aarch64")]
    Arm64,
}

/// `/etc/slicer-lab/profile.json`.
#[derive(Serialize)]
pub(crate) struct Profile<'a> {
    arch: Arch,
    cpus: u32,
    ram_bytes: u64,
    model: &'a str,
}

impl Fleet {
    /// Reads the fleet of this name.
    pub(crate) fn read(directory: &Path, name: &str) -> Result<Self> {
        let path = directory.join(format!("{name}.toml"));
        let text = std::fs::read_to_string(&path).with_context(|| {
            format!(
                "no fleet is called {name}: there are {}",
                names(directory).join(", ")
            )
        })?;
        Self::parse(&text).with_context(|| format!("in {}", path.display()))
    }

    fn parse(text: &str) -> Result<Self> {
        let fleet: Self = toml::from_str(text)?;
        if fleet.hosts.is_empty() || fleet.hosts.len() > MOST_HOSTS {
            bail!(
                "a fleet has 1 to {MOST_HOSTS} hosts, this one has {}",
                fleet.hosts.len()
            );
        }
        for (index, host) in fleet.hosts.iter().enumerate() {
            check_name(&host.name)?;
            check_name(&host.user)?;
            if ["workstation", "internet", "lan"].contains(&host.name.as_str()) {
                bail!(
                    "no host can be called {}: the lab has one of its own",
                    host.name
                );
            }
            if fleet.hosts[..index]
                .iter()
                .any(|other| other.name == host.name)
            {
                bail!("two hosts are called {}", host.name);
            }
            let plain = |c: char| c.is_ascii_alphanumeric() || "_-.@".contains(c);
            if !host
                .language
                .iter()
                .all(|language| language.chars().all(plain))
            {
                bail!("host {} speaks no language that could be", host.name);
            }
            if host.cpus == 0 || host.ram_gb == 0 {
                bail!("host {} needs at least one core and 1 GB", host.name);
            }
        }
        for host in &fleet.hosts {
            fleet.check_router(host)?;
        }
        Ok(fleet)
    }

    fn check_router(&self, host: &Host) -> Result<()> {
        let Some(router) = &host.behind else {
            return Ok(());
        };
        let name = &host.name;
        if router == name {
            bail!("host {name} cannot be behind itself");
        }
        match self.hosts.iter().find(|other| other.name == *router) {
            None => bail!(
                "host {name} is behind {}, which is no host of this fleet",
                router.escape_default()
            ),
            Some(Host {
                behind: Some(other),
                ..
            }) => bail!(
                "host {name} is behind {router}, which is itself behind {}: a router is plugged into the LAN",
                other.escape_default()
            ),
            Some(_) => Ok(()),
        }
    }

    /// The networks, the LAN first.
    pub(crate) fn segments(&self) -> Vec<Segment> {
        let inner = self.hosts.iter().filter_map(|host| self.routes(&host.name));
        std::iter::once(Segment::Lan).chain(inner).collect()
    }

    /// The network that a host is the router of, if there are hosts behind it.
    pub(crate) fn routes(&self, name: &str) -> Option<Segment> {
        let mut routers = self
            .hosts
            .iter()
            .filter(|router| self.behind(&router.name).next().is_some());
        let number = routers.position(|router| router.name == name)?;
        u8::try_from(number).ok().map(Segment::Behind)
    }

    /// The hosts behind a host.
    pub(crate) fn behind(&self, name: &str) -> impl Iterator<Item = &Host> {
        self.hosts
            .iter()
            .filter(move |host| host.behind.as_deref() == Some(name))
    }

    /// A host's address: hosts are numbered within their own network.
    pub(crate) fn address(&self, host: &Host) -> Option<Ipv4Addr> {
        let segment = match &host.behind {
            Some(router) => self.routes(router)?,
            None => Segment::Lan,
        };
        let mut neighbours = self
            .hosts
            .iter()
            .filter(|other| other.behind == host.behind);
        segment.host(neighbours.position(|other| other.name == host.name)?)
    }
}

impl Host {
    /// What the machine is told about itself.
    pub(crate) fn profile(&self) -> Profile<'_> {
        Profile {
            arch: self.arch,
            cpus: self.cpus,
            ram_bytes: self.ram_gb << 30,
            model: &self.model,
        }
    }
}

/// Refuses names that could not become a hostname, an interface or a directory.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty()
        || name.len() > LONGEST_NAME
        || !name.starts_with(|c: char| c.is_ascii_lowercase())
        || !name.chars().all(good)
    {
        bail!(
            "`{}` cannot be a name: 1 to {LONGEST_NAME} of a-z, 0-9 and -, a letter first",
            name.escape_default()
        );
    }
    Ok(())
}

/// The fleets that there are files for.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            name.strip_suffix(".toml").map(str::to_owned)
        })
        .collect();
    names.sort();
    names
}

fn yes() -> bool {
    true
}

const fn roomy() -> u64 {
    256
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(name: &str) -> String {
        format!(
            "[[host]]\nname = \"{name}\"\nmodel = \"m\"\narch = \"x86_64\"\ncpus = 2\nram-gb = 4\nuser = \"alex\"\n"
        )
    }

    fn behind(name: &str, router: &str) -> String {
        host(name) + &format!("behind = \"{router}\"\n")
    }

    /// Every fleet that ships must be readable: a typo would only show at `up`.
    #[test]
    fn all_fleet_files_are_valid() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fleets");
        let names = names(&directory);
        for needed in ["bare", "mixed", "one", "six", "three"] {
            assert!(
                names.iter().any(|name| name == needed),
                "fleet {needed} is missing"
            );
        }
        for name in names {
            Fleet::read(&directory, &name).unwrap();
        }
    }

    /// The fleet: sudo with and without a password, and a 16 GB Pi with 4 cores.
    #[test]
    fn fleet_three_has_the_promised_variety() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fleets");
        let fleet = Fleet::read(&directory, "three").unwrap();
        assert!(fleet.hosts.iter().any(|host| host.sudo_password.is_some()));
        assert!(fleet.hosts.iter().any(|host| host.sudo_password.is_none()));
        let pi = fleet.hosts.iter().find(|host| host.name == "pi5").unwrap();
        assert_eq!((pi.arch, pi.cpus, pi.ram_gb), (Arch::Arm64, 4, 16));
    }

    /// sshd gives a command to the user's own shell, and none of these four reads the same.
    #[test]
    fn fleet_mixed_has_login_shells_of_every_kind_and_a_second_language() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("fleets");
        let fleet = Fleet::read(&directory, "mixed").unwrap();
        for shell in [Shell::Dash, Shell::Fish, Shell::Tcsh, Shell::Zsh] {
            let count = fleet
                .hosts
                .iter()
                .filter(|host| host.shell == shell)
                .count();
            assert_eq!(count, 1, "{shell:?}");
        }
        let asks = |host: &&Host| host.sudo_password.is_some() && host.language.is_some();
        assert_eq!(fleet.hosts.iter().filter(asks).count(), 1);
    }

    /// Names reach interface names and paths; a bad one must be refused by name.
    #[test]
    fn impossible_fleets_are_refused() {
        for (hosts, reason) in [
            (host("../etc"), "cannot be a name"),
            (host("far-too-long-name"), "cannot be a name"),
            (host("internet"), "one of its own"),
            (host("a") + &host("a"), "two hosts"),
            (host("a") + "colour = 1\n", "unknown field"),
            (
                host("a") + "shell = \"elvish\"\n",
                "unknown variant `elvish`",
            ),
            (host("a") + "language = \"a\\nb\"\n", "no language"),
            (
                host("a") + "network = \"wicked\"\n",
                "unknown variant `wicked`",
            ),
            (behind("a", "b"), "behind b, which is no host"),
            (behind("a", "a"), "host a cannot be behind itself"),
            (
                host("a") + &behind("b", "a") + &behind("c", "b"),
                "host c is behind b, which is itself behind a",
            ),
            (
                behind("a", "b") + &behind("b", "a"),
                "host a is behind b, which is itself behind a",
            ),
        ] {
            let error = Fleet::parse(&format!("description = \"d\"\n{hosts}")).unwrap_err();
            assert!(format!("{error:#}").contains(reason), "{error:#}");
        }
    }

    /// The README's numbers: routers and the hosts behind each count from the file's beginning.
    #[test]
    fn hosts_are_numbered_within_their_network() {
        let hosts = [
            behind("a", "e"),
            host("b"),
            behind("c", "b"),
            behind("d", "e"),
            host("e"),
        ];
        let fleet = Fleet::parse(&format!("description = \"d\"\n{}", hosts.concat())).unwrap();
        let addresses: Vec<String> = fleet
            .hosts
            .iter()
            .map(|host| fleet.address(host).unwrap().to_string())
            .collect();
        let expected = [
            "10.20.1.2",
            "192.168.1.11",
            "10.20.0.2",
            "10.20.1.3",
            "192.168.1.12",
        ];
        assert_eq!(addresses, expected);
        assert_eq!(fleet.segments().len(), 3);
        assert_eq!(fleet.routes("e"), Some(Segment::Behind(1)));
        assert_eq!(fleet.routes("a"), None);
    }
}
