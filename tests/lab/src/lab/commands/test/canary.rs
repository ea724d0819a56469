//! Secrets as canaries: every command line of every machine is sampled during a run, every file that a run left is
//! read afterwards.

use std::collections::HashSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};

/// Files larger than this are disk images and binaries.
const LARGEST: u64 = 4 << 20;

/// Samples command lines until stopped. Machines are namespaces, so this system's /proc shows all their processes.
pub(super) struct Sampler {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<HashSet<String>>,
}

impl Sampler {
    pub(super) fn start() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut lines = HashSet::new();
            while !seen.load(Ordering::Relaxed) {
                sample(&mut lines);
                std::thread::sleep(Duration::from_millis(20));
            }
            lines
        });
        Self { stop, thread }
    }

    /// Every command line seen.
    pub(super) fn stop(self) -> Result<HashSet<String>> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| anyhow!("the sampler died"))
    }
}

fn sample(lines: &mut HashSet<String>) {
    let Ok(entries) = std::fs::read_dir("/proc") else {
        return;
    };
    for entry in entries.flatten() {
        if !entry
            .file_name()
            .to_string_lossy()
            .bytes()
            .all(|b| b.is_ascii_digit())
        {
            continue;
        }
        if let Ok(line) = std::fs::read(entry.path().join("cmdline")) {
            let line = String::from_utf8_lossy(&line).replace('\0', " ");
            if !line.is_empty() && !lines.contains(&line) {
                lines.insert(line);
            }
        }
    }
}

/// No secret may be in a command line.
pub(super) fn check_lines(lines: &HashSet<String>, secrets: &[(String, String)]) -> Result<()> {
    if lines.len() < 50 {
        bail!(
            "only {} command lines were seen: the sampler did not work",
            lines.len()
        );
    }
    for (name, secret) in secrets {
        if let Some(line) = lines.iter().find(|line| line.contains(secret.as_str())) {
            bail!(
                "{name} was in a command line: {}",
                line.replace(secret.as_str(), "<the secret>")
            );
        }
    }
    Ok(())
}

/// Slicer's own file, for its group: made by the daemon, not by us.
const SLICERS: &str = "var/lib/slicer/auth/token";

/// No file below `directory` that others than its owner can read may hold a secret.
pub(super) fn check_files(directory: &Path, secrets: &[(String, String)]) -> Result<usize> {
    let (mut open, mut read) = (vec![directory.to_owned()], 0);
    let mut found = Vec::new();
    while let Some(directory) = open.pop() {
        let Ok(entries) = std::fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries.flatten() {
            let Ok(facts) = entry.path().symlink_metadata() else {
                continue;
            };
            if facts.is_dir() {
                open.push(entry.path());
            } else if facts.is_file() && facts.len() <= LARGEST {
                let Ok(content) = std::fs::read(entry.path()) else {
                    continue;
                };
                read += 1;
                if entry.path().ends_with(SLICERS) {
                    continue;
                }
                if facts.permissions().mode().trailing_zeros() >= 6 {
                    continue;
                }
                found.extend(holding(&entry.path(), &content, secrets));
            }
        }
    }
    if found.is_empty() {
        Ok(read)
    } else {
        bail!(found.join("; "))
    }
}

fn holding(path: &Path, content: &[u8], secrets: &[(String, String)]) -> Vec<String> {
    let text = String::from_utf8_lossy(content);
    secrets
        .iter()
        .filter(|(_, secret)| text.contains(secret.as_str()))
        .map(|(name, _)| format!("{name} lies in {}, which others can read", path.display()))
        .collect()
}
