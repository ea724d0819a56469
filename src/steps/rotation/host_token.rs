//! A host has a new Slicer API token: the file that its daemons read when they start.

use async_trait::async_trait;

use crate::failure::{Code, Failure, Result};
use crate::names::slicer::TOKEN_PATHS;
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::Daemon;
use crate::remote::{Machine, Put};
use crate::secret::Secret;
use crate::slicer::host_token;
use crate::step_id::StepName;
use crate::world::World;

pub(crate) struct HostToken {
    /// Any daemon of the host: they share the file.
    daemon: Daemon,
}

impl HostToken {
    pub(crate) fn new(daemon: &Daemon) -> Self {
        Self {
            daemon: daemon.clone(),
        }
    }
}

/// Bytes of a token; written as hex.
const TOKEN_BYTES: usize = 32;

/// The file that holds a token, else one that an earlier run left empty.
async fn place(host: &Machine) -> Result<Option<&'static str>> {
    let mut empty = None;
    for path in TOKEN_PATHS {
        match host.read_if_there(path).await? {
            Some(text) if !text.trim().is_empty() => return Ok(Some(path)),
            Some(_) => empty = empty.or(Some(path)),
            None => {}
        }
    }
    Ok(empty)
}

#[async_trait]
impl Step<World> for HostToken {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::HostToken.on(&self.daemon.host),
            format!("Make a new Slicer API token on {}", self.daemon.host),
            format!("on {}: sudo ls -l {}", self.daemon.host, TOKEN_PATHS[0]),
        )
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let host = world.host(&self.daemon.host)?;
        let retired = world.secrets.retired.slicer.get(&self.daemon.host);
        Ok(match host_token(host).await? {
            None => Finding::differs("its token file is empty"),
            Some(now) if retired == Some(&now) => Finding::differs("it has the old one"),
            Some(_) => Finding::done(),
        })
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        let fresh = Secret::random_hex(TOKEN_BYTES).map_err(|error| {
            Failure::new(Code::LocalFile, "the system gives no random bytes").because(error)
        })?;
        let host = world.host(&self.daemon.host)?;
        let Some(path) = place(host).await? else {
            let what = format!("there is no file of Slicer's token on {}", self.daemon.host);
            return Err(Failure::new(Code::SlicerToken, what).hint(self.meta().hint));
        };
        // A group of users may read it.
        let put = Put {
            path,
            mode: Put::AS_IT_IS,
            content: fresh.expose().as_bytes(),
        };
        host.put(permit, &put).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, permit, plan, world};

    /// An empty file was what a broken connection left, and no later run could write it.
    #[tokio::test]
    async fn the_file_that_holds_a_token_is_replaced_else_an_empty_one() {
        let [first, second, third] = TOKEN_PATHS;
        let missing = |fake: Fake, path: &str| {
            fake.answers(&format!("cat -- {path}"), 1, "")
                .says(&format!("-c %n -- {path}"), "no\n")
        };
        for (fake, written) in [
            (
                Fake::new().says(&format!("cat -- {first}"), "0ld\n"),
                Some(first),
            ),
            // The first one is empty, and the third is the one.
            (
                missing(Fake::new(), second).says(&format!("cat -- {third}"), "0ld"),
                Some(third),
            ),
            (missing(missing(Fake::new(), first), third), Some(second)),
            (
                missing(missing(missing(Fake::new(), first), second), third),
                None,
            ),
        ] {
            let world = world(&[("n100", &fake)]);
            let step = HostToken::new(&plan().daemons[0]);
            let done = step.apply(&world, &permit()).await;
            assert_eq!(done.is_ok(), written.is_some());
            let told = fake.told();
            let put: Vec<_> = told.iter().filter(|(_, stdin)| !stdin.is_empty()).collect();
            assert_eq!(put.len(), usize::from(written.is_some()));
            for (command, _) in put {
                assert!(
                    command.contains(&format!("p={}", written.unwrap())),
                    "{command}"
                );
            }
        }
    }
}
