//! Drop-ins of k3s's configuration: k3s reads them after our file, so one that says otherwise wins at the next start.

use crate::failure::{Code, Failure, Result};
use crate::k3s::{self, DROP_INS_PATH, DropIn};
use crate::remote::{Machine, Probe};

/// Refuses a server whose drop-ins overrule `config`, its config.yaml.
pub(crate) async fn check(machine: &Machine, config: &str) -> Result<()> {
    let name = machine.name();
    let said = machine.probe(&Probe::DropIns).await?;
    let Some(drop_ins) = k3s::drop_ins(&said.stdout).filter(|_| said.ok()) else {
        let what = format!("cannot read {DROP_INS_PATH} on {name}");
        // Not what it printed of the files, which may be a token.
        let words = said.stderr.lines().next_back();
        return Err(
            Failure::new(Code::Command, what).because(words.unwrap_or("its answer was cut"))
        );
    };
    let broken = |file: &&DropIn| k3s::table(file.text.expose()).is_none();
    if let Some(file) = drop_ins.iter().find(broken) {
        let path = format!("{DROP_INS_PATH}/{}", file.name);
        return Err(refusal(
            format!("{path} on {name} is not YAML, or no table"),
            format!("on {name}: correct {path}, or remove it; then run again"),
        ));
    }
    let Some((file, key)) = k3s::overruled(config, &drop_ins) else {
        return Ok(());
    };
    let path = format!("{DROP_INS_PATH}/{}", file.name);
    Err(refusal(
        format!("{path} on {name} sets {key}"),
        format!(
            "on {name}: remove {key} from {path}, and run again; settings of your own belong into cluster.toml \
             (docs/configuration.md)"
        ),
    ))
}

fn refusal(what: String, hint: String) -> Failure {
    Failure::new(Code::HostConflict, what)
        .because("k3s reads it after config.yaml, which slicer-k3s writes")
        .hint(hint)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Fake, machine};

    /// A drop-in's token or `disable` won over what was written, and nothing said so.
    #[tokio::test]
    async fn a_drop_in_that_overrules_the_file_is_refused_without_its_values() {
        for (said, what) in [
            (
                "== 9.yaml\n token: 0ther\n== end\n",
                Some("9.yaml on k3s-cp-1 sets token"),
            ),
            (
                "== 9.yaml\n disable: [0ther]\n== end\n",
                Some("sets disable"),
            ),
            ("== 9.yaml\n a: [ 0ther\n== end\n", Some("is not YAML")),
            // An answer that was cut is not one without drop-ins.
            ("== 9.yaml\n kubelet-arg: 0ther\n", Some("cannot read")),
            ("== 9.yaml\n kubelet-arg: 0ther\n== end\n", None),
            ("== end\n", None),
        ] {
            let machine = machine("k3s-cp-1", Fake::new().says(DROP_INS_PATH, said));
            let done = check(&machine, "token: a\ndisable: [traefik]\n").await;
            let told = done.as_ref().err().map(ToString::to_string);
            let told = told.unwrap_or_default();
            assert_eq!(done.is_ok(), what.is_none(), "{said} {told}");
            assert!(told.contains(what.unwrap_or_default()), "{told}");
            assert!(!told.contains("0ther"), "{told}");
        }
    }
}
