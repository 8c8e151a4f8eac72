//! Which sources a pod may use: its own address, and, for what a host says to
//! its link alone, those that a link has.

use crate::reason::Reason;
use crate::wire::ipv6::{Discovery, Ipv6Header, NEXT_HOP_BY_HOP, NEXT_ICMP, discovery};
use crate::wire::transport::L4_PEEK;
use crate::wire::{Frame, L4_AT6};

/// Bytes of the shortest hop-by-hop header and of the ICMPv6 type behind it.
const LISTENER_PEEK: usize = 9;

/// What a pod's packet is by its source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaker {
    /// What any host says to its link: the stack's, whatever else it looks like.
    Link,
    /// Anything else: the source must be the pod's own.
    Pod,
}

/// Looks at the parts of a packet that concern the link.
///
/// Link-local sources and `::` are for neighbour discovery and multicast
/// listening, each in the one shape that hosts send. An advertisement of a
/// router, or a redirect, must come from a link-local address to be believed
/// (RFC 4861 sections 6.1.2 and 8.1), so none passes behind an extension
/// header or in fragments, either.
///
/// # Errors
/// The reason to drop it.
#[inline(always)]
pub(super) fn speaker<F: Frame + ?Sized>(frame: &F, ip: &Ipv6Header) -> Result<Speaker, Reason> {
    let said = if ip.next_header == NEXT_ICMP {
        frame.window::<L4_PEEK>(L4_AT6).map_or(Discovery::None, |icmp| discovery(icmp[0]))
    } else {
        Discovery::None
    };
    if said == Discovery::Router {
        return Err(Reason::RogueRouter);
    }
    if !ip.source.is_link_local() && !ip.source.is_unspecified() {
        return Ok(Speaker::Pod);
    }
    if said == Discovery::Host || listens(frame, ip) {
        return Ok(Speaker::Link);
    }
    Err(Reason::SpoofedSource)
}

/// Multicast listener discovery as RFC 3810 section 5 has it: behind the shortest hop-by-hop
/// header, to a group.
#[inline(always)]
fn listens<F: Frame + ?Sized>(frame: &F, ip: &Ipv6Header) -> bool {
    ip.next_header == NEXT_HOP_BY_HOP
        && ip.destination.is_multicast()
        && frame.window::<LISTENER_PEEK>(L4_AT6).is_some_and(|b| {
            b[0] == NEXT_ICMP && b[1] == 0 && discovery(b[8]) == Discovery::Listener
        })
}
