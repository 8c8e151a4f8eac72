//! A frame to be, with all that the decision sees besides its bytes.

use tartan_common::abi::NodeConfig;
use tartan_common::flow::Tuple;
use tartan_common::hook::{Meta, TunnelKey, TunnelKey6};
use tartan_common::wire::ethernet::{ETHERTYPE_IPV4, ETHERTYPE_IPV6, EthernetHeader};
use tartan_common::wire::ipv4::{Ipv4Header, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP};
use tartan_common::wire::ipv6::{Ipv6Header, NEXT_ICMP};
use tartan_common::wire::{ETH_LEN, IPV4_LEN, IPV6_LEN, Inner, UDP_LEN, VXLAN_LEN, vxlan};
use tartan_common::{Mac, NetAddr6, gate};

use super::{Family, Flow, Setting, Tag, Whose};
use crate::Key;
use crate::fixture::{HOST_MAC, Memory, PORT, VNI};
use crate::packets::{fix_checksum, icmp, ipv4, tcp, udp};
use crate::packets6::ipv6;
use crate::prepare::tuple_of;

/// What the IP packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum L4 {
    /// TCP with these flags.
    Tcp(u8),
    /// UDP to this port.
    Udp(u16),
    /// ICMP of this type (of the family), quoting a datagram that came the other way.
    Icmp(u8),
    /// Another protocol.
    Other(u8),
}

/// Ports of every flow: sender's and receiver's.
const FROM: u16 = 40_000;
const TO: u16 = 80;

/// Where an edit counts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// The frame.
    Frame,
    /// The outer IP header.
    OuterIp,
    /// The outer UDP header.
    OuterUdp,
    /// The VXLAN header.
    Vxlan,
    /// The inner Ethernet header.
    InnerEth,
    /// The IP header that belongs to a pod: the inner one where there is a tunnel.
    Ip,
    /// What that one carries.
    L4,
}

/// The tunnel around a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tunnel {
    /// Outer family.
    pub family: Family,
    /// Outer source.
    pub sender: Whose,
    /// Outer destination.
    pub receiver: Whose,
    /// UDP destination port.
    pub port: u16,
    /// Words of options in the outer header (IPv4), or an extension header in front of UDP
    /// (IPv6, any number of words).
    pub options: usize,
    /// Inner destination.
    pub station: Mac,
}

/// One frame and its circumstances.
#[derive(Clone, Debug)]
pub struct Draft {
    /// The family of the packet.
    pub family: Family,
    /// Its source.
    pub source: Whose,
    /// Its destination.
    pub destination: Whose,
    /// What it carries.
    pub l4: L4,
    /// Words of options (IPv4).
    pub options: usize,
    /// An extension header in front of what it carries (IPv6): its type and its bytes 2 and 3.
    pub extension: Option<(u8, u16)>,
    /// Bytes behind the transport header.
    pub payload: usize,
    /// The tunnel around it.
    pub tunnel: Option<Tunnel>,
    /// The frame's destination.
    pub station: Mac,
    /// Bytes written over those of the frame.
    pub edits: Vec<(Layer, usize, [u8; 2], usize)>,
    /// The IPv4 header, and the bits in which its checksum is wrong.
    pub wrong_sum: Option<(Layer, u16)>,
    /// Bytes behind the packet that no header knows of.
    pub trailer: usize,
    /// The frame ends after so many bytes beyond the Ethernet and the first IP header.
    pub cut: Option<usize>,
    /// Bytes per piece of a GSO packet, else zero.
    pub gso_size: u32,
    /// What the flow map says.
    pub flow: Flow,
    /// What the configuration says.
    pub setting: Setting,
    /// The tag that it brings along.
    pub tag: Tag,
    /// Whether a VLAN tag rides beside it.
    pub in_vlan: bool,
    /// The tunnel key: family, sender, receiver, VNI.
    pub key: Option<(Family, Whose, Whose, u32)>,
}

impl Draft {
    /// A datagram from one to another, right in every field.
    #[must_use]
    pub fn new(source: Whose, destination: Whose) -> Self {
        Self {
            family: Family::V4,
            source,
            destination,
            l4: L4::Tcp(crate::packets::SYN),
            options: 0,
            extension: None,
            payload: 8,
            tunnel: None,
            station: HOST_MAC,
            edits: Vec::new(),
            wrong_sum: None,
            trailer: 0,
            cut: None,
            gso_size: 0,
            flow: Flow::Unknown,
            setting: Setting::On,
            tag: Tag::Absent,
            in_vlan: false,
            key: None,
        }
    }

