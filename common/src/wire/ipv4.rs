//! IPv4 headers (RFC 791).

use super::transport::{self, Icmp, L4_PEEK};
use super::{Frame, Header, IPV4_LEN, be16, checksum, four};
use crate::NetAddr;

/// Protocol number of ICMP.
pub const PROTOCOL_ICMP: u8 = 1;
/// Protocol number of TCP.
pub const PROTOCOL_TCP: u8 = 6;
/// Protocol number of UDP.
pub const PROTOCOL_UDP: u8 = 17;

/// The first byte of a header without options: version 4, five words.
pub const VERSION_IHL: u8 = 0x45;
/// More-fragments flag and fragment offset: zero on a whole packet.
const FRAGMENT_MASK: u16 = 0x3fff;
const OFFSET_MASK: u16 = 0x1fff;

/// The fixed part of an IPv4 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Header {
    /// Version and header length in words, four bits each.
    pub version_ihl: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// Length of header and payload in bytes.
    pub total_length: u16,
    /// Identification.
    pub identification: u16,
    /// Flags and fragment offset in units of eight bytes.
    pub fragment: u16,
    /// Time to live.
    pub ttl: u8,
    /// Protocol of the payload.
    pub protocol: u8,
    /// Header checksum as it stands.
    pub checksum: u16,
    /// Source address.
    pub source: NetAddr,
    /// Destination address.
    pub destination: NetAddr,
}

impl Ipv4Header {
    /// Reads the fixed part of a header; nothing is checked.
    #[inline(always)]
    #[must_use]
    pub const fn parse(b: &[u8; IPV4_LEN]) -> Self {
        Self {
            version_ihl: b[0],
            tos: b[1],
            total_length: be16(b, 2),
            identification: be16(b, 4),
            fragment: be16(b, 6),
            ttl: b[8],
            protocol: b[9],
            checksum: be16(b, 10),
            source: NetAddr::from_octets(four(b, 12)),
            destination: NetAddr::from_octets(four(b, 16)),
        }
    }

    /// Writes the fixed part as it is, checksum included.
    pub fn write(&self, b: &mut [u8; IPV4_LEN]) {
        b[0] = self.version_ihl;
        b[1] = self.tos;
        b[2..4].copy_from_slice(&self.total_length.to_be_bytes());
        b[4..6].copy_from_slice(&self.identification.to_be_bytes());
        b[6..8].copy_from_slice(&self.fragment.to_be_bytes());
        b[8] = self.ttl;
        b[9] = self.protocol;
        b[10..12].copy_from_slice(&self.checksum.to_be_bytes());
        b[12..16].copy_from_slice(&self.source.octets());
        b[16..20].copy_from_slice(&self.destination.octets());
    }

    /// Whether this is version 4 without options.
    #[inline(always)]
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        self.version_ihl == VERSION_IHL
    }

    /// Whether this is version 4 at all.
    #[inline(always)]
    #[must_use]
    pub const fn is_version_4(&self) -> bool {
        self.version_ihl >> 4 == 4
    }

    /// The header's length in bytes as its IHL says.
    #[inline(always)]
    #[must_use]
    pub const fn header_len(&self) -> usize {
        (self.version_ihl & 0x0f) as usize * 4
    }

    /// Whether this is a piece of a larger packet.
    #[inline(always)]
    #[must_use]
    pub const fn is_fragment(&self) -> bool {
        self.fragment & FRAGMENT_MASK != 0
    }

    /// Whether the payload starts with the transport header.
    #[inline(always)]
    #[must_use]
    pub const fn has_transport_header(&self) -> bool {
        self.fragment & OFFSET_MASK == 0
    }
}

impl Header for Ipv4Header {
    type Addr = NetAddr;
    const LEN: usize = IPV4_LEN;
    const ICMP: u8 = PROTOCOL_ICMP;

    #[inline(always)]
    fn read<F: Frame + ?Sized>(frame: &F, at: usize) -> Option<Self> {
        frame.window::<IPV4_LEN>(at).map(Self::parse)
    }

    #[inline(always)]
    fn source(&self) -> NetAddr {
        self.source
    }

    #[inline(always)]
    fn destination(&self) -> NetAddr {
        self.destination
    }

