//! Clients that go away in the middle, and answers that come before the end of a request.

use std::path::{Path, PathBuf};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::*;

/// A connection of its own, on which a request can be sent in parts.
async fn connect(daemon: &Daemon) -> TcpStream {
    let Place::Tcp(address) = &daemon.place else {
        panic!("no TCP")
    };
    TcpStream::connect(address).await.unwrap()
}

fn head(path: &str, more: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer sesame\r\n{more}\r\n\r\n")
}

/// The next answer on a connection: its head, in lower case, and its body.
async fn answer(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> (String, String) {
    let mut text = Vec::new();
    while !text.ends_with(b"\r\n\r\n") {
        text.push(stream.read_u8().await.unwrap());
    }
    let text = String::from_utf8(text).unwrap().to_lowercase();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let mut body = vec![0; length.unwrap().parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    (text, String::from_utf8(body).unwrap())
}

fn alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.contains(") Z "))
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

/// What a client that broke off has sent is no file, neither under the name nor beside it.
#[tokio::test]
async fn a_copy_that_breaks_off_leaves_the_old_file() {
    let daemon = daemon().await;
    let directory = daemon.directory.path().join("files");
    std::fs::create_dir(&directory).unwrap();
    let file = directory.join("cut");
    for (form, part) in [
        ("content-length: 100000", "x".repeat(300)),
        (
            "transfer-encoding: chunked",
            format!("12c\r\n{}\r\n", "x".repeat(300)),
        ),
    ] {
        std::fs::write(&file, "whole").unwrap();
        let path = format!("/vm/cp-1/cp?path={}&mode=binary", file.display());
        let mut stream = connect(&daemon).await;
        stream
            .write_all(head(&path, form).as_bytes())
            .await
            .unwrap();
        stream.write_all(part.as_bytes()).await.unwrap();
        let begun =
            |path: &PathBuf| path != &file && std::fs::read(path).is_ok_and(|b| b.len() == 300);
        daemon
            .until(async || files(&directory).iter().any(begun))
            .await;
        drop(stream);
        daemon.until(async || files(&directory).len() == 1).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "whole", "{form}");
    }
}

/// A command in the foreground ends with its client, whether its output is streamed or collected.
#[tokio::test]
async fn a_command_ends_with_its_client() {
    let daemon = daemon().await;
    for buffered in [false, true] {
        let file = daemon.directory.path().join(format!("pid-{buffered}"));
        let script = format!(
            "echo $$ > {0}.new; mv {0}.new {0}; sleep 7000; true",
            file.display()
        );
        let script = crate::cli::client::escape(&script);
        let path = format!("/vm/cp-1/exec?cmd=sh&args=-c&args={script}&buffered={buffered}");
        let mut stream = connect(&daemon).await;
        stream
            .write_all(head(&path, "content-length: 0").as_bytes())
            .await
            .unwrap();
        daemon.until(async || file.exists()).await;
        let pid = std::fs::read_to_string(&file).unwrap();
        assert!(alive(pid.trim()));
        drop(stream);
        daemon.until(async || !alive(pid.trim())).await;
    }
}

/// A command whose standard input breaks does not take that for its end.
#[tokio::test]
async fn a_command_is_not_given_half_its_input() {
    let daemon = daemon().await;
    let (got, done) = (
        daemon.directory.path().join("got"),
        daemon.directory.path().join("done"),
    );
    let script = format!("cat > {}; touch {}", got.display(), done.display());
    let script = crate::cli::client::escape(&script);
    let path = format!("/vm/cp-1/exec?cmd=sh&args=-c&args={script}&stdin=true");
    let mut stream = connect(&daemon).await;
    stream
        .write_all(head(&path, "content-length: 100000").as_bytes())
        .await
        .unwrap();
    stream.write_all(b"half").await.unwrap();
    daemon
        .until(async || std::fs::read(&got).is_ok_and(|bytes| bytes == b"half"))
        .await;
    drop(stream);
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!done.exists());
}

