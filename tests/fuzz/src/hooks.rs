//! One packet at one hook, and what must hold of it, whatever it is.

use tartan_common::abi::NodeConfig;
use tartan_common::path::Path;
use tartan_common::reason::Reason;
use tartan_common::tunnel::Outer;
use tartan_golden::fixture::{self, Memory};
use tartan_golden::headers::Whose;
use tartan_golden::{Hook, Outcome, Verdict, guard, meta, run, run_counted};

use crate::input::Packet;
use crate::naive::{header_sum, is_sound, may_come_in};

type Check = Result<(), String>;

/// What went in and what came out.
struct Passage<'p> {
    packet: &'p Packet,
    outcome: Outcome,
    after: Vec<u8>,
}

fn pass(hook: Hook, packet: &Packet) -> (Passage<'_>, Memory) {
    let maps = packet.maps();
    let mut after = packet.frame.clone();
    let outcome = run_counted(hook, &mut after, &packet.meta, &packet.config, &maps, 7);
    (Passage { packet, outcome, after }, maps)
}

/// Runs a packet through a hook, twice.
///
/// # Errors
/// What is broken.
pub(crate) fn check(hook: Hook, input: &[u8]) -> Check {
    let Some(packet) = Packet::read(input) else { return Ok(()) };
    let (passage, maps) = pass(hook, &packet);
    let (again, same) = pass(hook, &packet);
    let alike = again.outcome == passage.outcome
        && again.after == passage.after
        && *same.flows.borrow() == *maps.flows.borrow()
        && *same.flows6.borrow() == *maps.flows6.borrow();
    ensure(alike, || format!("{:?}, then {:?}", passage.outcome, again.outcome))?;
    // What the packet left behind stands no later packet in the way.
    let mut later = packet.frame.clone();
    run(hook, &mut later, &packet.meta, &packet.config, &maps, 8);
    drops_change_nothing(hook, &passage, &maps)?;
    untouched(hook, &passage)?;
    let (verdict, path) = passage.outcome;
    match (verdict, path) {
        (Verdict::ToWire, _) => sent(hook, &passage),
        (Verdict::ToPod, _) => delivered(&passage).and_then(|()| came_in(&passage)),
        (Verdict::ToStack, _) => came_in(&passage),
        (Verdict::ToLink | Verdict::ToTunnel, _) => from_its_pod(&passage),
        (Verdict::Next | Verdict::ToDevice(_) | Verdict::Drop(_), _) => Ok(()),
    }
}

/// A packet that the kernel decapsulated.
///
/// # Errors
/// What is broken.
pub(crate) fn check_guard(input: &[u8]) -> Check {
    let Some(packet) = Packet::read(input) else { return Ok(()) };
    let maps = packet.maps();
    let ask = || guard(&packet.frame, &packet.meta, packet.key, &packet.config, &packet.maps());
    let outcome = guard(&packet.frame, &packet.meta, packet.key, &packet.config, &maps);
    ensure(ask() == outcome, || format!("{outcome:?}, then {:?}", ask()))?;
    let unknown = packet.key.is_none() && packet.meta.tag == 0;
    let passes = !matches!(outcome.0, Verdict::Drop(_));
    ensure(!(unknown && passes), || "without a key and without a tag".to_owned())
}

fn ensure(holds: bool, text: impl FnOnce() -> String) -> Check {
    if holds { Ok(()) } else { Err(text()) }
}

/// A packet that never was has no flow. Only what the stack delivers is told to the gate first.
fn drops_change_nothing(hook: Hook, passage: &Passage<'_>, maps: &Memory) -> Check {
    let before = passage.packet.maps();
    let same = *before.flows.borrow() == *maps.flows.borrow()
        && *before.flows6.borrow() == *maps.flows6.borrow();
    let is_drop = matches!(passage.outcome.0, Verdict::Drop(_)) && hook != Hook::OverlayEgress;
    ensure(same || !is_drop, || format!("{:?} has left a flow", passage.outcome))
}

