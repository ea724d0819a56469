use super::*;
use crate::testing::{Fake, plan, world};

fn cluster(hash: &str, running: bool, log: &str) -> Fake {
    let state = if running {
        r#"{"running":{}}"#
    } else {
        r#"{"waiting":{"reason":"CrashLoopBackOff"}}"#
    };
    let annotations = format!(r#""annotations":{{"{CONFIG_ANNOTATION}":"{hash}"}}"#);
    let values = generate::values_hash(&plan());
    let installed = format!(r#""annotations":{{"{VALUES_ANNOTATION}":"{values}"}}"#);
    Fake::new()
        .says("/secrets/", r#"{"data":{"cloud-config":"YWJj"}}"#)
        .says("/deployments", &format!(r#"{{"metadata":{{{installed}}},"spec":{{"selector":{{"matchLabels":{{"a":"b"}}}},"template":{{"metadata":{{{annotations}}}}}}}}}"#))
        .says("/pods?", &format!(r#"{{"kind":"List","metadata":{{}},"items":[{{"metadata":{{"name":"ca-1","uid":"u",{annotations}}},"status":{{"containerStatuses":[{{"ready":{running},"restartCount":3,"state":{state}}}]}}}}]}}"#))
        .says("/log?", log)
}

async fn check(fake: &Fake) -> Result<Finding> {
    AutoscalerRunning::new(&plan())
        .check(&world(&[("k3s-cp-1", fake)]), Phase::Before)
        .await
}

use crate::testing::permit;

#[tokio::test]
async fn a_pod_that_runs_counts_when_it_works_with_the_current_config() {
    let hash = crate::secret::sha256(b"abc");
    let working = cluster(
        &hash,
        true,
        "main.go:291] Registered cleanup signal handler\n",
    );
    assert_eq!(check(&working).await.unwrap(), Finding::done());
    let young = cluster(&hash, true, "");
    assert!(matches!(check(&young).await.unwrap(), Finding::Unknown(_)));
    let old = cluster("other", true, "Starting main loop\n");
    assert!(matches!(check(&old).await.unwrap(), Finding::Unknown(_)));
}

/// With three agents it logs 400 lines a loop, and what it says of its start is out of sight: that was reported as drift.
#[tokio::test]
async fn one_that_has_run_for_a_while_counts_however_much_it_logs() {
    let hash = crate::secret::sha256(b"abc");
    for (seconds, done) in [("3600\n", true), ("3\n", false), ("", false)] {
        let mut fake = cluster(
            &hash,
            true,
            "I1129 klogx.go:87] Pod ns/p is unschedulable\n",
        );
        fake = fake.says("date -d", seconds).replacing(
            r#"{"running":{}}"#,
            r#"{"running":{"startedAt":"2026-11-30T01:00:00Z"}}"#,
        );
        let found = check(&fake).await.unwrap();
        assert_eq!(matches!(found, Finding::Done(_)), done, "{seconds}");
    }
}

/// Helm's own words hold what they like, "Deployment" among it: they say where the installation stands all the same.
#[tokio::test]
async fn an_installation_under_way_is_told_by_helms_last_word() {
    let job = |status: &str| {
        Fake::new()
            .says("/secrets/", r#"{"data":{"cloud-config":"YWJj"}}"#)
            .says("/deployments", r#"{"metadata":{},"spec":{}}"#)
            .says("/jobs/", status)
            .says(
                "/pods?",
                r#"{"kind":"List","metadata":{},"items":[{"metadata":{"name":"helm-1"}}]}"#,
            )
            .says("/log?", "Patch Deployment \"slicer-cluster-autoscaler\"\n")
    };
    let under_way = job(r#"{"status":{}}"#);
    let through = job(r#"{"status":{"conditions":[{"type":"Complete","status":"True"}]}}"#);
    for (fake, says) in [
        (under_way, "Patch Deployment"),
        (through, "previous cloud-config"),
    ] {
        let found = check(&fake).await.unwrap();
        assert!(
            matches!(&found, Finding::Unknown(why) if why.contains(says)),
            "{found:?}"
        );
    }
}

/// A pod that cannot start logs nothing for ever; why is in its events. There is no Deployment to ask then.
#[tokio::test]
async fn a_pod_without_a_log_is_told_by_its_last_warning() {
    let events = r#"{"kind":"List","metadata":{},"items":[
        {"type":"Normal","reason":"Scheduled","message":"assigned","lastTimestamp":"2026-11-30T01:00:00Z"},
        {"type":"Warning","reason":"FailedCreatePodSandBox","message":"seccomp not supported","lastTimestamp":"2026-11-30T01:00:09Z"}]}"#;
    let job = Fake::new()
        .says("/secrets/", r#"{"data":{"cloud-config":"YWJj"}}"#)
        .says("/jobs/", r#"{"status":{}}"#)
        .says(
            "/pods?",
            r#"{"kind":"List","metadata":{},"items":[{"metadata":{"name":"helm-1","uid":"u1"}}]}"#,
        )
        .says("involvedObject.uid%3Du1", events);
    let hash = crate::secret::sha256(b"abc");
    let pod = cluster(&hash, false, "").says("involvedObject.uid%3Du", events);
    for (fake, is_installed) in [(job, false), (pod, true)] {
        let step = AutoscalerRunning::new(&plan());
        let world = world(&[("k3s-cp-1", &fake)]);
        let (Finding::Unknown(why) | Finding::Differs(why)) =
            step.check(&world, Phase::Before).await.unwrap()
        else {
            panic!()
        };
        let says = "FailedCreatePodSandBox: seccomp not supported";
        assert!(why.ends_with(says), "{why}");
        assert!(
            step.meta().hint.contains("get events"),
            "{}",
            step.meta().hint
        );
        assert!(is_installed || !step.meta().hint.contains("deployment/"));
    }
}

/// A chart version that was never published kept everyone waiting for five minutes, with a line of the job's shell for a reason.
#[tokio::test(start_paused = true)]
async fn a_chart_that_is_not_in_the_index_ends_the_wait() {
    let pods = |state: &str| {
        format!(
            r#"{{"kind":"List","metadata":{{}},"items":[{{"metadata":{{"name":"helm-1"}},"status":{{"containerStatuses":[{{"state":{{{state}}},
               "lastState":{{"terminated":{{"exitCode":1,"message":"Installing helm chart"}}}}}}]}}}}]}}"#
        )
    };
    // As klipper-helm v0.13.3 leaves it: Helm's error among the commands of its shell.
    let log = "+ helm repo update\n+ helm install x\nError: INSTALLATION FAILED: chart \"cluster-autoscaler\" matching 9.52.2 \
        not found in x index. (try 'helm repo update'): no chart version found for cluster-autoscaler-9.52.2\n+ exit\n";
    let fake = Fake::new()
        .says("/secrets/", r#"{"data":{"cloud-config":"YWJj"}}"#)
        .says("/jobs/", r#"{"status":{}}"#)
        .says_first(
            "/pods?",
            &pods(r#""waiting":{"reason":"CrashLoopBackOff"}"#),
        )
        .says("/pods?", &pods(r#""running":{}"#))
        // The next try has begun: the reason is in the log of the one before.
        .says("previous=true", log)
        .says_first("/log?", log)
        .says("/log?", "+ helm repo update\n");
    let world = world(&[("k3s-cp-1", &fake)]);
    let step = AutoscalerRunning::new(&plan());
    step.apply(&world, &permit()).await.unwrap();
    // The job of an older chart may be what is seen.
    let found = step.check(&world, Phase::After).await.unwrap();
    assert!(matches!(&found, Finding::Unknown(why) if why.contains("no chart version found")));
    tokio::time::advance(MISSING).await;
    let failure = step.check(&world, Phase::After).await.unwrap_err();
    assert!(failure.is_permanent());
    assert!(failure.hint.unwrap().contains("chart-version"));
}

/// The hint names what is there by then.
#[tokio::test]
async fn the_hint_names_only_what_exists() {
    let hint = async |fake: Fake| {
        let step = AutoscalerRunning::new(&plan());
        let world = world(&[("k3s-cp-1", &fake)]);
        step.check(&world, Phase::Before).await.unwrap();
        step.meta().hint
    };
    let secret = || Fake::new().says("/secrets/", r#"{"data":{"cloud-config":"YWJj"}}"#);
    let no_job = hint(secret()).await;
    assert!(no_job.contains("describe helmchart"), "{no_job}");
    let logging = secret()
        .says("/jobs/", r#"{"status":{}}"#)
        .says(
            "/pods?",
            r#"{"kind":"List","metadata":{},"items":[{"metadata":{"name":"helm-1"}}]}"#,
        )
        .says("/log?", "Error: chart not found\n");
    let logging = hint(logging).await;
    assert!(logging.contains("logs -n kube-system job/"), "{logging}");
    let hash = crate::secret::sha256(b"abc");
    let runs = hint(cluster(&hash, true, "x")).await;
    assert!(runs.contains("logs autoscaler"), "{runs}");
}

/// After a change of flags alone the old pod still runs, with the right cloud-config.
#[test]
fn a_pod_of_an_older_form_does_not_count() {
    let deployment = |seen: u32, updated: u32| {
        serde_json::json!({"metadata": {"generation": 2}, "status": {
            "observedGeneration": seen, "replicas": 1, "updatedReplicas": updated}})
    };
    assert!(rolls(&deployment(1, 1)) && rolls(&deployment(2, 0)));
    assert!(!rolls(&deployment(2, 1)));
}

#[tokio::test]
async fn a_crash_is_told_by_its_cause() {
    let hash = crate::secret::sha256(b"abc");
    let dead = cluster(&hash, false, "F0101 Failed to parse config, error: x\n");
    let world = world(&[("k3s-cp-1", &dead)]);
    let step = AutoscalerRunning::new(&plan());
    assert!(matches!(
        step.check(&world, Phase::Before).await.unwrap(),
        Finding::Differs(_)
    ));
    step.apply(&world, &permit()).await.unwrap();
    assert!(dead.was_told("rollout restart"));
    let failure = step.check(&world, Phase::After).await.unwrap_err();
    assert!(failure.is_permanent());
    assert!(failure.to_string().contains("cannot read its cloud-config"));
}

/// A registry that does not answer is told after a minute, not after five.
#[tokio::test(start_paused = true)]
async fn an_image_that_cannot_be_pulled_ends_the_wait() {
    let step = AutoscalerRunning::new(&plan());
    let pod = serde_json::json!({"spec": {"nodeName": "k3s-cp-1"}, "status": {"containerStatuses": [
        {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "ghcr.io: connection reset"}}}]}});
    assert!(step.unpulled(&pod, Phase::After).is_none());
    tokio::time::advance(PULLING).await;
    let failure = step.unpulled(&pod, Phase::After).unwrap();
    assert!(failure.is_permanent());
    assert!(failure.what.contains("k3s-cp-1") && failure.to_string().contains("ghcr.io"));
}

/// A Node that registers again refuses the pod that it had before, and that pod stays listed beside the new one.
#[tokio::test]
async fn a_pod_that_a_node_refused_hides_none_that_runs() {
    let hash = crate::secret::sha256(b"abc");
    let annotations = format!(r#""annotations":{{"{CONFIG_ANNOTATION}":"{hash}"}}"#);
    let refused = format!(
        r#"{{"metadata":{{"name":"ca-0","uid":"t",{annotations}}},"status":{{"phase":"Failed","reason":"NodeAffinity"}}}}"#
    );
    let runs = format!(
        r#"{{"metadata":{{"name":"ca-1","uid":"u",{annotations}}},"status":{{"phase":"Running","containerStatuses":[{{"ready":true,"restartCount":0,"state":{{"running":{{}}}}}}]}}}}"#
    );
    let both = format!(r#"{{"kind":"List","metadata":{{}},"items":[{refused},{runs}]}}"#);
    let fake = cluster(&hash, true, "Starting main loop").says_first("/pods?", &both);
    assert_eq!(check(&fake).await.unwrap(), Finding::done());
}

/// "its pod is not made yet", for minutes, where the pod that it waited for was on a server that had died.
#[tokio::test]
async fn an_earlier_pod_that_does_not_end_is_named_with_its_node() {
    let hash = crate::secret::sha256(b"abc");
    let ending = cluster(&hash, true, "").replacing(
        r#""name":"ca-1","#,
        r#""name":"ca-1","deletionTimestamp":"2026-11-30T01:00:00Z","#,
    );
    let ending = ending.replacing(
        r#""status":{"containerStatuses""#,
        r#""spec":{"nodeName":"k3s-cp-2"},"status":{"containerStatuses""#,
    );
    let found = check(&ending).await.unwrap();
    let said = "its earlier pod ca-1 has not ended yet on k3s-cp-2";
    assert_eq!(found, Finding::Unknown(said.into()));
}
