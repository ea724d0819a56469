//! Reading known_hosts files as sshd(8) describes them: markers, patterns, negation, ports, hashed names.
//!
//! Our own reader, because russh's overlooks `@revoked` lines and patterns: a revoked key would seem merely unknown.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::Digest as _;

use super::host_names::Names;
use crate::failure::{Code, Failure, Result};

/// What known_hosts says of a key that a host presents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is the host's.
    Known,
    /// The host has no key there; `authority` where a certificate authority (which we do not use) vouches for it.
    Unknown {
        /// Whether a `@cert-authority` line names the host.
        authority: bool,
    },
    /// The host has other keys there; the first of them.
    Changed(Known),
    /// The line that revokes it.
    Revoked(Known),
}

/// A known key and where it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// `file:line`.
    pub(super) place: String,
    /// `ssh-ed25519` and the like.
    pub(super) kind: String,
    /// `SHA256:…`.
    pub(super) fingerprint: String,
}

/// The lines of several files.
#[derive(Clone, Debug, Default)]
pub(super) struct KnownHosts(Vec<Entry>);

#[derive(Clone, Debug)]
struct Entry {
    place: String,
    marker: Marker,
    names: Names,
    kind: String,
    blob: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Marker {
    None,
    Revoked,
    Authority,
}

impl KnownHosts {
    /// Reads files; one that does not exist is empty, one that cannot be read is a failure, since it may revoke a key.
    pub(super) fn read(files: &[PathBuf]) -> Result<Self> {
        let mut all = Self::default();
        for file in files {
            match fs_err::read(file) {
                Ok(bytes) => all.add(file, &String::from_utf8_lossy(&bytes)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(
                        Failure::new(Code::LocalFile, "cannot read known_hosts").because(error)
                    );
                }
            }
        }
        Ok(all)
    }

    /// Adds one file's lines; those that cannot be understood are skipped, as OpenSSH does.
    fn add(&mut self, file: &Path, text: &str) {
        for (index, line) in text.lines().enumerate() {
            if let Some(entry) = Entry::parse(line, || format!("{}:{}", file.display(), index + 1))
            {
                self.0.push(entry);
            }
        }
    }

    /// What is known of `blob`, a public key in wire form, as a key of the host called by `names` (see
    /// [`super::host_names::names`]).
    ///
    /// Any other known key of the host means "changed", whatever its type: we ask for the known types first, so a
    /// server that shows another type no longer has the known key.
    ///
    /// What is listed under the port decides. Only where nothing is, a key of the host without the port counts, and only
    /// if it is the same: another one is that of another server, such as the router before this one.
    ///
    /// Source: openssh-portable sshconnect.c, `check_host_key` ("checking without port identifier").
    pub(super) fn verdict(&self, names: &[String], blob: &[u8]) -> Verdict {
        let verdicts: Vec<Verdict> = names.iter().map(|name| self.of(name, blob)).collect();
        let revoked = |verdict: &&Verdict| matches!(verdict, Verdict::Revoked(_));
        if let Some(revoked) = verdicts.iter().find(revoked) {
            return revoked.clone();
        }
        let mut vouched = false;
        for (index, verdict) in verdicts.into_iter().enumerate() {
            match verdict {
                Verdict::Unknown { authority } => vouched |= authority,
                Verdict::Changed(_) if index > 0 => {}
                verdict => return verdict,
            }
        }
        Verdict::Unknown { authority: vouched }
    }

    /// The same by one name.
    fn of(&self, name: &str, blob: &[u8]) -> Verdict {
        let mut known = None;
        let (mut same, mut authority) = (false, false);
        for entry in self.0.iter().filter(|entry| entry.names.matches(name)) {
            match entry.marker {
                Marker::Revoked if entry.blob == blob => return Verdict::Revoked(entry.known()),
                Marker::Revoked => {}
                Marker::Authority => authority = true,
                Marker::None if entry.blob == blob => same = true,
                Marker::None => {
                    known.get_or_insert_with(|| entry.known());
                }
            }
        }
        match known {
            _ if same => Verdict::Known,
            Some(known) => Verdict::Changed(known),
            None => Verdict::Unknown { authority },
        }
    }

