//! The hosts that a command line asks for, with all that it says of them.

use crate::cli::AddHost;
use crate::commands::one;
use crate::config::{Config, NewHost, Setting, Ssh};
use crate::failure::{Code, Failure, Result};

/// The hosts that the command line asks for.
pub(super) fn hosts(options: &AddHost, config: &Config) -> Result<Vec<NewHost>, Vec<Failure>> {
    let several = options.hosts.len() > 1;
    let only_one: [(&str, bool); 7] = [
        ("--ssh", options.ssh.is_some()),
        ("--host-key", options.host_key.is_some()),
        ("--lan-address", options.lan_address.is_some()),
        ("--group", options.group.is_some()),
        ("--cidr", options.cidr.is_some()),
        ("--api-port", options.api_port.is_some()),
        ("--tap-prefix", options.tap_prefix.is_some()),
    ];
    if let Some((flag, _)) = only_one.iter().find(|(_, given)| several && *given) {
        return Err(one(Failure::new(
            Code::Config,
            format!("{flag} can be said of one host only"),
        )
        .hint(
            "add the hosts one after another, or NAME=USER@ADDRESS for each without it",
        )));
    }
    let mut failures = Vec::new();
    let mut new: Vec<NewHost> = Vec::new();
    for word in &options.hosts {
        let (name, target) = match word.split_once('=') {
            Some((name, target)) => (name, Some(target)),
            None => (word.as_str(), options.ssh.as_deref()),
        };
        match one_wanted(name, target, options, config) {
            Ok(host) if new.iter().any(|other| other.name == host.name) => failures.push(
                Failure::new(Code::Config, format!("{name} is named twice"))
                    .hint("give every host its own name"),
            ),
            Ok(host) => new.push(host),
            Err(failure) => failures.push(failure),
        }
    }
    if failures.is_empty() {
        Ok(new)
    } else {
        Err(failures)
    }
}

fn one_wanted(
    name: &str,
    target: Option<&str>,
    options: &AddHost,
    config: &Config,
) -> Result<NewHost> {
    let known = config.host(name).map(|host| match &host.ssh {
        Ssh::Local => "local",
        Ssh::Target(target) => target,
    });
    let target = match (known, target) {
        (Some(known), None) => known,
        (Some(known), Some(target)) if known != target => {
            return Err(Failure::new(
                Code::PlanConflict,
                format!("there is a host called {name} already"),
            )
            .because(format!("cluster.toml reaches it by {known}"))
            .hint("choose another name"));
        }
        (_, Some(target)) => target,
        (None, None) => {
            return Err(
                Failure::new(Code::Config, format!("how is {name} reached?"))
                    .hint(format!("slicer-k3s add-host {name} --ssh user@address")),
            );
        }
    };
    let text = |value: &Option<String>| value.clone().map(Setting::Text);
    let number = |value: Option<u32>| value.map(Setting::Number);
    let port = |value: Option<u16>| value.map(|port| Setting::Number(port.into()));
    let said = |keys: Vec<(&'static str, Option<Setting>)>| {
        keys.into_iter()
            .filter_map(|(key, value)| Some((key, value?)))
            .collect()
    };
    Ok(NewHost {
        name: name.to_owned(),
        keys: said(vec![
            ("ssh", Some(Setting::Text(target.to_owned()))),
            ("port", port(options.port)),
            ("key-file", text(&options.key_file)),
            ("jump", text(&options.jump)),
            ("host-key", text(&options.host_key)),
            ("sudo-password-file", text(&options.sudo_password_file)),
            ("lan-address", text(&options.lan_address)),
            ("licence-file", text(&options.licence_file)),
        ]),
        workers: said(vec![
            ("cpu", number(options.cpu)),
            ("ram-gb", number(options.ram_gb)),
            ("storage-gb", number(options.storage_gb)),
            ("min", number(options.min)),
            ("max", number(options.max)),
            ("group", text(&options.group)),
            ("cidr", text(&options.cidr)),
            ("api-port", port(options.api_port)),
            ("tap-prefix", text(&options.tap_prefix)),
        ]),
    })
}
