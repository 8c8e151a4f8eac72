//! The whole page, of a small report.

use clap::Parser;

use super::*;
use crate::bench::machine::{Machine, Meanwhile};
use crate::bench::premises::Premises;
use crate::bench::results::Results;
use crate::bench::sample::sample;
use crate::bench::{Args, goals};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: Args,
}

fn with_report(look: impl FnOnce(&Report)) {
    let args = Cli::parse_from(["bench"]).args;
    let mut results = Results::default();
    for name in Name::all() {
        for figure in [90.0, 100.0, 120.0] {
            results.add(Metric::TcpRr, name, sample(figure));
        }
    }
    let machine = Machine::look().unwrap();
    let meanwhile = Meanwhile { stolen: 0.5 };
    let premises = Premises::check(&[], &results, &machine, meanwhile, Vec::new()).unwrap();
    let verdicts = goals::verdicts(&results, None, None);
    look(&Report {
        args: &args,
        machine,
        results,
        programs: None,
        cni: None,
        premises,
        verdicts,
        skipped: Vec::new(),
    });
}

/// Opening and closing tags match, and attributes are quoted.
fn is_well_formed(page: &str) -> bool {
    let mut open = Vec::new();
    for part in page.split('<').skip(1) {
        let Some((tag, _)) = part.split_once('>') else { return false };
        let name = tag.split_whitespace().next().unwrap_or_default();
        if let Some(name) = name.strip_prefix('/') {
            if open.pop() != Some(name) {
                return false;
            }
        } else if !(tag.ends_with('/') || name.starts_with('!') || name == "meta") {
            open.push(name);
        }
        if tag.matches('"').count() % 2 == 1 {
            return false;
        }
    }
    open.is_empty()
}

#[test]
fn the_page_is_well_formed_and_asks_nobody_for_anything() {
    with_report(|report| {
        let page = page(report);
        assert!(is_well_formed(&page));
        assert!(!page.contains("http") && !page.contains("<script") && !page.contains("url("));
    });
}

#[test]
fn a_broken_premise_is_said_before_any_figure() {
    with_report(|report| {
        let page = page(report);
        let alarm = page.find("its hypervisor gave no processor away").unwrap();
        assert!(alarm < page.find("<h2>Figures").unwrap());
    });
}

#[test]
fn a_tag_left_open_is_seen() {
    assert!(is_well_formed("<p a=\"b\"><b>x</b></p>"));
    assert!(!is_well_formed("<p><b>x</p></b>") && !is_well_formed("<p a=\"b>x</p>"));
}
