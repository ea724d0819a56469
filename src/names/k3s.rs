//! What k3s and its install script call things: units, files, ports and URLs, each once. This file uses nothing else of the
//! program, so everything that asks a machine may use it.
//!
//! The scripts that are files of their own repeat some of these names; a test below keeps them equal.

/// The systemd unit of a server.
///
/// Source: k3s@af977adf install.sh, `setup_env` (`SYSTEM_NAME`, `SERVICE_K3S`).
pub const UNIT: &str = "k3s.service";

/// The systemd unit of an agent, as `systemctl` and `journalctl` take it.
///
/// Source: as for [`UNIT`].
pub const AGENT_UNIT: &str = "k3s-agent";

/// The file with an agent's join token, `K3S_TOKEN='…'`.
///
/// Source: k3s@af977adf install.sh, `setup_env` (`FILE_K3S_ENV`) and `create_env_file`.
pub const AGENT_UNIT_ENVIRONMENT_PATH: &str = "/etc/systemd/system/k3s-agent.service.env";

/// The program. The script takes `/opt/bin` where root cannot write to `/usr/local/bin`, which no image of Slicer's does.
///
/// Source: k3s@af977adf install.sh, `setup_env` (`BIN_DIR`).
pub const PROGRAM: &str = "/usr/local/bin/k3s";

/// Where the install script comes from; it answers with a redirect.
///
/// Source: docs.k3s.io, quick-start; k3s@af977adf install.sh, its first lines.
pub const INSTALLER_URL: &str = "https://get.k3s.io";

/// Where a channel's name leads to a release, by a redirect: the channel follows as the last part.
///
/// Source: k3s@af977adf install.sh, `setup_env` (`INSTALL_K3S_CHANNEL_URL`).
pub const CHANNELS_URL: &str = "https://update.k3s.io/v1-release/channels";

/// The kubeconfig that k3s writes, root's alone.
///
/// Source: k3s@af977adf pkg/datadir/datadir.go (`GlobalConfig`).
pub const KUBECONFIG_PATH: &str = "/etc/rancher/k3s/k3s.yaml";

/// A path below a server's data; `data-dir` cannot be set (see `config::own`).
macro_rules! server {
    ($below:literal) => {
        concat!("/var/lib/rancher/k3s/server", $below)
    };
}
pub(crate) use server;

/// Where a server keeps its data.
///
/// Source: k3s@af977adf pkg/datadir/datadir.go (`DefaultDataDir`), pkg/server/server.go (`ResolveDataDir`).
pub const SERVER_DIRECTORY: &str = server!("");

/// The token that the server's data is encrypted with.
///
/// Source: k3s@af977adf pkg/server/server.go, `printTokens`.
pub const TOKEN_PATH: &str = server!("/token");

/// The token that agents join by; a link to the other where they have no token of their own.
///
/// Source: as for [`TOKEN_PATH`].
pub const AGENT_TOKEN_PATH: &str = server!("/agent-token");

/// The certificates: `server-ca.crt`, and an administrator's `client-admin.crt` and `client-admin.key`.
///
/// Source: k3s@af977adf pkg/daemons/control/deps/deps.go, `CreateRuntimeCertFiles`.
pub const TLS_DIRECTORY: &str = server!("/tls");

/// The servers' CA certificate.
///
/// Source: as for [`TLS_DIRECTORY`].
pub const CA_PATH: &str = server!("/tls/server-ca.crt");

/// Who writes the events about a Node's certificates. Each check, at a start and twice an hour, writes one of each kind that
/// needs attention, or, at a start, one that all are sound.
///
/// Source: k3s@af977adf pkg/certmonitor/certmonitor.go, `Setup`.
pub const CERTIFICATE_MONITOR: &str = "k3s-cert-monitor";

/// The reason of the event about certificates that end within 120 days, which the next start of k3s renews.
///
/// Source: as for [`CERTIFICATE_MONITOR`]; pkg/daemons/config/types.go (`CertificateRenewDays`).
pub const CERTIFICATES_EXPIRE: &str = "CertificateExpirationWarning";

/// The reason of the event that all certificates are sound.
///
/// Source: as for [`CERTIFICATE_MONITOR`].
pub const CERTIFICATES_SOUND: &str = "CertificateExpirationOK";

/// The reason of the event about authorities that end within a year; k3s does not renew them.
///
/// Source: as for [`CERTIFICATE_MONITOR`].
pub const AUTHORITIES_EXPIRE: &str = "CACertificateExpirationWarning";

/// Where k3s notes that etcd's other members took this one out. It is gone once k3s has started again.
///
/// Source: k3s@af977adf pkg/executor/embed/etcd/etcd.go (writes it), pkg/etcd/etcd.go (reads it at a start).
pub const TOMBSTONE_PATH: &str = server!("/db/etcd/tombstone");