    #[inline(always)]
    fn protocol(&self) -> u8 {
        self.protocol
    }

    #[inline(always)]
    fn may_have_flow(&self) -> bool {
        self.is_plain() && !self.is_fragment()
    }

    #[inline(always)]
    fn is_quotable(&self) -> bool {
        self.is_plain() && self.has_transport_header()
    }

    #[inline(always)]
    fn icmp(bytes: &[u8; L4_PEEK]) -> Icmp {
        transport::icmp(bytes)
    }
}

/// Whether the checksum of a header without options is right (RFC 1071: the sum may be taken over
/// words of any size and order of bytes, as long as its carries come back).
#[inline(always)]
#[must_use]
pub fn is_intact(b: &[u8; IPV4_LEN]) -> bool {
    let (words, _) = b.as_chunks::<4>();
    let &[w0, w1, w2, w3, w4] = words else {
        return false;
    };
    let sum = word(w0) + word(w1) + word(w2) + word(w3) + word(w4);
    let halves = (sum & 0xffff) + ((sum >> 16) & 0xffff) + (sum >> 32);
    (halves & 0xffff) + (halves >> 16) == 0xffff
}

#[inline(always)]
const fn word(bytes: [u8; 4]) -> u64 {
    u32::from_ne_bytes(bytes) as u64
}

/// Lowers the TTL by one and keeps the checksum right.
#[inline(always)]
pub fn decrement_ttl(b: &mut [u8; IPV4_LEN]) {
    set_word(b, 8, u16::from_be_bytes([b[8].wrapping_sub(1), b[9]]));
}

/// Writes the TOS octet and keeps the checksum right.
#[inline(always)]
pub fn set_tos(b: &mut [u8; IPV4_LEN], tos: u8) {
    set_word(b, 0, u16::from_be_bytes([b[0], tos]));
}

#[inline(always)]
fn set_word(b: &mut [u8; IPV4_LEN], at: usize, new: u16) {
    let sum = checksum::updated(be16(b, 10), be16(b, at), new).to_be_bytes();
    let new = new.to_be_bytes();
    if let Some(bytes) = b[at..].first_chunk_mut() {
        *bytes = new;
    }
    if let Some(bytes) = b[10..].first_chunk_mut() {
        *bytes = sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn with_checksum(mut header: [u8; IPV4_LEN]) -> [u8; IPV4_LEN] {
        header[0] = VERSION_IHL;
        header[10..12].fill(0);
        let sum = checksum::checksum(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        header
    }

    proptest! {
        #[test]
        fn writing_what_was_read_changes_nothing(bytes: [u8; IPV4_LEN]) {
            let mut copy = [0; IPV4_LEN];
            Ipv4Header::parse(&bytes).write(&mut copy);
            prop_assert_eq!(copy, bytes);
        }

        #[test]
        fn edits_keep_the_checksum_right(bytes: [u8; IPV4_LEN], tos: u8) {
            let mut header = with_checksum(bytes);
            decrement_ttl(&mut header);
            set_tos(&mut header, tos);
            prop_assert_eq!(header, with_checksum(header));
            prop_assert_eq!(header[8], bytes[8].wrapping_sub(1));
            prop_assert_eq!(header[1], tos);
        }
    }

    proptest! {
        #[test]
        fn one_wrong_bit_is_found(bytes: [u8; IPV4_LEN], bit in 0..IPV4_LEN * 8) {
            let mut header = with_checksum(bytes);
            prop_assert!(is_intact(&header));
            header[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(!is_intact(&header));
        }

        #[test]
        fn any_header_is_judged_as_by_the_whole_sum(bytes: [u8; IPV4_LEN]) {
            prop_assert_eq!(is_intact(&bytes), checksum::fold(checksum::sum(&bytes)) == 0xffff);
        }
    }

    #[test]
    fn fragments_are_told_apart() {
        let mut header = Ipv4Header::parse(&[0x45; IPV4_LEN]);
        header.fragment = 0x4000;
        assert!(!header.is_fragment() && header.has_transport_header());
        header.fragment = 0x2000;
        assert!(header.is_fragment() && header.has_transport_header());
        header.fragment = 0x0001;
        assert!(header.is_fragment() && !header.has_transport_header());
    }
}
