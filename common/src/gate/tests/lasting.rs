//! How long a right lasts, against a writer that keeps to its rules and a clock that only goes
//! forward.

use super::*;

/// A clock that nobody may read.
fn no_clock() -> u64 {
    unreachable!("the clock is read where the answer does not depend on it")
}

#[test]
fn the_clock_is_read_only_where_it_counts() {
    assert_eq!(config(FastPath::Off, EPOCH, UNTIL).regime(&KEY, no_clock).mode(), FastPath::Off);
    assert_eq!(config(FastPath::On, EPOCH, 0).regime(&KEY, no_clock).mode(), FastPath::On);
}

#[test]
fn a_right_that_ran_out_leaves_after_accept_and_nothing_known() {
    let config = config(FastPath::On, EPOCH, UNTIL);
    let end = u64::from(UNTIL) * SECOND;
    let before = config.regime(&KEY, || end - 1);
    let after = config.regime(&KEY, || end);
    assert_eq!((before.mode(), after.mode()), (FastPath::On, FastPath::AfterAccept));
    let mut flow = Flow::default();
    assert_eq!(flow.origin_in(&before, OUT, Phase::Opening), Way::Fast);
    assert_eq!(flow.origin_in(&after, OUT, Phase::Middle), Way::Stack);
    flow.delivery_in(&after, OUT, Phase::Middle, true);
    flow.delivery_in(&after, BACK, Phase::Middle, true);
    assert_eq!(flow.origin_in(&after, OUT, Phase::Middle), Way::Fast);
    // The agent is back: neither the old right nor what came after it counts.
    let renewed = NodeConfig { epoch: EPOCH + 1, on_until: UNTIL + 60, ..config };
    let renewed = renewed.regime(&KEY, || end + SECOND);
    assert_eq!(flow.origin_in(&renewed, OUT, Phase::Middle), Way::Stack);
}

/// Its first slot has the number that `on` has, too.
#[test]
fn a_right_runs_out_in_the_first_second_after_boot_as_well() {
    let key = FlowKey { low_port: KEY.high_port, ..KEY };
    let config = config(FastPath::On, EPOCH, 1);
    let (before, after) = (config.regime(&key, || 0), config.regime(&key, || SECOND));
    assert_eq!(before.state(0).slot, after.state(0).slot);
    let mut flow = Flow::default();
    assert_eq!(flow.origin_in(&before, OUT, Phase::Opening), Way::Fast);
    assert_eq!(flow.origin_in(&after, OUT, Phase::Middle), Way::Stack);
}

#[test]
fn renewing_a_right_costs_no_flow_anything() {
    let (first, renewed) =
        (config(FastPath::On, EPOCH, UNTIL), config(FastPath::On, EPOCH, UNTIL + 30));
    let mut flow = Flow::default();
    let now = || u64::from(UNTIL) * SECOND - 1;
    flow.origin_in(&first.regime(&KEY, now), OUT, Phase::Opening);
    let step = at_origin(&renewed.regime(&KEY, || now() + 2), flow.0, BACK, Phase::Middle);
    assert_eq!(step, Step { way: Way::Fast, entry: Entry::Keep });
}

#[test]
fn the_stack_sees_an_accepted_flow_again_in_every_slot() {
    let config = config(FastPath::AfterAccept, EPOCH, 0);
    let mut flow = Flow::default();
    for slot in 1..4 {
        let regime = config.regime(&KEY, || slot * SLOT);
        assert_eq!(flow.origin_in(&regime, OUT, Phase::Middle), Way::Stack);
        flow.delivery_in(&regime, OUT, Phase::Middle, true);
        assert_eq!(flow.origin_in(&regime, BACK, Phase::Middle), Way::Stack);
        flow.delivery_in(&regime, BACK, Phase::Middle, true);
        assert_eq!(flow.origin_in(&regime, OUT, Phase::Middle), Way::Fast);
    }
}

#[test]
fn flows_change_slots_at_different_moments() {
    let config = config(FastPath::AfterAccept, EPOCH, 0);
    let slot = |port, now| {
        let key = FlowKey { low_port: port, ..KEY };
        config.regime(&key, || now).state(0).slot
    };
    // Clients number their ports one after the other.
    for part in 0..16 {
        let (from, to) = (part * SLOT / 16, (part + 1) * SLOT / 16);
        let moved = (32_768..33_768).filter(|port| slot(*port, from) != slot(*port, to)).count();
        assert!((30..=95).contains(&moved), "{moved} of 1000 in a sixteenth of a slot");
    }
}

/// What happens to a node.
#[derive(Clone, Debug)]
enum Op {
    /// Time passes; nobody renews.
    Wait(u64),
    /// The agent writes: this mode, and if it is a right, for so many seconds.
    Write(FastPath, Option<u32>),
    /// The agent saw other rules.
    OtherRules,
    /// A packet at an origin hook.
    Origin(bool, Phase),
    /// A packet at a delivery hook.
    Delivery(bool, Phase, bool),
}

