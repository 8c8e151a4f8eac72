//! Which flow a packet belongs to, for either family: what differs between
//! them is behind [`Address`] and [`Header`].

use crate::abi::{FlowKey, FlowKey6};
use crate::wire::ipv4::PROTOCOL_TCP;
use crate::wire::transport::{self, Icmp, L4_PEEK, TCP_PEEK, TcpPeek};
use crate::wire::{ETH_LEN, Frame, Header, size};
use crate::{NetAddr, NetAddr6};

/// An address family of the pods.
pub trait Address: Copy + Eq {
    /// A flow without direction.
    type Key: FlowId;
    /// The lower end of the key that stands for `destination` alone: one that no flow has.
    fn nobody(destination: Self) -> Self;

    /// The key of the flow from `low` to `high`.
    fn key(low: (Self, u16), high: (Self, u16), protocol: u8) -> Self::Key;
    /// Whether the end `a` comes before `b` or is `b`: any total order of addresses and ports.
    fn is_ordered(a: (Self, u16), b: (Self, u16)) -> bool;
    /// Everything that tells pairs of addresses apart, in 64 bits or fewer.
    fn digest(source: Self, destination: Self) -> u64;
}

/// The key of a flow.
pub trait FlowId {
    /// Lower end's and higher end's port.
    fn ports(&self) -> (u16, u16);
}

impl FlowId for FlowKey {
    #[inline(always)]
    fn ports(&self) -> (u16, u16) {
        (self.low_port, self.high_port)
    }
}

impl FlowId for FlowKey6 {
    #[inline(always)]
    fn ports(&self) -> (u16, u16) {
        (self.low_port, self.high_port)
    }
}

impl Address for NetAddr {
    type Key = FlowKey;

    #[inline(always)]
    fn nobody(_: Self) -> Self {
        Self::UNSPECIFIED
    }

    #[inline(always)]
    fn key(low: (Self, u16), high: (Self, u16), protocol: u8) -> FlowKey {
        let ((low, low_port), (high, high_port)) = (low, high);
        FlowKey { low, high, low_port, high_port, protocol: u32::from(protocol) }
    }

    #[inline(always)]
    fn is_ordered(a: (Self, u16), b: (Self, u16)) -> bool {
        let from = (u64::from(a.0.bits()) << 16) | u64::from(a.1);
        let to = (u64::from(b.0.bits()) << 16) | u64::from(b.1);
        from <= to
    }

    #[inline(always)]
    fn digest(source: Self, destination: Self) -> u64 {
        u64::from(source.bits()) | (u64::from(destination.bits()) << 32)
    }
}

impl Address for NetAddr6 {
    type Key = FlowKey6;

    /// The destination itself: a pod's packets to its own address never leave it. Sixteen zero
    /// bytes on the stack would become a call of memset.
    #[inline(always)]
    fn nobody(destination: Self) -> Self {
        destination
    }

    #[inline(always)]
    fn key(low: (Self, u16), high: (Self, u16), protocol: u8) -> FlowKey6 {
        let ((low, low_port), (high, high_port)) = (low, high);
        FlowKey6 { low, high, low_port, high_port, protocol: u32::from(protocol) }
    }

    /// Hosts differ in the second half: it is compared first.
    #[inline(always)]
    fn is_ordered(a: (Self, u16), b: (Self, u16)) -> bool {
        let ((net, host), (other_net, other_host)) = (a.0.halves(), b.0.halves());
        if host != other_host {
            return host < other_host;
        }
        if net != other_net {
            return net < other_net;
        }
        a.1 <= b.1
    }

    #[inline(always)]
    fn digest(source: Self, destination: Self) -> u64 {
        let ((a, b), (c, d)) = (source.halves(), destination.halves());
        // Odd multipliers, all different: no two of the four words may trade places.
        let source = a.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ b;
        let destination = c.wrapping_mul(0xbf58_476d_1ce4_e5b9) ^ d.rotate_left(32);
        source.wrapping_add(destination.wrapping_mul(0x94d0_49bb_1331_11eb))
    }
}

/// The ends of a flow as one packet shows them: sender first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple<A = NetAddr> {
    /// Sender.
    pub source: A,
    /// Receiver.
    pub destination: A,
    /// Sender's port, or the ICMP echo identifier.
    pub source_port: u16,
    /// Receiver's port, or the ICMP echo identifier.
    pub destination_port: u16,
    /// IP protocol.
    pub protocol: u8,
}

