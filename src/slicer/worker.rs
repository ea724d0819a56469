//! The join token that a worker VM holds, looked at and replaced through its agent: nobody can log in there.

use super::http::{self, Request};
use super::{Slicer, exec};
use crate::failure::{Code, Failure, Result};
use crate::pipeline::Hands;
use crate::secret::Secret;

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

/// Prints hashes only: the password is what follows the last colon.
const LOOK: &str = r#"f=/etc/systemd/system/k3s-agent.service.env; [ -f "$f" ] || { echo none; exit 0; }
h() { sed -n 's/^K3S_TOKEN=//p' | tr -d "'\"\n" | sed 's/.*://' | sha256sum | cut -d' ' -f1; }
p=$(systemctl show -p MainPID --value k3s-agent)
h <"$f"; tr '\0' '\n' 2>/dev/null <"/proc/${p:-0}/environ" | h; systemctl is-active k3s-agent; true"#;

/// Where the new token waits for the script that puts it into the file; gone with it.
const WAITS: &str = "/run/slicer-k3s-token";

/// A command in a VM is killed when its client is gone (slicervm/sdk@fb6f052 exec.go, `Command`), and then no trap runs: what
/// an earlier one left, which may hold a token, is removed first.
const TAKE: &str = r#"set -e; umask 077; f=/etc/systemd/system/k3s-agent.service.env; n=/run/slicer-k3s-token
t=$n; trap 'rm -f "$n" "$t"' EXIT; rm -f "$f".??????; v=$(cat "$n"); t=$(mktemp "$f.XXXXXX")
{ grep -v '^K3S_TOKEN=' "$f" || true; printf "K3S_TOKEN='%s'\n" "$v"; } >"$t"; mv -f "$t" "$f"
systemctl reset-failed k3s-agent 2>/dev/null || true; systemctl restart --no-block k3s-agent"#;

impl Slicer {
    /// What a worker VM holds.
    pub async fn held_token(&self, vm: &str) -> Result<Held> {
        let done = exec::run(self, vm, LOOK).await?;
        Ok(read(&done.stdout))
    }

    /// Gives a worker VM another token, and restarts its service; its pods go on.
    pub async fn give_token(&self, _: &Hands, vm: &str, token: &Secret) -> Result<()> {
        let path = format!(
            "/vm/{}/cp?path={WAITS}&mode=binary&uid=0&gid=0&permissions=0600",
            http::encode(vm)
        );
        let reply = http::send(self, &Request::post(&path).octets(token.expose())).await?;
        self.accept(&reply)?;
        let done = exec::run(self, vm, TAKE).await?;
        if done.ok() {
            return Ok(());
        }
        Err(
            Failure::new(Code::Vm, format!("{vm} does not take the new token"))
                .because(done.last_words())
                .hint(format!(
                    "slicer vm exec {vm} -- journalctl -u k3s-agent -n 30"
                )),
        )
    }
}

fn read(text: &str) -> Held {
    let mut lines = text.lines().map(|line| line.trim().to_owned());
    match (lines.next(), lines.next(), lines.next()) {
        (Some(file), Some(process), Some(state)) => Held::Token {
            file,
            process,
            state,
        },
        _ => Held::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the script on a directory in place of the VM's; a `grep` and a `systemctl` of its own, this `grep` first.
    fn take(dir: &std::path::Path, grep: &str) -> bool {
        use std::os::unix::fs::PermissionsExt as _;
        let bin = dir.join("bin");
        std::fs::create_dir_all(&bin).unwrap();
        for (name, text) in [("grep", grep), ("systemctl", "exit 0")] {
            let path = bin.join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let place = dir.display().to_string();
        let script = TAKE.replace("/etc/systemd/system", &place);
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
        std::fs::write(dir.join("slicer-k3s-token"), token).unwrap();
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

    /// A script that was killed leaves a copy of the file, token and all: the next one removes it.
    #[test]
    fn a_killed_script_leaves_no_token_behind_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("k3s-agent.service.env");
        std::fs::write(&file, "A=1\nK3S_TOKEN='old'\n").unwrap();
        lay(dir.path(), "first");
        assert!(!take(dir.path(), "kill -9 $PPID"));
        assert!(names(dir.path()).len() > 2, "{:?}", names(dir.path()));
        lay(dir.path(), "second");
        assert!(take(dir.path(), GREP));
        assert_eq!(names(dir.path()), ["k3s-agent.service.env"]);
        let text = std::fs::read_to_string(&file).unwrap();
        assert_eq!(text, "A=1\nK3S_TOKEN='second'\n");
    }

    /// A token that is not there is no empty token: the worker could not join again.
    #[test]
    fn a_missing_token_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("k3s-agent.service.env");
        std::fs::write(&file, "K3S_TOKEN='old'\n").unwrap();
        assert!(!take(dir.path(), GREP));
        assert_eq!(names(dir.path()), ["k3s-agent.service.env"]);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "K3S_TOKEN='old'\n");
    }

    #[test]
    fn a_vm_that_is_still_installing_holds_nothing() {
        assert_eq!(read("none\n"), Held::Nothing);
        assert_eq!(read(""), Held::Nothing);
        assert!(matches!(read("a\nb\nactive\n"), Held::Token { state, .. } if state == "active"));
    }
}
