//! What Tartan is to reach, and whether this run reached it. The rows are for the reader: no exit
//! code depends on them.

use serde::Serialize;

use super::cni::CniAdd;
use super::contender::Name::{self, Flannel, Host, KernelVxlan, TartanFast, TartanStack};
use super::metric::Metric;
use super::programs::{DECAP, ENCAP, Programs};
use super::results::Results;
use super::sample::Sample;
use super::stats::Spread;

/// What is judged.
#[derive(Debug, Clone, Copy)]
enum What {
    /// A figure's ratio to another contender's in the same round.
    Figure(Metric, Name, Name),
    /// The ratio of the processor time per unit.
    Processor(Metric, Name, Name),
    /// Nanoseconds per call of a program.
    Program(&'static str),
    /// The encapsulating program with 15,000 peers against that with 10, on one flow.
    Peers,
    /// The whole cost of a datagram, each to another of 15,000 peers, against 10.
    PeersInTurn,
    /// flannel's CNI ADD against Tartan's, and Tartan's own in milliseconds.
    CniTimesFaster,
    CniAdd,
}

/// Which side of a number is good.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

#[derive(Debug, Clone, Copy)]
struct Goal(What, Bound);

const fn figure(metric: Metric, of: Name, to: Name, least: f64) -> Goal {
    Goal(What::Figure(metric, of, to), Bound::AtLeast(least))
}

const fn processor(metric: Metric, to: Name, most: f64) -> Goal {
    Goal(What::Processor(metric, TartanFast, to), Bound::AtMost(most))
}

const GOALS: &[Goal] = &[
    figure(Metric::TcpRr, TartanFast, Host, 1.0),
    figure(Metric::TcpRr, TartanFast, KernelVxlan, 1.9),
    figure(Metric::TcpRr, TartanFast, Flannel, 1.65),
    figure(Metric::UdpRr, TartanFast, Host, 1.0),
    figure(Metric::UdpRr, TartanFast, KernelVxlan, 1.9),
    figure(Metric::UdpRr, TartanFast, Flannel, 1.65),
    figure(Metric::TcpRr, TartanStack, Flannel, 1.35),
    figure(Metric::UdpRr, TartanStack, Flannel, 1.35),
    figure(Metric::TcpCrr, TartanFast, Host, 0.9),
    figure(Metric::TcpCrr, TartanFast, Flannel, 1.8),
    figure(Metric::TcpCrrServices, TartanFast, Flannel, 3.0),
    figure(Metric::StreamOffloaded, TartanFast, Host, 0.965),
    figure(Metric::StreamOffloaded, TartanFast, Flannel, 1.3),
    figure(Metric::StreamOffloaded, TartanFast, KernelVxlan, 1.0),
    figure(Metric::StreamFramed, TartanFast, Host, 0.85),
    figure(Metric::StreamFramed, TartanFast, Flannel, 1.3),
    figure(Metric::StreamFramed, TartanFast, KernelVxlan, 1.0),
    processor(Metric::StreamFramed, Host, 1.25),
    processor(Metric::StreamFramed, Flannel, 0.75),
    processor(Metric::StreamOffloaded, Host, 1.1),
    processor(Metric::StreamOffloaded, Flannel, 0.75),
    figure(Metric::Udp64, TartanFast, Host, 0.9),
    figure(Metric::Udp64, TartanFast, Flannel, 1.9),
    figure(Metric::Udp1400, TartanFast, KernelVxlan, 1.0),
    figure(Metric::Udp64Lossless, TartanFast, Host, 0.9),
    figure(Metric::Udp64Lossless, TartanFast, Flannel, 1.9),
    Goal(What::Program(ENCAP), Bound::AtMost(120.0)),
    Goal(What::Program(DECAP), Bound::AtMost(100.0)),
    Goal(What::Peers, Bound::AtMost(1.1)),
    Goal(What::PeersInTurn, Bound::AtMost(1.1)),
    Goal(What::CniTimesFaster, Bound::AtLeast(5.0)),
    Goal(What::CniAdd, Bound::AtMost(10.0)),
];

/// A goal beside what was measured.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Verdict {
    /// What it is about: `TCP round trips: Tartan fast / host`.
    pub(super) what: String,
    pub(super) goal: Bound,
    /// Median, least and greatest of the rounds; `None` if this run did not measure it.
    pub(super) got: Option<Spread>,
    pub(super) reached: Option<bool>,
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }

    pub(super) fn text(self) -> String {
        match self {
            Self::AtLeast(least) => format!(">= {least}"),
            Self::AtMost(most) => format!("<= {most}"),
        }
    }
}

