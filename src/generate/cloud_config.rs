//! The autoscaler's cloud-config: gcfg (git-config style), whatever the manual calls it. Every value is quoted.
//!
//! Source of its keys, here, in the template and in `import::cloud_config`: kubernetes/autoscaler@093de0a5
//! cluster-autoscaler/cloudprovider/slicer/slicer_config.go (`GcfgGlobalConfig`, `GcfgNodeGroupConfig`).

use std::collections::BTreeMap;
use std::fmt;

use askama::Template;

use super::render;
use crate::failure::{Code, Failure, Result};
use crate::secret::Secret;

/// A group that the autoscaler may grow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeGroup {
    /// The host group's name.
    pub name: String,
    /// Its daemon's API, as pods on the servers reach it.
    pub url: String,
    /// Its daemon's token.
    pub token: Secret,
    /// Fewest agents.
    pub min: u32,
    /// Most agents.
    pub max: u32,
}

/// A value in quotes, escaped; the template takes nothing else.
struct Quoted(String);

impl Quoted {
    /// gcfg has no escape for these: a value with one would end the line or kill the autoscaler.
    fn new(what: &str, value: &str) -> Result<Self> {
        if value.contains(['\r', '\n', '\0']) {
            return Err(Failure::new(
                Code::Config,
                format!("{what} holds a line break or NUL, which cloud-config cannot"),
            ));
        }
        Ok(Self(value.replace('\\', "\\\\").replace('"', "\\\"")))
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.0)
    }
}

#[derive(Template)]
#[template(path = "cloud-config", escape = "none")]
struct CloudConfig {
    k3s_url: Quoted,
    k3s_token: Quoted,
    groups: Vec<Section>,
}

struct Section {
    name: Quoted,
    url: Quoted,
    token: Quoted,
    min: Quoted,
    max: Quoted,
}

/// The groups that such a file names, in its order, whoever wrote it.
pub fn named_groups(file: &str) -> Vec<String> {
    let headings = file.lines().filter_map(|line| {
        let name = line.trim().strip_prefix("[nodegroup \"")?;
        Some(name.strip_suffix("\"]")?.to_owned())
    });
    headings.collect()
}

/// The groups of such a file that have all that ours have, in its order, whoever wrote it.
pub fn node_groups(file: &str) -> Vec<NodeGroup> {
    let mut groups: Vec<(String, BTreeMap<&str, String>)> = Vec::new();
    let mut inside = false;
    for line in file.lines().map(str::trim) {
        if line.starts_with('[') {
            let names = named_groups(line);
            inside = !names.is_empty();
            groups.extend(names.into_iter().map(|name| (name, BTreeMap::new())));
        } else if let (true, Some((_, values)), Some((key, value))) =
            (inside, groups.last_mut(), line.split_once('='))
        {
            values.insert(key.trim(), unquoted(value));
        }
    }
    let whole = groups.into_iter().filter_map(|(name, values)| {
        Some(NodeGroup {
            name,
            url: values.get("slicer-url")?.clone(),
            token: Secret::new(values.get("slicer-token")?),
            min: values.get("min-size")?.parse().ok()?,
            max: values.get("max-size")?.parse().ok()?,
        })
    });
    whole.collect()
}

/// A value as gcfg reads it: in quotes, or up to a comment. Blanks count in quotes only.
fn unquoted(value: &str) -> String {
    let (mut read, mut quoted, mut end) = (String::new(), false, 0);
    let mut characters = value.trim().chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => quoted = !quoted,
            '\\' if quoted => read.extend(characters.next()),
            ';' | '#' if !quoted => break,
            c => read.push(c),
        }
        if quoted || !c.is_whitespace() {
            end = read.len();
        }
    }
    read.truncate(end);
    read
}

