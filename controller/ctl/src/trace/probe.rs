//! The packet that is sent: small, valid, and marked.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd as _;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, sendto, socket,
};
use tartan_common::wire::checksum::{fold, sum};
use tartan_common::wire::ipv4::{
    Ipv4Header, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, VERSION_IHL,
};
use tartan_common::wire::ipv6::{Ipv6Header, NEXT_ICMP};
use tartan_common::wire::{IPV4_LEN, IPV6_LEN, size};
use tartan_common::{NetAddr, NetAddr6};

use super::namespace;

/// Length of what follows the IP header: that of TCP's, which is the longest.
const TRANSPORT_LEN: usize = 20;
const TTL: u8 = 64;

/// What the packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Protocol {
    /// A connection that opens.
    Tcp,
    /// A datagram.
    Udp,
    /// An echo request.
    Icmp,
}

/// A packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: Protocol,
    /// Destination port; ICMP has none.
    pub(super) port: u16,
    /// IPv4's identification, IPv6's flow label.
    pub(super) mark: u16,
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source, destination, protocol, port, mark } = self;
        write!(f, "{source} -> {destination}, ")?;
        match protocol {
            Protocol::Tcp => write!(f, "TCP port {port}")?,
            Protocol::Udp => write!(f, "UDP port {port}")?,
            Protocol::Icmp => write!(f, "ICMP echo")?,
        }
        write!(f, ", mark {mark:#06x}")
    }
}

impl Probe {
    /// Sends it from the namespace that has its source.
    pub(super) fn send(&self) -> Result<()> {
        namespace::with_address(self.source, || self.send_here())
    }

    fn send_here(&self) -> Result<()> {
        let family = if self.source.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        // A raw socket of this protocol takes the IP header as it is given.
        let socket = socket(family, SockType::Raw, SockFlag::empty(), SockProtocol::Raw)
            .context("cannot open a raw socket: run this as root")?;
        let to = SockaddrStorage::from(SocketAddr::new(self.destination, 0));
        let sent = sendto(socket.as_raw_fd(), &self.packet(), &to, MsgFlags::empty());
        sent.with_context(|| {
            format!("the sender's own stack refuses a packet to {}", self.destination)
        })?;
        Ok(())
    }

    /// The packet, from its IP header on.
    fn packet(&self) -> Vec<u8> {
        let mut packet = match (self.source, self.destination) {
            (IpAddr::V4(from), IpAddr::V4(to)) => self.ipv4(from, to).to_vec(),
            (from, to) => self.ipv6(v6(from), v6(to)).to_vec(),
        };
        packet.extend(self.transport());
        packet
    }

    fn ipv4(&self, source: Ipv4Addr, destination: Ipv4Addr) -> [u8; IPV4_LEN] {
        let header = Ipv4Header {
            version_ihl: VERSION_IHL,
            tos: 0,
            total_length: length(IPV4_LEN + TRANSPORT_LEN),
            identification: self.mark,
            fragment: 0,
            ttl: TTL,
            protocol: match self.protocol {
                Protocol::Tcp => PROTOCOL_TCP,
                Protocol::Udp => PROTOCOL_UDP,
                Protocol::Icmp => PROTOCOL_ICMP,
            },
            // The kernel writes it.
            checksum: 0,
            source: NetAddr::from(source),
            destination: NetAddr::from(destination),
        };
        let mut bytes = [0; IPV4_LEN];
        header.write(&mut bytes);
        bytes
    }

    fn ipv6(&self, source: Ipv6Addr, destination: Ipv6Addr) -> [u8; IPV6_LEN] {
        const VERSION: u32 = 6 << 28;
        let header = Ipv6Header {
            first_word: VERSION | u32::from(self.mark),
            payload_length: length(TRANSPORT_LEN),
            next_header: match self.protocol {
                Protocol::Tcp => PROTOCOL_TCP,
                Protocol::Udp => PROTOCOL_UDP,
                Protocol::Icmp => NEXT_ICMP,
            },
            hop_limit: TTL,
            source: NetAddr6::from(source),
            destination: NetAddr6::from(destination),
        };
        let mut bytes = [0; IPV6_LEN];
        header.write(&mut bytes);
        bytes
    }

