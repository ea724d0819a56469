//! A rotation that is killed as soon as a given step has ended.

use anyhow::{Result, bail};

use super::super::home::Home;
use super::rotation::{Kind, Rotation};

/// What has been done when it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Done {
    /// The data are sealed with the new server token, which no configuration names yet.
    Sealed,
    /// Every server's configuration names the new token, and none has been restarted.
    Configured,
}

impl Done {
    /// The step, and how often it ends.
    fn step(self) -> (&'static str, usize) {
        match self {
            Self::Sealed => ("server-token", 1),
            Self::Configured => ("k3s-config", 3),
        }
    }
}

/// Begins a rotation and kills it when this has been done. No server accepts the new token then, for each goes by what it was
/// started with.
pub(super) fn cut_short(home: &Home, kind: Kind, done: Done) -> Result<Rotation> {
    let trial = &home.trial;
    let rotation = Rotation::of(trial, kind)?;
    let (step, times) = done.step();
    // The shell's own words only: the next step begins at once.
    let script = format!(
        r#"cd; rm -f way said; mkfifo way
{} --output ndjson >way 2>said & pid=$!
left={times}
while IFS= read -r line; do
  case $line in *'"type":"step-ended","step":"{step}/'*)
    left=$((left-1)); [ $left -gt 0 ] || {{ kill -KILL $pid; break; }};;
  esac
done <way
wait $pid; echo "left $left"; tail -n 20 said"#,
        kind.unproven()
    );
    let killed = trial.me(&script)?;
    if !killed.stdout.contains("left 0\n") {
        bail!("it was not killed after {done:?}:\n{}", killed.text());
    }
    let new = kind.token(trial)?;
    let named = home
        .servers
        .iter()
        .map(|server| names(home, server, &new))
        .collect::<Result<Vec<bool>>>()?;
    let wanted = done == Done::Configured;
    if named.iter().any(|named| *named != wanted) {
        bail!(
            "killed after {done:?}, and which configurations name the new token is {named:?}: this tests nothing"
        );
    }
    for server in home.servers {
        let answer = kind.answer(trial, server, &new)?;
        if answer != "401" {
            bail!(
                "killed after {done:?}, and {server} answers {answer} to the new token: this tests nothing"
            );
        }
    }
    Ok(rotation)
}

/// Whether k3s's configuration on this server has this token.
fn names(home: &Home, server: &str, token: &str) -> Result<bool> {
    let ask = format!("grep -qF {token} /etc/rancher/k3s/config.yaml");
    Ok(home.trial.root(server, &ask)?.status == 0)
}
