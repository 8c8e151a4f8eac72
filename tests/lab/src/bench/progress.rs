//! How far a run is, and what is left of it.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// Counts measurements, each by its weight.
pub(super) struct Progress {
    total: u32,
    done: u32,
    start: Instant,
    terminal: bool,
}

impl Progress {
    pub(super) fn new(total: u32) -> Self {
        Self { total, done: 0, start: Instant::now(), terminal: io::stdout().is_terminal() }
    }

    /// Says what is measured now: on a terminal in one line that changes.
    pub(super) fn on(&self, what: &str) {
        if self.terminal {
            print!("\r\x1b[K  {what}{}", self.left());
            // A terminal that is gone is no reason to stop.
            let _ = io::stdout().flush();
        }
    }

    pub(super) fn add(&mut self, weight: u32) {
        self.done += weight;
    }

    /// A line that stays.
    pub(super) fn note(&self, what: &str) {
        let clear = if self.terminal { "\r\x1b[K" } else { "" };
        println!("{clear}  {what}{}", self.left());
    }

    fn left(&self) -> String {
        match left(self.total, self.done, self.start.elapsed()) {
            Some(left) if left > Duration::ZERO => format!(", {} left", shown(left)),
            Some(_) | None => String::new(),
        }
    }
}

/// What is left takes as long as what was done, in proportion.
fn left(total: u32, done: u32, elapsed: Duration) -> Option<Duration> {
    (done > 0).then(|| elapsed.mul_f64(f64::from(total.saturating_sub(done)) / f64::from(done)))
}

/// `40 s`, `5 min`.
pub(super) fn shown(time: Duration) -> String {
    match time.as_secs_f64().ceil() {
        seconds if seconds < 100.0 => format!("{seconds:.0} s"),
        seconds => format!("{:.0} min", (seconds / 60.0).ceil()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_follows_from_what_is_done() {
        let elapsed = Duration::from_secs(30);
        assert_eq!(left(40, 10, elapsed), Some(Duration::from_secs(90)));
        assert_eq!(left(40, 40, elapsed), Some(Duration::ZERO));
        assert_eq!(left(40, 0, elapsed), None);
    }

    #[test]
    fn times_have_the_unit_that_people_use() {
        assert_eq!(shown(Duration::from_millis(39_100)), "40 s");
        assert_eq!(shown(Duration::from_secs(250)), "5 min");
    }
}
