//! Many packets of a few flows, at any hook and in any order, and what the gate promises: a flow
//! goes fast only by a right that its own packets earned, untranslated and in this regime, since a
//! translated packet last used its ends.

use std::collections::BTreeMap;

use tartan_common::abi::{Abi as _, FastPath, FlowState, NodeConfig};
use tartan_common::flow::{Direction, Tuple};
use tartan_common::hook::Meta;
use tartan_common::{Mac, NetAddr, gate};
use tartan_golden::fixture::{self, HOST_MAC, Memory, PEER_VTEP, POD_MAC, PORT, VNI, VTEP};
use tartan_golden::headers::{Setting, Whose, memory};
use tartan_golden::packets::{frame, tcp_packet, tunnel, udp_packet};
use tartan_golden::{Hook, Verdict, meta, run};

use crate::input::SECOND;

/// Bytes of one step.
const STEP: usize = 3;
/// So many steps are taken at most.
const STEPS: usize = 64;
const NS_PER_S: u64 = 1_000_000_000;
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Longest slots first: within one, half way to the next, right into it, beyond several.
const WAITS: [u64; 4] = [1_000_000, 2_000_000_000, 4_300_000_000, 40_000_000_000];
const FLAGS: [u8; 8] = [0x02, 0x12, 0x10, 0x11, 0x04, 0x02, 0x10, 0x18];

/// A packet that a hook saw.
struct Seen {
    regime: FlowState,
    direction: Direction,
    opens: bool,
    /// Before the host stack.
    at_origin: bool,
}

struct World {
    config: NodeConfig,
    maps: Memory,
    /// What was seen of each flow since it was last translated.
    history: BTreeMap<[u8; 16], Vec<Seen>>,
}

/// Takes the steps of an input.
///
/// # Errors
/// When a flow went fast without a right.
pub(crate) fn check(input: &[u8]) -> Result<(), String> {
    let Some((first, steps)) = input.split_first() else { return Ok(()) };
    let setting = Setting::GATES[usize::from(*first) % Setting::GATES.len()];
    let now = u64::from(SECOND) * NS_PER_S;
    let mut world = World {
        config: setting.config(SECOND),
        maps: Memory { now, ..memory() },
        history: BTreeMap::new(),
    };
    let (steps, _) = steps.as_chunks::<STEP>();
    for (number, step) in steps.iter().take(STEPS).enumerate() {
        world.step(*step).map_err(|what| format!("step {number}: {what}"))?;
    }
    Ok(())
}

/// Beginnings: each kind of flow, opened by either side, in each gate.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let one = |gate: u8, hooks: [u8; 4], which: u8| {
        let steps = hooks.map(|hook| [hook, which, 0]).concat();
        [&[gate][..], &steps].concat()
    };
    let orders = [[0, 1, 0, 1], [0, 2, 1, 3], [1, 0, 3, 0], [0, 6, 0, 7], [2, 2, 3, 3]];
    let all = (0..5).flat_map(|gate| orders.map(|hooks| (gate, hooks)));
    all.flat_map(|(gate, hooks)| [0, 1, 8, 9].map(|which| one(gate, hooks, which))).collect()
}

impl World {
    fn step(&mut self, [what, which, more]: [u8; STEP]) -> Result<(), String> {
        let (is_translated, outward) = (more & 1 != 0, which & 1 == 0);
        let tuple = tuple_of(which, outward);
        match what % 8 {
            // A pod of this node sends; one of the peer's does.
            0 | 4 => self.origin(Hook::PodEgress, &tuple_of(which, true), more),
            1 | 5 => self.origin(Hook::UplinkIngress, &tuple_of(which, false), more),
            // The stack delivers: to the pod, or towards the peer.
            2 if outward => self.delivery(Hook::OverlayEgress, &tuple, is_translated, more),
            2 | 3 => self.delivery(Hook::PodIngress, &tuple_of(which, false), is_translated, more),
            6 => {
                self.maps.now += WAITS[usize::from(which) % WAITS.len()];
                Ok(())
            }
            _ => {
                let epoch = self.config.epoch + u32::from(which & 1);
                let fast_path = FastPath::from_number(u32::from(which >> 1) % 3) as u32;
                self.config = NodeConfig { epoch: epoch + 1, fast_path, ..self.config };
                Ok(())
            }
        }
    }

    fn regime(&self, tuple: &Tuple) -> FlowState {
        self.config.regime(&tuple.key().0, || self.maps.now).state(0)
    }

