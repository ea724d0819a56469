//! The closed set of questions: what can be asked of a machine without changing it.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::absent::{none, read_or_none, tell_none};
use super::{ImageTag, Script};
use crate::names::k3s::{CHANNELS_URL, JOIN_PATH, TLS_DIRECTORY, local_api};
use crate::names::ours::SETTINGS;
use crate::names::slicer::CONSOLES;
use crate::secret::Secret;

/// One question; each renders to a script that changes nothing. Where "status 1" is said, the script says itself that there is
/// none, and anything else is a failure (see `remote::absent`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Probe {
    /// A file's content; status 1 and empty where it does not exist.
    File(String),
    /// Status 0 where a file exists and may be run, else 1.
    Program(String),
    /// A file's "MODE UID GID SHA256" line (mode octal without leading zero); status 1 where it does not exist.
    FileFacts(String),
    /// "INODE SIZE TIME" of a file, the time that of its last change of content, name or mode: whoever replaces it changes
    /// that. Status 1 where it does not exist.
    FileStamp(String),
    /// `systemctl show` of a unit: its states, restarts, last exit status, result, invocation, start time and working directory.
    Unit(String),
    /// The logs of the serial consoles of this group's VMs, one path a line; status 1 where there is none. By number: a group
    /// whose name begins with this one's has logs of its own.
    ConsoleLogs(String),
    /// Whether a path exists, a link what it leads to: `yes` or `no`; another status than 0 where that cannot be seen.
    Exists(String),
    /// The same of a path's own entry: a link counts, wherever it leads.
    Entry(String),
    /// What a k3s server holds: whether it has etcd data, its CA's hash, etcd's members (see `control_plane`).
    ServerData {
        /// Whether also its versions of k3s, which may cost the start of a large program.
        versions: bool,
    },
    /// "MODE UID" of a directory; status 1 where it is none.
    Directory(String),
    /// Where a path leads once every link is followed; nothing where that cannot be told.
    Resolved(String),
    /// The processes that run `slicer up` with this YAML in this directory, one id a line: units' and hand-started ones.
    SlicerUp {
        /// The working directory.
        directory: String,
        /// The YAML, absolute.
        file: String,
    },
    /// The `SLICER_K3S_CONFIG` that a unit's running process was started with: which configuration it has read.
    RunningConfig(String),
    /// The proxies that a unit's running process was started with, by their hashes: "NAME SHA256" a line, and "NAME elsewhere"
    /// where systemd itself, the unit's own text or another environment file sets it.
    RunningProxies(String),
    /// k3s's own drop-ins, whole (see [`crate::k3s::drop_ins`]).
    DropIns,
    /// The last lines of a unit's journal.
    Journal {
        /// The unit.
        unit: String,
        /// How many lines.
        lines: u32,
    },
    /// Of the last lines of a unit's programs, those that hold one of these texts (all, where there are none) and the first of
    /// each start, as journalctl's JSON (see [`super::starts`]). systemd's own lines are not among them.
    Starts {
        /// The unit.
        unit: String,
        /// How many lines are looked through.
        lines: u32,
        /// The texts, as they stand in JSON.
        texts: Vec<&'static str>,
    },
    /// The line of `df -Pk` for the file system of this path; nothing where it does not exist.
    DiskFree(String),
    /// Everything the plan must know of a host, as labelled sections (see `facts::survey`).
    Survey,
    /// What Slicer's installation lacks, a word a line: nothing where it is whole, `slicer` where there is none.
    SlicerLacks,
    /// The marks of all clusters on a host: a heading `== NAME` each, then its lines behind a blank, and `== end`.
    Marks,
    /// `ip -j -4 route show`, all of the main table.
    Routes,
    /// `ip -j -4 addr show`.
    Addresses,
    /// The route the kernel would take to an address: `ip -j route get`.
    RouteTo(String),
    /// `nft list table ip NAME`; status 1 where there is none.
    NatTable(String),
    /// How many seconds ago a moment was, by the machine's own clock: what it wrote itself is told by no other.
    SecondsSince(String),
    /// Whether `url` answers within 5 s: prints the HTTP status; `-k` because only reachability is asked.
    Http(String),
    /// Status 0 where a TCP connection to this address comes about within 4 s.
    Tcp {
        /// The address.
        address: Ipv4Addr,
        /// The port.
        port: u16,
    },
    /// One question to the cluster's API, by the server's own administrator's certificate; the same path by kubectl, which
    /// takes ten times as long to start, where k3s keeps that certificate elsewhere.
    Kubernetes {
        /// The API's path, with its query.
        path: String,
        /// Whether of each object in a list the metadata are enough. kubectl cannot say so, and gets whole objects.
        metadata: bool,
    },
    /// The address that a k3s channel redirects to (see [`CHANNELS_URL`]); its last part is the version.
    Channel(String),
    /// The digest that a registry has for an image's tag now (`sha256:…`); status 1 where it does not tell.
    ImageDigest(ImageTag),
    /// Unauthenticated body of an HTTPS path of this server's own API (`/cacerts`, `/db/info`, `/ping`).
    Supervisor(String),
    /// The version that an installed program prints: `PROGRAM --version`.
    Version(String),
    /// The HTTP status that this server gives to a joining `node` or `server` with this password: 401 refuses the password,
    /// 403 says that the user is known but may not read this path, or that no credentials arrived (k3s
    /// pkg/server/auth/auth.go).
    Join {
        /// `node` or `server`.
        user: &'static str,
        /// The password; travels by stdin.
        password: Secret,
    },
}

