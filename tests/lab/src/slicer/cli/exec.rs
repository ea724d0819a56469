//! `slicer vm exec`: what the command says and its exit code come through as they are.

use std::io::{IsTerminal, Read};

use anyhow::{Context, Result, bail, ensure};
use axum::body::Bytes;
use base64::{Engine, engine::general_purpose::STANDARD};
use http_body_util::BodyExt;
use hyper::Method;
use serde_json::Value;

use super::{
    args::ExecArgs,
    client::{Client, escape, fed, full, query},
};
use crate::say;

/// Runs a command in a VM; gives its exit code.
pub(crate) async fn run(client: &Client, order: ExecArgs) -> Result<u8> {
    ensure!(
        !order.command.is_empty(),
        "no command given: `slicer vm shell` is for interactive use"
    );
    let piped = !std::io::stdin().is_terminal();
    let mut pairs = vec![("stdio", "base64".to_owned()), ("stdin", piped.to_string())];
    if order.shell.is_empty() {
        let mut words = order.command.iter();
        pairs.extend(words.next().map(|word| ("cmd", word.clone())));
        pairs.extend(words.map(|word| ("args", word.clone())));
    } else {
        pairs.push(("cmd", order.command.join(" ")));
        pairs.push(("shell", order.shell));
    }
    pairs.extend(order.uid.map(|uid| ("uid", uid.to_string())));
    pairs.extend(order.gid.map(|gid| ("gid", gid.to_string())));
    pairs.extend(order.cwd.map(|cwd| ("cwd", cwd)));
    pairs.extend(order.env.into_iter().map(|pair| ("env", pair)));
    let path = format!("/vm/{}/exec{}", escape(&order.vm), query(pairs));
    let body = if piped { stdin_body() } else { full("") };
    let response = client.send(Method::POST, &path, body).await?;
    let mut body = response.into_body();
    let mut kept = Vec::new();
    let mut code = None;
    while let Some(frame) = body.frame().await {
        let Ok(bytes) = frame
            .context("the connection broke before the command ended")?
            .into_data()
        else {
            continue;
        };
        kept.extend_from_slice(&bytes);
        while let Some(end) = kept.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = kept.drain(..=end).collect();
            code = frame_of(&line)?.or(code);
        }
    }
    if !kept.is_empty() {
        code = frame_of(&kept)?.or(code);
    }
    let Some(code) = code else {
        bail!("the connection broke before the command ended")
    };
    Ok(u8::try_from(code).unwrap_or(1))
}

/// Prints a frame; gives the exit code when it is the last.
fn frame_of(line: &[u8]) -> Result<Option<i64>> {
    let frame: Value =
        serde_json::from_slice(line).context("the daemon sent a frame that is not JSON")?;
    let kind = frame["type"].as_str();
    let base64 = frame["encoding"] == "base64";
    let decode = |key: &str| -> Result<Vec<u8>> {
        let text = frame[key].as_str().unwrap_or_default();
        if base64 {
            Ok(STANDARD.decode(text)?)
        } else {
            Ok(text.as_bytes().to_vec())
        }
    };
    match kind {
        Some("stdout") => say::raw(&decode("data")?),
        Some("stderr") => say::raw_error(&decode("data")?),
        None => {
            say::raw(&decode("stdout")?);
            say::raw_error(&decode("stderr")?);
        }
        _ => {}
    }
    // Untyped frames of old agents all carry a code: the last one counts.
    Ok(if matches!(kind, None | Some("exit")) {
        frame["exit_code"].as_i64()
    } else {
        None
    })
}

/// Standard input, read by a thread that nobody waits for: an open terminal must not hold the command's end.
fn stdin_body() -> super::client::Body {
    let (sender, body) = fed();
    std::thread::spawn(move || {
        let mut buffer = vec![0_u8; 16 << 10];
        let mut stdin = std::io::stdin().lock();
        while let Ok(read @ 1..) = stdin.read(&mut buffer) {
            if sender
                .blocking_send(Bytes::copy_from_slice(&buffer[..read]))
                .is_err()
            {
                return;
            }
        }
    });
    body
}
