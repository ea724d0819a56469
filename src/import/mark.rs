//! The mark that `init` leaves on a host, read back. It comes from a machine: what does not agree with itself is refused.

use ipnet::Ipv4Net;
use serde::Deserialize;

use crate::config;
use crate::failure::{Code, Failure, Result};
use crate::plan::{Daemon, Server};

/// The decisions about one host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
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
}

/// The version that is understood.
const VERSION: u32 = 1;

impl Mark {
    /// The mark that a host of a hand-made cluster would carry: its daemons and servers, pods' and services' networks.
    pub(super) fn made(
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
        }
    }

    /// Reads the mark of `cluster` as it lies on `machine`.
    pub fn read(machine: &str, cluster: &str, text: &str) -> Result<Self> {
        let wrong = |why: String| {
            Failure::new(
                Code::PlanConflict,
                format!("the mark on {machine} cannot be used"),
            )
            .because(why)
            .hint(format!(
                "look at it on {machine}: cat /etc/slicer-k3s/{cluster}.json"
            ))
        };
        let mark: Self = serde_json::from_str(text).map_err(|error| {
            wrong(format!(
                "it is damaged, or of another release, at line {}",
                error.line()
            ))
        })?;
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
        if mark.version != VERSION {
            return Err(wrong(format!(
                "it has version {}, this program knows {VERSION}",
                mark.version
            )));
        }
        if mark.cluster != cluster || !at_home {
            return Err(wrong("it does not agree with itself".to_owned()));
        }
        Ok(mark)
    }
}
