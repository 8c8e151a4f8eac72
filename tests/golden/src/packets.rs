//! Frames, built field by field.

use tartan_common::wire::checksum::checksum;
use tartan_common::wire::ethernet::{ETHERTYPE_IPV4, EthernetHeader};
use tartan_common::wire::ipv4::{
    Ipv4Header, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, VERSION_IHL,
};
use tartan_common::wire::{ETH_LEN, IPV4_LEN, UDP_LEN, vxlan};
use tartan_common::{Mac, NetAddr};

/// TCP flags.
pub const SYN: u8 = 0x02;
/// TCP flags.
pub const SYN_ACK: u8 = 0x12;
/// TCP flags.
pub const ACK: u8 = 0x10;
/// TCP flags.
pub const FIN_ACK: u8 = 0x11;

/// An IPv4 packet with a right checksum.
#[must_use]
pub fn ipv4(source: NetAddr, destination: NetAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = Ipv4Header {
        version_ihl: VERSION_IHL,
        tos: 0,
        total_length: u16::try_from(IPV4_LEN + payload.len()).unwrap_or(u16::MAX),
        identification: 0x1234,
        fragment: 0x4000,
        ttl: 64,
        protocol,
        checksum: 0,
        source,
        destination,
    };
    let mut bytes = [0; IPV4_LEN];
    header.write(&mut bytes);
    header.checksum = checksum(&bytes);
    header.write(&mut bytes);
    [&bytes[..], payload].concat()
}

/// Writes the checksum of an IPv4 packet whose header was edited.
pub fn fix_checksum(packet: &mut [u8]) {
    let header_len = usize::from(packet[0] & 0x0f) * 4;
    packet[10..12].fill(0);
    let sum = checksum(&packet[..header_len.max(IPV4_LEN)]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// An Ethernet frame that carries IPv4.
#[must_use]
pub fn frame(source: Mac, destination: Mac, packet: &[u8]) -> Vec<u8> {
    let mut header = [0; ETH_LEN];
    EthernetHeader { destination, source, ethertype: ETHERTYPE_IPV4 }.write(&mut header);
    [&header[..], packet].concat()
}

/// A TCP segment without options.
#[must_use]
pub fn tcp(ports: (u16, u16), flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut header = [0; 20];
    header[0..2].copy_from_slice(&ports.0.to_be_bytes());
    header[2..4].copy_from_slice(&ports.1.to_be_bytes());
    (header[12], header[13]) = (0x50, flags);
    [&header[..], payload].concat()
}

/// A UDP datagram without checksum.
#[must_use]
pub fn udp(ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(UDP_LEN + payload.len()).unwrap_or(u16::MAX);
    let words = [ports.0, ports.1, length, 0];
    let header: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    [&header[..], payload].concat()
}

/// A datagram of 1458 bytes, IP header included: more than fits into the tunnel.
#[must_use]
pub fn large_packet(ends: (NetAddr, NetAddr), ports: (u16, u16)) -> Vec<u8> {
    ipv4(ends.0, ends.1, PROTOCOL_UDP, &udp(ports, &[0; 1430]))
}

/// An ICMP message: type, code, the four bytes after the checksum, and the rest.
#[must_use]
pub fn icmp(kind: u8, code: u8, word: [u8; 4], rest: &[u8]) -> Vec<u8> {
    [&[kind, code, 0, 0][..], &word, rest].concat()
}

/// An IPv4 packet that carries TCP.
#[must_use]
pub fn tcp_packet(ends: (NetAddr, NetAddr), ports: (u16, u16), flags: u8) -> Vec<u8> {
    ipv4(ends.0, ends.1, PROTOCOL_TCP, &tcp(ports, flags, b"data"))
}

/// An IPv4 packet that carries UDP.
#[must_use]
pub fn udp_packet(ends: (NetAddr, NetAddr), ports: (u16, u16)) -> Vec<u8> {
    ipv4(ends.0, ends.1, PROTOCOL_UDP, &udp(ports, b"payload!"))
}

/// An IPv4 packet that carries an ICMP echo request.
#[must_use]
pub fn ping(ends: (NetAddr, NetAddr), identifier: u16) -> Vec<u8> {
    let [high, low] = identifier.to_be_bytes();
    ipv4(ends.0, ends.1, PROTOCOL_ICMP, &icmp(8, 0, [high, low, 0, 1], b"abcdefgh"))
}

/// An IPv4 packet that says that another one could not be delivered.
#[must_use]
pub fn unreachable(ends: (NetAddr, NetAddr), about: &[u8]) -> Vec<u8> {
    let quote = &about[..about.len().min(IPV4_LEN + 8)];
    ipv4(ends.0, ends.1, PROTOCOL_ICMP, &icmp(3, 3, [0; 4], quote))
}

/// A tunnel packet, outer IPv4 header first, around an inner frame.
#[must_use]
pub fn tunnel(ends: (NetAddr, NetAddr), port: u16, vni: u32, inner: &[u8]) -> Vec<u8> {
    let payload = [&vxlan::header(vni)[..], inner].concat();
    ipv4(ends.0, ends.1, PROTOCOL_UDP, &udp((40_000, port), &payload))
}
