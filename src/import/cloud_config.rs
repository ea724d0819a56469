//! The sizes in a cloud-config, whoever wrote it.

use std::collections::BTreeMap;

/// The autoscaler's own limits where its file gives none (Slicer's provider: `default-min-size`, `default-max-size`).
const DEFAULTS: (u32, u32) = (1, 8);

/// Fewest and most agents of a group; `None` where the file does not name it.
pub(super) fn sizes(text: &str, group: &str) -> Option<(u32, u32)> {
    let mut sections: BTreeMap<&str, BTreeMap<String, u32>> = BTreeMap::new();
    let mut current = None;
    for line in text.lines().map(str::trim) {
        if let Some(heading) = line.strip_prefix('[') {
            let heading = heading.split(']').next().unwrap_or_default();
            let name = match heading.split_once('"') {
                Some((_, name)) => name.trim_end_matches('"'),
                None => "",
            };
            sections.entry(name).or_default();
            current = Some(name);
        } else if let (Some(section), Some((key, value))) = (current, line.split_once('=')) {
            let number = value.trim().trim_matches('"').parse();
            if let (Ok(number), Some(section)) = (number, sections.get_mut(section)) {
                section.insert(key.trim().to_lowercase(), number);
            }
        }
    }
    let own = sections.get(group).filter(|_| !group.is_empty())?;
    let global = sections.get("");
    let size = |end: &str, last: u32| {
        let general = global.and_then(|global| global.get(&format!("default-{end}")));
        own.get(end).or(general).copied().unwrap_or(last)
    };
    Some((size("min-size", DEFAULTS.0), size("max-size", DEFAULTS.1)))
}

#[cfg(test)]
mod tests {
    use super::sizes;

    #[test]
    fn a_group_has_its_own_sizes_else_the_general_ones() {
        let text = "[global]\ndefault-min-size=0\n[nodegroup \"a\"]\nmax-size=\"4\"\n[nodegroup \"b\"]\n min-size = 2\n";
        assert_eq!(sizes(text, "a"), Some((0, 4)));
        assert_eq!(sizes(text, "b"), Some((2, 8)));
        assert_eq!(sizes(text, "c"), None);
        assert_eq!(sizes("", ""), None);
    }
}
