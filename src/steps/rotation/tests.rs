use super::*;
use crate::secret::Secret;
use crate::state::Retired;
use crate::testing::{plan, secrets};

fn agent() -> Retired {
    Retired {
        agent: Some(Secret::new("old")),
        ..Retired::default()
    }
}

/// What is off at the time keeps the old token, and the run would have ended well.
#[test]
fn a_plan_without_a_host_replaces_no_token() {
    let mut plan = plan();
    assert!(is_complete(&plan).is_ok());
    let mut secrets = secrets();
    secrets.retired = agent();
    assert!(is_over(&plan, &secrets));
    plan.absent.push(("ryzen".into(), "no route".into()));
    let failure = is_complete(&plan).unwrap_err();
    assert!(failure.to_string().contains("ryzen"), "{failure}");
    assert!(failure.hint.unwrap().contains("slicer-k3s init"));
    assert!(!is_over(&plan, &secrets));
    plan.absent.clear();
    plan.hosts.retain(|host| host.name != "n100");
    assert!(is_complete(&plan).unwrap_err().to_string().contains("n100"));
}

/// `init` does not drain agents: whoever asked for it is reminded of it.
#[test]
fn agents_that_are_to_be_replaced_keep_a_rotation_open() {
    let mut secrets = secrets();
    secrets.retired = Retired {
        replace_agents: true,
        ..agent()
    };
    assert!(!is_over(&plan(), &secrets));
}

/// The wait before a rotation ends in an error that names the machine.
#[tokio::test]
async fn what_keeps_a_rotation_from_beginning_names_the_server() {
    use crate::testing::{Fake, world};

    let node = |voter: &str| {
        let node = format!(
            r#"{{"status":{{"conditions":[{{"type":"Ready","status":"True"}},{{"type":"EtcdIsVoter","status":"{voter}"}}]}}}}"#
        );
        Fake::new().says("/nodes/", &node)
    };
    let (well, learner) = (node("True"), node("False"));
    let servers = |third| {
        world(&[
            ("k3s-cp-1", &well),
            ("k3s-cp-2", &well),
            ("k3s-cp-3", third),
        ])
    };
    assert_eq!(hindrance(&servers(&well)).await, None);
    let why = hindrance(&servers(&learner)).await.unwrap();
    assert!(why.contains("k3s-cp-3"), "{why}");
}
