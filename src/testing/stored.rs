//! Files as releases wrote them: each later one has to read them, so they are never changed.

use std::path::Path;

/// A file of `tests/fixtures/stored`.
///
/// # Panics
///
/// There is none of this name: a new version of a format needs a file of its own.
pub(crate) fn stored(name: &str) -> String {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stored");
    fs_err::read_to_string(place.join(name)).unwrap()
}
