//! Whose a comment is when a host's table leaves cluster.toml: the parser keeps all comments above a header with that header, also
//! those that end the table before.

use std::collections::BTreeMap;

use toml_edit::{DocumentMut, Item, RawString, Table};

/// Where a table stands in the file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Hosts,
    /// The host that goes, or a table of it.
    Goes,
    Elsewhere,
}

impl Place {
    fn of(self, key: &str, host: &str) -> Self {
        match self {
            Self::Root if key == "hosts" => Self::Hosts,
            Self::Hosts if key == host => Self::Goes,
            Self::Goes => Self::Goes,
            _ => Self::Elsewhere,
        }
    }
}

/// A header of the file with the lines above it.
struct Header {
    position: isize,
    goes: bool,
    above: String,
}

/// The comments that stay when the host is removed: for each header (by its position) that gets other lines above it, these
/// lines; and those at the end of the file.
pub(super) struct Staying {
    above: BTreeMap<isize, String>,
    end: String,
}

impl Staying {
    /// Of a document that still has the host.
    pub(super) fn without(document: &DocumentMut, host: &str) -> Self {
        let mut headers = Vec::new();
        collect(document.as_table(), Place::Root, host, &mut headers);
        headers.sort_by_key(|header| header.position);
        let (mut above, mut carried) = (BTreeMap::new(), String::new());
        let mut before_goes = false;
        for header in &headers {
            let parts = Parts::of(&header.above, true);
            let mut stays = std::mem::take(&mut carried);
            if !before_goes {
                stays.push_str(&parts.ends_the_table_before);
            }
            if !(before_goes && header.goes) {
                stays.push_str(&parts.alone);
            }
            if header.goes {
                carried = stays;
            } else {
                stays.push_str(&parts.begins);
                if stays != header.above {
                    above.insert(header.position, stays);
                }
            }
            before_goes = header.goes;
        }
        let parts = Parts::of(text(Some(document.trailing())), false);
        let mut end = carried;
        if !before_goes {
            end.push_str(&parts.ends_the_table_before);
        }
        end.push_str(&parts.alone);
        Self { above, end }
    }

    /// Puts them where they belong in the document that no longer has the host.
    pub(super) fn put_back(self, document: &mut DocumentMut) {
        put(document.as_table_mut(), &self.above);
        document.set_trailing(self.end);
    }
}

fn text(raw: Option<&RawString>) -> &str {
    raw.and_then(RawString::as_str).unwrap_or_default()
}

fn collect(table: &Table, place: Place, host: &str, found: &mut Vec<Header>) {
    for (key, item) in table {
        let place = place.of(key, host);
        let tables: Vec<&Table> = match item {
            Item::Table(table) => vec![table],
            Item::ArrayOfTables(tables) => tables.iter().collect(),
            _ => continue,
        };
        for table in tables {
            if let (Some(position), false) = (table.position(), table.is_implicit()) {
                found.push(Header {
                    position,
                    goes: place == Place::Goes,
                    above: text(table.decor().prefix()).to_owned(),
                });
            }
            collect(table, place, host, found);
        }
    }
}

fn put(table: &mut Table, above: &BTreeMap<isize, String>) {
    for (_, item) in table.iter_mut() {
        let tables: Vec<&mut Table> = match item {
            Item::Table(table) => vec![table],
            Item::ArrayOfTables(tables) => tables.iter_mut().collect(),
            _ => continue,
        };
        for table in tables {
            let lines = table.position().and_then(|position| above.get(&position));
            if let Some(lines) = lines {
                table.decor_mut().set_prefix(lines.as_str());
            }
            put(table, above);
        }
    }
}

/// The lines between two tables.
#[derive(Debug, PartialEq, Eq)]
struct Parts {
    /// Those up to the first blank line.
    ends_the_table_before: String,
    /// Comments with blank lines around them: no table's own.
    alone: String,
    /// The last block, directly above the header, with the blank lines above it.
    begins: String,
}

impl Parts {
    /// `headed`: a header follows, and not the end of the file. Without a blank line, what looks like a setting that is commented
    /// out belongs to the table before, and the rest to the header that follows.
    fn of(lines: &str, headed: bool) -> Self {
        let lines: Vec<&str> = lines.split_inclusive('\n').collect();
        let blank = |line: &&str| line.trim().is_empty();
        let ends = match lines.iter().position(blank) {
            Some(first) => first,
            None if headed => lines.iter().take_while(|line| is_setting(line)).count(),
            None => lines.len(),
        };
        let (before, rest) = lines.split_at(ends);
        let mut begins = rest.len();
        if headed {
            let block = rest.iter().rev().take_while(|line| !blank(line)).count();
            begins -= block;
            let gap = rest[..begins].iter().rev().take_while(|line| blank(line));
            begins -= gap.count();
        }
        let (alone, own) = rest.split_at(begins);
        Self {
            ends_the_table_before: before.concat(),
            alone: alone.concat(),
            begins: own.concat(),
        }
    }
}

/// Whether a line is a setting that is commented out, such as `# workers = true`.
fn is_setting(line: &str) -> bool {
    let Some(comment) = line.trim_start().strip_prefix('#') else {
        return false;
    };
    let key = comment.split_once('=').map_or("", |(key, _)| key.trim());
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.\"".contains(c);
    !key.is_empty() && key.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(lines: &str, headed: bool) -> [String; 3] {
        let parts = Parts::of(lines, headed);
        [parts.ends_the_table_before, parts.alone, parts.begins]
    }

    #[test]
    fn lines_between_tables_are_the_one_befores_no_ones_or_the_next_ones() {
        for (lines, expected) in [
            ("", ["", "", ""]),
            ("\n", ["", "", "\n"]),
            (
                "# a = 1\n\n# the desktop\n",
                ["# a = 1\n", "", "\n# the desktop\n"],
            ),
            (
                "# end\n\n# alone\n\n# next\n",
                ["# end\n", "\n# alone\n", "\n# next\n"],
            ),
            ("\n# alone\n\n", ["", "\n# alone\n", "\n"]),
            ("# the desktop\n", ["", "", "# the desktop\n"]),
            (
                "# a = 1\n# the desktop\n",
                ["# a = 1\n", "", "# the desktop\n"],
            ),
        ] {
            assert_eq!(parts(lines, true), expected, "{lines:?}");
        }
        assert_eq!(parts("# end\n", false), ["# end\n", "", ""]);
        assert_eq!(
            parts("# end\n\n# alone\n", false),
            ["# end\n", "\n# alone\n", ""]
        );
    }
}
