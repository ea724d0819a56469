//! A server VM through Slicer's agent: what its k3s was told, and who may log in. No key of ours is needed for it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::{Slicer, exec};
use crate::failure::{Code, Failure, Result};
use crate::k3s::{self, DropIn};
use crate::names::autoscaler::CLOUD_CONFIG_KEY;
use crate::names::slicer::{AUTHORIZED_KEYS, VM_USER};
use crate::pipeline::WritePermit;
use crate::remote::{Output, Script};
use crate::secret::Secret;

/// What a server's k3s was told, as it lies on the server; empty texts where there is nothing.
#[derive(Clone, Debug, Default)]
pub struct ServerFacts {
    /// k3s's config.yaml, tokens included.
    pub config: Secret,
    /// k3s's own drop-ins, in the order in which it reads them.
    pub drop_ins: Vec<DropIn>,
    /// The words of its unit after `k3s server`.
    pub arguments: Vec<String>,
    /// The token that its data is encrypted with, in its full form.
    pub token: Secret,
    /// The token that agents join by, in its full form.
    pub agent_token: Secret,
    /// Whether Secrets are encrypted in etcd.
    pub encrypts: bool,
    /// Its version of k3s, as its program prints it.
    pub version: String,
    /// Helm's record of the autoscaler's release, as JSON, where no HelmChart says how it was installed.
    pub release: Secret,
    /// The autoscaler's HelmChart object, as JSON.
    pub chart: String,
    /// The autoscaler's cloud-config, tokens included.
    pub cloud_config: Secret,
    /// What its k3s holds, as `Probe::ServerData` prints it.
    pub data: String,
    /// k3s's registries.yaml, passwords included.
    pub registries: Secret,
    /// The files that its unit reads variables from, in that order; a proxy's URL may hold a password.
    pub environment: Secret,
    /// Whether its k3s accepts the token that it keeps.
    pub process: Process,
    /// Why the API did not say how the autoscaler is deployed; `None` where it did.
    pub api_down: Option<String>,
}

/// Whether a server's running k3s accepts the server token that it keeps.
///
/// k3s writes that token down at each start, and whenever it seals its data with another one; its process goes by the one that
/// it was started with (k3s pkg/server/server.go `printTokens`, pkg/server/handlers/token.go `tokenRotate`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Process {
    /// That is not known: k3s is down, is starting or does not answer.
    #[default]
    Unknown,
    /// It was started with it.
    Accepts,
    /// It was started with another one, and has replaced that since.
    Refuses,
    /// It ended, since the data are sealed with another token than the one that its configuration names.
    LockedOut,
}

impl Process {
    /// From the script's part; see `Probe::Join` for the statuses.
    fn read(text: &str) -> Self {
        match text.trim() {
            "401" => Self::Refuses,
            "200" | "403" => Self::Accepts,
            "locked-out" => Self::LockedOut,
            _ => Self::Unknown,
        }
    }
}

/// The script of `Probe::ServerData`.
const DATA: &str = include_str!("../remote/server_data.sh");

/// The script of `Probe::DropIns`.
const DROP_INS: &str = include_str!("../remote/drop_ins.sh");

const LOOK: &str = include_str!("server.sh");

impl Slicer {
    /// What a server's k3s was told.
    pub async fn server_facts(&self, vm: &str) -> Result<ServerFacts> {
        let done = exec::run(self, vm, &script()).await?;
        read(&done.stdout).ok_or_else(|| {
            Failure::new(
                Code::Vm,
                format!("{vm} does not show its k3s's configuration"),
            )
            // Not what it printed of its files, which may be a token.
            .because(
                done.stderr
                    .lines()
                    .next_back()
                    .unwrap_or("its answer was cut short"),
            )
            .hint(format!("slicer vm exec {vm} -- df -h /; then run again"))
        })
    }

    /// Whether a server lets the owner of this key in.
    pub async fn is_authorized(&self, vm: &str, key: &str) -> Result<bool> {
        let probe = Script::new("grep -qF -- {} {}", &[key, AUTHORIZED_KEYS]);
        Ok(exec::run(self, vm, probe.text()).await?.ok())
    }

    /// Lets the owner of this key into a server.
    pub async fn authorize_key(&self, _: &WritePermit, vm: &str, key: &str) -> Result<()> {
        let add = Script::new(LET_IN, &[AUTHORIZED_KEYS, VM_USER, key]);
        let done: Output = exec::run(self, vm, add.text()).await?;
        if done.ok() {
            return Ok(());
        }
        Err(
            Failure::new(Code::Vm, format!("{vm} does not take the cluster's key"))
                .because(done.last_words()),
        )
    }
}

