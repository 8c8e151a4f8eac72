//! The results for programs.

use serde::Serialize;

use super::text::advice;
use crate::test::check::Finding;
use crate::test::outcome::{Cut, Outcome, Report, Row};

/// The whole document.
#[derive(Debug, Serialize)]
pub(crate) struct Document<'a> {
    namespace: &'a str,
    image: &'a str,
    nodes: &'a [String],
    /// `finished`, `interrupted` or `timed-out`.
    end: &'static str,
    seconds: f32,
    passed: usize,
    failed: usize,
    skipped: usize,
    scenarios: Vec<Entry<'a>>,
}

#[derive(Debug, Serialize)]
struct Entry<'a> {
    number: usize,
    id: &'static str,
    shows: &'static str,
    /// `passed`, `failed` or `skipped`.
    outcome: &'static str,
    seconds: f32,
    notes: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure: Option<Failure<'a>>,
}

#[derive(Debug, Serialize)]
struct Failure<'a> {
    means: &'static str,
    next: Vec<String>,
    findings: &'a [Finding],
}

/// The report as a document.
pub(crate) fn document(report: &Report) -> Document<'_> {
    let (passed, failed, skipped) = report.counts();
    Document {
        namespace: &report.namespace,
        image: &report.image,
        nodes: &report.nodes,
        end: match report.cut {
            None => "finished",
            Some(Cut::Interrupted) => "interrupted",
            Some(Cut::TimedOut) => "timed-out",
        },
        seconds: report.took.as_secs_f32(),
        passed,
        failed,
        skipped,
        scenarios: report.rows.iter().map(|row| entry(report, row)).collect(),
    }
}

fn entry<'a>(report: &Report, row: &'a Row) -> Entry<'a> {
    let (outcome, reason, failure) = match &row.done.outcome {
        Outcome::Passed => ("passed", None, None),
        Outcome::Skipped(why) => ("skipped", Some(why.as_str()), None),
        Outcome::Failed(findings) => {
            let (means, next) = (row.scenario.means, advice(report, row));
            ("failed", None, Some(Failure { means, next, findings }))
        }
    };
    Entry {
        number: row.scenario.number(),
        id: row.scenario.id,
        shows: row.scenario.shows,
        outcome,
        seconds: row.took.as_secs_f32(),
        notes: &row.done.notes,
        reason,
        failure,
    }
}
