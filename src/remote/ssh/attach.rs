//! A command on this process's own terminal or pipes.

use std::io::IsTerminal as _;

use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelWriteHalf};
use tokio::io::AsyncWriteExt as _;
use tokio::signal::unix::{SignalKind, signal};

use super::exec::{Broken, Closing, ended};
use crate::remote::Input;
use crate::remote::console::{Keyboard, size};
use crate::terminal::Modes;

/// Runs `command`, with a terminal at the other end if `tty`; its exit status.
pub(super) async fn run(
    channel: Channel<Msg>,
    command: &str,
    input: Input,
    tty: bool,
) -> Result<i32, Broken> {
    let (mut read, write) = channel.split();
    let write = Closing(Some(write));
    let writer = write.half().ok_or(Broken::Lost)?;
    if tty {
        let term = std::env::var("TERM").unwrap_or_else(|_| "dumb".to_owned());
        let (columns, rows) = size();
        writer
            .request_pty(false, &term, columns, rows, 0, 0, &[])
            .await
            .map_err(|_| Broken::Lost)?;
    }
    writer.exec(true, command).await.map_err(|_| Broken::Lost)?;
    // Raw only where the far terminal does what ours then no longer does: echo, line editing, Ctrl-C.
    let _raw = (tty && std::io::stdin().is_terminal()).then(Modes::raw);
    let feed = feed(writer, input);
    let resize = resize(writer, tty);
    tokio::pin!(feed, resize);
    let (mut out, mut err) = (tokio::io::stdout(), tokio::io::stderr());
    let mut status = None;
    loop {
        let message = tokio::select! {
            message = read.wait() => message,
            () = &mut feed => continue,
            () = &mut resize => continue,
        };
        // Nobody reads our output any more (`| head`): the command need not go on.
        let shown = match message {
            Some(ChannelMsg::Data { data }) => show(&mut out, &data).await,
            Some(ChannelMsg::ExtendedData { data, ext: 1 }) => show(&mut err, &data).await,
            Some(ChannelMsg::Failure) => return Err(Broken::Refused),
            Some(ChannelMsg::Close) | None => break,
            Some(other) => {
                status = ended(&other).or(status);
                Ok(())
            }
        };
        if shown.is_err() {
            return Ok(128 + 13);
        }
    }
    status.ok_or(Broken::Lost)
}

async fn show(to: &mut (impl tokio::io::AsyncWrite + Unpin), data: &[u8]) -> std::io::Result<()> {
    to.write_all(data).await?;
    to.flush().await
}

/// Sends the input, then its end; never returns, so that the loop goes on listening.
async fn feed(writer: &ChannelWriteHalf<Msg>, input: Input) {
    let (first, own, held) = match input {
        Input::Bytes(bytes) => (bytes, false, false),
        Input::Own(first) => (first, true, false),
        Input::Held(first) => (first, false, true),
    };
    let mut sent = writer.data_bytes(first).await;
    if held {
        return std::future::pending().await;
    }
    if own {
        let mut keyboard = Keyboard::open();
        while sent.is_ok()
            && let Some(bytes) = keyboard.next().await
        {
            sent = writer.data_bytes(bytes).await;
        }
    }
    let _ = writer.eof().await;
    std::future::pending::<()>().await;
}

/// Tells the far terminal our size whenever it changes.
async fn resize(writer: &ChannelWriteHalf<Msg>, tty: bool) {
    if let (true, Ok(mut changes)) = (tty, signal(SignalKind::window_change())) {
        while changes.recv().await.is_some() {
            let (columns, rows) = size();
            if writer.window_change(columns, rows, 0, 0).await.is_err() {
                break;
            }
        }
    }
    std::future::pending::<()>().await;
}