    /// The types of the host's known keys: those under the first name that has any.
    pub(super) fn kinds(&self, names: &[String]) -> Vec<&str> {
        for name in names {
            let entries = self.0.iter().filter(|entry| entry.marker == Marker::None);
            let entries = entries.filter(|entry| entry.names.matches(name));
            let kinds: Vec<&str> = entries.map(|entry| entry.kind.as_str()).collect();
            if !kinds.is_empty() {
                return kinds;
            }
        }
        Vec::new()
    }
}

impl Entry {
    fn parse(line: &str, place: impl FnOnce() -> String) -> Option<Self> {
        let line = line.trim_matches([' ', '\t', '\r']);
        if line.is_empty() || line.starts_with('#') {
            return None;
        }
        let mut words = line.split([' ', '\t']).filter(|word| !word.is_empty());
        let mut first = words.next()?;
        let marker = match first {
            "@revoked" => Marker::Revoked,
            "@cert-authority" => Marker::Authority,
            other if other.starts_with('@') => return None,
            _ => Marker::None,
        };
        if marker != Marker::None {
            first = words.next()?;
        }
        let names = Names::parse(first)?;
        let kind = words.next()?.to_owned();
        let blob = decode(words.next()?)?;
        Some(Self {
            place: place(),
            marker,
            names,
            kind,
            blob,
        })
    }

