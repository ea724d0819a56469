//! Slicer is installed on the host.

use std::fmt::Write as _;
use std::time::Duration;

use async_trait::async_trait;

use crate::escape::escape;
use crate::failure::{Code, Failure, Result};
use crate::names::slicer::{INSTALLER_URL, PROGRAM};
use crate::pipeline::{Finding, Meta, Phase, Step, WritePermit};
use crate::plan::Host;
use crate::remote::{Machine, Probe, Script};
use crate::step_id::StepName;
use crate::steps::Options;
use crate::world::World;

/// Most settings shown of one file.
const MOST_LINES: usize = 20;

pub(crate) struct SlicerInstalled {
    host: String,
    install: bool,
    accepted: bool,
}

impl SlicerInstalled {
    pub(crate) fn new(host: &Host, options: &Options) -> Self {
        Self {
            host: host.name.clone(),
            install: options.install_slicer,
            accepted: options.accept_slicer_licence,
        }
    }
}

/// What the installer overwrites without asking; networkd.conf may hold the host's own settings.
///
/// Source: get.slicervm.com (the installer itself).
const OVERWRITTEN: [&str; 6] = [
    "/etc/systemd/networkd.conf",
    "/etc/systemd/network/00-veth-ignore.network",
    "/etc/systemd/system/containerd.service",
    "/etc/sysctl.d/99-slicer.conf",
    "/etc/cni/net.d/50-mvm.conflist",
    "/etc/cni/net.d/99-loopback.conf",
];

/// There while the installer runs, and after it where it did not come to its end. `slicer_lacks.sh` has it, too.
const BEGUN: &str = "/etc/slicer-k3s/slicer-installing";

