//! `REASONS.md` and the committed lists of everything that has a counter.

use std::fmt::Write as _;

use tartan_common::event::Event;
use tartan_common::path::Path;
use tartan_common::reason::Reason;

use crate::GENERATED;

const INTRODUCTION: &str = "\
Every packet that a program of Tartan drops is counted under exactly one reason, every packet that
it lets pass under the way it took, and every fallback under an event. `tartanctl drops` prints
those that are not zero. Numbers and names never change their meaning and are never reused.";

/// `docs/REASONS.md`.
pub(crate) fn document() -> String {
    let mut out = format!("{GENERATED}\n# What is counted\n\n{INTRODUCTION}\n");
    out += "\n## Reasons: why a packet was dropped\n\n| # | Name | Meaning | What to do |\n|---|---|---|---|\n";
    for reason in Reason::ALL {
        let (number, name) = (reason.number(), reason.name());
        let (caption, remedy) = (cell(reason.caption()), cell(reason.remedy()));
        push(&mut out, format_args!("| {number} | `{name}` | {caption} | {remedy} |"));
    }
    out += "\n## Paths: which way a packet took\n\n| # | Name | Meaning |\n|---|---|---|\n";
    for path in Path::ALL {
        let (number, name, caption) = (path.number(), path.name(), cell(path.caption()));
        push(&mut out, format_args!("| {number} | `{name}` | {caption} |"));
    }
    out += "\n## Events: what else happened\n\n| # | Name | Meaning |\n|---|---|---|\n";
    for event in Event::ALL {
        let (number, name, caption) = (event.number(), event.name(), cell(event.caption()));
        push(&mut out, format_args!("| {number} | `{name}` | {caption} |"));
    }
    out
}

/// `docs/surface/reasons.txt`.
pub(crate) fn reasons() -> String {
    list(Reason::ALL.iter().map(|reason| (reason.number(), reason.name())))
}

/// `docs/surface/paths.txt`.
pub(crate) fn paths() -> String {
    list(Path::ALL.iter().map(|path| (path.number(), path.name())))
}

/// `docs/surface/events.txt`.
pub(crate) fn events() -> String {
    list(Event::ALL.iter().map(|event| (event.number(), event.name())))
}

fn list(entries: impl Iterator<Item = (u8, &'static str)>) -> String {
    let mut out = String::new();
    for (number, name) in entries {
        push(&mut out, format_args!("{number} {name}"));
    }
    out
}

/// A text inside a Markdown table.
fn cell(text: &str) -> String {
    text.trim().replace('|', "\\|")
}

/// Adds a line. Writing to a `String` cannot fail.
fn push(out: &mut String, line: std::fmt::Arguments<'_>) {
    let _ = writeln!(out, "{line}");
}
