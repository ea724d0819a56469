//! The survey's script and its reader, together.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use proptest::prelude::*;

use super::*;
use crate::names::ours::ROOT;
use crate::plan::tests::machine;
use crate::remote::Probe;

#[test]
fn fuzz_survey() {
    const SAMPLES: &[&str] = &[
        "== arch\n x86_64\n== model\n Box\n== os\n \"Debian 12\"\n== cores\n 8\n== memory\n 33000000 kB\n== disk\n /dev/sda1 500000000 100000000 400000000 20% /\n== kvm\n yes\n== systemd\n yes\n== forwarding\n 1\n== addresses\n [{\"ifname\":\"eth0\",\"addr_info\":[{\"local\":\"192.168.1.11\",\"prefixlen\":24}]}]\n== routes\n [{\"dst\":\"default\",\"dev\":\"eth0\"},{\"dst\":\"10.9.0.0/16\",\"gateway\":\"192.168.1.2\",\"dev\":\"eth0\"}]\n== interfaces\n eth0\n== ports\n 0016\n 1F90\n== identity\n id\n boot\n== clock\n 1700000000\n== slicer\n Client: 0.1.71\n installed\n== licences\n /home/alex/.slicer/LICENSE\n== ssh\n 192.168.1.10 50000 192.168.1.11 22\n== end\n",
        "== arch\n aarch64\n== cores\n 4\n== memory\n 16000000 kB\n== addresses\n [{\"addr_info\":[{\"local\":\"192.168.1.13\",\"prefixlen\":24}]}]\n== mark home\n {\"cluster\":\"home\"}\n== daemon /etc/systemd/system/slicer-x.service\n /root/x.yaml\n config:\n   host_groups:\n   - name: x\n     network: {gateway: 192.168.139.1/24, tap_prefix: t}\n   api: {port: 8082}\n== end\n",
    ];
    crate::fuzz::fuzz("survey", SAMPLES, |text| {
        match HostFacts::parse("pi5", text) {
            Ok(facts) => {
                let mut shown = vec![facts.hostname, facts.model, facts.os, facts.identity];
                shown.extend(facts.slicer);
                shown.extend(facts.interfaces);
                shown
                    .iter()
                    .map(|text| crate::escape::escape(text))
                    .collect()
            }
            Err(failure) => vec![crate::escape::escape(&failure.to_string())],
        }
    });
}

fn program(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs_err::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
    fs_err::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Runs the real script with these programs in front of the system's; sudo's clean environment included.
fn run(dir: &Path) -> String {
    run_script(dir, Probe::Survey.script().text())
}

fn run_script(dir: &Path, text: &str) -> String {
    program(
        dir,
        "ip",
        r#"case $* in
*addr*) echo '[{"ifname":"eth0","addr_info":[{"local":"192.168.1.13","prefixlen":24}]}]' ;;
*) echo '[{"dst":"default","gateway":"192.168.1.1","dev":"eth0"},{"dst":"192.168.1.0/24","dev":"eth0"}]' ;;
esac"#,
    );
    let script = dir.join("survey.sh");
    fs_err::write(&script, text).unwrap();
    let path = format!("{}:/usr/bin:/bin", dir.display());
    let output = Command::new("sh")
        .arg("-c")
        .arg("env -i PATH=\"$1\" sh \"$2\"; exit $?")
        .args(["sh", &path, script.to_str().unwrap()])
        .env("SSH_CONNECTION", "192.168.1.10 50000 192.168.1.13 22")
        .output()
        .unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_machine_disguised_as_a_pi_is_read_by_the_real_script() {
    let dir = tempfile::tempdir().unwrap();
    program(dir.path(), "uname", "echo aarch64");
    program(dir.path(), "slicer", "echo 'Client: 0.1.71 abc'");
    let half = HostFacts::parse("pi5", &run(dir.path())).unwrap();
    // Its installer puts the program there first, and may have stopped then.
    assert_eq!(half.slicer, None);
    program(dir.path(), "containerd", ":");
    program(dir.path(), "firecracker", ":");
    let facts = HostFacts::parse("pi5", &run(dir.path())).unwrap();
    assert_eq!(facts.arch, Arch::Aarch64);
    assert_eq!(facts.slicer.as_deref(), Some("0.1.71"));
    assert_eq!(facts.ssh_address, Some("192.168.1.13".parse().unwrap()));
    assert_eq!(facts.default_interface.as_deref(), Some("eth0"));
    assert_eq!(facts.routes, ["192.168.1.0/24".parse().unwrap()]);
    assert!(facts.ram_bytes > 1 << 20 && facts.cores > 0 && facts.disk_free_bytes > 0);
    assert!(facts.clock > 1_600_000_000);
    assert!(!facts.identity.is_empty() && facts.interfaces.contains(&"lo".to_owned()));
}

