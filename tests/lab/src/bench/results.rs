//! All samples of a run.

use std::collections::BTreeMap;

use super::contender::Name;
use super::metric::Metric;
use super::sample::Sample;
use super::stats::Spread;

/// The samples of each metric and contender, one per round.
#[derive(Debug, Default)]
pub(super) struct Results(BTreeMap<(Metric, Name), Vec<Sample>>);

impl Results {
    pub(super) fn add(&mut self, metric: Metric, name: Name, sample: Sample) {
        self.0.entry((metric, name)).or_default().push(sample);
    }

    pub(super) fn samples(&self, metric: Metric, name: Name) -> &[Sample] {
        self.0.get(&(metric, name)).map_or(&[], Vec::as_slice)
    }

    /// Metrics that were measured, in order.
    pub(super) fn metrics(&self) -> Vec<Metric> {
        Metric::all().filter(|metric| self.0.keys().any(|(of, _)| of == metric)).collect()
    }

    pub(super) fn figures(&self, metric: Metric, name: Name) -> Vec<f64> {
        self.of(metric, name, |sample| sample.figure)
    }

    pub(super) fn of(&self, metric: Metric, name: Name, what: fn(&Sample) -> f64) -> Vec<f64> {
        self.samples(metric, name).iter().map(what).collect()
    }

    /// The figure's ratio to another contender's in the same round.
    pub(super) fn ratio(&self, metric: Metric, name: Name, to: Name) -> Option<Spread> {
        Spread::of_ratios(&self.figures(metric, name), &self.figures(metric, to))
    }

    /// The processor time's ratio to another contender's in the same round.
    pub(super) fn cpu_ratio(&self, metric: Metric, name: Name, to: Name) -> Option<Spread> {
        let cpu = |name| self.of(metric, name, |sample| sample.cpu_per_unit);
        Spread::of_ratios(&cpu(name), &cpu(to))
    }

    /// What failed in all rounds of all metrics.
    pub(super) fn failed(&self, name: Name) -> u64 {
        let own = self.0.iter().filter(|((_, of), _)| *of == name);
        own.flat_map(|(_, samples)| samples).map(|sample| sample.failed).sum()
    }

    /// The part of this metric's packets that skipped the host stack.
    pub(super) fn fast_share(&self, metric: Metric, name: Name) -> Option<Spread> {
        Spread::of(self.samples(metric, name).iter().filter_map(|sample| sample.fast_share))
    }

    /// Contenders that were measured, in order.
    pub(super) fn names(&self) -> Vec<Name> {
        Name::all().filter(|name| self.0.keys().any(|(_, of)| of == name)).collect()
    }

    /// The middle of what the samples of this metric say.
    pub(super) fn median(
        &self,
        metric: Metric,
        name: Name,
        what: fn(&Sample) -> f64,
    ) -> Option<f64> {
        Some(Spread::of(self.of(metric, name, what))?.median)
    }
}