/// Says whether `stat` with this option finds a path.
const THERE: &str = "if w=$(LC_ALL=C stat {} -c %n -- {} 2>&1); then echo yes; else case $w in *'No such file or directory') echo no;; \
     *) echo \"$w\" >&2; exit 3;; esac; fi";

/// What is there and is no directory is none.
const DIRECTORY: &str = concat!(
    "test -d {} && { stat -c '%a %u' -- {}; exit; }\n",
    "w=$(LC_ALL=C stat -c %F -L -- {} 2>&1) && w=': Not a directory'\n",
    tell_none!()
);

/// A VM's number may have any number of digits, and nothing else stands between its group's name and the ending.
const CONSOLE_LOGS: &str = concat!(
    "l={}; w=$(LC_ALL=C ls -- \"${l%/*}\" 2>&1 >/dev/null) || {\n",
    tell_none!(),
    "\n}\n",
    "f=$(for f in \"$l\"-[0-9]*.txt; do n=${f#\"$l\"-}; case ${n%.txt} in *[!0-9]*) ;; *) echo \"$f\" ;; esac; done)\n",
    "[ -n \"$f\" ] || { ",
    none!(),
    "; }; printf '%s\\n' \"$f\""
);

/// A host without nft, or whose kernel has none, has no table either.
const NAT_TABLE: &str = concat!(
    "command -v nft >/dev/null 2>&1 || { ",
    none!(),
    "; }\n{ w=$(LC_ALL=C nft list table ip {} 2>&1 >&3); } 3>&1 && exit 0\n",
    "case $w in *'No such file or directory'* | *'not supported'*) ",
    none!(),
    ";; esac; printf '%s\\n' \"$w\" >&2; exit 3"
);

const SURVEY: &str = concat!(
    "slicer_lacks() {\n",
    include_str!("slicer_lacks.sh"),
    "}\n",
    include_str!("survey.sh")
);

/// Asks for lists of what Kubernetes' API calls `PartialObjectMetadata`; a server that does not know that sends whole objects.
///
/// Source: kubernetes/apimachinery pkg/apis/meta/v1/types.go (`PartialObjectMetadataList`);
/// kubernetes.io/docs/reference/using-api/api-concepts ("Metadata-only fetches").
const METADATA: &str =
    "Accept: application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";

/// What curl sends by itself.
const ANYTHING: &str = "Accept: */*";

impl Probe {
    /// Whether the machine answers at once, by itself: what asks another one, or starts a large program, is better
    /// not waited for by others.
    pub(super) fn is_quick(&self) -> bool {
        match self {
            Self::Survey
            | Self::ServerData { .. }
            | Self::Http(_)
            | Self::Tcp { .. }
            | Self::Channel(_)
            | Self::ImageDigest(_)
            | Self::Version(_)
            | Self::Join { .. } => false,
            // Each by name: a new question is to be thought about.
            Self::File(_)
            | Self::Program(_)
            | Self::FileFacts(_)
            | Self::FileStamp(_)
            | Self::Unit(_)
            | Self::ConsoleLogs(_)
            | Self::Exists(_)
            | Self::Entry(_)
            | Self::Directory(_)
            | Self::Resolved(_)
            | Self::SlicerUp { .. }
            | Self::RunningConfig(_)
            | Self::RunningProxies(_)
            | Self::DropIns
            | Self::Marks
            | Self::Journal { .. }
            | Self::Starts { .. }
            | Self::SlicerLacks
            | Self::DiskFree(_)
            | Self::Routes
            | Self::Addresses
            | Self::RouteTo(_)
            | Self::NatTable(_)
            | Self::SecondsSince(_)
            | Self::Kubernetes { .. }
            | Self::Supervisor(_) => true,
        }
    }

