//! Each operation against the statuses and shapes that the public `OpenAPI` document gives it.

mod agent;
mod background;
mod broken;
mod copies;
mod door;
mod gone;
mod life;
mod secrets;

use std::{path::Path, sync::Arc, time::Duration};

use http_body_util::BodyExt;
use hyper::Method;
use serde_json::Value;
use tokio::{net::TcpListener, sync::oneshot};

use super::{App, serve};
use crate::{
    cli::client::{Client, Place, full},
    daemon::{fleet::Fleet, settings::Settings, up::Listener},
    host::{Places, variant::Variant},
    machine::pretend::Pretend,
};

const YAML: &str = "
config:
  host_groups:
  - name: cp
    storage: image
    storage_size: 25G
    count: 1
    vcpu: 2
    ram_gb: 4
    network: {bridge: brcp0, tap_prefix: cp, gateway: 192.168.137.1/24}
  - name: w
    storage: image
    storage_size: 25G
    count: 0
    vcpu: 2
    ram_gb: 4
    network: {bridge: brw0, tap_prefix: w, gateway: 192.168.138.1/24}
  image: ghcr.io/openfaasltd/slicer-systemd:6.1.90-x86_64-latest
  api: {port: 8081, bind_address: 127.0.0.1}
";

/// A daemon with pretended machines.
struct Daemon {
    fleet: Arc<Fleet>,
    machines: Arc<Pretend>,
    place: Place,
    client: Client,
    app: App,
    _stop: oneshot::Sender<()>,
    directory: Arc<tempfile::TempDir>,
}

async fn daemon() -> Daemon {
    daemon_with(Variant::default()).await
}

async fn daemon_with(variant: Variant) -> Daemon {
    daemon_in(Arc::new(tempfile::tempdir().unwrap()), variant).await
}

async fn daemon_in(directory: Arc<tempfile::TempDir>, variant: Variant) -> Daemon {
    let places = Places::under(directory.path());
    for path in [&places.work, &places.log, &places.lab.join("faults")] {
        std::fs::create_dir_all(path).unwrap();
    }
    let machines = Arc::new(Pretend::default());
    let settings = Settings::parse(YAML, Path::new(".")).unwrap();
    let fleet =
        Arc::new(Fleet::new(settings, places, variant, "x86_64".into(), machines.clone()).unwrap());
    fleet.start().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let place = Place::Tcp(listener.local_addr().unwrap().to_string());
    let (stop, stopped) = oneshot::channel();
    let app = App::new(fleet.clone(), Some("sesame".into()));
    tokio::spawn(serve::run(Listener::Tcp(listener), app.clone(), stopped));
    let client = Client::new(place.clone(), String::new(), Some("sesame".into()));
    let daemon = Daemon {
        fleet,
        machines,
        place,
        client,
        app,
        _stop: stop,
        directory,
    };
    daemon
        .until(async || daemon.client.get("/vm/cp-1/health").await.is_ok())
        .await;
    daemon
}

impl Daemon {
    /// The status and the JSON (or text, or null) of a call.
    async fn call(&self, method: Method, path: &str, body: &str) -> (u16, Value) {
        raw(&self.client, method, path, body).await
    }

    async fn get(&self, path: &str) -> (u16, Value) {
        self.call(Method::GET, path, "").await
    }

    async fn post(&self, path: &str, body: &str) -> (u16, Value) {
        self.call(Method::POST, path, body).await
    }

    async fn delete(&self, path: &str) -> (u16, Value) {
        self.call(Method::DELETE, path, "").await
    }

    fn anonymous(&self) -> Client {
        Client::new(self.place.clone(), String::new(), None)
    }

    /// Waits for something, at most five seconds.
    async fn until(&self, mut holds: impl AsyncFnMut() -> bool) {
        for _ in 0..500 {
            if holds().await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("waited in vain");
    }
}

/// The status and body of a call, whatever the status.
async fn raw(client: &Client, method: Method, path: &str, body: &str) -> (u16, Value) {
    let response = client
        .ask(method, path, full(body.to_owned()))
        .await
        .unwrap();
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8_lossy(&bytes).into_owned();
    (
        status,
        serde_json::from_slice(&bytes).unwrap_or(Value::String(text)),
    )
}

/// An error has a status and a JSON object with `error`.
#[track_caller]
fn refused((status, body): (u16, Value), wanted: u16) {
    assert_eq!(status, wanted, "{body}");
    assert!(
        body["error"].as_str().is_some_and(|text| !text.is_empty()),
        "{body}"
    );
}