/// The script is saved and looked at before it runs: `curl | bash` succeeds when curl fails. A masked unit is a link to
/// nowhere, which is no file to keep. The mark goes when all is there: the installer puts the program there first.
const INSTALL: &str = "set -e
u={}; d=$(mktemp -d); trap 'rm -rf \"$d\"' EXIT
curl -sSfL --retry 3 --connect-timeout 10 -o \"$d/get.sh\" \"$u\"
if [ \"$(head -c 2 \"$d/get.sh\")\" != '#!' ]; then echo \"$u sent no script\" >&2; exit 1; fi
for f in {} {} {} {} {} {}; do
if [ -f \"$f\" ] && [ ! -e \"$f.before-slicer\" ]; then cp -p \"$f\" \"$f.before-slicer\"; fi
done
m={}; mkdir -p -- \"$(dirname -- \"$m\")\"; : >\"$m\"; sync -- \"$m\"
bash \"$d/get.sh\" </dev/null
rm -f -- \"$m\"";

/// Whether the person allowed what it takes; where not, the command to run.
pub(crate) fn check_install_allowed(host: &str, install: bool, accepted: bool) -> Result<()> {
    if !install {
        return Err(Failure::new(
            Code::SlicerMissing,
            format!("Slicer is not installed on {host}, or not to the end"),
        )
        .hint(format!(
            "run again with --install-slicer --accept-slicer-licence, or on {host}: curl -sLS {INSTALLER_URL} | sudo bash && sudo rm -f {BEGUN}"
        )));
    }
    if !accepted {
        return Err(Failure::new(
            Code::SlicerLicence,
            "Slicer's licence (EULA) was not accepted",
        )
        .because("--yes never accepts it for you")
        .hint("read https://slicervm.com/eula, then add --accept-slicer-licence"));
    }
    Ok(())
}

/// What the installer would overwrite on a machine, for people: its files, and the settings in them.
pub(crate) async fn overwrites(machine: &Machine) -> Result<String> {
    let mut text = String::new();
    for path in OVERWRITTEN {
        let Some(content) = machine.read(path).await? else {
            continue;
        };
        let _ = writeln!(text, "  {path}, kept as {path}.before-slicer");
        let settings = content
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with(['#', ';']));
        for line in settings.take(MOST_LINES) {
            let _ = writeln!(text, "    {}", escape(line));
        }
    }
    if text.is_empty() {
        return Ok(text);
    }
    Ok(format!(
        "{}: Slicer's installer overwrites files of this host\n{text}",
        machine.name()
    ))
}

#[async_trait]
impl Step<World> for SlicerInstalled {
    fn meta(&self) -> Meta {
        Meta::new(
            StepName::SlicerInstalled.on(&self.host),
            format!("Install Slicer on {}", self.host),
            format!("on {}: {PROGRAM} version", self.host),
        )
    }

    async fn check(&self, world: &World, _: Phase) -> Result<Finding> {
        let host = world.host(&self.host)?;
        if !host.probe(&Probe::Program(PROGRAM.to_owned())).await?.ok() {
            return Ok(Finding::differs("it is not installed"));
        }
        let said = host.probe(&Probe::SlicerLacks).await?;
        if !said.ok() {
            return Ok(Finding::Unknown("what it lacks cannot be seen".into()));
        }
        let lacks: Vec<String> = said.stdout.lines().take(5).map(escape).collect();
        Ok(if lacks.is_empty() {
            Finding::done()
        } else {
            Finding::Differs(format!(
                "its installation did not come to an end: {} missing",
                lacks.join(", ")
            ))
        })
    }

    async fn diff(&self, world: &World) -> Result<String> {
        overwrites(world.host(&self.host)?).await
    }

    async fn apply(&self, world: &World, permit: &WritePermit) -> Result<()> {
        check_install_allowed(&self.host, self.install, self.accepted)?;
        let words: Vec<&str> = [INSTALLER_URL]
            .into_iter()
            .chain(OVERWRITTEN)
            .chain([BEGUN])
            .collect();
        let script = Script::new(INSTALL, &words).limit(Duration::from_mins(10));
        let what = "installing Slicer";
        world
            .host(&self.host)?
            .must(permit, what, &script)
            .await
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, machine, permit, world};

    async fn apply(install: bool, accepted: bool) -> (Result<()>, Fake) {
        let fake = Fake::new();
        let step = SlicerInstalled {
            host: "n100".into(),
            install,
            accepted,
        };
        let result = step.apply(&world(&[("n100", &fake)]), &permit()).await;
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
        assert!(backup < command.find("bash \"$d/get.sh\"").unwrap());
        for file in OVERWRITTEN {
            assert!(command.contains(file), "{file} would be lost");
        }
    }

    /// Only the program counted: every later run went on with half of it, and no daemon started.
    #[tokio::test]
    async fn an_installation_that_stopped_half_way_is_done_again() {
        let step = SlicerInstalled {
            host: "n100".into(),
            install: true,
            accepted: true,
        };
        for (lacks, done) in [
            ("", true),
            ("firecracker\n", false),
            ("the installer's last steps\n", false),
        ] {
            let fake = Fake::new().says("firecracker", lacks);
            let found = step
                .check(&world(&[("n100", &fake)]), Phase::Before)
                .await
                .unwrap();
            assert_eq!(matches!(found, Finding::Done(_)), done, "{found:?}");
        }
    }

    /// Whenever the script ends, only the installer's own success takes the mark away.
    #[test]
    fn the_mark_of_an_installation_goes_with_its_success_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let bin = dir.path().join("bin");
        fs_err::create_dir(&bin).unwrap();
        let mark = format!("{}{BEGUN}", dir.path().display());
        for program in ["slicer", "containerd", "firecracker"] {
            let path = bin.join(program);
            fs_err::write(&path, "#!/bin/sh\n").unwrap();
            fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let path = format!("{}:/usr/bin:/bin", bin.display());
        let shell = |text: &str| {
            let mut shell = std::process::Command::new("sh");
            let done = shell
                .args(["-c", text])
                .env("PATH", &path)
                .env("r", dir.path())
                .output();
            done.unwrap()
        };
        for (ending, whole) in [("false", false), ("kill -9 $$", false), ("true", true)] {
            let curl = format!(
                "#!/bin/sh\nfor f; do :; done\nwhile [ \"$1\" != -o ]; do shift; done\n\
                printf '#!/bin/sh\\n{ending}\\n' >\"$2\"\n"
            );
            fs_err::write(bin.join("curl"), curl).unwrap();
            fs_err::set_permissions(bin.join("curl"), std::fs::Permissions::from_mode(0o755))
                .unwrap();
            let words: Vec<&str> = ["https://x"]
                .into_iter()
                .chain(["/nowhere"; 6])
                .chain([&*mark])
                .collect();
            let done = shell(Script::new(INSTALL, &words).text());
            assert_eq!(done.status.success(), whole, "{ending}: {done:?}");
            let lacks = shell(Probe::SlicerLacks.script().text());
            assert_eq!(lacks.stdout.is_empty(), whole, "{ending}: {lacks:?}");
        }
    }

    #[tokio::test]
    async fn what_is_overwritten_is_shown_by_its_settings() {
        let fake = Fake::new()
            .says("networkd.conf", "# a comment\n[Network]\nSpeedMeter=yes\n")
            .answers("cat", 1, "");
        let text = overwrites(&machine("n100", fake)).await.unwrap();
        assert!(text.contains("networkd.conf.before-slicer"), "{text}");
        assert!(text.contains("SpeedMeter=yes") && !text.contains("comment"));
        let bare = machine("n100", Fake::new().answers("cat", 1, ""));
        assert_eq!(overwrites(&bare).await.unwrap(), "");
    }
}
