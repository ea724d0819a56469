//! What Slicer and its installer call things on a host and in its VMs, each once. This file uses nothing else of the program,
//! so everything that asks a machine may use it.

/// The program.
///
/// Source: get.slicervm.com (the installer: `arkade oci install … --path /usr/local/bin`).
pub const PROGRAM: &str = "/usr/local/bin/slicer";

/// Where its installer comes from.
///
/// Source: slicervm/docs.slicervm.com@05085f9 docs/getting-started/install.md.
pub const INSTALLER_URL: &str = "https://get.slicervm.com";

/// Where Slicer keeps its API token on a host, today's place first.
///
/// Source: slicervm/docs.slicervm.com@05085f9 docs/reference/api.md; `/var/lib/slicer/token` is that of its version f82d43f,
/// and `/var/slicer/auth/token` is in docs/examples/jenkins.md.
pub const TOKEN_PATHS: [&str; 3] = [
    "/var/lib/slicer/auth/token",
    "/var/lib/slicer/token",
    "/var/slicer/auth/token",
];

/// Where Slicer keeps what VMs print on their serial consoles, whatever becomes of the VM.
///
/// Source: slicervm/docs.slicervm.com@05085f9 docs/reference/troubleshooting.md.
pub const CONSOLES: &str = "/var/log/slicer";

/// The user of Slicer's Ubuntu images; has sudo without a password.
///
/// Source: slicervm/docs.slicervm.com@05085f9 docs/reference/images.md ("Default user").
pub const VM_USER: &str = "ubuntu";

/// The file of keys by which [`VM_USER`] lets in.
///
/// Source: slicervm/docs.slicervm.com@05085f9 docs/reference/ssh.md.
pub const AUTHORIZED_KEYS: &str = "/home/ubuntu/.ssh/authorized_keys";

/// The licence, in the home of the user that Slicer is run by, or of root.
///
/// Source: slicervm/docs.slicervm.com@05085f9 docs/getting-started/daemon.md.
pub const LICENCE: &str = "~/.slicer/LICENSE";

/// The file with what a VM printed on its serial console.
pub fn console_log(vm: &str) -> String {
    format!("{CONSOLES}/{vm}.txt")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_survey_searches_for_the_licence_where_slicer_does() {
        let script = include_str!("../remote/survey.sh");
        let file = LICENCE.replacen('~', "$home", 1);
        assert!(script.contains(&format!("[ -s \"{file}\" ] && echo \"{file}\"")));
    }

    #[test]
    fn the_keys_are_those_of_the_images_user() {
        assert!(AUTHORIZED_KEYS.starts_with(&format!("/home/{VM_USER}/")));
    }
}
