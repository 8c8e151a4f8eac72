//! The IPv6 packet that is asked about, as its sender makes it.

use tartan_common::abi::NodeConfig;
use tartan_common::wire::ethernet::{ETHERTYPE_IPV6, EthernetHeader};
use tartan_common::wire::ipv4::{Ipv4Header, PROTOCOL_TCP, PROTOCOL_UDP};
use tartan_common::wire::ipv6::{Ipv6Header, NEXT_ICMP};
use tartan_common::wire::{ETH_LEN, INNER_AT, IPV6_LEN, UDP_LEN, VXLAN_LEN, vxlan};
use tartan_common::{Mac, NetAddr, NetAddr6};

use super::Question6;
use crate::explain::question::{Protocol, SOURCE_PORT, TRANSPORT_LEN, TTL, transport};

const VERSION: u32 = 6 << 28;
const ECHO_REQUEST: u8 = 128;

/// The packet in a frame without addresses.
pub(super) fn frame(question: &Question6) -> Vec<u8> {
    let mut bytes = [0; TRANSPORT_LEN];
    transport(question.protocol, question.port, &mut bytes);
    let next_header = match question.protocol {
        Protocol::Tcp => PROTOCOL_TCP,
        Protocol::Udp => PROTOCOL_UDP,
        Protocol::Icmp => {
            bytes[0] = ECHO_REQUEST;
            NEXT_ICMP
        }
    };
    let ends = (question.source.into(), question.destination.into());
    let mut frame = ethernet(Mac::default()).to_vec();
    frame.extend(ip(ends, next_header, bytes.len()));
    frame.extend(bytes);
    frame
}

/// The packet in the tunnel from `sender` to this node, as `sender` would send it if it were in
/// order.
pub(super) fn tunnel_frame(question: &Question6, sender: NetAddr6, config: &NodeConfig) -> Vec<u8> {
    let mut inner = frame(question);
    inner.splice(..ETH_LEN, ethernet(config.ipv6.vtep_mac));
    let payload = UDP_LEN + VXLAN_LEN + inner.len();
    let mut frame = ethernet(Mac::default()).to_vec();
    frame.extend(ip((sender, config.ipv6.node), PROTOCOL_UDP, payload));
    // What the checksum is nobody but the NIC would look at; that there is one is asked for.
    for word in [SOURCE_PORT, config.port, u16::try_from(payload).unwrap_or(u16::MAX), u16::MAX] {
        frame.extend(word.to_be_bytes());
    }
    frame.extend(vxlan::header(config.vni));
    frame.extend(inner);
    frame
}

/// The same in the tunnel over IPv4. The outer header stands beside the frame, which begins with
/// room for it: to be in order is all that is asked of it.
pub(super) fn crossed_frame(
    question: &Question6,
    sender: NetAddr,
    config: &NodeConfig,
) -> (Vec<u8>, Ipv4Header) {
    let mut inner = frame(question);
    inner.splice(..ETH_LEN, ethernet(config.vtep_mac));
    let mut frame = vec![0; INNER_AT];
    frame.extend(inner);
    let outer = Ipv4Header {
        version_ihl: 0x45,
        tos: 0,
        total_length: u16::try_from(frame.len() - ETH_LEN).unwrap_or(u16::MAX),
        identification: 0,
        fragment: 0,
        ttl: TTL,
        protocol: PROTOCOL_UDP,
        checksum: 0,
        source: sender,
        destination: config.node,
    };
    (frame, outer)
}

fn ethernet(destination: Mac) -> [u8; ETH_LEN] {
    let mut bytes = [0; ETH_LEN];
    EthernetHeader { destination, source: Mac::default(), ethertype: ETHERTYPE_IPV6 }
        .write(&mut bytes);
    bytes
}

fn ip(
    (source, destination): (NetAddr6, NetAddr6),
    next_header: u8,
    payload: usize,
) -> [u8; IPV6_LEN] {
    let mut bytes = [0; IPV6_LEN];
    let payload_length = u16::try_from(payload).unwrap_or(u16::MAX);
    let header = Ipv6Header {
        first_word: VERSION,
        payload_length,
        next_header,
        hop_limit: TTL,
        source,
        destination,
    };
    header.write(&mut bytes);
    bytes
}
