//! Helper calls that change or send an IPv6 packet.

use core::mem::MaybeUninit;

use aya_ebpf::bindings::{
    BPF_F_ADJ_ROOM_DECAP_L3_IPV6, BPF_F_TUNINFO_IPV6, BPF_F_ZERO_CSUM_TX, bpf_redir_neigh,
    bpf_tunnel_key,
};
use aya_ebpf::helpers::{
    bpf_redirect, bpf_redirect_neigh, bpf_redirect_peer, bpf_skb_change_type,
    bpf_skb_get_tunnel_key, bpf_skb_set_tunnel_key,
};
use tartan_common::abi::{Counted, NodeConfig, Peer6, PodEntry};
use tartan_common::event::Event;
use tartan_common::gate;
use tartan_common::hook::TunnelKey6;
use tartan_common::path::Path;
use tartan_common::wire::ethernet::{ETHERTYPE_IPV6, EthernetHeader};
use tartan_common::wire::{ETH_LEN, IPV6_LEN, TUNNEL_OVERHEAD, TUNNEL6_OVERHEAD, ipv6};
use tartan_common::{Mac, NetAddr6};

use crate::actions::{remove_outer, zeroed};
use crate::features::{Feature, has};
use crate::log::trace;
use crate::maps::count;
use crate::packet::Packet;

/// Addressed to this host, whatever its destination MAC address is (`PACKET_HOST`).
const PACKET_HOST: u32 = 0;

/// Gives the packet what the overlay device needs to encapsulate it: the inner addresses that
/// the peer asks for, and a tunnel key, with an outer UDP checksum where the outer header is IPv6,
/// which wants one. `false` leaves a packet that must be dropped.
///
/// `decrement` says that this hook stands in for the host's forwarding.
#[inline(always)]
pub(crate) fn give_key(
    packet: &Packet,
    config: &NodeConfig,
    peer: &Peer6,
    decrement: bool,
) -> bool {
    let over_ipv4 = peer.node.ipv4();
    if !rewrite(packet, config.ipv6.vtep_mac, peer.vtep_mac, None, decrement) {
        return false;
    }
    let mut room = MaybeUninit::uninit();
    let key = zeroed::<bpf_tunnel_key, 11>(&mut room);
    key.tunnel_id = config.vni;
    key.tunnel_ttl = peer.hop_limit;
    let flags = if let Some(node) = over_ipv4 {
        key.__bindgen_anon_1.remote_ipv4 = u32::from_be(node.bits());
        key.__bindgen_anon_3.local_ipv4 = u32::from_be(config.node.bits());
        BPF_F_ZERO_CSUM_TX
    } else {
        // SAFETY: both members are as long as an address.
        unsafe {
            put(&raw mut key.__bindgen_anon_1.remote_ipv6, peer.node);
            put(&raw mut key.__bindgen_anon_3.local_ipv6, config.ipv6.node);
        }
        BPF_F_TUNINFO_IPV6
    };
    let (len, flags) = (size_of::<bpf_tunnel_key>() as u32, u64::from(flags));
    // SAFETY: the key is initialised and as long as `len` says.
    let failed = unsafe { bpf_skb_set_tunnel_key(packet.skb(), &raw mut *key, len, flags) };
    if failed != 0 {
        count(Counted::Event(Event::TunnelKeyFailed), 0);
    }
    failed == 0
}

/// The key of a packet that the kernel decapsulated from a tunnel over IPv6.
#[inline(always)]
pub(crate) fn tunnel_key(packet: &Packet) -> Option<TunnelKey6> {
    let mut room = MaybeUninit::uninit();
    let key = zeroed::<bpf_tunnel_key, 11>(&mut room);
    let len = size_of::<bpf_tunnel_key>() as u32;
    let flags = u64::from(BPF_F_TUNINFO_IPV6);
    // SAFETY: the helper writes at most `len` bytes.
    if unsafe { bpf_skb_get_tunnel_key(packet.skb(), &raw mut *key, len, flags) } != 0 {
        return None;
    }
    // SAFETY: the tunnel is IPv6: these are the members that the helper wrote.
    let (sender, receiver) = unsafe {
        (
            take(&raw const key.__bindgen_anon_1.remote_ipv6),
            take(&raw const key.__bindgen_anon_3.local_ipv6),
        )
    };
    Some(TunnelKey6 { sender, receiver, vni: key.tunnel_id })
}

/// Writes an address that does not begin at a multiple of eight bytes: one volatile word at a
/// time, or the compiler joins two of them and the verifier refuses what crosses a word.
///
/// # Safety
/// `at` may be written.
#[inline(always)]
unsafe fn put(at: *mut [u32; 4], address: NetAddr6) {
    let [a, b, c, d] = address.words();
    let at = at.cast::<u32>();
    // SAFETY: four words lie there, as the type says.
    unsafe {
        at.write_volatile(a);
        at.add(1).write_volatile(b);
        at.add(2).write_volatile(c);
        at.add(3).write_volatile(d);
    }
}

