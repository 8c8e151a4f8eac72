//! What the gate needs of TCP, UDP and ICMP headers (RFC 9293, 768, 792).

use super::{be16, ipv4::PROTOCOL_TCP, ipv4::PROTOCOL_UDP};

/// Bytes of a TCP header up to and including its flags.
pub const TCP_PEEK: usize = 14;
/// Bytes of the ports, the ICMP type and identifier, the UDP header.
pub const L4_PEEK: usize = 8;

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;

/// The TCP fields that matter to a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpPeek {
    /// Header length in bytes, options included, as the data offset says.
    pub header_len: u8,
    flags: u8,
}

impl TcpPeek {
    /// Reads data offset and flags.
    #[inline(always)]
    #[must_use]
    pub const fn parse(b: &[u8; TCP_PEEK]) -> Self {
        Self { header_len: (b[12] >> 4) * 4, flags: b[13] }
    }

    /// SYN without ACK, FIN or RST: the packet that opens a connection.
    #[inline(always)]
    #[must_use]
    pub const fn opens(self) -> bool {
        self.flags & (SYN | ACK | FIN | RST) == SYN
    }

    /// FIN or RST.
    #[inline(always)]
    #[must_use]
    pub const fn closes(self) -> bool {
        self.flags & (FIN | RST) != 0
    }
}

/// Source and destination port, the first four bytes of TCP and UDP alike.
#[inline(always)]
#[must_use]
pub const fn ports(b: &[u8; L4_PEEK]) -> (u16, u16) {
    (be16(b, 0), be16(b, 2))
}

/// Whether `protocol` starts with two ports that make a flow.
#[inline(always)]
#[must_use]
pub const fn has_ports(protocol: u8) -> bool {
    protocol == PROTOCOL_TCP || protocol == PROTOCOL_UDP
}

/// What an ICMP message means to the gate (RFC 792).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Icmp {
    /// Echo request or reply with this identifier.
    Echo(u16),
    /// An error that quotes the packet it is about.
    Error,
    /// Anything else.
    Other,
}

/// Classifies an ICMP message by its first eight bytes.
#[inline(always)]
#[must_use]
pub const fn icmp(b: &[u8; L4_PEEK]) -> Icmp {
    match b[0] {
        0 | 8 => Icmp::Echo(be16(b, 4)),
        3 | 4 | 11 | 12 => Icmp::Error,
        _ => Icmp::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(flags: u8) -> TcpPeek {
        let mut b = [0; TCP_PEEK];
        (b[12], b[13]) = (0x80, flags);
        TcpPeek::parse(&b)
    }

    #[test]
    fn only_a_lone_syn_opens() {
        assert!(tcp(SYN).opens() && tcp(SYN | 0xc0).opens());
        for flags in [SYN | ACK, ACK, SYN | FIN, SYN | RST, 0] {
            assert!(!tcp(flags).opens(), "{flags:#x}");
        }
        assert_eq!(tcp(SYN).header_len, 32);
    }

    #[test]
    fn fin_and_rst_close() {
        assert!(tcp(FIN | ACK).closes() && tcp(RST).closes() && !tcp(ACK).closes());
    }

    #[test]
    fn icmp_errors_quote_a_packet() {
        let of = |kind| icmp(&[kind, 0, 0, 0, 0x12, 0x34, 0, 0]);
        assert_eq!((of(8), of(0)), (Icmp::Echo(0x1234), Icmp::Echo(0x1234)));
        assert_eq!((of(3), of(11), of(5)), (Icmp::Error, Icmp::Error, Icmp::Other));
    }
}
