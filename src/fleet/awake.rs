//! Whether this workstation has slept: a lock that was not heard of meanwhile may be another's.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The shell that holds a lock ends after so long without a sign of life.
const SILENCE: Duration = Duration::from_secs(30);

/// When the other side answered last, by a clock that goes on while this workstation sleeps.
#[derive(Clone)]
pub(super) struct Awake(Arc<AtomicU64>);

impl Awake {
    /// It answered to what was sent just now.
    pub(super) fn now() -> Self {
        Self(Arc::new(AtomicU64::new(clock())))
    }

    /// It answered to what was sent then: the answer itself may have lain here while this workstation slept.
    pub(super) fn beat(&self, sent: u64) {
        self.0.fetch_max(sent, Ordering::Relaxed);
    }

    /// Whether it answered so recently that the lock is still held.
    pub(super) fn is_fresh(&self) -> bool {
        let since = clock().saturating_sub(self.0.load(Ordering::Relaxed));
        since < SILENCE.as_secs()
    }

    /// As if nothing had been heard for so long.
    #[cfg(test)]
    pub(super) fn asleep_for(&self, time: Duration) {
        self.0.fetch_sub(time.as_secs(), Ordering::Relaxed);
    }
}

/// Seconds since some moment, sleep included.
pub(super) fn clock() -> u64 {
    #[cfg(target_os = "linux")]
    let clock = rustix::time::ClockId::Boottime;
    // On macOS it counts on in sleep.
    #[cfg(not(target_os = "linux"))]
    let clock = rustix::time::ClockId::Monotonic;
    // Some time has passed at the first look, so that tests can go back.
    u64::try_from(rustix::time::clock_gettime(clock).tv_sec).unwrap_or(0) + 1000
}
