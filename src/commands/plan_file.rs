//! The plan of the last run that began to act, as it is kept in the state directory: versioned, so that another release's
//! file is never taken for none.

use std::io::ErrorKind;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::failure::{Code, Failure, Result};
use crate::plan::Plan;

/// The version that is written. Files of the releases before have none.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct Written<'p> {
    version: u32,
    #[serde(flatten)]
    plan: &'p Plan,
}

/// Only the version: read first, because a newer release's fields are not ours to know.
#[derive(Deserialize)]
struct Header {
    #[serde(default)]
    version: u32,
}

/// Reads the plan; `None` where there is no file.
pub(super) fn read(path: &Path) -> Result<Option<Plan>> {
    let failed = |cause: String| {
        Failure::new(Code::LocalFile, format!("cannot read {}", path.display())).because(cause)
    };
    let text = match fs_err::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error.to_string())),
    };
    let damaged = |error: serde_json::Error| {
        failed(format!(
            "it is damaged at line {}, column {}",
            error.line(),
            error.column()
        ))
        .hint(format!(
            "restore it from a backup, or put it aside and let init write it again: mv {0} {0}.damaged; slicer-k3s init",
            path.display()
        ))
    };
    let header: Header = serde_json::from_str(&text).map_err(damaged)?;
    if header.version > VERSION {
        return Err(failed(format!(
            "it has version {}, this program knows {VERSION}: a newer release of slicer-k3s wrote it",
            header.version
        ))
        .hint("use that release, or a newer one"));
    }
    serde_json::from_str(&text).map_err(damaged).map(Some)
}

/// Keeps a plan. Where it differs from the last one in its reasons only, that one is written again.
pub(super) fn write(path: &Path, plan: &Plan) -> Result<()> {
    let last = read(path).ok().flatten();
    let last = last.filter(|last| without_reasons(last) == without_reasons(plan));
    let written = Written {
        version: VERSION,
        plan: last.as_ref().unwrap_or(plan),
    };
    let text = serde_json::to_vec_pretty(&written)
        .map_err(|error| Failure::new(Code::LocalFile, "cannot write the plan").because(error))?;
    crate::files::write_private(path, &text)
}

fn without_reasons(plan: &Plan) -> Option<Value> {
    let plan = Plan {
        reasons: Vec::new(),
        ..plan.clone()
    };
    serde_json::to_value(plan).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{plan, stored};

    /// A plan that could not be read was reported as a cluster that was never made.
    #[test]
    fn a_damaged_or_newer_plan_is_not_taken_for_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plan.json");
        assert_eq!(read(&path).unwrap(), None);
        write(&path, &plan()).unwrap();
        assert_eq!(read(&path).unwrap(), Some(plan()));
        let mut told = plan();
        told.reasons.push(("k3s".into(), "as before".into()));
        write(&path, &told).unwrap();
        assert_eq!(read(&path).unwrap().unwrap().reasons, plan().reasons);
        let text = fs_err::read_to_string(&path).unwrap();
        for (wrong, word) in [
            (
                text.replace("\"version\": 1,", "\"version\": 2,"),
                "newer release",
            ),
            (text.replace("\"hosts\"", "\"gone\""), "damaged"),
            (String::new(), "damaged"),
        ] {
            fs_err::write(&path, wrong).unwrap();
            let failure = read(&path).unwrap_err();
            assert_eq!(failure.code, Code::LocalFile);
            assert!(failure.to_string().contains(word), "{failure}");
        }
    }

    /// Earlier releases wrote no version.
    #[test]
    fn a_plan_without_a_version_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plan.json");
        fs_err::write(&path, serde_json::to_vec(&plan()).unwrap()).unwrap();
        assert_eq!(read(&path).unwrap(), Some(plan()));
    }

    /// What a release wrote is read by every later one, and written again it is the same.
    #[test]
    fn plans_that_releases_wrote_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("plan.json");
        for version in 0..=VERSION {
            let text = stored(&format!("plan-v{version}.json"));
            fs_err::write(&path, &text).unwrap();
            let plan = read(&path).unwrap().unwrap();
            assert_eq!((plan.daemons.len(), plan.away.len()), (5, 1));
            let adopted = plan.daemons[4].adopted.as_ref().unwrap();
            assert_eq!(adopted.file, "/home/alex/lab.yaml");
            assert_eq!(plan.daemons[3].carrier(), "k3s-cp");
            fs_err::remove_file(&path).unwrap();
            write(&path, &plan).unwrap();
            let written: Value =
                serde_json::from_str(&fs_err::read_to_string(&path).unwrap()).unwrap();
            let newest: Value =
                serde_json::from_str(&stored(&format!("plan-v{VERSION}.json"))).unwrap();
            assert_eq!(written, newest);
        }
    }
}
