use std::sync::Arc;

use super::*;
use crate::kubernetes::testing::{Api, SECRET};
use crate::remote::OUTPUT_LIMIT;
use crate::testing::{Fake, machine};

const GROUP: &str = "k3s-agents-1";

fn on(fake: &Fake) -> Kubernetes {
    Kubernetes::on(Arc::new(machine("k3s-cp-1", fake.clone())))
}

fn names(items: &[Value]) -> Vec<&str> {
    let names = items.iter().map(|item| item["metadata"]["name"].as_str());
    let mut names: Vec<&str> = names.map(Option::unwrap).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// 255 Nodes of 20 kB are 5 MB: `status` said that the API does not answer, and `destroy` that no server does.
#[tokio::test]
async fn all_nodes_of_a_large_cluster_are_listed_page_by_page() {
    let api = Api::new(GROUP, 255, 0, 0, 20_000);
    let nodes = api.kubernetes().list(&["nodes"]).await.unwrap();
    assert_eq!((nodes.len(), names(&nodes).len()), (255, 255));
    let asked = api.asked();
    assert_eq!(asked.len(), 3);
    assert!(
        asked
            .iter()
            .all(|one| one.bytes < OUTPUT_LIMIT && one.url.ends_with("pretty=false"))
    );
    let of_metadata = api.kubernetes().list_metadata(&["nodes"]).await.unwrap();
    assert_eq!(names(&of_metadata), names(&nodes));
    assert!(api.asked().last().unwrap().bytes < 1_000_000);
}

#[tokio::test]
async fn twenty_thousand_pods_are_listed_by_their_metadata() {
    let api = Api::new(GROUP, 255, 0, 20_000, 10_000);
    let pods = ["pods", "-A"];
    let pods = api.kubernetes().list_metadata(&pods).await.unwrap();
    assert_eq!((pods.len(), names(&pods).len()), (20_000, 20_000));
    assert!(api.asked().iter().all(|one| one.bytes < OUTPUT_LIMIT));
}

#[tokio::test]
async fn an_empty_list_of_metadata_is_a_list() {
    let api = Api::new(GROUP, 3, 0, 0, 100);
    let of_another = ["nodes", "-l", "slicer/hostgroup=b"];
    assert!(
        api.kubernetes()
            .list_metadata(&of_another)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(api.kubernetes().list(&of_another).await.unwrap().is_empty());
}

/// What is cut is asked for in smaller pages; where one object alone is too much, that is what is said, and none of it.
#[tokio::test]
async fn an_answer_that_is_cut_is_called_cut_and_never_shown() {
    let large = Api::new(GROUP, 255, 0, 0, 60_000);
    let nodes = large.kubernetes().list(&["nodes"]).await.unwrap();
    assert_eq!((nodes.len(), names(&nodes).len()), (255, 255));
    assert!(large.asked().iter().any(|one| one.bytes > OUTPUT_LIMIT));
    let larger = Api::new(GROUP, 1, 0, 0, OUTPUT_LIMIT + 1);
    let failure = larger.kubernetes().list(&["nodes"]).await.unwrap_err();
    let text = failure.to_string();
    assert!(
        text.contains("cut at 4 MiB") && !text.contains(SECRET),
        "{text:.400}"
    );
    assert!(text.len() < 200);
}

/// Each of these was an empty list: a drain was over, and Nodes were ghosts.
#[tokio::test]
async fn what_is_no_list_is_never_an_empty_one() {
    let missing = crate::testing::NOT_FOUND;
    for answer in [
        missing,
        "",
        "{}",
        "{",
        "null",
        "[]",
        r#"{"kind":"PodList","metadata":{}}"#,
        r#"{"kind":"PodList","items":[]}"#,
        r#"{"kind":"PodList","metadata":null,"items":[]}"#,
        r#"{"kind":"PodList","metadata":{},"items":{}}"#,
        r#"{"kind":"Pod","metadata":{},"items":[]}"#,
        r#"{"kind":"Status","status":"Failure","message":"etcdserver: no leader","code":500}"#,
        r#"{"kind":"PodList","metadata":{"continue":"x"},"items":[]}"#,
    ] {
        let kubernetes = on(&Fake::new().says("/pods", answer));
        assert!(kubernetes.list(&["pods", "-A"]).await.is_err(), "{answer}");
        let listed = kubernetes.list_metadata(&["pods", "-A"]).await;
        assert!(listed.is_err(), "{answer}");
        let known = kubernetes.list_if_known(&["pods", "-A"]).await;
        assert_eq!(known.is_ok(), answer == missing, "{answer}");
    }
    let empty = Fake::new().says("/nodes/", "");
    assert!(on(&empty).get(&["node", "a"]).await.is_err());
    let gone = Fake::new().says("/nodes/", missing);
    assert_eq!(on(&gone).get(&["node", "a"]).await.unwrap(), None);
}

/// What has begun with one picture of the cluster does not end with another one.
#[tokio::test(start_paused = true)]
async fn a_list_whose_token_expires_is_read_again_from_the_start() {
    let api = Api::new(GROUP, 255, 0, 0, 100).expiring(2);
    let nodes = api.kubernetes().list(&["nodes"]).await.unwrap();
    assert_eq!((nodes.len(), names(&nodes).len()), (255, 255));
    let beginnings = |api: &Api| {
        let asked = api.asked();
        asked
            .iter()
            .filter(|one| !one.url.contains("continue="))
            .count()
    };
    assert_eq!(beginnings(&api), 3);
    let never = Api::new(GROUP, 255, 0, 0, 100).expiring(usize::MAX);
    let failure = never.kubernetes().list(&["nodes"]).await.unwrap_err();
    assert!(
        failure.to_string().contains("did not list all nodes"),
        "{failure}"
    );
    assert_eq!(beginnings(&never), BEGINNINGS);
}

/// Else `status` would call a cluster wrong whose API server is taking a kind into use.
#[tokio::test(start_paused = true)]
async fn an_api_server_that_asks_to_come_again_is_asked_again() {
    const LATER: &str = r#"{"kind":"Status","status":"Failure","message":"storage is (re)initializing","code":429}"#;
    let fake = Fake::new()
        .says_first("/nodes/", LATER)
        .says_first("/nodes/", LATER)
        .says("/nodes/", r#"{"kind":"Node"}"#);
    let node = on(&fake).get(&["node", "a"]).await.unwrap();
    assert_eq!(node.unwrap()["kind"], "Node");
    let fake = Fake::new().says("/nodes/", LATER);
    let failure = on(&fake).get(&["node", "a"]).await.unwrap_err();
    assert!(failure.to_string().contains("initializing"), "{failure}");
}

/// Where k3s keeps its certificates elsewhere, kubectl listed the namespace `default` alone, and the drain was over.
#[tokio::test]
async fn kubectl_is_asked_for_the_same_path() {
    let fake = Fake::new();
    on(&fake).list(&["pods", "-A"]).await.unwrap();
    let (command, _) = fake.told().remove(0);
    let path = "/api/v1/pods?limit=100&pretty=false";
    assert!(
        command.contains("kubectl get --request-timeout=10s --raw"),
        "{command}"
    );
    assert_eq!(command.matches(path).count(), 2, "{command}");
}
