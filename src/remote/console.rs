//! This process's terminal for commands that run on it: its size, and its keys as they are.

use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::tcgetwinsize;
use tokio::sync::mpsc;

/// Columns and rows; 80 × 24 where there is no terminal.
pub(super) fn size() -> (u32, u32) {
    match tcgetwinsize(std::io::stdout()) {
        Ok(size) if size.ws_col > 0 => (size.ws_col.into(), size.ws_row.into()),
        _ => (80, 24),
    }
}

/// This process's stdin, read by a thread of its own: tokio's would keep the process from ending until a key is pressed.
pub(crate) struct Keyboard {
    bytes: mpsc::Receiver<Vec<u8>>,
    stop: Arc<AtomicBool>,
}

impl Keyboard {
    /// Starts to read.
    pub(crate) fn open() -> Self {
        let (sender, bytes) = mpsc::channel(16);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || read(&sender, &stopped));
        Self { bytes, stop }
    }

    /// The next bytes; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Vec<u8>> {
        self.bytes.recv().await
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

fn read(sender: &mpsc::Sender<Vec<u8>>, stop: &AtomicBool) {
    let wait = Timespec {
        tv_sec: 0,
        tv_nsec: 100_000_000,
    };
    let stdin = std::io::stdin();
    let mut buffer = [0_u8; 16 * 1024];
    while !stop.load(Ordering::Relaxed) {
        // Waits in short turns, so that nothing is read any more once nobody wants it.
        match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&wait)) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => match stdin.lock().read(&mut buffer) {
                Ok(count @ 1..) => {
                    if sender.blocking_send(buffer[..count].to_vec()).is_err() {
                        return;
                    }
                }
                _ => return,
            },
            Err(_) => return,
        }
    }
}