/// A process of Slicer's name whose words are Slicer's: a shell that reads a script called `up`.
fn daemon(dir: &Path, words: &[&str]) -> Child {
    fs_err::copy("/bin/sh", dir.join("slicer")).unwrap();
    fs_err::write(dir.join("up"), "echo ready; read line").unwrap();
    let mut child = Command::new(dir.join("slicer"))
        .arg("up")
        .args(words)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = [0; 6];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut ready).unwrap();
    child
}

/// The directory of all clusters was a link to a larger drive, and each process seemed to be someone else's daemon.
#[test]
fn a_daemon_in_a_directory_of_ours_behind_a_link_is_found_there() {
    let dir = tempfile::tempdir().unwrap();
    let drive = dir.path().join("drive");
    let (works, root) = (drive.join("home/a-1"), dir.path().join("slicer-k3s"));
    fs_err::create_dir_all(&works).unwrap();
    std::os::unix::fs::symlink(&drive, &root).unwrap();
    let mut child = daemon(&works, &["./a-1.yaml"]);
    let other = tempfile::tempdir().unwrap();
    let root = root.display().to_string();
    let script = Probe::Survey.script();
    let text = run_script(other.path(), &script.text().replace(ROOT, &root));
    child.kill().unwrap();
    child.wait().unwrap();
    let text = text.replace(&root, ROOT);
    let facts = HostFacts::parse("box", &text).unwrap();
    // Other daemons may run on this machine.
    let ours = facts
        .daemons
        .iter()
        .find(|daemon| daemon.directory == "/var/lib/slicer-k3s/home/a-1");
    assert_eq!(ours.expect("it is found").cluster(), Some("home"));
}

#[test]
fn a_daemon_that_was_started_by_hand_is_found_with_what_it_occupies() {
    let dir = tempfile::tempdir().unwrap();
    fs_err::write(
        dir.path().join("mine.yaml"),
        "config:\n  host_groups:\n  - name: mine\n    network: {gateway: 10.77.0.1/24}\n== arch\n",
    )
    .unwrap();
    let words = ["./mine.yaml", "--license-file", "/srv/LICENSE"];
    let mut child = daemon(dir.path(), &words);
    let other = tempfile::tempdir().unwrap();
    let text = run(other.path());
    child.kill().unwrap();
    child.wait().unwrap();
    let facts = HostFacts::parse("box", &text).unwrap();
    let here = dir.path().canonicalize().unwrap();
    let found = facts
        .daemons
        .iter()
        .find(|daemon| Path::new(&daemon.directory) == here);
    let found = found.expect("the daemon is found");
    assert_eq!(found.licence_file.as_deref(), Some("/srv/LICENSE"));
    // The file's last line is not YAML: what it occupies is unknown, and it is no heading of ours either.
    assert_eq!(found.groups, Vec::<String>::new());
    assert_eq!(
        text.matches("\n== arch").count() + usize::from(text.starts_with("== arch")),
        1
    );
}

#[test]
fn a_survey_that_broke_off_or_lacks_something_is_refused() {
    let whole = machine("box", "10.0.0.1/24").survey();
    let why = |text: &str| HostFacts::parse("box", text).unwrap_err().to_string();
    assert_eq!(
        why(""),
        "cannot tell everything of box: its survey broke off"
    );
    assert_eq!(
        why(&whole.replace("== memory", "== other")),
        "cannot tell the RAM of box: its survey does not say"
    );
    assert_eq!(
        why(&whole.replace("x86_64", "riscv64")),
        "box has an architecture that Slicer has no images for: riscv64"
    );
}

#[test]
fn the_clusters_own_record_is_found() {
    let mut host = machine("box", "10.0.0.1/24");
    host.more = "== mark-name\n home\n== mark\n {\"version\": 1,\n  \"x\": 2}\n== mark-name\n other\n== mark\n {}\n".to_owned();
    let facts = host.facts();
    assert_eq!(facts.mark("home"), Some("{\"version\": 1,\n \"x\": 2}\n"));
    assert_eq!(facts.mark("nobody"), None);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    /// Whatever a machine prints, reading it is an answer.
    #[test]
    fn reading_a_survey_never_panics(line in 0_usize..60, noise in "[\\PC\n]{0,60}", cut in 0_usize..2000) {
        let whole = machine("box", "10.0.0.1/24").survey();
        let mut lines: Vec<&str> = whole.lines().collect();
        let at = line % lines.len();
        lines[at] = &noise;
        let _ = HostFacts::parse("box", &lines.join("\n"));
        let cut: String = whole.chars().take(cut).collect();
        let _ = HostFacts::parse("box", &format!("{cut}{noise}"));
        let _ = HostFacts::parse("box", &format!("{cut}\n {noise}\n== end\n"));
    }
}
