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

const TAKE: &str = r#"set -e; umask 077; f=/etc/systemd/system/k3s-agent.service.env; n=/run/slicer-k3s-token
trap 'rm -f "$n"' EXIT; t=$(mktemp "$f.XXXXXX")
{ grep -v '^K3S_TOKEN=' "$f" || true; printf "K3S_TOKEN='%s'\n" "$(cat "$n")"; } >"$t"; mv -f "$t" "$f"
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

    #[test]
    fn a_vm_that_is_still_installing_holds_nothing() {
        assert_eq!(read("none\n"), Held::Nothing);
        assert_eq!(read(""), Held::Nothing);
        assert!(matches!(read("a\nb\nactive\n"), Held::Token { state, .. } if state == "active"));
    }
}
