//! Copies as tar, and what a path may be.

use http_body_util::Full;
use hyper::{Request, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::json;

use super::*;

/// A request with one more header.
async fn ask(
    daemon: &Daemon,
    method: Method,
    path: &str,
    (name, value): (&str, &str),
    body: Vec<u8>,
) -> (u16, Vec<u8>) {
    let Place::Tcp(address) = &daemon.place else {
        panic!("no TCP")
    };
    let stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "a")
        .header("authorization", "Bearer sesame")
        .header(name, value)
        .body(Full::new(axum::body::Bytes::from(body)))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, bytes.to_vec())
}

fn names(archive: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().path().unwrap().display().to_string())
        .collect();
    names.sort();
    names
}

/// The type of the content chooses tar where no mode does, and names are relative to the directory, both ways.
#[tokio::test]
async fn a_directory_goes_in_and_out_as_tar() {
    let daemon = daemon().await;
    let base = daemon.directory.path().join("tree");
    let mut builder = tar::Builder::new(Vec::new());
    for name in ["a", "sub/b", "-c"] {
        let mut header = tar::Header::new_gnu();
        header.set_size(1);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, &b"x"[..]).unwrap();
    }
    let archive = builder.into_inner().unwrap();
    let me = (
        rustix::process::getuid().as_raw(),
        rustix::process::getgid().as_raw(),
    );
    let path = format!("/vm/cp-1/cp?path={}", base.display());
    let owned = format!("{path}&uid={}&gid={}", me.0, me.1);
    let kind = ("content-type", "application/x-tar");
    assert_eq!(
        ask(&daemon, Method::POST, &owned, kind, archive).await.0,
        200
    );
    assert_eq!(std::fs::read_to_string(base.join("sub/b")).unwrap(), "x");
    let kind = ("accept", "application/x-tar");
    let (status, archive) = ask(&daemon, Method::GET, &path, kind, Vec::new()).await;
    assert_eq!(status, 200);
    assert_eq!(
        names(&archive),
        ["-c", "a", "sub/", "sub/b"].map(str::to_owned)
    );
    // `mode` says more than a header; both types leave it a file.
    let both = ("accept", "application/octet-stream, application/x-tar");
    assert_eq!(
        ask(&daemon, Method::GET, &path, both, Vec::new()).await.0,
        400
    );
    let file = format!("{path}/a&mode=tar");
    let (_, archive) = ask(&daemon, Method::GET, &file, both, Vec::new()).await;
    assert_eq!(names(&archive), ["a"]);
    std::fs::create_dir(base.join("empty")).unwrap();
    let empty = format!("{path}/empty&mode=tar");
    let (status, archive) = ask(&daemon, Method::GET, &empty, both, Vec::new()).await;
    assert_eq!((status, names(&archive).len()), (200, 0));
}

/// The words by which Slicer's SDK knows that it has to ask for tar.
#[tokio::test]
async fn a_directory_is_no_file() {
    let daemon = daemon().await;
    let (status, error) = daemon.get("/vm/cp-1/cp?path=/tmp&mode=binary").await;
    let text = error["error"].as_str().unwrap();
    assert!(
        status == 400 && text.contains("must specify a file not a directory"),
        "{text}"
    );
}

/// Times of files are seconds by the document, and texts by Slicer's SDKs.
#[tokio::test]
async fn times_of_files_have_two_spellings() {
    let daemon = daemon_with(Variant::one("fs-mtime", "rfc3339")).await;
    let (_, stat) = daemon.get("/vm/cp-1/fs/stat?path=/").await;
    assert!(stat["mtime"].as_str().unwrap().ends_with('Z'));
}

/// A VM says when its agent was last asked; its description says what it is made of.
#[tokio::test]
async fn a_vm_is_described() {
    let daemon = daemon().await;
    assert!(
        daemon.get("/nodes").await.1[0]
            .get("last_agent_call")
            .is_none()
    );
    daemon.post("/vm/cp-1/exec?cmd=true", "").await;
    assert!(daemon.get("/nodes").await.1[0]["last_agent_call"].is_string());
    let (_, vm) = daemon.get("/vm/cp-1").await;
    assert_eq!(vm["storage"], "image");
    assert!(vm["image"].as_str().unwrap().contains("slicer-systemd"));
    assert_eq!(vm["network"]["mode"], "bridge");
    assert_eq!(vm["network"]["effective"], json!({"allow": [], "drop": []}));
}
