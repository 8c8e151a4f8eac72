//! The demo: three nodes, six pods, every claim shown on real packets.

mod pairs;
mod show;
mod speed;
mod spoof;
mod upgrade;

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::cluster::Cluster;
use crate::lab::Lab;
use crate::lease::Lease;
use crate::leftovers::Inventory;
use crate::process::Place as _;
use crate::sandbox::{Ended, Sandbox, require_root};
use crate::wire::Wire;
use show::Show;

/// The demo must be done by then.
const LIMIT: Duration = Duration::from_mins(3);

/// Runs the demo in a lab and compares the machine before and after. The exit code says what the
/// last line says: 0 for PASS.
///
/// # Errors
/// When the user is not root or the lab cannot be started.
pub fn run() -> Result<u8> {
    require_root()?;
    let start = Instant::now();
    let before = Inventory::take()?;
    let ended = Sandbox::spawn(&["demo"], None)?.wait(Some(LIMIT))?;
    let left = before.left_since()?;
    show::heading("What is left on this machine");
    println!("  namespaces, links, routes, BPF programs, maps, links, pins, files:");
    if left.is_empty() {
        println!("  nothing that was not there before ({} entries compared)", before.len());
    }
    for thing in &left {
        println!("  LEFT: {thing}");
    }
    let passed = ended == Ended::Exited(0) && left.is_empty();
    println!("\n  {:.0} s in all", start.elapsed().as_secs_f64());
    match ended {
        Ended::TimedOut => println!("  stopped: not done after {} s", LIMIT.as_secs()),
        Ended::Interrupted(signal) => println!("  stopped by signal {signal}"),
        Ended::Exited(_) => {}
    }
    println!("{}", if passed { "PASS" } else { "FAIL" });
    Ok(exit_code(ended, passed))
}

fn exit_code(ended: Ended, passed: bool) -> u8 {
    match ended {
        Ended::Interrupted(signal) => u8::try_from(128 + signal).unwrap_or(1),
        Ended::Exited(_) | Ended::TimedOut => u8::from(!passed),
    }
}

/// The demo's steps, in the lab's process 1.
///
/// # Errors
/// When a step cannot go on; a claim that does not hold is shown and counted.
pub fn inside() -> Result<u8> {
    let mut show = Show::default();
    let lab = Lab::new(Wire::Framed)?;
    let mut cluster = bring_up(&lab)?;
    leases(&cluster)?;
    {
        let _servers = cluster.servers()?;
        pairs::show(&mut show, &cluster)?;
        upgrade::show(&mut show, &mut cluster)?;
    }
    spoof::show(&mut show, &cluster)?;
    speed::show(&mut show, &lab, &cluster)?;
    Ok(show.conclude())
}

fn bring_up(lab: &Lab) -> Result<Cluster> {
    show::heading("Three nodes on one wire, two pods each");
    println!("  Each node: own network, mounts, BPF file system and agent (tartand).");
    println!("  Each pod: made by the CNI plugin (tartan-cni). Wire: frames of 1500 bytes.\n");
    let start = Instant::now();
    let cluster = Cluster::new(lab, 3, 2)?;
    for member in &cluster.members {
        for pod in &member.pods {
            println!("  {:8} {}", pod.label(), pod.address()?);
        }
    }
    println!("  ready after {:.1} s", start.elapsed().as_secs_f64());
    Ok(cluster)
}

fn leases(cluster: &Cluster) -> Result<()> {
    show::heading("Leases");
    println!("  {:8} {:18} {:16} VTEP", "node", "pods", "address");
    for lease in Lease::all()? {
        let of = |member: &&crate::cluster::Member| member.node.address() == lease.node;
        let name = cluster.members.iter().find(of).map_or("?", |member| member.node.name());
        let [subnet, node] = [lease.subnet.to_string(), lease.node.to_string()];
        println!("  {name:8} {subnet:18} {node:16} {}", lease.vtep);
    }
    Ok(())
}
