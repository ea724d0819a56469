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

/// The password in a token, in its full form or alone.
pub fn password(token: &str) -> &str {
    token.trim().rsplit(':').next().unwrap_or_default()
}

/// The password of the server token that a server's config.yaml names.
pub fn configured_token(config: &str) -> Option<Secret> {
    let config: serde_json::Value = serde_saphyr::from_str(config).ok()?;
    Some(Secret::new(password(config["token"].as_str()?)))
}

/// The hash that k3s compares: of the PEM's bytes where there is one certificate, of the root's DER in a chain.
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
    match certificates.as_slice() {
        [] => Err(broken("/cacerts holds no certificate")),
        [_] => Ok(hex(&Sha256::digest(cacerts.as_bytes()))),
        [.., root] => {
            let compact: String = root.split_whitespace().collect();
            let der = STANDARD
                .decode(compact)
                .map_err(|_| broken("the root certificate is not PEM"))?;
            Ok(hex(&Sha256::digest(der)))
        }
    }
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

    #[test]
    fn a_chain_is_hashed_by_its_root() {
        let chain = format!("-----BEGIN CERTIFICATE-----\nWFla\n-----END CERTIFICATE-----\n{ONE}");
        assert_eq!(ca_hash(&chain).unwrap(), hex(&Sha256::digest(b"abc")));
    }

    #[test]
    fn an_empty_answer_is_no_token() {
        assert!(agent_token("", &Secret::new("pw")).is_err());
    }
}
