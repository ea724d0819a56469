use super::*;
use crate::question::testing::{Nobody, Scripted};
use crate::remote::{Input, Local, Output, Stream};
use async_trait::async_trait;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

/// This machine with a sudo and an id of our own, so that the tests run as anybody. Like the real sudo it takes
/// exactly one line from stdin, and only when it asks.
struct Fake(tempfile::TempDir);

const SUDO: &str = r#"#!/bin/sh
n=
while [ $# -gt 0 ]; do
  case $1 in -n) n=1 ;; -p) shift ;; --) shift; break ;; esac
  shift
done
case $(cat "${0%/*}/rules") in
  nobody)
    if [ "$LC_ALL" = C ]; then echo "me is not in the sudoers file." >&2; else echo "me steht nicht in sudoers." >&2; fi
    exit 1 ;;
  sh) case $1 in /bin/sh) ;; *) echo "sudo: a password is required" >&2; exit 1 ;; esac ;;
  asks)
    if [ "$n" ]; then echo "sudo: a password is required" >&2; exit 1; fi
    IFS= read -r line
    if [ "$line" != "open sesame" ]; then echo "Sorry, try again." >&2; exit 1; fi ;;
esac
FAKE_UID=0 exec "$@"
"#;

impl Fake {
    fn new(rules: &str) -> Self {
        let fake = Self(tempfile::tempdir().unwrap());
        fake.program("sudo", SUDO);
        fake.program("id", "#!/bin/sh\necho ${FAKE_UID:-1000}\n");
        fake.rules(rules);
        fake
    }
    fn program(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    fn rules(&self, rules: &str) {
        std::fs::write(self.0.path().join("rules"), rules).unwrap();
    }
    fn around(&self) -> Surroundings {
        Surroundings {
            ask: Arc::new(Nobody),
            home: self.0.path().into(),
            ..Surroundings::of_process()
        }
    }
}

#[async_trait]
impl Remote for Fake {
    async fn exec(&self, command: &str, stdin: &[u8], limit: Duration) -> Result<Output> {
        let own = quote(&self.0.path().display().to_string());
        // A start file that prints, where there is one.
        let command = format!("PATH={own}:$PATH; cat {own}/rc 2>/dev/null; {command}");
        Local.exec(&command, stdin, limit).await
    }
    async fn attach(&self, _: &str, _: Input, _: bool) -> Result<i32> {
        unreachable!()
    }
    async fn open(&self, _: &str, _: &[u8]) -> Result<Box<dyn Stream>> {
        unreachable!()
    }
    async fn forward(&self, _: &str, _: u16) -> Result<Box<dyn Stream>> {
        unreachable!()
    }
}

async fn found(fake: &Fake, file: Option<&str>, variable: Option<&str>) -> Result<Sudo> {
    find_in(
        "pi",
        fake,
        file,
        variable.map(str::to_owned),
        &fake.around(),
    )
    .await
}

#[tokio::test]
async fn each_way_to_root_is_found_and_each_obstacle_named() {
    let fake = Fake::new("free");
    assert_eq!(found(&fake, None, None).await.unwrap(), Sudo::NoPassword);
    fake.program("id", "#!/bin/sh\necho 0\n");
    assert_eq!(found(&fake, None, None).await.unwrap(), Sudo::Root);

    let fake = Fake::new("nobody");
    let failure = found(&fake, None, Some("open sesame")).await.unwrap_err();
    assert!(failure.cause.unwrap().contains("sudoers"));

    let fake = Fake::new("asks");
    let failure = found(&fake, None, None).await.unwrap_err();
    assert_eq!(failure.code, Code::Sudo);
    assert!(
        failure
            .hint
            .unwrap()
            .contains("sudo-password-file under [hosts.pi]")
    );
    assert_eq!(
        found(&fake, None, Some("wrong")).await.unwrap_err().code,
        Code::Sudo
    );
    let sudo = found(&fake, None, Some("open sesame")).await.unwrap();
    assert_eq!(sudo, Sudo::Password(Secret::new("open sesame")));
}

/// It was asked for again without a word, and nothing said how not to be asked.
#[tokio::test]
async fn a_wrong_password_is_called_so_and_a_right_one_can_be_left_out_next_time() {
    let fake = Fake::new("asks");
    let person = Scripted::new(["wrong", "open sesame"]);
    let sudo = asked("pi", &fake, &person).await.unwrap();
    assert_eq!(sudo, Some(Sudo::Password(Secret::new("open sesame"))));
    let seen = person.seen();
    let begin = |n: usize, text: &str| assert!(seen[n].starts_with(text), "{seen:?}");
    begin(0, "sudo password on pi");
    begin(1, "Sorry, try again: sudo on pi ");
    begin(2, "sudo password on pi");
    begin(3, "To skip this prompt: sudo-password-file");
    let anchor = GUIDE.rsplit_once('#').unwrap().1;
    let guide = include_str!("../../../docs/guide.md");
    assert!(guide.contains(&format!("\n## {anchor}\n")), "{anchor}");

    let person = Scripted::new(["a", "b", "c", "d"]);
    let failure = asked("pi", &fake, &person).await.unwrap_err();
    assert_eq!(failure.cause.unwrap(), "wrong three times");
    assert_eq!(person.seen().len(), 5);
}

/// sudo tells who may not use it only after a right password: to ask again would be in vain.
#[tokio::test]
async fn a_user_who_may_not_use_sudo_is_asked_once() {
    let fake = Fake::new("nobody");
    let person = Scripted::new(["open sesame", "again"]);
    let failure = asked("pi", &fake, &person).await.unwrap_err();
    assert!(failure.cause.unwrap().contains("sudoers"));
    assert_eq!(person.seen().len(), 1);
}

/// A rule for `/bin/sh` alone passed, and every later command was refused.
#[tokio::test]
async fn what_is_tried_is_what_is_run_later() {
    let failure = found(&Fake::new("sh"), None, None).await.unwrap_err();
    assert_eq!(failure.code, Code::Sudo);
}

/// It read "cannot tell who we are", because of "free".
#[tokio::test]
async fn a_login_shell_that_talks_is_named() {
    let fake = Fake::new("free");
    std::fs::write(fake.0.path().join("rc"), "welcome to pi\n").unwrap();
    let failure = found(&fake, None, None).await.unwrap_err();
    assert!(failure.cause.unwrap().contains("welcome to pi"));
    assert!(failure.hint.unwrap().contains(".bashrc"));
}

/// An input that ended before its mark came is none.
#[tokio::test]
async fn without_its_mark_nothing_runs() {
    let fake = Fake::new("free");
    let sudo = Sudo::Password(Secret::new("open sesame"));
    let (command, stdin) = sudo.wrap("echo ran", Some(LIMIT)).unwrap();
    let cut = &stdin[..stdin.len() - 3];
    let output = fake.exec(&command, cut, LIMIT).await.unwrap();
    assert_eq!((output.status, output.stdout.as_str()), (75, ""));
}

#[tokio::test]
async fn a_password_file_must_be_ours_alone() {
    let fake = Fake::new("asks");
    let path = fake.0.path().join("password");
    std::fs::write(&path, "open sesame\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let failure = found(&fake, Some("~/password"), None).await.unwrap_err();
    assert!(failure.hint.unwrap().starts_with("chmod 600"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(found(&fake, Some("~/password"), None).await.is_ok());
}

/// A rule that no longer asks must not turn the password into the command's input.
#[tokio::test]
async fn the_password_never_reaches_the_command() {
    for rules in ["asks", "free"] {
        let fake = Fake::new(rules);
        let sudo = Sudo::Password(Secret::new("open sesame"));
        let (command, mut stdin) = sudo.wrap("cat", Some(LIMIT)).unwrap();
        assert!(!command.contains("sesame"));
        stdin.extend_from_slice(b"data\nmore");
        let output = fake.exec(&command, &stdin, LIMIT).await.unwrap();
        assert_eq!(
            (output.status, output.stdout.as_str()),
            (0, "data\nmore"),
            "{rules}"
        );
    }
}
