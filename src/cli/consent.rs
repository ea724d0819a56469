//! What every command that changes machines takes: the answer to its question, and a look instead of a run.

use clap::Args;

/// How a command that changes machines comes by the person's consent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub struct Consent {
    /// Do not ask before changing anything (never accepts a licence, a host key, an outage or the loss of data)
    #[arg(long, short)]
    pub yes: bool,

    /// Report what would change; change and write nothing but accepted host keys; exit 3 where anything would, 0 where nothing
    #[arg(long)]
    pub dry_run: bool,
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use crate::cli::{Cli, Command, Routes, RoutesAction};

    use super::*;

    fn consent(line: &str) -> Consent {
        let words = std::iter::once("slicer-k3s").chain(line.split(' '));
        let cli = Cli::try_parse_from(words).unwrap_or_else(|error| panic!("{line}: {error}"));
        match cli.command {
            Command::Init(options) => options.making.consent,
            Command::AddHost(options) => options.making.consent,
            Command::RemoveHost(options) => options.consent,
            Command::RotateToken(options) => options.consent,
            Command::Prove(options) => options.consent,
            Command::Routes(Routes {
                action: Some(RoutesAction::Apply(consent)),
            }) => consent,
            Command::Import(options) => options.consent,
            Command::Destroy(options) => options.consent,
            _ => panic!("{line} changes nothing"),
        }
    }

    /// Each was refused as unknown by some of them, and a script could not ask any of them what it would do.
    #[test]
    fn every_command_that_changes_machines_takes_both_flags() {
        for command in [
            "init",
            "add-host pi5",
            "remove-host pi5",
            "rotate-token",
            "rotate-token --server",
            "rotate-token --slicer pi5",
            "prove",
            "routes apply",
            "import",
            "destroy",
        ] {
            let (yes, dry_run) = (true, true);
            let neither = Consent::default();
            assert_eq!(consent(command), neither, "{command}");
            let said = consent(&format!("{command} --yes"));
            assert_eq!(said, Consent { yes, ..neither }, "{command}");
            let said = consent(&format!("{command} -y --dry-run"));
            assert_eq!(said, Consent { yes, dry_run }, "{command}");
        }
    }

    /// Consent to the change is none to what it takes down by the way.
    #[test]
    fn no_flag_but_its_own_allows_an_outage() {
        for (line, allowed) in [("init --yes", false), ("init --yes --allow-outage", true)] {
            let words = std::iter::once("slicer-k3s").chain(line.split(' '));
            match Cli::parse_from(words).command {
                Command::Init(options) => assert_eq!(options.allow_outage, allowed, "{line}"),
                _ => unreachable!(),
            }
        }
    }
}
