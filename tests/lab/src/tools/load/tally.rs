//! Repeating one step for a time, and what that amounted to.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{Args, LoadReport};
use crate::tools::setup::ready;

/// Room for the times of so many steps, taken before the measurement.
const TIMES: usize = 1 << 20;

/// Repeats `step`, which says how much it did or that it failed, first to warm up.
pub(super) fn measure(
    args: &Args,
    mut step: impl FnMut() -> Result<Option<u64>>,
) -> Result<LoadReport> {
    let mut tally = Tally { times: Vec::with_capacity(TIMES), ..Tally::default() };
    tally.repeat(args.warm_up, &mut step)?;
    tally.clear();
    ready()?;
    let seconds = tally.repeat(args.seconds, &mut step)?;
    Ok(tally.report(seconds))
}

#[derive(Debug, Default)]
struct Tally {
    done: u64,
    failed: u64,
    /// Of each step that did something, in nanoseconds.
    times: Vec<u32>,
}

impl Tally {
    fn clear(&mut self) {
        (self.done, self.failed) = (0, 0);
        self.times.clear();
    }

    /// How long it took, in seconds.
    fn repeat(
        &mut self,
        seconds: f64,
        step: &mut impl FnMut() -> Result<Option<u64>>,
    ) -> Result<f64> {
        let start = Instant::now();
        let end = start + Duration::from_secs_f64(seconds);
        let mut now = start;
        while now < end {
            let done = step()?;
            let after = Instant::now();
            match done {
                Some(done) => {
                    self.done += done;
                    self.times.push(u32::try_from((after - now).as_nanos()).unwrap_or(u32::MAX));
                }
                None => self.failed += 1,
            }
            now = after;
        }
        Ok((now - start).as_secs_f64())
    }

    fn report(mut self, seconds: f64) -> LoadReport {
        self.times.sort_unstable();
        let percentile = |percent: usize| {
            let at = self.times.len() * percent / 100;
            self.times.get(at).map_or(0.0, |nanoseconds| f64::from(*nanoseconds) / 1e3)
        };
        let (p50_us, p99_us) = (percentile(50), percentile(99));
        LoadReport { done: self.done, failed: self.failed, seconds, p50_us, p99_us }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_holds_sums_and_percentiles() {
        let times = (1..=200).map(|n| n * 1000).collect();
        let report = Tally { done: 200, failed: 3, times }.report(2.0);
        assert_eq!((report.done, report.failed), (200, 3));
        assert_eq!((report.p50_us, report.p99_us), (101.0, 199.0));
    }
}
