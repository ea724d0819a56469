//! Becoming root: nothing, `sudo` without a password, or with one that is asked for once.
//!
//! The password travels as the first line of stdin, never in argv or the environment. sudo reads a pipe byte by byte
//! and takes only that line. Should sudo not ask after all (its rules changed meanwhile), the line must not become the
//! command's input: a random mark follows it, and the root shell skips everything up to the mark before it begins.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use super::ssh::Surroundings;
use super::{Ask, Remote, Sudo, quote};
use crate::failure::{Code, Failure, Result};
use crate::secret::Secret;

/// The environment variable that holds the password where no file does.
pub const VARIABLE: &str = "SLICER_K3S_SUDO_PASSWORD";

const LIMIT: Duration = Duration::from_secs(30);

impl Sudo {
    /// `script` as a command line that runs it as root, and what has to come first on its stdin.
    ///
    /// With a limit, the machine itself ends the script a moment after we have given it up: closing the channel would
    /// not, and what still runs holds one of the few sessions a connection has.
    pub(super) fn wrap(&self, script: &str, limit: Option<Duration>) -> Result<(String, Vec<u8>)> {
        let ended = limit.map_or_else(String::new, ended);
        // What a person runs speaks the person's language.
        let plain = limit.map_or("", |_| "LC_ALL=C ");
        let shell = |script: &str| format!("{ended}/bin/sh -c {}", quote(script));
        match self {
            Self::Root => Ok((shell(script), Vec::new())),
            Self::NoPassword => Ok((format!("{plain}sudo -n -- {}", shell(script)), Vec::new())),
            Self::Password(password) => {
                let mark = crate::secret::random_hex(16).map_err(|error| {
                    Failure::new(Code::LocalFile, "no random numbers").because(error)
                })?;
                let guarded = format!(
                    "while IFS= read -r line; do [ \"$line\" = {mark} ] && break; done; [ \"$line\" = {mark} ] || exit 75; unset line; {script}"
                );
                Ok((
                    // Without -k: sudo remembers the password for this connection's session, where it would otherwise
                    // hash it for every command.
                    format!("{plain}sudo -S -p '' -- {}", shell(&guarded)),
                    format!("{}\n{mark}\n", password.expose()).into_bytes(),
                ))
            }
        }
    }
}

/// What ends a command a moment after its limit.
fn ended(limit: Duration) -> String {
    format!("timeout -s KILL {} ", limit.as_secs() + 2)
}

/// The variable of one machine: `pi-5` has `SLICER_K3S_SUDO_PASSWORD_PI_5`.
fn own_variable(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    format!("{VARIABLE}_{}", name.chars().map(plain).collect::<String>())
}

/// How to become root on the machine called `name`; `password_file` is what cluster.toml names.
pub async fn find(name: &str, remote: &dyn Remote, password_file: Option<&str>) -> Result<Sudo> {
    let around = Surroundings::of_process();
    // A machine's own variable goes before the one of all.
    let variable = [own_variable(name), VARIABLE.to_owned()]
        .iter()
        .filter_map(|variable| std::env::var(variable).ok())
        .find(|value| !value.is_empty());
    find_in(name, remote, password_file, variable, &around).await
}

