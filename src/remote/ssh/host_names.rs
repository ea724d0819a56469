//! How known_hosts names hosts: patterns, ports, hashes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};

use super::known_hosts::decode;

/// Whom a line is about.
#[derive(Clone, Debug)]
pub(super) enum Names {
    /// Patterns separated by commas.
    Patterns(String),
    /// `|1|salt|hash`.
    Hashed { salt: Vec<u8>, hash: Vec<u8> },
}

impl Names {
    /// The first word of a line.
    pub(super) fn parse(word: &str) -> Option<Self> {
        let Some(hashed) = word.strip_prefix("|1|") else {
            return Some(Self::Patterns(word.to_lowercase()));
        };
        let (salt, hash) = hashed.split_once('|')?;
        Some(Self::Hashed {
            salt: decode(salt)?,
            hash: decode(hash)?,
        })
    }

    /// Whether a name is among them.
    pub(super) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Hashed { salt, hash } => {
                // HMAC takes a key of any length, so the error cannot happen.
                Hmac::<sha1::Sha1>::new_from_slice(salt)
                    .is_ok_and(|mac| mac.chain_update(name).verify_slice(hash).is_ok())
            }
            Self::Patterns(patterns) => {
                let mut found = false;
                for pattern in patterns.split(',').filter(|pattern| !pattern.is_empty()) {
                    if let Some(pattern) = pattern.strip_prefix('!') {
                        if glob(pattern.as_bytes(), name.as_bytes()) {
                            return false;
                        }
                    } else {
                        found |= glob(pattern.as_bytes(), name.as_bytes());
                    }
                }
                found
            }
        }
    }
}

/// The names under which known_hosts lists a host: the alias alone, else the host with its port, and after that the host
/// without, whose keys are those of another port.
pub(super) fn names(host: &str, port: u16, alias: Option<&str>) -> Vec<String> {
    if let Some(alias) = alias {
        return vec![alias.to_lowercase()];
    }
    let host = host.to_lowercase();
    if port == 22 {
        return vec![host];
    }
    vec![format!("[{host}]:{port}"), host]
}

/// A name as `HashKnownHosts yes` has it written: `|1|SALT|HASH`.
///
/// Source: openssh-portable hostfile.c (`host_hash`): HMAC-SHA1 with a random key as long as the hash.
pub(super) fn hashed(name: &str) -> std::io::Result<String> {
    let mut salt = [0_u8; 20];
    getrandom::fill(&mut salt).map_err(std::io::Error::other)?;
    let mac = Hmac::<sha1::Sha1>::new_from_slice(&salt).map_err(std::io::Error::other)?;
    let hash = mac.chain_update(name).finalize().into_bytes();
    Ok(format!(
        "|1|{}|{}",
        STANDARD.encode(salt),
        STANDARD.encode(hash)
    ))
}

/// `*` and `?` as in a shell; linear in both lengths' product, whatever the pattern.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    p = at + 1;
                    t = from + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The name alone can be asked for, and two lines of one host do not look alike.
    #[test]
    fn a_hashed_name_is_found_by_its_name_alone() {
        let (one, other) = (hashed("[pi]:2222").unwrap(), hashed("[pi]:2222").unwrap());
        assert_ne!(one, other);
        assert!(!one.contains("pi]"), "{one}");
        let names = Names::parse(&one).unwrap();
        assert!(names.matches("[pi]:2222") && !names.matches("pi"));
    }
}
