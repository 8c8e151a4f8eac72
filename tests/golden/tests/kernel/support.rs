//! The programs in the kernel, their maps, and the clock that both sides read.

use std::collections::BTreeMap;
use std::time::Duration;

use aya::maps::{Array, HashMap, MapData, PerCpuArray};
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use aya::{Ebpf, EbpfLoader};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::geteuid;
use tartan_common::abi::{
    Abi, CONFIG_SLOT_PADDING, COUNTER_SLOTS, ConfigSlot, FlowState, NodeConfig, Tally,
};
use tartan_golden::Hook;
use tartan_golden::fixture::{Memory, config};
use tartan_golden::headers::Program;

/// `struct __sk_buff` up to and including `gso_size`.
const SKB_LEN: usize = 192;
const GSO_SIZE_AT: usize = 176;

/// The programs and their maps.
pub(crate) struct Kernel {
    pub(crate) ebpf: Ebpf,
}

impl Kernel {
    pub(crate) fn load() -> Self {
        let mut ebpf = EbpfLoader::new().load(tartan_datapath::object()).unwrap();
        for each in Program::ALL {
            program(&mut ebpf, each.name()).load().unwrap();
        }
        let mut kernel = Self { ebpf };
        kernel.configure(&config());
        kernel.fill(&Memory::new());
        kernel
    }

    pub(crate) fn configure(&mut self, config: &NodeConfig) {
        let mut map: Array<_, <NodeConfig as Abi>::Bytes> =
            Array::try_from(self.ebpf.map_mut("CONFIG").unwrap()).unwrap();
        map.set(1, config.to_bytes(), 0).unwrap();
        map.set(0, ConfigSlot { active: 1, unused: [0; CONFIG_SLOT_PADDING] }.to_bytes(), 0)
            .unwrap();
    }

    pub(crate) fn fill(&mut self, memory: &Memory) {
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

    pub(crate) fn flows<K: aya::Pod>(
        &mut self,
        name: &str,
    ) -> HashMap<&mut MapData, K, <FlowState as Abi>::Bytes> {
        HashMap::try_from(self.ebpf.map_mut(name).unwrap()).unwrap()
    }

    /// Replaces all flows by those of `memory`.
    pub(crate) fn set_flows(&mut self, memory: &Memory) {
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

    pub(crate) fn get_flows<K: aya::Pod + Ord>(&mut self, name: &str) -> BTreeMap<K, FlowState> {
        let flows = self.flows::<K>(name);
        flows
            .iter()
            .map(Result::unwrap)
            .map(|(key, state)| (key, FlowState::from_bytes(&state)))
            .collect()
    }

    /// Packets per slot.
    pub(crate) fn counters(&mut self) -> Vec<u64> {
        self.tallies().iter().map(|tally| tally.packets).collect()
    }

    /// Packets and bytes per slot, over all CPUs.
    pub(crate) fn tallies(&mut self) -> Vec<Tally> {
        (0..COUNTER_SLOTS).map(|slot| self.tally(slot)).collect()
    }

    /// Packets and bytes of one slot, over all CPUs.
    pub(crate) fn tally(&mut self, slot: u32) -> Tally {
        let map: PerCpuArray<_, <Tally as Abi>::Bytes> =
            PerCpuArray::try_from(self.ebpf.map_mut("COUNTERS").unwrap()).unwrap();
        let values = map.get(&slot, 0).unwrap();
        values.iter().map(Tally::from_bytes).fold(Tally { packets: 0, bytes: 0 }, |sum, one| {
            Tally { packets: sum.packets + one.packets, bytes: sum.bytes + one.bytes }
        })
    }

    /// Runs a frame; returns what the program returned and the frame after it.
    pub(crate) fn run(&mut self, hook: Hook, frame: &[u8], gso_size: u32) -> (i32, Vec<u8>) {
        let mut out = vec![0; frame.len() + 256];
        let mut context = [0_u8; SKB_LEN];
        context[GSO_SIZE_AT..GSO_SIZE_AT + 4].copy_from_slice(&gso_size.to_ne_bytes());
        let program = program(&mut self.ebpf, hook.program());
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

/// A program by its name.
pub(crate) fn program<'e>(ebpf: &'e mut Ebpf, name: &str) -> &'e mut SchedClassifier {
    ebpf.program_mut(name).unwrap().try_into().unwrap()
}

/// A skipped test says why.
pub(crate) fn may_run() -> bool {
    let root = geteuid().is_root();
    if !root {
        println!("SKIP the kernel's test runs need root: run `sudo -E cargo xtask test`");
    }
    root
}

/// The outer IP identification is the program's counter: taken from its output.
pub(crate) fn identification(frame: &[u8]) -> u16 {
    frame.get(18..20).map_or(0, |b| u16::from_be_bytes([b[0], b[1]]))
}

/// What the programs read: both change with the timer's tick.
pub(crate) fn coarse_clock() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).unwrap();
    u64::try_from(Duration::from(now).as_nanos()).unwrap()
}
