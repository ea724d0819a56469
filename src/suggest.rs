//! "Did you mean …?"

use strsim::levenshtein;

/// The candidate nearest to what was written, if it is near enough to be meant.
pub fn nearest<'a>(written: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let written = written.to_lowercase().replace('_', "-");
    let limit = (written.chars().count() / 3).min(3);
    candidates
        .iter()
        .map(|candidate| (levenshtein(&written, candidate), *candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_are_recognised_and_strangers_are_not() {
        let keys = ["servers", "storage-gb", "ram-gb", "cidr"];
        assert_eq!(nearest("server", &keys), Some("servers"));
        assert_eq!(nearest("ram_gb", &keys), Some("ram-gb"));
        assert_eq!(nearest("CIDR", &keys), Some("cidr"));
        assert_eq!(nearest("flannel", &keys), None);
        assert_eq!(nearest("", &keys), None);
        assert_eq!(nearest("a", &["b"]), None);
    }
}
