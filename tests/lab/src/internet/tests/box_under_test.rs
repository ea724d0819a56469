//! A box on loopback with small files to serve, and an HTTPS client that trusts its authority.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::{HOST, HeaderMap};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::certificates::Authority;
use crate::serve::{Network, Options, Running, start};
use crate::{images, names};

/// What `k3s` is in these tests: more than one chunk, all bytes different from their neighbours.
pub(super) fn k3s() -> Vec<u8> {
    (0..600_000_u32)
        .map(|n| n.to_le_bytes()[usize::from(n % 3 == 0)])
        .collect()
}

pub(super) struct TestBox {
    pub(super) dir: TempDir,
    pub(super) running: Running,
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(super) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

pub(super) fn files(dir: &Path) -> Result<Options> {
    let bin = dir.join("bin");
    fs::create_dir_all(&bin)?;
    fs::write(bin.join("k3s"), k3s())?;
    for name in [
        "pause",
        "coredns",
        "metrics-server",
        "klipper-helm",
        "helm",
        "cluster-autoscaler",
    ] {
        fs::write(bin.join(name), format!("the program {name}"))?;
    }
    fs::write(dir.join("slicer"), "the slicer stand-in")?;
    let root = dir.join("root");
    fs::create_dir_all(root.join("bin"))?;
    fs::create_dir_all(root.join("etc/ssl/certs"))?;
    fs::write(
        root.join("etc/ssl/certs/ca-certificates.crt"),
        "certificates",
    )?;
    fs::write(
        root.join("bin/busybox"),
        "#!/bin/sh\nprintf '%s\\n' ls sh busybox\n",
    )?;
    fs::set_permissions(root.join("bin/busybox"), fs::Permissions::from_mode(0o755))?;
    let chart = dir.join("chart");
    fs::create_dir_all(chart.join("templates"))?;
    fs::write(
        chart.join("Chart.yaml"),
        "apiVersion: v2\nname: cluster-autoscaler\nversion: 9.52.1\nappVersion: 1.34.1\n",
    )?;
    fs::write(
        chart.join("templates/deployment.yaml"),
        "kind: Deployment\n",
    )?;
    Authority::ensure(&dir.join("ca"))?;
    images::run(&images::Options {
        bin_dir: bin.clone(),
        root,
        out: dir.join("images"),
    })?;
    Ok(Options {
        state: dir.join("state"),
        ca_dir: dir.join("ca"),
        bin_dir: bin,
        images: dir.join("images"),
        chart,
        slicer: dir.join("slicer"),
        extra_images: None,
        extra_charts: None,
    })
}

impl TestBox {
    pub(super) async fn start() -> Result<Self> {
        Self::start_with(|_, _| Ok(())).await
    }

    /// Starts after `change` had a hand in the files and options.
    pub(super) async fn start_with(
        change: impl FnOnce(&Path, &mut Options) -> Result<()>,
    ) -> Result<Self> {
        let dir = TempDir::new()?;
        let mut options = files(dir.path())?;
        change(dir.path(), &mut options)?;
        let network = Network {
            dns: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
            first: Ipv4Addr::new(127, 203, 113, 1),
            https: 0,
            http: 0,
        };
        let running = start(options, &network).await?;
        Ok(Self { dir, running })
    }

    pub(super) fn address(&self, host: &str) -> Result<(SocketAddr, SocketAddr)> {
        let index = names::find(host).context("not a name of the box")?;
        Ok(self.running.names[index])
    }

    pub(super) fn break_name(&self, host: &str, mode: &str) -> Result<()> {
        let file = self
            .dir
            .path()
            .join(format!("state/faults/name-{host}.json"));
        Ok(fs::write(file, format!("{{\"mode\": \"{mode}\"}}"))?)
    }

    pub(super) fn mend(&self, host: &str) -> Result<()> {
        Ok(fs::remove_file(
            self.dir
                .path()
                .join(format!("state/faults/name-{host}.json")),
        )?)
    }

    pub(super) fn log(&self) -> Result<String> {
        Ok(fs::read_to_string(
            self.dir.path().join("state/access.log"),
        )?)
    }

    pub(super) async fn get(&self, host: &str, path: &str) -> Result<Answer> {
        self.ask("GET", host, path, &[]).await
    }

    /// What arrives of a body, and whether it ended as promised.
    pub(super) async fn read(&self, host: &str, path: &str) -> Result<(Vec<u8>, bool)> {
        let mut body = self.request("GET", host, path, &[]).await?.into_body();
        let mut got = Vec::new();
        while let Some(frame) = body.frame().await {
            match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(data)) => got.extend_from_slice(&data),
                Ok(Err(_)) => {}
                Err(_) => return Ok((got, false)),
            }
        }
        Ok((got, true))
    }

    pub(super) async fn ask(
        &self,
        method: &str,
        host: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Answer> {
        let response = self.request(method, host, path, headers).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.into_body().collect().await?.to_bytes();
        Ok(Answer {
            status,
            headers,
            body,
        })
    }

    async fn request(
        &self,
        method: &str,
        host: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Result<Response<Incoming>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(
            self.dir.path().join("ca/ca.pem"),
        )?)?;
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let stream = TcpStream::connect(self.address(host)?.0).await?;
        let name = ServerName::try_from(host.to_owned())?;
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await?;
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, host);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::<Bytes>::new())?;
        Ok(sender.send_request(request).await?)
    }
}
