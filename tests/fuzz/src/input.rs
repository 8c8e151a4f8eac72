//! How an input becomes a packet and its circumstances: six bytes choose those, the rest is the
//! frame.

use tartan_common::abi::{FastPath, NodeConfig};
use tartan_common::hook::{Meta, TunnelKey, TunnelKey6};
use tartan_common::wire::{INNER_AT, INNER_AT6, Inner};
use tartan_golden::fixture::Memory;
use tartan_golden::headers::{Draft, Family, Flow, Setting, Tag, Whose, memory};
use tartan_golden::{Key, meta};

/// Bytes in front of the frame.
const CHOICES: usize = 6;
/// The clock of every packet: an hour after the start.
pub(crate) const SECOND: u32 = 3600;
const NS_PER_S: u64 = 1_000_000_000;
/// What other memory than the packet's own says; the last one is out of range of any packet.
const PIECES: [u32; 8] = [0, 0, 0, 0, 1, 1300, 1410, u32::MAX];
const ENDS: [Whose; 4] = [Whose::Peer, Whose::Node, Whose::Stranger, Whose::Remote];

/// A packet and its circumstances.
#[derive(Debug)]
pub(crate) struct Packet {
    pub(crate) frame: Vec<u8>,
    pub(crate) meta: Meta,
    pub(crate) key: Option<Key>,
    pub(crate) config: NodeConfig,
    flow: Flow,
}

impl Packet {
    /// `None` for an input that is too short to choose.
    pub(crate) fn read(input: &[u8]) -> Option<Self> {
        let (choices, frame) = input.split_first_chunk::<CHOICES>()?;
        let [setting, flow, tag, pieces, rest, ends] = *choices;
        let config = pick(&Setting::ALL, setting).config(SECOND);
        let gso_size = pick(&PIECES, pieces);
        let plain = meta(frame, gso_size);
        let tag = pick(&Tag::ALL, tag).number(Some(0x2345));
        let (in_vlan, for_us) = (rest & 1 != 0, rest & 2 == 0);
        let (sender, receiver) = (pick(&ENDS, ends), pick(&ENDS, (ends >> 2) ^ 1));
        let vni = 1 + u32::from(ends >> 6);
        let key = match rest >> 2 & 3 {
            0 => None,
            1 | 2 => {
                let (sender, receiver) = (sender.v4(), receiver.v4());
                Some(Key::V4(TunnelKey { sender, receiver, vni }))
            }
            _ => {
                let (sender, receiver) = (sender.v6(), receiver.v6());
                Some(Key::V6(TunnelKey6 { sender, receiver, vni }))
            }
        };
        Some(Self {
            frame: frame.to_vec(),
            meta: Meta { tag, in_vlan, for_us, ..plain },
            key,
            config,
            flow: flow_of(config.fast_path(), pick(&Flow::ALL, flow)),
        })
    }

    /// The node's tables, with the flow's entry: of the packet, and of the one in it.
    pub(crate) fn maps(&self) -> Memory {
        let maps = Memory { now: u64::from(SECOND) * NS_PER_S, ..memory() };
        let frame = &self.frame[..];
        for (family, at) in [(Family::V4, INNER_AT), (Family::V6, INNER_AT6)] {
            self.flow.write(family, &Inner::new(frame, 0), &self.config, &maps);
            self.flow.write(family, &Inner::new(frame, at), &self.config, &maps);
        }
        maps
    }
}

/// An input that becomes this draft, as far as one can.
pub(crate) fn written(draft: &Draft) -> Vec<u8> {
    let place = |found: Option<usize>| found.and_then(|it| u8::try_from(it).ok()).unwrap_or(0);
    let setting = Setting::ALL.iter().position(|it| *it == draft.setting);
    let flow = Flow::ALL.iter().position(|it| *it == draft.flow);
    let tag = Tag::ALL.iter().position(|it| *it == draft.tag);
    let pieces = PIECES.iter().position(|it| *it == draft.gso_size);
    let key = match draft.key {
        None => 0,
        Some((Family::V4, ..)) => 1,
        Some((Family::V6, ..)) => 3,
    };
    let frame = draft.frame();
    let not_for_us = u8::from(!meta(&frame, 0).for_us) << 1;
    let rest = u8::from(draft.in_vlan) | not_for_us | key << 2;
    let choices = [place(setting), place(flow), place(tag), place(pieces), rest, 0];
    [&choices[..], &frame].concat()
}

/// In mode `off` nobody writes entries: those that are there are of another epoch.
fn flow_of(mode: FastPath, flow: Flow) -> Flow {
    if mode == FastPath::Off && matches!(flow, Flow::Seen(_)) { Flow::Stale } else { flow }
}

fn pick<T: Copy>(things: &[T], number: u8) -> T {
    things[usize::from(number) % things.len()]
}
