//! Watching processes of a fleet from outside: its machines are namespaces, so this system's /proc shows them all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use anyhow::{Result, anyhow};

/// How often is looked.
const EVERY: Duration = Duration::from_millis(50);

/// What was seen of one process.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// When it was there last.
    pub(super) last: SystemTime,
    /// The most memory it has had at once, KiB.
    pub(super) peak_kib: u64,
}

/// Looks for processes of one name until stopped.
pub(super) struct Watch {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<BTreeMap<u32, Seen>>,
}

impl Watch {
    /// `name` as the kernel keeps it: at most 15 characters.
    pub(super) fn start(name: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut seen = BTreeMap::new();
            while !stopped.load(Ordering::Relaxed) {
                look(name, &mut seen);
                std::thread::sleep(EVERY);
            }
            seen
        });
        Self { stop, thread }
    }

    /// Every process seen.
    pub(super) fn stop(self) -> Result<BTreeMap<u32, Seen>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the watch died"))
    }
}

fn look(name: &str, seen: &mut BTreeMap<u32, Seen>) {
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(process) = entry.file_name().to_string_lossy().parse::<u32>() else {
            continue;
        };
        let read = |file: &str| std::fs::read_to_string(entry.path().join(file)).ok();
        if read("comm").is_none_or(|comm| comm.trim() != name) {
            continue;
        }
        let Some(status) = read("status") else {
            continue;
        };
        let peak_kib = peak(&status).unwrap_or(0);
        let last = SystemTime::now();
        seen.insert(process, Seen { last, peak_kib });
    }
}

/// The kernel's own high-water mark.
fn peak(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_high_water_mark_is_read() {
        assert_eq!(peak("VmPeak:\t 99 kB\nVmHWM:\t  1234 kB\n"), Some(1234));
        assert_eq!(peak("Name:\tx\n"), None);
    }
}