fn ops() -> impl Strategy<Value = Op> {
    let modes = prop::sample::select(&[FastPath::On, FastPath::AfterAccept, FastPath::Off][..]);
    prop_oneof![
        3 => (0..6 * SECOND).prop_map(Op::Wait),
        1 => (30 * SECOND..100 * SECOND).prop_map(Op::Wait),
        3 => (modes, prop::option::weighted(0.8, 1..31_u32)).prop_map(|(m, s)| Op::Write(m, s)),
        1 => Just(Op::OtherRules),
        12 => (any::<bool>(), phases()).prop_map(|(low, phase)| Op::Origin(low, phase)),
        12 => (any::<bool>(), phases(), prop::bool::weighted(0.95))
            .prop_map(|(low, phase, pure)| Op::Delivery(low, phase, pure)),
    ]
}

/// When something was seen, in which of the writer's epochs, and whether its right was over.
type Seen = (u64, u32, bool);

/// A node beside what its gate may know.
struct World {
    config: NodeConfig,
    now: u64,
    flow: Flow,
    origin: [Option<Seen>; 2],
    delivered: [Option<Seen>; 2],
    opened: Option<Seen>,
}

impl World {
    fn new() -> Self {
        Self {
            config: config(FastPath::On, 1, 0),
            now: SECOND,
            flow: Flow::default(),
            origin: [None; 2],
            delivered: [None; 2],
            opened: None,
        }
    }

    fn regime(&self) -> Regime {
        self.config.regime(&KEY, || self.now)
    }

    fn seen_now(&self) -> Seen {
        (self.now, self.config.epoch, self.config.is_over(self.now))
    }

    /// Whether it was seen under the right of now, and no longer ago than `age`.
    fn counts(&self, seen: Option<Seen>, age: u64) -> bool {
        seen.is_some_and(|(at, epoch, over)| {
            (epoch, over) == (self.config.epoch, self.config.is_over(self.now))
                && self.now - at < age
        })
    }

    fn may_be_fast(&self) -> bool {
        match self.regime().mode() {
            FastPath::Off => false,
            FastPath::On => {
                let both = self.origin.iter().all(|seen| self.counts(*seen, u64::MAX));
                both || self.counts(self.opened, u64::MAX)
            }
            FastPath::AfterAccept => self.delivered.iter().all(|seen| self.counts(*seen, SLOT)),
        }
    }

    /// The writer's rule: another mode, or a right that is over, begins an epoch.
    fn write(&mut self, mode: FastPath, seconds: Option<u32>) {
        let now = u32::try_from(self.now / SECOND).unwrap();
        let ends = self.config.fast_path != mode as u32 || self.config.is_over(self.now);
        let epoch = self.config.epoch + u32::from(ends);
        self.config = config(mode, epoch, seconds.map_or(0, |seconds| now + seconds));
    }

    fn origin(&mut self, low: bool, phase: Phase) -> Way {
        let way = self.flow.origin_in(&self.regime(), if low { OUT } else { BACK }, phase);
        self.origin[usize::from(low)] = Some(self.seen_now());
        if phase == Phase::Opening {
            self.opened = Some(self.seen_now());
        }
        way
    }

    fn delivery(&mut self, low: bool, phase: Phase, untranslated: bool) {
        let direction = if low { OUT } else { BACK };
        self.flow.delivery_in(&self.regime(), direction, phase, untranslated);
        if untranslated {
            self.delivered[usize::from(low)] = Some(self.seen_now());
        } else {
            // The tuple belongs to another flow from here on.
            (self.origin, self.delivered, self.opened) = ([None; 2], [None; 2], None);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// What made a flow direct was seen in the epoch of now, under the right of now, and where
    /// netfilter has a say no longer ago than a slot: however long the agent was away.
    #[test]
    fn no_old_entry_ever_makes_a_flow_direct(ops in prop::collection::vec(ops(), 0..120)) {
        let mut world = World::new();
        for op in ops {
            match op {
                Op::Wait(ns) => world.now += ns,
                Op::Write(mode, seconds) => world.write(mode, seconds),
                Op::OtherRules => world.config.epoch += 1,
                Op::Delivery(low, phase, pure) => world.delivery(low, phase, pure),
                Op::Origin(low, phase) => {
                    let way = world.origin(low, phase);
                    prop_assert!(way == Way::Stack || world.may_be_fast(), "{:?}", world.flow.0);
                }
            }
        }
    }

    /// The same flow's slots only go up, and each lasts no longer than it says.
    #[test]
    fn slots_follow_the_clock(now in 0..1_u64 << 60, ns in 0..20 * SECOND, port: u16) {
        let key = FlowKey { low_port: port, ..KEY };
        let config = config(FastPath::AfterAccept, EPOCH, 0);
        let slot = |now| config.regime(&key, || now).state(0).slot;
        prop_assert!(slot(now) <= slot(now + ns));
        prop_assert!(ns < SLOT || slot(now) < slot(now + ns));
    }
}
