//! What flags make of a file, and what they say against one.

use clap::Parser as _;

use super::*;
use crate::cli::{Cli, Command};
use crate::question::testing::{Nobody, Scripted};

/// "Home Lab" as the last of all answers ended the program, and with it everything that was said before.
#[tokio::test]
async fn a_name_that_cannot_be_is_asked_for_again() {
    let given = cluster_name(&Scripted::new(["Home Lab", " home "])).await;
    assert_eq!(given, Ok(Some("home".to_owned())));
    assert_eq!(cluster_name(&Nobody).await, Ok(None));
    let never = cluster_name(&Scripted::new(["A B", "", "x_y"])).await;
    assert_eq!(never.unwrap_err()[0].code, Code::Declined);
}

fn options(words: &str) -> Init {
    let words = ["slicer-k3s", "init"].into_iter().chain(words.split(' '));
    match Cli::parse_from(words.filter(|word| !word.is_empty())).command {
        Command::Init(options) => options,
        _ => unreachable!(),
    }
}

fn told(failures: &[Failure]) -> String {
    failures
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn flags_alone_make_a_file() {
    let options =
        options("--name home --host a=alex@192.168.1.11 --host b=local --control-plane a");
    let text = from_flags(&options).unwrap().text();
    let config = config::parse(&text, "cluster.toml").unwrap();
    assert_eq!(config.hosts[1].ssh, Ssh::Local);
    assert_eq!(config.control_plane.hosts, ["a"]);
    // The same command again is no contradiction.
    assert!(contradictions(&config, &options, Path::new("cluster.toml")).is_empty());
}

#[test]
fn a_flag_may_have_a_port() {
    let first = options("--name home --host a=alex@192.168.1.11:2222");
    let text = from_flags(&first).unwrap().text();
    let config = config::parse(&text, "cluster.toml").unwrap();
    assert_eq!(config.hosts[0].port, Some(2222));
    let path = Path::new("cluster.toml");
    assert!(contradictions(&config, &first, path).is_empty());
    assert!(contradictions(&config, &options("--host a=alex@192.168.1.11"), path).is_empty());
    let other = options("--host a=alex@192.168.1.11:22");
    assert_eq!(contradictions(&config, &other, path).len(), 1);
}

#[test]
fn every_missing_flag_is_named_at_once() {
    let failures = from_flags(&options("--host a=x --host A=y --host nonsense")).unwrap_err();
    let told = told(&failures);
    for word in [
        "--name is missing",
        "--control-plane is missing",
        "nonsense",
        "--host A",
    ] {
        assert!(told.contains(word), "{word}: {told}");
    }
    assert!(failures.iter().all(|failure| failure.code == Code::Config));
}

#[test]
fn flags_never_change_a_file_that_is_there() {
    let text = from_flags(&options("--name home --host a=x"))
        .unwrap()
        .text();
    let config = config::parse(&text, "cluster.toml").unwrap();
    let other = options("--name work --host a=y --host b=z --control-plane b");
    let failures = contradictions(&config, &other, Path::new("cluster.toml"));
    assert_eq!(failures.len(), 4, "{}", told(&failures));
}
