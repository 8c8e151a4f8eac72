//! A Service cannot launder a pod's tunnel packet: what a pod sends to a virtual address, which
//! rules turn into a tunnel port of a node and masquerade, is never taken for a node's.

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use super::ground::{Ground, MIRROR, Start, TUNNEL};
use super::masquerade::asked;
use crate::forge::TunnelFrame;
use crate::frames::{self, Ipv4, UDP};
use crate::lease::Lease;
use crate::netfilter_rules::Rules;
use crate::pod::Pod;
use crate::process::Place as _;
use crate::scenario::Scenario;
use crate::traffic;
use crate::wire::Wire;

/// Port of every Service here.
const PORT: u16 = 53;
/// A Service of an honest server of the other node.
const HONEST: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 60);
/// Where the forged inner datagram goes: the port of the sinks.
const SINK: u16 = 7200;
const TRIES: u64 = 50;

/// A virtual address, and the pod that the forged inner packet is for.
struct Service<'a> {
    name: &'static str,
    virtual_address: Ipv4Addr,
    endpoint: Ipv4Addr,
    victim: &'a Pod,
}

/// Refused with our rules; delivered without them, or the attack would be none.
pub(super) fn a_service(scenario: &mut Scenario, iptables: &str, launcher: &[&str]) -> Result<()> {
    let start = Start { launcher, ..Start::default() };
    let mut ground = Ground::tartan(scenario.lab(Wire::Offloaded)?, &start)?;
    for service in services(&ground)? {
        make(&ground, iptables, service.virtual_address, service.endpoint, TUNNEL)?;
        let delivered = attack(&ground, service.virtual_address, PORT, service.victim)?;
        scenario.note(format!("{}: {delivered} of {TRIES} delivered", service.name));
        ensure!(delivered == 0, "{}: {delivered} of {TRIES} delivered", service.name);
    }
    make(&ground, iptables, HONEST, ground.nodes[1].address(), MIRROR)?;
    asked(&ground.pods[0], (HONEST, PORT), "--udp --count 3")?;
    plainly(&ground)?;
    ground.end_agent(Signal::SIGKILL)?;
    without_our_rules(&ground)?;
    let others = &services(&ground)?[0];
    let delivered = attack(&ground, others.virtual_address, PORT, others.victim)?;
    scenario.note(format!("without our rules {delivered} of {TRIES} are delivered"));
    let rules = Rules::ours(&ground.nodes[0])?;
    ensure!(delivered > 0, "the attack would not work without our rules either: {rules:#?}");
    Ok(())
}

fn services(ground: &Ground) -> Result<[Service<'_>; 4]> {
    let [_, neighbour, far] = &ground.pods;
    let service = |name, last, endpoint, victim| {
        let virtual_address = Ipv4Addr::new(10, 96, 0, last);
        Service { name, virtual_address, endpoint, victim }
    };
    Ok([
        service("another node", 66, ground.nodes[1].address(), far),
        service("another node's overlay address", 67, ground.overlay(1)?, far),
        service("the pod's own node", 68, ground.nodes[0].address(), neighbour),
        service("its overlay address", 69, ground.overlay(0)?, neighbour),
    ])
}

/// As kube-proxy's: DNAT to the endpoint, marked to be masqueraded.
fn make(
    ground: &Ground,
    iptables: &str,
    virtual_address: Ipv4Addr,
    endpoint: Ipv4Addr,
    port: u16,
) -> Result<()> {
    let matches = format!("-d {virtual_address} -p udp --dport {PORT}");
    for rule in [
        format!("-A PREROUTING {matches} -j MARK --set-xmark 0x4000/0x4000"),
        format!("-A PREROUTING {matches} -j DNAT --to-destination {endpoint}:{port}"),
        "-A POSTROUTING -m mark --mark 0x4000/0x4000 -j MASQUERADE".to_owned(),
    ] {
        ground.nodes[0].run(&format!("{iptables} -w -t nat {rule}"))?;
    }
    Ok(())
}

/// How many forged packets reach the victim that the first pod sends to this address and port.
fn attack(ground: &Ground, to: Ipv4Addr, port: u16, victim: &Pod) -> Result<u64> {
    let pod = &ground.pods[0];
    let leases = Lease::all()?;
    let lease = leases.iter().find(|lease| lease.name == victim.node().name());
    let vtep = frames::mac(&lease.context("no lease of the victim's node")?.vtep)?;
    let inner = Ipv4::new(pod.address()?, victim.address()?, UDP).udp(SINK, SINK, b"forged");
    let (mac, gateway) = (pod.mac()?, pod.gateway_mac()?);
    let mut frame = TunnelFrame::new((pod.address()?, mac), (to, gateway), vtep, inner);
    frame.port = port;
    let sink = traffic::udp_sink(victim, None)?;
    traffic::raw_send(pod, "eth0", &[frame.build()], TRIES)?;
    thread::sleep(Duration::from_millis(300));
    Ok(sink.stop()?.received)
}

/// Sent to the node's own address, it is refused where it leaves the pod.
fn plainly(ground: &Ground) -> Result<()> {
    let before = ground.nodes[0].drops()?;
    let delivered = attack(ground, ground.nodes[1].address(), TUNNEL, &ground.pods[2])?;
    let added = ground.nodes[0].drops()?.since(&before);
    ensure!(delivered == 0, "{delivered} delivered");
    ensure!(added.get("pod-speaks-tunnel") == TRIES, "counted {added:?}");
    Ok(())
}

/// What would be there without us: everything of ours out of netfilter.
fn without_our_rules(ground: &Ground) -> Result<()> {
    let node = &ground.nodes[0];
    node.shell("if nft list table ip tartan; then nft delete table ip tartan; fi")?;
    let guard = "iptables-legacy -w -t mangle";
    node.shell(&format!("if {guard} -S TARTAN-FWD; then {guard} -F TARTAN-FWD; fi"))?;
    node.run("conntrack -F").map(drop)
}
