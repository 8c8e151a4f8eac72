//! Which flow a packet belongs to.

use crate::NetAddr;
use crate::abi::FlowKey;
use crate::wire::ipv4::{Ipv4Header, PROTOCOL_ICMP, PROTOCOL_TCP, VERSION_IHL};
use crate::wire::transport::{self, Icmp, L4_PEEK, TCP_PEEK, TcpPeek};
use crate::wire::{Frame, IPV4_LEN, L4_AT, size};

/// The ends of a flow as one packet shows them: sender first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple {
    /// Sender.
    pub source: NetAddr,
    /// Receiver.
    pub destination: NetAddr,
    /// Sender's port, or the ICMP echo identifier.
    pub source_port: u16,
    /// Receiver's port, or the ICMP echo identifier.
    pub destination_port: u16,
    /// IP protocol.
    pub protocol: u8,
}

/// Which end of a [`FlowKey`] sent a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The lower end.
    FromLow,
    /// The higher end.
    FromHigh,
}

/// What a packet is to the gate.
///
/// Its tuple is always set, with zero ports where there are none: the compiler
/// then has no value that is undefined on some path, and the verifier refuses
/// to read such a value from the stack without CAP_PERFMON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// What it is.
    pub kind: Kind,
    /// Whose packet it is; for an error, the ends of the packet that it quotes.
    pub tuple: Tuple,
    /// IP and transport header in bytes: what every piece of a GSO packet repeats.
    pub headers_len: u32,
}

/// What a packet is to its flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A packet of a flow.
    Of(Phase),
    /// An ICMP error about a flow.
    ErrorAbout,
    /// Nothing that has a flow: fragments, options, other protocols, cut-off headers.
    Opaque,
}

/// Where in its flow's life a packet stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Opens a TCP connection.
    Opening,
    /// Anything in between, and all of UDP and ICMP.
    Middle,
    /// Carries FIN or RST.
    Closing,
}

impl Tuple {
    /// The flow's key and which end sent.
    #[inline(always)]
    #[must_use]
    pub fn key(&self) -> (FlowKey, Direction) {
        let from = (u64::from(self.source.bits()) << 16) | u64::from(self.source_port);
        let to = (u64::from(self.destination.bits()) << 16) | u64::from(self.destination_port);
        let protocol = u32::from(self.protocol);
        if from <= to {
            let key = FlowKey {
                low: self.source,
                high: self.destination,
                low_port: self.source_port,
                high_port: self.destination_port,
                protocol,
            };
            (key, Direction::FromLow)
        } else {
            let key = FlowKey {
                low: self.destination,
                high: self.source,
                low_port: self.destination_port,
                high_port: self.source_port,
                protocol,
            };
            (key, Direction::FromHigh)
        }
    }

    /// The key of the destination alone, of no flow's: pods have no unspecified address.
    #[inline(always)]
    #[must_use]
    pub const fn destination_key(&self) -> FlowKey {
        FlowKey {
            low: NetAddr::UNSPECIFIED,
            high: self.destination,
            low_port: 0,
            high_port: self.destination_port,
            protocol: self.protocol as u32,
        }
    }

    /// A well mixed hash of the tuple, direction included.
    ///
    /// It chooses the outer source port and tags packets; nobody outside this
    /// node depends on its value.
    #[inline(always)]
    #[must_use]
    pub fn hash(&self) -> u32 {
        let addrs = u64::from(self.source.bits()) | (u64::from(self.destination.bits()) << 32);
        let ports = u64::from(self.source_port)
            | (u64::from(self.destination_port) << 16)
            | (u64::from(self.protocol) << 32);
        // The multipliers and the shift are those of the 64-bit finaliser of MurmurHash3.
        let mut h =
            addrs.wrapping_mul(0xff51_afd7_ed55_8ccd) ^ ports.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        h ^= h >> 33;
        h = h.wrapping_mul(0xff51_afd7_ed55_8ccd);
        (h >> 32) as u32
    }
}

/// Classifies a frame whose IPv4 header, at its usual place, is `ip`.
#[inline(always)]
pub fn classify<F: Frame + ?Sized>(frame: &F, ip: &Ipv4Header) -> Segment {
    let opaque = Segment { kind: Kind::Opaque, tuple: tuple(ip, 0, 0), headers_len: 0 };
    if !ip.is_plain() || ip.is_fragment() {
        return opaque;
    }
    if transport::has_ports(ip.protocol) {
        return ported(frame, ip).unwrap_or(opaque);
    }
    if ip.protocol == PROTOCOL_ICMP {
        return icmp(frame, ip).unwrap_or(opaque);
    }
    opaque
}

