//! The command line of the benchmark.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::ValueEnum;

use super::contender::Name;
use super::metric::Metric;

/// Flags of `tartan-lab bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = after_help())]
pub struct Args {
    /// A short run of about two minutes instead of one of about twelve.
    #[arg(long)]
    quick: bool,
    /// Rounds; the spread is that of the rounds [default: 5, quick: 2].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,
    /// Seconds per measurement [default: 0.8, quick: 0.25].
    #[arg(long, value_parser = measurable)]
    seconds: Option<f64>,
    /// Only these figures, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',', hide_possible_values = true)]
    only: Vec<Metric>,
    /// Only these contenders, separated by commas; ratios need those that they are taken to.
    #[arg(long, value_enum, value_delimiter = ',', hide_possible_values = true)]
    contenders: Vec<Name>,
    /// Leave out what the programs cost by themselves, and CNI ADD.
    #[arg(long)]
    no_programs: bool,
    /// Write every sample, ratio, goal and premise to this file as JSON.
    #[arg(long, value_name = "FILE")]
    pub(super) json: Option<PathBuf>,
    /// Write a report for people to this file: one page, no script, nothing from elsewhere.
    #[arg(long, value_name = "FILE")]
    pub(super) html: Option<PathBuf>,
}

const NOTES: &str = "\
The real flannel and the rules of kube-proxy need the programs of `cargo xtask tools`; without them
they are left out, with the reason.

Both nodes of each contender share this machine: ratios count, not figures. No figure and no
premise decides about the exit code; premises that do not hold are said at the end.

Examples:
  cargo xtask bench --html bench.html --json bench.json
  cargo xtask bench --quick
  cargo xtask bench --only tcp-rr,udp-rr --contenders host,flannel,tartan-fast";

/// What there is to choose from, and the rest.
fn after_help() -> String {
    let contenders = listed(Name::all().map(|name| (name, name.about())));
    let figures = listed(Metric::all().map(|metric| (metric, metric.title())));
    format!("Contenders:\n{contenders}\nFigures:\n{figures}\n{NOTES}")
}

fn listed<T: ValueEnum>(rows: impl Iterator<Item = (T, &'static str)>) -> String {
    let mut out = String::new();
    for (value, about) in rows {
        let value = value.to_possible_value();
        let name = value.as_ref().map_or("", |value| value.get_name());
        // Writing to a string cannot fail.
        let _ = writeln!(out, "  {name:20} {about}");
    }
    out
}

fn measurable(text: &str) -> Result<f64> {
    let seconds: f64 = text.parse()?;
    ensure!((0.1..=600.0).contains(&seconds), "give 0.1 to 600 seconds");
    Ok(seconds)
}

impl Args {
    /// Reports that the user asked for.
    pub(super) fn files(&self) -> impl Iterator<Item = &Path> {
        [&self.json, &self.html].into_iter().flatten().map(PathBuf::as_path)
    }

    pub(super) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 2 } else { 5 })
    }

    pub(super) fn seconds(&self) -> f64 {
        self.seconds.unwrap_or(if self.quick { 0.25 } else { 0.8 })
    }

    pub(super) fn metrics(&self) -> Vec<Metric> {
        Metric::all().filter(|m| self.only.is_empty() || self.only.contains(m)).collect()
    }

    pub(super) fn names(&self) -> Vec<Name> {
        let wanted = |name: &Name| self.contenders.is_empty() || self.contenders.contains(name);
        Name::all().filter(wanted).collect()
    }

    pub(super) fn programs(&self) -> bool {
        !self.no_programs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn are_in_the_help<T: ValueEnum>() -> bool {
        let names = T::value_variants().iter().filter_map(ValueEnum::to_possible_value);
        names.map(|value| format!("\n  {} ", value.get_name())).all(|n| after_help().contains(&n))
    }

    #[test]
    fn the_help_names_every_contender_and_every_figure() {
        assert!(are_in_the_help::<Name>() && are_in_the_help::<Metric>());
    }
}
