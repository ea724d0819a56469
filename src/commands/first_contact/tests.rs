//! What flags make of a file, and what they say against one.

use clap::Parser as _;

use super::*;
use crate::cli::{Cli, Command};

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
