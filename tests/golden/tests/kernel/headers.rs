//! Some 200,000 headers, each judged by the kernel and by the host alike: what the program
//! returned, every byte, the counter, and the flows.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Instant;

use tartan_common::abi::{Abi as _, COUNTER_SLOTS, Counted, FlowState, NodeConfig, Tally};
use tartan_common::event::Event;
use tartan_common::path::Path;
use tartan_common::reason::Reason;
use tartan_common::wire::TUNNEL_OVERHEAD;
use tartan_golden::fixture::Memory;
use tartan_golden::headers::{Draft, Program, Setting, Sheet, memory, sheets};
use tartan_golden::{Hook, Outcome, Verdict, guard, hex, run_counted};

use crate::stage::{Props, Stage};
use crate::support::{Kernel, coarse_clock, identification, may_run};

const NS_PER_S: u64 = 1_000_000_000;
/// A frame of a test run has the IP header that its type promises.
const SHORTEST: [usize; 2] = [34, 54];
/// So many cases may be none of ours at most: frames that nobody looks at prove nothing.
const MOST_FOREIGN: f64 = 0.25;

#[test]
fn every_header_ends_in_the_kernel_as_on_the_host() {
    if !may_run() {
        return;
    }
    let start = Instant::now();
    let mut bench = Bench::new();
    for sheet in sheets() {
        bench.try_sheet(&sheet);
    }
    let cases: u64 = bench.seen.values().sum();
    println!("{cases} headers in {:.1} s", start.elapsed().as_secs_f64());
    for ((program, what), count) in &bench.seen {
        println!("{count:8} {} {what}", program.name());
    }
    bench.everything_was_met(cases);
}

/// Both sides, and what they came to so far.
struct Bench {
    kernel: Kernel,
    stage: Stage,
    memory: Memory,
    setting: Setting,
    config: NodeConfig,
    /// What the counters must say.
    expected: Vec<Tally>,
    out: Vec<u8>,
    /// Cases by what became of them.
    seen: BTreeMap<(Program, String), u64>,
    foreign: u64,
}

impl Bench {
    fn new() -> Self {
        let mut kernel = Kernel::load();
        let memory = memory();
        kernel.fill(&memory);
        let stage = Stage::load(&mut kernel);
        let none = Tally { packets: 0, bytes: 0 };
        let expected = (0..COUNTER_SLOTS).map(|_| none).collect();
        Self {
            kernel,
            stage,
            memory,
            setting: Setting::On,
            config: Setting::On.config(0),
            expected,
            out: Vec::new(),
            seen: BTreeMap::new(),
            foreign: 0,
        }
    }

    fn try_sheet(&mut self, sheet: &Sheet) {
        for draft in sheet.drafts() {
            self.configure(draft.setting);
            self.try_draft(sheet, &draft);
        }
        // Each case looked at its own counter: no other one moved, either.
        assert_eq!(self.kernel.tallies(), self.expected, "{}", sheet.name);
        let left = self.kernel.get_flows::<Key4>("FLOWS").len();
        assert_eq!(left + self.kernel.get_flows::<Key6>("FLOWS6").len(), 0, "{}", sheet.name);
    }

    fn configure(&mut self, setting: Setting) {
        if self.setting != setting {
            let now = u32::try_from(coarse_clock() / NS_PER_S).unwrap();
            (self.setting, self.config) = (setting, setting.config(now));
            self.kernel.configure(&self.config);
        }
    }

    fn try_draft(&mut self, sheet: &Sheet, draft: &Draft) {
        let mut frame = draft.frame();
        let is_ipv6 = frame[12..14] == [0x86, 0xdd];
        frame.resize(frame.len().max(SHORTEST[usize::from(is_ipv6)]), 0);
        // What the programs see of the clock is only sure if it stood still meanwhile.
        while !self.try_in_one_tick(sheet, draft, &frame) {}
    }