    /// Writes one byte.
    pub fn byte(&mut self, layer: Layer, at: usize, value: u8) {
        self.edits.push((layer, at, [value, 0], 1));
    }

    /// Writes sixteen bits.
    pub fn word(&mut self, layer: Layer, at: usize, value: u16) {
        self.edits.push((layer, at, value.to_be_bytes(), 2));
    }

    /// The frame.
    #[must_use]
    pub fn frame(&self) -> Vec<u8> {
        let packet = self.packet();
        let (mut frame, outer) = match self.tunnel {
            None => (ethernet(self.station, self.family, &packet), self.family),
            Some(tunnel) => (self.tunnelled(&tunnel, &packet), tunnel.family),
        };
        frame.extend(std::iter::repeat_n(0xee, self.trailer));
        for (layer, at, bytes, count) in &self.edits {
            let at = self.start(*layer) + at;
            for (target, byte) in frame.iter_mut().skip(at).zip(bytes.iter().take(*count)) {
                *target = *byte;
            }
        }
        self.write_sums(&mut frame);
        if let Some(cut) = self.cut {
            frame.truncate(ETH_LEN + ip_len(outer) + cut);
        }
        frame
    }

    /// Makes the checksums of the IPv4 headers right, whatever was written over them.
    fn write_sums(&self, frame: &mut [u8]) {
        let outer = self.tunnel.map(|tunnel| (Layer::OuterIp, tunnel.family));
        for (layer, family) in outer.into_iter().chain([(Layer::Ip, self.family)]) {
            let Some(packet) = frame.get_mut(self.start(layer)..) else { continue };
            if family == Family::V4 && packet.len() >= usize::from(packet[0] & 0x0f) * 4 {
                fix_checksum(packet);
                let (_, wrong) =
                    self.wrong_sum.filter(|(at, _)| *at == layer).unwrap_or((layer, 0));
                let [high, low] = wrong.to_be_bytes();
                packet[10] ^= high;
                packet[11] ^= low;
            }
        }
    }

    fn packet(&self) -> Vec<u8> {
        let (protocol, payload) = self.transport();
        match self.family {
            Family::V4 => {
                let (from, to) = (self.source.v4(), self.destination.v4());
                let options = vec![1; self.options * 4];
                let mut packet = ipv4(from, to, protocol, &[options, payload].concat());
                packet[0] += u8::try_from(self.options).unwrap_or(0);
                packet
            }
            Family::V6 => {
                let ends = (self.source.v6(), self.destination.v6());
                match self.extension {
                    None => ipv6(ends, protocol, &payload),
                    Some((kind, word)) => {
                        let [high, low] = word.to_be_bytes();
                        let header = [protocol, 0, high, low, 0, 0, 0, 0];
                        ipv6(ends, kind, &[&header[..], &payload].concat())
                    }
                }
            }
        }
    }

    /// Protocol number, and the bytes behind the IP header.
    fn transport(&self) -> (u8, Vec<u8>) {
        let filler = vec![0x5a; self.payload];
        match (self.l4, self.family) {
            (L4::Tcp(flags), _) => (PROTOCOL_TCP, tcp((FROM, TO), flags, &filler)),
            (L4::Udp(port), _) => (PROTOCOL_UDP, udp((FROM, port), &filler)),
            (L4::Icmp(kind), Family::V4) => (PROTOCOL_ICMP, self.control(kind)),
            (L4::Icmp(kind), Family::V6) => (NEXT_ICMP, self.control(kind)),
            (L4::Other(protocol), _) => (protocol, filler),
        }
    }

    fn control(&self, kind: u8) -> Vec<u8> {
        let about = udp((TO, FROM), b"quoted!!");
        let quoted = match self.family {
            Family::V4 => ipv4(self.destination.v4(), self.source.v4(), PROTOCOL_UDP, &about),
            Family::V6 => ipv6((self.destination.v6(), self.source.v6()), PROTOCOL_UDP, &about),
        };
        icmp(kind, 0, [0x12, 0x34, 0, 1], &quoted)
    }

