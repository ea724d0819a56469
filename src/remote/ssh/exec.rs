//! One command on one channel: stdin in, both outputs and the exit status out, whatever the order they come in.

use std::time::Duration;

use russh::client::Msg;
use russh::{Channel, ChannelMsg, ChannelWriteHalf, Sig};

use crate::remote::{Kept, Output};

/// How a command can fail to run to its end.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// The connection ended first.
    Lost,
    /// The server runs no command for us.
    Refused,
}

/// A command that has ended may have left a child that holds its output open: after so much silence we no longer listen. The
/// same silence is that of a connection that stalls before the last of the output, so it is marked as cut.
const SILENCE: Duration = Duration::from_secs(5);

/// Runs `command`. Dropping the future closes the channel.
pub(super) async fn run(
    channel: Channel<Msg>,
    command: &str,
    stdin: &[u8],
) -> Result<Output, Broken> {
    let (mut read, write) = channel.split();
    let write = Closing(Some(write));
    let writer = write.half().ok_or(Broken::Lost)?;
    writer.exec(true, command).await.map_err(|_| Broken::Lost)?;
    // Fed while we read: a command that answers before it has read everything would block otherwise, and one that does
    // not read at all must not hold us up.
    let feed = async {
        let _ = writer.data_bytes(stdin.to_vec()).await;
        let _ = writer.eof().await;
        std::future::pending::<()>().await;
    };
    tokio::pin!(feed);
    let (mut stdout, mut stderr, mut status) = (Kept::default(), Kept::default(), None);
    let mut whole = false;
    loop {
        let message = tokio::select! {
            message = read.wait() => message,
            () = &mut feed => continue,
            () = tokio::time::sleep(SILENCE), if status.is_some() => break,
        };
        match message {
            Some(ChannelMsg::Data { data }) => stdout.add(&data),
            Some(ChannelMsg::ExtendedData { data, ext: 1 }) => stderr.add(&data),
            Some(ChannelMsg::Failure) => return Err(Broken::Refused),
            Some(ChannelMsg::Eof) => whole = true,
            Some(ChannelMsg::Close) => {
                whole = true;
                break;
            }
            None => break,
            Some(other) => status = ended(&other).or(status),
        }
    }
    let status = status.ok_or(Broken::Lost)?;
    let mut output = Output::of(status, &stdout, &stderr);
    output.cut |= !whole;
    Ok(output)
}

/// The exit status in a message, if it is one; 128 + signal where a signal ended the command, as shells say it.
pub(super) fn ended(message: &ChannelMsg) -> Option<i32> {
    match message {
        ChannelMsg::ExitStatus { exit_status } => Some(i32::try_from(*exit_status).unwrap_or(255)),
        ChannelMsg::ExitSignal { signal_name, .. } => Some(128 + number(signal_name)),
        _ => None,
    }
}

fn number(signal: &Sig) -> i32 {
    match signal {
        Sig::HUP => 1,
        Sig::INT => 2,
        Sig::QUIT => 3,
        Sig::ILL => 4,
        Sig::ABRT => 6,
        Sig::FPE => 8,
        Sig::KILL => 9,
        Sig::USR1 => 10,
        Sig::SEGV => 11,
        Sig::PIPE => 13,
        Sig::ALRM => 14,
        Sig::TERM => 15,
        Sig::Custom(_) => 0,
    }
}

/// Closes the channel when dropped: a command given up (limit, Ctrl-C) must not keep its place on the server.
pub(super) struct Closing(pub(super) Option<ChannelWriteHalf<Msg>>);

impl Closing {
    /// The open half.
    pub(super) fn half(&self) -> Option<&ChannelWriteHalf<Msg>> {
        self.0.as_ref()
    }
}

impl Drop for Closing {
    fn drop(&mut self) {
        if let (Some(half), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move { half.close().await });
        }
    }
}
