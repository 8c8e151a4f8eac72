//! Checksums of captured frames, computed here and nowhere else: neither the product's code nor
//! the kernel's word is taken.

use crate::frames::{UDP, checksum};

const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMP6: u8 = 58;
/// Protocol number of SCTP.
pub const SCTP: u8 = 132;
/// The header of an IPv6 fragment.
const FRAGMENT: u8 = 44;
/// VXLAN and inner Ethernet header.
const TO_INNER: usize = 8 + 14;

/// What a checksum is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sum {
    /// The one that the bytes have.
    Right,
    /// Zero in UDP: the sender made none.
    Absent,
    /// Another one, or none where there must be one.
    Wrong,
    /// Nothing here can tell: a fragment, or a protocol that has none.
    Unknown,
}

/// The checksums of a tunnel packet: of each IP header, and of what it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sums {
    /// The outer ones.
    pub outer: [Sum; 2],
    /// The inner ones.
    pub inner: [Sum; 2],
}

/// Looks at a frame; `None` when it is no whole tunnel packet to this port.
#[must_use]
pub fn tunnel(frame: &[u8], port: u16) -> Option<Sums> {
    let outer = Packet::of(frame.get(14..)?)?;
    let destination = outer.payload.get(2..4)?;
    if outer.protocol != UDP || outer.is_fragment || destination != port.to_be_bytes() {
        return None;
    }
    let inner = Packet::of(outer.payload.get(8 + TO_INNER..)?)?;
    let mut sums = Sums { outer: outer.sums(), inner: inner.sums() };
    // RFC 6936 lets a tunnel over IPv6 go without; flannel's kernel vxlan does not, nor do we.
    if outer.is_ipv6() && sums.outer[1] == Sum::Absent {
        sums.outer[1] = Sum::Wrong;
    }
    Some(sums)
}

/// An IP packet, as far as its checksums ask for.
struct Packet<'a> {
    header: &'a [u8],
    /// Source and destination together.
    addresses: &'a [u8],
    protocol: u8,
    is_fragment: bool,
    payload: &'a [u8],
}

impl<'a> Packet<'a> {
    fn of(bytes: &'a [u8]) -> Option<Self> {
        match bytes.first()? >> 4 {
            4 => Self::ipv4(bytes),
            6 => Self::ipv6(bytes),
            _ => None,
        }
    }

    fn ipv4(bytes: &'a [u8]) -> Option<Self> {
        let length = usize::from(bytes.first()? & 0x0f) * 4;
        let total = usize::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?));
        let fragment = bytes.get(6..8)?;
        Some(Self {
            header: bytes.get(..length)?,
            addresses: bytes.get(12..20)?,
            protocol: *bytes.get(9)?,
            is_fragment: fragment[0] & 0x3f != 0 || fragment[1] != 0,
            payload: bytes.get(length..total)?,
        })
    }

    fn ipv6(bytes: &'a [u8]) -> Option<Self> {
        let length = usize::from(u16::from_be_bytes(*bytes.get(4..)?.first_chunk()?));
        let protocol = *bytes.get(6)?;
        Some(Self {
            header: bytes.get(..40)?,
            addresses: bytes.get(8..40)?,
            protocol,
            is_fragment: protocol == FRAGMENT,
            payload: bytes.get(40..40 + length)?,
        })
    }

    fn is_ipv6(&self) -> bool {
        self.addresses.len() == 32
    }

    fn sums(&self) -> [Sum; 2] {
        // IPv6 has no checksum of its header.
        let header = if self.is_ipv6() { Sum::Right } else { right(checksum(self.header) == 0) };
        [header, self.carried()]
    }

    fn carried(&self) -> Sum {
        if self.is_fragment {
            return Sum::Unknown;
        }
        match self.protocol {
            UDP if self.payload.get(6..8) == Some(&[0, 0]) => Sum::Absent,
            UDP | TCP | ICMP6 => right(self.with_pseudo_header() == 0),
            ICMP => right(checksum(self.payload) == 0),
            SCTP => right(sctp(self.payload)),
            _ => Sum::Unknown,
        }
    }

    /// RFC 9293 section 3.1 and RFC 8200 section 8.1: the same words, in another order.
    fn with_pseudo_header(&self) -> u16 {
        let length = u32::try_from(self.payload.len()).unwrap_or(u32::MAX).to_be_bytes();
        let last = [0, 0, 0, self.protocol];
        checksum(&[self.addresses, &length, &last, self.payload].concat())
    }
}

fn right(is_right: bool) -> Sum {
    if is_right { Sum::Right } else { Sum::Wrong }
}

fn sctp(packet: &[u8]) -> bool {
    let Some((head, rest)) = packet.split_at_checked(12) else { return false };
    let zeroed = [&head[..8], &[0; 4], rest].concat();
    head[8..] == crc32c(&zeroed).to_le_bytes()
}

/// CRC32c (RFC 9260 appendix A), bit by bit.
#[must_use]
pub fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = (crc >> 1) ^ (0x82f6_3b78 & (crc & 1).wrapping_neg());
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::forge::TunnelFrame;
    use crate::frames::Ipv4;

    const ENDS: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];

    fn frame(inner: Vec<u8>) -> Vec<u8> {
        let [a, b] = ENDS;
        TunnelFrame::new((a, [1; 6]), (b, [2; 6]), [3; 6], inner).build()
    }

    fn inner(protocol: u8, payload: &[u8]) -> Option<[Sum; 2]> {
        let packet = Ipv4::new(ENDS[0], ENDS[1], protocol).build(payload);
        tunnel(&frame(packet), 8472).map(|sums| sums.inner)
    }

    #[test]
    fn a_flipped_bit_is_seen_in_each_checksum() {
        // 192.0.2.1 to .2, ports 1 and 2, "ok": by hand.
        let good = [0, 1, 0, 2, 0, 10, 0x0c, 0x68, b'o', b'k'];
        assert_eq!(inner(UDP, &good), Some([Sum::Right; 2]));
        let mut bad = good;
        bad[9] ^= 1;
        assert_eq!(inner(UDP, &bad), Some([Sum::Right, Sum::Wrong]));
        bad[6..8].fill(0);
        assert_eq!(inner(UDP, &bad), Some([Sum::Right, Sum::Absent]));
        let mut whole = frame(Ipv4::new(ENDS[0], ENDS[1], UDP).build(&good));
        whole[64 + 8] ^= 1;
        assert_eq!(tunnel(&whole, 8472).map(|sums| sums.inner[0]), Some(Sum::Wrong));
        whole[14 + 8] ^= 1;
        assert_eq!(tunnel(&whole, 8472).map(|sums| sums.outer), Some([Sum::Wrong, Sum::Absent]));
    }

    #[test]
    fn the_checksum_of_sctp_is_that_of_the_rfc() {
        // RFC 3720 appendix B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        let mut packet = vec![0x11; 40];
        packet[8..12].fill(0);
        let crc = crc32c(&packet);
        packet[8..12].copy_from_slice(&crc.to_le_bytes());
        assert_eq!(inner(SCTP, &packet), Some([Sum::Right; 2]));
        packet[30] ^= 4;
        assert_eq!(inner(SCTP, &packet), Some([Sum::Right, Sum::Wrong]));
    }

    #[test]
    fn other_frames_are_none() {
        assert_eq!(tunnel(&frame(vec![0x45; 20])[..60], 8472), None);
        assert_eq!(tunnel(&[0; 10], 8472), None);
    }
}
