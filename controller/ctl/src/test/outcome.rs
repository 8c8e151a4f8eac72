//! What became of each scenario, and of the test.

use std::time::Duration;

use super::check::Finding;
use super::scenario::Scenario;

/// How a scenario ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Passed,
    Failed(Vec<Finding>),
    /// Why it could not be tried.
    Skipped(String),
}

/// How it went, with what else is worth knowing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Done {
    pub(crate) outcome: Outcome,
    pub(crate) notes: Vec<String>,
}

impl Done {
    /// Passed where nothing was found, failed otherwise.
    pub(crate) fn by(findings: Vec<Finding>, notes: Vec<String>) -> Self {
        let outcome = if findings.is_empty() { Outcome::Passed } else { Outcome::Failed(findings) };
        Self { outcome, notes }
    }

    pub(crate) fn skipped(why: impl Into<String>) -> Self {
        Self { outcome: Outcome::Skipped(why.into()), notes: Vec::new() }
    }
}

/// A scenario with its outcome.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) scenario: &'static Scenario,
    pub(crate) done: Done,
    pub(crate) took: Duration,
}

/// Why a test ended before its last scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// By a signal.
    Interrupted,
    /// By `--timeout`.
    TimedOut,
}

/// A whole test.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    pub(crate) namespace: String,
    pub(crate) image: String,
    pub(crate) nodes: Vec<String>,
    pub(crate) rows: Vec<Row>,
    pub(crate) cut: Option<Cut>,
    pub(crate) took: Duration,
}

impl Report {
    /// How many scenarios passed, failed and were skipped.
    pub(crate) fn counts(&self) -> (usize, usize, usize) {
        let (mut passed, mut failed, mut skipped) = (0, 0, 0);
        for row in &self.rows {
            match row.done.outcome {
                Outcome::Passed => passed += 1,
                Outcome::Failed(_) => failed += 1,
                Outcome::Skipped(_) => skipped += 1,
            }
        }
        (passed, failed, skipped)
    }
}