#[inline(always)]
fn ported<F: Frame + ?Sized>(frame: &F, ip: &Ipv4Header) -> Option<Segment> {
    let (source_port, destination_port) = transport::ports(frame.window::<L4_PEEK>(L4_AT)?);
    let tuple = tuple(ip, source_port, destination_port);
    if ip.protocol != PROTOCOL_TCP {
        return Some(Segment { kind: Kind::Of(Phase::Middle), tuple, headers_len: PLAIN_HEADERS });
    }
    let tcp = TcpPeek::parse(frame.window::<TCP_PEEK>(L4_AT)?);
    let phase = if tcp.opens() {
        Phase::Opening
    } else if tcp.closes() {
        Phase::Closing
    } else {
        Phase::Middle
    };
    let headers_len = size(IPV4_LEN) + u32::from(tcp.header_len);
    Some(Segment { kind: Kind::Of(phase), tuple, headers_len })
}

/// IP and UDP header, or IP and ICMP header, in bytes.
const PLAIN_HEADERS: u32 = size(IPV4_LEN + L4_PEEK);

#[inline(always)]
fn icmp<F: Frame + ?Sized>(frame: &F, ip: &Ipv4Header) -> Option<Segment> {
    let (kind, tuple) = match transport::icmp(frame.window::<L4_PEEK>(L4_AT)?) {
        Icmp::Echo(id) => (Kind::Of(Phase::Middle), tuple(ip, id, id)),
        Icmp::Error => (Kind::ErrorAbout, quoted(frame)?),
        Icmp::Other => return None,
    };
    Some(Segment { kind, tuple, headers_len: PLAIN_HEADERS })
}

/// The flow of the packet that an ICMP error quotes (RFC 792: header and 64 bits).
#[inline(always)]
fn quoted<F: Frame + ?Sized>(frame: &F) -> Option<Tuple> {
    const QUOTE_AT: usize = L4_AT + L4_PEEK;
    let ip = Ipv4Header::parse(frame.window::<IPV4_LEN>(QUOTE_AT)?);
    let l4 = frame.window::<L4_PEEK>(QUOTE_AT + IPV4_LEN)?;
    if ip.version_ihl != VERSION_IHL || !ip.has_transport_header() {
        return None;
    }
    if transport::has_ports(ip.protocol) {
        let (source_port, destination_port) = transport::ports(l4);
        return Some(tuple(&ip, source_port, destination_port));
    }
    match (ip.protocol == PROTOCOL_ICMP, transport::icmp(l4)) {
        (true, Icmp::Echo(id)) => Some(tuple(&ip, id, id)),
        (true | false, Icmp::Echo(_) | Icmp::Error | Icmp::Other) => None,
    }
}

#[inline(always)]
const fn tuple(ip: &Ipv4Header, source_port: u16, destination_port: u16) -> Tuple {
    Tuple {
        source: ip.source,
        destination: ip.destination,
        source_port,
        destination_port,
        protocol: ip.protocol,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_tuple() -> impl Strategy<Value = Tuple> {
        any::<([u8; 4], [u8; 4], u16, u16, u8)>().prop_map(|(s, d, sp, dp, protocol)| Tuple {
            source: NetAddr::from_octets(s),
            destination: NetAddr::from_octets(d),
            source_port: sp,
            destination_port: dp,
            protocol,
        })
    }

    fn reversed(t: Tuple) -> Tuple {
        Tuple {
            source: t.destination,
            destination: t.source,
            source_port: t.destination_port,
            destination_port: t.source_port,
            protocol: t.protocol,
        }
    }

    proptest! {
        #[test]
        fn both_directions_share_one_key(t in any_tuple()) {
            let ((key, way), (back_key, back_way)) = (t.key(), reversed(t).key());
            prop_assert_eq!(key, back_key);
            if t != reversed(t) {
                prop_assert_ne!(way, back_way);
            }
        }

        #[test]
        fn noise_never_panics(noise: std::vec::Vec<u8>) {
            if let Some(b) = noise[..].window::<IPV4_LEN>(14) {
                let _ = classify(&noise[..], &Ipv4Header::parse(b));
            }
        }
    }

    #[test]
    fn hashes_spread_over_ports() {
        let mut buckets = [0_u32; 64];
        for port in 0..6400_u16 {
            let t = Tuple {
                source: NetAddr::from_octets([10, 244, 1, 2]),
                destination: NetAddr::from_octets([10, 244, 2, 2]),
                source_port: 30_000 + port,
                destination_port: 80,
                protocol: 6,
            };
            buckets[(t.hash() >> 26) as usize] += 1;
        }
        assert!(buckets.iter().all(|n| (50..=150).contains(n)), "{buckets:?}");
    }
}
