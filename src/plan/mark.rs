//! The mark that `init` leaves on a host: the decisions about it, without secrets, so that another workstation plans the
//! same. It comes back from a machine: what does not agree with itself is refused.

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::{Daemon, Founded, Plan, Server};
use crate::config;
use crate::failure::{Code, Failure, Result};

/// The decisions about one host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    version: u32,
    /// The cluster.
    pub cluster: String,
    /// The host's name.
    pub host: String,
    /// Its daemons.
    pub daemons: Vec<Daemon>,
    /// The servers on it.
    pub servers: Vec<Server>,
    /// Pods' network.
    pub cluster_cidr: Ipv4Net,
    /// Services' network.
    pub service_cidr: Ipv4Net,
    /// The servers' version of k3s.
    pub k3s_version: String,
    /// The cluster that was founded, since version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub founded: Option<Founded>,
}

/// The version that is written; version 1 knew nothing of what was founded.
const VERSION: u32 = 2;

/// Only the version: read first, because other versions' fields are not ours to know.
#[derive(Deserialize)]
struct Header {
    version: u32,
}

impl Plan {
    /// The mark of one of its hosts.
    pub fn mark(&self, host: &str) -> Mark {
        let servers = self.servers.iter().filter(|server| server.host == host);
        Mark {
            version: VERSION,
            cluster: self.cluster.clone(),
            host: host.to_owned(),
            daemons: self.daemons_of(host).cloned().collect(),
            servers: servers.cloned().collect(),
            cluster_cidr: self.k3s.cluster_cidr,
            service_cidr: self.k3s.service_cidr,
            k3s_version: self.k3s.version.clone(),
            founded: self.founded.clone(),
        }
    }
}

impl Mark {
    /// Where the mark of a cluster lies on its hosts.
    pub fn path(cluster: &str) -> String {
        format!("/etc/slicer-k3s/{cluster}.json")
    }

    /// The mark that a host of a hand-made cluster would carry: its daemons and servers, pods' and services' networks.
    pub fn made(
        cluster: &str,
        host: &str,
        (daemons, servers): (Vec<Daemon>, Vec<Server>),
        (cluster_cidr, service_cidr): (Ipv4Net, Ipv4Net),
        k3s_version: &str,
    ) -> Self {
        Self {
            version: VERSION,
            cluster: cluster.to_owned(),
            host: host.to_owned(),
            daemons,
            servers,
            cluster_cidr,
            service_cidr,
            k3s_version: k3s_version.to_owned(),
            founded: None,
        }
    }

    /// Reads the mark of `cluster` as it lies on `machine`.
    pub fn read(machine: &str, cluster: &str, text: &str) -> Result<Self> {
        let wrong = |why: String| {
            Failure::new(
                Code::RecordConflict,
                format!("the mark on {machine} cannot be used"),
            )
            .because(why)
            .hint(format!(
                "look at it on {machine}: cat {}",
                Self::path(cluster)
            ))
        };
        let damaged =
            |error: serde_json::Error| wrong(format!("it is damaged at line {}", error.line()));
        let header: Header = serde_json::from_str(text).map_err(damaged)?;
        if header.version == 0 || header.version > VERSION {
            return Err(wrong(format!(
                "it has version {}, this program knows {VERSION}: a newer release of slicer-k3s wrote it",
                header.version
            ))
            .hint("use that release, or a newer one"));
        }
        let mark: Self = serde_json::from_str(text).map_err(damaged)?;
        let names = std::iter::once(&mark.host)
            .chain(mark.daemons.iter().map(|daemon| &daemon.group))
            .chain(mark.servers.iter().map(|server| &server.name));
        for name in names {
            config::check_name(name).map_err(|(why, _)| wrong(format!("a name in it {why}")))?;
        }
        let at_home = mark.daemons.iter().all(|daemon| daemon.host == mark.host)
            && mark.servers.iter().all(|server| {
                let mut daemons = mark.daemons.iter();
                daemons.any(|daemon| daemon.group == server.group) && server.host == mark.host
            });
        if let Some(founded) = &mark.founded {
            let hex = founded.ca.len() == 64 && founded.ca.bytes().all(|b| b.is_ascii_hexdigit());
            if !hex {
                return Err(wrong("the CA in it is no hash".to_owned()));
            }
            for name in &founded.voters {
                config::check_name(name)
                    .map_err(|(why, _)| wrong(format!("a name in it {why}")))?;
            }
        }
        if mark.cluster != cluster || !at_home {
            return Err(wrong("it does not agree with itself".to_owned()));
        }
        Ok(mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{plan, stored};

    /// A mark that an earlier release wrote is read by every later one, a later one's by none.
    #[test]
    fn older_marks_are_read_and_newer_ones_are_refused() {
        let mut plan = plan();
        plan.founded = Some(Founded {
            ca: "ab".repeat(32),
            voters: ["k3s-cp-1".into()].into(),
        });
        let mark = plan.mark("n100");
        let mut text = serde_json::to_value(&mark).unwrap();
        let read = |text: &serde_json::Value| Mark::read("n100", "home", &text.to_string());
        assert_eq!(read(&text).unwrap(), mark);
        text["version"] = 3.into();
        text["daemons"] = "something else".into();
        let failure = read(&text).unwrap_err();
        assert!(failure.to_string().contains("newer release"), "{failure}");
        let mut old = serde_json::to_value(&mark).unwrap();
        old["version"] = 1.into();
        old.as_object_mut().unwrap().remove("founded");
        assert_eq!(read(&old).unwrap().founded, None);
    }

    #[test]
    fn marks_that_releases_wrote_are_read() {
        for version in 1..=VERSION {
            let text = stored(&format!("mark-v{version}.json"));
            let mark = Mark::read("n100", "home", &text).unwrap();
            assert_eq!((mark.daemons.len(), mark.servers.len()), (2, 3));
            if version == VERSION {
                let written: serde_json::Value = serde_json::from_str(&text).unwrap();
                assert_eq!(serde_json::to_value(&mark).unwrap(), written);
            }
        }
    }
}
