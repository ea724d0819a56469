//! "Did you mean …?"

/// The candidate nearest to what was written, if it is near enough to be meant.
pub fn nearest<'a>(written: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let written = written.to_lowercase().replace('_', "-");
    let limit = (written.chars().count() / 3).min(3);
    candidates
        .iter()
        .map(|candidate| (distance(&written, candidate), *candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Edits (insert, remove, replace) that turn one text into the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
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