    fn tunnelled(&self, tunnel: &Tunnel, packet: &[u8]) -> Vec<u8> {
        let inner = ethernet(tunnel.station, self.family, packet);
        let payload = [&vxlan::header(VNI)[..], &inner].concat();
        let mut datagram = udp((50_000, tunnel.port), &payload);
        let outer = match tunnel.family {
            Family::V4 => {
                let options = vec![1; tunnel.options * 4];
                let payload = [options, datagram].concat();
                let ends = (tunnel.sender.v4(), tunnel.receiver.v4());
                let mut outer = ipv4(ends.0, ends.1, PROTOCOL_UDP, &payload);
                outer[0] += u8::try_from(tunnel.options).unwrap_or(0);
                outer
            }
            Family::V6 => {
                datagram[6..8].copy_from_slice(&[0xab, 0xcd]);
                let ends = (tunnel.sender.v6(), tunnel.receiver.v6());
                if tunnel.options == 0 {
                    ipv6(ends, PROTOCOL_UDP, &datagram)
                } else {
                    ipv6(ends, 60, &[&[PROTOCOL_UDP, 0, 1, 4, 0, 0, 0, 0][..], &datagram].concat())
                }
            }
        };
        ethernet(self.station, tunnel.family, &outer)
    }

    /// Where a layer begins, had no header options.
    fn start(&self, layer: Layer) -> usize {
        let outer = self.tunnel.map_or(0, |tunnel| ip_len(tunnel.family));
        let inner_eth = match self.tunnel {
            None => 0,
            Some(_) => ETH_LEN + outer + UDP_LEN + VXLAN_LEN,
        };
        match layer {
            Layer::Frame => 0,
            Layer::OuterIp => ETH_LEN,
            Layer::OuterUdp => ETH_LEN + outer,
            Layer::Vxlan => ETH_LEN + outer + UDP_LEN,
            Layer::InnerEth => inner_eth,
            Layer::Ip => inner_eth + ETH_LEN,
            Layer::L4 => inner_eth + ETH_LEN + ip_len(self.family),
        }
    }

    /// What the kernel knows of the frame besides its bytes.
    #[must_use]
    pub fn meta(&self, frame: &[u8]) -> Meta {
        let plain = crate::meta(frame, self.gso_size);
        Meta { tag: self.tag_of(frame), in_vlan: self.in_vlan, ..plain }
    }

    fn tag_of(&self, frame: &[u8]) -> u16 {
        let own = match self.family {
            Family::V4 => self.tuple(frame).map(|tuple| gate::tag(&tuple)),
            Family::V6 => self.tuple6(frame).map(|tuple| gate::tag(&tuple)),
        };
        self.tag.number(own)
    }

    fn tuple(&self, frame: &[u8]) -> Option<Tuple> {
        tuple_of::<_, Ipv4Header>(&Inner::new(frame, self.start(Layer::Ip) - ETH_LEN))
    }

    fn tuple6(&self, frame: &[u8]) -> Option<Tuple<NetAddr6>> {
        tuple_of::<_, Ipv6Header>(&Inner::new(frame, self.start(Layer::Ip) - ETH_LEN))
    }

    /// Writes the flow's entry.
    pub fn prepare(&self, frame: &[u8], config: &NodeConfig, maps: &Memory) {
        let at = self.start(Layer::Ip) - ETH_LEN;
        self.flow.write(self.family, &Inner::new(frame, at), config, maps);
    }

    /// The tunnel key as the programs get it.
    #[must_use]
    pub fn tunnel_key(&self) -> Option<Key> {
        self.key.map(|(family, sender, receiver, vni)| match family {
            Family::V4 => Key::V4(TunnelKey { sender: sender.v4(), receiver: receiver.v4(), vni }),
            Family::V6 => Key::V6(TunnelKey6 { sender: sender.v6(), receiver: receiver.v6(), vni }),
        })
    }
}

/// Length of an IP header without options.
pub(super) const fn ip_len(family: Family) -> usize {
    match family {
        Family::V4 => IPV4_LEN,
        Family::V6 => IPV6_LEN,
    }
}

fn ethernet(destination: Mac, family: Family, packet: &[u8]) -> Vec<u8> {
    let ethertype = match family {
        Family::V4 => ETHERTYPE_IPV4,
        Family::V6 => ETHERTYPE_IPV6,
    };
    let mut header = [0; ETH_LEN];
    EthernetHeader { destination, source: Mac([2, 0, 0, 9, 9, 9]), ethertype }.write(&mut header);
    [&header[..], packet].concat()
}

/// The port of the tunnel.
pub(super) const TUNNEL: u16 = PORT;
