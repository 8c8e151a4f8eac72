//! IPv6 packets that a pod sends, and tunnel frames over IPv6 that a node gets, right in every
//! field until one or two are changed.

use std::fmt::Write as _;
use std::net::Ipv6Addr;

use anyhow::Result;

use super::super::generate::{Dice, FAST, Generated, MAGIC, Way};
use super::ground::Side;
use crate::forge::TUNNEL_PORT;
use crate::frames::{MacBytes, UDP, ethernet, mac, udp, vxlan};
use crate::frames6::{Ipv6, ethernet6};
use crate::traffic::ECHO_PORT;

const TCP: u8 = 6;
const ICMP6: u8 = 58;
const FRAGMENT: u8 = 44;
const HOP_BY_HOP: u8 = 0;
/// Destination options.
pub(super) const DESTINATION: u8 = 60;
const ROUTING: u8 = 43;
/// The outer headers up to the inner frame.
const OUTER: u64 = 14 + 40 + 8 + 8;

/// Makes packets without end; the same seed makes the same ones.
pub(super) struct Generator6 {
    dice: Dice,
    next: u32,
    own: Side,
    far: Side,
    vtep: MacBytes,
}

/// The fields of a tunnel frame that are wrong on purpose.
struct Tunnel {
    outer: Ipv6,
    port: u16,
    length: i16,
    flags: u8,
    vni: u32,
    station: MacBytes,
    kind: [u8; 2],
    has_checksum: bool,
}

impl Generator6 {
    pub(super) fn new(seed: u64, own: &Side, far: &Side) -> Result<Self> {
        let vtep = mac(&own.vtep)?;
        Ok(Self { dice: Dice::new(seed), next: 0, own: own.clone(), far: far.clone(), vtep })
    }

    /// The next packet.
    pub(super) fn packet(&mut self) -> Generated {
        let number = self.next;
        self.next += 1;
        let way = Way::of(number);
        let mut what = String::new();
        let bytes = match way {
            Way::Out => self.ip((self.own.pod, self.far.pod), number, &mut what),
            Way::In => self.tunnelled(number, &mut what),
        };
        Generated { number, way, bytes, what }
    }

    fn ip(&mut self, ends: (Ipv6Addr, Ipv6Addr), number: u32, what: &mut String) -> Vec<u8> {
        let dice = &mut self.dice;
        let length = if dice.below(20) == 0 { dice.below(1350) } else { dice.below(60) };
        let filler = vec![0x77; usize::try_from(length).unwrap_or(0)];
        let data = [MAGIC, &number.to_be_bytes(), &filler].concat();
        let mut header = Ipv6::new(ends.0, ends.1, UDP);
        let payload = self.transport(&mut header, &data, what);
        let mut late = Vec::new();
        for _ in 0..self.dice.pick(&[0, 0, 1, 1, 1, 2]) {
            late.extend(self.change(&mut header, what));
        }
        flipped(header.build(&payload), &late)
    }

    /// What is carried, with its checksum; it says in the header what it is.
    fn transport(&mut self, header: &mut Ipv6, data: &[u8], what: &mut String) -> Vec<u8> {
        let dice = &mut self.dice;
        let (next, payload, sum) = match dice.below(10) {
            0..=3 => (UDP, udp(FAST, ECHO_PORT, data), 6),
            4 => (UDP, udp(5000 + dice.word() % 1000, 9, data), 6),
            kind @ 5..=7 => {
                // SYN, anything, SYN-ACK.
                let flags = [0x02, dice.byte(), 0x12][usize::try_from(kind - 5).unwrap_or(0)];
                // Writing into a string cannot fail.
                let _ = write!(what, "TCP {flags:#04x}; ");
                let ports = [(10_000 + dice.word() % 50_000).to_be_bytes(), 80_u16.to_be_bytes()];
                let rest = [0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 1, 0, 0, 0, 0, 0];
                (TCP, [&ports.concat()[..], &rest, data].concat(), 16)
            }
            8 => {
                let kind = dice.pick(&[128, 129, 1, 2, 3, 4, 200]);
                let _ = write!(what, "ICMPv6 {kind}; ");
                (ICMP6, [&[kind, 0, 0, 0, 0x12, 0x34, 0, 1][..], data].concat(), 2)
            }
            _ => (dice.pick(&[132, 47, 41, 255, 59]), data.to_vec(), usize::MAX - 2),
        };
        header.next = next;
        header.summed(payload, sum)
    }

