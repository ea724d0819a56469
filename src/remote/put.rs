//! Files that are written on machines: whole or not at all.

use super::Script;
use crate::secret::sha256;

/// A file to write: whole, atomically, with this mode from creation, owned by root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Put<'a> {
    /// Absolute path.
    pub path: &'a str,
    /// Octal mode, such as "0600"; [`Put::AS_IT_IS`] keeps mode and owner of the file that is there.
    pub mode: &'static str,
    /// Content.
    pub content: &'a [u8],
}

/// What arrives is the content's hash, on a line of its own, and the content. The hash is in no command line: a token that a
/// person chose may be guessed from it. No trap runs where it is killed: what an earlier one left, which may hold a token, is
/// removed first, once no write can still be at it.
const SCRIPT: &str = "set -e; p={}; m={}; d=$(dirname -- \"$p\"); mkdir -p -- \"$d\"
find \"$d\" -maxdepth 1 -type f -name '.slicer-k3s.??????' -mmin +1 -delete 2>/dev/null || true
t=$(mktemp -- \"$d/.slicer-k3s.XXXXXX\")
trap 'rm -f -- \"$t\"' EXIT; chmod 0600 -- \"$t\"
IFS= read -r h || h=; cat >\"$t\"; s=$(sha256sum <\"$t\")
if [ \"${s%% *}\" != \"$h\" ]; then echo 'it did not arrive whole' >&2; exit 1; fi
if [ \"$m\" ]; then chmod \"$m\" -- \"$t\"
else chown --reference=\"$p\" -- \"$t\"; chmod --reference=\"$p\" -- \"$t\"; fi
sync -- \"$t\"; mv -f -- \"$t\" \"$p\"";

impl Put<'_> {
    /// As a mode: that of the file that is there, and its owner.
    pub const AS_IT_IS: &'static str = "";

    /// The script that writes it.
    pub(super) fn script(&self) -> Script {
        let mut stdin = format!("{}\n", sha256(self.content)).into_bytes();
        stdin.extend_from_slice(self.content);
        Script::new(SCRIPT, &[self.path, self.mode]).stdin(stdin)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::files::tests::mode;

    fn run(put: &Put<'_>, arrived: &[u8]) -> bool {
        let mut shell = Command::new("/bin/sh")
            .args(["-c", put.script().text()])
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        shell.stdin.take().unwrap().write_all(arrived).unwrap();
        shell.wait().unwrap().success()
    }

    /// A connection that breaks ends the input early, and half a file took the place of a whole one. As long is not the same.
    #[test]
    fn what_did_not_arrive_whole_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file").display().to_string();
        fs_err::write(&path, "before").unwrap();
        let put = Put {
            path: &path,
            mode: "0640",
            content: b"all of it\n\n",
        };
        let whole = put.script().input().to_vec();
        let mut changed = whole.clone();
        *changed.last_mut().unwrap() = b'x';
        let half = whole.len() - 4;
        for arrived in [
            &b""[..],
            &whole[..20],
            &whole[..65],
            &whole[..half],
            &changed[..],
        ] {
            assert!(!run(&put, arrived), "{arrived:?}");
            assert_eq!(fs_err::read_to_string(&path).unwrap(), "before");
        }
        assert!(run(&put, &whole));
        assert_eq!(fs_err::read(&path).unwrap(), put.content);
        assert_eq!(mode(std::path::Path::new(&path)), 0o640);
        assert_eq!(
            fs_err::read_dir(dir.path()).unwrap().count(),
            1,
            "no leftovers"
        );
        // Nothing is a content, too.
        let empty = Put {
            content: b"",
            ..put
        };
        assert!(!run(&empty, b"") && run(&empty, empty.script().input()));
    }

    /// A write that was killed left a copy of a file with both tokens for good.
    #[test]
    fn what_a_killed_write_left_goes_with_the_next_one() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let old = std::time::SystemTime::now() - std::time::Duration::from_secs(200);
        fs_err::create_dir(at("below")).unwrap();
        for (name, age) in [
            (".slicer-k3s.Ab12Cd", Some(old)),
            (".slicer-k3s.Fr35H0", None),
            (".slicer-k3s.longer-one", Some(old)),
            ("a.slicer-k3s.Ab12Cd", Some(old)),
            ("below/.slicer-k3s.Ab12Cd", Some(old)),
        ] {
            let file = std::fs::File::create(at(name)).unwrap();
            if let Some(age) = age {
                file.set_modified(age).unwrap();
            }
        }
        let path = at("file").display().to_string();
        let put = Put {
            path: &path,
            mode: "0600",
            content: b"new",
        };
        assert!(run(&put, put.script().input()));
        assert!(!at(".slicer-k3s.Ab12Cd").exists());
        for name in [
            "file",
            ".slicer-k3s.Fr35H0",
            ".slicer-k3s.longer-one",
            "a.slicer-k3s.Ab12Cd",
            "below/.slicer-k3s.Ab12Cd",
        ] {
            assert!(at(name).exists(), "{name}");
        }
    }

    #[test]
    fn a_files_own_mode_is_kept_where_none_is_given() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file").display().to_string();
        let put = Put {
            path: &path,
            mode: Put::AS_IT_IS,
            content: b"token",
        };
        let input = put.script().input().to_vec();
        assert!(!run(&put, &input), "there is none");
        fs_err::write(&path, "").unwrap();
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(run(&put, &input));
        assert_eq!(mode(std::path::Path::new(&path)), 0o640);
    }
}
