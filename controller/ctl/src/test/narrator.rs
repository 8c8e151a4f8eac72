//! What is said while the test runs: a line per scenario, begun when it begins.

use std::io::{self, Write};
use std::time::Duration;

use super::outcome::{Done, Outcome, Row};
use super::scenario::{SCENARIOS, Scenario};

/// Findings shown per scenario; the reports to files have them all.
const SHOWN: usize = 8;

/// Writes progress. An error means that nobody reads any more.
pub(crate) struct Narrator<W> {
    out: W,
    /// Whether a line is begun.
    open: bool,
}

impl<W: Write> Narrator<W> {
    pub(crate) fn new(out: W) -> Self {
        Self { out, open: false }
    }

    /// A line of its own.
    pub(crate) fn say(&mut self, text: &str) -> io::Result<()> {
        self.close()?;
        writeln!(self.out, "{text}")?;
        self.out.flush()
    }

    /// A scenario begins.
    pub(crate) fn begin(&mut self, scenario: &Scenario) -> io::Result<()> {
        self.close()?;
        self.open = true;
        write!(self.out, "[{:2}/{}] {:20} ", scenario.number(), SCENARIOS.len(), scenario.id)?;
        self.out.flush()
    }

    /// It has ended.
    pub(crate) fn end(&mut self, row: &Row) -> io::Result<()> {
        let Row { done: Done { outcome, notes }, took, .. } = row;
        self.open = false;
        let first = notes.first().cloned().unwrap_or_default();
        match outcome {
            Outcome::Passed => self.verdict("ok", *took, &first)?,
            Outcome::Failed(_) => self.verdict("FAILED", *took, &first)?,
            Outcome::Skipped(why) => self.verdict("skipped", *took, why)?,
        }
        for note in notes.iter().skip(1) {
            writeln!(self.out, "        {note}")?;
        }
        if let Outcome::Failed(findings) = outcome {
            for finding in findings.iter().take(SHOWN) {
                writeln!(self.out, "        {}", finding.text)?;
            }
            if findings.len() > SHOWN {
                writeln!(self.out, "        and {} more", findings.len() - SHOWN)?;
            }
        }
        self.out.flush()
    }

    fn verdict(&mut self, word: &str, took: Duration, more: &str) -> io::Result<()> {
        let line = format!("{word:8}{:6.1} s  {more}", took.as_secs_f32());
        writeln!(self.out, "{}", line.trim_end())
    }

    fn close(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.open) { writeln!(self.out) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::check::Finding;

    fn told(outcome: Outcome) -> String {
        let scenario = &SCENARIOS[0];
        let mut narrator = Narrator::new(Vec::new());
        narrator.begin(scenario).unwrap();
        let done = Done { outcome, notes: vec!["9 pods".to_owned()] };
        narrator.end(&Row { scenario, done, took: Duration::from_millis(1250) }).unwrap();
        String::from_utf8(narrator.out).unwrap()
    }

    #[test]
    fn a_scenario_is_one_line() {
        assert_eq!(
            told(Outcome::Passed),
            "[ 1/20] pods-ready           ok         1.2 s  9 pods\n"
        );
    }

    #[test]
    fn of_many_findings_a_few_are_shown_and_the_rest_counted() {
        let findings = vec![Finding::about("n", "wrong"); SHOWN + 3];
        let text = told(Outcome::Failed(findings));
        assert_eq!(text.matches("wrong").count(), SHOWN);
        assert!(text.ends_with("and 3 more\n"), "{text}");
    }

    #[test]
    fn a_line_that_was_begun_is_closed_before_the_next() {
        let mut narrator = Narrator::new(Vec::new());
        narrator.begin(&SCENARIOS[0]).unwrap();
        narrator.say("interrupted").unwrap();
        let text = String::from_utf8(narrator.out).unwrap();
        assert!(text.ends_with("pods-ready           \ninterrupted\n"), "{text:?}");
    }
}
