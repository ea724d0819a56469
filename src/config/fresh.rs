//! A first cluster.toml: what was answered, and what else could be said as comments.

use std::fmt::Write as _;

/// What a new file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fresh {
    /// The cluster's name.
    pub name: String,
    /// The hosts that run the servers.
    pub control_plane: Vec<String>,
    /// How many servers, where not the default.
    pub servers: Option<u32>,
    /// RAM of a server in GiB, where not the default.
    pub server_ram_gb: Option<u32>,
    /// The hosts.
    pub hosts: Vec<FreshHost>,
}

/// A host of a new file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FreshHost {
    /// Its name.
    pub name: String,
    /// How to reach it.
    pub ssh: String,
    /// Its SSH port, where not what the SSH configuration says.
    pub port: Option<u16>,
    /// What was seen of it, one line; empty where nobody looked.
    pub seen: String,
    /// Most agents by default, where that is known.
    pub max: Option<u32>,
    /// RAM of an agent in GiB, where not the default.
    pub agent_ram_gb: Option<u32>,
}

impl Fresh {
    /// The file's text.
    pub fn text(&self) -> String {
        let mut text = format!(
            "# Written by slicer-k3s init; it is yours to edit. All keys:\n# {}\nname = {}\n\n[control-plane]\nhosts = [{}]\n",
            super::KEYS_PAGE,
            quoted(&self.name),
            self.control_plane
                .iter()
                .map(|host| quoted(host))
                .collect::<Vec<_>>()
                .join(", "),
        );
        let mut setting = |key: &str, value: Option<u32>, default: u32, note: &str| {
            let mark = if value.is_some() { "" } else { "# " };
            let line = format!("{mark}{key} = {}", value.unwrap_or(default));
            let _ = writeln!(text, "{line:<18}# {note}");
        };
        if self.control_plane.len() < 2 {
            setting("servers", self.servers, 3, "1, 3 or 5");
        }
        setting("ram-gb", self.server_ram_gb, 4, "of each server");
        setting("cpu", None, 2, "of each server");
        for host in &self.hosts {
            text.push('\n');
            if !host.seen.is_empty() {
                let _ = writeln!(text, "# {}", host.seen.replace(char::is_control, " "));
            }
            let _ = writeln!(text, "[hosts.{}]\nssh = {}", host.name, quoted(&host.ssh));
            if let Some(port) = host.port {
                let _ = writeln!(text, "port = {port}");
            }
            let works = self.hosts.len() == 1 || !self.control_plane.contains(&host.name);
            let max = host
                .max
                .map_or(String::new(), |max| format!(", max = {max}"));
            let agents = |ram: u32| format!("workers = {{ cpu = 2, ram-gb = {ram}{max} }}");
            let _ = match (works, host.agent_ram_gb) {
                (false, _) => writeln!(text, "# workers = true  # agents beside servers"),
                (true, None) => writeln!(text, "# {}", agents(4)),
                (true, Some(ram)) => writeln!(text, "{}", agents(ram)),
            };
        }
        text
    }
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    fn fresh() -> Fresh {
        let host = |name: &str, ssh: &str, seen: &str, max| FreshHost {
            name: name.into(),
            ssh: ssh.into(),
            seen: seen.into(),
            max,
            ..FreshHost::default()
        };
        Fresh {
            name: "home".into(),
            control_plane: vec!["n100".into()],
            hosts: vec![
                host("n100", "alex@192.168.1.11", "Intel N100, 4 cores", None),
                host("pi5", "pi@192.168.1.13", "", Some(4)),
            ],
            ..Fresh::default()
        }
    }

    #[test]
    fn the_file_is_small_and_tells_what_else_can_be_said() {
        insta::assert_snapshot!(fresh().text(), @r#"
        # Written by slicer-k3s init; it is yours to edit. All keys:
        # https://github.com/slicer-k3s/slicer-k3s/blob/main/docs/configuration.md
        name = "home"

        [control-plane]
        hosts = ["n100"]
        # servers = 3     # 1, 3 or 5
        # ram-gb = 4      # of each server
        # cpu = 2         # of each server

        # Intel N100, 4 cores
        [hosts.n100]
        ssh = "alex@192.168.1.11"
        # workers = true  # agents beside servers

        [hosts.pi5]
        ssh = "pi@192.168.1.13"
        # workers = { cpu = 2, ram-gb = 4, max = 4 }
        "#);
    }

    /// What is only a comment must be right, too: people take the mark away.
    #[test]
    fn it_is_read_as_it_is_and_with_its_comments_made_true() {
        let text = fresh().text();
        let config = config::parse(&text, "cluster.toml").unwrap();
        assert_eq!(config.control_plane.servers, 3);
        let all = text
            .replace("# servers", "servers")
            .replace("# ram-gb", "ram-gb")
            .replace("# cpu", "cpu")
            .replace("# workers", "workers");
        let config = config::parse(&all, "cluster.toml").unwrap();
        assert!(config.hosts.iter().all(|host| host.workers.is_some()));
    }

    #[test]
    fn a_port_has_a_line_of_its_own() {
        let mut fresh = fresh();
        fresh.hosts[1].port = Some(2222);
        let config = config::parse(&fresh.text(), "cluster.toml").unwrap();
        assert_eq!(config.hosts[1].port, Some(2222));
    }

    #[test]
    fn no_answer_breaks_out_of_its_place() {
        let mut fresh = fresh();
        fresh.hosts[0].seen = "x\nname = \"evil\"".into();
        fresh.hosts[0].ssh = "a\"b".into();
        let read: toml::Table = fresh.text().parse().unwrap();
        assert_eq!(read["name"].as_str(), Some("home"));
        assert_eq!(read["hosts"]["n100"]["ssh"].as_str(), Some("a\"b"));
    }
}
