//! From the text to checked single values: syntax, unknown keys, types and formats, all at once.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde_json::{Map, Value as Json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::astray;
use super::format;
use super::keys::{self, Kind};
use super::problem::{Place, Problems};
use crate::suggest;

/// A value that has the form its key asks for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Text(String),
    Number(u32),
    Flag(bool),
    Texts(Vec<String>),
    Network(Ipv4Net),
    Address(Ipv4Addr),
    Free(Map<String, Json>),
}

/// What the file says, by path, with where it says so.
#[derive(Default)]
pub(super) struct Values {
    /// Whether the text could be read to its end.
    pub(super) is_toml: bool,
    pub(super) said: BTreeMap<String, (Value, Place)>,
    /// Where each table or key was written.
    pub(super) places: BTreeMap<String, Place>,
    /// Hosts in the file's order.
    pub(super) hosts: Vec<String>,
}

/// Reads the text; what is wrong goes to `problems`: of a text that is not TOML its syntax errors alone, for what the parser's
/// recovery makes of the rest (a key in another table, say) is not the user's mistake.
pub(super) fn read(text: &str, problems: &mut Problems<'_>) -> Values {
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let place = Place::of(text, error.span().map_or(0, |span| span.start));
        problems.add_once_a_line(place, format!("not TOML: {}", first_line(error.message())));
    }
    let mut of_recovery = Problems::new("");
    let mut walk = Walk {
        text,
        problems: if errors.is_empty() {
            problems
        } else {
            &mut of_recovery
        },
        values: Values {
            is_toml: errors.is_empty(),
            ..Values::default()
        },
    };
    walk.section(table.get_ref(), "", "");
    walk.values
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

struct Walk<'a, 'p> {
    text: &'a str,
    problems: &'a mut Problems<'p>,
    values: Values,
}

