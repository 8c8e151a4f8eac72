//! How long an ADD waits for an agent that is about to come up.
//!
//! After a boot the runtime finds the configuration that was there before, and asks for pods while
//! the agent is starting. A failure would not be repaired when the agent is there, but when the
//! kubelet tries again, 10 to 15 s later. Nothing is touched before the wait is over.

use std::thread;
use std::time::{Duration, Instant};

/// The binary's patience: within it a pod comes up sooner than by the kubelet's next attempt.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// A patience that began with the request.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    began: Instant,
    lasts: Duration,
}

impl Patience {
    /// Begins now.
    #[must_use]
    pub fn lasting(lasts: Duration) -> Self {
        Self { began: Instant::now(), lasts }
    }

    /// Returns when something has come, at once if it is there, or when the patience is over. The
    /// caller finds out which by using it.
    pub(crate) fn wait_for(self, mut has_come: impl FnMut() -> bool) {
        while !has_come() && self.began.elapsed() < self.lasts {
            thread::sleep(PAUSE);
        }
    }
}
