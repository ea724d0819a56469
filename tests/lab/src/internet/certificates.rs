//! The lab's certificate authority, and one certificate a name.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// The authority that every machine of the lab trusts.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// Reads the authority of `dir`, after making it if it is not there.
    pub(crate) fn ensure(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        // The certificate is written last: where it is, the key is complete.
        if !dir.join("ca.pem").exists() {
            make(dir).with_context(|| format!("cannot make the CA in {}", dir.display()))?;
        }
        Self::read(dir)
    }

    /// Reads the authority of `dir`.
    pub(crate) fn read(dir: &Path) -> Result<Self> {
        let read = |file: &str| {
            fs::read_to_string(dir.join(file)).with_context(|| {
                format!(
                    "no {file} in {0}: run `internet ca --dir {0}` first",
                    dir.display()
                )
            })
        };
        let key = KeyPair::from_pem(&read("ca.key")?).context("ca.key is no private key")?;
        let issuer = Issuer::from_ca_cert_pem(&read("ca.pem")?, key)
            .context("ca.pem is no certificate of an authority")?;
        Ok(Self { issuer })
    }

    /// TLS settings with a fresh certificate for `host`.
    pub(crate) fn server(&self, host: &str) -> Result<Arc<ServerConfig>> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![host.to_owned()])?;
        params.distinguished_name = called(host);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)?;
        Ok(Arc::new(config))
    }
}

fn make(dir: &Path) -> Result<()> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = called("slicer-k3s lab CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let certificate = params.self_signed(&key)?;
    place(dir, "ca.key", &key.serialize_pem(), 0o600)?;
    place(dir, "ca.pem", &certificate.pem(), 0o644)
}

fn place(dir: &Path, name: &str, text: &str, mode: u32) -> Result<()> {
    let new = dir.join(format!("{name}.new"));
    if new.exists() {
        fs::remove_file(&new)?;
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, dir.join(name))?;
    Ok(())
}

fn called(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}
