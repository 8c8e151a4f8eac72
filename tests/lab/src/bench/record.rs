//! The result for programs: one JSON document.

use std::fs::File;

use anyhow::Result;
use serde::Serialize;

use super::cni::CniAdd;
use super::contender::Name;
use super::goals::Verdict;
use super::machine::Machine;
use super::metric::{Metric, Placement};
use super::premises::Premises;
use super::programs::Programs;
use super::sample::Sample;
use super::stats::Spread;
use super::{Report, Skipped};

#[derive(Serialize)]
struct Document<'a> {
    machine: &'a Machine,
    rounds: u32,
    seconds: f64,
    premises: &'a Premises,
    skipped: &'a [Skipped],
    figures: Vec<Measured<'a>>,
    programs: Option<&'a Programs>,
    cni_add_ms: Option<&'a CniAdd>,
    goals: &'a [Verdict],
}

#[derive(Serialize)]
struct Measured<'a> {
    metric: Metric,
    title: &'static str,
    contender: Name,
    wire: &'static str,
    placement: Placement,
    figure: Option<Spread>,
    cpu_seconds_per_unit: Option<Spread>,
    /// To each other contender, in the order of their names.
    ratios: Vec<Ratio>,
    rounds: &'a [Sample],
}

#[derive(Serialize)]
struct Ratio {
    to: Name,
    figure: Option<Spread>,
    cpu: Option<Spread>,
}

/// Writes the document.
pub(super) fn write(file: &mut File, report: &Report) -> Result<()> {
    let document = Document {
        machine: &report.machine,
        rounds: report.args.rounds(),
        seconds: report.args.seconds(),
        premises: &report.premises,
        skipped: &report.skipped,
        figures: all(report),
        programs: report.programs.as_ref(),
        cni_add_ms: report.cni.as_ref(),
        goals: &report.verdicts,
    };
    let text = serde_json::to_string_pretty(&document)?;
    super::replace(file, &(text + "\n"))
}

fn all<'a>(report: &'a Report) -> Vec<Measured<'a>> {
    let names = report.names();
    let metrics = report.results.metrics().into_iter();
    let each = metrics.flat_map(|metric| names.iter().map(move |name| (metric, *name)));
    each.map(|(metric, name)| figure(report, metric, name)).collect()
}

fn figure<'a>(report: &'a Report, metric: Metric, name: Name) -> Measured<'a> {
    let results = &report.results;
    let others = report.names().into_iter().filter(|other| *other != name);
    let ratio = |to| Ratio {
        to,
        figure: results.ratio(metric, name, to),
        cpu: results.cpu_ratio(metric, name, to),
    };
    Measured {
        metric,
        title: metric.title(),
        contender: name,
        wire: metric.wire().name(),
        placement: metric.placement(),
        figure: Spread::of(results.figures(metric, name)),
        cpu_seconds_per_unit: Spread::of(results.of(metric, name, |sample| sample.cpu_per_unit)),
        ratios: others.map(ratio).collect(),
        rounds: results.samples(metric, name),
    }
}
