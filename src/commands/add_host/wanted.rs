//! The hosts that a command line asks for, with all that it says of them.

use crate::cli::AddHost;
use crate::config::{self, Config, NewHost, Setting, Ssh};
use crate::failure::{Code, Failure, Failures, Result};

/// The hosts that the command line asks for.
pub(super) fn hosts(options: &AddHost, config: &Config) -> Result<Vec<NewHost>, Failures> {
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
        return Err(
            Failure::new(Code::Config, format!("{flag} can be said of one host only"))
                .hint("add the hosts one after another, or NAME=USER@ADDRESS for each without it")
                .into(),
        );
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
    file: &Config,
) -> Result<NewHost> {
    let known = file.host(name).map(|host| match &host.ssh {
        Ssh::Local => "local",
        Ssh::Target(target) => target,
    });
    let target = match (known, target) {
        (Some(known), None) => known,
        (Some(known), Some(target)) if known != config::split_port(target).0 => {
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
    let (ssh, typed) = config::split_port(target);
    if typed.is_some() && options.port.is_some() && typed != options.port {
        return Err(
            Failure::new(Code::Config, format!("{name} is given two ports"))
                .hint(format!("leave out --port, or the port of {target}")),
        );
    }
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
            ("ssh", Some(Setting::Text(ssh.to_owned()))),
            ("port", port(typed.or(options.port))),
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

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn wanted(words: &str) -> Result<Vec<NewHost>, Failures> {
        let words = ["slicer-k3s", "add-host"]
            .into_iter()
            .chain(words.split(' '));
        let Command::AddHost(options) = Cli::parse_from(words).command else {
            unreachable!()
        };
        let file = "name = \"home\"\n[hosts.n100]\nssh = \"alex@10.0.0.1\"\nport = 2222\n";
        hosts(&options, &config::parse(file, "c").unwrap())
    }

    #[test]
    fn a_port_may_stand_behind_the_address() {
        for words in [
            "pi5=pi@10.0.0.7:2222",
            "pi5 --ssh pi@10.0.0.7:2222",
            "pi5 --ssh pi@10.0.0.7 --port 2222",
            "pi5=pi@10.0.0.7:2222 --port 2222",
        ] {
            let host = wanted(words).unwrap().remove(0);
            assert_eq!(host.keys[0], ("ssh", Setting::Text("pi@10.0.0.7".into())));
            assert_eq!(host.keys[1], ("port", Setting::Number(2222)), "{words}");
        }
        assert!(wanted("pi5=pi@10.0.0.7:2222 --port 22").is_err());
        // The same command again.
        assert!(wanted("n100=alex@10.0.0.1:2222").is_ok());
        assert!(wanted("n100=alex@10.0.0.2").is_err());
    }
}
