//! IPv6 packets built byte by byte, as [`frames`](crate::frames) builds those of IPv4.

use std::net::Ipv6Addr;

use crate::frames::{MacBytes, checksum};

const IPV6: [u8; 2] = [0x86, 0xdd];

/// An Ethernet frame around an IPv6 packet.
#[must_use]
pub fn ethernet6(destination: MacBytes, source: MacBytes, packet: &[u8]) -> Vec<u8> {
    [&destination[..], &source, &IPV6, packet].concat()
}

/// An IPv6 packet to be.
#[derive(Debug, Clone)]
pub struct Ipv6 {
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
    /// What follows this header and `extensions`.
    pub next: u8,
    /// DSCP and ECN.
    pub class: u8,
    /// Flow label, 20 bits.
    pub label: u32,
    /// Hops left.
    pub hops: u8,
    /// Extension headers: number of the first, and all their bytes. The last one's next header is
    /// theirs to say.
    pub extensions: Option<(u8, Vec<u8>)>,
    /// Payload length, if it shall not be the true one.
    pub length: Option<u16>,
}

impl Ipv6 {
    /// A plain packet.
    #[must_use]
    pub fn new(source: Ipv6Addr, destination: Ipv6Addr, next: u8) -> Self {
        let (class, label, hops) = (0, 0, 64);
        Self { source, destination, next, class, label, hops, extensions: None, length: None }
    }

    /// The packet around this payload.
    #[must_use]
    pub fn build(&self, payload: &[u8]) -> Vec<u8> {
        let none = (self.next, Vec::new());
        let (first, extensions) = self.extensions.as_ref().unwrap_or(&none);
        let true_length = u16::try_from(extensions.len() + payload.len()).unwrap_or(u16::MAX);
        let word = 6 << 28 | u32::from(self.class) << 20 | (self.label & 0x000f_ffff);
        let mut packet = word.to_be_bytes().to_vec();
        packet.extend(self.length.unwrap_or(true_length).to_be_bytes());
        packet.extend([*first, self.hops]);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        packet.extend(extensions);
        packet.extend(payload);
        packet
    }

    /// Fills in the checksum of a payload of [`Ipv6::next`], which has two bytes of zero for it
    /// at this place.
    #[must_use]
    pub fn summed(&self, mut payload: Vec<u8>, at: usize) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_be_bytes();
        let (source, destination) = (self.source.octets(), self.destination.octets());
        let pseudo = [&source[..], &destination, &length, &[0, 0, 0, self.next], &payload].concat();
        // Zero says that there is none (RFC 8200 section 8.1); it is the same number.
        let sum = match checksum(&pseudo) {
            0 => u16::MAX,
            sum => sum,
        };
        if let Some(field) = payload.get_mut(at..at + 2) {
            field.copy_from_slice(&sum.to_be_bytes());
        }
        payload
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::{UDP, udp};

    #[test]
    fn a_packet_has_its_fields_where_the_rfc_has_them() {
        let [a, b]: [Ipv6Addr; 2] = ["fd00::1", "fd00::2"].map(|text| text.parse().unwrap());
        let plain = Ipv6 { class: 0xb8, label: 0xabcde, ..Ipv6::new(a, b, UDP) };
        let packet = plain.build(b"1234");
        assert_eq!(packet[..8], [0x6b, 0x8a, 0xbc, 0xde, 0, 4, 17, 64]);
        assert_eq!((packet[23], packet[39], &packet[40..]), (1, 2, &b"1234"[..]));
        let hopping = Ipv6 { extensions: Some((0, vec![17, 0, 1, 4, 0, 0, 0, 0])), ..plain };
        assert_eq!((hopping.build(b"1234")[5], hopping.build(b"1234")[6]), (12, 0));
    }

    #[test]
    fn a_summed_payload_sums_to_zero() {
        let [a, b]: [Ipv6Addr; 2] = ["fd00::1", "fd00::2"].map(|text| text.parse().unwrap());
        let header = Ipv6::new(a, b, UDP);
        let payload = header.summed(udp(1, 2, b"odd"), 6);
        let pseudo = [&a.octets()[..], &b.octets(), &[0, 0, 0, 11, 0, 0, 0, 17], &payload].concat();
        assert_eq!(checksum(&pseudo), 0);
        assert_ne!(payload[6..8], [0, 0]);
    }
}
