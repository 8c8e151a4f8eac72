//! The summary for people: what failed, what it means, what to look at next.

use std::fmt::Write as _;

use crate::test::outcome::{Cut, Outcome, Report, Row};
use crate::test::suspects;

/// The end of the output.
pub(crate) fn summary(report: &Report) -> String {
    let mut text = String::new();
    for row in &report.rows {
        if let Outcome::Failed(_) = row.done.outcome {
            text += &failure(report, row);
        }
    }
    let (passed, failed, skipped) = report.counts();
    let seconds = report.took.as_secs_f32();
    let end = match report.cut {
        None => "",
        Some(Cut::Interrupted) => ", interrupted",
        Some(Cut::TimedOut) => ", not finished within --timeout",
    };
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "{passed} passed, {failed} failed, {skipped} skipped in {seconds:.1} s{end}"
    );
    text
}

fn failure(report: &Report, row: &Row) -> String {
    let mut text =
        format!("\n{} {}: {}\n", row.scenario.number(), row.scenario.id, row.scenario.means);
    for line in advice(report, row) {
        let _ = writeln!(text, "  -> {line}");
    }
    text
}

/// Where to look, the most telling first.
pub(crate) fn advice(report: &Report, row: &Row) -> Vec<String> {
    let Outcome::Failed(findings) = &row.done.outcome else { return Vec::new() };
    let sentence = suspects::sentence(findings, report.nodes.len());
    let nodes: Vec<_> = suspects::nodes(findings).into_iter().collect();
    let place = format!("nodes: {}", nodes.join(" "));
    sentence.into_iter().chain([place, row.scenario.next.to_owned()]).collect()
}