    fn origin(&mut self, hook: Hook, tuple: &Tuple, more: u8) -> Result<(), String> {
        let flags = FLAGS[usize::from(more >> 1) % FLAGS.len()];
        let mut bytes = packet(hook, tuple, flags);
        let plain = meta(&bytes, 0);
        let verdict = run(hook, &mut bytes, &plain, &self.config, &self.maps, 0);
        let opens = tuple.protocol == TCP && flags == 0x02;
        if matches!(verdict, Verdict::ToWire | Verdict::ToPod) && !self.has_right(tuple, opens) {
            return Err(format!("{tuple:?} with flags {flags:#x} went fast at {hook:?}"));
        }
        if opens
            && self.config.regime(&tuple.key().0, || self.maps.now).mode() == FastPath::AfterAccept
        {
            // Another connection: whatever the last one earned is over.
            self.history.remove(&tuple.key().0.to_bytes());
        }
        self.saw(tuple, opens, true);
        Ok(())
    }

    fn delivery(
        &mut self,
        hook: Hook,
        tuple: &Tuple,
        is_translated: bool,
        more: u8,
    ) -> Result<(), String> {
        let flags = FLAGS[usize::from(more >> 1) % FLAGS.len()];
        let bytes = packet(hook, tuple, flags);
        let own = gate::tag(tuple);
        let tag = if is_translated { own ^ 0x0100 } else { own };
        let arrived = Meta { tag, ..meta(&bytes, 0) };
        let mut after = bytes.clone();
        let verdict = run(hook, &mut after, &arrived, &self.config, &self.maps, 0);
        if matches!(verdict, Verdict::Drop(_)) {
            return Err(format!("{hook:?} dropped {tuple:?}: {verdict:?}"));
        }
        if is_translated {
            self.history.remove(&tuple.key().0.to_bytes());
        } else {
            self.saw(tuple, tuple.protocol == TCP && flags == 0x02, false);
        }
        Ok(())
    }

    fn saw(&mut self, tuple: &Tuple, opens: bool, at_origin: bool) {
        let (key, direction) = tuple.key();
        let seen = Seen { regime: self.regime(tuple), direction, opens, at_origin };
        self.history.entry(key.to_bytes()).or_default().push(seen);
    }

    /// Whether a packet of the flow, or one that opens it, may go fast.
    fn has_right(&self, tuple: &Tuple, opens: bool) -> bool {
        let (key, own) = tuple.key();
        let regime = self.config.regime(&key, || self.maps.now);
        let now = regime.state(0);
        let nothing = Vec::new();
        let seen = self.history.get(&key.to_bytes()).unwrap_or(&nothing);
        let of_now = || seen.iter().filter(|it| it.regime == now);
        let from = |direction, at_origin: Option<bool>| {
            of_now().any(|it| {
                it.direction == direction && at_origin.is_none_or(|at| at == it.at_origin)
            })
        };
        let other =
            if own == Direction::FromLow { Direction::FromHigh } else { Direction::FromLow };
        match regime.mode() {
            FastPath::Off => false,
            FastPath::On => {
                let opened = opens || of_now().any(|it| it.opens && it.at_origin);
                opened || from(other, None)
            }
            FastPath::AfterAccept => !opens && from(own, Some(false)) && from(other, Some(false)),
        }
    }
}

/// A flow of the little world: two protocols, two ports, two local pods.
fn tuple_of(which: u8, outward: bool) -> Tuple {
    let local = if which & 2 == 0 { Whose::Pod.v4() } else { Whose::Neighbour.v4() };
    let remote = Whose::Remote.v4();
    let port = if which & 4 == 0 { 40_000 } else { 40_001 };
    let protocol = if which & 8 == 0 { TCP } else { UDP };
    // The local pod is the client, or the server.
    let (local_port, remote_port) = if which & 16 == 0 { (port, 80) } else { (80, port) };
    let ends = |source: NetAddr, destination, source_port, destination_port| Tuple {
        source,
        destination,
        source_port,
        destination_port,
        protocol,
    };
    if outward {
        ends(local, remote, local_port, remote_port)
    } else {
        ends(remote, local, remote_port, local_port)
    }
}

fn packet(hook: Hook, tuple: &Tuple, flags: u8) -> Vec<u8> {
    let ends = (tuple.source, tuple.destination);
    let ports = (tuple.source_port, tuple.destination_port);
    let packet = if tuple.protocol == TCP {
        tcp_packet(ends, ports, flags)
    } else {
        udp_packet(ends, ports)
    };
    if hook != Hook::UplinkIngress {
        return frame(POD_MAC, HOST_MAC, &packet);
    }
    let inner = frame(PEER_VTEP, VTEP, &packet);
    frame(Mac::default(), HOST_MAC, &tunnel((fixture::PEER, fixture::NODE), PORT, VNI, &inner))
}
