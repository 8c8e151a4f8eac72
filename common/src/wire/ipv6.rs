//! IPv6 headers (RFC 8200), and what the gate needs of ICMPv6 (RFC 4443, 4861, 3810).
//!
//! Only the fixed header is read: a packet whose transport header does not
//! follow it directly is the host stack's, which knows extension headers.

use super::transport::{Icmp, L4_PEEK};
use super::{Frame, Header, IPV6_LEN, be16};
use crate::NetAddr6;

/// Next header: hop-by-hop options, which follow the fixed header.
pub const NEXT_HOP_BY_HOP: u8 = 0;
/// Next header: routing.
pub const NEXT_ROUTING: u8 = 43;
/// Next header: a fragment of a packet.
pub const NEXT_FRAGMENT: u8 = 44;
/// Next header: ICMPv6.
pub const NEXT_ICMP: u8 = 58;
/// Next header: destination options.
pub const NEXT_DESTINATION: u8 = 60;
/// Next header: mobility.
pub const NEXT_MOBILITY: u8 = 135;
/// Next header: authentication.
pub const NEXT_AUTHENTICATION: u8 = 51;

/// The fixed header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Header {
    /// Version, traffic class and flow label.
    pub first_word: u32,
    /// Length of everything behind the fixed header, in bytes.
    pub payload_length: u16,
    /// What follows.
    pub next_header: u8,
    /// Hop limit.
    pub hop_limit: u8,
    /// Source address.
    pub source: NetAddr6,
    /// Destination address.
    pub destination: NetAddr6,
}

impl Ipv6Header {
    /// Reads the header; nothing is checked.
    #[inline(always)]
    #[must_use]
    pub const fn parse(b: &[u8; IPV6_LEN]) -> Self {
        Self {
            first_word: super::be32(b, 0),
            payload_length: be16(b, 4),
            next_header: b[6],
            hop_limit: b[7],
            source: NetAddr6::from_octets(sixteen(b, 8)),
            destination: NetAddr6::from_octets(sixteen(b, 24)),
        }
    }

    /// Writes the header as it is.
    pub fn write(&self, b: &mut [u8; IPV6_LEN]) {
        b[0..4].copy_from_slice(&self.first_word.to_be_bytes());
        b[4..6].copy_from_slice(&self.payload_length.to_be_bytes());
        b[6] = self.next_header;
        b[7] = self.hop_limit;
        b[8..24].copy_from_slice(&self.source.octets());
        b[24..40].copy_from_slice(&self.destination.octets());
    }

    /// Whether this is version 6.
    #[inline(always)]
    #[must_use]
    pub const fn is_version_6(&self) -> bool {
        self.first_word >> 28 == 6
    }

    /// DSCP and ECN, as IPv4's TOS has them.
    #[inline(always)]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "the traffic class has eight bits")]
    pub const fn traffic_class(&self) -> u8 {
        (self.first_word >> 20) as u8
    }
}

impl Header for Ipv6Header {
    type Addr = NetAddr6;
    const LEN: usize = IPV6_LEN;
    const ICMP: u8 = NEXT_ICMP;

    #[inline(always)]
    fn read<F: Frame + ?Sized>(frame: &F, at: usize) -> Option<Self> {
        frame.window::<IPV6_LEN>(at).map(Self::parse)
    }

    #[inline(always)]
    fn source(&self) -> NetAddr6 {
        self.source
    }

    #[inline(always)]
    fn destination(&self) -> NetAddr6 {
        self.destination
    }

    #[inline(always)]
    fn protocol(&self) -> u8 {
        self.next_header
    }

    /// Fragments and extension headers show in [`protocol`](Header::protocol).
    #[inline(always)]
    fn may_have_flow(&self) -> bool {
        true
    }

    #[inline(always)]
    fn is_quotable(&self) -> bool {
        self.is_version_6()
    }

    #[inline(always)]
    fn icmp(bytes: &[u8; L4_PEEK]) -> Icmp {
        icmp(bytes)
    }
}

