//! [`Backoff`]: how long to wait after a failure.

use std::time::Duration;

/// No exponent beyond this: 2^16 times any first pause is longer than any longest one.
const MOST_DOUBLINGS: u32 = 16;

/// Pauses that double from `first` to `longest`, each cut by a random half at most, so that
/// nodes that failed together do not come back together.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    failures: u32,
    random: u64,
}

impl Backoff {
    /// Pauses from `first` to `longest`; `seed` chooses the random parts.
    #[must_use]
    pub fn new(first: Duration, longest: Duration, seed: u64) -> Self {
        Self { first, longest, failures: 0, random: seed }
    }

    /// The pause after one more failure.
    pub fn pause(&mut self) -> Duration {
        let factor = 1 << self.failures.min(MOST_DOUBLINGS);
        self.failures = self.failures.saturating_add(1);
        let whole = self.first.saturating_mul(factor).min(self.longest);
        whole / 2 + whole.mul_f64(self.unit() / 2.0)
    }

    /// Starts again with the first pause.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// The next number of 0..1: SplitMix64 (Steele, Lea, Flood 2014).
    fn unit(&mut self) -> f64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let top = u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or_default();
        f64::from(top) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_start_again_after_a_success() {
        let first = Duration::from_millis(200);
        let longest = Duration::from_secs(10);
        let mut backoff = Backoff::new(first, longest, 7);
        for whole in [200, 400, 800, 1600, 3200, 6400, 10_000, 10_000] {
            let (pause, whole) = (backoff.pause(), Duration::from_millis(whole));
            assert!(pause >= whole / 2 && pause <= whole, "{pause:?} of {whole:?}");
        }
        backoff.reset();
        assert!(backoff.pause() <= first);
    }

    #[test]
    fn two_seeds_do_not_wait_alike() {
        let pauses = |seed| {
            let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(10), seed);
            std::iter::repeat_with(|| backoff.pause()).take(4).collect::<Vec<_>>()
        };
        assert_eq!(pauses(1), pauses(1));
        assert_ne!(pauses(1), pauses(2));
    }
}
