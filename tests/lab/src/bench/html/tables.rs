//! Goals, premises and the machine as tables.

use std::fmt::Write as _;

use super::escaped;
use crate::bench::Report;
use crate::bench::goals::Verdict;
use crate::bench::table::ratio;

pub(super) fn goals(report: &Report) -> String {
    let mut out = String::from(
        "<div class=\"scroll\"><table><thead><tr><th>Figure</th><th class=\"number\">goal</th>\
         <th class=\"number\">got (least to greatest round)</th><th>reached</th></tr></thead><tbody>",
    );
    for verdict in &report.verdicts {
        // Writing to a string cannot fail.
        let _ = write!(
            out,
            "<tr><td>{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td>{}</td></tr>",
            escaped(&verdict.what),
            escaped(&verdict.goal.text().replace(">=", "\u{2265}").replace("<=", "\u{2264}")),
            escaped(&ratio(verdict.got)),
            pill(verdict),
        );
    }
    out + "</tbody></table></div>"
}

fn pill(verdict: &Verdict) -> &'static str {
    match verdict.reached {
        Some(true) => "<span class=\"pill yes\">reached</span>",
        Some(false) => "<span class=\"pill no\">not reached</span>",
        None => "<span class=\"none\">not measured</span>",
    }
}

pub(super) fn premises(report: &Report) -> String {
    let mut out = String::from(
        "<div class=\"scroll\"><table><thead><tr><th>Premise</th><th>found</th><th>holds</th></tr>\
         </thead><tbody>",
    );
    for premise in &report.premises.0 {
        let pill = if premise.holds {
            "<span class=\"pill yes\">holds</span>"
        } else {
            "<span class=\"pill no\">does not hold</span>"
        };
        let _ = write!(
            out,
            "<tr><td>{}</td><td>{}</td><td>{pill}</td></tr>",
            escaped(&premise.what),
            escaped(&premise.found),
        );
    }
    out + "</tbody></table></div>"
}

pub(super) fn pairs(rows: impl IntoIterator<Item = (String, String)>) -> String {
    let mut out = String::from("<div class=\"scroll\"><table><tbody>");
    for (name, value) in rows {
        let _ = write!(
            out,
            "<tr><td class=\"name soft\">{}</td><td>{}</td></tr>",
            escaped(&name),
            escaped(&value)
        );
    }
    out + "</tbody></table></div>"
}
