//! One packet that is followed through the programs, for `tartanctl trace`.
//!
//! What tells it from all others has to outlive tunnels, forwarding and the translation of one
//! of its ends: IPv4's identification or IPv6's flow label, and either of the two addresses.
//! The debugging build alone looks at it.

use crate::wire::ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6};
use crate::wire::ipv4::Ipv4Header;
use crate::wire::ipv6::Ipv6Header;
use crate::wire::{ETH_LEN, Frame, Header as _, INNER_AT, INNER_AT6, be16};
use crate::{NetAddr, NetAddr6};

crate::table::counted! {
    /// A program, as a trace names it.
    pub enum Hook (caption) {
        PodEgress = 0: "pod_egress", "what a pod sends";
        PodIngress = 1: "pod_ingress", "what the host stack delivers to a pod";
        OverlayEgress = 2: "overlay_egress", "what the host stack routes to the pod network";
        OverlayIngress = 3: "overlay_ingress", "what the kernel's device decapsulated";
        UplinkIngress = 4: "uplink_ingress", "what arrives on the uplink";
        UplinkEgress = 5: "uplink_egress", "what leaves by the uplink without a tunnel";
    }
}

/// The bits of IPv6's first word that are the flow label (RFC 8200 section 3).
const FLOW_LABEL: u32 = 0x000f_ffff;

/// Which packet is followed. Of an IPv6 address the last 32 bits are compared.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Traced {
    /// Whether one is followed at all.
    pub on: u32,
    /// IPv4's identification, or IPv6's flow label.
    pub mark: u32,
    /// The last 32 bits of its source, as a number; zero for any.
    pub source: u32,
    /// The last 32 bits of its destination, as a number; zero for any.
    pub destination: u32,
}

impl Traced {
    /// Whether one is followed at all.
    #[inline(always)]
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.on != 0
    }

    #[inline(always)]
    const fn is(&self, mark: u32, source: u32, destination: u32) -> bool {
        let is_anybodys = self.source == 0 && self.destination == 0;
        let is_from = self.source != 0 && self.source == source;
        let is_to = self.destination != 0 && self.destination == destination;
        self.mark == mark && (is_anybodys || is_from || is_to)
    }
}

/// Where the packet is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trail {
    /// Its TTL or hop limit.
    pub ttl: u8,
    /// Whether it was found behind the headers of an IPv4 tunnel, or of an IPv6 one.
    pub tunnelled: bool,
}

/// Finds the followed packet in a frame, as it is or in a tunnel.
#[inline(always)]
pub fn find<F: Frame + ?Sized>(frame: &F, wanted: &Traced) -> Option<Trail> {
    found_at(frame, 0, false, wanted)
        .or_else(|| found_at(frame, INNER_AT, true, wanted))
        .or_else(|| found_at(frame, INNER_AT6, true, wanted))
}

#[inline(always)]
fn found_at<F: Frame + ?Sized>(
    frame: &F,
    at: usize,
    tunnelled: bool,
    wanted: &Traced,
) -> Option<Trail> {
    if let Some(ip) = ipv4_at(frame, at) {
        let is_it = wanted.is(ip.identification.into(), number(ip.source), number(ip.destination));
        return is_it.then_some(Trail { ttl: ip.ttl, tunnelled });
    }
    let ip = ipv6_at(frame, at)?;
    let is_it = wanted.is(ip.first_word & FLOW_LABEL, tail(ip.source), tail(ip.destination));
    is_it.then_some(Trail { ttl: ip.hop_limit, tunnelled })
}

/// The last 32 bits of an address, as a number.
#[inline(always)]
#[must_use]
pub const fn tail(address: NetAddr6) -> u32 {
    let [.., a, b, c, d] = address.octets();
    u32::from_be_bytes([a, b, c, d])
}

/// Source, destination, as numbers, and protocol of an IPv4 packet.
#[inline(always)]
pub fn ends<F: Frame + ?Sized>(frame: &F) -> Option<(u32, u32, u8)> {
    let ip = ipv4_at(frame, 0)?;
    Some((number(ip.source), number(ip.destination), ip.protocol))
}