/// What goes on is as it was; to the device, under another Ethernet header.
fn untouched(hook: Hook, passage: &Passage<'_>) -> Check {
    let (before, after) = (&passage.packet.frame, &passage.after);
    let goes_on = matches!(passage.outcome.0, Verdict::Next | Verdict::ToDevice(_));
    let header = if passage.outcome.1 == Some(Path::OverlayDevice) { 14 } else { 0 };
    let same = before.len() == after.len() && before.get(header..) == after.get(header..);
    ensure(same || !goes_on, || format!("{} changed what goes on", hook.program()))
}

/// What is encapsulated is a right tunnel packet, and the peer takes it, if it takes the packet in
/// it at all.
fn sent(hook: Hook, passage: &Passage<'_>) -> Check {
    let (before, after) = (&passage.packet.frame, &passage.after);
    ensure(after.len() == before.len() + 50, || format!("{} bytes", after.len()))?;
    ensure(header_sum(&after[14..34]) == 0xffff, || "a wrong outer checksum".to_owned())?;
    let lengths = [(16, after.len() - 14), (38, after.len() - 34)];
    for (at, length) in lengths {
        let told = usize::from(after[at]) << 8 | usize::from(after[at + 1]);
        ensure(told == length, || format!("{told} at {at}, not {length}"))?;
    }
    if hook == Hook::PodEgress {
        from_its_pod(passage)?;
        one_hop_less(&before[14..], &after[64..])?;
    } else {
        ensure(before[14..] == after[64..], || "another packet inside".to_owned())?;
    }
    the_peer_takes_it(passage)
}

/// The node that the fixture's peer is, as it sees itself.
fn peers_view(config: &NodeConfig) -> (NodeConfig, Memory) {
    use tartan_common::NetAddr;
    use tartan_common::abi::NodeEntry;
    let subnet = NetAddr::from_octets([10, 244, 2, 0]);
    let own = config.subnet;
    let config =
        NodeConfig { node: fixture::PEER, subnet, vtep_mac: fixture::PEER_VTEP, ..*config };
    let mut maps = Memory::new();
    maps.nodes = [(fixture::NODE, NodeEntry { subnet: own, mask: NetAddr::mask(24) })].into();
    (config, maps)
}

fn the_peer_takes_it(passage: &Passage<'_>) -> Check {
    let inner = &passage.after[64..];
    let is_peers = passage.after[30..34] == fixture::PEER.octets();
    // What a host routes may come from anywhere; only a pod's source was looked at.
    let is_pods = inner[12..16] == Whose::Pod.v4().octets();
    // Of pieces, each is a packet with lengths of its own.
    let is_whole = passage.packet.meta.gso_size == 0;
    if !is_peers || !is_pods || !is_whole || !is_sound(inner) || !passage.packet.config.has_tunnel()
    {
        return Ok(());
    }
    let (config, maps) = peers_view(&passage.packet.config);
    let mut frame = passage.after.clone();
    let arrived = meta(&frame, 0);
    match run(Hook::UplinkIngress, &mut frame, &arrived, &config, &maps, 0) {
        Verdict::ToPod | Verdict::ToStack => {
            let same = frame[14..] == *inner;
            ensure(same, || format!("{:02x?} is no more {inner:02x?}", &frame[14..]))
        }
        other @ (Verdict::Next
        | Verdict::ToDevice(_)
        | Verdict::Drop(_)
        | Verdict::ToWire
        | Verdict::ToLink
        | Verdict::ToTunnel) => Err(format!("the peer says {other:?}")),
    }
}

