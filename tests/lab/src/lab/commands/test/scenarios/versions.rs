//! Servers that were upgraded by hand: one only is refused, all are taken over, and nobody's k3s is replaced or restarted.

use anyhow::{Context as _, Result, bail};

use super::super::trial::Trial;
use super::UNPROVEN;
use super::fingerprint::Fingerprint;
use super::home::{Home, ONE, says};
use super::restarts::{all_back, one_server};
use crate::place::Place;
use crate::say;

const OLD: &str = "v1.34.4+k3s1";
const NEW: &str = "v1.34.5+k3s1";

/// The upgrade of k3s's manual, in the words that `init` prints; with a variable more before `sh`.
fn upgrade(server: &str, more: &str) -> String {
    format!(
        "slicer-k3s exec {server} -- sh -c 'curl -sfL https://get.k3s.io | {more}INSTALL_K3S_VERSION={NEW} \
         INSTALL_K3S_EXEC=server sh -'"
    )
}

/// What an upgrade or a restart would change: which k3s there is, and which process was started from it.
#[derive(Debug, PartialEq, Eq)]
struct K3s {
    program: String,
    start: String,
}

fn k3s(trial: &Trial, server: &str) -> Result<K3s> {
    let shown = "k3s --version | head -n 1; sha256sum </usr/local/bin/k3s; systemctl show -p InvocationID --value k3s";
    let text = trial.root(server, shown)?.expect(0)?.stdout;
    let lines: Vec<&str> = text.lines().collect();
    let [version, sum, start] = lines[..] else {
        bail!("{server} says of its k3s: {text}");
    };
    Ok(K3s {
        program: format!("{version} {sum}"),
        start: start.to_owned(),
    })
}

fn of_all(home: &Home) -> Result<Vec<K3s>> {
    let servers = home.servers.iter();
    servers.map(|server| k3s(&home.trial, server)).collect()
}

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    let home = Home::found(&ONE, "versions")?;
    one_only(&home).context("one server is upgraded")?;
    all(&home).context("all servers are upgraded")?;
    rejoined(&home).context("a server loses its disk afterwards")
}

/// Refused, and nothing is touched.
fn one_only(home: &Home) -> Result<()> {
    let (trial, [first, second, third]) = (&home.trial, home.servers);
    trial.me(&upgrade(first, ""))?.expect(0)?;
    all_back(trial, &[first])?;
    let (before, servers) = (Fingerprint::of(home)?, of_all(home)?);
    if !servers[0].program.contains(NEW) || !servers[1].program.contains(OLD) {
        bail!("this tests nothing: {servers:?}");
    }
    let commands = [upgrade(second, ""), upgrade(third, "")];
    let words = [OLD, NEW, first, &commands[0], &commands[1]];
    let seen = trial.me("slicer-k3s status")?;
    says(&seen, &[4], &words).context("status")?;
    let refused = trial.me(UNPROVEN)?;
    says(&refused, &[1], &words).context("init")?;
    says(&refused, &[1], &["k3s-versions-differ"])?;
    if of_all(home)? != servers {
        bail!("a k3s was replaced or restarted");
    }
    before.unchanged(home)
}

/// Taken over; a newer program under an older process is said, and stays so.
fn all(home: &Home) -> Result<()> {
    let (trial, [_, second, third]) = (&home.trial, home.servers);
    trial.me(&upgrade(second, ""))?.expect(0)?;
    all_back(trial, &[second])?;
    trial
        .me(&upgrade(third, "INSTALL_K3S_SKIP_START=true "))?
        .expect(0)?;
    let servers = of_all(home)?;
    let waits = format!("k3s {NEW} is installed, and {OLD} still runs");
    let seen = trial.me("slicer-k3s status")?;
    says(&seen, &[4], &["init takes it over", third, &waits]).context("status")?;
    let reason = format!("k3s: {NEW}: the servers were upgraded; it was {OLD}");
    let unasked = trial.me("slicer-k3s init --skip-proof")?;
    says(&unasked, &[1], &["declined", &reason, &waits]).context("init without --yes")?;
    let taken = home.init()?;
    says(&taken, &[0], &[&reason, &waits])?;
    let again = trial.me(UNPROVEN)?;
    says(&again, &[0], &["Nothing to change", &waits]).context("the second run")?;
    if of_all(home)? != servers {
        bail!("a k3s was replaced or restarted");
    }
    let decided = format!("\"k3s_version\": \"{NEW}\"");
    let state = trial.me("cat .local/state/slicer-k3s/home/state.json")?;
    let mark = trial.root(home.hosts[0], "cat /etc/slicer-k3s/home.json")?;
    for (place, text) in [("state", state.stdout), ("mark", mark.stdout)] {
        if !text.contains(&decided) {
            bail!("the {place} still has another version");
        }
    }
    let restart = format!("exec {third} -- systemctl restart k3s");
    let seen = trial.me("slicer-k3s status")?;
    says(&seen, &[4], &["1 thing", &waits, &restart]).context("status after it")?;
    one_server(trial, third)?;
    home.settled()
}

/// Whoever comes later gets what the others have.
fn rejoined(home: &Home) -> Result<()> {
    let third = home.servers[2];
    home.lose(third)?;
    home.init()?;
    let program = k3s(&home.trial, third)?.program;
    say::line(format_args!("  {third} has {program}"));
    if !program.contains(NEW) {
        bail!("{third} joined with {program}");
    }
    home.settled()
}