    fn transport(&self) -> [u8; TRANSPORT_LEN] {
        const SYN: u8 = 0x02;
        const WORDS: u8 = 5 << 4;
        const ECHO_REQUEST: u8 = 8;
        const ECHO_REQUEST6: u8 = 128;
        let mut bytes = [0; TRANSPORT_LEN];
        // A port of the upper half, or the echo's identifier: a new flow each time.
        let own = (self.mark | 0x8000).to_be_bytes();
        let checksum_at = match self.protocol {
            Protocol::Tcp => {
                bytes[..2].copy_from_slice(&own);
                bytes[2..4].copy_from_slice(&self.port.to_be_bytes());
                (bytes[12], bytes[13]) = (WORDS, SYN);
                16
            }
            Protocol::Udp => {
                bytes[..2].copy_from_slice(&own);
                bytes[2..4].copy_from_slice(&self.port.to_be_bytes());
                bytes[4..6].copy_from_slice(&length(TRANSPORT_LEN).to_be_bytes());
                6
            }
            Protocol::Icmp => {
                bytes[0] = if self.source.is_ipv4() { ECHO_REQUEST } else { ECHO_REQUEST6 };
                bytes[4..6].copy_from_slice(&own);
                2
            }
        };
        let checksum = !fold(self.pseudo_sum() + sum(&bytes));
        bytes[checksum_at..checksum_at + 2].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }

    /// The sum of the pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1).
    fn pseudo_sum(&self) -> u32 {
        let (protocol, ends) = match (self.source, self.destination) {
            (IpAddr::V4(from), IpAddr::V4(to)) => match self.protocol {
                Protocol::Tcp => (PROTOCOL_TCP, sum(&from.octets()) + sum(&to.octets())),
                Protocol::Udp => (PROTOCOL_UDP, sum(&from.octets()) + sum(&to.octets())),
                // ICMP has none.
                Protocol::Icmp => return 0,
            },
            (from, to) => {
                let ends = sum(&v6(from).octets()) + sum(&v6(to).octets());
                match self.protocol {
                    Protocol::Tcp => (PROTOCOL_TCP, ends),
                    Protocol::Udp => (PROTOCOL_UDP, ends),
                    Protocol::Icmp => (NEXT_ICMP, ends),
                }
            }
        };
        ends + u32::from(protocol) + size(TRANSPORT_LEN)
    }
}

fn v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

#[expect(clippy::cast_possible_truncation, reason = "it is a few dozen")]
const fn length(bytes: usize) -> u16 {
    bytes as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(source: &str, destination: &str, protocol: Protocol) -> Probe {
        let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
        Probe { source, destination, protocol, port: 80, mark: 0x7a31 }
    }

    #[test]
    fn every_packet_has_a_valid_checksum() {
        for (from, to) in [("10.244.1.5", "10.244.2.7"), ("fd00::1", "fd00:0:1::7")] {
            for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Icmp] {
                let probe = probe(from, to, protocol);
                let total = probe.pseudo_sum() + sum(&probe.transport());
                assert_eq!(fold(total), 0xffff, "{probe}");
            }
        }
    }

    #[test]
    fn the_mark_stands_where_the_programs_look() {
        let v4 = probe("10.244.1.5", "10.244.2.7", Protocol::Udp).packet();
        assert_eq!((v4.len(), &v4[4..6]), (40, &[0x7a, 0x31][..]));
        let v6 = probe("fd00::1", "fd00::2", Protocol::Udp).packet();
        assert_eq!((v6.len(), &v6[..4]), (60, &[0x60, 0, 0x7a, 0x31][..]));
    }
}