/// What went fast from a pod is its own.
fn from_its_pod(passage: &Passage<'_>) -> Check {
    let Packet { frame, meta, config, .. } = passage.packet;
    let maps = passage.packet.maps();
    let owner = if frame[12..14] == [0x86, 0xdd] {
        maps.pods6.iter().find(|(it, _)| it.octets() == frame[22..38]).map(|it| it.1)
    } else {
        maps.pods.iter().find(|(it, _)| it.octets() == frame[26..30]).map(|it| it.1)
    };
    let is_own = owner.is_some_and(|pod| pod.ifindex == meta.ifindex && pod.may_be_fast());
    ensure(is_own, || "a pod sent from an address that is not its own".to_owned())?;
    let may = config.fast_path() != tartan_common::abi::FastPath::Off && !meta.in_vlan;
    ensure(may, || "it went fast though nothing may".to_owned())
}

/// What came through the tunnel passes the rule in other words.
fn came_in(passage: &Passage<'_>) -> Check {
    let Packet { frame, config, .. } = passage.packet;
    if !matches!(passage.outcome.1, Some(Path::UplinkPodFast | Path::UplinkToStack)) {
        return Ok(());
    }
    may_come_in(frame, config.accepts_any_source())?;
    let headers = if frame[12..14] == [0x86, 0xdd] { 84 } else { 64 };
    let told = passage.after.len() - 14;
    ensure(told == frame.len() - headers, || format!("{told} bytes came in"))
}

/// What is put into a pod is for a pod of this node that may be fast, and lived one hop longer.
fn delivered(passage: &Passage<'_>) -> Check {
    let after = &passage.after;
    let maps = passage.packet.maps();
    let pod = if after[12..14] == [0x86, 0xdd] {
        maps.pods6.iter().find(|(it, _)| it.octets() == after[38..54]).map(|it| it.1)
    } else {
        maps.pods.iter().find(|(it, _)| it.octets() == after[30..34]).map(|it| it.1)
    };
    let is_fast = pod.is_some_and(tartan_common::abi::PodEntry::may_be_fast);
    ensure(is_fast, || "delivered to nobody's pod, or to a slow one".to_owned())?;
    let headers = passage.packet.frame.len() - after.len();
    let before = &passage.packet.frame[14 + headers..];
    one_hop_less(before, &after[14..])
}

/// The same packet with a lifetime that is one less and not over. A right checksum stays right;
/// the type of service may change where there was a tunnel.
fn one_hop_less(before: &[u8], after: &[u8]) -> Check {
    let (at, service) = if before[0] >> 4 == 6 { (7, 0..2) } else { (8, 1..2) };
    ensure(before[at] > 1 && after[at] == before[at] - 1, || {
        format!("a lifetime of {} became {}", before[at], after[at])
    })?;
    let is_changed = |(place, (one, other)): (usize, (&u8, &u8))| {
        let may_change = place == at || (at == 8 && (10..12).contains(&place));
        one != other && !may_change && !service.contains(&place)
    };
    let changed = before.iter().zip(after).enumerate().any(is_changed);
    ensure(!changed && before.len() == after.len(), || "another packet".to_owned())?;
    let was_right = at == 7 || header_sum(&before[..20]) != 0xffff;
    ensure(was_right || header_sum(&after[..20]) == 0xffff, || "a wrong checksum".to_owned())
}

/// Reasons that only a tunnel packet for this node can be dropped for.
pub(crate) fn check_outer(input: &[u8]) -> Check {
    let Some(packet) = Packet::read(input) else { return Ok(()) };
    let (passage, _) = pass(Hook::UplinkIngress, &packet);
    let Packet { frame, config, .. } = &packet;
    let outer = tartan_common::tunnel::outer(&frame[..], config, |_| None);
    let is_foreign = outer == Outer::Foreign && frame.get(12..14) == Some(&[8, 0]);
    let dropped = matches!(
        passage.outcome.0,
        Verdict::Drop(reason) if !matches!(reason, Reason::OffLinkSource | Reason::OuterOptions)
    );
    ensure(!(is_foreign && dropped), || format!("{:?} of what is foreign", passage.outcome))
}
