//! Helper calls that change or send a packet. Every one that can fail says so
//! in a counter.

use core::mem::MaybeUninit;

use aya_ebpf::bindings::{
    BPF_ADJ_ROOM_ENCAP_L2_SHIFT, BPF_CSUM_LEVEL_DEC, BPF_F_ADJ_ROOM_ENCAP_L2_ETH,
    BPF_F_ADJ_ROOM_ENCAP_L3_IPV4, BPF_F_ADJ_ROOM_ENCAP_L4_UDP, BPF_F_ADJ_ROOM_FIXED_GSO,
    BPF_F_ADJ_ROOM_NO_CSUM_RESET, BPF_F_INGRESS, BPF_F_ZERO_CSUM_TX, TC_ACT_SHOT,
    bpf_adj_room_mode, bpf_redir_neigh, bpf_tunnel_key,
};
use aya_ebpf::helpers::{
    bpf_csum_level, bpf_redirect, bpf_redirect_neigh, bpf_redirect_peer, bpf_skb_adjust_room,
    bpf_skb_get_tunnel_key, bpf_skb_set_tunnel_key,
};
use tartan_common::abi::{Counted, NodeConfig, Peer, PodEntry};
use tartan_common::event::Event;
use tartan_common::gate;
use tartan_common::hook::TunnelKey;
use tartan_common::path::Path;
use tartan_common::reason::Reason;
use tartan_common::tunnel::{Open, write_outer};
use tartan_common::wire::ethernet::{ETHERTYPE_IPV4, EthernetHeader};
use tartan_common::wire::{ETH_LEN, IPV4_LEN, OUTER_LEN, TUNNEL_OVERHEAD, ipv4};
use tartan_common::{Mac, NetAddr};

use crate::features::{Feature, has};
use crate::log::trace;
use crate::maps::count;
use crate::packet::Packet;

/// Not consumed: the next program on this hook, then the kernel.
pub(crate) const NEXT: i32 = -1;
/// Freed here.
const SHOT: i32 = TC_ACT_SHOT;

/// The L2 length is that of the inner Ethernet header alone: with the VXLAN
/// header in it every GSO packet would be dropped (`vxlan_features_check`).
const ENCAP_FLAGS: u64 = (BPF_F_ADJ_ROOM_FIXED_GSO
    | BPF_F_ADJ_ROOM_ENCAP_L3_IPV4
    | BPF_F_ADJ_ROOM_ENCAP_L4_UDP
    | BPF_F_ADJ_ROOM_NO_CSUM_RESET) as u64
    | ((ETH_LEN as u64) << BPF_ADJ_ROOM_ENCAP_L2_SHIFT);
/// Where the kernel knows it: frames are inside.
const ENCAP_FRAMES: u64 = BPF_F_ADJ_ROOM_ENCAP_L2_ETH as u64;
const DECAP_FLAGS: u64 = (BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET) as u64;

/// Drops the packet under `reason`.
#[inline(always)]
pub(crate) fn drop(packet: &Packet, reason: Reason) -> i32 {
    trace(packet, Counted::Reason(reason));
    count(Counted::Reason(reason), packet.len());
    SHOT
}

/// Lets the packet go on, counted under `path`.
#[inline(always)]
pub(crate) fn pass(packet: &Packet, path: Path) -> i32 {
    trace(packet, Counted::Path(path));
    count(Counted::Path(path), packet.len());
    NEXT
}

/// Frees a packet that a helper left in pieces; the helper's event counted it.
#[inline(always)]
pub(crate) const fn lost() -> i32 {
    SHOT
}

/// Counts an event.
#[inline(always)]
pub(crate) fn event(event: Event) {
    count(Counted::Event(event), 0);
}

/// Why a packet could not be encapsulated.
pub(crate) enum EncapError {
    /// No room: the packet is as it was.
    Refused,
    /// The packet is in pieces: it must be dropped.
    Lost,
}

/// Puts the outer headers on; the packet leaves by [`send`].
///
/// `decrement` says that this hook stands in for the host's forwarding.
#[inline(always)]
pub(crate) fn encapsulate(
    packet: &Packet,
    peer: &Peer,
    open: Open,
    path: Path,
    decrement: bool,
) -> Result<(), EncapError> {
    // Without it nothing that is encapsulated here could be sent: the kernel's device does both.
    if !has(Feature::RedirectNeigh) {
        return Err(EncapError::Refused);
    }
    trace(packet, Counted::Path(path));
    let frames = if has(Feature::EncapL2Eth) { ENCAP_FRAMES } else { 0 };
    if !adjust_room(packet, TUNNEL_OVERHEAD as i32, ENCAP_FLAGS | frames) {
        event(Event::EncapRoomFailed);
        return Err(EncapError::Refused);
    }
    // The low bits count this CPU's packets.
    let identification = count(Counted::Path(path), packet.len()) as u16;
    let Some(frame) = packet.window_mut::<{ OUTER_LEN + IPV4_LEN }>(0) else {
        event(Event::WindowLost);
        return Err(EncapError::Lost);
    };
    if let Some(outer) = frame.first_chunk_mut::<OUTER_LEN>() {
        write_outer(outer, peer, open, identification);
    }
    if decrement && let Some(inner) = frame.last_chunk_mut::<IPV4_LEN>() {
        ipv4::decrement_ttl(inner);
    }
    Ok(())
}

