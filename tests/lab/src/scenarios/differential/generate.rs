//! Packets that a pod sends, and tunnel frames that a node gets, right in every field until one or
//! two are changed.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use super::Ground;
use crate::forge::TunnelFrame;
use crate::frames::{Ipv4, UDP, udp};
use crate::traffic::ECHO_PORT;

/// Stands in front of each packet's number.
pub(super) const MAGIC: &[u8] = b"differs?";
/// Source port of the flow that goes fast.
pub(super) const FAST: u16 = 3999;

const ICMP: u8 = 1;
const TCP: u8 = 6;

/// Where a packet is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By a pod: an IP packet.
    Out,
    /// By a node on the wire: a frame.
    In,
}

impl Way {
    /// That of the packet with this number: out and in by turns.
    pub(super) fn of(number: u32) -> Self {
        if number.is_multiple_of(2) { Self::Out } else { Self::In }
    }
}

/// One packet.
#[derive(Debug, Clone)]
pub(super) struct Generated {
    pub(super) number: u32,
    pub(super) way: Way,
    pub(super) bytes: Vec<u8>,
    /// What was changed.
    pub(super) what: String,
}

/// The number that a packet or a frame carries.
pub(super) fn number_of(frame: &[u8]) -> Option<u32> {
    let at = frame.windows(MAGIC.len()).position(|window| window == MAGIC)? + MAGIC.len();
    frame.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// Numbers by chance; the same seed makes the same ones.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// SplitMix64 (Steele, Lea, Flood 2014).
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }

    pub(super) fn byte(&mut self) -> u8 {
        u8::try_from(self.below(256)).unwrap_or(0)
    }

    pub(super) fn word(&mut self) -> u16 {
        u16::try_from(self.below(1 << 16)).unwrap_or(0)
    }

    pub(super) fn pick<T: Copy>(&mut self, things: &[T]) -> T {
        let place = self.below(things.len() as u64);
        things[usize::try_from(place).unwrap_or(0)]
    }
}

/// Makes packets without end; the same seed makes the same ones.
pub(super) struct Generator {
    dice: Dice,
    next: u32,
    ground: [Ipv4Addr; 4],
    macs: [[u8; 6]; 3],
}

impl Generator {
    pub(super) fn new(seed: u64, ground: &Ground) -> Self {
        let Ground { pod, target, node, far, vtep, node_mac, far_mac } = *ground;
        let (ground, macs) = ([pod, target, node, far], [vtep, node_mac, far_mac]);
        Self { dice: Dice::new(seed), next: 0, ground, macs }
    }

    /// The next packet.
    pub(super) fn packet(&mut self) -> Generated {
        let number = self.next;
        self.next += 1;
        let way = Way::of(number);
        let mut what = String::new();
        let [pod, target, ..] = self.ground;
        let bytes = match way {
            Way::Out => self.ip((pod, target), number, &mut what),
            Way::In => self.tunnelled(number, &mut what),
        };
        Generated { number, way, bytes, what }
    }

    /// An IP packet of one of the kinds that the gate tells apart.
    fn ip(&mut self, ends: (Ipv4Addr, Ipv4Addr), number: u32, what: &mut String) -> Vec<u8> {
        let length =
            if self.dice.below(20) == 0 { self.dice.below(1390) } else { self.dice.below(60) };
        let filler = vec![0x77; usize::try_from(length).unwrap_or(0)];
        let data = [MAGIC, &number.to_be_bytes(), &filler].concat();
        let (protocol, payload) = self.transport(&data, what);
        let mut header = Ipv4::new(ends.0, ends.1, protocol);
        header.id = self.dice.word();
        let changes = self.dice.pick(&[0, 0, 1, 1, 1, 2]);
        let mut late = Vec::new();
        for _ in 0..changes {
            late.extend(self.change(&mut header, what));
        }
        let mut packet = header.build(&payload);
        for (at, bits) in late {
            if let Some(byte) = packet.get_mut(at) {
                *byte ^= bits;
            }
        }
        packet
    }

    fn transport(&mut self, data: &[u8], what: &mut String) -> (u8, Vec<u8>) {
        match self.dice.below(10) {
            0..=3 => (UDP, udp(FAST, ECHO_PORT, data)),
            4 => (UDP, udp(5000 + self.dice.word() % 1000, 9, data)),
            kind @ 5..=7 => {
                // SYN, anything, SYN-ACK.
                let flags = [0x02, self.dice.byte(), 0x12][usize::try_from(kind - 5).unwrap_or(0)];
                // Writing into a string cannot fail.
                let _ = write!(what, "TCP {flags:#04x}; ");
                let ports =
                    [(10_000 + self.dice.word() % 50_000).to_be_bytes(), 80_u16.to_be_bytes()];
                let rest = [0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 1, 0, 0, 0, 0, 0];
                (TCP, [&ports.concat()[..], &rest, data].concat())
            }
            8 => (
                ICMP,
                [&[self.dice.pick(&[8, 0, 3, 11, 13]), 0, 0, 0, 0x12, 0x34, 0, 1][..], data]
                    .concat(),
            ),
            _ => (self.dice.pick(&[132, 47, 4, 255, 2]), data.to_vec()),
        }
    }

