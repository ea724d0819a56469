//! The join token that a worker VM holds, looked at and replaced through its agent: nobody can log in there.

use super::http::{self, Request};
use super::{Slicer, exec};
use crate::failure::{Code, Failure, Result};
use crate::names::k3s::{AGENT_UNIT, AGENT_UNIT_ENVIRONMENT_PATH};
use crate::pipeline::WritePermit;
use crate::remote::Script;
use crate::secret::Secret;
use crate::url::encode;

/// What a worker joins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// Its k3s is not installed yet.
    Nothing,
    /// Its service is set up.
    Token {
        /// SHA-256 of the password in its file.
        file: String,
        /// SHA-256 of the password that the running process was started with.
        process: String,
        /// systemd's word for its state.
        state: String,
    },
}

/// Prints hashes only, of the password alone: see `k3s::password`.
const LOOK: &str = r#"f={}; s={}; [ -f "$f" ] || { echo none; exit 0; }
h() { sed -n 's/^K3S_TOKEN=//p' | tr -d "'\"\n" | sed 's/^K10[^:]*::[^:]*://' | sha256sum | cut -d' ' -f1; }
p=$(systemctl show -p MainPID --value "$s")
h <"$f"; tr '\0' '\n' 2>/dev/null <"/proc/${p:-0}/environ" | h; systemctl is-active "$s"; true"#;

/// Where the new token waits for the script that puts it into the file, behind a line with its hash; gone with it.
const WAITS: &str = "/run/slicer-k3s-token";

/// A command in a VM is killed when its client is gone (slicervm/sdk@fb6f052 exec.go, `Command`), and then no trap runs: what
/// an earlier one left, which may hold a token, is removed first, and nothing else beside the file. A token that did not come
/// whole is none.
const TAKE: &str = r#"set -e; umask 077; f={}; s={}; n={}
t=$n; trap 'rm -f "$n" "$t"' EXIT; rm -f "$f".slicer-k3s.??????
{ IFS= read -r h; v=$(cat); } <"$n"; sum=$(printf %s "$v" | sha256sum)
if [ -z "$v" ] || [ "${sum%% *}" != "$h" ]; then echo 'the token did not arrive whole' >&2; exit 1; fi
t=$(mktemp "$f.slicer-k3s.XXXXXX")
{ grep -v '^K3S_TOKEN=' "$f" || true; printf "K3S_TOKEN='%s'\n" "$v"; } >"$t"; sync "$t"; mv -f "$t" "$f"
systemctl reset-failed "$s" 2>/dev/null || true; systemctl restart --no-block "$s""#;

fn look() -> Script {
    Script::new(LOOK, &[AGENT_UNIT_ENVIRONMENT_PATH, AGENT_UNIT])
}

fn take() -> Script {
    Script::new(TAKE, &[AGENT_UNIT_ENVIRONMENT_PATH, AGENT_UNIT, WAITS])
}

impl Slicer {
    /// What a worker VM holds.
    pub async fn read_join_token(&self, vm: &str) -> Result<Held> {
        let done = exec::run(self, vm, look().text()).await?;
        let held = if done.ok() { read(&done.stdout) } else { None };
        held.ok_or_else(|| {
            Failure::new(Code::Vm, format!("{vm} does not say which token it holds"))
                .because(format!(
                    "exit status {}: {}",
                    done.status,
                    done.last_words()
                ))
                .hint(format!(
                    "slicer vm exec {vm} -- systemctl status {AGENT_UNIT}"
                ))
        })
    }

    /// Gives a worker VM another token, and restarts its service; its pods go on.
    pub async fn write_join_token(&self, _: &WritePermit, vm: &str, token: &Secret) -> Result<()> {
        let path = format!(
            "/vm/{}/cp?path={WAITS}&mode=binary&uid=0&gid=0&permissions=0600",
            encode(vm)
        );
        let text = format!("{}\n{}", token.sha256(), token.expose());
        let reply = http::send(self, &Request::post(&path).octets(&text)).await?;
        self.accept(&reply)?;
        let done = exec::run(self, vm, take().text()).await?;
        if done.ok() {
            return Ok(());
        }
        Err(
            Failure::new(Code::Vm, format!("{vm} does not take the new token"))
                .because(done.last_words())
                .hint(format!(
                    "slicer vm exec {vm} -- journalctl -u {AGENT_UNIT} -n 30"
                )),
        )
    }
}

