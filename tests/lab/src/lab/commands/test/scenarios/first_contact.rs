//! `init` where there is no cluster.toml: silent without a terminal, a few questions on one.

use anyhow::{Result, bail};

use super::super::trial::Trial;

/// Leaves a cluster.toml for the one host of fleet `one`; nothing else is done.
pub(super) fn run(trial: &Trial) -> Result<()> {
    let asked = trial
        .me("slicer-k3s init --accept-new-host-keys </dev/null")?
        .expect(2)?;
    if !asked.text().contains("--host") || !asked.text().contains("--control-plane") {
        bail!("the missing flags are not named:\n{}", asked.text());
    }
    trial.put_mine("person", "0755", TYPIST)?;
    let done = trial.me("sh ./person")?.expect(1)?;
    let seen = trial.me("cat typescript cluster.toml")?.expect(0)?.stdout;
    for words in [
        "Intel N100 mini PC",
        "hosts = [\"n100\"]",
        "ssh = \"alex@192.168.1.11\"",
        "Apply this plan?",
        "nothing was changed",
    ] {
        if !seen.contains(words) {
            bail!("no word of {words}:\n{seen}\n{}", done.text());
        }
    }
    Ok(())
}

/// Waits for each prompt and types: a machine, no other, the proposed name, and no to the plan.
const TYPIST: &str = r#"
log=typescript; : >$log
answer() {
    n=0
    until tr -d '\r' <$log | grep -q "$1"; do
        n=$((n + 1)); [ $n -lt 200 ] || exit
        sleep 0.1
    done
    sleep 0.3
    printf '%s\r' "$2"
}
{
    answer 'A machine that runs Slicer' 'alex@192.168.1.11'
    answer 'Another one' ''
    answer 'cluster.s name' ''
    answer 'Apply this plan' 'n'
    sleep 1
} | script -qefc 'slicer-k3s init --accept-new-host-keys' $log
"#;