impl Walk<'_, '_> {
    fn section(&mut self, table: &DeTable<'_>, pattern: &str, path: &str) {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in entries {
            let place = Place::of(self.text, key.span().start);
            let name = key.get_ref().as_ref();
            let path = join(path, name);
            self.values.places.insert(path.clone(), place);
            if pattern == "hosts" {
                self.host(name, value, &path, place);
                continue;
            }
            let pattern = join(pattern, name);
            match keys::at(&pattern) {
                Some(known) if known.kind == Kind::FlagOrSection => {
                    if let DeValue::Table(table) = value.get_ref() {
                        self.section(table, &pattern, &path);
                    } else {
                        self.value(known.kind, value, &path);
                    }
                }
                Some(known) => self.value(known.kind, value, &path),
                None => match value.get_ref() {
                    DeValue::Table(table) if !keys::below(&pattern).is_empty() => {
                        self.section(table, &pattern, &path);
                    }
                    _ if !keys::below(&pattern).is_empty() => {
                        self.complain(place, format!("`{path}` must be a table: [{path}]"), None);
                    }
                    _ => self.unknown(value.get_ref(), &pattern, &path, place),
                },
            }
        }
    }

    fn host(&mut self, name: &str, value: &Spanned<DeValue<'_>>, path: &str, place: Place) {
        if let Err((why, hint)) = super::check_name(name) {
            self.complain(place, format!("host name `{name}` {why}"), hint);
        }
        self.values.hosts.push(name.to_owned());
        match value.get_ref() {
            DeValue::Table(table) => self.section(table, "hosts.NAME", path),
            _ => self.complain(
                place,
                format!("`{path}` must be a table"),
                Some(format!("[{path}] with a line `ssh = \"user@address\"`")),
            ),
        }
    }

    fn unknown(&mut self, value: &DeValue<'_>, pattern: &str, path: &str, place: Place) {
        let (parent, name) = pattern.rsplit_once('.').unwrap_or(("", pattern));
        let siblings = keys::below(parent);
        let hint = match suggest::nearest(name, &siblings) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => astray::hint(name, parent, path, value)
                .unwrap_or_else(|| format!("known here: {}", siblings.join(", "))),
        };
        self.complain(place, format!("unknown key `{name}`"), Some(hint));
    }

    fn value(&mut self, kind: Kind, value: &Spanned<DeValue<'_>>, path: &str) {
        let place = Place::of(self.text, value.span().start);
        match check(kind, value.get_ref()) {
            Ok(value) => {
                self.values.said.insert(path.to_owned(), (value, place));
            }
            Err((why, hint)) => self.complain(place, format!("`{path}` {why}"), hint),
        }
    }

    fn complain(&mut self, place: Place, message: String, hint: Option<String>) {
        match hint {
            Some(hint) => self.problems.add_with_hint(place, message, hint),
            None => self.problems.add(place, message),
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// Checks one value against the form that its key asks for.
fn check(kind: Kind, value: &DeValue<'_>) -> Result<Value, format::Complaint> {
    let checked = |text: &str, form: Result<(), format::Complaint>| {
        form.map(|()| Value::Text(text.to_owned()))
    };
    match kind {
        Kind::Flag | Kind::FlagOrSection => match value {
            DeValue::Boolean(flag) => Ok(Value::Flag(*flag)),
            other if kind == Kind::Flag => wrong("true or false", other),
            other => wrong("true, false or a table", other),
        },
        Kind::Number(least, most) => number(value, least, most),
        Kind::Port => number(value, 1, u32::from(u16::MAX)),
        Kind::Texts | Kind::HostNames => texts(value, format::line),
        Kind::Names => texts(value, format::name),
        Kind::PublicKeys => texts(value, format::public_key),
        Kind::Free => match value {
            DeValue::Table(table) => Ok(Value::Free(free(table))),
            other => wrong("a table", other),
        },
        _ => {
            let DeValue::String(text) = value else {
                return wrong("a text in quotes", value);
            };
            format::line(text)?;
            match kind {
                Kind::Label(longest) => checked(text, format::label(text, longest)),
                Kind::Ssh => checked(text, format::ssh(text)),
                Kind::Jump => checked(text, format::jump(text)),
                Kind::RemotePath => checked(text, format::remote_path(text)),
                Kind::Fingerprint => checked(text, format::fingerprint(text)),
                Kind::Version => checked(text, format::version(text)),
                Kind::Channel => checked(text, format::channel(text)),
                Kind::Url => checked(text, format::url(text)),
                Kind::Network => format::network(text).map(Value::Network),
                Kind::Address => format::address(text).map(Value::Address),
                Kind::OneOf(words) => one_of(text, words),
                _ => Ok(Value::Text(text.clone().into_owned())),
            }
        }
    }
}

fn one_of(text: &str, words: &[&str]) -> Result<Value, format::Complaint> {
    if words.contains(&text) {
        return Ok(Value::Text(text.to_owned()));
    }
    let list = words.join("`, `");
    // The only key of this kind is the expander; its one tempting wrong value deserves its reason.
    if text == "price" {
        return Err((
            "cannot be `price`: Slicer's provider has no prices, and the autoscaler would stop at once".to_owned(),
            Some(format!("one of `{list}`")),
        ));
    }
    Err((
        format!("cannot be `{text}`"),
        Some(format!("one of `{list}`")),
    ))
}

fn wrong<T>(wanted: &str, value: &DeValue<'_>) -> Result<T, format::Complaint> {
    let found = match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    };
    Err((format!("must be {wanted}, not {found}"), None))
}

fn number(value: &DeValue<'_>, least: u32, most: u32) -> Result<Value, format::Complaint> {
    let DeValue::Integer(integer) = value else {
        return wrong("a whole number", value);
    };
    match i64::from_str_radix(integer.as_str(), integer.radix())
        .ok()
        .and_then(|number| u32::try_from(number).ok())
    {
        Some(number) if (least..=most).contains(&number) => Ok(Value::Number(number)),
        _ => Err((format!("must be between {least} and {most}"), None)),
    }
}

fn texts(
    value: &DeValue<'_>,
    form: fn(&str) -> Result<(), format::Complaint>,
) -> Result<Value, format::Complaint> {
    let DeValue::Array(array) = value else {
        return wrong("a list of texts", value);
    };
    let mut list = Vec::new();
    for (n, item) in array.iter().enumerate() {
        let DeValue::String(text) = item.get_ref() else {
            return wrong("a list of texts", item.get_ref())
                .map_err(|(why, hint)| (format!("{why} (item {})", n + 1), hint));
        };
        form(text).map_err(|(why, hint)| (format!("(item {}) {why}", n + 1), hint))?;
        if list.iter().any(|other| other == text.as_ref()) {
            return Err((format!("names `{text}` twice"), None));
        }
        list.push(text.clone().into_owned());
    }
    Ok(Value::Texts(list))
}

fn free(table: &DeTable<'_>) -> Map<String, Json> {
    table
        .iter()
        .map(|(key, value)| (key.get_ref().to_string(), json(value.get_ref())))
        .collect()
}

fn json(value: &DeValue<'_>) -> Json {
    match value {
        DeValue::String(text) => Json::from(text.as_ref()),
        DeValue::Integer(integer) => i64::from_str_radix(integer.as_str(), integer.radix())
            .map_or_else(|_| Json::from(integer.to_string()), Json::from),
        DeValue::Float(float) => float.as_str().parse::<f64>().map_or(Json::Null, Json::from),
        DeValue::Boolean(flag) => Json::from(*flag),
        DeValue::Datetime(date) => Json::from(date.to_string()),
        DeValue::Array(array) => array.iter().map(|item| json(item.get_ref())).collect(),
        DeValue::Table(table) => Json::Object(free(table)),
    }
}
