use super::*;
use crate::testing::{Fake, permit, plan, world};

const CONFIGS: &str = "/helmchartconfigs?";

const SERVERS: &str = r#"{"kind":"List","metadata":{},"items":[{"metadata":{"name":"k3s-cp-1","labels":{"node-role.kubernetes.io/control-plane":"true"}}}]}"#;

fn packaged(name: &str, addon: &str, more: &Value) -> Value {
    let mut deployment = json!({
        "metadata": {"name": name, "annotations": {
            "objectset.rio.cattle.io/owner-gvk": "k3s.cattle.io/v1, Kind=Addon",
            "objectset.rio.cattle.io/owner-name": addon,
        }},
        "spec": {"template": {"spec": {"nodeSelector": more}}},
    });
    if more.get("node-role.kubernetes.io/control-plane").is_some() {
        deployment["metadata"]["annotations"][KEPT_ON_SERVERS] = json!("true");
    }
    deployment
}

fn deployments(selector: &Value) -> String {
    let items = [
        packaged("coredns", "coredns", selector),
        packaged("local-path-provisioner", "local-storage", selector),
        packaged("metrics-server", "metrics-server-deployment", selector),
        // Of that name, and not k3s's.
        json!({"metadata": {"name": "coredns"}}),
    ];
    json!({"kind": "List", "metadata": {}, "items": items}).to_string()
}

fn configs(values: Option<&str>) -> String {
    let item =
        |values: &str| json!({"metadata": {"name": "traefik"}, "spec": {"valuesContent": values}});
    json!({"kind": "List", "metadata": {}, "items": values.map(item).into_iter().collect::<Vec<_>>()}).to_string()
}

/// The step's finding, and what it told the server to do where the fact did not hold.
async fn run(keep: bool, disable: &[&str], fake: &Fake) -> Finding {
    let fake = fake.clone().says("/nodes?", SERVERS);
    let mut world = world(&[("k3s-cp-1", &fake)]);
    world.plan.k3s.addons_on_servers = keep;
    world.plan.k3s.disable = disable.iter().map(|word| (*word).to_owned()).collect();
    let step = AddonsOnServers::new(&plan());
    let found = step.check(&world, Phase::Before).await.unwrap();
    if matches!(found, Finding::Differs(_)) {
        step.apply(&world, &permit()).await.unwrap();
    }
    found
}

fn free() -> Value {
    json!({"kubernetes.io/os": "linux"})
}

fn pinned() -> Value {
    json!({"kubernetes.io/os": "linux", "node-role.kubernetes.io/control-plane": "true"})
}

#[tokio::test]
async fn packaged_components_are_kept_on_servers_once() {
    let fake = Fake::new()
        .says("/deployments", &deployments(&free()))
        .says(CONFIGS, &configs(None));
    let found = run(true, &[], &fake).await;
    let all = "coredns, local-path-provisioner, metrics-server, traefik may run on agents";
    assert_eq!(found, Finding::differs(all));
    for name in ["coredns", "local-path-provisioner", "metrics-server"] {
        let patch = format!("deployment/{name} --type merge");
        assert!(fake.was_told(&patch), "{:?}", fake.told());
    }
    let told = fake.told();
    let mut applied = told.iter().map(|(_, object)| object);
    assert!(applied.any(|object| object.contains("HelmChartConfig")));
    let ours = values().unwrap();
    let fake = Fake::new()
        .says("/deployments", &deployments(&pinned()))
        .says(CONFIGS, &configs(Some(&ours)));
    assert_eq!(run(true, &[], &fake).await, Finding::done());
}

