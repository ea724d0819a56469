//! k3s tokens in their full form, which pins the cluster's CA.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use crate::failure::{Code, Failure, Result};
use crate::secret::{Secret, hex};

/// The full agent token from the body of a server's `/cacerts`: agents that join with it cannot be led to another cluster.
pub fn agent_token(cacerts: &str, password: &Secret) -> Result<Secret> {
    let hash = ca_hash(cacerts)?;
    Ok(Secret::new(format!(
        "K10{hash}::node:{}",
        password.expose()
    )))
}

/// The password in a token, in its full form (`K10HASH::USER:PASSWORD`) or alone. One that a person chose may hold colons.
///
/// Source: k3s@af977adf pkg/clientaccess/token.go, `parseToken`: what does not begin with `K10` is a password as it is.
pub fn password(token: &str) -> &str {
    let token = token.trim();
    let Some(rest) = token.strip_prefix("K10") else {
        return token;
    };
    let login = rest.split_once("::").map_or(rest, |(_, login)| login);
    login.split_once(':').map_or("", |(_, password)| password)
}

/// The password of the server token that a server's config.yaml names.
pub fn configured_token(config: &str) -> Option<Secret> {
    let config: serde_json::Value = serde_saphyr::from_str(config).ok()?;
    Some(Secret::new(password(config["token"].as_str()?)))
}

/// The hash that k3s compares: of the root's DER where the first certificate has one among the others, else of all bytes.
///
/// Source: k3s@af977adf pkg/clientaccess/token.go, `hashCA`. It also verifies the chain; here names alone lead to the root.
fn ca_hash(cacerts: &str) -> Result<String> {
    let broken = |why: &str| {
        Failure::new(
            Code::Kubernetes,
            "the first server's CA certificate is unreadable",
        )
        .because(why)
    };
    let certificates: Vec<&str> = cacerts
        .split("-----BEGIN CERTIFICATE-----")
        .skip(1)
        .filter_map(|rest| rest.split("-----END CERTIFICATE-----").next())
        .collect();
    if certificates.is_empty() {
        return Err(broken("/cacerts holds no certificate"));
    }
    let ders = certificates.iter().map(|text| {
        let compact: String = text.split_whitespace().collect();
        STANDARD.decode(compact)
    });
    let ders: Result<Vec<Vec<u8>>, _> = ders.collect();
    let ders = ders.map_err(|_| broken("a certificate in it is not PEM"))?;
    let hashed = root(&ders).unwrap_or(cacerts.as_bytes());
    Ok(hex(&Sha256::digest(hashed)))
}

/// The self-issued certificate that the first one leads to; `None` where there is no other, or no way to one.
fn root(certificates: &[Vec<u8>]) -> Option<&[u8]> {
    let (first, others) = certificates.split_first()?;
    let (mut issuer, _) = names(first)?;
    // No way is longer than there are certificates.
    for _ in others {
        let of_name = |other: &&Vec<u8>| names(other).is_some_and(|(_, subject)| subject == issuer);
        let next = others.iter().find(of_name)?;
        let (above, subject) = names(next)?;
        if above == subject {
            return Some(next);
        }
        issuer = above;
    }
    None
}

/// Issuer and subject of a certificate, as they are encoded.
///
/// Source: RFC 5280, 4.1 (`TBSCertificate`).
fn names(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, certificate, _) = tlv(der)?;
    let (_, mut rest, _) = tlv(certificate)?;
    let mut fields = Vec::new();
    while let (Some((tag, _, after)), true) = (tlv(rest), fields.len() < 6) {
        // The version is the only field with its own tag among the first ones, and may be missing.
        if tag != 0xa0 {
            fields.push(rest.get(..rest.len() - after.len())?);
        }
        rest = after;
    }
    // Serial number, algorithm, issuer, validity, subject.
    Some((*fields.get(2)?, *fields.get(4)?))
}

/// One element of DER: its tag, its content, and what follows it.
fn tlv(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81..=0x83 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            let length = bytes
                .iter()
                .fold(0, |length, byte| (length << 8) | usize::from(*byte));
            (length, rest)
        }
        _ => return None,
    };
    let (content, after) = rest.split_at_checked(length)?;
    Some((*tag, content, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "-----BEGIN CERTIFICATE-----\nYWJj\n-----END CERTIFICATE-----\n";

    #[test]
    fn one_certificate_is_hashed_as_text() {
        let token = agent_token(ONE, &Secret::new("pw")).unwrap();
        let expected = format!("K10{}::node:pw", hex(&Sha256::digest(ONE.as_bytes())));
        assert_eq!(token.expose(), expected);
    }

    fn der(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82, length[0], length[1]], content].concat()
    }

    /// A certificate as far as its names.
    fn certificate(issuer: &str, subject: &str) -> Vec<u8> {
        let name = |name: &str| der(0x30, name.as_bytes());
        let fields = [
            der(0xa0, &[2, 1, 2]),
            der(2, &[1]),
            der(0x30, b"algorithm"),
            name(issuer),
            der(0x30, b"validity"),
            name(subject),
            der(0x30, b"key"),
        ];
        let body = [der(0x30, &fields.concat()), der(0x30, b"algorithm")];
        der(0x30, &body.concat())
    }

    fn pem(certificates: &[&Vec<u8>]) -> String {
        let one = |der: &&Vec<u8>| {
            let text = STANDARD.encode(der);
            format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
        };
        certificates.iter().map(one).collect()
    }

    /// The last one was taken for the root, wherever that stood.
    #[test]
    fn a_chain_is_hashed_by_its_root_wherever_that_stands() {
        let (ca, middle, root) = (
            certificate("middle", "ca"),
            certificate("root", "middle"),
            certificate("root", "root"),
        );
        let stranger = certificate("old", "old");
        let wanted = hex(&Sha256::digest(&root));
        for bundle in [
            pem(&[&ca, &middle, &root]),
            pem(&[&ca, &root, &middle]),
            pem(&[&ca, &root, &middle, &stranger]),
        ] {
            assert_eq!(ca_hash(&bundle).unwrap(), wanted, "{bundle}");
        }
        // Without a root k3s hashes the file.
        for bundle in [pem(&[&ca, &middle]), pem(&[&root, &stranger])] {
            let wanted = hex(&Sha256::digest(bundle.as_bytes()));
            assert_eq!(ca_hash(&bundle).unwrap(), wanted, "{bundle}");
        }
    }

    /// `secret:with:colons` was cut at the last one, and its server held "another token".
    #[test]
    fn a_password_may_hold_colons() {
        for (token, wanted) in [
            ("K10ab12::server:a:b::c\n", "a:b::c"),
            ("K10::node:a", "a"),
            ("a:b", "a:b"),
            ("alone", "alone"),
            ("K10ab12", ""),
            ("", ""),
        ] {
            assert_eq!(password(token), wanted, "{token}");
        }
    }

    use proptest::prelude::*;
    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        /// Whatever is no certificate: no panic.
        #[test]
        fn any_bytes_are_taken_apart(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = names(&bytes);
            let _ = root(&[bytes.clone(), bytes]);
        }
    }

    #[test]
    fn an_empty_answer_is_no_token() {
        assert!(agent_token("", &Secret::new("pw")).is_err());
    }
}
