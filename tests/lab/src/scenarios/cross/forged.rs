//! What a host on the wire can forge: IPv6 in the tunnel over IPv4, and in one over IPv6 from an
//! address that stands for an IPv4 one.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::bare_node;
use crate::frames::{Ipv4, MacBytes, UDP, mac, udp, vxlan};
use crate::ipv6::{address6, pod_address6};
use crate::node::Node;
use crate::process::eventually;
use crate::scenario::Scenario;
use crate::scenarios::ipv6::{DUAL, Ground, dual_node};
use crate::traffic;
use crate::wire::Wire;

const PORT: u16 = 8472;
/// Of each kind.
const COUNT: u64 = 10;

/// An IPv6 packet with a UDP datagram.
fn inner(source: Ipv6Addr, to: Ipv6Addr) -> Vec<u8> {
    // A checksum that is not zero, which nobody here verifies.
    let mut datagram = udp(7000, 7000, b"forged");
    datagram[6] = 1;
    ipv6(source, to, &datagram)
}

fn ipv6(source: Ipv6Addr, to: Ipv6Addr, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX).to_be_bytes();
    let head = [&[0x60, 0, 0, 0][..], &length, &[UDP, 64]].concat();
    [&head[..], &source.octets(), &to.octets(), payload].concat()
}

fn frame(to: MacBytes, from: MacBytes, kind: [u8; 2], packet: &[u8]) -> Vec<u8> {
    [&to[..], &from, &kind, packet].concat()
}

const IPV4: [u8; 2] = [8, 0];
const IPV6: [u8; 2] = [0x86, 0xdd];

fn link_mac(node: &Node, link: &str) -> Result<MacBytes> {
    mac(&node.read(&format!("/sys/class/net/{link}/address"))?)
}

pub(super) fn refusals(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let nodes = vec![dual_node(&lab, DUAL)?, dual_node(&lab, DUAL)?, bare_node(&lab, "on")?];
    let ground = Ground::of(&lab, nodes, 1, &[])?;
    let stranger = lab.node()?;
    let [target, with, without] = &ground.ours[..] else { anyhow::bail!("not three nodes") };
    let pods = ground.pods.iter().map(pod_address6).collect::<Result<Vec<_>>>()?;
    let [to, of_with, of_without] = pods[..] else { anyhow::bail!("not three pods") };
    let target = &target.node;
    let (eth, vtep) = (link_mac(target, "eth0")?, link_mac(target, "flannel.1")?);
    let tunnel = |source: Ipv4Addr, vtep: MacBytes, packet: &[u8]| {
        let payload = vxlan(8, 1, &frame(vtep, [2; 6], IPV6, packet));
        let outer = Ipv4::new(source, target.address(), UDP).udp(5000, PORT, &payload);
        frame(eth, [2; 6], IPV4, &outer)
    };
    let (peer, crossing) = (with.node.address(), without.node.address());
    let good = inner(of_without, to);
    let mapped = crossing.to_ipv6_mapped();
    let over_ipv6 = {
        let mut datagram = udp(5000, PORT, &vxlan(8, 1, &frame(vtep, [2; 6], IPV6, &good)));
        datagram[6] = 1;
        frame(eth, [2; 6], IPV6, &ipv6(mapped, address6(target.address()), &datagram))
    };
    let link_local: Ipv6Addr = "fe80::1".parse()?;
    let cases = [
        ("foreign-source", tunnel(crossing, vtep, &inner(of_with, to))),
        ("foreign-source", tunnel(crossing, vtep, &inner(to, to))),
        ("foreign-source", tunnel(crossing, vtep, &inner(mapped, to))),
        ("foreign-source", tunnel(crossing, vtep, &inner(link_local, to))),
        ("foreign-source", tunnel(crossing, vtep, &inner(Ipv6Addr::UNSPECIFIED, to))),
        ("inner-destination", tunnel(crossing, vtep, &inner(of_without, of_with))),
        ("wrong-vtep-mac", tunnel(crossing, [2, 0, 0, 0, 0, 9], &good)),
        ("inner-protocol", tunnel(peer, vtep, &inner(of_with, to))),
        ("unknown-sender", tunnel(stranger.address(), vtep, &good)),
        ("unknown-sender", over_ipv6),
    ];
    let sink = traffic::sniff(&ground.pods[0], "eth0", "--contains 666f72676564")?;
    for (reason, forged) in cases {
        let before = target.drops()?;
        traffic::raw_send(&stranger, "eth0", &[forged], COUNT)?;
        eventually(reason, Duration::from_secs(5), || {
            Ok(target.drops()?.since(&before).total() >= COUNT)
        })
        .with_context(|| format!("{reason}: {:?}", target.drops().map(|now| now.since(&before))))?;
        let added = target.drops()?.since(&before);
        ensure!(added.get(reason) == COUNT && added.total() == COUNT, "{reason}: {added:?}");
        scenario.note(format!("refused: {reason}"));
    }
    // The same without a fault arrives: the test could fail.
    traffic::raw_send(&stranger, "eth0", &[tunnel(crossing, vtep, &good)], COUNT)?;
    std::thread::sleep(Duration::from_millis(200));
    let heard = sink.stop()?.frames.len();
    ensure!(u64::try_from(heard)? == COUNT, "{heard} packets reached the pod, not {COUNT}");
    Ok(())
}