async fn find_in(
    name: &str,
    remote: &dyn Remote,
    password_file: Option<&str>,
    variable: Option<String>,
    around: &Surroundings,
) -> Result<Sudo> {
    // `-k` with a command ignores a remembered password, so that what works now works an hour later; the same command
    // shape as later, since rules can name programs. What sudo says is read: in one language.
    let question = format!(
        "if [ \"$(id -u)\" = 0 ]; then echo root; elif ! command -v sudo >/dev/null 2>&1; then echo absent; \
         elif LC_ALL=C sudo -k -n -- {}/bin/sh -c : ; then echo free; else echo asks; fi",
        ended(LIMIT)
    );
    let output = remote.exec(&question, b"", LIMIT).await?;
    let failure = |what: &str| Failure::new(Code::Sudo, format!("{what} on {name}"));
    let lines: Vec<&str> = output.stdout.lines().collect();
    if let [first, .., _] = lines.as_slice() {
        return Err(
            failure("commands print text of the login shell's own")
                .because(format!("before its answer it says: {first}"))
                .hint("let its start files (~/.bashrc, ~/.cshrc, config.fish) print nothing where no terminal is"),
        );
    }
    match output.stdout.trim() {
        "root" => return Ok(Sudo::Root),
        "free" => return Ok(Sudo::NoPassword),
        "asks" => {}
        "absent" => {
            return Err(failure("sudo is not installed")
                .hint("log in as root (ssh = \"root@…\"), or install sudo there"));
        }
        _ => {
            return Err(failure("cannot tell who we are")
                .because(output.last_words())
                .hint("it must run commands by its login shell, /bin/sh and base64: try ssh with `id -u` as the command"));
        }
    }
    if let Some(refusal) = refused(&output.stderr) {
        return Err(failure("sudo does not let us become root").because(refusal).hint(
            "add the user to the group that may (usermod -aG sudo USER), or allow it, without requiretty, in /etc/sudoers.d",
        ));
    }
    let hint = format!(
        "sudo-password-file under [hosts.{name}] (a 0600 file), or {VARIABLE}, or run at a terminal, or allow NOPASSWD"
    );
    let given = match password_file {
        Some(path) => Some(from_file(path, around)?),
        None => variable.map(Secret::new),
    };
    let Some(password) = given else {
        return asked(name, remote, around.ask.as_ref())
            .await?
            .ok_or_else(|| {
                failure("sudo wants a password")
                    .because("none is given, and nobody is at a terminal")
                    .hint(hint)
            });
    };
    let sudo = Sudo::Password(password);
    match right(remote, &sudo).await? {
        None => Ok(sudo),
        Some(words) => {
            Err(failure("sudo refuses the password")
                .because(words)
                .hint(match password_file {
                    Some(path) => {
                        format!("correct it in {path} (sudo-password-file under [hosts.{name}])")
                    }
                    None => format!("correct it in {VARIABLE}"),
                }))
        }
    }
}

/// sudo's own words where no password would help.
fn refused(stderr: &str) -> Option<&str> {
    let lasting = [
        "not allowed",
        "not in the sudoers",
        "may not run",
        "must have a tty",
        "unknown user",
    ];
    stderr
        .lines()
        .map(str::trim)
        .find(|line| lasting.iter().any(|words| line.contains(words)))
}

async fn asked(name: &str, remote: &dyn Remote, ask: &dyn Ask) -> Result<Option<Sudo>> {
    for _ in 0..3 {
        let Some(password) = ask.secret(&format!("sudo password on {name}")).await else {
            return Ok(None);
        };
        let sudo = Sudo::Password(password);
        if right(remote, &sudo).await?.is_none() {
            return Ok(Some(sudo));
        }
    }
    Err(
        Failure::new(Code::Sudo, format!("sudo refuses the password on {name}"))
            .because("wrong three times"),
    )
}

/// `None` where the password makes us root, else sudo's words.
async fn right(remote: &dyn Remote, sudo: &Sudo) -> Result<Option<String>> {
    let (command, stdin) = sudo.wrap("[ \"$(id -u)\" = 0 ] && echo root", Some(LIMIT))?;
    let output = remote.exec(&command, &stdin, LIMIT).await?;
    let root = output.ok() && output.stdout.trim() == "root";
    Ok((!root).then(|| output.last_words().to_owned()))
}

fn from_file(path: &str, around: &Surroundings) -> Result<Secret> {
    let path = super::ssh::expand(path, &around.home);
    let failed = || {
        Failure::new(
            Code::Sudo,
            format!("cannot use {} for sudo", path.display()),
        )
    };
    let metadata = fs_err::metadata(&path).map_err(|error| failed().because(error))?;
    if metadata.mode() & 0o077 != 0 {
        return Err(failed()
            .because(format!(
                "others can read it (mode {:o})",
                metadata.mode() & 0o777
            ))
            .hint(format!("chmod 600 {}", path.display())));
    }
    let text = fs_err::read_to_string(&path).map_err(|error| failed().because(error))?;
    match text.lines().next() {
        Some(line) if !line.is_empty() => Ok(Secret::new(line)),
        _ => Err(failed().because("its first line is empty")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::ask::Nobody;
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
}
