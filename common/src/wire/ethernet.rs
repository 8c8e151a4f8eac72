//! Ethernet II headers.

use super::{ETH_LEN, be16};
use crate::Mac;

/// EtherType of IPv4.
pub const ETHERTYPE_IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const ETHERTYPE_IPV6: u16 = 0x86dd;

/// EtherTypes of VLAN tags that the kernel takes off by itself: IEEE 802.1Q and 802.1ad.
pub const ETHERTYPES_VLAN: [u16; 2] = [0x8100, 0x88a8];

/// An Ethernet header without tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EthernetHeader {
    /// Destination address.
    pub destination: Mac,
    /// Source address.
    pub source: Mac,
    /// EtherType.
    pub ethertype: u16,
}

impl EthernetHeader {
    /// Reads a header.
    #[inline(always)]
    #[must_use]
    pub const fn parse(b: &[u8; ETH_LEN]) -> Self {
        Self {
            destination: Mac([b[0], b[1], b[2], b[3], b[4], b[5]]),
            source: Mac([b[6], b[7], b[8], b[9], b[10], b[11]]),
            ethertype: be16(b, 12),
        }
    }

    /// Writes the header, in as few stores as the BPF back end can be talked into.
    #[inline(always)]
    pub fn write(&self, b: &mut [u8; ETH_LEN]) {
        let (d, s, t) = (self.destination.0, self.source.0, self.ethertype.to_be_bytes());
        let head = [d[0], d[1], d[2], d[3], d[4], d[5], s[0], s[1]];
        if let Some(bytes) = b.first_chunk_mut() {
            *bytes = u64::from_ne_bytes(head).to_ne_bytes();
        }
        if let Some(bytes) = b[8..].first_chunk_mut() {
            *bytes = u32::from_ne_bytes([s[2], s[3], s[4], s[5]]).to_ne_bytes();
        }
        if let Some(bytes) = b[12..].first_chunk_mut() {
            *bytes = t;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn writing_what_was_read_changes_nothing(bytes: [u8; ETH_LEN]) {
            let mut copy = [0; ETH_LEN];
            EthernetHeader::parse(&bytes).write(&mut copy);
            prop_assert_eq!(copy, bytes);
        }
    }
}