    fn try_in_one_tick(&mut self, sheet: &Sheet, draft: &Draft, frame: &[u8]) -> bool {
        self.memory.now = coarse_clock();
        draft.prepare(frame, &self.config, &self.memory);
        let before = (self.memory.flows.borrow().clone(), self.memory.flows6.borrow().clone());
        self.kernel.write(&before);
        let meta = draft.meta(frame);
        let key = draft.tunnel_key();
        let props = Props { gso_size: meta.gso_size, tag: meta.tag, in_vlan: meta.in_vlan, key };
        let mut out = std::mem::take(&mut self.out);
        let code = self.stage.run(sheet.program, frame, &props, &mut out);
        let in_one_tick = coarse_clock() == self.memory.now;
        let mut host = frame.to_vec();
        let outcome = self.host(sheet.program, draft, &mut host, identification(&out));
        let after = (self.memory.flows.take(), self.memory.flows6.take());
        let about = About { sheet, draft, frame, outcome };
        self.kernel.forget(&before, &after, in_one_tick.then_some(&about));
        if in_one_tick {
            self.compare(&about, code, (&out, &host));
        } else {
            // Counted, but perhaps for what the clock said a moment later.
            self.expected = self.kernel.tallies();
            self.memory.events.take();
        }
        self.out = out;
        in_one_tick
    }

    /// The host's answer; `frame` becomes what leaves.
    fn host(
        &self,
        program: Program,
        draft: &Draft,
        frame: &mut Vec<u8>,
        identification: u16,
    ) -> Outcome {
        let meta = draft.meta(frame);
        let hook = match program {
            Program::OverlayIngress => {
                return guard(frame, &meta, draft.tunnel_key(), &self.config, &self.memory);
            }
            Program::PodEgress => Hook::PodEgress,
            Program::PodIngress => Hook::PodIngress,
            Program::OverlayEgress => Hook::OverlayEgress,
            Program::UplinkIngress => Hook::UplinkIngress,
            Program::UplinkEgress => Hook::UplinkEgress,
        };
        let before = frame.clone();
        let outcome = run_counted(hook, frame, &meta, &self.config, &self.memory, identification);
        if meta.gso_size > 0 {
            without_room(outcome, &before, frame, &self.memory)
        } else {
            outcome
        }
    }

    fn compare(&mut self, about: &About<'_>, code: i32, (out, host): (&[u8], &[u8])) {
        let (verdict, path) = about.outcome;
        assert_eq!(code, verdict.code(), "what the program returned; {about:?}");
        if !matches!(verdict, Verdict::Drop(_)) {
            assert_eq!(out, host, "kernel left, host right; {about:?}");
        }
        let counted = match (verdict, path) {
            (Verdict::Drop(reason), _) => Some(Counted::Reason(reason)),
            (_, path) => path.map(Counted::Path),
        };
        if let Some(what) = counted {
            self.count(what, host.len());
            let slot = what.slot();
            let expected = self.expected[usize::try_from(slot).unwrap()];
            assert_eq!(self.kernel.tally(slot), expected, "{what:?} is counted; {about:?}");
        }
        for event in self.memory.events.take() {
            self.count(Counted::Event(event), 0);
        }
        self.foreign += u64::from(counted.is_none());
        *self.seen.entry((about.sheet.program, in_words(about.outcome))).or_default() += 1;
    }

    fn count(&mut self, what: Counted, bytes: usize) {
        let tally = &mut self.expected[usize::try_from(what.slot()).unwrap()];
        tally.packets += 1;
        tally.bytes += u64::try_from(bytes).unwrap();
    }

    fn everything_was_met(&self, cases: u64) {
        let is_counted =
            |what: Counted| self.expected[usize::try_from(what.slot()).unwrap()].packets > 0;
        let reasons = Reason::ALL.iter().filter(|it| !is_counted(Counted::Reason(**it)));
        assert_eq!(reasons.collect::<Vec<_>>(), Vec::<&Reason>::new(), "reasons never met");
        let paths = Path::ALL.iter().filter(|it| !is_counted(Counted::Path(**it)));
        assert_eq!(paths.collect::<Vec<_>>(), Vec::<&Path>::new(), "paths never met");
        // The others would mean that the kernel refused something that it must not refuse.
        let met =
            [Event::GateOpened, Event::GateRevoked, Event::EncapRoomFailed, Event::DecapRoomFailed];
        for event in Event::ALL {
            assert_eq!(is_counted(Counted::Event(*event)), met.contains(event), "{event:?}");
        }
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let share = self.foreign as f64 / cases as f64;
        println!("{:.1} % are none of ours", share * 100.0);
        assert!(share < MOST_FOREIGN, "{} of {cases} are none of ours", self.foreign);
        assert!(cases > 180_000, "{cases} cases are too few");
    }
}

