//! The table in the kernel: every case through the verified programs by
//! `BPF_PROG_TEST_RUN`, byte-equal to the host's result.

#![expect(clippy::unwrap_used, reason = "a test: a failure is a panic")]

use std::collections::BTreeMap;
use std::time::Duration;

use aya::maps::{Array, HashMap, MapData, PerCpuArray};
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use aya::{Ebpf, EbpfLoader};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::geteuid;
use tartan_common::abi::{Abi, ConfigSlot, FastPath, FlowState, NodeConfig, Tally};
use tartan_common::abi::{CONFIG_SLOT_PADDING, COUNTER_SLOTS, Counted};
use tartan_golden::fixture::{Memory, config};
use tartan_golden::{Case, Hook, Verdict, cases, run};

/// `struct __sk_buff` up to and including `gso_size`.
const SKB_LEN: usize = 192;
const GSO_SIZE_AT: usize = 176;

struct Kernel {
    ebpf: Ebpf,
}

impl Kernel {
    fn load() -> Self {
        let mut ebpf = EbpfLoader::new().load(tartan_datapath::object()).unwrap();
        for hook in [
            Hook::PodEgress,
            Hook::PodIngress,
            Hook::OverlayEgress,
            Hook::UplinkIngress,
            Hook::UplinkEgress,
        ] {
            program(&mut ebpf, hook).load().unwrap();
        }
        let mut kernel = Self { ebpf };
        kernel.configure(&config());
        kernel.fill(&Memory::new());
        kernel
    }

    fn configure(&mut self, config: &NodeConfig) {
        let mut map: Array<_, <NodeConfig as Abi>::Bytes> =
            Array::try_from(self.ebpf.map_mut("CONFIG").unwrap()).unwrap();
        map.set(1, config.to_bytes(), 0).unwrap();
        map.set(0, ConfigSlot { active: 1, unused: [0; CONFIG_SLOT_PADDING] }.to_bytes(), 0)
            .unwrap();
    }

    fn fill(&mut self, memory: &Memory) {
        self.fill_one("PODS", memory.pods.iter().map(|(key, value)| (key.octets(), value)));
        self.fill_one("PEERS", memory.peers.iter().map(|(key, value)| (key.octets(), value)));
        self.fill_one("NODES", memory.nodes.iter().map(|(key, value)| (key.octets(), value)));
        self.fill_one("PODS6", memory.pods6.iter().map(|(key, value)| (key.octets(), value)));
        self.fill_one("PEERS6", memory.peers6.iter().map(|(key, value)| (key.octets(), value)));
        self.fill_one("NODES6", memory.nodes6.iter().map(|(key, value)| (key.octets(), value)));
    }

    fn fill_one<'v, const N: usize, V: Abi + 'v>(
        &mut self,
        name: &str,
        entries: impl Iterator<Item = ([u8; N], &'v V)>,
    ) where
        V::Bytes: aya::Pod,
        [u8; N]: aya::Pod,
    {
        let mut map: HashMap<_, [u8; N], V::Bytes> =
            HashMap::try_from(self.ebpf.map_mut(name).unwrap()).unwrap();
        for (key, value) in entries {
            map.insert(key, value.to_bytes(), 0).unwrap();
        }
    }

    fn flows<K: aya::Pod>(
        &mut self,
        name: &str,
    ) -> HashMap<&mut MapData, K, <FlowState as Abi>::Bytes> {
        HashMap::try_from(self.ebpf.map_mut(name).unwrap()).unwrap()
    }

    /// Replaces all flows by those of `memory`.
    fn set_flows(&mut self, memory: &Memory) {
        self.set_flows_of("FLOWS", &memory.flows.borrow());
        self.set_flows_of("FLOWS6", &memory.flows6.borrow());
    }

    fn set_flows_of<K: aya::Pod>(&mut self, name: &str, wanted: &BTreeMap<K, FlowState>) {
        let mut flows = self.flows::<K>(name);
        let old: Vec<_> = flows.keys().map(Result::unwrap).collect();
        for key in old {
            flows.remove(&key).unwrap();
        }
        for (key, state) in wanted {
            flows.insert(key, state.to_bytes(), 0).unwrap();
        }
    }

    fn get_flows<K: aya::Pod + Ord>(&mut self, name: &str) -> BTreeMap<K, FlowState> {
        let flows = self.flows::<K>(name);
        flows
            .iter()
            .map(Result::unwrap)
            .map(|(key, state)| (key, FlowState::from_bytes(&state)))
            .collect()
    }

    fn counters(&mut self) -> Vec<u64> {
        let map: PerCpuArray<_, <Tally as Abi>::Bytes> =
            PerCpuArray::try_from(self.ebpf.map_mut("COUNTERS").unwrap()).unwrap();
        (0..COUNTER_SLOTS)
            .map(|slot| {
                map.get(&slot, 0).unwrap().iter().map(|one| Tally::from_bytes(one).packets).sum()
            })
            .collect()
    }

    /// Runs a frame; returns what the program returned and the frame after it.
    fn run(&mut self, hook: Hook, frame: &[u8], gso_size: u32) -> (i32, Vec<u8>) {
        let mut out = vec![0; frame.len() + 256];
        let mut context = [0_u8; SKB_LEN];
        context[GSO_SIZE_AT..GSO_SIZE_AT + 4].copy_from_slice(&gso_size.to_ne_bytes());
        let program = program(&mut self.ebpf, hook);
        let options = TestRunOptions {
            data_in: Some(frame),
            data_out: Some(&mut out),
            ctx_in: Some(&context),
            ..TestRunOptions::default()
        };
        let result = program.test_run(options).unwrap();
        let len = usize::try_from(result.data_size_out).unwrap();
        out.truncate(len);
        (result.return_value.cast_signed(), out)
    }
}

fn program(ebpf: &mut Ebpf, hook: Hook) -> &mut SchedClassifier {
    ebpf.program_mut(hook.program()).unwrap().try_into().unwrap()
}

/// A skipped test says why.
fn may_run() -> bool {
    let root = geteuid().is_root();
    if !root {
        println!("SKIP the kernel's test runs need root: run `sudo -E cargo xtask test`");
    }
    root
}

/// The outer IP identification is the program's counter: taken from its output.
fn identification(frame: &[u8]) -> u16 {
    frame.get(18..20).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]))
}

