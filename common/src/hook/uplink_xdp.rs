//! What arrives on the uplink, before the kernel has made a packet of it.
//!
//! Whole tunnel packets over IPv4 are judged here by the same acceptance as at
//! [`uplink_ingress`](super::uplink_ingress), and lose their outer headers before GRO, which then
//! merges the inner flows as if they had come without a tunnel. Everything else is left to
//! `uplink_ingress` as it is.
//!
//! The verdict travels in the frame: an accepted packet's Ethernet source becomes this node's own
//! VTEP MAC address, which no frame from the wire may carry as long as the program is attached.
//! The packet metadata that XDP offers for this is lost where the kernel unshares a packet, for
//! instance while somebody runs tcpdump on the uplink.

use super::Maps;
use crate::Mac;
use crate::abi::NodeConfig;
use crate::reason::Reason;
use crate::tunnel::{self, Outer};
use crate::wire::ethernet::EthernetHeader;
use crate::wire::{ETH_LEN, Frame};

/// What becomes of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UplinkXdp {
    /// Nothing.
    Pass,
    /// It says that it was judged here, and was not: it loses its Ethernet source.
    Disown,
    /// Drop it.
    Drop(Reason),
    /// Without its outer headers, with this TOS, and with this Ethernet destination.
    Decapsulate(Option<u8>, Mac),
}

/// Decides about one frame of `len` bytes.
#[inline(always)]
pub fn uplink_xdp<F: Frame + ?Sized, M: Maps>(
    frame: &F,
    len: u32,
    config: &NodeConfig,
    maps: &M,
) -> UplinkXdp {
    let Some(eth) = frame.window::<ETH_LEN>(0).map(EthernetHeader::parse) else {
        return UplinkXdp::Pass;
    };
    if eth.source == config.vtep_mac && config.xdp_is_trusted() {
        return UplinkXdp::Disown;
    }
    if !config.xdp_decapsulates() {
        return UplinkXdp::Pass;
    }
    let ip = match tunnel::outer(frame, config, |_| None) {
        Outer::Tunnel(ip) => ip,
        Outer::Foreign
        | Outer::LaterFragment
        | Outer::FirstFragment(_)
        | Outer::Options
        | Outer::Truncated => return UplinkXdp::Pass,
    };
    match tunnel::accept(frame, &ip, len, 0, config, |address| maps.node(address).copied()) {
        Ok(accepted) => UplinkXdp::Decapsulate(accepted.tos, eth.destination),
        // IPv6 in the tunnel over IPv4 has its decision at `uplink_ingress`.
        Err(Reason::InnerProtocol) if config.ipv6.is_configured() => UplinkXdp::Pass,
        Err(reason) => UplinkXdp::Drop(reason),
    }
}
