//! Kernel vxlan nodes alone: the lab's own ground, without the product.

use anyhow::{Result, ensure};

use crate::kernel_vxlan::KernelVxlanNode;
use crate::lab::Lab;
use crate::pod::Pod;
use crate::process::Place;
use crate::scenario::{Entry, Scenario};
use crate::traffic::{self, Transport};
use crate::wire::{Outside, Wire};

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("kernel_baseline::pods_talk_on_an_offloaded_wire", |s| talk(s, Wire::Offloaded)),
    Entry::new("kernel_baseline::pods_talk_on_a_framed_wire", |s| talk(s, Wire::Framed)),
    Entry::new("kernel_baseline::pods_talk_without_checksum_offload", |s| {
        talk(s, Wire::FramedNoChecksums)
    }),
    Entry::new("kernel_baseline::pods_talk_over_a_path_mtu_of_1400", |s| {
        talk(s, Wire::Routed { path_mtu: 1400 })
    }),
    Entry::new("kernel_baseline::a_framed_wire_carries_frames_of_its_mtu", framed_is_framed),
    Entry::new("kernel_baseline::a_path_mtu_of_1400_makes_fragments", path_mtu_fragments),
    Entry::new("kernel_baseline::figures", figures).long(),
];

/// Two kernel vxlan nodes that know each other, one pod each.
pub(super) fn pair(lab: &Lab) -> Result<[(KernelVxlanNode, Pod); 2]> {
    let one = KernelVxlanNode::new(lab.node()?, "10.244.1.0/24".parse()?)?;
    let two = KernelVxlanNode::new(lab.node()?, "10.244.2.0/24".parse()?)?;
    one.add_peer(two.lease())?;
    two.add_peer(one.lease())?;
    let (a, b) = (one.pod("a")?, two.pod("b")?);
    Ok([(one, a), (two, b)])
}

fn talk(scenario: &mut Scenario, wire: Wire) -> Result<()> {
    let lab = scenario.lab(wire)?;
    let [(one, a), (_two, b)] = pair(&lab)?;
    one.masquerade("10.244.0.0/16".parse()?)?;
    a.run(&format!("ping -c 1 -W 2 {}", b.address()?))?;
    a.run(&format!("ping -c 1 -W 2 -s 1422 {}", b.address()?))?;
    let _sink = traffic::tcp_sink(&b, true, None)?;
    let report = traffic::tcp_bytes(&a, b.address()?.into(), 5_000_000)?;
    scenario.note(format!("{report:?}"));
    ensure!(report.intact, "{report:?}");
    let _echo = traffic::echo(&b, None)?;
    let rr = traffic::rr(&a, Transport::Udp, b.address()?.into(), 0.2, None)?.finish()?;
    scenario.note(format!("{rr:?}"));
    ensure!(rr.lost == 0 && rr.round_trips > 100, "{rr:?}");
    Ok(())
}

/// The longest frame that reaches node2, and the fragments among all.
fn longest_frame(scenario: &mut Scenario, wire: Wire) -> Result<(usize, usize)> {
    let lab = scenario.lab(wire)?;
    let [(_one, a), (two, b)] = pair(&lab)?;
    let up = format!("up-{}", two.node().name());
    let _sink = traffic::tcp_sink(&b, true, None)?;
    let capture = traffic::sniff(&Outside, &up, "--proto 17 --snap 64")?;
    let sent = traffic::tcp_bytes(&a, b.address()?.into(), 1_000_000)?;
    ensure!(sent.intact, "{sent:?}");
    let frames = capture.stop()?.frames;
    let to_node: Vec<_> = frames.iter().filter(|frame| frame.outgoing).collect();
    let is_fragment =
        |bytes: &[u8]| bytes.get(20..22).is_some_and(|b| b[0] & 0x3f != 0 || b[1] != 0);
    let fragments = to_node.iter().filter(|frame| is_fragment(&frame.bytes)).count();
    let longest = to_node.iter().map(|frame| frame.length).max().unwrap_or(0);
    scenario.note(format!("{} frames, longest {longest}, {fragments} fragments", to_node.len()));
    Ok((longest, fragments))
}

fn framed_is_framed(scenario: &mut Scenario) -> Result<()> {
    let (longest, fragments) = longest_frame(scenario, Wire::Framed)?;
    ensure!(longest == 1514 && fragments == 0, "longest {longest}, {fragments} fragments");
    Ok(())
}

fn path_mtu_fragments(scenario: &mut Scenario) -> Result<()> {
    let (longest, fragments) = longest_frame(scenario, Wire::Routed { path_mtu: 1400 })?;
    ensure!(longest <= 1414 && fragments > 100, "longest {longest}, {fragments} fragments");
    Ok(())
}

/// What the tools measure on this machine: host and kernel vxlan on each wire.
fn figures(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Framed)?;
    let [(one, a), (two, b)] = pair(&lab)?;
    let host: (&dyn Place, &dyn Place, _) = (one.node(), two.node(), two.node().address());
    for (name, (from, to, ip)) in [("host", host), ("kernel", (&a, &b, b.address()?))] {
        let ip = ip.into();
        {
            let _echo = traffic::echo(to, Some(0))?;
            let rr = traffic::rr(from, Transport::Tcp, ip, 1.0, Some(0))?.finish()?;
            scenario.note(format!("{name}: TCP round trips {:.0}/s", rr.per_second));
        }
        {
            let _echo = traffic::serial_echo(to, 8, Some(0))?;
            let crr = traffic::crr(from, ip, 8, 1.0, Some(0))?.finish()?;
            scenario.note(format!("{name}: connections {crr:?}"));
        }
        {
            let _sink = traffic::tcp_sink(to, false, None)?;
            let stream = traffic::tcp_stream(from, ip, 1.0, None)?.finish()?;
            scenario.note(format!("{name}: stream {stream:?}"));
        }
        let sink = traffic::udp_sink(to, Some(1))?;
        let flood = traffic::udp_flood(from, ip, 1.0, Some(0))?.finish()?;
        scenario.note(format!("{name}: {flood:?} {:?}", sink.stop()?));
    }
    Ok(())
}