/// Sends an encapsulated packet that the host stack routed to the overlay
/// device: the kernel looks up the route to the node anew.
///
/// With a given next hop the packet would keep the route to the overlay
/// device, and while the next hop's address is being resolved the neighbour
/// subsystem would take the packet's MAC addresses from that route
/// (`__neigh_update` in `net/core/neighbour.c`).
#[inline(always)]
pub(crate) fn send_routed(peer: &Peer) -> i32 {
    // SAFETY: no parameters means a look-up by the packet's own addresses.
    unsafe { bpf_redirect_neigh(peer.uplink_ifindex, core::ptr::null_mut(), 0, 0) as i32 }
}

/// Sends an encapsulated packet that came straight from a pod to the peer's next hop.
#[inline(always)]
pub(crate) fn send(peer: &Peer) -> i32 {
    let mut room = MaybeUninit::uninit();
    let hop = zeroed::<bpf_redir_neigh, 5>(&mut room);
    hop.nh_family = AF_INET;
    hop.__bindgen_anon_1.ipv4_nh = peer.next_hop.bits();
    let len = size_of::<bpf_redir_neigh>() as i32;
    // SAFETY: the helper copies the struct before it returns.
    unsafe { bpf_redirect_neigh(peer.uplink_ifindex, &raw mut *hop, len, 0) as i32 }
}

/// Sends a pod's packet to a peer on the link as it is, standing in for the host's forwarding.
#[inline(always)]
pub(crate) fn onto_link(packet: &Packet, peer: &Peer) -> i32 {
    trace(packet, Counted::Path(Path::PodDirectFast));
    count(Counted::Path(Path::PodDirectFast), packet.len());
    let Some(frame) = packet.window_mut::<{ ETH_LEN + IPV4_LEN }>(0) else {
        event(Event::WindowLost);
        return SHOT;
    };
    if let Some(ip) = frame.last_chunk_mut::<IPV4_LEN>() {
        ipv4::decrement_ttl(ip);
    }
    // The uplink's own egress hook meets it next.
    packet.set_tag(gate::FORWARDED);
    send(peer)
}

const AF_INET: u32 = 2;

/// Zeroes a plain C struct of `WORDS` words where it is.
///
/// Volatile and in place, because anything else becomes a call of memset,
/// which is a loop, which the verifier refuses without CAP_PERFMON.
#[inline(always)]
pub(crate) fn zeroed<T: PlainC, const WORDS: usize>(room: &mut MaybeUninit<T>) -> &mut T {
    const { assert!(size_of::<T>() == WORDS * 4 && align_of::<T>() == 4) };
    let words = room.as_mut_ptr().cast::<u32>();
    let mut word = 0;
    while word < WORDS {
        // SAFETY: the word lies inside the struct, as the assertion above made sure.
        unsafe { words.add(word).write_volatile(0) };
        word += 1;
    }
    // SAFETY: every byte was written, and all-zero is a valid value of a `PlainC`.
    unsafe { room.assume_init_mut() }
}

/// A C struct of integers and unions of integers: any bytes are a valid value.
pub(crate) trait PlainC {}
impl PlainC for bpf_tunnel_key {}
impl PlainC for bpf_redir_neigh {}

/// Hands a packet that cannot be given outer headers here to the overlay
/// device, with the key that tells it where to, and the inner addresses that
/// the peer asks for.
///
/// A classic device, taken over from flannel, takes no key: it looks up the
/// peer's MAC address in the forwarding entries that flannel left on it.
#[inline(always)]
pub(crate) fn leave_to_device(packet: &Packet, config: &NodeConfig, peer: &Peer) -> i32 {
    let Some(inner) = peer.template.last_chunk::<ETH_LEN>().map(EthernetHeader::parse) else {
        return SHOT;
    };
    if !rewrite(packet, inner.source, inner.destination, None, false) {
        return SHOT;
    }
    let mut room = MaybeUninit::uninit();
    let key = zeroed::<bpf_tunnel_key, 11>(&mut room);
    key.tunnel_id = config.vni;
    key.tunnel_ttl = peer.template[ETH_LEN + 8];
    key.__bindgen_anon_1.remote_ipv4 = u32::from_be(peer.node.bits());
    key.__bindgen_anon_3.local_ipv4 = u32::from_be(config.node.bits());
    let len = size_of::<bpf_tunnel_key>() as u32;
    let flags = u64::from(BPF_F_ZERO_CSUM_TX);
    // SAFETY: the key is initialised and as long as `len` says.
    let failed = unsafe { bpf_skb_set_tunnel_key(packet.skb(), &raw mut *key, len, flags) };
    if failed != 0 {
        event(Event::TunnelKeyFailed);
        return SHOT;
    }
    pass(packet, Path::OverlayDevice)
}

