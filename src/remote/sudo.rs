//! Becoming root: nothing, `sudo` without a password, or with one that is asked for once.
//!
//! The password travels as the first line of stdin, never in argv or the environment. sudo reads a pipe byte by byte
//! and takes only that line. Should sudo not ask after all (its rules changed meanwhile), the line must not become the
//! command's input: a random mark follows it, and the root shell skips everything up to the mark before it begins.

use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use super::ssh::Surroundings;
use super::{Remote, Sudo};
use crate::failure::{Code, Failure, Result};
use crate::question::Ask;
use crate::secret::Secret;
use crate::shell::quote;

/// The environment variable that holds the password where no file does.
pub const VARIABLE: &str = "SLICER_K3S_SUDO_PASSWORD";

/// Where it is told how to give the password without being asked.
const GUIDE: &str = "https://github.com/slicer-k3s/slicer-k3s/blob/main/docs/guide.md#sudo";

/// How often a person may type it.
const TRIES: usize = 3;

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
                .hint("it must run commands by its login shell and /bin/sh: try ssh with `id -u` as the command"));
        }
    }
    if let Some(refusal) = refused(&output.stderr) {
        return Err(not_allowed(name, refusal));
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

/// No password would help.
fn not_allowed(name: &str, refusal: &str) -> Failure {
    Failure::new(Code::Sudo, format!("sudo does not let us become root on {name}"))
        .because(refusal)
        .hint(
            "add the user to the group that may (usermod -aG sudo USER), or allow it, without requiretty, in /etc/sudoers.d",
        )
}

/// sudo's own words where no password would help.
fn refused(stderr: &str) -> Option<&str> {
    let permanent = [
        "not allowed",
        "not in the sudoers",
        "may not run",
        "must have a tty",
        "unknown user",
    ];
    stderr
        .lines()
        .map(str::trim)
        .find(|line| permanent.iter().any(|words| line.contains(words)))
}

async fn asked(name: &str, remote: &dyn Remote, ask: &dyn Ask) -> Result<Option<Sudo>> {
    for left in (0..TRIES).rev() {
        let Some(typed) = ask.secret(&format!("sudo password on {name}")).await? else {
            return Ok(None);
        };
        let sudo = Sudo::Password(typed.secret.clone());
        let Some(words) = right(remote, &sudo).await? else {
            ask.say_once(&format!(
                "To skip this prompt: sudo-password-file or {VARIABLE}, see {GUIDE}"
            ));
            return Ok(Some(sudo));
        };
        if let Some(refusal) = refused(&words) {
            return Err(not_allowed(name, refusal));
        }
        if left > 0 {
            ask.say(&format!(
                "Sorry, try again: sudo on {name} does not accept that password."
            ));
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
mod tests;
