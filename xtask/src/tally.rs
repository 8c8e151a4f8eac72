//! How many tests passed, failed and were skipped, read from the lines that test runners print.

use std::ops::AddAssign;

/// The word with which a test says that it cannot run here, and why.
const SKIP: &str = "SKIP ";

/// Counts of tests, or a change of them: one line may take back what a later one counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: i64,
    pub(crate) failed: i64,
    pub(crate) skipped: i64,
}

impl Tally {
    /// What one line of `cargo test -- --show-output` adds.
    ///
    /// libtest counts a test that printed `SKIP reason` and returned as passed: it is moved.
    pub(crate) fn of_cargo_line(line: &str) -> Option<Self> {
        if line.starts_with(SKIP) {
            return Some(Self { passed: -1, failed: 0, skipped: 1 });
        }
        let counts = line.strip_prefix("test result: ")?.split_once(". ")?.1;
        Some(Self {
            passed: number_before(counts, " passed")?,
            failed: number_before(counts, " failed")?,
            skipped: number_before(counts, " ignored")?,
        })
    }

    /// What the lab's closing line says.
    pub(crate) fn of_closing_line(line: &str) -> Option<Self> {
        let mut parts = line.trim().split(", ");
        let tally = Self {
            passed: whole(parts.next()?, " passed")?,
            failed: whole(parts.next()?, " failed")?,
            skipped: whole(parts.next()?, " skipped")?,
        };
        parts.next().is_none().then_some(tally)
    }

    /// `N passed, N failed, N skipped`: the form that runners recognise.
    pub(crate) fn closing_line(self) -> String {
        format!("{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

fn number_before(text: &str, word: &str) -> Option<i64> {
    let before = &text[..text.find(word)?];
    before.rsplit([' ', ';']).next()?.parse().ok()
}

fn whole(part: &str, word: &str) -> Option<i64> {
    part.strip_suffix(word)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_result_line_of_cargo() {
        let line = "test result: FAILED. 12 passed; 3 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s";
        let delta = Tally::of_cargo_line(line);
        assert_eq!(delta, Some(Tally { passed: 12, failed: 3, skipped: 1 }));
    }

    #[test]
    fn a_test_that_says_skip_is_not_passed() {
        let mut sum = Tally::default();
        for line in ["SKIP needs root", "test result: ok. 2 passed; 0 failed; 0 ignored; x"] {
            sum += Tally::of_cargo_line(line).unwrap();
        }
        assert_eq!(sum, Tally { passed: 1, failed: 0, skipped: 1 });
    }

    #[test]
    fn other_lines_count_nothing() {
        assert_eq!(Tally::of_cargo_line("test a::b ... ok"), None);
        assert_eq!(Tally::of_closing_line("3 passed, 0 failed"), None);
        assert_eq!(Tally::of_closing_line("3 passed, 0 failed, 0 skipped, 1 odd"), None);
    }

    #[test]
    fn the_closing_line_reads_back() {
        let tally = Tally { passed: 3, failed: 2, skipped: 1 };
        let delta = Tally::of_closing_line(&tally.closing_line());
        assert_eq!(delta, Some(Tally { passed: 3, failed: 2, skipped: 1 }));
    }
}
