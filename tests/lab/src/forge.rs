//! Tunnel frames to be, right in every field until a test makes one of them wrong.

use std::net::Ipv4Addr;

use crate::frames::{Ipv4, MacBytes, UDP, ethernet};

/// UDP port of the tunnel.
pub const TUNNEL_PORT: u16 = 8472;
/// Outer Ethernet, IPv4, UDP and VXLAN header, inner Ethernet header: what lies before the inner
/// packet.
pub const OUTER_LENGTH: usize = 64;
/// Outer Ethernet and IPv4 header.
pub const UDP_AT: usize = 34;

/// EtherType of IPv4.
const IPV4: u16 = 0x0800;
/// The VXLAN I flag and nothing else (RFC 7348 section 5).
const FLAGS: u32 = 0x0800_0000;
/// VNI 1 and a zero reserved byte.
const VNI: u32 = 0x0000_0100;

/// One tunnel frame.
#[derive(Debug, Clone)]
pub struct TunnelFrame {
    /// Where the wire carries it.
    pub next_hop: MacBytes,
    /// Outer source MAC.
    pub source: MacBytes,
    /// Outer IPv4 header.
    pub outer: Ipv4,
    /// UDP destination port.
    pub port: u16,
    /// UDP length, if it shall not be the true one.
    pub udp_length: Option<u16>,
    /// First word of the VXLAN header.
    pub flags: u32,
    /// Second word of the VXLAN header.
    pub vni: u32,
    /// Inner destination MAC.
    pub vtep: MacBytes,
    /// EtherType of the inner frame.
    pub inner_type: u16,
    /// What the inner frame carries.
    pub inner: Vec<u8>,
}

impl TunnelFrame {
    /// A frame from one node to another with this packet inside.
    #[must_use]
    pub fn new(
        (sender, source): (Ipv4Addr, MacBytes),
        (receiver, next_hop): (Ipv4Addr, MacBytes),
        vtep: MacBytes,
        inner: Vec<u8>,
    ) -> Self {
        Self {
            next_hop,
            source,
            outer: Ipv4::new(sender, receiver, UDP),
            port: TUNNEL_PORT,
            udp_length: None,
            flags: FLAGS,
            vni: VNI,
            vtep,
            inner_type: IPV4,
            inner,
        }
    }

    /// The frame's bytes.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        ethernet(self.next_hop, self.source, &self.outer.build(&self.datagram()))
    }

    /// The outer UDP datagram.
    #[must_use]
    pub fn datagram(&self) -> Vec<u8> {
        let mut inner = [&self.vtep[..], &[0x06, 0xfe, 0, 0, 0, 9]].concat();
        inner.extend(self.inner_type.to_be_bytes());
        inner.extend(&self.inner);
        let true_length = u16::try_from(16 + inner.len()).unwrap_or(u16::MAX);
        let mut bytes = 40_000_u16.to_be_bytes().to_vec();
        bytes.extend(self.port.to_be_bytes());
        bytes.extend(self.udp_length.unwrap_or(true_length).to_be_bytes());
        bytes.extend([0, 0]);
        bytes.extend(self.flags.to_be_bytes());
        bytes.extend(self.vni.to_be_bytes());
        bytes.extend(inner);
        bytes
    }

    /// The frame cut after `length` bytes, its headers still telling of the whole.
    #[must_use]
    pub fn cut(&self, length: usize) -> Vec<u8> {
        let mut bytes = self.build();
        bytes.truncate(length);
        bytes
    }

    /// The frame cut after `length` bytes, which must be past the UDP header; the outer IP and UDP
    /// headers tell of what is left.
    #[must_use]
    pub fn cut_consistently(&self, length: usize) -> Vec<u8> {
        let mut datagram = self.datagram();
        datagram.truncate(length.saturating_sub(UDP_AT));
        let udp_length = u16::try_from(datagram.len()).unwrap_or(u16::MAX);
        if let Some(field) = datagram.get_mut(4..6) {
            field.copy_from_slice(&udp_length.to_be_bytes());
        }
        ethernet(self.next_hop, self.source, &self.outer.build(&datagram))
    }

    /// The packet in pieces of at most `piece` bytes of IP payload, a multiple of 8, under the
    /// identification `id`.
    #[must_use]
    pub fn fragments(&self, piece: usize, id: u16) -> Vec<Vec<u8>> {
        let datagram = self.datagram();
        let count = datagram.chunks(piece).count();
        let fragment = |(number, chunk): (usize, &[u8])| {
            let offset = u16::try_from(number * piece / 8).unwrap_or(0x1fff);
            let more = if number + 1 < count { 0x2000 } else { 0 };
            let outer = Ipv4 { id, fragment: more | offset, ..self.outer.clone() };
            ethernet(self.next_hop, self.source, &outer.build(chunk))
        };
        datagram.chunks(piece).enumerate().map(fragment).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::vxlan_fields;

    fn frame() -> TunnelFrame {
        let [a, b] = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];
        let inner = Ipv4::new(a, b, UDP).udp(1, 2, b"0123456789abcdef");
        TunnelFrame::new((a, [1; 6]), (b, [2; 6]), [3; 6], inner)
    }

    #[test]
    fn a_forged_frame_is_a_tunnel_frame() {
        let fields = vxlan_fields(&frame().build()).unwrap();
        let get = |name: &str| fields.iter().find(|(key, _)| key == name).unwrap().1.clone();
        assert_eq!(get("udp length"), "004a");
        assert_eq!(get("vxlan flags and reserved"), "08000000");
        assert_eq!(get("inner total length"), "002c");
    }

    #[test]
    fn fragments_hold_the_whole_packet() {
        let pieces = frame().fragments(24, 7);
        let payload: Vec<u8> = pieces.iter().flat_map(|piece| piece[34..].to_vec()).collect();
        assert_eq!(payload, frame().datagram());
        assert_eq!(pieces[1][20..22], [0x20, 3]);
        assert_eq!(pieces[3][20..22], [0, 9]);
    }

    #[test]
    fn a_consistent_cut_keeps_its_lengths_true() {
        let cut = frame().cut_consistently(60);
        assert_eq!((cut.len(), cut[17], cut[39]), (60, 46, 26));
        assert_eq!(frame().cut(60).len(), 60);
    }
}
