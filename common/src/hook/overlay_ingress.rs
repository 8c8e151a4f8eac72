//! What comes up from the overlay device: the guard.
//!
//! Packets that `uplink_ingress` decapsulated carry its tag and no tunnel key.
//! Packets that the kernel decapsulated (reassembled fragments, another NIC,
//! GSO packets for the host stack) carry a tunnel key and are judged by it,
//! unless the device is a classic one, taken over from flannel, that keeps no
//! key: there the tag, which the kernel's decapsulation leaves alone, says that
//! `uplink_ingress` accepted the packet, and what it did not see is refused.

use super::{Maps, Meta, ipv4, origin, tag_of};
use crate::NetAddr;
use crate::abi::NodeConfig;
use crate::flow::classify;
use crate::reason::Reason;
use crate::tunnel::accept_inner;
use crate::wire::ethernet::EthernetHeader;
use crate::wire::{ETH_LEN, Frame};

/// What the kernel kept of the outer headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TunnelKey {
    /// Outer source.
    pub sender: NetAddr,
    /// Outer destination.
    pub receiver: NetAddr,
    /// Network identifier.
    pub vni: u32,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverlayIngress {
    /// Already judged: into the host stack as it is.
    Judged,
    /// Judged here: into the host stack with this tag.
    Accept(u16),
    /// Drop it.
    Drop(Reason),
}

/// Decides about one packet. The kernel has merged ECN already.
#[inline(always)]
pub fn overlay_ingress<F: Frame + ?Sized, M: Maps>(
    frame: &F,
    meta: &Meta,
    key: Option<TunnelKey>,
    config: &NodeConfig,
    maps: &M,
) -> OverlayIngress {
    let Some(key) = key else {
        let judged = meta.tag != 0;
        return if judged {
            OverlayIngress::Judged
        } else {
            OverlayIngress::Drop(Reason::NoTunnelKey)
        };
    };
    match judge(frame, key, config, maps) {
        Ok(tag) => OverlayIngress::Accept(tag),
        Err(reason) => OverlayIngress::Drop(reason),
    }
}

#[inline(always)]
fn judge<F: Frame + ?Sized, M: Maps>(
    frame: &F,
    key: TunnelKey,
    config: &NodeConfig,
    maps: &M,
) -> Result<u16, Reason> {
    if key.receiver != config.node {
        return Err(Reason::NotForThisNode);
    }
    if key.vni != config.vni {
        return Err(Reason::WrongVni);
    }
    let entry = maps.node(key.sender).ok_or(Reason::UnknownSender)?;
    // The kernel itself refuses only other stations' addresses, not group addresses.
    let eth = frame.window::<ETH_LEN>(0).ok_or(Reason::Truncated)?;
    if EthernetHeader::parse(eth).destination != config.vtep_mac {
        return Err(Reason::WrongVtepMac);
    }
    let ip = ipv4(frame).ok_or(Reason::InnerProtocol)?;
    accept_inner(&ip, key.sender, 0, config, entry)?;
    let segment = classify(frame, &ip);
    // Seen untranslated: this hook is an origin for what the uplink's could not take.
    let _ = origin(maps, config, &segment);
    Ok(tag_of(&segment))
}
