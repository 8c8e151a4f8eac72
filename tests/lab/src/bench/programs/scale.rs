//! The encapsulating program with few and with many peers: on one flow, and with every packet to
//! another peer than the one before, which is the worst that a cluster can do to its caches.

use std::iter;

use anyhow::{Context as _, Result};
use serde::Serialize;
use tartan_common::NetAddr;
use tartan_common::abi::NodeConfig;
use tartan_golden::fixture::{HOST_MAC, Memory, POD, POD_MAC, config};
use tartan_golden::packets::{ACK, frame, tcp_packet};
use tartan_golden::{Case, Hook, Verdict};

use super::kernel::Kernel;
use super::single;
use crate::bench::stats::{self, Spread};

const PEERS: [u16; 4] = [10, 100, 1000, 15_000];
/// Flows, the same number for any number of peers: what they cost is in all figures.
const FLOWS: u16 = 15_000;
const ROUNDS: usize = 3;
/// Coprime to the number of flows: a walk through all of them without order.
const STRIDE: usize = 7919;

/// The program with so many peers, in nanoseconds per call.
#[derive(Debug, Clone, Serialize)]
pub(in crate::bench) struct AtScale {
    pub(in crate::bench) peers: u16,
    /// All packets are of one flow.
    pub(in crate::bench) one_flow: Series,
    /// Each packet goes to another peer than the one before.
    pub(in crate::bench) each_another: Series,
}

/// Rounds of one measurement.
#[derive(Debug, Clone, Serialize)]
pub(in crate::bench) struct Series {
    pub(in crate::bench) spread: Spread,
    pub(in crate::bench) rounds: Vec<f64>,
}

impl Series {
    pub(super) fn new(rounds: Vec<f64>) -> Result<Self> {
        let spread = Spread::of(rounds.iter().copied()).context("no rounds")?;
        Ok(Self { spread, rounds })
    }
}

pub(super) fn measure(kernel: &mut Kernel, clock: f64) -> Result<Vec<AtScale>> {
    let config = NodeConfig {
        network: NetAddr::from_octets([10, 0, 0, 0]),
        network_mask: NetAddr::mask(8),
        ..config()
    };
    kernel.configure(&config)?;
    let mut rounds = PEERS.map(|_| (Vec::new(), Vec::new()));
    for _ in 0..ROUNDS {
        for (peers, (one_flow, each_another)) in PEERS.iter().zip(&mut rounds) {
            let cases = fill(kernel, &config, *peers)?;
            let first = cases.first().context("no flows")?;
            kernel.check(first)?;
            one_flow.push((single(kernel, first)? - clock).max(0.0));
            each_another.push((walk(kernel, &cases)? - clock).max(0.0));
        }
    }
    let all = PEERS.into_iter().zip(rounds).map(|(peers, (one_flow, each_another))| {
        let (one_flow, each_another) = (Series::new(one_flow)?, Series::new(each_another)?);
        Ok(AtScale { peers, one_flow, each_another })
    });
    all.collect()
}

/// So many peers, and a packet for each of the flows.
fn fill(kernel: &mut Kernel, config: &NodeConfig, peers: u16) -> Result<Vec<Case>> {
    let mut memory = Memory::new();
    let peer = memory.peers.values().next().copied().context("the fixture has no peer")?;
    memory.peers = (0..peers).map(|number| (subnet(number), peer)).collect();
    let cases: Vec<_> = (0..FLOWS).map(|flow| case(flow, peers)).collect();
    for case in &cases {
        case.prepare(config, &memory);
    }
    kernel.fill(&memory)?;
    Ok(cases)
}

fn walk(kernel: &mut Kernel, cases: &[Case]) -> Result<f64> {
    let order = iter::successors(Some(0), |at| Some((at + STRIDE) % cases.len()));
    let times = order.take(cases.len()).map(|at| kernel.time(&cases[at], 1));
    stats::undisturbed(times.collect::<Result<Vec<_>>>()?).context("no runs")
}

/// 10.1.0.0/24 and those after it: the node's own subnet is in 10.244.
fn subnet(number: u16) -> NetAddr {
    let [high, low] = number.to_be_bytes();
    NetAddr::from_octets([10, 1 + high, low, 0])
}

fn case(flow: u16, peers: u16) -> Case {
    let [_, second, third, _] = subnet(flow % peers).octets();
    let remote = NetAddr::from_octets([10, second, third, 2]);
    let packet = tcp_packet((POD, remote), (10_000 + flow, 80), ACK);
    Case {
        name: "a packet to one of many peers",
        hook: Hook::PodEgress,
        frame: frame(POD_MAC, HOST_MAC, &packet),
        gso_size: 0,
        direct: true,
        expected: Verdict::ToWire,
    }
}
