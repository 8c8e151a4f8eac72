//! What the programs themselves cost: nanoseconds per call by `BPF_PROG_TEST_RUN`, on packets of
//! the golden table.
//!
//! A test run repeats a program on one packet, so one that changes its packet is called once per
//! run, many times. The kernel's clock is read around each run: what that costs is measured with a
//! program that leaves its packet alone, called once and called often, and taken off.

mod kernel;
mod scale;
pub(super) mod traffic;

use anyhow::{Context as _, Result};
use serde::Serialize;
use tartan_golden::fixture::{Memory, config};
use tartan_golden::{Case, Hook, Verdict, cases};

use self::kernel::Kernel;
pub(super) use self::scale::AtScale;
use self::traffic::InTraffic;
use super::stats::{self, Spread};

/// Calls of a program that leaves its packet alone, in one run.
const REPEAT: u32 = 100_000;
/// Runs of one call.
const RUNS: usize = 4000;
/// Measurements of each figure; the spread is theirs.
const ROUNDS: usize = 5;

/// One program with one packet.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Call {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) nanoseconds: Spread,
}

/// All of them.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Programs {
    pub(super) calls: Vec<Call>,
    /// What reading the clock around one call costs, in nanoseconds; taken off.
    pub(super) clock: f64,
    pub(super) at_scale: Vec<AtScale>,
    /// On Tartan's nodes under round trips, for comparison; empty where it was not measured.
    pub(super) in_traffic: Vec<InTraffic>,
}

/// A packet of the golden table, by where it is met and what becomes of it.
struct Wanted {
    name: &'static str,
    title: &'static str,
    hook: Hook,
    direct: bool,
    expected: Verdict,
    /// Timed one call at a time though it leaves its packet alone.
    once: bool,
}

const WANTED: [Wanted; 6] = [
    Wanted {
        name: ENCAP,
        title: "pod_egress: packet of a direct flow to a remote pod, encapsulated",
        hook: Hook::PodEgress,
        direct: true,
        expected: Verdict::ToWire,
        once: true,
    },
    Wanted {
        name: DECAP,
        title: "uplink_ingress: tunnel packet of a direct flow, decapsulated into the pod",
        hook: Hook::UplinkIngress,
        direct: true,
        expected: Verdict::ToPod,
        once: true,
    },
    Wanted {
        name: "local",
        title: "pod_egress: packet to a pod of this node",
        hook: Hook::PodEgress,
        direct: false,
        expected: Verdict::ToPod,
        once: true,
    },
    Wanted {
        name: "to the stack",
        title: "pod_egress: packet of a flow that the host stack handles",
        hook: Hook::PodEgress,
        direct: false,
        expected: Verdict::Next,
        once: false,
    },
    Wanted {
        name: "to stack, once",
        title: "the same, timed one call at a time: what that adds to those above",
        hook: Hook::PodEgress,
        direct: false,
        expected: Verdict::Next,
        once: true,
    },
    Wanted {
        name: FOREIGN,
        title: "uplink_ingress: packet that is no business of Tartan",
        hook: Hook::UplinkIngress,
        direct: false,
        expected: Verdict::Next,
        once: false,
    },
];

/// The names that goals are about.
pub(super) const ENCAP: &str = "encap";
pub(super) const DECAP: &str = "decap";
const FOREIGN: &str = "foreign packet";

impl Wanted {
    fn case(&self) -> Result<Case> {
        let fits = |case: &Case| {
            case.hook == self.hook
                && case.direct == self.direct
                && case.expected == self.expected
                && case.gso_size == 0
        };
        let found = cases().into_iter().find(fits);
        found.with_context(|| format!("the golden table has no packet for: {}", self.title))
    }
}

