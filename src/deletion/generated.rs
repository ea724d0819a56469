//! A file on this workstation that `generate` wrote and no longer makes: it goes unless someone has changed it since.

/// Whether a file still has the content that we wrote, by the hashes of both; `None` where it cannot be read.
pub fn is_unchanged(written: &str, now: Option<&str>) -> bool {
    now == Some(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_edited_file_stays() {
        assert!(is_unchanged("f00", Some("f00")));
        assert!(!is_unchanged("f00", Some("bar")) && !is_unchanged("f00", None));
    }
}
