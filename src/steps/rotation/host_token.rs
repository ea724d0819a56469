//! A host has a new Slicer API token: the file that its daemons read when they start.

use async_trait::async_trait;

use crate::failure::{Code, Failure, Result};
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::plan::Daemon;
use crate::remote::Script;
use crate::secret::Secret;
use crate::slicer::TOKEN_PATHS;
use crate::world::{World, host_token};

pub(super) struct HostToken {
    /// Any daemon of the host: they share the file.
    daemon: Daemon,
}

pub(super) fn id(host: &str) -> StepId {
    StepId::new("host-token", host)
}

impl HostToken {
    pub(super) fn new(daemon: &Daemon) -> Self {
        Self {
            daemon: daemon.clone(),
        }
    }
}

/// Bytes of a token; written as hex.
const TOKEN_BYTES: usize = 32;

/// Owner and mode stay: a group of users may read it. The file that holds a token is the one, else one that an earlier run
/// left empty. What has not arrived whole takes nobody's place: the connection may have broken.
const WRITE: &str = "set -e; f=; for p in {} {} {}; do
if [ -s \"$p\" ]; then f=$p; break; fi
if [ -e \"$p\" ]; then f=${f:-$p}; fi; done
if [ -z \"$f\" ]; then echo 'there is no token file' >&2; exit 1; fi
t=$(mktemp -- \"$f.XXXXXX\"); trap 'rm -f -- \"$t\"' EXIT; cat >\"$t\"
if [ \"$(wc -c <\"$t\")\" -ne {} ]; then echo 'the token did not arrive whole' >&2; exit 1; fi
chown --reference=\"$f\" -- \"$t\"; chmod --reference=\"$f\" -- \"$t\"; sync -- \"$t\"; mv -f -- \"$t\" \"$f\"";

fn write(paths: &[&str; 3], token: &Secret) -> Script {
    let length = token.expose().len().to_string();
    let [first, second, third] = paths;
    Script::new(WRITE, &[first, second, third, &length]).stdin(token.expose())
}

#[async_trait]
impl Step for HostToken {
    fn id(&self) -> StepId {
        id(&self.daemon.host)
    }

    fn title(&self) -> String {
        format!("Make a new Slicer API token on {}", self.daemon.host)
    }

    fn hint(&self) -> String {
        format!("on {}: sudo ls -l {}", self.daemon.host, TOKEN_PATHS[0])
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        let host = world.host(&self.daemon.host)?;
        let retired = world.secrets.retired.slicer.get(&self.daemon.host);
        Ok(match host_token(host).await? {
            None => Finding::differs("its token file is empty"),
            Some(now) if retired == Some(&now) => Finding::differs("it has the old one"),
            Some(_) => Finding::done(),
        })
    }

    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        let fresh = Secret::random_hex(TOKEN_BYTES).map_err(|error| {
            Failure::new(Code::LocalFile, "the system gives no random bytes").because(error)
        })?;
        let host = world.host(&self.daemon.host)?;
        host.must(
            hands,
            "writing Slicer's token",
            &write(&TOKEN_PATHS, &fresh),
        )
        .await
        .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// Runs the script in a shell that gets these bytes; whether it says that it did it.
    fn run(script: &Script, stdin: &str) -> bool {
        use std::io::Write as _;
        let mut shell = Command::new("/bin/sh")
            .args(["-c", script.text()])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // One that ends before it reads says so by its status.
        let _ = shell.stdin.take().unwrap().write_all(stdin.as_bytes());
        shell.wait().unwrap().success()
    }

    /// An empty file was what a broken connection left, and no later run could write it.
    #[test]
    fn a_token_that_did_not_arrive_whole_replaces_none_and_an_empty_file_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let paths = [path("missing"), path("empty"), path("token")];
        let paths = [&*paths[0], &*paths[1], &*paths[2]];
        let token = Secret::new("new-token");
        let script = write(&paths, &token);
        assert!(!run(&script, "new-token"), "there is no file");
        fs_err::write(paths[1], "").unwrap();
        fs_err::write(paths[2], "0ld").unwrap();
        assert!(!run(&script, "new-"), "cut");
        assert!(!run(&script, ""), "cut at once");
        assert_eq!(fs_err::read_to_string(paths[2]).unwrap(), "0ld");
        assert!(run(&script, "new-token"));
        assert_eq!(fs_err::read_to_string(paths[2]).unwrap(), "new-token");
        assert_eq!(fs_err::read_to_string(paths[1]).unwrap(), "");
        fs_err::remove_file(paths[2]).unwrap();
        assert!(run(&script, "new-token"));
        assert_eq!(fs_err::read_to_string(paths[1]).unwrap(), "new-token");
        assert_eq!(
            fs_err::read_dir(dir.path()).unwrap().count(),
            1,
            "no leftovers"
        );
    }
}
