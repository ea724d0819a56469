use super::*;
use crate::plan::Decisions;
use crate::secret::Secret;
use crate::testing::plan;

/// The note that a run with this state leaves.
fn note(state: &State, run: &str) -> Note {
    let (server_token, agent_token) = hashes(&state.secrets);
    Note {
        decisions: state.decisions.fingerprint(),
        server_token,
        agent_token,
        ..Note::new(run.into(), "you@there".into(), "init".into(), 1_796_000_000)
    }
}

fn state() -> State {
    let mut state = State::create("home").unwrap();
    state.decisions = plan().decisions(&Decisions::default());
    state
}

/// An older state would take away what it does not know.
#[test]
fn who_has_an_older_record_is_refused() {
    let all = state();
    let mut less = all.clone();
    less.decisions = all.decisions.without("ryzen", false);
    let failure = news(&less, Some(&note(&all, "b1"))).unwrap();
    assert!(failure.to_string().contains("you@there"), "{failure}");
    assert!(news(&all, Some(&note(&all, "b1"))).is_none(), "the same");
    assert!(news(&all, None).is_none(), "no one acted");
    let fresh = State::create("home").unwrap();
    assert!(
        news(&fresh, Some(&note(&all, "b1"))).is_none(),
        "a new cluster"
    );
    // A run of our own that was killed: its note is older than the record.
    less.remember("b1");
    assert!(news(&less, Some(&note(&all, "b1"))).is_none());
}

/// The cluster went back to an earlier form: that this form was known here once says nothing.
#[test]
fn a_form_of_before_is_no_proof_that_nothing_happened() {
    let all = state();
    let mut less = all.clone();
    less.decisions = all.decisions.without("ryzen", false);
    // This workstation made the small form and then the large one; another one took it back.
    let mut here = all.clone();
    here.remember("a1");
    here.remember("a2");
    assert!(news(&here, Some(&note(&less, "b1"))).is_some());
}

/// Its state would bring the revoked token back.
#[test]
fn a_state_with_a_revoked_token_is_refused() {
    let before = state();
    for (server, which) in [(false, "agents'"), (true, "servers'")] {
        let mut rotated = before.clone();
        rotated.secrets.renew(server).unwrap();
        rotated.secrets.settle();
        let mut note = note(&rotated, "b1");
        let replaced = Some(Replaced {
            at: 1_796_000_000,
            who: "them@yonder".into(),
        });
        note.agent_token_replaced.clone_from(&replaced);
        note.server_token_replaced = replaced;
        let failure = news(&before, Some(&note)).unwrap();
        let told = failure.to_string();
        for part in [which, "them@yonder", "2026-11-30T", "import --force"] {
            let all = format!("{told} {}", failure.hint.clone().unwrap_or_default());
            assert!(all.contains(part), "{part}: {all}");
        }
        // The rotation of our own, killed before it was announced, goes on.
        let mut begun = before.clone();
        begun.secrets.renew(server).unwrap();
        let old = super::tests::note(&before, "b2");
        assert!(news(&begun, Some(&old)).is_none(), "{which}");
    }
}

/// An import reads the servers before it holds the lock: a rotation may have ended in between, or be under way on hosts that
/// it does not reach.
#[test]
fn an_import_that_may_have_read_what_was_replaced_is_refused() {
    let (a, b) = (note(&state(), "a1"), note(&state(), "b1"));
    let changed = |read: Option<&Note>, seen: Option<&Note>| doubtful(None, true, read, seen);
    assert!(changed(Some(&a), Some(&a)).is_none());
    assert!(changed(None, None).is_none() && changed(Some(&a), None).is_none());
    assert!(changed(None, Some(&b)).is_some());
    let failure = changed(Some(&a), Some(&b)).unwrap();
    assert!(failure.to_string().contains("you@there"), "{failure}");
    let few = Failure::new(Code::Locked, "too few");
    assert_eq!(
        doubtful(Some(&few), true, Some(&a), Some(&a)),
        Some(few.clone())
    );
    assert_eq!(doubtful(Some(&few), false, Some(&a), Some(&a)), None);
}

#[test]
fn hashes_are_no_tokens() {
    let mut state = state();
    state.secrets.server_token = Secret::new("5ecre7-of-the-servers");
    state.secrets.agent_token = Secret::new("5ecre7-of-the-agents");
    let text = serde_json::to_string(&note(&state, "a")).unwrap();
    assert!(!text.contains("5ecre7"));
    let (servers, agents) = hashes(&state.secrets);
    assert_eq!(servers, state.secrets.server_token.sha256());
    assert_eq!(agents, state.secrets.agent_token.sha256());
}

/// A question was answered an hour after the lid had been closed; another run had been there meanwhile, and cluster.toml was
/// written all the same.
#[tokio::test]
async fn nothing_is_recorded_once_the_lock_is_anothers() {
    let root = tempfile::tempdir().unwrap();
    let lost = Failure::new(Code::Locked, "another run has it");
    let turn = RunLock {
        here: Here(Lock::take(root.path(), "init").unwrap()),
        there: crate::fleet::lost_lock(&lost),
        run: "a1".into(),
        next: Mutex::new(None),
        announced: AtomicBool::new(false),
    };
    let (mut state, before) = (state(), state());
    assert_eq!(turn.record(&mut state).await, Err(lost));
    assert_eq!(state.runs, before.runs);
    assert!(turn.next.lock().unwrap().is_none());
}