/// The file. Two groups of one name would silently become one, and none at all is a panic: both are refused.
pub fn cloud_config(k3s_url: &str, k3s_token: &Secret, groups: &[NodeGroup]) -> Result<String> {
    if groups.is_empty() {
        return Err(Failure::new(
            Code::Autoscaler,
            "no worker group can be reached from the servers",
        )
        .because("the autoscaler does not start without one")
        .hint("look at the failures of `group-reachable` above"));
    }
    let mut sections = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        if group.name.is_empty() || groups[..index].iter().any(|other| other.name == group.name) {
            return Err(Failure::new(
                Code::PlanConflict,
                format!("two worker groups are called \"{}\"", group.name),
            ));
        }
        sections.push(Section {
            name: Quoted::new("a group's name", &group.name)?,
            url: Quoted::new("slicer-url", &group.url)?,
            token: Quoted::new("slicer-token", group.token.expose())?,
            min: Quoted::new("min-size", &group.min.to_string())?,
            max: Quoted::new("max-size", &group.max.to_string())?,
        });
    }
    render(&CloudConfig {
        k3s_url: Quoted::new("k3s-url", k3s_url)?,
        k3s_token: Quoted::new("k3s-token", k3s_token.expose())?,
        groups: sections,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn group(name: &str, token: &str) -> NodeGroup {
        NodeGroup {
            name: name.into(),
            url: "http://192.168.138.1:8081".into(),
            token: Secret::new(token),
            min: 0,
            max: 4,
        }
    }

    #[test]
    fn every_value_is_quoted() {
        let text = cloud_config(
            "https://192.168.137.2:6443",
            &Secret::new("K10ab::node:cd"),
            &[group("k3s-agents-1", "a;b#c\"d\\e")],
        )
        .unwrap();
        insta::assert_snapshot!(text, @r#"
        [global]
        k3s-url="https://192.168.137.2:6443"
        k3s-token="K10ab::node:cd"
        default-min-size="0"
        default-max-size="10"

        [nodegroup "k3s-agents-1"]
        slicer-url="http://192.168.138.1:8081"
        slicer-token="a;b#c\"d\\e"
        min-size="0"
        max-size="4"
        "#);
    }

    #[test]
    fn what_would_kill_the_autoscaler_is_refused() {
        let token = Secret::new("t");
        assert!(cloud_config("u", &token, &[]).is_err());
        assert!(cloud_config("u", &token, &[group("a", "x"), group("a", "y")]).is_err());
        assert!(cloud_config("u", &token, &[group("a", "x\ny")]).is_err());
    }

    /// gcfg's reading of a quoted value, written from its grammar and not from the writer above.
    fn read_value(line: &str) -> String {
        let mut value = String::new();
        let mut characters = line.split_once('=').unwrap().1.chars();
        let mut quoted = false;
        while let Some(c) = characters.next() {
            match c {
                '"' => quoted = !quoted,
                '\\' if quoted => value.push(characters.next().unwrap()),
                ';' | '#' if !quoted => break,
                c => value.push(c),
            }
        }
        assert!(!quoted, "open quote: {line}");
        value
    }

    #[test]
    fn groups_are_read_back_as_they_were_written() {
        let groups = [group("a", "t;o#k\"e\\n"), group("b", "x")];
        let mut text = cloud_config("u", &Secret::new("t"), &groups).unwrap();
        assert_eq!(node_groups(&text), groups);
        // One that somebody else wrote, with the provider's own sizes.
        text += "\n[nodegroup \"c\"]\nslicer-url = http://x ; note\nslicer-token=t\n";
        assert_eq!(node_groups(&text), groups);
        text += "min-size=0\nmax-size = 2 # two\n";
        let third = &node_groups(&text)[2];
        assert_eq!((&*third.url, third.max), ("http://x", 2));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn a_token_comes_back_as_it_was(token in "[^\r\n\0]{1,60}") {
            let text = cloud_config("u", &Secret::new("t"), &[group("g", &token)]).unwrap();
            let line = text.lines().find(|line| line.starts_with("slicer-token")).unwrap();
            prop_assert_eq!(read_value(line), token.clone());
            let groups = node_groups(&text);
            prop_assert_eq!(groups[0].token.expose(), token);
        }
    }
}
