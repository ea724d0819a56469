//! Whether anybody still reads what goes to stdout.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How often that is looked at: registering a descriptor with the runtime would be unsafe.
const PACE: Duration = Duration::from_millis(300);

/// Waits until the pipe that stdout is has no reader any more; for ever where stdout is none.
pub async fn reader_gone() {
    gone(std::io::stdout()).await;
}

async fn gone(pipe: impl AsFd) {
    while !is_gone(&pipe) {
        tokio::time::sleep(PACE).await;
    }
}

/// An error is told of a pipe whatever is asked about it, and of no file or terminal.
fn is_gone(pipe: &impl AsFd) -> bool {
    let mut asked = [PollFd::new(pipe, PollFlags::empty())];
    let told = poll(&mut asked, Some(&Timespec::default()));
    told.is_ok_and(|count| count > 0) && asked[0].revents().contains(PollFlags::ERR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_without_a_reader_is_noticed_before_anything_is_written() {
        let (reader, writer) = std::io::pipe().unwrap();
        assert!(!is_gone(&writer));
        drop(reader);
        assert!(is_gone(&writer));
        assert!(!is_gone(&tempfile::tempfile().unwrap()));
    }
}