/// `None` of an answer that was cut: it is no VM without k3s.
fn read(text: &str) -> Option<Held> {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    match *lines {
        ["none"] => Some(Held::Nothing),
        [file, process, state] => Some(Held::Token {
            file: file.to_owned(),
            process: process.to_owned(),
            state: state.to_owned(),
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the script on a directory in place of the VM's; a `grep` and a `systemctl` of its own, this `grep` first.
    fn taken(dir: &std::path::Path, grep: &str) -> bool {
        use std::os::unix::fs::PermissionsExt as _;
        let bin = dir.join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        for (name, text) in [("grep", grep), ("systemctl", "exit 0")] {
            let path = bin.join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let place = dir.display().to_string();
        let script = take().text().replace("/etc/systemd/system", &place);
        let script = script.replace("/run", &place);
        let status = std::process::Command::new("bash")
            .args(["-c", &script])
            .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
            .stderr(std::process::Stdio::null())
            .status();
        status.unwrap().success()
    }

    const GREP: &str = r#"exec /bin/grep "$@""#;

    fn lay(dir: &std::path::Path, token: &str) {
        let text = format!("{}\n{token}", crate::secret::sha256(token.as_bytes()));
        std::fs::write(dir.join("slicer-k3s-token"), text).unwrap();
    }

    fn names(dir: &std::path::Path) -> Vec<String> {
        let entries = std::fs::read_dir(dir).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "bin")
            .collect();
        names.sort();
        names
    }

    /// A script that was killed leaves a copy of the file, token and all: the next one removes it. It took whatever had six
    /// letters behind the file's name.
    #[test]
    fn a_killed_script_leaves_no_token_behind_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("k3s-agent.service.env");
        std::fs::write(&file, "A=1\nK3S_TOKEN='old'\n").unwrap();
        // A person's own, of as many letters.
        let own = "k3s-agent.service.env.backup";
        std::fs::write(dir.path().join(own), "").unwrap();
        lay(dir.path(), "first");
        assert!(!taken(dir.path(), "kill -9 $PPID"));
        assert!(names(dir.path()).len() > 3, "{:?}", names(dir.path()));
        lay(dir.path(), "second");
        assert!(taken(dir.path(), GREP));
        assert_eq!(names(dir.path()), ["k3s-agent.service.env", own]);
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text, "A=1\nK3S_TOKEN='second'\n");
    }

    /// A token that is not there, is empty or was cut is none: the worker could not join again.
    #[test]
    fn a_missing_token_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("k3s-agent.service.env");
        std::fs::write(&file, "K3S_TOKEN='old'\n").unwrap();
        let whole = format!("{}\nnew", crate::secret::sha256(b"new"));
        let empty = format!("{}\n", crate::secret::sha256(b""));
        let texts = [
            None,
            Some(""),
            Some(&*empty),
            Some(&whole[..whole.len() - 1]),
            Some("new"),
        ];
        for text in texts {
            if let Some(text) = text {
                std::fs::write(dir.path().join("slicer-k3s-token"), text).unwrap();
            }
            assert!(!taken(dir.path(), GREP), "{text:?}");
            assert_eq!(names(dir.path()), ["k3s-agent.service.env"]);
            assert_eq!(std::fs::read_to_string(&file).unwrap(), "K3S_TOKEN='old'\n");
        }
    }

    #[test]
    fn a_vm_that_is_still_installing_holds_nothing() {
        assert_eq!(read("none\n"), Some(Held::Nothing));
        let held = read("a\nb\nactive\n");
        assert!(matches!(held, Some(Held::Token { state, .. }) if state == "active"));
    }

    /// A VM that still has its k3s was taken for one without.
    #[tokio::test]
    async fn a_cut_or_failed_answer_is_no_vm_without_k3s() {
        for (status, text) in [(0, ""), (0, "a\nb\n"), (1, "none\n"), (1, "")] {
            let reply = serde_json::json!({"stdout": text, "exit_code": status}).to_string();
            let fake = crate::testing::Fake::new().says("POST /vm/a-1/exec", &reply);
            let slicer = Slicer {
                host: std::sync::Arc::new(crate::testing::machine("n100", fake)),
                group: "k3s-agents-1".into(),
                address: (std::net::Ipv4Addr::LOCALHOST, 1),
                token: Secret::new("t"),
            };
            let failure = slicer.read_join_token("a-1").await.unwrap_err();
            assert_eq!(failure.code, Code::Vm, "{status} {text}");
        }
    }
}