/// Whether `next_header` is an extension header that may hide another header behind it.
#[inline(always)]
#[must_use]
pub const fn is_extension(next_header: u8) -> bool {
    matches!(
        next_header,
        NEXT_HOP_BY_HOP
            | NEXT_ROUTING
            | NEXT_FRAGMENT
            | NEXT_AUTHENTICATION
            | NEXT_DESTINATION
            | NEXT_MOBILITY
    )
}

/// Lowers the hop limit by one.
#[inline(always)]
pub const fn decrement_hop_limit(b: &mut [u8; IPV6_LEN]) {
    b[7] = b[7].wrapping_sub(1);
}

/// Writes the traffic class.
#[inline(always)]
pub const fn set_traffic_class(b: &mut [u8; IPV6_LEN], class: u8) {
    b[0] = 0x60 | class >> 4;
    b[1] = class << 4 | b[1] & 0x0f;
}

/// Neighbour discovery and multicast listening between a host and its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// Neighbour or router solicitation, neighbour advertisement: what any host says.
    Host,
    /// Router advertisement or redirect: what only a router may say.
    Router,
    /// Multicast listener discovery.
    Listener,
    /// Something else.
    None,
}

/// What an ICMPv6 message of this type is to the link.
#[inline(always)]
#[must_use]
pub const fn discovery(kind: u8) -> Discovery {
    match kind {
        133 | 135 | 136 => Discovery::Host,
        134 | 137 => Discovery::Router,
        130 | 131 | 132 | 143 => Discovery::Listener,
        _ => Discovery::None,
    }
}

/// Classifies an ICMPv6 message by its first eight bytes (RFC 4443 section 2.1).
///
/// Neighbour discovery is [`Icmp::Other`]: it has no flow and is never fast.
#[inline(always)]
#[must_use]
pub const fn icmp(b: &[u8; L4_PEEK]) -> Icmp {
    match b[0] {
        128 | 129 => Icmp::Echo(be16(b, 4)),
        1..=4 => Icmp::Error,
        _ => Icmp::Other,
    }
}

#[inline(always)]
const fn sixteen<const N: usize>(b: &[u8; N], at: usize) -> [u8; 16] {
    [
        b[at],
        b[at + 1],
        b[at + 2],
        b[at + 3],
        b[at + 4],
        b[at + 5],
        b[at + 6],
        b[at + 7],
        b[at + 8],
        b[at + 9],
        b[at + 10],
        b[at + 11],
        b[at + 12],
        b[at + 13],
        b[at + 14],
        b[at + 15],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn writing_what_was_read_changes_nothing(bytes: [u8; IPV6_LEN]) {
            let mut copy = [0; IPV6_LEN];
            Ipv6Header::parse(&bytes).write(&mut copy);
            prop_assert_eq!(copy, bytes);
        }

        #[test]
        fn the_traffic_class_is_written_between_version_and_label(label in 0_u32..1 << 20, class: u8) {
            let mut bytes = [0; IPV6_LEN];
            bytes[0..4].copy_from_slice(&(0x6000_0000 | label).to_be_bytes());
            set_traffic_class(&mut bytes, class);
            let header = Ipv6Header::parse(&bytes);
            prop_assert!(header.is_version_6());
            prop_assert_eq!((header.traffic_class(), header.first_word & 0xf_ffff), (class, label));
        }
    }

    #[test]
    fn neighbour_discovery_has_no_flow() {
        let of = |kind| icmp(&[kind, 0, 0, 0, 0x12, 0x34, 0, 0]);
        assert_eq!((of(128), of(129)), (Icmp::Echo(0x1234), Icmp::Echo(0x1234)));
        assert_eq!([1, 2, 3, 4].map(of), [Icmp::Error; 4]);
        for kind in 130..=255 {
            assert_eq!(of(kind), Icmp::Other, "{kind}");
        }
    }

    #[test]
    fn only_routers_advertise_and_redirect() {
        let routers: std::vec::Vec<u8> =
            (0..=255).filter(|kind| discovery(*kind) == Discovery::Router).collect();
        assert_eq!(routers, [134, 137]);
    }
}
