//! install.sh against a server on loopback: it installs a verified program, or nothing at all.

#![expect(
    clippy::unwrap_used,
    reason = "what a test sets up must work, or the test fails"
)]

use std::fs;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Command, Output};

use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

/// A release directory served on loopback, and a home to install into.
struct Release {
    home: TempDir,
    address: SocketAddr,
    files: TempDir,
}

impl Release {
    fn new() -> Self {
        let files = tempfile::tempdir().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let root = files.path().to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &root);
            }
        });
        let release = Self {
            home: tempfile::tempdir().unwrap(),
            address,
            files,
        };
        release.publish("#!/bin/sh\necho slicer-k3s 9.9.9\n");
        release
    }

    fn publish(&self, program: &str) {
        let stage = tempfile::tempdir().unwrap();
        fs::write(stage.path().join("slicer-k3s"), program).unwrap();
        let archive = self.files.path().join(archive());
        let made = Command::new("tar")
            .args([
                "-czf",
                archive.to_str().unwrap(),
                "-C",
                stage.path().to_str().unwrap(),
            ])
            .arg("slicer-k3s")
            .status()
            .unwrap();
        assert!(made.success());
        let sum = Sha256::digest(fs::read(&archive).unwrap());
        self.write_sum(&slicer_k3s::secret::hex(&sum));
    }

    fn write_sum(&self, sum: &str) {
        let path = self.files.path().join(format!("{}.sha256", archive()));
        fs::write(path, format!("{sum}  {}\n", archive())).unwrap();
    }

    #[must_use]
    fn install(&self) -> Output {
        Command::new("sh")
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/install.sh"))
            .env("HOME", self.home.path())
            .env("SLICER_K3S_BASE_URL", format!("http://{}", self.address))
            .env_remove("SLICER_K3S_INSTALL_DIR")
            .output()
            .unwrap()
    }

    fn installed(&self) -> Option<String> {
        fs::read_to_string(self.home.path().join(".local/bin/slicer-k3s")).ok()
    }

    fn leftovers(&self) -> usize {
        fs::read_dir(self.home.path().join(".local/bin")).map_or(0, Iterator::count)
    }
}

fn archive() -> String {
    format!("slicer-k3s-linux-{}.tar.gz", std::env::consts::ARCH)
}

fn answer(mut stream: std::net::TcpStream, root: &Path) {
    use std::io::{BufRead as _, BufReader};
    let mut first = String::new();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let _ = reader.read_line(&mut first);
    let mut header = String::new();
    while reader.read_line(&mut header).is_ok_and(|n| n > 2) {
        header.clear();
    }
    let name = first
        .split(' ')
        .nth(1)
        .and_then(|path| path.rsplit('/').next())
        .unwrap_or("");
    let _ = match fs::read(root.join(name)) {
        Ok(body) => {
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(&body)
        }
        Err(_) => write!(
            stream,
            "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ),
    };
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn installs_a_verified_program_without_root() {
    let release = Release::new();
    let output = release.install();
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(release.installed().unwrap().contains("9.9.9"));
    assert_eq!(release.leftovers(), 1);
}

#[test]
fn a_wrong_checksum_installs_nothing_and_keeps_the_old_program() {
    let release = Release::new();
    assert!(release.install().status.success());
    release.publish("#!/bin/sh\necho slicer-k3s 10\n");
    release.write_sum(&"0".repeat(64));
    let output = release.install();
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("checksum"), "{}", stderr(&output));
    assert!(release.installed().unwrap().contains("9.9.9"));
    assert_eq!(release.leftovers(), 1);
}

#[test]
fn a_truncated_archive_installs_nothing() {
    let release = Release::new();
    let path = release.files.path().join(archive());
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(release.install().status.code(), Some(1));
    assert!(release.installed().is_none());
}

#[test]
fn a_program_that_does_not_run_here_is_not_installed() {
    let release = Release::new();
    release.publish("#!/bin/sh\nexit 127\n");
    let output = release.install();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("does not run"),
        "{}",
        stderr(&output)
    );
    assert!(release.installed().is_none());
}

#[test]
fn a_missing_release_is_one_clear_sentence() {
    let release = Release::new();
    fs::remove_file(release.files.path().join(archive())).unwrap();
    let output = release.install();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("cannot fetch"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn a_script_cut_off_in_transit_does_nothing() {
    let release = Release::new();
    let script = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/install.sh")).unwrap();
    for part in 1..8 {
        let cut = &script[..script.len() * part / 8];
        let _ = Command::new("sh")
            .arg("-c")
            .arg(cut)
            .env("HOME", release.home.path())
            .env("SLICER_K3S_BASE_URL", format!("http://{}", release.address))
            .output()
            .unwrap();
        assert!(release.installed().is_none());
    }
}
