//! The results as JUnit XML, as CI systems read it.

use std::fmt::Write as _;

use super::text::advice;
use crate::test::outcome::{Outcome, Report, Row};

/// The whole file.
pub(crate) fn document(report: &Report) -> String {
    let (_, failed, skipped) = report.counts();
    let mut text = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    // Writing to a string cannot fail.
    let _ = writeln!(
        text,
        "  <testsuite name=\"tartanctl test\" tests=\"{}\" failures=\"{failed}\" errors=\"{}\" \
         skipped=\"{skipped}\" time=\"{:.3}\">",
        report.rows.len(),
        usize::from(report.cut.is_some()),
        report.took.as_secs_f32()
    );
    for row in &report.rows {
        text += &case(report, row);
    }
    if report.cut.is_some() {
        text += "    <testcase classname=\"tartanctl.test\" name=\"finished\">\n      \
                 <error message=\"the test did not run to its end\"/>\n    </testcase>\n";
    }
    text + "  </testsuite>\n</testsuites>\n"
}

fn case(report: &Report, row: &Row) -> String {
    let head = format!(
        "    <testcase classname=\"tartanctl.test\" name=\"{}\" time=\"{:.3}\"",
        escape(row.scenario.id),
        row.took.as_secs_f32()
    );
    match &row.done.outcome {
        Outcome::Passed => format!("{head}/>\n"),
        Outcome::Skipped(why) => {
            let why = escape(why);
            format!("{head}>\n      <skipped message=\"{why}\"/>\n    </testcase>\n")
        }
        Outcome::Failed(findings) => {
            let found = findings.iter().map(|finding| finding.text.clone());
            let lines: Vec<_> = found.chain(advice(report, row)).collect();
            let (means, lines) = (escape(row.scenario.means), escape(&lines.join("\n")));
            format!(
                "{head}>\n      <failure message=\"{means}\">{lines}</failure>\n    </testcase>\n"
            )
        }
    }
}

/// Text that is safe between tags and in quotes; what XML 1.0 cannot say at all becomes U+FFFD.
fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe += "&amp;",
            '<' => safe += "&lt;",
            '>' => safe += "&gt;",
            '"' => safe += "&quot;",
            '\'' => safe += "&apos;",
            '\n' => safe += "&#10;",
            '\t' => safe += "&#9;",
            '\u{0}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}' => safe.push('\u{fffd}'),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::test::check::Finding;
    use crate::test::outcome::{Cut, Done};
    use crate::test::scenario::SCENARIOS;

    fn report(cut: Option<Cut>) -> Report {
        let row = |index: usize, outcome| Row {
            scenario: &SCENARIOS[index],
            done: Done { outcome, notes: Vec::new() },
            took: Duration::from_millis(1500),
        };
        let finding = Finding::about("node1", "a <b> & \"c\"\u{1b}[0m");
        Report {
            namespace: "n".into(),
            image: "i".into(),
            nodes: vec!["node1".into()],
            rows: vec![
                row(0, Outcome::Passed),
                row(1, Outcome::Failed(vec![finding])),
                row(2, Outcome::Skipped("no 'DNS'".into())),
            ],
            cut,
            took: Duration::from_secs(9),
        }
    }

    #[test]
    fn every_scenario_is_a_case_and_hostile_text_is_escaped() {
        let text = document(&report(None));
        assert_eq!(text.matches("<testcase").count(), 3);
        assert!(text.contains("tests=\"3\" failures=\"1\" errors=\"0\" skipped=\"1\""), "{text}");
        assert!(text.contains("a &lt;b&gt; &amp; &quot;c&quot;\u{fffd}[0m"), "{text}");
        assert!(text.contains("no &apos;DNS&apos;"), "{text}");
        assert!(text.contains("name=\"pods-ready\" time=\"1.500\"/>"), "{text}");
    }

    #[test]
    fn a_test_that_was_cut_short_is_an_error() {
        let text = document(&report(Some(Cut::TimedOut)));
        assert!(text.contains("errors=\"1\"") && text.contains("<error "), "{text}");
    }
}
