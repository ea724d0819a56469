//! Logs: what a group's VMs left of their consoles on its host, and the oldest logs of runs on this workstation.

use super::is_name;
use crate::names::slicer::CONSOLES;

/// Of these paths those of consoles of the group's VMs, which are numbered: a group whose name begins with this one's has logs of
/// its own.
pub fn consoles<'p>(group: &str, paths: &'p str) -> Vec<&'p str> {
    let start = format!("{CONSOLES}/{group}-");
    let of_the_group = |path: &&str| {
        let rest = path.strip_prefix(&*start);
        let number = rest.and_then(|rest| rest.strip_suffix(".txt"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        is_name(group) && number.is_some_and(digits)
    };
    paths.lines().filter(of_the_group).collect()
}

/// Of the names in a directory of run logs those that go, so that the last `kept` stay: names begin with their time, so the oldest
/// come first. What is not called like a log is not ours.
pub fn surplus(mut names: Vec<String>, kept: usize) -> Vec<String> {
    names.retain(|name| {
        name.strip_suffix(".log").is_some()
            && name.starts_with(|first: char| first.is_ascii_digit())
    });
    names.sort();
    names.truncate(names.len().saturating_sub(kept));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_consoles_of_another_group_stay() {
        let paths = "/var/log/slicer/a-1-1.txt\n/var/log/slicer/a-1-12.txt\n/var/log/slicer/a-1-1-1.txt\n/var/log/slicer/a-1-x.txt\n/etc/passwd\n";
        let own = ["/var/log/slicer/a-1-1.txt", "/var/log/slicer/a-1-12.txt"];
        assert_eq!(consoles("a-1", paths), own);
        assert!(consoles("", "/var/log/slicer/-1.txt\n").is_empty());
    }

    #[test]
    fn the_newest_logs_stay_and_so_does_what_is_no_log() {
        let names = [
            "20200102T0-init.log",
            "notes.log",
            "20200101T0-init.log",
            "20200103T0-init.txt",
        ];
        let names = names.map(str::to_owned).to_vec();
        assert_eq!(surplus(names.clone(), 1), ["20200101T0-init.log"]);
        assert!(surplus(names, 2).is_empty());
    }
}
