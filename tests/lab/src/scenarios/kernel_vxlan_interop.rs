//! One node runs the kernel's vxlan as flannel configures it, the others run Tartan.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::cluster::{Member, Servers, pairs, talk};
use crate::kernel_vxlan::KernelVxlanNode;
use crate::lab::Lab;
use crate::pod::Pod;
use crate::process::{Place as _, eventually};
use crate::scenario::{Entry, Scenario};
use crate::traffic;
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("kernel_vxlan_interop::on_an_offloaded_wire", |s| interop(s, Wire::Offloaded)),
    Entry::new("kernel_vxlan_interop::on_a_framed_wire", |s| interop(s, Wire::Framed)),
    Entry::new("kernel_vxlan_interop::without_checksum_offload", |s| {
        interop(s, Wire::FramedNoChecksums)
    }),
    Entry::new("kernel_vxlan_interop::over_a_path_mtu_of_1400", |s| {
        interop(s, Wire::Routed { path_mtu: 1400 })
    }),
    Entry::new("kernel_vxlan_interop::without_offloads_in_the_pods", without_pod_offloads),
];

/// A kernel vxlan node and two Tartan nodes that know each other, with two pods each.
pub(super) fn mixed(lab: &Lab) -> Result<(KernelVxlanNode, Vec<Member>, Vec<Pod>)> {
    mixed_under(lab, &[])
}

/// As [`mixed`], with agents started through another program and its arguments.
pub(super) fn mixed_under(
    lab: &Lab,
    launcher: &[&str],
) -> Result<(KernelVxlanNode, Vec<Member>, Vec<Pod>)> {
    let kernel = KernelVxlanNode::new(lab.node()?, "10.244.200.0/24".parse()?)?;
    kernel.publish()?;
    let members =
        (0..2).map(|_| Member::under(lab.node()?, launcher, 2)).collect::<Result<Vec<_>>>()?;
    kernel.adopt_leases()?;
    let mut pods = vec![kernel.pod("k")?, kernel.pod("l")?];
    pods.extend(members.iter().flat_map(|member| member.pods.clone()));
    let first = pods.first().context("no pod")?.address()?;
    for member in &members {
        eventually("a Tartan node learns of its kernel peer", Duration::from_secs(5), || {
            member.pods[0].succeeds(&format!("ping -n -c 1 -W 1 {first}"))
        })?;
    }
    Ok((kernel, members, pods))
}

fn interop(scenario: &mut Scenario, wire: Wire) -> Result<()> {
    let lab = scenario.lab(wire)?;
    let (_kernel, _members, pods) = mixed(&lab)?;
    let _servers = pods.iter().map(Servers::start).collect::<Result<Vec<_>>>()?;
    let all: Vec<_> = pods.iter().collect();
    for (from, to) in pairs(&all) {
        talk(from, to, 1_000_000)?;
    }
    Ok(())
}

/// TSO, GSO and GRO off at the pods' own links.
fn without_pod_offloads(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Framed)?;
    let (_kernel, _members, pods) = mixed(&lab)?;
    let _servers = pods.iter().map(Servers::start).collect::<Result<Vec<_>>>()?;
    for pod in &pods {
        pod.run("ethtool -K eth0 tso off gso off gro off tx off")?;
    }
    let all: Vec<_> = pods.iter().collect();
    for (from, to) in pairs(&all) {
        let sent = traffic::tcp_bytes(from, to.address()?.into(), 2_000_000)?;
        ensure!(sent.intact, "{} to {}: {sent:?}", from.label(), to.label());
    }
    Ok(())
}