    /// Changes a field; or says which bits of which byte to turn once the packet is built.
    fn change(&mut self, header: &mut Ipv6, what: &mut String) -> Option<(usize, u8)> {
        let dice = &mut self.dice;
        let (name, late) = match dice.below(12) {
            0 | 1 => {
                header.class = dice.byte();
                ("traffic class", None)
            }
            2 => {
                header.label = dice.word().into();
                ("flow label", None)
            }
            3 | 4 => {
                let any = dice.byte();
                header.hops = dice.pick(&[0, 1, 2, 3, 255, any]);
                ("hop limit", None)
            }
            5 => {
                let field: [u8; 2] = dice.pick(&[[0, 1], [0, 0], [0, 9], [1, 0]]);
                // An identification of its own: fragments of two packets must not meet.
                let [a, b, c, d] = [dice.byte(), dice.byte(), dice.byte(), dice.byte()];
                let bytes = vec![header.next, 0, field[0], field[1], a, b, c, d];
                header.extensions = Some((FRAGMENT, bytes));
                ("fragment", None)
            }
            6 => {
                let first = dice.pick(&[HOP_BY_HOP, DESTINATION, ROUTING]);
                // Four bytes of padding; of a routing header, type 0 with nothing left.
                let bytes = vec![header.next, 0, 1, 4, 0, 0, 0, 0];
                let bytes =
                    if first == ROUTING { vec![header.next, 0, 4, 0, 0, 0, 0, 0] } else { bytes };
                header.extensions = Some((first, bytes));
                ("extension header", None)
            }
            7 => {
                header.destination = moved(header.destination, dice.pick(&[15, 7, 6]));
                ("destination", None)
            }
            8 => {
                let other = moved(header.source, dice.pick(&[15, 7, 0]));
                header.source = dice.pick(&[other, Ipv6Addr::UNSPECIFIED, Ipv6Addr::LOCALHOST]);
                ("source", None)
            }
            9 => {
                header.length = Some(u16::from(dice.byte()));
                ("payload length", None)
            }
            10 => ("bit of the transport header", Some((40 + usize::from(dice.byte() % 8), 1))),
            _ => {
                let at = usize::from(dice.byte() % 40);
                ("bit of the header", Some((at, 1 << dice.below(8))))
            }
        };
        *what += name;
        *what += "; ";
        late
    }

    /// A tunnel frame from the peer, with an inner packet that may be changed as well.
    fn tunnelled(&mut self, number: u32, what: &mut String) -> Vec<u8> {
        let inner = self.ip((self.far.pod, self.own.pod), number, what);
        let mut tunnel = Tunnel {
            outer: Ipv6::new(self.far.node, self.own.node, UDP),
            port: TUNNEL_PORT,
            length: 0,
            flags: 8,
            vni: 1,
            station: self.vtep,
            kind: [0x86, 0xdd],
            has_checksum: true,
        };
        let late = match self.dice.below(2) {
            0 => self.change_tunnel(&mut tunnel, what),
            _ => None,
        };
        let ends = (self.own.station, self.far.station);
        let late: Vec<_> = late.into_iter().collect();
        flipped(tunnel.build(ends, &inner), &late)
    }

    fn change_tunnel(&mut self, frame: &mut Tunnel, what: &mut String) -> Option<(usize, u8)> {
        let dice = &mut self.dice;
        let (name, late) = match dice.below(14) {
            0 | 1 => {
                frame.outer.class = dice.byte();
                ("outer traffic class", None)
            }
            2 => {
                frame.outer.hops = dice.pick(&[0, 1, 2, 255]);
                ("outer hop limit", None)
            }
            3 => {
                frame.outer.label = dice.word().into();
                ("outer flow label", None)
            }
            4 => {
                frame.outer.extensions = Some((DESTINATION, vec![UDP, 0, 1, 4, 0, 0, 0, 0]));
                ("outer extension header", None)
            }
            5 => {
                frame.outer.source = moved(frame.outer.source, 15);
                ("outer source", None)
            }
            6 => {
                frame.port = dice.pick(&[8473, 4789, 8471]);
                ("outer port", None)
            }
            7 => {
                frame.flags ^= 1 << dice.below(8);
                ("VXLAN flags", None)
            }
            8 => {
                frame.vni ^= 1 << dice.below(24);
                ("VXLAN network", None)
            }
            9 => {
                frame.station =
                    dice.pick(&[[2, 9, 9, 9, 9, 9], [0xff; 6], [0x33, 0x33, 0, 0, 0, 1]]);
                ("inner station", None)
            }
            10 => {
                frame.kind = dice.pick(&[[8, 0], [8, 6], [0x81, 0], [0, 0]]);
                ("inner EtherType", None)
            }
            11 => {
                frame.length = dice.pick(&[-8, -1, 1, 8]);
                ("UDP length", None)
            }
            12 => {
                frame.has_checksum = false;
                ("no outer UDP checksum", None)
            }
            _ => {
                let at = usize::try_from(14 + dice.below(OUTER - 14)).unwrap_or(14);
                ("bit of the outer headers", Some((at, 1 << dice.below(8))))
            }
        };
        *what += name;
        *what += "; ";
        late
    }
}

impl Tunnel {
    fn build(&self, (to, from): (MacBytes, MacBytes), inner: &[u8]) -> Vec<u8> {
        let mut frame = ethernet(self.station, [6, 0xfe, 0, 0, 0, 2], inner);
        frame[12..14].copy_from_slice(&self.kind);
        let mut datagram = udp(40_000, self.port, &vxlan(self.flags, self.vni, &frame));
        let length = u16::try_from(datagram.len()).unwrap_or(u16::MAX);
        datagram[4..6].copy_from_slice(&length.wrapping_add_signed(self.length).to_be_bytes());
        if self.has_checksum {
            datagram = self.outer.summed(datagram, 6);
        }
        ethernet6(to, from, &self.outer.build(&datagram))
    }
}

/// Another address, which differs in one byte.
fn moved(address: Ipv6Addr, at: usize) -> Ipv6Addr {
    let mut octets = address.octets();
    octets[at] = octets[at].wrapping_add(7);
    octets.into()
}

fn flipped(mut packet: Vec<u8>, late: &[(usize, u8)]) -> Vec<u8> {
    for (at, bits) in late {
        if let Some(byte) = packet.get_mut(*at) {
            *byte ^= bits;
        }
    }
    packet
}