    /// The script that asks.
    pub fn script(&self) -> Script {
        match self {
            Self::File(path) => Script::new(read_or_none!("cat -- {}"), &[path]),
            Self::Program(path) => Script::new(concat!("test -x {} && exit 0; ", none!()), &[path]),
            Self::FileFacts(path) => Script::new(
                read_or_none!("stat -c '%a %u %g' -- {} && sha256sum < {}"),
                &[path, path],
            ),
            Self::DiskFree(path) => Script::new("df -Pk -- {} 2>/dev/null | sed -n 2p", &[path]),
            // As server_data.sh prints it.
            Self::FileStamp(path) => {
                Script::new(read_or_none!("stat -L -c '%i %s %z' -- {}"), &[path])
            }
            Self::Unit(unit) => Script::new(
                "systemctl show -p ActiveState,SubState,UnitFileState,NRestarts,ExecMainStatus,Result,InvocationID,ExecMainStartTimestampMonotonic,NeedDaemonReload,WorkingDirectory -- {}",
                &[unit],
            ),
            Self::ConsoleLogs(group) => {
                Script::new(CONSOLE_LOGS, &[&format!("{CONSOLES}/{group}")])
            }
            Self::Exists(path) => Script::new(THERE, &["-L", path]),
            Self::Entry(path) => Script::new(THERE, &["-c%n", path]),
            Self::ServerData { versions } => Script::new(
                concat!("VERSIONS={}\n", include_str!("server_data.sh")),
                &[if *versions { "yes" } else { "no" }],
            )
            .limit(Duration::from_secs(12)),
            Self::Directory(path) => Script::new(DIRECTORY, &[path, path, path]),
            Self::Resolved(path) => Script::new("readlink -f -- {} 2>/dev/null", &[path]),
            Self::SlicerUp { directory, file } => {
                Script::new(include_str!("slicer_up.sh"), &[directory, file])
            }
            Self::RunningConfig(unit) => Script::new(
                "pid=$(systemctl show -p MainPID --value -- {}) && test \"$pid\" -gt 0 && \
                 tr '\\0' '\\n' < \"/proc/$pid/environ\" | sed -n 's/^SLICER_K3S_CONFIG=//p'",
                &[unit],
            ),
            Self::DropIns => Script::new(include_str!("drop_ins.sh"), &[]),
            Self::RunningProxies(unit) => Script::new(include_str!("running_proxies.sh"), &[unit]),
            Self::Journal { unit, lines } => Script::new(
                "journalctl -q --no-pager -o cat -n {} -u {}",
                &[&lines.to_string(), unit],
            ),
            Self::Starts { unit, lines, texts } => Script::new(
                include_str!("starts.sh"),
                &[&lines.to_string(), unit, &texts.join("|")],
            ),
            Self::Survey => Script::new(SURVEY, &[]).limit(Duration::from_secs(20)),
            Self::SlicerLacks => Script::new(include_str!("slicer_lacks.sh"), &[]),
            Self::Marks => Script::new(
                "for f in {}/*.json; do [ -f \"$f\" ] || continue; t=$(cat -- \"$f\") || exit 3; echo \"== $(basename \"$f\" .json)\"; \
                 printf '%s\\n' \"$t\" | sed 's/^/ /'; done; echo '== end'",
                &[SETTINGS],
            ),
            Self::Routes => Script::new("ip -j -4 route show", &[]),
            Self::Addresses => Script::new("ip -j -4 addr show", &[]),
            Self::RouteTo(address) => Script::new("ip -j -4 route get {}", &[address]),
            Self::NatTable(name) => Script::new(NAT_TABLE, &[name]),
            Self::SecondsSince(moment) => Script::new(
                "then=$(date -d {} +%s) && echo $(($(date +%s) - then))",
                &[moment],
            ),
            Self::Http(url) => {
                Script::new("curl -sk -o /dev/null -m 5 -w '%{http_code}' -- {}", &[url])
            }
            Self::Tcp { address, port } => Script::new(
                "timeout 4 bash -c ': <\"/dev/tcp/$0/$1\"' {} {}",
                &[&address.to_string(), &port.to_string()],
            ),
            Self::Kubernetes { path, metadata } => Script::new(
                "t={}; [ -r $t/client-admin.key ] || exec k3s kubectl get --request-timeout=10s --raw {}; \
                 exec curl -sS -m 10 -H {} --cacert $t/server-ca.crt --cert $t/client-admin.crt --key $t/client-admin.key -- {}",
                &[
                    TLS_DIRECTORY,
                    path,
                    if *metadata { METADATA } else { ANYTHING },
                    &local_api(path),
                ],
            ),
            Self::Channel(id) => Script::new(
                "curl -sS -o /dev/null -m 20 -w '%{redirect_url}' -- {}",
                &[&format!("{CHANNELS_URL}/{id}")],
            ),
            Self::ImageDigest(image) => Script::new(
                include_str!("digest.sh"),
                &[&image.registry, &image.repository, &image.tag],
            ),
            Self::Supervisor(path) => Script::new("curl -sfk -m 5 -- {}", &[&local_api(path)]),
            Self::Join { user, password } => Script::new(
                "curl -sk -o /dev/null -m 5 -w '%{http_code}' -K - -- {}",
                &[&local_api(JOIN_PATH)],
            )
            .stdin(curl_option(
                "user",
                &format!("{user}:{}", password.expose()),
            )),
            Self::Version(program) => Script::new("{} --version 2>/dev/null", &[program]),
        }
    }
}