/// Reads what [`put`] writes.
///
/// # Safety
/// `at` was written.
#[inline(always)]
unsafe fn take(at: *const [u32; 4]) -> NetAddr6 {
    let at = at.cast::<u32>();
    // SAFETY: four words lie there, as the type says.
    let words = unsafe {
        [
            at.read_volatile(),
            at.add(1).read_volatile(),
            at.add(2).read_volatile(),
            at.add(3).read_volatile(),
        ]
    };
    NetAddr6::from_words(words)
}

/// Sends a packet that has its tunnel key to the overlay device.
#[inline(always)]
pub(crate) fn into_device(packet: &Packet, ifindex: u32, path: Path) -> i32 {
    trace(packet, Counted::Path(path));
    count(Counted::Path(path), packet.len());
    // SAFETY: a plain helper; the kernel resolves the device.
    unsafe { bpf_redirect(ifindex, 0) as i32 }
}

/// Sends a pod's packet to a peer on the link as it is, standing in for the host's forwarding.
#[inline(always)]
pub(crate) fn onto_link(packet: &Packet, peer: &Peer6) -> i32 {
    trace(packet, Counted::Path(Path::PodDirectFast));
    count(Counted::Path(Path::PodDirectFast), packet.len());
    let Some(frame) = packet.window_mut::<{ ETH_LEN + IPV6_LEN }>(0) else {
        count(Counted::Event(Event::WindowLost), 0);
        return crate::actions::lost();
    };
    if let Some(ip) = frame.last_chunk_mut::<IPV6_LEN>() {
        ipv6::decrement_hop_limit(ip);
    }
    // The uplink's own egress hook meets it next.
    packet.set_tag(gate::FORWARDED);
    let mut room = MaybeUninit::uninit();
    let hop = zeroed::<bpf_redir_neigh, 5>(&mut room);
    hop.nh_family = AF_INET6;
    // SAFETY: the member is as long as an address.
    unsafe { put(&raw mut hop.__bindgen_anon_1.ipv6_nh, peer.node) };
    let len = size_of::<bpf_redir_neigh>() as i32;
    // SAFETY: the helper copies the struct before it returns.
    unsafe { bpf_redirect_neigh(peer.link_ifindex, &raw mut *hop, len, 0) as i32 }
}

const AF_INET6: u32 = 10;

/// What the outer headers of an IPv6 packet are.
#[derive(Clone, Copy)]
pub(crate) struct Outer {
    bytes: usize,
    flags: u64,
}

impl Outer {
    /// IPv6 as well.
    pub(crate) const IPV6: Self = Self { bytes: TUNNEL6_OVERHEAD, flags: 0 };
    /// IPv4: the kernel has to be told that the packet becomes another one.
    pub(crate) const IPV4: Self =
        Self { bytes: TUNNEL_OVERHEAD, flags: BPF_F_ADJ_ROOM_DECAP_L3_IPV6 as u64 };
}

/// Takes the outer headers off. `false` leaves the packet as it was.
#[inline(always)]
pub(crate) fn decapsulate(packet: &Packet, outer: Outer) -> bool {
    // A kernel that cannot be told so decapsulates by its own device.
    (outer.flags == 0 || has(Feature::DecapL3)) && remove_outer(packet, outer.bytes, outer.flags)
}

/// Makes the stack take a packet that is addressed to the VTEP of IPv6, whose MAC address may be
/// another than the device's. The kernel may refuse only what no packet here has.
#[inline(always)]
pub(crate) fn is_for_this_host(packet: &Packet) {
    // SAFETY: the context is valid.
    let _ = unsafe { bpf_skb_change_type(packet.skb(), PACKET_HOST) };
}

/// Writes the Ethernet header, the traffic class and the hop limit of a forwarded packet.
/// `false` means that the bytes are gone.
#[inline(always)]
pub(crate) fn rewrite(
    packet: &Packet,
    from: Mac,
    to: Mac,
    class: Option<u8>,
    decrement: bool,
) -> bool {
    let Some(frame) = packet.window_mut::<{ ETH_LEN + IPV6_LEN }>(0) else {
        count(Counted::Event(Event::WindowLost), 0);
        return false;
    };
    let header = EthernetHeader { destination: to, source: from, ethertype: ETHERTYPE_IPV6 };
    if let Some(eth) = frame.first_chunk_mut::<ETH_LEN>() {
        header.write(eth);
    }
    if let Some(ip) = frame.last_chunk_mut::<IPV6_LEN>() {
        if let Some(class) = class {
            ipv6::set_traffic_class(ip, class);
        }
        if decrement {
            ipv6::decrement_hop_limit(ip);
        }
    }
    true
}

/// Forwards the packet straight into a pod.
#[inline(always)]
pub(crate) fn into_pod(packet: &Packet, pod: &PodEntry, class: Option<u8>, path: Path) -> i32 {
    trace(packet, Counted::Path(path));
    count(Counted::Path(path), packet.len());
    if !rewrite(packet, pod.host_mac, pod.pod_mac, class, true) {
        return crate::actions::lost();
    }
    // SAFETY: a plain helper; the kernel resolves the device.
    unsafe { bpf_redirect_peer(pod.ifindex, 0) as i32 }
}
