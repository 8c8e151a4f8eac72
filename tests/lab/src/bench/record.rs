//! The result for programs: one JSON document.

use std::fs;
use std::io::Write as _;
use std::thread;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::Args;
use super::contender::Name;
use super::figures::{self, Verdict};
use super::metric::Metric;
use super::premises::Premises;
use super::results::Results;
use super::sample::Sample;
use super::stats::Spread;

#[derive(Serialize)]
struct Document<'a> {
    kernel: String,
    cpus: usize,
    rounds: u32,
    seconds: f64,
    premises: &'a Premises,
    figures: Vec<Measured<'a>>,
    targets: Vec<Verdict>,
}

#[derive(Serialize)]
struct Measured<'a> {
    metric: Metric,
    title: &'static str,
    contender: Name,
    wire: &'static str,
    client_cpu: usize,
    server_cpu: usize,
    figure: Option<Spread>,
    cpu_seconds_per_unit: Option<Spread>,
    to_host: Option<Spread>,
    to_kernel_vxlan: Option<Spread>,
    cpu_to_host: Option<Spread>,
    cpu_to_kernel_vxlan: Option<Spread>,
    rounds: &'a [Sample],
}

/// Writes the document.
pub(super) fn write(
    file: &mut fs::File,
    args: &Args,
    results: &Results,
    premises: &Premises,
) -> Result<()> {
    let document = Document {
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim().to_owned(),
        cpus: thread::available_parallelism()?.get(),
        rounds: args.rounds(),
        seconds: args.seconds(),
        premises,
        figures: all(results),
        targets: figures::verdicts(results),
    };
    let text = serde_json::to_string_pretty(&document)?;
    writeln!(file, "{text}").context("cannot write the JSON file")
}

fn all(results: &Results) -> Vec<Measured<'_>> {
    let metrics = results.metrics().into_iter();
    let each = metrics.flat_map(|metric| Name::ALL.map(|name| (metric, name)));
    let measured = each.filter(|(metric, name)| !results.samples(*metric, *name).is_empty());
    measured.map(|(metric, name)| figure(results, metric, name)).collect()
}

fn figure(results: &Results, metric: Metric, name: Name) -> Measured<'_> {
    let placement = metric.placement();
    Measured {
        metric,
        title: metric.title(),
        contender: name,
        wire: metric.wire().name(),
        client_cpu: placement.client,
        server_cpu: placement.server,
        figure: Spread::of(results.figures(metric, name)),
        cpu_seconds_per_unit: Spread::of(results.of(metric, name, |sample| sample.cpu_per_unit)),
        to_host: results.ratio(metric, name, Name::Host),
        to_kernel_vxlan: results.ratio(metric, name, Name::KernelVxlan),
        cpu_to_host: results.cpu_ratio(metric, name, Name::Host),
        cpu_to_kernel_vxlan: results.cpu_ratio(metric, name, Name::KernelVxlan),
        rounds: results.samples(metric, name),
    }
}