    /// Changes a field; or says which bits of which byte to turn once the packet is built.
    fn change(&mut self, header: &mut Ipv4, what: &mut String) -> Option<(usize, u8)> {
        let (name, late) = match self.dice.below(13) {
            0 | 1 => {
                header.tos = self.dice.byte();
                ("type of service", None)
            }
            2 | 3 => {
                let any = self.dice.byte();
                header.ttl = self.dice.pick(&[0, 1, 2, 3, 255, any]);
                ("TTL", None)
            }
            4 => {
                header.fragment = self.dice.pick(&[0x4000, 0x8000, 0x2000, 0x2003, 0x0003, 0x6000]);
                ("fragment", None)
            }
            5 => {
                header.options = vec![1; 4 * usize::from(1 + self.dice.byte() % 10)];
                ("options", None)
            }
            6 => {
                let [a, b, c, d] = header.destination.octets();
                header.destination = self
                    .dice
                    .pick(&[Ipv4Addr::new(a, b, c, d.wrapping_add(7)), Ipv4Addr::new(a, b, 77, d)]);
                ("destination", None)
            }
            7 => {
                let [a, b, c, d] = header.source.octets();
                header.source = self.dice.pick(&[
                    Ipv4Addr::new(a, b, c, d.wrapping_add(9)),
                    Ipv4Addr::new(a, b, 77, d),
                    Ipv4Addr::new(192, 0, 2, d),
                ]);
                ("source", None)
            }
            8 => ("IP checksum", Some((10, 1 << self.dice.below(8)))),
            9 => ("version or header length", Some((0, 1 << self.dice.below(8)))),
            10 => ("total length", Some((3, 1 << self.dice.below(4)))),
            11 => {
                ("bit of the transport header", Some((20 + usize::from(self.dice.byte() % 8), 1)))
            }
            _ => (
                "bit of the header",
                Some((usize::from(self.dice.byte() % 20), 1 << self.dice.below(8))),
            ),
        };
        *what += name;
        *what += "; ";
        late
    }

    /// A tunnel frame from the peer, with an inner packet that may be changed as well.
    fn tunnelled(&mut self, number: u32, what: &mut String) -> Vec<u8> {
        let [pod, target, node, far] = self.ground;
        let [vtep, node_mac, far_mac] = self.macs;
        let inner = self.ip((target, pod), number, what);
        let mut frame = TunnelFrame::new((far, far_mac), (node, node_mac), vtep, inner);
        frame.outer.id = self.dice.word();
        let mut late = None;
        if self.dice.below(2) == 0 {
            late = self.change_tunnel(&mut frame, what);
        }
        let mut bytes = frame.build();
        if let Some((at, bits)) = late
            && let Some(byte) = bytes.get_mut(at)
        {
            *byte ^= bits;
        }
        bytes
    }

    fn change_tunnel(&mut self, frame: &mut TunnelFrame, what: &mut String) -> Option<(usize, u8)> {
        let (name, late) = match self.dice.below(14) {
            0 | 1 => {
                frame.outer.tos = self.dice.byte();
                ("outer type of service", None)
            }
            2 => {
                frame.outer.ttl = self.dice.pick(&[0, 1, 2, 255]);
                ("outer TTL", None)
            }
            3 => {
                frame.outer.fragment = self.dice.pick(&[0x4000, 0x8000, 0x2000, 0x0003]);
                ("outer fragment", None)
            }
            4 => {
                frame.outer.options = vec![1; 4 * usize::from(1 + self.dice.byte() % 10)];
                ("outer options", None)
            }
            5 => {
                frame.outer.source = Ipv4Addr::new(172, 30, 0, self.dice.pick(&[99, 13, 1]));
                ("outer source", None)
            }
            6 => {
                frame.port = self.dice.pick(&[8473, 4789, 8471]);
                ("outer port", None)
            }
            7 => {
                frame.flags ^= 1 << self.dice.below(32);
                ("VXLAN flags", None)
            }
            8 => {
                frame.vni ^= 1 << self.dice.below(32);
                ("VXLAN network", None)
            }
            9 => {
                frame.vtep =
                    self.dice.pick(&[[2, 9, 9, 9, 9, 9], [0xff; 6], [1, 0, 0x5e, 0, 0, 1]]);
                ("inner station", None)
            }
            10 => {
                frame.inner_type = self.dice.pick(&[0x86dd, 0x0806, 0x8100, 0]);
                ("inner EtherType", None)
            }
            11 => {
                // Eight or more too many, one too few, and so on.
                let wrong = i16::from(self.dice.pick(&[-8_i8, -1, 1, 8]));
                let right = u16::try_from(frame.datagram().len()).unwrap_or(0);
                frame.udp_length = Some(right.wrapping_add_signed(wrong));
                ("UDP length", None)
            }
            12 => (
                "outer UDP checksum",
                Some((40 + usize::from(self.dice.byte() % 2), 1 << self.dice.below(8))),
            ),
            _ => (
                "bit of the outer headers",
                Some((14 + usize::from(self.dice.byte() % 50), 1 << self.dice.below(8))),
            ),
        };
        *what += name;
        *what += "; ";
        late
    }
}
