//! The gate's rules, each as the story that it is there for.

use super::*;
use crate::abi::{FlowKey, Ipv6Config, NodeConfig};
use crate::{Mac, NetAddr};
use proptest::prelude::*;

const EPOCH: u32 = 3;
/// The second at which the right to `on` ends, where a test gives it an end.
const UNTIL: u32 = 100;
const SECOND: u64 = 1_000_000_000;
/// Longer than any time slot.
const SLOT: u64 = 1 << 32;
const OUT: Direction = Direction::FromLow;
const BACK: Direction = Direction::FromHigh;

const KEY: FlowKey = FlowKey {
    low: NetAddr::from_octets([10, 244, 1, 2]),
    high: NetAddr::from_octets([10, 244, 2, 2]),
    low_port: 40_000,
    high_port: 80,
    protocol: 6,
};

/// A configuration with this gate.
fn config(mode: FastPath, epoch: u32, on_until: u32) -> NodeConfig {
    let none = NetAddr::from_octets([0; 4]);
    NodeConfig {
        node: none,
        network: none,
        network_mask: none,
        subnet: none,
        subnet_mask: none,
        overlay_ifindex: 0,
        vni: 1,
        fast_path: mode as u32,
        source_check: 0,
        epoch,
        on_until,
        port_low: 0,
        port_span: 1,
        port: 8472,
        vtep_mac: Mac::default(),
        rules: 0,
        xdp: 0,
        reserved: 0,
        ipv6: Ipv6Config::NONE,
    }
}

/// What is in force in a mode, at one and the same moment.
fn regime(mode: FastPath) -> Regime {
    config(mode, EPOCH, 0).regime(&KEY, || SECOND)
}

/// One flow's entry, as the maps would keep it.
struct Flow(FlowState);

impl Default for Flow {
    fn default() -> Self {
        Self(FlowState::UNKNOWN)
    }
}

impl Flow {
    fn apply(&mut self, entry: Entry) {
        match entry {
            Entry::Keep => {}
            Entry::Write(state) => self.0 = state,
            Entry::Revoke => self.0 = FlowState::UNKNOWN,
        }
    }

    fn beside_a_service(&mut self) -> Way {
        let step = opening_beside_a_service(&regime(FastPath::On), self.0);
        self.apply(step.entry);
        step.way
    }

    fn origin(&mut self, mode: FastPath, direction: Direction, phase: Phase) -> Way {
        self.origin_in(&regime(mode), direction, phase)
    }

    fn origin_in(&mut self, regime: &Regime, direction: Direction, phase: Phase) -> Way {
        let step = at_origin(regime, self.0, direction, phase);
        self.apply(step.entry);
        step.way
    }

    fn delivery(&mut self, mode: FastPath, direction: Direction, phase: Phase, untranslated: bool) {
        self.delivery_in(&regime(mode), direction, phase, untranslated);
    }

    fn delivery_in(
        &mut self,
        regime: &Regime,
        direction: Direction,
        phase: Phase,
        untranslated: bool,
    ) {
        let entry = at_delivery(regime, self.0, direction, phase, untranslated);
        self.apply(entry);
    }
}

#[test]
fn beside_a_service_a_connection_opens_closes_and_is_accepted_by_the_stack() {
    let mut flow = Flow::default();
    assert_eq!(flow.beside_a_service(), Way::Stack);
    flow.delivery(FastPath::On, OUT, Phase::Opening, true);
    assert_eq!(flow.origin(FastPath::On, BACK, Phase::Middle), Way::Stack);
    flow.delivery(FastPath::On, BACK, Phase::Middle, true);
    assert_eq!(flow.origin(FastPath::On, OUT, Phase::Middle), Way::Fast);
    assert_eq!(flow.origin(FastPath::On, OUT, Phase::Closing), Way::Stack);
}

#[test]
fn beside_a_service_a_translated_answer_never_goes_direct() {
    let mut flow = Flow::default();
    flow.beside_a_service();
    flow.delivery(FastPath::On, OUT, Phase::Opening, true);
    flow.delivery(FastPath::On, BACK, Phase::Middle, false);
    assert_eq!(flow.origin(FastPath::On, BACK, Phase::Middle), Way::Stack);
    assert_eq!(flow.origin(FastPath::On, BACK, Phase::Closing), Way::Stack);
}

#[test]
fn a_connection_is_direct_from_its_syn_on() {
    let mut flow = Flow::default();
    assert_eq!(flow.origin(FastPath::On, OUT, Phase::Opening), Way::Fast);
    assert_eq!(flow.origin(FastPath::On, BACK, Phase::Middle), Way::Fast);
    assert_eq!(flow.origin(FastPath::On, OUT, Phase::Closing), Way::Fast);
}

#[test]
fn datagrams_are_direct_after_both_directions() {
    let mut flow = Flow::default();
    assert_eq!(flow.origin(FastPath::On, OUT, Phase::Middle), Way::Stack);
    assert_eq!(flow.origin(FastPath::On, OUT, Phase::Middle), Way::Stack);
    assert_eq!(flow.origin(FastPath::On, BACK, Phase::Middle), Way::Fast);
    assert_eq!(flow.origin(FastPath::On, OUT, Phase::Middle), Way::Fast);
}

#[test]
fn an_evicted_connection_is_learned_again() {
    let mut flow = Flow::default();
    flow.origin(FastPath::On, OUT, Phase::Opening);
    flow.0 = FlowState::UNKNOWN;
    assert_eq!(flow.origin(FastPath::On, OUT, Phase::Middle), Way::Stack);
    assert_eq!(flow.origin(FastPath::On, BACK, Phase::Middle), Way::Fast);
}

