//! [`Contact`]: whether something goes well, told once when it stops and once when it does again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

/// Shorter interruptions, such as a server's restart, are no news.
const NEWS_AFTER: Duration = Duration::from_secs(1);

/// The state of one thing that is done again and again.
#[derive(Debug)]
pub(super) struct Contact {
    /// What fails, as in "cannot ...".
    what: &'static str,
    failing: Mutex<Option<Streak>>,
}

/// Failures in a row.
#[derive(Debug)]
struct Streak {
    since: Instant,
    last: String,
    told: bool,
}

impl Contact {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, failing: Mutex::default() }
    }

    /// It went well. Says whether that ends a failure that was told of.
    pub(super) fn succeeded(&self) -> bool {
        let Some(streak) = self.lock().take() else {
            return false;
        };
        if streak.told {
            let after = streak.since.elapsed().as_secs();
            info!("can {} again, after {after} s", self.what);
        }
        streak.told
    }

    /// It went wrong. Says whether that is news.
    pub(super) fn failed(&self, error: &str) -> bool {
        debug!(error, "cannot {}", self.what);
        let mut failing = self.lock();
        let now = Instant::now();
        let streak =
            failing.get_or_insert_with(|| Streak { since: now, last: String::new(), told: false });
        error.clone_into(&mut streak.last);
        let news = !streak.told && now.duration_since(streak.since) >= NEWS_AFTER;
        if news {
            streak.told = true;
            warn!("cannot {} ({error}); forwarding goes on, trying again", self.what);
        }
        news
    }

    /// What is wrong, if it has been for longer than `patience`.
    pub(super) fn trouble(&self, patience: Duration) -> Option<String> {
        let failing = self.lock();
        let streak = failing.as_ref()?;
        let lasting = streak.since.elapsed();
        let seconds = lasting.as_secs();
        (lasting > patience)
            .then(|| format!("cannot {} for {seconds} s: {}", self.what, streak.last))
    }

    /// The last error, if it is failing.
    pub(super) fn last_error(&self) -> Option<String> {
        self.lock().as_ref().map(|streak| streak.last.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Option<Streak>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_trouble_only_when_it_lasts_and_gone_with_the_first_success() {
        let contact = Contact::new("read Nodes");
        assert_eq!(contact.trouble(Duration::ZERO), None);
        assert!(!contact.failed("refused"));
        assert_eq!(contact.trouble(Duration::from_mins(1)), None);
        let trouble = contact.trouble(Duration::ZERO).unwrap();
        assert_eq!(trouble, "cannot read Nodes for 0 s: refused");
        assert!(!contact.succeeded());
        assert_eq!((contact.trouble(Duration::ZERO), contact.last_error()), (None, None));
    }
}