#[inline(always)]
const fn number(address: NetAddr) -> u32 {
    u32::from_be_bytes(address.octets())
}

#[inline(always)]
fn ipv4_at<F: Frame + ?Sized>(frame: &F, at: usize) -> Option<Ipv4Header> {
    is_of(frame, at, ETHERTYPE_IPV4).then(|| Ipv4Header::read(frame, at + ETH_LEN))?
}

#[inline(always)]
fn ipv6_at<F: Frame + ?Sized>(frame: &F, at: usize) -> Option<Ipv6Header> {
    is_of(frame, at, ETHERTYPE_IPV6).then(|| Ipv6Header::read(frame, at + ETH_LEN))?
}

#[inline(always)]
fn is_of<F: Frame + ?Sized>(frame: &F, at: usize, ethertype: u16) -> bool {
    frame.window::<ETH_LEN>(at).is_some_and(|eth| be16(eth, 12) == ethertype)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ipv4::VERSION_IHL;
    use crate::wire::{IPV4_LEN, IPV6_LEN, OUTER_LEN};

    const WANTED: Traced = Traced { on: 1, mark: 0x7a31, source: 0x0af4_0105, destination: 0 };

    fn ipv4(source: [u8; 4], identification: u16) -> [u8; ETH_LEN + IPV4_LEN] {
        let header = Ipv4Header {
            version_ihl: VERSION_IHL,
            tos: 0,
            total_length: 20,
            identification,
            fragment: 0,
            ttl: 9,
            protocol: 1,
            checksum: 0,
            source: NetAddr::from_octets(source),
            destination: NetAddr::from_octets([10, 244, 2, 7]),
        };
        let mut frame = [0; ETH_LEN + IPV4_LEN];
        frame[12..14].copy_from_slice(&ETHERTYPE_IPV4.to_be_bytes());
        header.write(frame.last_chunk_mut().unwrap());
        frame
    }

    #[test]
    fn a_packet_is_known_by_its_identification_and_one_of_its_ends() {
        let of = |source, mark| find(&ipv4(source, mark)[..], &WANTED);
        assert_eq!(of([10, 244, 1, 5], 0x7a31), Some(Trail { ttl: 9, tunnelled: false }));
        assert_eq!(of([10, 244, 1, 5], 0x7a32), None);
        assert_eq!(of([10, 244, 1, 6], 0x7a31), None);
        let to = Traced { source: 0, destination: 0x0af4_0207, ..WANTED };
        assert!(find(&ipv4([10, 244, 1, 6], 0x7a31)[..], &to).is_some());
    }

    #[test]
    fn it_is_found_in_its_tunnel() {
        let mut frame = [0; INNER_AT + ETH_LEN + IPV4_LEN];
        frame[..ETH_LEN + IPV4_LEN].copy_from_slice(&ipv4([192, 0, 2, 1], 0));
        frame[INNER_AT..].copy_from_slice(&ipv4([10, 244, 1, 5], 0x7a31));
        assert_eq!(OUTER_LEN, INNER_AT + ETH_LEN);
        assert_eq!(find(&frame[..], &WANTED), Some(Trail { ttl: 9, tunnelled: true }));
    }

    #[test]
    fn an_ipv6_packet_is_known_by_its_flow_label() {
        let mut frame = [0; ETH_LEN + IPV6_LEN];
        frame[12..14].copy_from_slice(&ETHERTYPE_IPV6.to_be_bytes());
        let header = Ipv6Header {
            first_word: 0x6ff0_7a31,
            payload_length: 0,
            next_header: 58,
            hop_limit: 64,
            source: NetAddr6::from_octets([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 244, 1, 5]),
            destination: NetAddr6::from_octets([0; 16]),
        };
        header.write(frame.last_chunk_mut().unwrap());
        assert!(find(&frame[..], &WANTED).is_some());
        frame[ETH_LEN + 2] ^= 1;
        assert_eq!(find(&frame[..], &WANTED), None);
    }
}