/// The kernel makes no room in a GSO packet of unknown kind, as those of a test run are: what
/// becomes of a packet then.
fn without_room(outcome: Outcome, before: &[u8], frame: &mut Vec<u8>, memory: &Memory) -> Outcome {
    use tartan_common::hook::Maps as _;
    let path = match outcome {
        (Verdict::ToWire, Some(Path::PodRemoteFast)) => Path::PodToStack,
        (Verdict::ToWire, Some(Path::OverlayEncap)) => Path::OverlayDevice,
        (Verdict::ToPod, Some(Path::UplinkPodFast)) => Path::UplinkToDevice,
        same => return same,
    };
    if path == Path::OverlayDevice {
        // The device gets the packet with the inner addresses that the peer asks for.
        frame.drain(..TUNNEL_OVERHEAD);
    } else {
        *frame = before.to_vec();
    }
    let is_decap = path == Path::UplinkToDevice;
    memory.count(if is_decap { Event::DecapRoomFailed } else { Event::EncapRoomFailed });
    (Verdict::Next, Some(path))
}

fn in_words((verdict, path): Outcome) -> String {
    match (verdict, path) {
        (Verdict::Drop(reason), _) => format!("dropped: {}", reason.name()),
        (_, Some(path)) => path.name().to_owned(),
        (_, None) => "none of ours".to_owned(),
    }
}

type Key4 = <tartan_common::abi::FlowKey as tartan_common::abi::Abi>::Bytes;
type Key6 = <tartan_common::abi::FlowKey6 as tartan_common::abi::Abi>::Bytes;
type Flows = (BTreeMap<Key4, FlowState>, BTreeMap<Key6, FlowState>);

impl Kernel {
    fn write(&mut self, flows: &Flows) {
        for (key, state) in &flows.0 {
            self.flows::<Key4>("FLOWS").insert(key, state.to_bytes(), 0).unwrap();
        }
        for (key, state) in &flows.1 {
            self.flows::<Key6>("FLOWS6").insert(key, state.to_bytes(), 0).unwrap();
        }
    }

    /// Takes out what was written before and what must be there now, and, if there is somebody
    /// to blame, makes sure that it was.
    fn forget(&mut self, before: &Flows, after: &Flows, about: Option<&About<'_>>) {
        self.forget_of("FLOWS", &before.0, &after.0, about);
        self.forget_of("FLOWS6", &before.1, &after.1, about);
    }

    fn forget_of<K: aya::Pod + Ord + Debug>(
        &mut self,
        name: &str,
        before: &BTreeMap<K, FlowState>,
        after: &BTreeMap<K, FlowState>,
        about: Option<&About<'_>>,
    ) {
        if before.is_empty() && after.is_empty() {
            return;
        }
        let mut flows = self.flows::<K>(name);
        for (key, _) in
            before.iter().chain(after.iter().filter(|(key, _)| !before.contains_key(key)))
        {
            let found = flows.get(key, 0).ok().map(|state| FlowState::from_bytes(&state));
            if let Some(about) = about {
                assert_eq!(found.as_ref(), after.get(key), "flow {key:02x?}; {about:?}");
            }
            if found.is_some() {
                flows.remove(key).unwrap();
            }
        }
    }
}

/// The case that is being tried.
struct About<'c> {
    sheet: &'c Sheet,
    draft: &'c Draft,
    frame: &'c [u8],
    outcome: Outcome,
}

impl Debug for About<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { sheet, draft, frame, outcome } = self;
        write!(f, "{}: the host says {outcome:?} of {draft:?}\n{}", sheet.name, hex(frame))
    }
}