/// Where `k3s etcd-snapshot save` puts a snapshot.
///
/// Source: k3s@af977adf `pkg/cli/cmds/etcd_snapshot.go` (`etcd-snapshot-dir`).
pub const SNAPSHOTS_DIRECTORY: &str = server!("/db/snapshots");

/// The port of the API and of k3s's own questions, for agents and other servers.
///
/// Source: k3s@af977adf pkg/cli/cmds/server.go (`https-listen-port`).
pub const API_PORT: u16 = 6443;

/// The port by which etcd's members reach each other.
///
/// Source: k3s@af977adf pkg/etcd/etcd.go, `peerURL`.
pub const ETCD_PEER_PORT: u16 = 2380;

/// k3s's own configuration, for who is to join. It is asked for its status alone: whether it accepts a token.
///
/// Source: k3s@af977adf pkg/server/handlers/router.go.
pub const JOIN_PATH: &str = "/v1-k3s/config";

/// Where the server token is replaced, by a `PUT` of `newToken`.
///
/// Source: k3s@af977adf pkg/server/handlers/router.go, pkg/server/handlers/token.go (`TokenRotateRequest`).
pub const TOKEN_REQUEST_PATH: &str = "/v1-k3s/token";

/// The CA certificates that clients are to trust.
///
/// Source: k3s@af977adf pkg/server/handlers/router.go.
pub const CA_REQUEST_PATH: &str = "/cacerts";

/// etcd's members.
///
/// Source: k3s@af977adf pkg/etcd/etcd.go, `handler` and `infoHandler`.
pub const MEMBERS_PATH: &str = "/db/info";

/// A Node's condition that says whether its etcd member votes.
///
/// Source: k3s@af977adf pkg/etcd/etcd.go (`etcdStatusType`).
pub const VOTES: &str = "EtcdIsVoter";

/// The image of the containers that hold a pod's network: every Node of k3s has it already.
///
/// Source: k3s@af977adf pkg/cli/cmds/agent.go (`pause-image`).
pub const PAUSE_IMAGE: &str = "docker.io/rancher/mirrored-pause:3.6";

/// A URL of a server's own API, as it is asked on that server.
pub fn local_api(path: &str) -> String {
    format!("https://127.0.0.1:{API_PORT}{path}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::k3s::{
        CONFIG_PATH, ENVIRONMENT_PATH, REGISTRIES_PATH, UNIT_ENVIRONMENT_PATH, UNIT_PATH,
    };

    /// A path that is changed here only would leave a script asking for a file that is not there: nothing, to its reader.
    #[test]
    fn the_scripts_use_the_same_names() {
        let server = include_str!("../slicer/server.sh");
        let data = include_str!("../remote/server_data.sh");
        let proxies = include_str!("../remote/running_proxies.sh");
        let (unit, environment) = (
            UNIT.trim_end_matches(".service"),
            UNIT_ENVIRONMENT_PATH.rsplit('/').next().unwrap(),
        );
        for (script, words) in [
            (server, format!("f config \"$r{CONFIG_PATH}\"")),
            (server, format!("\"$r{REGISTRIES_PATH}\"")),
            (server, format!("f unit \"$r{UNIT_PATH}\"")),
            (server, format!("\"$r{ENVIRONMENT_PATH}\"")),
            (server, format!("\"$r{UNIT_ENVIRONMENT_PATH}\"")),
            (server, format!("\ns=$r{SERVER_DIRECTORY}\n")),
            (server, format!("\"$r{PROGRAM}\" --version")),
            (server, format!(" {}", local_api(JOIN_PATH))),
            (server, format!("\"{}$1/", local_api(""))),
            (server, format!("--value {unit} ")),
            (data, format!("\nserver={SERVER_DIRECTORY}\n")),
            (data, format!("program={PROGRAM}\n")),
            (data, format!(" {})", local_api(MEMBERS_PATH))),
            (data, format!(" {} ", local_api("/version"))),
            (data, format!("--value {unit} ")),
            (proxies, format!("*/{environment} ")),
        ] {
            assert!(script.contains(&words), "{words}");
        }
        let below = |path: &str| path.strip_prefix(SERVER_DIRECTORY).unwrap().to_owned();
        for (script, variable, path) in [
            (server, "$s", TOKEN_PATH),
            (server, "$s", AGENT_TOKEN_PATH),
            (server, "$s", TLS_DIRECTORY),
            (data, "$server", TLS_DIRECTORY),
            (data, "$server", CA_PATH),
        ] {
            let words = format!("{variable}{}", below(path));
            assert!(script.contains(&words), "{words}");
        }
    }
}
