//! cluster.toml edited in place: hosts come and go, the user's comments and layout stay.

use toml_edit::{DocumentMut, InlineTable, Item, Table, TableLike, Value};

use super::comments::Staying;
use super::{Config, parse};
use crate::failure::{Code, Failure, Failures, Result};

/// A host to add, with what is to be said of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewHost {
    /// Its name.
    pub name: String,
    /// Keys of its table.
    pub keys: Vec<(&'static str, Setting)>,
    /// Keys of its `workers`, where anything is to be said of them.
    pub workers: Vec<(&'static str, Setting)>,
}

/// A value to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Setting {
    /// A string.
    Text(String),
    /// A number.
    Number(u32),
}

impl From<&Setting> for Value {
    fn from(setting: &Setting) -> Self {
        match setting {
            Setting::Text(text) => Self::from(text.as_str()),
            Setting::Number(number) => Self::from(i64::from(*number)),
        }
    }
}

/// The file with more hosts, and what it says then; everything that stands against it.
pub fn add_host(
    text: &str,
    file: &str,
    before: &Config,
    new: &[NewHost],
) -> Result<(String, Config), Failures> {
    edit(text, file, before, None, |document| {
        let hosts = hosts(document)?;
        for host in new {
            add(hosts, host);
        }
        Some(())
    })
}

/// The file without one host, and what it says then. Comments of other hosts and of the file stay.
pub fn remove_host(
    text: &str,
    file: &str,
    before: &Config,
    name: &str,
) -> Result<(String, Config), Failures> {
    edit(text, file, before, None, |document| {
        let staying = Staying::without(document, name);
        hosts(document)?.remove(name);
        staying.put_back(document);
        Some(())
    })
}

/// The file with a host that runs no agents any more, and what it says then.
pub fn disable_workers(
    text: &str,
    file: &str,
    before: &Config,
    name: &str,
) -> Result<(String, Config), Failures> {
    edit(text, file, before, Some(name), |document| {
        let host = hosts(document)?.get_mut(name);
        if let Some(host) = host.and_then(Item::as_table_like_mut) {
            host.insert("workers", Item::Value(false.into()));
        }
        Some(())
    })
}

fn hosts(document: &mut DocumentMut) -> Option<&mut dyn TableLike> {
    document.get_mut("hosts")?.as_table_like_mut()
}

/// `other` is the host that is to mean something else afterwards.
fn edit(
    text: &str,
    file: &str,
    before: &Config,
    other: Option<&str>,
    change: impl FnOnce(&mut DocumentMut) -> Option<()>,
) -> Result<(String, Config), Failures> {
    let refused = || {
        vec![
            Failure::new(Code::Config, format!("{file} cannot be edited in place"))
                .because("it is laid out in a way that this program does not know how to keep")
                .hint("edit [hosts] yourself and run slicer-k3s init"),
        ]
    };
    let mut document: DocumentMut = text.parse().map_err(|_| refused())?;
    change(&mut document).ok_or_else(refused)?;
    say_control_plane(&mut document, before);
    let mut config = read(&document, file)?;
    if say_workers(&mut document, before, &config, other) {
        config = read(&document, file)?;
    }
    if same_otherwise(before, &config, other) {
        Ok((document.to_string(), config))
    } else {
        Err(refused())
    }
}

