//! The highest rate at which hardly anything is lost, by bisection.

use anyhow::Result;

/// What may be lost.
pub(super) const TOLERATED: f64 = 0.001;
/// Rates tried between the bounds.
const STEPS: u32 = 6;

/// What became of datagrams that were sent at some rate.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Trial {
    /// Sent per second.
    pub(super) sent: f64,
    /// Part that did not arrive.
    pub(super) lost: f64,
    /// Seconds of processor time per datagram that arrived.
    pub(super) cpu: f64,
}

impl Trial {
    fn is_good(&self) -> bool {
        self.lost <= TOLERATED
    }
}

/// The best good trial. `attempt` sends at a rate, or as fast as it can. A rate is bad when it
/// fails twice: a machine that looks away for a moment is not the network's fault. `None` when
/// even a hundredth of the flood loses too much.
pub(super) fn highest(
    mut attempt: impl FnMut(Option<f64>) -> Result<Trial>,
) -> Result<Option<Trial>> {
    let flood = attempt(None)?;
    if flood.is_good() {
        return Ok(Some(flood));
    }
    let mut twice = |rate: f64| -> Result<Trial> {
        let first = attempt(Some(rate))?;
        if first.is_good() { Ok(first) } else { attempt(Some(rate)) }
    };
    let arrived = flood.sent * (1.0 - flood.lost);
    let (mut low, mut high, mut best) = (arrived / 4.0, flood.sent, None);
    for _ in 0..STEPS {
        let rate = f64::midpoint(low, high);
        let trial = twice(rate)?;
        if trial.is_good() {
            low = rate;
            best = Some(best.filter(|best: &Trial| best.sent > trial.sent).unwrap_or(trial));
        } else {
            high = rate;
        }
    }
    if best.is_none() {
        let last = twice(flood.sent / 100.0)?;
        best = last.is_good().then_some(last);
    }
    Ok(best)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path that carries `limit` a second and drops the rest, and a sender that reaches 1000.
    fn path(limit: f64) -> impl FnMut(Option<f64>) -> Result<Trial> {
        move |rate| {
            let sent = rate.unwrap_or(1000.0).min(1000.0);
            Ok(Trial { sent, lost: (1.0 - limit / sent).max(0.0), cpu: 0.0 })
        }
    }

    #[test]
    fn the_limit_is_found_from_below() {
        let found = highest(path(700.0)).unwrap().unwrap();
        assert!((680.0..=700.7).contains(&found.sent), "{found:?}");
    }

    #[test]
    fn a_path_that_carries_the_flood_needs_no_search() {
        assert!(highest(path(2000.0)).unwrap().unwrap().sent > 999.0);
    }

    #[test]
    fn one_hiccup_does_not_make_a_rate_bad() {
        let (mut path, mut calls) = (path(700.0), 0);
        let found = highest(|rate| {
            calls += 1;
            let trial = path(rate)?;
            Ok(if calls == 2 { Trial { lost: 0.5, ..trial } } else { trial })
        });
        assert!(found.unwrap().unwrap().sent > 680.0);
    }

    #[test]
    fn a_path_that_loses_always_has_no_such_rate() {
        let broken = |_| Ok(Trial { sent: 100.0, lost: 0.5, cpu: 0.0 });
        assert_eq!(highest(broken).unwrap(), None);
    }
}
