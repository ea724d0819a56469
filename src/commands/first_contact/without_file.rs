//! Before there is a cluster.toml, an error must not say what to write into it.

use crate::failure::{Code, Failure};
use crate::remote::ssh::HOST_KEY_PATH;

/// Words of hints that speak of cluster.toml.
const OF_THE_FILE: [&str; 4] = ["cluster.toml", "[hosts.", "ssh = ", "jump = "];

/// The same failure with a hint that can be followed at the prompt, or with flags.
pub(super) fn failure(failure: Failure) -> Failure {
    let hint = failure.hint.clone().unwrap_or_default();
    if !OF_THE_FILE.iter().any(|word| hint.contains(word)) {
        return failure;
    }
    let code = failure.code;
    failure.hint(instead(code, &hint))
}

fn instead(code: Code, hint: &str) -> String {
    match code {
        Code::SshUnreachable => {
            "check the address; it can have a port (user@address:2222), or be a Host of ~/.ssh/config".to_owned()
        }
        // Its first half is the command that sends the key there.
        Code::SshAuth => format!(
            "{}; or name the right key (IdentityFile) for a Host in ~/.ssh/config, and give that name as the address",
            hint.split("; or ").next().unwrap_or_default()
        ),
        Code::HostKeyUnknown => format!(
            "compare with `ssh-keygen -lf {HOST_KEY_PATH}` there; then connect once with ssh, or pass --accept-new-host-keys"
        ),
        Code::Sudo if hint.contains("install sudo") => {
            "log in as root (root@address), or install sudo there".to_owned()
        }
        Code::Sudo => {
            "set SLICER_K3S_SUDO_PASSWORD, or run at a terminal, or allow NOPASSWD in its sudoers".to_owned()
        }
        _ => "ssh -G ADDRESS prints what your SSH configuration says of it".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At a prompt, an error asked for a line in a file that did not exist.
    #[test]
    fn no_hint_of_a_first_contact_speaks_of_a_file_that_is_not_there() {
        for (code, hint, stays) in [
            (
                Code::SshUnreachable,
                "check the spelling in cluster.toml; a name can also be an alias in ~/.ssh/config",
                "user@address:2222",
            ),
            (
                Code::SshUnreachable,
                "check address and port in cluster.toml",
                "~/.ssh/config",
            ),
            (
                Code::SshAuth,
                "ssh-copy-id -p 22 alex@n100; or name the right key with key-file under [hosts.n100]",
                "ssh-copy-id -p 22 alex@n100;",
            ),
            (
                Code::HostKeyUnknown,
                "compare with `ssh-keygen -lf x` there; if it is right, add under [hosts.n100]: host-key = \"SHA256:x\"",
                "--accept-new-host-keys",
            ),
            (
                Code::Sudo,
                "sudo-password-file under [hosts.n100] (a 0600 file), or SLICER_K3S_SUDO_PASSWORD",
                "SLICER_K3S_SUDO_PASSWORD",
            ),
            (
                Code::Sudo,
                "log in as root (ssh = \"root@…\"), or install sudo there",
                "root@address",
            ),
            (
                Code::Config,
                "see [hosts.n100] in cluster.toml, and ssh -G alex@n100",
                "ssh -G",
            ),
        ] {
            let hint = failure(Failure::new(code, "x").hint(hint)).hint.unwrap();
            assert!(
                !OF_THE_FILE.iter().any(|word| hint.contains(word)),
                "{hint}"
            );
            assert!(hint.contains(stays), "{hint}");
        }
        let other = Failure::new(Code::SshUnreachable, "x").hint("is it switched on?");
        assert_eq!(failure(other.clone()), other);
    }
}
