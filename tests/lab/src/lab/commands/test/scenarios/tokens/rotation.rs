//! A rotation of a join token, and what must be true after it.

use anyhow::{Context as _, Result, bail};

use super::super::super::trial::{Done, Trial};
use super::super::home::Home;
use super::super::restarts;
use super::agent_at_work::AgentAtWork;
use super::drop_in;
use crate::say;

/// Which join token is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The one that agents join by.
    Agent,
    /// The one that servers join by.
    Server,
}

impl Kind {
    /// What replaces it.
    pub(super) fn command(self) -> &'static str {
        match self {
            Self::Agent => "slicer-k3s rotate-token --yes",
            Self::Server => "slicer-k3s rotate-token --server --yes",
        }
    }

    /// The same without a proof in between.
    pub(super) fn unproven(self) -> String {
        format!("{} --skip-proof", self.command())
    }

    /// The product's word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Server => "server",
        }
    }

    /// The token as it is recorded.
    pub(super) fn token(self, trial: &Trial) -> Result<String> {
        let reveal = format!("slicer-k3s token --reveal {}", self.word());
        let done = trial.me(&reveal)?.expect(0)?;
        // The password behind the last colon is the secret; the rest is a public hash.
        let word = done.stdout.trim().rsplit(':').next();
        Ok(word.unwrap_or_default().to_owned())
    }

    /// What a server answers to whoever has this token, asked past the product for what only that token opens.
    pub(super) fn answer(self, trial: &Trial, server: &str, token: &str) -> Result<String> {
        let (user, path) = match self {
            Self::Agent => ("node", "config"),
            Self::Server => ("server", "server-bootstrap"),
        };
        let ask = format!(
            "curl -sk -m 20 -o /dev/null -w '%{{http_code}}' -u {user}:{token} https://127.0.0.1:6443/v1-k3s/{path}"
        );
        let done = trial.root(server, &ask)?.expect(0)?;
        Ok(done.stdout.trim().to_owned())
    }
}

/// Runs this command of a rotation, which must succeed.
pub(super) fn run(home: &Home, command: &str) -> Result<Done> {
    let done = home.trial.me(command)?.expect(0)?;
    say::line(format_args!(
        "  {}: {:.0} s",
        command.trim_start_matches("slicer-k3s "),
        done.took.as_secs_f64()
    ));
    Ok(done)
}

/// Replaced server tokens can be had where `run` runs commands: snapshots of their time need them.
pub(super) fn former(run: impl Fn(&str) -> Result<Done>, replaced: &[String]) -> Result<()> {
    let done = run("slicer-k3s token --reveal former-server")?;
    let text = done.expect(0)?.stdout;
    let words = text
        .lines()
        .filter_map(|line| line.split_whitespace().last());
    let kept: Vec<&str> = words.collect();
    if kept != replaced {
        bail!(
            "{} former tokens are kept, not the {} that were replaced, in their order",
            kept.len(),
            replaced.len()
        );
    }
    Ok(())
}

/// A rotation that is about to begin, or has begun.
pub(super) struct Rotation {
    kind: Kind,
    /// The token that is replaced.
    old: String,
}

impl Rotation {
    /// Of the token that is in use now.
    pub(super) fn of(trial: &Trial, kind: Kind) -> Result<Self> {
        let old = kind.token(trial)?;
        Ok(Self { kind, old })
    }

    /// The token that is replaced.
    pub(super) fn old(&self) -> &str {
        &self.old
    }

    /// After every server was restarted so often: one cluster, the one of before, that accepts the new token and refuses the
    /// old one; an agent of before is still there.
    pub(super) fn holds(
        &self,
        home: &Home,
        agent: Option<&AgentAtWork>,
        restarted: usize,
    ) -> Result<()> {
        drop_in::everywhere(home)?;
        self.refused(home).context("before any restart")?;
        restarts::each_server(&home.trial, &home.servers, restarted)?;
        home.stands()?;
        self.refused(home)?;
        agent.map_or(Ok(()), |agent| agent.stays(&home.trial))
    }

    /// Every server accepts the new token and none the old one.
    pub(super) fn refused(&self, home: &Home) -> Result<()> {
        let new = self.kind.token(&home.trial)?;
        if new == self.old {
            bail!("the {} token is the one of before", self.kind.word());
        }
        for server in home.servers {
            for (what, token, wanted) in [("old", &self.old, "401"), ("new", &new, "200")] {
                let answer = self.kind.answer(&home.trial, server, token)?;
                if answer != wanted {
                    bail!(
                        "{server} answers {answer} to the {what} {} token, not {wanted}",
                        self.kind.word()
                    );
                }
            }
        }
        Ok(())
    }
}
