//! IPv6 frames, built field by field.

use tartan_common::wire::ethernet::{ETHERTYPE_IPV6, EthernetHeader};
use tartan_common::wire::ipv4::{PROTOCOL_TCP, PROTOCOL_UDP};
use tartan_common::wire::ipv6::{Ipv6Header, NEXT_HOP_BY_HOP, NEXT_ICMP};
use tartan_common::wire::{ETH_LEN, IPV6_LEN, vxlan};
use tartan_common::{Mac, NetAddr6};

use crate::packets::{icmp, tcp, udp};

/// An IPv6 packet.
#[must_use]
pub fn ipv6(ends: (NetAddr6, NetAddr6), next_header: u8, payload: &[u8]) -> Vec<u8> {
    let header = Ipv6Header {
        first_word: 0x6001_2345,
        payload_length: u16::try_from(payload.len()).unwrap_or(u16::MAX),
        next_header,
        hop_limit: 64,
        source: ends.0,
        destination: ends.1,
    };
    let mut bytes = [0; IPV6_LEN];
    header.write(&mut bytes);
    [&bytes[..], payload].concat()
}

/// An Ethernet frame that carries IPv6.
#[must_use]
pub fn frame(source: Mac, destination: Mac, packet: &[u8]) -> Vec<u8> {
    let mut header = [0; ETH_LEN];
    EthernetHeader { destination, source, ethertype: ETHERTYPE_IPV6 }.write(&mut header);
    [&header[..], packet].concat()
}

/// An IPv6 packet that carries TCP.
#[must_use]
pub fn tcp_packet(ends: (NetAddr6, NetAddr6), ports: (u16, u16), flags: u8) -> Vec<u8> {
    ipv6(ends, PROTOCOL_TCP, &tcp(ports, flags, b"data"))
}

/// An IPv6 packet that carries UDP.
#[must_use]
pub fn udp_packet(ends: (NetAddr6, NetAddr6), ports: (u16, u16)) -> Vec<u8> {
    ipv6(ends, PROTOCOL_UDP, &udp(ports, b"payload!"))
}

/// An IPv6 packet that carries an ICMPv6 message of this type.
#[must_use]
pub fn icmp6(ends: (NetAddr6, NetAddr6), kind: u8, word: [u8; 4], rest: &[u8]) -> Vec<u8> {
    ipv6(ends, NEXT_ICMP, &icmp(kind, 0, word, rest))
}

/// The same behind a hop-by-hop header with a router alert (RFC 2711).
#[must_use]
pub fn alerted(ends: (NetAddr6, NetAddr6), kind: u8) -> Vec<u8> {
    let options = [NEXT_ICMP, 0, 5, 2, 0, 0, 1, 0];
    ipv6(ends, NEXT_HOP_BY_HOP, &[&options[..], &icmp(kind, 0, [0; 4], &[0; 16])].concat())
}

/// A tunnel packet, outer IPv6 header first, around an inner frame. Its checksum is made up:
/// only its absence matters.
#[must_use]
pub fn tunnel(ends: (NetAddr6, NetAddr6), port: u16, vni: u32, inner: &[u8]) -> Vec<u8> {
    let payload = [&vxlan::header(vni)[..], inner].concat();
    let mut udp = udp((40_000, port), &payload);
    udp[6..8].copy_from_slice(&[0xab, 0xcd]);
    ipv6(ends, PROTOCOL_UDP, &udp)
}