/// A file with one line more takes the place of the one that is there: half of it would lock others out.
const LET_IN: &str = "set -e; f={}; u={}; d=$(dirname \"$f\")
[ -d \"$d\" ] || install -d -m 0700 -o \"$u\" -g \"$u\" \"$d\"
[ -f \"$f\" ] || install -m 0600 -o \"$u\" -g \"$u\" /dev/null \"$f\"
f=$(readlink -f \"$f\"); t=$(mktemp \"$f.XXXXXX\"); trap 'rm -f \"$t\"' EXIT
cp -p -- \"$f\" \"$t\"; printf '\\n%s\\n' {} >>\"$t\"; sync \"$t\"; mv -f -- \"$t\" \"$f\"";

fn script() -> String {
    format!(
        "{LOOK}\n(\n{DROP_INS}) | p drop-ins\n(\nVERSIONS=yes\n{DATA}) | p data\necho '== end'\n"
    )
}

/// What the script printed; `None` where it did not come to its end.
fn read(text: &str) -> Option<ServerFacts> {
    if text.lines().next_back() != Some("== end") {
        return None;
    }
    let part = |label: &str| part(text, label);
    let version = part("version");
    let api = part("api");
    Some(ServerFacts {
        config: Secret::new(part("config")),
        // Those that did not come whole are not none.
        drop_ins: k3s::drop_ins(&part("drop-ins"))?,
        arguments: k3s::arguments(&part("unit")),
        token: Secret::new(part("token")),
        agent_token: Secret::new(part("agent-token")),
        encrypts: !part("encryption").is_empty(),
        // "k3s version v1.34.4+k3s1 (abcdef)"
        version: version
            .split_whitespace()
            .nth(2)
            .unwrap_or_default()
            .to_owned(),
        release: Secret::new(part("release")),
        chart: part("chart"),
        cloud_config: Secret::new(decoded(&part("cloud-config"))),
        data: part("data"),
        registries: Secret::new(part("registries")),
        environment: Secret::new(part("environment")),
        process: Process::read(&part("process")),
        api_down: match api.as_str() {
            "" => None,
            "000" => Some("it does not answer".to_owned()),
            "200" => Some("Helm's record of its release cannot be read".to_owned()),
            status => Some(format!("it answers with HTTP status {status}")),
        },
    })
}

/// The file in the secret's JSON; empty where there is none.
fn decoded(secret: &str) -> String {
    let secret: serde_json::Value = serde_json::from_str(secret).unwrap_or_default();
    let data = secret["data"][CLOUD_CONFIG_KEY]
        .as_str()
        .unwrap_or_default();
    let file = STANDARD.decode(data).unwrap_or_default();
    String::from_utf8_lossy(&file).into_owned()
}

fn part(text: &str, label: &str) -> String {
    let heading = format!("== {label}");
    let lines = text.lines().skip_while(|line| *line != heading).skip(1);
    let mut part = lines
        .map_while(|line| match line.strip_prefix(' ') {
            Some(line) => Some(line),
            None if line.is_empty() => Some(""),
            None => None,
        })
        .collect::<Vec<_>>()
        .join("\n");
    part.truncate(part.trim_end().len());
    part
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::names::kubernetes::HELM_API;

    #[test]
    fn no_line_of_a_file_passes_for_a_heading() {
        let text = "== config\n token: a\n == chart\n\n== chart\n {}\n\n== cloud-config\n\n";
        assert_eq!(part(text, "config"), "token: a\n== chart");
        assert_eq!(part(text, "chart"), "{}");
        assert_eq!(part(text, "cloud-config"), "");
        assert_eq!(decoded(""), "");
        assert_eq!(
            decoded(r#"{"data":{"cloud-config":"W2dsb2JhbF0="}}"#),
            "[global]"
        );
    }

    /// The script asks for what the autoscaler's chart is called by `generate`; another name would pass for one that is not there.
    #[test]
    fn the_script_asks_for_the_autoscalers_objects_by_their_names() {
        use crate::names::autoscaler::{AUTOSCALER, CLOUD_CONFIG_SECRET, NAMESPACE};
        for words in [
            format!("/namespaces/{NAMESPACE}/"),
            format!("ask /apis/{HELM_API} helmcharts/{AUTOSCALER}\n"),
            format!("name%3D{AUTOSCALER},"),
            format!("secrets/{CLOUD_CONFIG_SECRET}\n"),
        ] {
            assert!(LOOK.contains(&words), "{words}");
        }
    }

    /// The script on a machine whose files are below `root`, with these answers of curl and systemctl.
    fn seen(root: &Path, curl: &str, state: &str) -> Option<ServerFacts> {
        use std::os::unix::fs::PermissionsExt as _;
        let bin = root.join("bin");
        fs_err::create_dir_all(&bin).unwrap();
        let journal = "echo 'bootstrap data already found and encrypted with different token'";
        for (name, text) in [
            ("curl", curl),
            ("systemctl", &format!("echo {state}")),
            ("journalctl", journal),
        ] {
            let path = bin.join(name);
            fs_err::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
        let probe = script().replacen("\nr=\n", &format!("\nr={}\n", root.display()), 1);
        let done = std::process::Command::new("bash")
            .args(["-c", &probe])
            .env("PATH", path)
            .output();
        read(&String::from_utf8(done.unwrap().stdout).unwrap())
    }

    fn put(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    /// An import would give the autoscaler every default instead of what it was deployed with.
    #[test]
    fn an_api_that_is_down_is_not_an_autoscaler_that_is_not_there() {
        let root = tempfile::tempdir().unwrap();
        let down = |curl: &str| seen(root.path(), curl, "active").unwrap().api_down;
        assert_eq!(down("printf '{}\\n404'"), None);
        assert_eq!(down("printf '{\"items\":[]}\\n200'"), None);
        assert!(
            down("printf '\\n000'; exit 7")
                .unwrap()
                .contains("does not answer")
        );
        assert!(down("printf 'x\\n503'").unwrap().contains("503"));
        assert!(down("exit 127").unwrap().contains("does not answer"));
        let damaged = r#"case "$*" in *helmcharts*) printf '{}\n404' ;;
            *) printf '{"items":[{"data":{"release": "xx"}}]}\n200' ;; esac"#;
        assert!(down(damaged).is_some());
    }

    #[test]
    fn registries_and_the_environment_are_read_in_the_units_order() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        put(
            root,
            "etc/rancher/k3s/registries.yaml",
            "mirrors:\n  a: {}\n",
        );
        put(
            root,
            "etc/systemd/system/k3s.service.env",
            "HTTPS_PROXY=http://last:1",
        );
        put(root, "etc/default/k3s", "HTTPS_PROXY=http://first:1");
        let facts = seen(root, "printf '\\n404'", "active").unwrap();
        assert_eq!(facts.registries.expose(), "mirrors:\n  a: {}");
        let proxies = k3s::proxies(facts.environment.expose());
        assert_eq!(proxies["HTTPS_PROXY"], "http://last:1");
    }

    /// Only a k3s that has started goes by one token: one that starts lets in for a moment, whatever the data are sealed with.
    #[test]
    fn the_running_server_says_whether_it_accepts_the_token_that_it_keeps() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        put(
            root,
            "var/lib/rancher/k3s/server/token",
            "K10ab::server:5e\"7ve7\n",
        );
        // Answers to the right credentials only, as curl reads them.
        let curl = |answer: u32| {
            format!(
                "case \"$*\" in *v1-k3s*) read -r user; [ \"$user\" = 'user = \"server:5e\\\"7ve7\"' ] && printf {answer} ;; \
                 *) printf '\\n404' ;; esac"
            )
        };
        let process = |answer, state| seen(root, &curl(answer), state).unwrap().process;
        assert_eq!(process(401, "active"), Process::Refuses);
        assert_eq!(process(403, "active"), Process::Accepts);
        assert_eq!(process(500, "active"), Process::Unknown);
        assert_eq!(process(401, "activating"), Process::LockedOut);
        fs_err::remove_file(root.join("var/lib/rancher/k3s/server/token")).unwrap();
        assert_eq!(process(401, "active"), Process::Unknown);
    }

    #[test]
    fn a_key_is_added_by_a_file_that_takes_the_others_place() {
        use std::os::unix::fs::MetadataExt as _;
        let root = tempfile::tempdir().unwrap();
        let (file, link) = (root.path().join("keys"), root.path().join("link"));
        fs_err::write(&file, "ssh-ed25519 AAAA other").unwrap();
        fs_err::os::unix::fs::symlink(&file, &link).unwrap();
        let before = fs_err::metadata(&file).unwrap();
        let add = Script::new(
            LET_IN,
            &[link.to_str().unwrap(), "root", "ssh-ed25519 BBBB ours"],
        );
        let mut shell = std::process::Command::new("bash");
        assert!(shell.args(["-c", add.text()]).status().unwrap().success());
        let after = fs_err::metadata(&file).unwrap();
        assert_ne!(before.ino(), after.ino());
        assert_eq!((before.mode(), before.uid()), (after.mode(), after.uid()));
        let text = fs_err::read_to_string(&link).unwrap();
        assert_eq!(text, "ssh-ed25519 AAAA other\nssh-ed25519 BBBB ours\n");
        assert_eq!(
            fs_err::read_dir(root.path()).unwrap().count(),
            2,
            "no leftovers"
        );
    }

    /// What could not be read must not pass for a server that was told nothing.
    #[test]
    fn a_cut_answer_and_an_unreadable_file_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let whole = "== config\n token: a\n\n== drop-ins\n == end\n\n== end";
        assert!(read(whole).is_some());
        assert!(read(&whole[..whole.len() - 6]).is_none());
        // A directory is there and cannot be read as a file, not even by root.
        fs_err::create_dir_all(root.join("var/lib/rancher/k3s/server/agent-token")).unwrap();
        assert!(seen(root, "printf '\\n404'", "active").is_none());
    }
}
