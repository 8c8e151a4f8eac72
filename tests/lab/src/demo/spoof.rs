//! A pod lies about its address.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};

use super::show::{self, Show};
use crate::cluster::Cluster;
use crate::frames::{Ipv4, UDP, ethernet};
use crate::pod::Pod;
use crate::process::Place as _;
use crate::traffic;

const COUNT: u64 = 100;
const REASON: &str = "spoofed-source";
/// What the forged packets carry, so that the capture knows them.
const MARK: &[u8] = b"forged by a pod";

pub(super) fn show(show: &mut Show, cluster: &Cluster) -> Result<()> {
    show::heading("A spoofed packet");
    let liar = pod(cluster, 0, 0)?;
    let victim = pod(cluster, 1, 0)?;
    let forged = pod(cluster, 2, 0)?.address()?;
    println!(
        "  {} sends {COUNT} packets to {} in the name of {forged}",
        liar.label(),
        victim.label()
    );
    let filter = format!("--contains {}", crate::hex::encode(MARK));
    let capture = traffic::sniff(victim, "eth0", &filter)?;
    let before = liar.node().drops()?;
    send(liar, forged, victim.address()?)?;
    let added = liar.node().drops()?.since(&before);
    let arrived = capture.stop()?.frames.len();
    for (reason, packets) in added.iter() {
        println!("  {}: {packets} refused as {reason}", liar.node().name());
    }
    show.claim(arrived == 0, &format!("{arrived} of {COUNT} arrived"));
    show.claim(added.get(REASON) == COUNT, &format!("each is counted as {REASON}"));
    Ok(())
}

fn pod(cluster: &Cluster, node: usize, pod: usize) -> Result<&Pod> {
    cluster.members.get(node).and_then(|member| member.pods.get(pod)).context("no such pod")
}

fn send(liar: &Pod, source: Ipv4Addr, destination: Ipv4Addr) -> Result<()> {
    let packet = Ipv4::new(source, destination, UDP).udp(4000, 4000, MARK);
    let frame = ethernet(liar.gateway_mac()?, liar.mac()?, &packet);
    traffic::raw_send(liar, "eth0", &[frame], COUNT).map(drop)
}
