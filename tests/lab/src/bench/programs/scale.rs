//! The encapsulating program with few and with many peers: every packet goes to another peer than
//! the one before, which is the worst that a cluster can do to its caches.

use std::iter;

use anyhow::{Context as _, Result};
use serde::Serialize;
use tartan_common::NetAddr;
use tartan_common::abi::NodeConfig;
use tartan_golden::fixture::{HOST_MAC, Memory, POD, POD_MAC, config};
use tartan_golden::packets::{ACK, frame, tcp_packet};
use tartan_golden::{Case, Hook, Verdict};

use super::kernel::Kernel;
use crate::bench::stats::{self, Spread};

const PEERS: [u16; 4] = [10, 100, 1000, 15_000];
/// Flows, the same number for any number of peers: what they cost is in all figures.
const FLOWS: u16 = 15_000;
const ROUNDS: usize = 3;
/// Coprime to the number of flows: a walk through all of them without order.
const STRIDE: usize = 7919;

/// The program with so many peers.
#[derive(Debug, Clone, Serialize)]
pub(in crate::bench) struct AtScale {
    pub(in crate::bench) peers: u16,
    pub(in crate::bench) nanoseconds: Spread,
    pub(in crate::bench) rounds: Vec<f64>,
}

pub(super) fn measure(kernel: &mut Kernel, clock: f64) -> Result<Vec<AtScale>> {
    let config = NodeConfig {
        network: NetAddr::from_octets([10, 0, 0, 0]),
        network_mask: NetAddr::mask(8),
        ..config()
    };
    kernel.configure(&config)?;
    let mut rounds = PEERS.map(|_| Vec::new());
    for _ in 0..ROUNDS {
        for (peers, round) in PEERS.iter().zip(&mut rounds) {
            round.push((walk(kernel, &config, *peers)? - clock).max(0.0));
        }
    }
    let all = PEERS.into_iter().zip(rounds).map(|(peers, rounds)| {
        let nanoseconds = Spread::of(rounds.iter().copied()).context("no rounds")?;
        Ok(AtScale { peers, nanoseconds, rounds })
    });
    all.collect()
}

fn walk(kernel: &mut Kernel, config: &NodeConfig, peers: u16) -> Result<f64> {
    let mut memory = Memory::new();
    let peer = memory.peers.values().next().copied().context("the fixture has no peer")?;
    memory.peers = (0..peers).map(|number| (subnet(number), peer)).collect();
    let cases: Vec<_> = (0..FLOWS).map(|flow| case(flow, peers)).collect();
    for case in &cases {
        case.prepare(config, &memory);
    }
    kernel.fill(&memory)?;
    kernel.check(cases.first().context("no flows")?)?;
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