/// Which end of a flow's key sent a packet.
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
pub struct Segment<A = NetAddr> {
    /// What it is.
    pub kind: Kind,
    /// Whose packet it is; for an error, the ends of the packet that it quotes.
    pub tuple: Tuple<A>,
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

impl<A: Address> Tuple<A> {
    /// The flow's key and which end sent.
    #[inline(always)]
    #[must_use]
    pub fn key(&self) -> (A::Key, Direction) {
        let from = (self.source, self.source_port);
        let to = (self.destination, self.destination_port);
        if A::is_ordered(from, to) {
            (A::key(from, to, self.protocol), Direction::FromLow)
        } else {
            (A::key(to, from, self.protocol), Direction::FromHigh)
        }
    }

    /// The key of the destination alone, which is no flow's.
    #[inline(always)]
    #[must_use]
    pub fn destination_key(&self) -> A::Key {
        let to = (self.destination, self.destination_port);
        A::key((A::nobody(self.destination), 0), to, self.protocol)
    }

    /// A well mixed hash of the tuple, direction included.
    ///
    /// It chooses the outer source port and tags packets; nobody outside this
    /// node depends on its value.
    #[inline(always)]
    #[must_use]
    pub fn hash(&self) -> u32 {
        let addrs = A::digest(self.source, self.destination);
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

/// Classifies a frame whose IP header, at its usual place, is `ip`.
#[inline(always)]
pub fn classify<F: Frame + ?Sized, H: Header>(frame: &F, ip: &H) -> Segment<H::Addr> {
    let opaque = Segment { kind: Kind::Opaque, tuple: tuple(ip, 0, 0), headers_len: 0 };
    if !ip.may_have_flow() {
        return opaque;
    }
    if transport::has_ports(ip.protocol()) {
        return ported(frame, ip).unwrap_or(opaque);
    }
    if ip.protocol() == H::ICMP {
        return icmp(frame, ip).unwrap_or(opaque);
    }
    opaque
}

#[inline(always)]
fn ported<F: Frame + ?Sized, H: Header>(frame: &F, ip: &H) -> Option<Segment<H::Addr>> {
    let at = ETH_LEN + H::LEN;
    let (source_port, destination_port) = transport::ports(frame.window::<L4_PEEK>(at)?);
    let tuple = tuple(ip, source_port, destination_port);
    if ip.protocol() != PROTOCOL_TCP {
        let headers_len = plain_headers::<H>();
        return Some(Segment { kind: Kind::Of(Phase::Middle), tuple, headers_len });
    }
    let tcp = TcpPeek::parse(frame.window::<TCP_PEEK>(at)?);
    let phase = if tcp.opens() {
        Phase::Opening
    } else if tcp.closes() {
        Phase::Closing
    } else {
        Phase::Middle
    };
    let headers_len = size(H::LEN) + u32::from(tcp.header_len);
    Some(Segment { kind: Kind::Of(phase), tuple, headers_len })
}

/// IP and UDP header, or IP and ICMP header, in bytes.
#[inline(always)]
const fn plain_headers<H: Header>() -> u32 {
    size(H::LEN + L4_PEEK)
}

#[inline(always)]
fn icmp<F: Frame + ?Sized, H: Header>(frame: &F, ip: &H) -> Option<Segment<H::Addr>> {
    let (kind, tuple) = match H::icmp(frame.window::<L4_PEEK>(ETH_LEN + H::LEN)?) {
        Icmp::Echo(id) => (Kind::Of(Phase::Middle), tuple(ip, id, id)),
        Icmp::Error => (Kind::ErrorAbout, quoted::<F, H>(frame)?),
        Icmp::Other => return None,
    };
    Some(Segment { kind, tuple, headers_len: plain_headers::<H>() })
}

/// The flow of the packet that an ICMP error quotes (RFC 792: header and 64 bits; RFC 4443: as
/// much as fits).
#[inline(always)]
fn quoted<F: Frame + ?Sized, H: Header>(frame: &F) -> Option<Tuple<H::Addr>> {
    let at = ETH_LEN + H::LEN + L4_PEEK;
    let ip = H::read(frame, at)?;
    let l4 = frame.window::<L4_PEEK>(at + H::LEN)?;
    if !ip.is_quotable() {
        return None;
    }
    if transport::has_ports(ip.protocol()) {
        let (source_port, destination_port) = transport::ports(l4);
        return Some(tuple(&ip, source_port, destination_port));
    }
    match (ip.protocol() == H::ICMP, H::icmp(l4)) {
        (true, Icmp::Echo(id)) => Some(tuple(&ip, id, id)),
        (true | false, Icmp::Echo(_) | Icmp::Error | Icmp::Other) => None,
    }
}

#[inline(always)]
fn tuple<H: Header>(ip: &H, source_port: u16, destination_port: u16) -> Tuple<H::Addr> {
    Tuple {
        source: ip.source(),
        destination: ip.destination(),
        source_port,
        destination_port,
        protocol: ip.protocol(),
    }
}

#[cfg(test)]
mod tests;