/// What is wrong with the file as it would be. Its lines are not on anybody's disk, so no line is named.
fn read(document: &DocumentMut, file: &str) -> Result<Config, Failures> {
    parse(&document.to_string(), file).map_err(|problems| {
        let failures = problems.into_iter().map(|problem| {
            let failure = Failure::new(Code::Config, problem.message);
            match problem.hint {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        });
        failures.collect()
    })
}

fn add(hosts: &mut dyn TableLike, host: &NewHost) {
    let mut workers = InlineTable::new();
    for (key, setting) in &host.workers {
        workers.insert(*key, setting.into());
    }
    let values = host
        .keys
        .iter()
        .map(|(key, setting)| (*key, Value::from(setting)))
        .chain((!workers.is_empty()).then_some(("workers", Value::InlineTable(workers))));
    // A table of one line holds none of several.
    let inline = hosts
        .iter()
        .any(|(_, host)| matches!(host, Item::Value(Value::InlineTable(_))));
    let item = if inline {
        Item::Value(Value::InlineTable(values.collect()))
    } else {
        let mut table: Table = values.collect();
        table.decor_mut().set_prefix("\n");
        Item::Table(table)
    };
    hosts.insert(&host.name, item);
}

/// An only host runs the servers unasked. Where it is no longer the only one, the file must say so.
fn say_control_plane(document: &mut DocumentMut, before: &Config) {
    let [host] = before.control_plane.hosts.as_slice() else {
        return;
    };
    let section = document
        .entry("control-plane")
        .or_insert_with(|| Item::Table(Table::new()));
    if let Some(section) = section.as_table_like_mut()
        && !section.contains_key("host")
        && !section.contains_key("hosts")
    {
        section.insert("host", Item::Value(host.as_str().into()));
    }
}

/// The same of agents: an only host runs some unasked, a server's host beside others does not. True where it had to be said.
fn say_workers(
    document: &mut DocumentMut,
    before: &Config,
    after: &Config,
    other: Option<&str>,
) -> bool {
    let mut said = false;
    for host in before
        .hosts
        .iter()
        .filter(|host| other != Some(&*host.name))
    {
        let runs = host.workers.is_some();
        let differs = after
            .host(&host.name)
            .is_some_and(|after| after.workers.is_some() != runs);
        let table = document
            .get_mut("hosts")
            .and_then(|hosts| hosts.get_mut(&host.name))
            .and_then(Item::as_table_like_mut);
        if differs && let Some(table) = table {
            table.insert("workers", Item::Value(runs.into()));
            said = true;
        }
    }
    said
}

/// Whether nothing but the list of hosts, and `other` of them, has another meaning.
fn same_otherwise(before: &Config, after: &Config, other: Option<&str>) -> bool {
    let bystanders = before
        .hosts
        .iter()
        .filter(|host| other != Some(&*host.name))
        .all(|host| after.host(&host.name).is_none_or(|after| after == host));
    let mut rest = after.clone();
    rest.hosts.clone_from(&before.hosts);
    bystanders && rest == *before
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Fresh, FreshHost};

    fn pi() -> NewHost {
        NewHost {
            name: "pi5".into(),
            keys: vec![("ssh", Setting::Text("pi@10.0.0.7".into()))],
            workers: vec![("max", Setting::Number(3))],
        }
    }

    fn enrolled(text: &str) -> String {
        let before = parse(text, "cluster.toml").unwrap();
        add_host(text, "cluster.toml", &before, &[pi()]).unwrap().0
    }

    const FILE: &str = r#"# mine
name = "home"   # sweet
[control-plane]
hosts = ["n100"]

# the desktop
[hosts.ryzen]
ssh    = "alex@10.0.0.2" # aligned by hand
[hosts.n100]
ssh = "alex@10.0.0.1"

[k3s] # last
channel = "stable"
"#;

    #[test]
    fn a_host_is_added_beside_the_others_and_nothing_else_moves() {
        let text = enrolled(FILE);
        let added = "\n[hosts.pi5]\nssh = \"pi@10.0.0.7\"\nworkers = { max = 3 }\n";
        assert_eq!(text.replace(added, ""), FILE, "{text}");
        assert!(text.find("[hosts.pi5]") < text.find("[k3s]"), "{text}");
    }

    #[test]
    fn adding_and_removing_gives_back_the_file() {
        let text = enrolled(FILE);
        let before = parse(&text, "cluster.toml").unwrap();
        let (back, _) = remove_host(&text, "cluster.toml", &before, "pi5").unwrap();
        assert_eq!(back, FILE);
    }

    /// The comment after a host's last key is what `init` wrote there to be uncommented; it went with the next host.
    #[test]
    fn a_host_that_goes_takes_no_comment_of_another_host_along() {
        let machines = ["n100", "ryzen", "pi5", "nuc"];
        let host = |name: &&str| FreshHost {
            name: (*name).into(),
            ssh: format!("alex@{name}.lan"),
            seen: format!("Model of {name}"),
            max: Some(4),
            ..FreshHost::default()
        };
        let fresh = Fresh {
            name: "home".into(),
            control_plane: vec!["n100".into()],
            hosts: machines.iter().map(host).collect(),
            ..Fresh::default()
        };
        for end in [
            "",
            "\n# the end\n",
            "\n[k3s] # last\nchannel = \"stable\"\n",
        ] {
            let text = format!("{}{end}", fresh.text());
            let before = parse(&text, "cluster.toml").unwrap();
            for name in &machines[1..] {
                let own = format!("[hosts.{name}]");
                let others = text.split("\n\n").filter(|block| !block.contains(&own));
                let others = others.collect::<Vec<_>>().join("\n\n");
                let (now, _) = remove_host(&text, "cluster.toml", &before, name).unwrap();
                assert_eq!(now.trim_end(), others.trim_end(), "{name}");
            }
        }
    }

    #[test]
    fn tables_of_a_host_go_with_it_wherever_they_stand() {
        let text = "name = \"home\"\n[control-plane]\nhost = \"n100\"\n\n# the Pi\n[hosts.pi5]\nssh = \"pi@10.0.0.7\"\n\
                    # of the Pi\n\n# its agents\n[hosts.pi5.workers]\nmax = 3\n# max = 4\n# small\n[hosts.n100]\n\
                    ssh = \"alex@10.0.0.1\"\n# of n100\n\n# alone\n\n[hosts.b]\nssh = \"b@10.0.0.2\"\n";
        let before = parse(text, "cluster.toml").unwrap();
        let (now, _) = remove_host(text, "cluster.toml", &before, "pi5").unwrap();
        insta::assert_snapshot!(now, @r#"
        name = "home"
        [control-plane]
        host = "n100"
        # small
        [hosts.n100]
        ssh = "alex@10.0.0.1"
        # of n100

        # alone

        [hosts.b]
        ssh = "b@10.0.0.2"
        "#);
    }

    /// With a second host the first would stop to run agents, and nobody would know where the servers are.
    #[test]
    fn what_an_only_host_did_unasked_is_said_and_unsaid_stays_so() {
        let only = "name = \"home\"\n[hosts.n100]\nssh = \"alex@10.0.0.1\"\n";
        let text = enrolled(only);
        insta::assert_snapshot!(text, @r#"
        name = "home"
        [hosts.n100]
        ssh = "alex@10.0.0.1"
        workers = true

        [hosts.pi5]
        ssh = "pi@10.0.0.7"
        workers = { max = 3 }

        [control-plane]
        host = "n100"
        "#);
        let two = "name = \"home\"\ncontrol-plane.host = \"n100\"\nhosts.n100.ssh = \"a@10.0.0.1\"\nhosts.pi5.ssh = \"pi@10.0.0.7\"\n";
        let before = parse(two, "cluster.toml").unwrap();
        let (text, after) = remove_host(two, "cluster.toml", &before, "pi5").unwrap();
        assert!(text.contains("hosts.n100.workers = false"), "{text}");
        assert!(after.host("n100").unwrap().workers.is_none());
    }

    #[test]
    fn agents_leave_a_host_that_stays() {
        let text = "name = \"home\"\n[hosts.n100] # mine\nssh = \"alex@10.0.0.1\"\n";
        let before = parse(text, "cluster.toml").unwrap();
        let (text, after) = disable_workers(text, "cluster.toml", &before, "n100").unwrap();
        assert!(
            text.contains("# mine") && text.contains("workers = false"),
            "{text}"
        );
        assert!(after.host("n100").unwrap().workers.is_none());
    }

    #[test]
    fn other_layouts_are_kept() {
        for text in [
            "name = \"home\"\ncontrol-plane = { host = \"n100\" }\nhosts = { n100 = { ssh = \"a@10.0.0.1\" }, b = { ssh = \"a@10.0.0.2\" } } # x\n",
            "name = \"home\"\ncontrol-plane.host = \"n100\"\nhosts.n100.ssh = \"a@10.0.0.1\" # x\n[hosts.b]\nssh = \"b@10.0.0.2\"\n",
        ] {
            let Ok(before) = parse(text, "cluster.toml") else {
                continue;
            };
            let (new, config) = add_host(text, "cluster.toml", &before, &[pi()]).unwrap();
            assert!(new.contains("# x"), "{new}");
            assert_eq!(config.hosts.len(), before.hosts.len() + 1);
        }
    }

    #[test]
    fn a_machine_that_is_there_under_another_name_is_refused_by_both_names() {
        let before = parse(FILE, "cluster.toml").unwrap();
        let mut twin = pi();
        twin.keys = vec![("ssh", Setting::Text("root@10.0.0.2".into()))];
        let failures = add_host(FILE, "cluster.toml", &before, &[twin]).unwrap_err();
        let text = failures[0].to_string();
        assert!(
            text.contains("hosts.pi5.ssh") && text.contains("hosts.ryzen.ssh"),
            "{text}"
        );
    }
}
