//! Throughput and round trips beside the kernel's vxlan and the host's own network, in one run.

use std::net::IpAddr;

use anyhow::{Context as _, Result};

use super::show::{self, Show};
use crate::cluster::Cluster;
use crate::kernel_vxlan::KernelVxlanNode;
use crate::lab::Lab;
use crate::node::Node;
use crate::pod::Pod;
use crate::process::Place;
use crate::traffic::{self, Transport};

const SECONDS: f64 = 0.5;
const ROUNDS: usize = 5;

/// Who is measured, from where to where.
struct Contender {
    name: &'static str,
    from: Box<dyn Place>,
    to: Box<dyn Place>,
    ip: IpAddr,
}

/// The two kernel vxlan nodes, which must live as long as they are measured.
struct Baseline {
    nodes: [Node; 2],
    pods: [Pod; 2],
}

type Measure = fn(&Contender) -> Result<f64>;

const FIGURES: [(&str, &str, Measure); 3] = [
    ("TCP round trips, 64 bytes", "per s", tcp_round_trips),
    ("UDP round trips, 64 bytes", "per s", udp_round_trips),
    ("one TCP stream", "Gbit/s", stream),
];

pub(super) fn show(show: &mut Show, lab: &Lab, cluster: &Cluster) -> Result<()> {
    show::heading("Beside the kernel's vxlan");
    println!("  Kernel: vxlan, bridge, conntrack and masquerading as flannel sets them up.");
    println!(
        "  Median of {ROUNDS} rounds of {SECONDS} s in rotated order. Round trips: both ends on one"
    );
    println!("  core. Two nodes share this machine, so ratios count, not figures.\n");
    let baseline = baseline(lab)?;
    let contenders = contenders(cluster, &baseline)?;
    println!("  {:34} {:>9} {:>9} {:>9}  Tartan", "", "host", "kernel", "Tartan");
    println!("  {:34} {:>9} {:>9} {:>9}  / kernel", "", "", "", "");
    for (name, unit, measure) in FIGURES {
        let [host, kernel, tartan] = rounds(&contenders, measure)?;
        let ratio = tartan / kernel;
        println!(
            "  {:34} {:>9} {:>9} {:>9}  {ratio:.2}",
            format!("{name}, {unit}"),
            shown(host),
            shown(kernel),
            shown(tartan),
        );
        if tartan <= 0.0 {
            show.failure(format!("{name}: no figure"));
        }
    }
    Ok(())
}

fn shown(value: f64) -> String {
    if value < 1000.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

fn baseline(lab: &Lab) -> Result<Baseline> {
    let network = "10.245.0.0/16".parse()?;
    let one = KernelVxlanNode::new(lab.node()?, "10.245.1.0/24".parse()?)?;
    let two = KernelVxlanNode::new(lab.node()?, "10.245.2.0/24".parse()?)?;
    one.add_peer(two.lease())?;
    two.add_peer(one.lease())?;
    for node in [&one, &two] {
        node.masquerade(network)?;
        node.node().track_connections()?;
    }
    let pods = [one.pod("a")?, two.pod("a")?];
    Ok(Baseline { nodes: [one.node().clone(), two.node().clone()], pods })
}

fn contenders(cluster: &Cluster, baseline: &Baseline) -> Result<[Contender; 3]> {
    let [one, two] = [0, 1].map(|index| cluster.members.get(index));
    let first = |member: Option<&crate::cluster::Member>| -> Result<Pod> {
        member.and_then(|member| member.pods.first()).cloned().context("no such pod")
    };
    let [host_one, host_two] = &baseline.nodes;
    let [kernel_one, kernel_two] = &baseline.pods;
    let (from, to) = (first(one)?, first(two)?);
    let host_ip = host_two.address().into();
    let kernel_ip = kernel_two.address()?.into();
    let tartan_ip = to.address()?.into();
    Ok([
        contender("host", host_one.clone(), host_two.clone(), host_ip),
        contender("kernel", kernel_one.clone(), kernel_two.clone(), kernel_ip),
        contender("Tartan", from, to, tartan_ip),
    ])
}

fn contender(
    name: &'static str,
    from: impl Place + 'static,
    to: impl Place + 'static,
    ip: IpAddr,
) -> Contender {
    Contender { name, from: Box::new(from), to: Box::new(to), ip }
}

/// The median of each contender; each round begins with another one.
fn rounds(contenders: &[Contender; 3], measure: Measure) -> Result<[f64; 3]> {
    let mut values: [Vec<f64>; 3] = Default::default();
    for round in 0..ROUNDS {
        for turn in 0..contenders.len() {
            let who = (round + turn) % contenders.len();
            let contender = &contenders[who];
            let value = measure(contender).with_context(|| contender.name.to_owned())?;
            values[who].push(value);
        }
    }
    Ok(values.map(median))
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

fn tcp_round_trips(contender: &Contender) -> Result<f64> {
    round_trips(contender, Transport::Tcp)
}

fn udp_round_trips(contender: &Contender) -> Result<f64> {
    round_trips(contender, Transport::Udp)
}

fn round_trips(contender: &Contender, over: Transport) -> Result<f64> {
    let _echo = traffic::echo(&*contender.to, Some(0))?;
    let rr = traffic::rr(&*contender.from, over, contender.ip, SECONDS, Some(0))?.finish()?;
    Ok(rr.per_second)
}

fn stream(contender: &Contender) -> Result<f64> {
    let _sink = traffic::tcp_sink(&*contender.to, false, None)?;
    let report = traffic::tcp_stream(&*contender.from, contender.ip, SECONDS, None)?.finish()?;
    Ok(report.gbit_per_s)
}
