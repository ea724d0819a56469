//! docs/configuration.md and docs/cluster.schema.json, made of the key table and kept equal to it.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::keys::{self, Key, Kind};

const EXAMPLE: &str = r#"name = "home"

[control-plane]
host = "n100"

[hosts.n100]
ssh = "alex@192.168.1.11"

[hosts.pi5]
ssh = "pi@192.168.1.13"
"#;

/// What a value looks like, for people.
fn form(kind: Kind) -> String {
    match kind {
        Kind::Label(longest) => format!("text: a–z, 0–9, inner dashes, at most {longest}"),
        Kind::Text => "text".to_owned(),
        Kind::Texts => "list of texts".to_owned(),
        Kind::Names => "list of names and addresses".to_owned(),
        Kind::HostNames => "list of host names".to_owned(),
        Kind::Ssh => "text: `[user@]host`, an alias, `local`".to_owned(),
        Kind::Jump => "text: `[user@]host[:port],…`".to_owned(),
        Kind::Port => "1–65535".to_owned(),
        Kind::Number(least, most) => format!("{least}–{most}"),
        Kind::Flag => "`true` or `false`".to_owned(),
        Kind::Network => "private IPv4 network".to_owned(),
        Kind::Address => "private IPv4 address".to_owned(),
        Kind::Fingerprint => "text: `SHA256:…`".to_owned(),
        Kind::Path => "path".to_owned(),
        Kind::RemotePath => "absolute path on the host".to_owned(),
        Kind::Version => "text: `v1.34.4+k3s1`".to_owned(),
        Kind::Channel => "text: `stable`, `v1.34`".to_owned(),
        Kind::Url => "URL".to_owned(),
        Kind::OneOf(words) => format!("`{}`", words.join("`, `")),
        Kind::PublicKeys => "list of public keys".to_owned(),
        Kind::Free => "table".to_owned(),
        Kind::FlagOrSection => "`true`, `false` or a table".to_owned(),
    }
}

fn page() -> String {
    let mut text = format!(
        "# cluster.toml\n\nThe whole of what `slicer-k3s` wants to know. Two hosts need no more than this:\n\n\
         ```toml\n{EXAMPLE}```\n\nUnknown keys, wrong values and contradictions are refused, all at once, \
         each with its line and column.\nWhile the file is wrong, `status`, `logs`, `kubectl`, `exec` and `shell` \
         go by what the last run read.\nEverything that has no default below and is left out is decided by \
         the plan, shown before anything happens, and kept.\n"
    );
    let mut section = None;
    for key in keys::KEYS {
        let (parent, name) = key.path.rsplit_once('.').unwrap_or(("", key.path));
        if section != Some(parent) {
            section = Some(parent);
            let title = if parent.is_empty() {
                "Top level".to_owned()
            } else {
                format!("[{parent}]")
            };
            let _ = write!(
                text,
                "\n## {title}\n\n| key | value | default | |\n|---|---|---|---|\n"
            );
        }
        let default = key
            .default
            .map_or(String::new(), |default| format!("`{default}`"));
        let _ = writeln!(
            text,
            "| `{name}` | {} | {default} | {} |",
            form(key.kind),
            key.doc
        );
    }
    text
}

fn value(key: &Key) -> Value {
    let mut schema = match key.kind {
        Kind::Label(longest) => {
            json!({"type": "string", "maxLength": longest, "pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"})
        }
        Kind::Texts | Kind::Names | Kind::HostNames | Kind::PublicKeys => {
            json!({"type": "array", "items": {"type": "string"}, "uniqueItems": true})
        }
        Kind::Port => json!({"type": "integer", "minimum": 1, "maximum": 65535}),
        Kind::Number(least, most) => json!({"type": "integer", "minimum": least, "maximum": most}),
        Kind::Flag => json!({"type": "boolean"}),
        Kind::OneOf(words) => json!({"enum": words}),
        Kind::Free => json!({"type": "object"}),
        Kind::FlagOrSection => json!({"anyOf": [{"type": "boolean"}, section(key.path)]}),
        _ => json!({"type": "string"}),
    };
    schema["description"] = json!(key.doc);
    schema
}

/// A table's schema: its own keys, and the tables below it.
fn section(pattern: &str) -> Value {
    let mut properties = serde_json::Map::new();
    for name in keys::below(pattern) {
        let path = if pattern.is_empty() {
            name.to_owned()
        } else {
            format!("{pattern}.{name}")
        };
        let schema = keys::at(&path).map_or_else(|| section(&path), value);
        properties.insert(name.to_owned(), schema);
    }
    match properties.remove("NAME") {
        Some(host) => json!({"type": "object", "additionalProperties": host}),
        None => json!({"type": "object", "properties": properties, "additionalProperties": false}),
    }
}

fn schema() -> String {
    let mut schema = section("");
    schema["$schema"] = json!("http://json-schema.org/draft-07/schema#");
    schema["title"] = json!("cluster.toml");
    schema["required"] = json!(["name", "hosts"]);
    format!("{schema:#}\n")
}

/// The files say what the table says; `UPDATE_DOCS=1 cargo test` writes them anew.
#[test]
fn the_reference_is_what_the_program_reads() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    for (name, text) in [
        ("configuration.md", page()),
        ("cluster.schema.json", schema()),
    ] {
        let path = docs.join(name);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs_err::write(&path, &text).unwrap();
        }
        let written = fs_err::read_to_string(&path).unwrap();
        assert!(
            written == text,
            "{name} is out of date: UPDATE_DOCS=1 cargo test reference"
        );
    }
}

#[test]
fn the_example_is_accepted() {
    assert!(super::parse(EXAMPLE, "cluster.toml").is_ok());
}
