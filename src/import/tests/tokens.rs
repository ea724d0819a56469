//! Which tokens an import takes over where a rotation did not end, and when it refuses to.

use super::*;
use crate::slicer::Process;

fn noted(secrets: &Secrets) -> Noted {
    Noted {
        who: "me@here".into(),
        server_token: secrets.server_token.sha256(),
        agent_token: secrets.agent_token.sha256(),
    }
}

fn full(user: &str, token: &Secret) -> Secret {
    Secret::new(format!("K10abc::{user}:{}", token.expose()))
}

/// A rotation that was not finished when the state was lost can be finished afterwards.
#[test]
fn the_token_that_some_servers_still_have_is_kept_as_retired() {
    let mut secrets = Secrets::generate("home").unwrap();
    let mut findings = findings(&plan(), &secrets);
    let old = secrets.agent_token.clone();
    secrets.renew(false).unwrap();
    let config = k3s::config(&plan(), &plan().servers[0], None, &secrets).unwrap();
    findings.servers[0].1.config = Secret::new(config);
    // No note names one of the two, and the servers do not show which one came first.
    assert!(findings.state().is_err());
    for (_, facts) in &mut findings.servers {
        facts.agent_token = full("node", &old);
    }
    let state = findings.state().unwrap();
    assert_eq!(state.secrets.agent_token, secrets.agent_token);
    assert_eq!(state.secrets.retired.agent, Some(old));
}

/// Killed after k3s had sealed its data, and before any file named the new token: only k3s's own file has it, and the note.
#[test]
fn the_note_says_which_of_two_tokens_is_the_new_one() {
    let mut secrets = Secrets::generate("home").unwrap();
    let mut findings = findings(&plan(), &secrets);
    let old = secrets.server_token.clone();
    secrets.renew(true).unwrap();
    let new = secrets.server_token.clone();
    findings.servers[0].1.token = full("server", &new);
    findings.noted = Some(noted(&secrets));
    let state = findings.state().unwrap();
    assert_eq!(state.secrets.server_token, new);
    assert_eq!(state.secrets.retired.server, Some(old));
    assert_eq!(state.secrets.retired.agent, None);
}

/// A rotation of the servers' token by a release that left no note: k3s on the first server has sealed the data, all processes
/// and files have the old token. Had the old one been taken for the new one, no server could start again.
#[test]
fn what_the_data_are_sealed_with_is_taken_over_without_a_note() {
    let mut secrets = Secrets::generate("home").unwrap();
    let mut findings = findings(&plan(), &secrets);
    let old = secrets.server_token.clone();
    secrets.renew(true).unwrap();
    for (n, (_, facts)) in findings.servers.iter_mut().enumerate() {
        let (kept, process) = match n {
            0 => (&secrets.server_token, Process::Refuses),
            _ => (&old, Process::Accepts),
        };
        (facts.token, facts.process) = (full("server", kept), process);
    }
    let state = findings.state().unwrap();
    assert_eq!(state.secrets.server_token, secrets.server_token);
    assert_eq!(state.secrets.retired.server, Some(old));
    // That server does not say what its process goes by.
    findings.servers[0].1.process = Process::Unknown;
    assert_eq!(findings.state().unwrap_err().code, Code::Import);
}

/// The server that has it was not named, or is down: the note that this import leaves would call the old token the current one.
#[test]
fn a_noted_token_that_only_an_unseen_server_may_have_is_not_given_up() {
    let mut secrets = Secrets::generate("home").unwrap();
    let mut findings = findings(&plan(), &secrets);
    let old = secrets.server_token.clone();
    secrets.renew(true).unwrap();
    findings.noted = Some(noted(&secrets));
    let (name, _) = findings.servers.remove(0);
    findings.silent.push(name);
    let failure = findings.state().unwrap_err();
    let told = format!("{failure} {}", failure.hint.clone().unwrap());
    assert!(
        told.contains("k3s-cp-1") && told.contains("me@here"),
        "{told}"
    );
    // It was noted and not used yet: every server was seen.
    findings.silent.clear();
    assert_eq!(findings.state().unwrap().secrets.server_token, old);
    // A member of etcd on a host that was not named.
    findings.servers[0].1.data = members(&["k3s-cp-1", "k3s-cp-2", "k3s-cp-3", "k3s-cp-4"]);
    assert!(findings.state().is_err());
}

/// `/db/info` as a server shows it.
fn members(names: &[&str]) -> String {
    let members: Vec<Value> = names
        .iter()
        .map(|name| json!({"ID": 1, "name": format!("{name}-00aa11bb")}))
        .collect();
    format!("data=yes\nmembers={}\nend\n", json!({"members": members}))
}

