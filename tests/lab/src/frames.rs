//! Frames built and taken apart byte by byte, independently of the product's own code.
//!
//! A builder's defaults are what a correct sender would write; every field can be set to
//! something else.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, ensure};

/// Bytes of an Ethernet address.
pub type MacBytes = [u8; 6];

const IPV4: [u8; 2] = [0x08, 0x00];
/// IPv4 protocol number of UDP.
pub const UDP: u8 = 17;

/// `aa:bb:cc:dd:ee:ff` as bytes.
///
/// # Errors
/// When it is something else.
pub fn mac(text: &str) -> Result<MacBytes> {
    let bytes = text.trim().split(':').map(|byte| u8::from_str_radix(byte, 16));
    let bytes = bytes.collect::<Result<Vec<_>, _>>().with_context(|| format!("{text}: no MAC"))?;
    bytes.try_into().ok().with_context(|| format!("{text}: no MAC"))
}

/// An Ethernet frame around an IPv4 packet.
#[must_use]
pub fn ethernet(destination: MacBytes, source: MacBytes, packet: &[u8]) -> Vec<u8> {
    [&destination[..], &source, &IPV4, packet].concat()
}

/// An IPv4 packet to be.
#[derive(Debug, Clone)]
pub struct Ipv4 {
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// Protocol number.
    pub protocol: u8,
    /// Type of service.
    pub tos: u8,
    /// Identification.
    pub id: u16,
    /// Flags and fragment offset as they lie in the header.
    pub fragment: u16,
    /// Time to live.
    pub ttl: u8,
    /// Options; a multiple of 4 bytes, at most 40.
    pub options: Vec<u8>,
    /// Total length, if it shall not be the true one.
    pub total_length: Option<u16>,
}

impl Ipv4 {
    /// A plain packet.
    #[must_use]
    pub fn new(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8) -> Self {
        Self {
            source,
            destination,
            protocol,
            tos: 0,
            id: 0x1234,
            fragment: 0,
            ttl: 64,
            options: Vec::new(),
            total_length: None,
        }
    }

    /// The packet with a correct header checksum.
    #[must_use]
    pub fn build(&self, payload: &[u8]) -> Vec<u8> {
        let header = 20 + self.options.len();
        let words = u8::try_from(header / 4).unwrap_or(15);
        let true_length = u16::try_from(header + payload.len()).unwrap_or(u16::MAX);
        let length = self.total_length.unwrap_or(true_length);
        let mut packet = vec![0x40 | (words & 0x0f), self.tos];
        packet.extend(length.to_be_bytes());
        packet.extend(self.id.to_be_bytes());
        packet.extend(self.fragment.to_be_bytes());
        packet.extend([self.ttl, self.protocol, 0, 0]);
        packet.extend(self.source.octets());
        packet.extend(self.destination.octets());
        packet.extend(&self.options);
        let checksum = checksum(&packet).to_be_bytes();
        packet[10..12].copy_from_slice(&checksum);
        packet.extend(payload);
        packet
    }

    /// The packet around a UDP datagram without a checksum.
    #[must_use]
    pub fn udp(&self, source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
        self.build(&udp(source, destination, payload))
    }
}

/// A UDP datagram without a checksum.
#[must_use]
pub fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).unwrap_or(u16::MAX);
    let ports = [source.to_be_bytes(), destination.to_be_bytes()].concat();
    [&ports[..], &length.to_be_bytes(), &[0, 0], payload].concat()
}

/// A VXLAN header and the frame behind it.
#[must_use]
pub fn vxlan(flags: u8, vni: u32, frame: &[u8]) -> Vec<u8> {
    [&[flags, 0, 0, 0][..], &(vni << 8).to_be_bytes(), frame].concat()
}

/// The Internet checksum (RFC 1071).
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| match pair {
        [high, low] => u32::from(u16::from_be_bytes([*high, *low])),
        [high] => u32::from(*high) << 8,
        _ => 0,
    });
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(u16::MAX)
}

/// The named fields of a captured frame, in the order of the bytes.
pub type Fields = Vec<(String, String)>;

/// Takes a VXLAN frame apart: outer Ethernet, IPv4, UDP, VXLAN, inner Ethernet, inner IPv4 and
/// the rest.
///
/// # Errors
/// When it ends too early or is something else.
pub fn vxlan_fields(frame: &[u8]) -> Result<Fields> {
    let mut reader = Reader { rest: frame, fields: Vec::new() };
    reader.ethernet("outer")?;
    reader.ipv4("outer")?;
    for (name, length) in
        [("source port", 2), ("destination port", 2), ("length", 2), ("checksum", 2)]
    {
        reader.field("udp", name, length)?;
    }
    reader.field("vxlan", "flags and reserved", 4)?;
    reader.field("vxlan", "vni and reserved", 4)?;
    reader.ethernet("inner")?;
    reader.ipv4("inner")?;
    let rest = reader.rest.len();
    reader.field("inner", "payload", rest)?;
    Ok(reader.fields)
}

struct Reader<'a> {
    rest: &'a [u8],
    fields: Fields,
}

impl Reader<'_> {
    fn field(&mut self, layer: &str, name: &str, length: usize) -> Result<()> {
        let (value, rest) = self
            .rest
            .split_at_checked(length)
            .with_context(|| format!("the frame ends before its {layer} {name}"))?;
        self.rest = rest;
        self.fields.push((format!("{layer} {name}"), crate::hex::encode(value)));
        Ok(())
    }

    fn ethernet(&mut self, layer: &str) -> Result<()> {
        self.field(layer, "destination MAC", 6)?;
        self.field(layer, "source MAC", 6)?;
        self.field(layer, "EtherType", 2)
    }

    fn ipv4(&mut self, layer: &str) -> Result<()> {
        let version = self.rest.first().copied().unwrap_or(0);
        ensure!(version == 0x45, "the {layer} header is not IPv4 without options: {version:#x}");
        for (name, length) in [
            ("version and length", 1),
            ("type of service", 1),
            ("total length", 2),
            ("id", 2),
            ("fragment", 2),
            ("TTL", 1),
            ("protocol", 1),
            ("header checksum", 2),
            ("source", 4),
            ("destination", 4),
        ] {
            self.field(layer, name, length)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_is_taken_apart_again() {
        let [a, b] = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)];
        let inner = ethernet([1; 6], [2; 6], &Ipv4::new(a, b, UDP).udp(5, 6, b"hello"));
        let outer = Ipv4::new(b, a, UDP).udp(40000, 8472, &vxlan(8, 1, &inner));
        let fields = vxlan_fields(&ethernet([3; 6], [4; 6], &outer)).unwrap();
        let get = |name: &str| fields.iter().find(|(key, _)| key == name).unwrap().1.as_str();
        assert_eq!(get("udp destination port"), "2118");
        assert_eq!(get("vxlan vni and reserved"), "00000100");
        assert_eq!(get("inner source"), "0a000001");
        assert!(vxlan_fields(&outer[..30]).is_err());
    }

    #[test]
    fn a_header_with_its_checksum_sums_to_zero() {
        let [a, b] = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];
        assert_eq!(checksum(&Ipv4::new(a, b, 1).build(&[])), 0);
    }
}