#[test]
fn a_translated_answer_starts_without_a_syn_and_never_becomes_direct() {
    let mut flow = Flow::default();
    for phase in [Phase::Middle, Phase::Middle, Phase::Closing] {
        assert_eq!(flow.origin(FastPath::On, BACK, phase), Way::Stack);
    }
}

#[test]
fn a_direct_tuple_that_comes_translated_is_revoked_on_the_spot() {
    let mut flow = Flow::default();
    flow.origin(FastPath::On, OUT, Phase::Opening);
    flow.delivery(FastPath::On, OUT, Phase::Opening, false);
    assert_eq!(flow.0, FlowState::UNKNOWN);
    assert_eq!(flow.origin(FastPath::On, BACK, Phase::Middle), Way::Stack);
}

#[test]
fn a_direct_flow_survives_its_own_packets_through_the_stack() {
    let mut flow = Flow::default();
    flow.origin(FastPath::On, OUT, Phase::Opening);
    flow.delivery(FastPath::On, OUT, Phase::Middle, true);
    assert_eq!(flow.origin(FastPath::On, OUT, Phase::Middle), Way::Fast);
}

#[test]
fn after_accept_waits_for_the_stack_in_both_directions() {
    let mode = FastPath::AfterAccept;
    let mut flow = Flow::default();
    assert_eq!(flow.origin(mode, OUT, Phase::Opening), Way::Stack);
    flow.delivery(mode, OUT, Phase::Opening, true);
    assert_eq!(flow.origin(mode, BACK, Phase::Middle), Way::Stack);
    assert_eq!(
        flow.origin(mode, OUT, Phase::Middle),
        Way::Stack,
        "the answer was not accepted yet"
    );
    flow.delivery(mode, BACK, Phase::Middle, true);
    assert_eq!(flow.origin(mode, OUT, Phase::Middle), Way::Fast);
    assert_eq!(flow.origin(mode, OUT, Phase::Closing), Way::Stack, "conntrack must see the end");
}

#[test]
fn after_accept_lets_a_new_connection_on_an_old_tuple_be_judged_anew() {
    let mode = FastPath::AfterAccept;
    let mut flow = Flow(regime(mode).state(SEEN_BOTH));
    assert_eq!(flow.origin(mode, OUT, Phase::Opening), Way::Stack);
    assert_eq!(flow.origin(mode, OUT, Phase::Middle), Way::Stack);
}

#[test]
fn an_entry_of_another_epoch_counts_for_nothing() {
    for mode in [FastPath::On, FastPath::AfterAccept] {
        let old = config(mode, EPOCH - 1, 0).regime(&KEY, || SECOND).state(SEEN_BOTH | OPENED);
        assert_eq!(at_origin(&regime(mode), old, OUT, Phase::Middle).way, Way::Stack);
    }
}

#[test]
fn off_means_the_stack() {
    let direct = regime(FastPath::Off).state(SEEN_BOTH);
    for phase in [Phase::Opening, Phase::Middle, Phase::Closing] {
        let step = at_origin(&regime(FastPath::Off), direct, OUT, phase);
        assert_eq!(step, Step { way: Way::Stack, entry: Entry::Keep });
    }
}

fn phases() -> impl Strategy<Value = Phase> {
    prop::sample::select(&[Phase::Opening, Phase::Middle, Phase::Closing][..])
}

proptest! {
    /// A pod talks to a virtual address: the node's origin hooks see only the backend's
    /// answers of the backend's tuple, the delivery hooks only what was translated.
    #[test]
    fn a_translated_flow_never_goes_fast(
        after_accept: bool,
        packets in prop::collection::vec((any::<bool>(), phases()), 0..40),
    ) {
        let mode = if after_accept { FastPath::AfterAccept } else { FastPath::On };
        let mut flow = Flow::default();
        for (is_answer, phase) in packets {
            if is_answer {
                // A backend answers: it never opens.
                let phase = if phase == Phase::Opening { Phase::Middle } else { phase };
                prop_assert_eq!(flow.origin(mode, BACK, phase), Way::Stack);
            } else {
                flow.delivery(mode, OUT, phase, false);
            }
        }
    }

    /// Whatever happened before, losing the entry means the stack for the next packet,
    /// unless it opens a connection.
    #[test]
    fn a_miss_means_the_stack(
        mode in prop::sample::select(&[FastPath::On, FastPath::AfterAccept, FastPath::Off][..]),
        from_low: bool,
        phase in phases(),
    ) {
        let direction = if from_low { OUT } else { BACK };
        let way = at_origin(&regime(mode), FlowState::UNKNOWN, direction, phase).way;
        let opens = phase == Phase::Opening && mode == FastPath::On;
        prop_assert_eq!(way, if opens { Way::Fast } else { Way::Stack });
    }

    #[test]
    fn a_tag_is_never_that_of_an_unseen_or_flowless_packet(source: u32, port: u16) {
        let tuple = Tuple {
            source: NetAddr::from_octets(source.to_ne_bytes()),
            destination: NetAddr::from_octets([10, 244, 2, 2]),
            source_port: port,
            destination_port: 80,
            protocol: 6,
        };
        prop_assert!(tag(&tuple) != 0 && tag(&tuple) != ACCEPTED);
    }
}

mod lasting;
