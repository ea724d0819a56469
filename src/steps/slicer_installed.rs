//! Slicer is installed on the host.

use std::time::Duration;

use async_trait::async_trait;

use super::Options;
use crate::failure::{Code, Failure, Result};
use crate::pipeline::{Finding, Hands, Step, StepId};
use crate::plan::Host;
use crate::remote::{Look, Script};
use crate::world::World;

const SLICER: &str = "/usr/local/bin/slicer";

pub(super) struct SlicerInstalled {
    host: String,
    install: bool,
    accepted: bool,
}

pub(super) fn id(host: &str) -> StepId {
    StepId::new("slicer-installed", host)
}

impl SlicerInstalled {
    pub(super) fn new(host: &Host, options: &Options) -> Self {
        Self {
            host: host.name.clone(),
            install: options.install_slicer,
            accepted: options.accept_slicer_licence,
        }
    }
}

/// The script is saved and looked at before it runs: `curl | bash` succeeds when curl fails.
/// It overwrites networkd.conf, which may hold the host's own settings, so that is kept first.
const INSTALL: &str = "set -e
d=$(mktemp -d); trap 'rm -rf \"$d\"' EXIT
c=/etc/systemd/networkd.conf
if [ -f $c ] && [ ! -e $c.before-slicer ]; then cp -p $c $c.before-slicer; fi
curl -sSfL --retry 3 --connect-timeout 10 -o \"$d/get.sh\" https://get.slicervm.com
if [ \"$(head -c 2 \"$d/get.sh\")\" != '#!' ]; then echo 'get.slicervm.com sent no script' >&2; exit 1; fi
bash \"$d/get.sh\" </dev/null";

#[async_trait]
impl Step for SlicerInstalled {
    fn id(&self) -> StepId {
        id(&self.host)
    }

    fn title(&self) -> String {
        format!("Install Slicer on {}", self.host)
    }

    fn hint(&self) -> String {
        format!("on {}: {SLICER} version", self.host)
    }

    async fn check(&self, world: &World) -> Result<Finding> {
        let look = Look::Program(SLICER.to_owned());
        if world.host(&self.host)?.look(&look).await?.ok() {
            Ok(Finding::done())
        } else {
            Ok(Finding::differs("it is not installed"))
        }
    }

    async fn apply(&self, world: &World, hands: &Hands) -> Result<()> {
        if !self.install {
            return Err(Failure::new(
                Code::SlicerMissing,
                format!("Slicer is not installed on {}", self.host),
            )
            .hint(format!(
                "run again with --install-slicer --accept-slicer-licence, or on {}: curl -sLS https://get.slicervm.com | sudo bash",
                self.host
            )));
        }
        if !self.accepted {
            return Err(Failure::new(
                Code::SlicerLicence,
                "Slicer's licence (EULA) was not accepted",
            )
            .because("--yes never accepts it for you")
            .hint("read https://slicervm.com/eula, then add --accept-slicer-licence"));
        }
        let script = Script::new(INSTALL, &[]).limit(Duration::from_mins(10));
        let what = "installing Slicer";
        world
            .host(&self.host)?
            .must(hands, what, &script)
            .await
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::testing::hands;
    use crate::steps::testing::{Fake, world};

    async fn apply(install: bool, accepted: bool) -> (Result<()>, Fake) {
        let fake = Fake::new();
        let step = SlicerInstalled {
            host: "n100".into(),
            install,
            accepted,
        };
        let result = step.apply(&world(&[("n100", &fake)]), &hands()).await;
        (result, fake)
    }

    /// The licence is the person's to accept; nothing may run before.
    #[tokio::test]
    async fn nothing_is_installed_without_the_persons_word() {
        for (install, accepted, code) in [
            (false, true, Code::SlicerMissing),
            (true, false, Code::SlicerLicence),
        ] {
            let (result, fake) = apply(install, accepted).await;
            assert_eq!(result.unwrap_err().code, code);
            assert!(fake.told().is_empty());
        }
        let (result, fake) = apply(true, true).await;
        result.unwrap();
        let command = &fake.told()[0].0;
        let backup = command.find("before-slicer").unwrap();
        assert!(backup < command.find("get.slicervm.com").unwrap());
    }
}