/// The first person's note lies where most of the servers are.
#[test]
fn a_minority_of_the_servers_is_not_enough_while_the_cluster_runs() {
    let mut findings = findings(&plan(), &Secrets::generate("home").unwrap());
    assert!(findings.minority().is_none(), "no quorum answers");
    findings.servers[0].1.data = members(&["k3s-cp-1", "k3s-cp-2", "k3s-cp-9"]);
    assert!(findings.minority().is_none());
    findings.servers[0].1.data = members(&["k3s-cp-1", "k3s-cp-8", "k3s-cp-9"]);
    let failure = findings.minority().unwrap();
    assert_eq!(failure.code, Code::Locked);
    assert!(
        failure.to_string().contains("k3s-cp-8, k3s-cp-9"),
        "{failure}"
    );
}

/// The adoption of a hand-made cluster was cut after the second server had got its configuration, and that one has restarted.
/// Each import made another token, which that server then refused.
#[test]
fn an_agent_token_that_only_one_server_has_is_taken_over() {
    let secrets = Secrets::generate("home").unwrap();
    let mut findings = findings(&plan(), &secrets);
    for (n, (_, facts)) in findings.servers.iter_mut().enumerate() {
        facts.token = full("server", &secrets.server_token);
        if n == 1 {
            facts.agent_token = full("node", &secrets.agent_token);
        } else {
            facts.agent_token = full("node", &secrets.server_token);
            facts.config = Secret::new(match n {
                0 => format!(
                    "cluster-init: true\ntoken: {}\n",
                    secrets.server_token.expose()
                ),
                _ => String::new(),
            });
        }
    }
    let state = findings.state().unwrap();
    assert_eq!(state.secrets.agent_token, secrets.agent_token);
    // At the others agents join by the servers' token still.
    assert!(state.secrets.agents_had_the_server_token());
    // Its owner gave the agents a token by the unit's environment: only k3s itself keeps it.
    let owners = Secret::new("its-owners-token");
    for (_, facts) in &mut findings.servers {
        facts.config = Secret::new(format!("token: {}\n", secrets.server_token.expose()));
        facts.agent_token = full("node", &owners);
    }
    findings.servers[0].1.arguments = vec!["--cluster-init".into()];
    let state = findings.state().unwrap();
    assert_eq!(state.secrets.agent_token, owners);
    assert!(state.secrets.retired.is_empty());
}

/// Servers on several hosts, one of which does not answer or was not named: it would keep the old token and never start again.
#[test]
fn no_server_of_a_hand_made_cluster_is_left_out_silently() {
    let plan = plan();
    let mut findings = findings(&plan, &Secrets::generate("home").unwrap());
    assert!(findings.left_out(&[]).is_empty());
    let vm = |name: &str, group: &str| Server {
        name: name.into(),
        group: group.into(),
        host: "n100".into(),
        address: [192, 168, 140, 2].into(),
    };
    let silent = [
        vm("k3s-cp-b-1", "k3s-cp-b"),
        vm("k3s-agents-1-1", "k3s-agents-1"),
    ];
    // Nothing says of what group it is; agents are known by the autoscaler's configuration.
    assert_eq!(findings.left_out(&silent), ["k3s-cp-b-1"]);
    findings.servers[0].1.data = members(&["k3s-cp-1", "k3s-cp-2", "k3s-cp-3"]);
    assert!(findings.left_out(&silent).is_empty(), "no member");
    findings.servers[0].1.data = members(&["k3s-cp-1", "k3s-cp-2", "k3s-cp-b-1"]);
    assert_eq!(findings.left_out(&silent), ["k3s-cp-b-1"]);
    assert_eq!(findings.left_out(&[]), ["k3s-cp-b-1"], "on another host");
}

/// Its chart, flags, values and digest would become the defaults.
#[test]
fn an_autoscaler_that_no_api_tells_of_is_not_none() {
    let mut findings = findings(&plan(), &Secrets::generate("home").unwrap());
    let down = |facts: &mut ServerFacts| facts.api_down = Some("it does not answer".into());
    down(&mut findings.servers[0].1);
    assert!(findings.autoscaler_unknown().is_none(), "others answer");
    for (_, facts) in &mut findings.servers {
        down(facts);
    }
    let failure = findings.autoscaler_unknown().unwrap();
    assert!(failure.to_string().contains("does not answer"), "{failure}");
    assert!(!findings.runs());
}