impl What {
    fn text(self) -> String {
        match self {
            Self::Figure(metric, of, to) => {
                format!("{}: {} / {}", metric.name(), of.text(), to.text())
            }
            Self::Processor(metric, of, to) => {
                format!("CPU per Gbit, {}: {} / {}", metric.name(), of.text(), to.text())
            }
            Self::Program(name) => format!("{name}, ns per call"),
            Self::Peers => "encap of one flow, 15,000 peers / 10".to_owned(),
            Self::PeersInTurn => "cost per packet, each of 15,000 peers in turn / 10".to_owned(),
            Self::CniTimesFaster => "CNI ADD: time of flannel's chain / Tartan's".to_owned(),
            Self::CniAdd => "CNI ADD of Tartan, ms".to_owned(),
        }
    }

    fn got(
        self,
        results: &Results,
        programs: Option<&Programs>,
        cni: Option<&CniAdd>,
    ) -> Option<Spread> {
        match self {
            Self::Figure(metric, of, to) => results.ratio(metric, of, to),
            Self::Processor(metric, of, to) => results.cpu_ratio(metric, of, to),
            Self::Program(name) => Some(programs?.call(name)?.nanoseconds),
            Self::Peers => programs?.scaling(),
            Self::CniTimesFaster => cni?.times_faster(),
            Self::CniAdd => Spread::of(cni?.plugin.iter().copied()),
            Self::PeersInTurn => {
                let cpu = |sample: &Sample| sample.cpu_per_unit;
                let seconds = results.median(Metric::Udp64, TartanFast, cpu)?;
                programs?.scaling_of(seconds * 1e9)
            }
        }
    }
}

impl Verdict {
    /// One word.
    pub(super) fn word(&self) -> &'static str {
        match self.reached {
            Some(true) => "reached",
            Some(false) => "NOT REACHED",
            None => "not measured",
        }
    }
}

/// Every goal. Of what this run did not measure there is no answer.
pub(super) fn verdicts(
    results: &Results,
    programs: Option<&Programs>,
    cni: Option<&CniAdd>,
) -> Vec<Verdict> {
    let verdict = |Goal(what, goal): &Goal| {
        let got = what.got(results, programs, cni);
        let reached = got.map(|got| goal.holds(got.median));
        Verdict { what: what.text(), goal: *goal, got, reached }
    };
    GOALS.iter().map(verdict).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::sample::sample;

    #[test]
    fn a_figure_is_judged_by_the_median_of_its_rounds() {
        let mut results = Results::default();
        for (host, fast) in [(100.0, 101.0), (200.0, 100.0), (50.0, 60.0)] {
            results.add(Metric::TcpRr, Host, sample(host));
            results.add(Metric::TcpRr, TartanFast, sample(fast));
        }
        let verdicts = verdicts(&results, None, None);
        let measured: Vec<_> = verdicts.iter().filter(|verdict| verdict.got.is_some()).collect();
        let [only] = &measured[..] else { panic!("{measured:?}") };
        let got = only.got.unwrap();
        assert!(only.reached == Some(true) && (got.median - 1.01).abs() < 1e-9, "{only:?}");
        assert!((got.min - 0.5).abs() < 1e-9 && (got.max - 1.2).abs() < 1e-9, "{only:?}");
    }

    #[test]
    fn what_was_not_measured_is_neither_reached_nor_missed() {
        let verdicts = verdicts(&Results::default(), None, None);
        assert!(verdicts.iter().all(|verdict| verdict.word() == "not measured"));
    }

    #[test]
    fn a_bound_is_good_on_its_own_side() {
        assert!(Bound::AtLeast(1.0).holds(1.0) && !Bound::AtLeast(1.0).holds(0.99));
        assert!(Bound::AtMost(1.0).holds(1.0) && !Bound::AtMost(1.0).holds(1.01));
    }
}