    fn known(&self) -> Known {
        Known {
            place: self.place.clone(),
            kind: self.kind.clone(),
            fingerprint: fingerprint(&self.blob),
        }
    }
}

/// `SHA256:…` of a public key in wire form.
pub(super) fn fingerprint(blob: &[u8]) -> String {
    format!(
        "SHA256:{}",
        STANDARD_NO_PAD.encode(sha2::Sha256::digest(blob))
    )
}

/// Bytes in base64.
pub(super) fn decode(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests {
    use hmac::{Hmac, KeyInit as _, Mac as _};

    use super::*;
    use crate::remote::ssh::host_names::names;

    #[test]
    fn fuzz_known_hosts() {
        const SAMPLES: &[&str] = &[
            "n100,192.168.1.11 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGk= me@here\n@revoked * ssh-rsa AAAA\n",
            "|1|F1E1KeoE/eEWhi10WpGv4OdiO6Y=|3988QV0VE8wmZL7suNrYQLITLCg= ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGk=\n",
            "@cert-authority *.lan,!bad.lan ssh-ed25519 AAAA\n[n100]:2222,10.0.*.?? ecdsa-sha2-nistp256 AAAA\n# x\n",
        ];
        crate::fuzz::fuzz("known_hosts", SAMPLES, |text| {
            let mut known = KnownHosts::default();
            known.add(Path::new("known_hosts"), text);
            // A name as hostile as the file: patterns and names meet.
            let names = names("n100", 2222, text.split_whitespace().next());
            let mut shown: Vec<String> = known
                .kinds(&names)
                .into_iter()
                .map(crate::escape::escape)
                .collect();
            if let Verdict::Changed(known) | Verdict::Revoked(known) =
                known.verdict(&names, b"\0\0\0\x0b")
            {
                shown.push(known.fingerprint);
            }
            shown
        });
    }

    use proptest::prelude::*;

    // Two keys that differ in their last bytes; only their wire form matters here.
    const A: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIB9dG4kjRhQTtWTVzd2t27+t0DEHBPW7iOD23TUiYLio";
    const B: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    fn verdict(text: &str, host: &str, port: u16, key: &str) -> Verdict {
        let mut known = KnownHosts::default();
        known.add(Path::new("kh"), text);
        known.verdict(&names(host, port, None), &decode(key).unwrap())
    }

    fn unknown() -> Verdict {
        Verdict::Unknown { authority: false }
    }

    #[test]
    fn a_listed_key_is_known_in_every_spelling_of_the_line() {
        for line in [
            format!("pi ssh-ed25519 {A}"),
            format!("  n100,PI\tssh-ed25519   {A} comment here\r"),
            format!("p? ssh-ed25519 {A}"),
            format!("*,!n100 ssh-ed25519 {A}"),
        ] {
            assert_eq!(verdict(&line, "Pi", 22, A), Verdict::Known, "{line}");
        }
        // echo -n pi | openssl dgst -sha1 -hmac 12345678901234567890
        let salt = base64::engine::general_purpose::STANDARD.encode("12345678901234567890");
        let mac = Hmac::<sha1::Sha1>::new_from_slice(b"12345678901234567890").unwrap();
        let hash = STANDARD.encode(mac.chain_update("pi").finalize().into_bytes());
        let line = format!("|1|{salt}|{hash} ssh-ed25519 {A}");
        assert_eq!(verdict(&line, "pi", 22, A), Verdict::Known);
        assert_eq!(verdict(&line, "pj", 22, A), unknown());
    }

    #[test]
    fn negation_comments_and_unreadable_lines_vouch_for_nothing() {
        for line in [
            format!("*,!pi ssh-ed25519 {A}"),
            format!("# pi ssh-ed25519 {A}"),
            format!("@new-marker pi ssh-ed25519 {A}"),
            "pi ssh-ed25519 %%%".to_owned(),
            format!("[pi]:2222 ssh-ed25519 {A}"),
        ] {
            assert_eq!(verdict(&line, "pi", 22, A), unknown(), "{line}");
        }
    }

    /// A host behind a router's port was "somebody in between", and one that shows another port's key was known.
    #[test]
    fn a_port_has_its_own_keys_and_else_the_hosts() {
        let both = format!("[pi]:2222 ssh-ed25519 {A}\npi ssh-ed25519 {B}\n");
        assert_eq!(verdict(&both, "pi", 2222, A), Verdict::Known);
        assert_eq!(verdict(&both, "pi", 22, B), Verdict::Known);
        assert!(
            matches!(verdict(&both, "pi", 2222, B), Verdict::Changed(known) if known.place == "kh:1")
        );
        let router = format!("pi ssh-ed25519 {A}");
        assert_eq!(verdict(&router, "pi", 2222, B), unknown());
        let revoked = format!("[pi]:2222 ssh-ed25519 {A}\n@revoked pi ssh-ed25519 {A}\n");
        assert!(matches!(
            verdict(&revoked, "pi", 2222, A),
            Verdict::Revoked(_)
        ));
        assert_eq!(
            verdict(&format!("pi ssh-ed25519 {A}"), "pi", 2222, A),
            Verdict::Known
        );
    }

    #[test]
    fn another_key_is_a_change_and_names_its_line() {
        let text = format!("# first\npi ssh-ed25519 {A}\n");
        let Verdict::Changed(known) = verdict(&text, "pi", 22, B) else {
            panic!("not changed")
        };
        assert_eq!(
            (known.place.as_str(), known.kind.as_str()),
            ("kh:2", "ssh-ed25519")
        );
        assert!(known.fingerprint.starts_with("SHA256:"));
    }

    #[test]
    fn a_revoked_key_is_refused_even_where_another_line_lists_it() {
        let text = format!("pi ssh-ed25519 {A}\n@revoked * ssh-ed25519 {A}\n");
        assert!(
            matches!(verdict(&text, "pi", 22, A), Verdict::Revoked(known) if known.place == "kh:2")
        );
    }

    #[test]
    fn an_authoritys_key_is_not_the_hosts_key() {
        let text = format!("@cert-authority * ssh-ed25519 {A}\n");
        assert_eq!(
            verdict(&text, "pi", 22, A),
            Verdict::Unknown { authority: true }
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        /// Whatever is in the file, reading it ends, without a panic.
        #[test]
        fn reading_never_panics(text in "(?s).{0,400}", host in "[a-z.*?]{0,12}") {
            verdict(&text, &host, 22, A);
        }

        /// Lines built from the format's own pieces: no panic, and never a key that is not written there.
        #[test]
        fn only_a_written_key_is_known(
            words in prop::collection::vec("(@revoked|@cert-authority|\\|1\\||[!*?,a-c]{1,4}|ssh-rsa|AAAA|=| |\t|\n|#)", 0..40),
        ) {
            prop_assert_ne!(verdict(&words.concat(), "a", 22, A), Verdict::Known);
        }
    }
}
