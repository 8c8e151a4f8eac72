//! The packet that is asked about.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde::Serialize;
use tartan_common::Vni;
use tartan_common::abi::{NodeConfig, Peer, PeerMode, PeerSpec};
use tartan_common::tunnel::{open_fields, write_outer};
use tartan_common::wire::ethernet::{ETHERTYPE_IPV4, EthernetHeader};
use tartan_common::wire::ipv4::{
    Ipv4Header, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, VERSION_IHL,
};
use tartan_common::wire::{ETH_LEN, INNER_AT, IP_AT, IPV4_LEN, L4_AT, OUTER_LEN, checksum};
use tartan_common::{Mac, NetAddr};

/// Length of the packet's transport header: that of TCP, which is the longest.
pub(super) const TRANSPORT_LEN: usize = 20;
/// Length of the frame.
pub(super) const FRAME_LEN: usize = L4_AT + TRANSPORT_LEN;
/// Length of the frame in its tunnel.
pub(super) const TUNNEL_FRAME_LEN: usize = INNER_AT + FRAME_LEN;
/// The first of the ports that clients use, as Linux has it.
pub(super) const SOURCE_PORT: u16 = 32768;
pub(super) const TTL: u8 = 64;

/// What the packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
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
pub(super) struct Question {
    pub(super) source: Ipv4Addr,
    pub(super) destination: Ipv4Addr,
    pub(super) protocol: Protocol,
    /// Destination port; ICMP has none.
    pub(super) port: u16,
}

/// A packet, for a line of text.
pub(super) fn shown(from: IpAddr, to: IpAddr, protocol: Protocol, port: u16) -> String {
    match protocol {
        Protocol::Tcp => format!("{from} -> {to}, TCP port {port}"),
        Protocol::Udp => format!("{from} -> {to}, UDP port {port}"),
        Protocol::Icmp => format!("{from} -> {to}, ICMP echo"),
    }
}

impl Question {
    /// The packet as its sender's stack makes it, in a frame without addresses.
    pub(super) fn frame(&self) -> [u8; FRAME_LEN] {
        let mut frame = [0; FRAME_LEN];
        if let Some(bytes) = frame.first_chunk_mut::<ETH_LEN>() {
            ethernet(Mac::default()).write(bytes);
        }
        if let Some(bytes) = frame[IP_AT..].first_chunk_mut::<IPV4_LEN>() {
            self.ip().write(bytes);
            let sum = checksum::checksum(bytes);
            bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        if let Some(bytes) = frame[L4_AT..].first_chunk_mut::<TRANSPORT_LEN>() {
            transport(self.protocol, self.port, bytes);
        }
        frame
    }

    /// The packet in the tunnel from `sender` to this node, as `sender` would send it if it were
    /// in order.
    pub(super) fn tunnel_frame(
        &self,
        sender: Ipv4Addr,
        config: &NodeConfig,
    ) -> Result<[u8; TUNNEL_FRAME_LEN]> {
        let ip_len = u32::from(Self::ip_len());
        let open = open_fields(config, ip_len, 0, 0).context("the packet is too large")?;
        let peer = Peer::new(&PeerSpec {
            local: sender.into(),
            remote: config.node,
            local_mac: Mac::default(),
            remote_mac: config.vtep_mac,
            vni: Vni::new(config.vni.into())?,
            port: config.port,
            ttl: TTL,
            next_hop: config.node,
            uplink_ifindex: 0,
            mtu: ip_len,
            mode: PeerMode::Tunnel,
        });
        let mut frame = [0; TUNNEL_FRAME_LEN];
        if let Some(outer) = frame.first_chunk_mut::<OUTER_LEN>() {
            write_outer(outer, &peer, open, 0);
        }
        frame[OUTER_LEN..].copy_from_slice(&self.frame()[IP_AT..]);
        Ok(frame)
    }

    #[expect(clippy::cast_possible_truncation, reason = "it is forty")]
    const fn ip_len() -> u16 {
        (IPV4_LEN + TRANSPORT_LEN) as u16
    }

    fn ip(&self) -> Ipv4Header {
        Ipv4Header {
            version_ihl: VERSION_IHL,
            tos: 0,
            total_length: Self::ip_len(),
            identification: 0,
            fragment: 0,
            ttl: TTL,
            protocol: match self.protocol {
                Protocol::Tcp => PROTOCOL_TCP,
                Protocol::Udp => PROTOCOL_UDP,
                Protocol::Icmp => PROTOCOL_ICMP,
            },
            checksum: 0,
            source: NetAddr::from(self.source),
            destination: NetAddr::from(self.destination),
        }
    }
}

/// The transport header of a first packet.
pub(super) fn transport(protocol: Protocol, port: u16, bytes: &mut [u8; TRANSPORT_LEN]) {
    const SYN: u8 = 0x02;
    const WORDS: u8 = 5 << 4;
    const UDP_LENGTH: u8 = 20;
    const ECHO_REQUEST: u8 = 8;
    match protocol {
        Protocol::Tcp => {
            ports(port, bytes);
            (bytes[12], bytes[13]) = (WORDS, SYN);
        }
        Protocol::Udp => {
            ports(port, bytes);
            bytes[5] = UDP_LENGTH;
        }
        Protocol::Icmp => bytes[0] = ECHO_REQUEST,
    }
}

fn ports(port: u16, bytes: &mut [u8; TRANSPORT_LEN]) {
    bytes[..2].copy_from_slice(&SOURCE_PORT.to_be_bytes());
    bytes[2..4].copy_from_slice(&port.to_be_bytes());
}

fn ethernet(address: Mac) -> EthernetHeader {
    EthernetHeader { destination: address, source: address, ethertype: ETHERTYPE_IPV4 }
}
