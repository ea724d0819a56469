//! The event stream as one JSON document a line on stdout (docs/events.md).

use super::{Report, data};
use crate::escape::harmless_json;
use crate::event::Event;

/// Events as they are.
pub(super) struct Ndjson;

impl Report for Ndjson {
    fn event(&mut self, event: &Event) {
        if let Ok(line) = serde_json::to_string(event) {
            data(&format!("{}\n", harmless_json(&line)));
        }
    }
}
