//! The figures that Tartan's fast path has to reach, and whether this run reached them. They are
//! for the reader: no exit code depends on them.

use serde::Serialize;

use super::contender::Name;
use super::metric::Metric;
use super::results::Results;

/// A ratio of the fast path to another contender.
#[derive(Debug, Clone, Copy)]
struct Target {
    metric: Metric,
    to: Name,
    /// What the first release has to reach.
    least: f64,
    /// What it shall reach in the end.
    goal: Option<f64>,
}

const fn target(metric: Metric, to: Name, least: f64, goal: Option<f64>) -> Target {
    Target { metric, to, least, goal }
}

const TARGETS: [Target; 6] = [
    target(Metric::TcpRr, Name::Host, 0.95, Some(1.0)),
    target(Metric::UdpRr, Name::Host, 0.95, Some(1.0)),
    target(Metric::TcpRr, Name::KernelVxlan, 1.7, Some(1.9)),
    target(Metric::UdpRr, Name::KernelVxlan, 1.7, Some(1.9)),
    target(Metric::StreamFramed, Name::KernelVxlan, 1.0, None),
    target(Metric::StreamOffloaded, Name::KernelVxlan, 1.0, None),
];

/// A target beside what was measured.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Verdict {
    pub(super) metric: Metric,
    pub(super) to: Name,
    pub(super) least: f64,
    pub(super) goal: Option<f64>,
    /// Median of the rounds' ratios.
    pub(super) measured: f64,
    pub(super) reached: bool,
}

impl Verdict {
    pub(super) fn line(&self) -> String {
        let goal = self.goal.map(|goal| format!(" (goal {goal:.2})")).unwrap_or_default();
        format!(
            "{:11} {} / {}: {:.2}, at least {:.2}{goal}",
            if self.reached { "reached" } else { "NOT REACHED" },
            self.metric.name(),
            self.to.text(),
            self.measured,
            self.least,
        )
    }
}

/// Those whose figures were measured.
pub(super) fn verdicts(results: &Results) -> Vec<Verdict> {
    let verdict = |target: &Target| {
        let Target { metric, to, least, goal } = *target;
        let measured = results.ratio(metric, Name::TartanFast, to)?.median;
        Some(Verdict { metric, to, least, goal, measured, reached: measured >= least })
    };
    TARGETS.iter().filter_map(verdict).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::sample::Sample;

    fn sample(figure: f64) -> Sample {
        let (cpu_per_unit, frame) = (1.0, 100.0);
        Sample {
            figure,
            cpu_per_unit,
            p50_us: 1.0,
            p99_us: 2.0,
            failed: 0,
            frame,
            fast_share: None,
        }
    }

    #[test]
    fn a_figure_is_judged_by_the_median_of_its_rounds() {
        let mut results = Results::default();
        for (host, fast) in [(100.0, 96.0), (200.0, 100.0), (50.0, 50.0)] {
            results.add(Metric::TcpRr, Name::Host, sample(host));
            results.add(Metric::TcpRr, Name::TartanFast, sample(fast));
        }
        let verdicts = verdicts(&results);
        let [only] = &verdicts[..] else { panic!("{verdicts:?}") };
        assert!(only.reached && (only.measured - 0.96).abs() < 1e-9, "{only:?}");
    }
}