/// A line of curl's configuration, as its `-K -` reads it from stdin: the place for secrets.
pub(crate) fn curl_option(name: &str, value: &str) -> String {
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
    format!("{name} = \"{escaped}\"\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A VM numbered 1000 left its log for ever; and by a wider pattern a group would have taken another one's for its own.
    #[test]
    fn console_logs_are_found_by_numbers_of_any_length() {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().display().to_string();
        let probe = Probe::ConsoleLogs("a".into()).script();
        let text = probe.text().replace(CONSOLES, &place);
        let ask = || {
            let asked = std::process::Command::new("sh")
                .args(["-c", &text])
                .output();
            let asked = asked.unwrap();
            (
                asked.status.success(),
                String::from_utf8(asked.stdout).unwrap(),
            )
        };
        assert_eq!(ask(), (false, String::new()));
        let file = |name: &str| fs_err::write(directory.path().join(name), "x").unwrap();
        for name in ["a-1-1.txt", "a-x.txt", "a-1.txt.old", "b-1.txt"] {
            file(name);
        }
        assert_eq!(ask(), (false, String::new()));
        for name in ["a-7.txt", "a-1000.txt", "a-12345.txt"] {
            file(name);
        }
        let lines =
            ["a-1000.txt", "a-12345.txt", "a-7.txt"].map(|name| format!("{place}/{name}\n"));
        assert_eq!(ask(), (true, lines.concat()));
    }

    /// A daemon whose directory was handed over by a link was not seen to run: its process shows where the link leads.
    #[test]
    fn a_daemon_that_a_person_started_is_found_behind_a_link() {
        let real = tempfile::tempdir().unwrap();
        let links = tempfile::tempdir().unwrap();
        let link = links.path().join("home");
        std::os::unix::fs::symlink(real.path(), &link).unwrap();
        // A process of Slicer's name whose words are Slicer's: a shell that reads a script called `up`.
        fs_err::copy("/bin/sh", real.path().join("slicer")).unwrap();
        fs_err::write(real.path().join("up"), "echo ready; read line").unwrap();
        fs_err::write(real.path().join("a.yaml"), "").unwrap();
        let mut child = std::process::Command::new(real.path().join("slicer"))
            .args(["up", "./a.yaml"])
            .current_dir(real.path())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
        let ask = |directory: String, file: &str| {
            let file = format!("{directory}/{file}");
            let script = Probe::SlicerUp { directory, file }.script();
            let asked = std::process::Command::new("sh")
                .args(["-c", script.text()])
                .output();
            String::from_utf8(asked.unwrap().stdout).unwrap()
        };
        let (link, real) = (
            link.display().to_string(),
            real.path().display().to_string(),
        );
        let found = [&link, &format!("{link}/"), &real].map(|place| ask(place.clone(), "a.yaml"));
        let others = [
            ask(link, "b.yaml"),
            ask(links.path().display().to_string(), "a.yaml"),
        ];
        child.kill().unwrap();
        child.wait().unwrap();
        let id = format!("{}\n", child.id());
        assert_eq!(found, [&*id; 3]);
        assert_eq!(others, [""; 2]);
    }

    /// It asks a registry on the Internet, for up to 24 s: its companions would lose their answers.
    #[test]
    fn what_asks_others_is_asked_alone() {
        let image = ImageTag {
            registry: "ghcr.io".into(),
            repository: "a/b".into(),
            tag: "latest".into(),
        };
        assert!(!Probe::ImageDigest(image).is_quick());
        assert!(!Probe::Http("http://a".into()).is_quick());
        assert!(Probe::File("/etc/x".into()).is_quick());
    }
}