/// The key of a packet that the kernel decapsulated.
#[inline(always)]
pub(crate) fn tunnel_key(packet: &Packet) -> Option<TunnelKey> {
    let mut room = MaybeUninit::uninit();
    let key = zeroed::<bpf_tunnel_key, 11>(&mut room);
    let len = size_of::<bpf_tunnel_key>() as u32;
    // SAFETY: the helper writes at most `len` bytes.
    if unsafe { bpf_skb_get_tunnel_key(packet.skb(), &raw mut *key, len, 0) } != 0 {
        return None;
    }
    // SAFETY: the tunnel is IPv4: these are the members that the helper wrote.
    let (sender, receiver) =
        unsafe { (key.__bindgen_anon_1.remote_ipv4, key.__bindgen_anon_3.local_ipv4) };
    Some(TunnelKey {
        sender: NetAddr::from_octets(sender.to_be_bytes()),
        receiver: NetAddr::from_octets(receiver.to_be_bytes()),
        vni: key.tunnel_id,
    })
}

/// Takes the outer headers off. `false` leaves the packet as it was.
#[inline(always)]
pub(crate) fn decapsulate(packet: &Packet) -> bool {
    remove_outer(packet, TUNNEL_OVERHEAD, 0)
}

/// Removes `bytes` of outer headers behind the Ethernet header; `flags` say to what other protocol
/// the packet changes. `false` leaves the packet as it was.
#[inline(always)]
pub(crate) fn remove_outer(packet: &Packet, bytes: usize, flags: u64) -> bool {
    if !adjust_room(packet, -(bytes as i32), DECAP_FLAGS | flags) {
        event(Event::DecapRoomFailed);
        return false;
    }
    // A checksum that the NIC verified was the outer one.
    // SAFETY: the context is valid.
    if unsafe { bpf_csum_level(packet.skb(), u64::from(BPF_CSUM_LEVEL_DEC)) } < 0 {
        event(Event::CsumLevelFailed);
    }
    true
}

/// Writes the Ethernet header, the TOS and the TTL of a forwarded packet.
/// `false` means that the bytes are gone.
#[inline(always)]
pub(crate) fn rewrite(
    packet: &Packet,
    from: Mac,
    to: Mac,
    tos: Option<u8>,
    decrement: bool,
) -> bool {
    let Some(frame) = packet.window_mut::<{ ETH_LEN + IPV4_LEN }>(0) else {
        event(Event::WindowLost);
        return false;
    };
    let header = EthernetHeader { destination: to, source: from, ethertype: ETHERTYPE_IPV4 };
    if let Some(eth) = frame.first_chunk_mut::<ETH_LEN>() {
        header.write(eth);
    }
    if let Some(ip) = frame.last_chunk_mut::<IPV4_LEN>() {
        if let Some(tos) = tos {
            ipv4::set_tos(ip, tos);
        }
        if decrement {
            ipv4::decrement_ttl(ip);
        }
    }
    true
}

/// Forwards the packet straight into a pod: only where the kernel has `bpf_redirect_peer`.
#[inline(always)]
pub(crate) fn into_pod(packet: &Packet, pod: &PodEntry, tos: Option<u8>, path: Path) -> i32 {
    trace(packet, Counted::Path(path));
    count(Counted::Path(path), packet.len());
    if !rewrite(packet, pod.host_mac, pod.pod_mac, tos, true) {
        return SHOT;
    }
    // SAFETY: a plain helper; the kernel resolves the device.
    unsafe { bpf_redirect_peer(pod.ifindex, 0) as i32 }
}

/// Forwards the packet into the host stack as arriving on `ifindex`.
#[inline(always)]
pub(crate) fn into_stack(packet: &Packet, ifindex: u32, path: Path) -> i32 {
    trace(packet, Counted::Path(path));
    count(Counted::Path(path), packet.len());
    // SAFETY: a plain helper; the kernel resolves the device.
    unsafe { bpf_redirect(ifindex, u64::from(BPF_F_INGRESS)) as i32 }
}

#[inline(always)]
fn adjust_room(packet: &Packet, by: i32, flags: u64) -> bool {
    // SAFETY: the context is valid; pointers into the packet are fetched anew afterwards.
    unsafe {
        bpf_skb_adjust_room(packet.skb(), by, bpf_adj_room_mode::BPF_ADJ_ROOM_MAC, flags) == 0
    }
}