/// A refusal that came before the end of the body leaves the connection to the next request.
#[tokio::test]
async fn a_connection_outlives_an_early_refusal() {
    let daemon = daemon().await;
    let file = daemon.directory.path().join("sent");
    let body = "x".repeat(200_000);
    let length = format!("content-length: {}", body.len());
    let path = format!("/vm/cp-1/cp?path={}&mode=", file.display());
    let mut stream = connect(&daemon).await;
    for (mode, status) in [("cp-v1-binary", "400"), ("binary", "200"), ("none", "400")] {
        let head = head(&format!("{path}{mode}"), &length);
        stream.write_all(head.as_bytes()).await.unwrap();
        // The answer may be there before the body is sent.
        tokio::time::sleep(Duration::from_millis(20)).await;
        stream.write_all(body.as_bytes()).await.unwrap();
        let (head, text) = answer(&mut stream).await;
        assert!(head.starts_with(&format!("http/1.1 {status}")), "{head}");
        assert!(!head.contains("connection: close"), "{head}");
        assert_eq!(text.contains("invalid mode"), status == "400", "{text}");
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), body);
}

/// More than the server reads in vain: the answer says that the connection ends, and is not lost.
#[tokio::test]
async fn a_refusal_of_a_large_body_arrives() {
    let daemon = daemon().await;
    for _ in 0..20 {
        let (mut reader, mut writer) = connect(&daemon).await.into_split();
        let sending = tokio::spawn(async move {
            let head = head(
                "/vm/cp-1/cp?path=/a&mode=cp-v1-binary",
                "content-length: 2000000",
            );
            let _ = writer.write_all(head.as_bytes()).await;
            let _ = writer.write_all(&vec![b'x'; 2_000_000]).await;
        });
        let (head, text) = answer(&mut reader).await;
        assert!(head.contains("connection: close"), "{head}");
        assert!(text.contains("invalid mode: cp-v1-binary"), "{text}");
        assert_eq!(reader.read(&mut [0]).await.unwrap(), 0);
        sending.await.unwrap();
    }
}

/// What the framework refuses is JSON, as every error of the API.
#[tokio::test]
async fn every_refusal_is_json() {
    let daemon = daemon().await;
    let large = json!({"name": "a", "data": "x".repeat(3 << 20)}).to_string();
    refused(daemon.post("/secrets", &large).await, 413);
    refused(daemon.get("/vm/%ff").await, 400);
}

/// No command, variable or path can hold a NUL: that is the client's mistake.
#[tokio::test]
async fn a_nul_is_refused() {
    let daemon = daemon().await;
    for path in [
        "/vm/cp-1/exec?cmd=a%00b",
        "/vm/cp-1/exec?cmd=echo&args=%00",
        "/vm/cp-1/exec?cmd=env&env=A=%00&background=true",
        "/vm/cp-1/exec?cmd=pwd&cwd=/%00",
        "/vm/cp-1/cp?path=/tmp/%00",
    ] {
        refused(daemon.post(path, "").await, 400);
    }
    refused(daemon.get("/vm/cp-1/cp?path=/%00").await, 400);
    refused(daemon.get("/vm/cp-1/fs/stat?path=/%00").await, 400);
    let body = json!({"path": "/tmp/a\0b"}).to_string();
    refused(daemon.post("/vm/cp-1/fs/mkdir", &body).await, 400);
    refused(daemon.get("/vm/%00").await, 404);
}

/// A list is no object, and what this stand-in cannot do is not dropped silently.
#[tokio::test]
async fn bodies_are_what_the_document_says() {
    let daemon = daemon().await;
    let path = "/hostgroup/w/nodes";
    for body in [
        "[]",
        r#"{"tags":null}"#,
        r#"{"protected":true}"#,
        r#"{"hostname":"x"}"#,
        r#"{"disk_image":"x"}"#,
        r#"{"pci_devices":["0"]}"#,
        r#"{"network":{}}"#,
    ] {
        refused(daemon.post(path, body).await, 400);
    }
    assert_eq!(daemon.get(path).await.1, json!([]));
    daemon
        .post("/secrets", r#"{"name":"a","data":"YQ=="}"#)
        .await;
    let null = r#"{"data":null}"#;
    refused(daemon.call(Method::PATCH, "/secrets/a", null).await, 400);
    refused(daemon.call(Method::PATCH, "/vm/cp-1/tags", "[]").await, 400);
}
