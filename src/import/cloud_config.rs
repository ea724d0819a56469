//! The sizes in a cloud-config, whoever wrote it.

use std::collections::BTreeMap;

/// The autoscaler's own limits where its file gives none. The manual and the provider's README say 1 for the first: what the
/// provider does counts.
///
/// Source: kubernetes/autoscaler@093de0a5 cluster-autoscaler/cloudprovider/slicer/slicer_config.go (`defaultMinSize`,
/// `defaultMaxSize`), 0 since the provider's first commit 83b7fa4a.
const DEFAULTS: (u32, u32) = (0, 8);

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

    /// A group that was never asked to keep an agent would get one that stays.
    #[test]
    fn a_group_without_sizes_has_the_providers_own() {
        let text = "[global]\nk3s-url=\"https://192.168.137.2:6443\"\n[nodegroup \"a\"]\nslicer-url=\"x\"\n";
        assert_eq!(sizes(text, "a"), Some((0, 8)));
    }
}
