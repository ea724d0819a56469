use super::*;
use crate::secret::Secret;

/// Two at once: the second would begin where a server may be down by the first.
#[test]
fn one_join_token_is_replaced_at_a_time() {
    let mut state = State::create("home").unwrap();
    for token in [Token::Agent, Token::Server, Token::Slicer("pi5".into())] {
        assert!(may_rotate(&state, &token).is_ok());
    }
    assert!(none_unfinished(&state).is_ok());
    state.secrets.renew(false).unwrap();
    state.secrets.retired.replace_agents = true;
    // What no server knows of yet holds nothing up.
    assert!(may_rotate(&state, &Token::Server).is_ok());
    assert!(none_unfinished(&state).is_ok());
    state.secrets.retired.phase = crate::state::RotationPhase::Begun;
    assert!(may_rotate(&state, &Token::Agent).is_ok());
    let refused = [
        may_rotate(&state, &Token::Server),
        may_rotate(&state, &Token::Slicer("pi5".into())),
        none_unfinished(&state),
    ];
    for refused in refused {
        let hint = refused.unwrap_err().hint.unwrap();
        assert_eq!(hint, "slicer-k3s rotate-token --replace-agents finishes it");
    }
    state.secrets.settle();
    let host = ("pi5".to_owned(), Secret::new("0ld"));
    state.secrets.retired.slicer.extend([host]);
    assert!(may_rotate(&state, &Token::Agent).is_ok());
    assert!(none_unfinished(&state).is_ok());
}

/// What ends is what is looked through for data.
#[test]
fn agents_end_where_their_daemon_restarts_or_others_take_their_place() {
    let plan = crate::testing::plan();
    let ryzen = Token::Slicer("ryzen".into());
    assert_eq!(ryzen.ends(&plan, false), ["k3s-agents-1"]);
    assert!(Token::Agent.ends(&plan, false).is_empty());
    assert_eq!(Token::Agent.ends(&plan, true).len(), 2);
}

/// A run without the flag that finished such a rotation removed all agents: it named no data and asked nothing.
#[test]
fn a_rotation_that_is_finished_later_replaces_agents_as_it_began() {
    let mut secrets = State::create("home").unwrap().secrets;
    assert!(!Token::Agent.replaces_agents(&secrets.retired, false));
    assert!(Token::Agent.replaces_agents(&secrets.retired, true));
    secrets.renew(false).unwrap();
    secrets.retired.replace_agents = true;
    assert!(Token::Agent.replaces_agents(&secrets.retired, false));
    for other in [Token::Server, Token::Slicer("pi5".into())] {
        assert!(!other.replaces_agents(&secrets.retired, false));
    }
}

/// Agents of an imported cluster join by the servers' token until `init` has given them their own.
#[test]
fn a_cluster_that_is_not_configured_yet_is_configured_first() {
    let mut state = State::create("home").unwrap();
    state.secrets.retired.agent = Some(state.secrets.server_token.clone());
    for refused in [may_rotate(&state, &Token::Agent), none_unfinished(&state)] {
        let failure = refused.unwrap_err();
        assert_eq!(failure.code.exit_code(), 1, "no mistake of anyone's");
        let hint = failure.hint.unwrap();
        assert!(hint.contains("slicer-k3s init"), "{hint}");
    }
}
