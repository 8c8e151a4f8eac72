//! What the programs themselves cost: nanoseconds per call by `BPF_PROG_TEST_RUN`, on packets of
//! the golden table.
//!
//! A test run repeats a program on one packet, so one that changes its packet is called once per
//! run, many times. The kernel's clock is read around each run: what that costs is measured with a
//! program that leaves its packet alone, called once and called often, and taken off.

mod kernel;
mod scale;

use anyhow::{Context as _, Result};
use serde::Serialize;
use tartan_golden::fixture::{Memory, config};
use tartan_golden::{Case, Hook, Verdict, cases};

use self::kernel::Kernel;
pub(super) use self::scale::AtScale;
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
}

/// A packet of the golden table, by where it is met and what becomes of it.
struct Wanted {
    name: &'static str,
    title: &'static str,
    hook: Hook,
    direct: bool,
    expected: Verdict,
}

const WANTED: [Wanted; 5] = [
    Wanted {
        name: ENCAP,
        title: "pod_egress: packet of a direct flow to a remote pod, encapsulated",
        hook: Hook::PodEgress,
        direct: true,
        expected: Verdict::ToWire,
    },
    Wanted {
        name: DECAP,
        title: "uplink_ingress: tunnel packet of a direct flow, decapsulated into the pod",
        hook: Hook::UplinkIngress,
        direct: true,
        expected: Verdict::ToPod,
    },
    Wanted {
        name: "local",
        title: "pod_egress: packet to a pod of this node",
        hook: Hook::PodEgress,
        direct: false,
        expected: Verdict::ToPod,
    },
    Wanted {
        name: "to the stack",
        title: "pod_egress: packet of a flow that the host stack handles",
        hook: Hook::PodEgress,
        direct: false,
        expected: Verdict::Next,
    },
    Wanted {
        name: FOREIGN,
        title: "uplink_ingress: packet that is no business of Tartan",
        hook: Hook::UplinkIngress,
        direct: false,
        expected: Verdict::Next,
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

    fn leaves_its_packet_alone(&self) -> bool {
        self.expected == Verdict::Next
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
    Ok(Programs { calls, clock, at_scale })
}

fn clock(kernel: &mut Kernel) -> Result<f64> {
    let foreign = WANTED.iter().find(|wanted| wanted.name == FOREIGN).context("no such packet")?;
    let case = foreign.case()?;
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
        rounds.push(if wanted.leaves_its_packet_alone() {
            kernel.time(&case, REPEAT)?
        } else {
            (single(kernel, &case)? - clock).max(0.0)
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

    /// Cost of a packet with the most peers against that with the fewest.
    pub(super) fn scaling(&self) -> Option<Spread> {
        let (first, last) = (self.at_scale.first()?, self.at_scale.last()?);
        Spread::of_ratios(&last.rounds, &first.rounds)
    }
}