#[tokio::test]
async fn what_is_disabled_is_not_waited_for() {
    let fake = Fake::new()
        .says(
            "/deployments",
            r#"{"kind":"List","metadata":{},"items":[]}"#,
        )
        .says("/addons?", r#"{"kind":"List","metadata":{},"items":[]}"#)
        .answers("coredns.yaml.skip", 1, "");
    let all = ["coredns", "local-storage", "metrics-server", "traefik"];
    assert_eq!(run(true, &all, &fake).await, Finding::done());
    let found = run(true, &all[1..], &fake).await;
    let why = "k3s has not deployed coredns yet";
    assert_eq!(found, Finding::Unknown(why.into()));
}

/// A Deployment that is made between the two looks would pass for one that was deleted, and would be left out.
#[tokio::test]
async fn add_ons_are_listed_before_what_they_make() {
    let fake = Fake::new()
        .says("/deployments", &deployments(&free()))
        .says("/addons?", r#"{"kind":"List","metadata":{},"items":[]}"#)
        .says(CONFIGS, &configs(None));
    run(true, &[], &fake).await;
    let told = fake.told();
    let position = |words: &str| told.iter().position(|(command, _)| command.contains(words));
    assert!(position("/addons?") < position("/deployments"));
}

/// Values that a person gave to Traefik are not overwritten, and nothing of theirs is deleted.
#[tokio::test]
async fn a_chart_config_of_someone_else_stays() {
    for keep in [true, false] {
        let fake = Fake::new()
            .says("/deployments", &deployments(&free()))
            .says(CONFIGS, &configs(Some("ports: {}\n")));
        let components = ["coredns", "local-storage", "metrics-server"];
        let Finding::Done(note) = run(keep, &components, &fake).await else {
            panic!("{keep}");
        };
        assert_eq!(note.contains("of your own"), keep, "{note}");
    }
}

/// A HelmChart of that name that a person put in the place of k3s's would get values of ours.
#[tokio::test]
async fn what_was_written_for_traefik_goes_with_it() {
    let ours = values().unwrap();
    let fake = Fake::new()
        .says("/deployments", &deployments(&pinned()))
        .says(CONFIGS, &configs(Some(&ours)));
    let found = run(true, &["traefik"], &fake).await;
    assert!(matches!(found, Finding::Differs(_)), "{found:?}");
    assert!(fake.was_told("kubectl delete") || fake.was_told("'delete'"));
}

/// `CoreDNS` has one pod: where no server takes it, no name in the cluster has an address any more.
#[tokio::test]
async fn what_no_server_takes_is_left_alone_and_what_does_not_come_up_is_taken_back() {
    let own = json!({"kubernetes.io/os": "linux", "pool": "infra"});
    let fake = Fake::new()
        .says("/deployments", &deployments(&own))
        .says(CONFIGS, &configs(Some(&values().unwrap())));
    let Finding::Done(note) = run(true, &[], &fake).await else {
        panic!("it was to be left alone");
    };
    assert!(note.contains("coredns may run on agents"), "{note}");
    assert!(!fake.was_told("kubectl patch"));

    let ran = |selector: &Value| {
        let text = deployments(selector);
        text.replace(
            r#""spec":{"template""#,
            r#""status":{"availableReplicas":1},"spec":{"replicas":1,"template""#,
        )
    };
    let fake = Fake::new()
        .says("/deployments", &ran(&free()))
        .says("/nodes?", SERVERS)
        .says(CONFIGS, &configs(None));
    let mut world = world(&[("k3s-cp-1", &fake)]);
    world.plan.k3s.addons_on_servers = true;
    world.plan.k3s.disable.clear();
    tokio::time::pause();
    let step = AddonsOnServers::new(&plan());
    let failure = step.apply(&world, &permit()).await.unwrap_err();
    assert!(
        failure.to_string().contains("coredns did not come up"),
        "{failure}"
    );
    assert!(fake.was_told(r#""node-role.kubernetes.io/control-plane":null"#));
}

/// k3s forgets the Addon of what is disabled; until it has applied what is enabled again, others have checksums.
#[tokio::test]
async fn a_component_that_was_disabled_is_waited_for_unless_a_file_leaves_it_out() {
    const OTHERS: &str = r#"{"kind":"List","metadata":{},"items":[{"metadata":{"name":"rolebindings"},"spec":{"checksum":"f"}}]}"#;
    for (skip, waits) in [(None, true), (Some(""), false)] {
        let mut fake = Fake::new()
            .says(
                "/deployments",
                r#"{"kind":"List","metadata":{},"items":[]}"#,
            )
            .says("/addons?", OTHERS);
        if let Some(content) = skip {
            fake = fake.says("coredns.yaml.skip", content);
        } else {
            fake = fake.answers("coredns.yaml.skip", 1, "");
        }
        let others = ["local-storage", "metrics-server", "traefik"];
        let found = run(true, &others, &fake).await;
        assert_eq!(matches!(found, Finding::Unknown(_)), waits, "{found:?}");
    }
}

#[tokio::test]
async fn the_key_can_be_taken_back() {
    let ours = values().unwrap();
    let fake = Fake::new()
        .says("/deployments", &deployments(&pinned()))
        .says(CONFIGS, &configs(Some(&ours)));
    let found = run(false, &[], &fake).await;
    let all = "coredns, local-path-provisioner, metrics-server, traefik may run on servers only";
    assert_eq!(found, Finding::differs(all));
    assert!(fake.was_told("'delete'") || fake.was_told("kubectl delete"));
    let fake = Fake::new()
        .says("/deployments", &deployments(&free()))
        .says(CONFIGS, &configs(None));
    assert_eq!(run(false, &[], &fake).await, Finding::done());
}

/// k3s's own key stays, in both directions.
#[test]
fn a_patch_speaks_of_one_key() {
    for keep in [true, false] {
        let patch = patch(keep);
        let selector = &patch["spec"]["template"]["spec"]["nodeSelector"];
        assert_eq!(selector.as_object().unwrap().len(), 1);
        assert_eq!(addons::stays_on_servers(&patch), keep);
    }
}