/// What the programs read: both change with the timer's tick.
fn coarse_clock() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).unwrap();
    u64::try_from(Duration::from(now).as_nanos()).unwrap()
}

fn check(kernel: &mut Kernel, case: &Case, expected: Option<Verdict>) {
    while !check_in_one_tick(kernel, &config(), case, expected) {}
}

/// Says whether the clock stood still meanwhile: only then is it sure what the program saw.
fn check_in_one_tick(
    kernel: &mut Kernel,
    config: &NodeConfig,
    case: &Case,
    expected: Option<Verdict>,
) -> bool {
    let memory = Memory { now: coarse_clock(), ..Memory::new() };
    case.prepare(config, &memory);
    kernel.set_flows(&memory);
    let before = kernel.counters();
    let (code, out) = kernel.run(case.hook, &case.frame, case.gso_size);
    if coarse_clock() != memory.now {
        return false;
    }
    let mut frame = case.frame.clone();
    let id = identification(&out);
    let verdict = run(case.hook, &mut frame, &case.meta(), config, &memory, id);
    if let Some(expected) = expected {
        assert_eq!(verdict, expected, "{}", case.name);
    }
    assert_eq!(code, verdict.code(), "{}: {verdict:?}\nframe {:02x?}", case.name, case.frame);
    if !matches!(verdict, Verdict::Drop(_)) {
        assert_eq!(out, frame, "{}: kernel left, host right", case.name);
    }
    if let Verdict::Drop(reason) = verdict {
        let slot = usize::try_from(Counted::Reason(reason).slot()).unwrap();
        assert_eq!(kernel.counters()[slot], before[slot] + 1, "{}: not counted", case.name);
    }
    assert_eq!(kernel.get_flows("FLOWS"), *memory.flows.borrow(), "{}: flows differ", case.name);
    assert_eq!(kernel.get_flows("FLOWS6"), *memory.flows6.borrow(), "{}: flows differ", case.name);
    true
}

#[test]
fn every_case_is_byte_equal_to_the_host() {
    if !may_run() {
        return;
    }
    let mut kernel = Kernel::load();
    for case in cases() {
        check(&mut kernel, &case, Some(case.expected));
    }
}

/// Every gate whose answer depends on the time.
fn timed() -> [NodeConfig; 3] {
    let now = u32::try_from(coarse_clock() / 1_000_000_000).unwrap();
    [
        NodeConfig { fast_path: FastPath::AfterAccept as u32, ..config() },
        NodeConfig { on_until: now + 3600, ..config() },
        NodeConfig { on_until: now.saturating_sub(1).max(1), ..config() },
    ]
}

#[test]
fn the_kernel_reads_the_same_clock_as_the_host() {
    if !may_run() {
        return;
    }
    let mut kernel = Kernel::load();
    for config in timed() {
        kernel.configure(&config);
        for case in cases() {
            while !check_in_one_tick(&mut kernel, &config, &case, None) {}
        }
    }
}

#[test]
fn a_right_that_runs_out_between_two_packets_takes_every_flow_along() {
    if !may_run() {
        return;
    }
    let mut kernel = Kernel::load();
    let is_fast = |case: &Case| case.direct && case.expected == Verdict::ToWire;
    let case = cases().into_iter().find(is_fast).unwrap();
    let [_, good, over] = timed();
    let memory = Memory { now: coarse_clock(), ..Memory::new() };
    case.prepare(&good, &memory);
    for (config, code) in [(good, Verdict::ToWire.code()), (over, Verdict::Next.code())] {
        kernel.configure(&config);
        kernel.set_flows(&memory);
        assert_eq!(kernel.run(case.hook, &case.frame, 0).0, code, "{}", case.name);
    }
}

#[test]
fn thousands_of_mutated_frames_end_alike() {
    if !may_run() {
        return;
    }
    let mut kernel = Kernel::load();
    let table = cases();
    // A linear congruential generator (Numerical Recipes): the same frames in every run.
    let mut seed = 20_u32;
    let mut random = move || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        usize::try_from(seed >> 8).unwrap()
    };
    for _ in 0..10_000 {
        let mut case = table[random() % table.len()].clone();
        for _ in 0..=random() % 3 {
            let at = random() % case.frame.len();
            case.frame[at] ^= u8::try_from(random() % 255).unwrap() + 1;
        }
        // The kernel's test run takes no frame without the IP header that its type promises.
        let least = if case.frame[12..14] == [0x86, 0xdd] { 54 } else { 34 };
        case.frame.truncate((random() % 220).max(least));
        check(&mut kernel, &case, None);
    }
}
