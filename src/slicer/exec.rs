//! Running a command in a VM through its agent: no route, no network, no SSH.
//!
//! Source of the frames: slicervm/sdk@fb6f052 exec.go and `exec_encoding.go`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::Slicer;
use super::http::{self, Request};
use crate::failure::{Code, Result};
use crate::remote::Output;
use crate::url::encode;

/// Runs a script as root and waits for its end.
///
/// The user and group are always said: versions differ in what they take when nothing is.
pub(super) async fn run(slicer: &Slicer, vm: &str, script: &str) -> Result<Output> {
    let path = format!(
        "/vm/{}/exec?cmd=/bin/bash&args=-lc&args={}&uid=0&gid=0&stdout=true&stderr=true&buffered=true",
        encode(vm),
        encode(script)
    );
    let reply = http::send(slicer, &Request::post(&path)).await?;
    let body = slicer.accept(&reply)?;
    read(body).ok_or_else(|| {
        slicer
            .failure(Code::SlicerApi)
            .because(format!("the command in {vm} ended without an exit status"))
    })
}

/// One frame, of any agent: typed (`data`), untyped, or the one buffered answer.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Frame {
    r#type: Option<String>,
    data: Option<String>,
    stdout: Option<String>,
    stderr: Option<String>,
    exit_code: Option<i64>,
    error: Option<String>,
    encoding: Option<String>,
}

/// What a frame says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) stdout: Vec<u8>,
    pub(super) stderr: Vec<u8>,
    /// Untyped frames always carry an exit status of 0, so only the last one's counts.
    pub(super) exit: Option<i64>,
    /// Why it did not run, or ended badly.
    pub(super) error: Option<String>,
}

impl Frame {
    pub(super) fn read(self) -> Said {
        let encoding = self.encoding.as_deref();
        let bytes = |text: Option<String>| decode(text.unwrap_or_default(), encoding);
        let mut said = Said {
            error: self.error.filter(|error| !error.is_empty()),
            ..Said::default()
        };
        match self.r#type.as_deref() {
            Some("started" | "gap") => {}
            Some("stdout") => said.stdout = bytes(self.data.or(self.stdout)),
            Some("stderr") => said.stderr = bytes(self.data.or(self.stderr)),
            Some(_) => said.exit = self.exit_code,
            None => {
                said.stdout = bytes(self.stdout);
                said.stderr = bytes(self.stderr);
                said.exit = self.exit_code;
            }
        }
        said
    }
}

/// Reads a buffered answer or a stream of frames; `None` where no frame tells an exit status.
fn read(body: &[u8]) -> Option<Output> {
    let text = String::from_utf8_lossy(body);
    let frames: Vec<Frame> = match serde_json::from_str::<Frame>(&text) {
        Ok(frame) => vec![frame],
        Err(_) => text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect(),
    };
    let mut all = Said::default();
    for said in frames.into_iter().map(Frame::read) {
        all.stdout.extend(said.stdout);
        all.stderr.extend(said.stderr);
        all.exit = said.exit.or(all.exit);
        if let Some(error) = said.error {
            all.stderr.extend(error.into_bytes());
            all.stderr.push(b'\n');
        }
    }
    Some(Output {
        status: i32::try_from(all.exit?).unwrap_or(i32::MAX),
        stdout: String::from_utf8_lossy(&all.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&all.stderr).into_owned(),
        cut: false,
    })
}

fn decode(text: String, encoding: Option<&str>) -> Vec<u8> {
    if encoding != Some("base64") {
        return text.into_bytes();
    }
    STANDARD.decode(&text).unwrap_or_else(|_| text.into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::escape::escape;
    use crate::slicer::types::{Group, Health, List, Logs, SecretEntry, error_text};
    use crate::vm::Vm;

    /// Replies of the API, whichever question they are taken for.
    #[test]
    fn fuzz_replies() {
        const SAMPLES: &[&str] = &[
            r#"[{"hostname":"k3s-cp-1","ip":"192.168.137.2/24","status":"Running","created_at":"2026-01-01T00:00:00Z","tags":[]}]"#,
            r#"[{"name":"k3s-token","mod_time":"2026-01-01T00:00:00Z","size":98},{"name":"x","modified_at":7}]"#,
            r#"{"hostname":"k3s-cp-1","agent_uptime":12.5,"userdata_ran":true,"agent_version":"1"}"#,
            r#"{"error":"VM k3s-cp-9 not found","code":404}"#,
            "null",
            "{\"type\":\"started\",\"pid\":7}\n{\"type\":\"stdout\",\"data\":\"aGk=\",\"encoding\":\"base64\"}\n{\"type\":\"exit\",\"exit_code\":3}\n",
            "{\"stdout\":\"ssh-ed25519 AAAA root@x\\nssh-rsa BBBB\\n\",\"stderr\":\"oops\",\"exit_code\":0}",
        ];
        crate::fuzz::fuzz("replies", SAMPLES, |text| {
            let mut shown = vec![escape(&error_text(text.as_bytes()))];
            if let Ok(vms) = serde_json::from_str::<List<Vm>>(text) {
                shown.extend(
                    vms.into_vec().iter().map(|vm| {
                        escape(&format!("{} {} {}", vm.hostname, vm.address(), vm.runs()))
                    }),
                );
            }
            if let Ok(entries) = serde_json::from_str::<List<SecretEntry>>(text) {
                shown.extend(
                    entries
                        .into_vec()
                        .iter()
                        .map(|entry| escape(&entry.stamp())),
                );
            }
            if let Ok(groups) = serde_json::from_str::<List<Group>>(text) {
                shown.extend(groups.into_vec().iter().map(|group| escape(&group.name)));
            }
            if let Ok(health) = serde_json::from_str::<Health>(text) {
                shown.push(health.agent_answers().to_string());
            }
            if let Ok(logs) = serde_json::from_str::<Logs>(text) {
                shown.push(escape(&logs.content));
            }
            if let Some(done) = read(text.as_bytes()) {
                shown.push(escape(done.last_words()));
                shown.extend(
                    crate::slicer::host_key_lines(&done.stdout)
                        .iter()
                        .map(|key| escape(key)),
                );
            }
            shown
        });
    }

    /// Agents of three generations say the same thing in three ways.
    #[test]
    fn every_generation_of_frames_is_read() {
        let typed = concat!(
            r#"{"type":"started","pid":7}"#,
            "\n",
            r#"{"type":"stdout","data":"aGk=","encoding":"base64"}"#,
            "\n",
            r#"{"type":"stderr","data":"oops"}"#,
            "\n",
            r#"{"type":"exit","exit_code":3}"#
        );
        let untyped = concat!(
            r#"{"timestamp":"x","stdout":"hi","exit_code":0}"#,
            "\n",
            r#"{"stderr":"oops","exit_code":0}"#,
            "\n",
            r#"{"exit_code":3}"#
        );
        let buffered = r#"{"stdout":"hi","stderr":"oops","exit_code":3}"#;
        for body in [typed, untyped, buffered] {
            let done = read(body.as_bytes()).unwrap();
            assert_eq!(
                (done.stdout.as_str(), done.stderr.as_str(), done.status),
                ("hi", "oops", 3),
                "{body}"
            );
        }
    }

    /// A connection lost in mid-command must not look like success.
    #[test]
    fn a_stream_without_its_exit_frame_is_no_result() {
        assert_eq!(read(b"{\"type\":\"stdout\",\"data\":\"hi\"}\n"), None);
        assert_eq!(read(b""), None);
    }
}
