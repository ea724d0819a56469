//! One server on each of three hosts: any one host may go. Nothing is lost while it is off, it comes back, and a change that
//! restarts every server takes down one at a time. Servers see each other's own addresses, whatever Slicer masquerades.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::super::trial::{CLUSTER_SPREAD, Trial};
use super::farewell::LEFT;
use super::{INIT, UNHURRIED, changes_nothing, each_masquerade, healthy, items};
use crate::place::Place;
use crate::say;

/// The proof is another scenario's; with routes the workstation sees each server by itself.
const SKIP: &str = "--skip-proof --workstation-route";

/// How long a pod may take while a host is off: the API's other servers, the scheduler's and the controllers' new leaders.
const PATIENCE: Duration = Duration::from_mins(3);

/// The hosts, and the address of the server of each.
const SERVERS: [(&str, &str); 3] = [
    ("n100", "192.168.137.2"),
    ("ryzen", "192.168.138.2"),
    ("pi5", "192.168.139.2"),
];

/// Within so many seconds a flushed table is back without us.
const BACK: Duration = Duration::from_secs(30);

/// A kubelet that starts tells within less than this that it is not ready yet.
const STEADY: Duration = Duration::from_secs(10);

/// Runs it.
pub(super) fn run(_: &Place) -> Result<()> {
    each_masquerade("three", "test-spread", once)
}

fn once(trial: &Trial) -> Result<()> {
    CLUSTER_SPREAD.write(trial)?;
    let init = format!("{INIT} {SKIP}");
    let done = trial.me(&init)?.expect(0)?;
    say::line(format_args!("  init: {:.0} s", done.took.as_secs_f64()));
    healthy(trial)?;
    own_addresses(trial)?;
    changes_nothing(trial, ("workstation", "me"), &init, UNHURRIED)?;
    one_host_goes(trial, &init)?;
    changes_nothing(trial, ("workstation", "me"), &init, UNHURRIED)?;
    one_at_a_time(trial, &init)?;
    nothing_stays(trial)
}

/// No connection of a server to another is masqueraded; what sees to that comes back where somebody flushed it.
fn own_addresses(trial: &Trial) -> Result<()> {
    for (host, address) in SERVERS {
        // What its server opened to another's etcd: the answers must be sent to the server, not to the host.
        let opened = format!("conntrack -L -p tcp -s {address} --dport 2380 --state ESTABLISHED");
        let opened = trial.root(host, &opened)?.expect(0)?.stdout;
        let own = format!(" dst={address} ");
        if opened.is_empty() || opened.lines().any(|line| !line.contains(&own)) {
            bail!("{host}'s server is not seen under its own address:\n{opened}");
        }
        trial
            .root(host, "nft delete table ip slicer-k3s-home")?
            .expect(0)?;
    }
    let begin = Instant::now();
    for (host, address) in SERVERS {
        let rules = format!("nft list table ip slicer-k3s-home | grep -c 'saddr {address}'");
        while trial.root(host, &rules)?.stdout.trim() != "2" {
            if begin.elapsed() > BACK {
                bail!("{host} does not keep its server's address");
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }
    Ok(())
}

/// The table goes with the cluster.
fn nothing_stays(trial: &Trial) -> Result<()> {
    trial.me("slicer-k3s destroy --yes")?.expect(0)?;
    for (host, _) in SERVERS {
        let left = trial.root(host, LEFT)?.expect(0)?.stdout;
        if !left.trim().is_empty() {
            bail!("left on {host}:\n{left}");
        }
    }
    Ok(())
}

/// Pulls the cable of the host whose server every joiner was told to join.
fn one_host_goes(trial: &Trial, init: &str) -> Result<()> {
    let routes = "cat /etc/slicer-k3s/routes.d/* | sort";
    let before = trial.root("ryzen", routes)?.expect(0)?.stdout;
    trial.fault(&["link-down", "n100"])?;
    let begin = Instant::now();
    let pod = "slicer-k3s kubectl run lonely --image=docker.io/library/busybox:latest --restart=Never --command -- true; \
               slicer-k3s kubectl wait --for=jsonpath='{.status.phase}'=Succeeded pod/lonely --timeout=20s";
    while trial.me(pod)?.status != 0 {
        if begin.elapsed() > PATIENCE {
            bail!(
                "no pod ran within {} s after a host was lost",
                PATIENCE.as_secs()
            );
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    say::line(format_args!(
        "  a pod ran {:.0} s after a host was lost",
        begin.elapsed().as_secs_f64()
    ));
    // A run meanwhile goes on with the others, keeps their routes to it, and names it last.
    let without = trial.me(init)?.expect(1)?;
    let text = without.text();
    let named = text
        .rfind("error[")
        .map(|at| &text[at..])
        .unwrap_or_default();
    if !named.contains("n100") {
        bail!("the host that is off is not named last:\n{text}");
    }
    if trial.root("ryzen", routes)?.expect(0)?.stdout != before {
        bail!("routes to a host that was off were taken away");
    }
    trial.fault(&["clear", "n100"])?;
    let back = steady(trial).context("the host came back, its server did not")?;
    say::line(format_args!(
        "  three Ready voters {back:.0} s after it came back"
    ));
    // Not before: a server that comes back refuses for a while.
    trial
        .me("slicer-k3s kubectl delete pod lonely --now")?
        .expect(0)?;
    Ok(())
}

/// Seconds until all is well and stays so. A k3s that lost the others ended and starts anew: until its kubelet says
/// something, its Node is as Ready as when it went.
fn steady(trial: &Trial) -> Result<f64> {
    let begin = Instant::now();
    let mut since = begin;
    while since.elapsed() < STEADY {
        if let Err(why) = healthy(trial) {
            if begin.elapsed() > PATIENCE {
                return Err(why);
            }
            since = Instant::now();
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    Ok((since - begin).as_secs_f64())
}

/// A name more in the certificates restarts k3s everywhere; at no moment are two down.
fn one_at_a_time(trial: &Trial, init: &str) -> Result<()> {
    let toml = "sed -i 's/^hosts = .*/&\\ntls-san = [\"k3s.lab\"]/' cluster.toml";
    trial.me(toml)?.expect(0)?;
    let servers: Vec<String> = items(trial, "nodes")?
        .iter()
        .filter_map(|node| {
            Some(
                node["status"]["addresses"][0]["address"]
                    .as_str()?
                    .to_owned(),
            )
        })
        .collect();
    // A line a moment: how many servers answer.
    let watch = format!(
        "while sleep 0.3; do n=0; for at in {}; do \
         [ \"$(curl -sk -m 2 -o /dev/null -w '%{{http_code}}' https://$at:6443/ping)\" = 200 ] && n=$((n+1)); done; echo $n; done",
        servers.join(" ")
    );
    let script =
        format!("({watch}) >watch.log & watch=$!; {init}; code=$?; kill $watch; exit $code");
    let done = trial.me(&script)?.expect(0)?;
    let log = trial.me("cat watch.log")?.expect(0)?.stdout;
    let least = log
        .lines()
        .filter_map(|line| line.parse::<u32>().ok())
        .min();
    let down = log.lines().filter(|line| *line == "2").count();
    say::line(format_args!(
        "  three restarts: {:.0} s, one server down {down} of {} times looked",
        done.took.as_secs_f64(),
        log.lines().count()
    ));
    match least {
        Some(2) => healthy(trial),
        Some(3) => bail!("no server was ever seen restarting"),
        _ => bail!("two servers were down at once:\n{log}"),
    }
}