/// Measures all; takes some seconds.
///
/// # Errors
/// When the kernel refuses a program, or the golden table lacks a packet.
pub(super) fn measure() -> Result<Programs> {
    let mut kernel = Kernel::load(&config())?;
    let clock = clock(&mut kernel)?;
    let calls = WANTED.iter().map(|wanted| call(&mut kernel, wanted, clock));
    let calls = calls.collect::<Result<_>>()?;
    let at_scale = scale::measure(&mut kernel, clock)?;
    Ok(Programs { calls, clock, at_scale, in_traffic: Vec::new() })
}

/// The packet that every program leaves alone.
fn foreign() -> Result<Case> {
    let foreign = WANTED.iter().find(|wanted| wanted.name == FOREIGN);
    foreign.context("no such packet")?.case()
}

fn clock(kernel: &mut Kernel) -> Result<f64> {
    let case = foreign()?;
    kernel.reset(&case, &Memory::new())?;
    let often = kernel.time(&case, REPEAT)?;
    Ok((single(kernel, &case)? - often).max(0.0))
}

fn call(kernel: &mut Kernel, wanted: &Wanted, clock: f64) -> Result<Call> {
    let case = wanted.case()?;
    kernel.reset(&case, &Memory::new())?;
    kernel.check(&case)?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        rounds.push(if wanted.once {
            (single(kernel, &case)? - clock).max(0.0)
        } else {
            kernel.time(&case, REPEAT)?
        });
    }
    let nanoseconds = Spread::of(rounds).context("no rounds")?;
    Ok(Call { name: wanted.name, title: wanted.title, nanoseconds })
}

/// Of one call: the typical one, whatever interrupted others.
fn single(kernel: &mut Kernel, case: &Case) -> Result<f64> {
    let runs = (0..RUNS).map(|_| kernel.time(case, 1)).collect::<Result<Vec<_>>>()?;
    stats::undisturbed(runs).context("no runs")
}

impl Programs {
    pub(super) fn call(&self, name: &str) -> Option<&Call> {
        self.calls.iter().find(|call| call.name == name)
    }

    /// The encapsulating program with the most peers against that with the fewest, on one flow.
    pub(super) fn scaling(&self) -> Option<Spread> {
        let (first, last) = (self.at_scale.first()?, self.at_scale.last()?);
        Spread::of_ratios(&last.one_flow.rounds, &first.one_flow.rounds)
    }

    /// The whole cost of a datagram that goes to another of the most peers each time, against that
    /// with the fewest. `datagram` is what one costs in nanoseconds while all go to one peer.
    pub(super) fn scaling_of(&self, datagram: f64) -> Option<Spread> {
        let (first, last) = (self.at_scale.first()?, self.at_scale.last()?);
        let rest = (datagram - first.one_flow.spread.median).max(0.0);
        let whole = |rounds: &[f64]| rounds.iter().map(|each| rest + each).collect::<Vec<_>>();
        Spread::of_ratios(&whole(&last.each_another.rounds), &whole(&first.each_another.rounds))
    }
}

#[cfg(test)]
mod tests {
    use super::scale::Series;
    use super::*;

    fn row(peers: u16, one_flow: f64, each_another: f64) -> AtScale {
        let series = |value: f64| Series::new(vec![value]).unwrap();
        AtScale { peers, one_flow: series(one_flow), each_another: series(each_another) }
    }

    #[test]
    fn what_peers_cost_is_seen_beside_the_rest_of_a_packet() {
        let at_scale = vec![row(10, 100.0, 200.0), row(15_000, 110.0, 500.0)];
        let calls = Vec::new();
        let programs = Programs { calls, clock: 0.0, at_scale, in_traffic: Vec::new() };
        let near =
            |ratio: Option<Spread>, wanted: f64| (ratio.unwrap().median - wanted).abs() < 1e-9;
        assert!(near(programs.scaling(), 1.1));
        // 2,900 ns besides encapsulation: 3,400 against 3,100.
        assert!(near(programs.scaling_of(3000.0), 3400.0 / 3100.0));
    }
}
