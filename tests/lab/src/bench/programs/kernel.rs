//! The programs loaded once more, beside those of the nodes, with maps of their own.

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Array, HashMap, MapData};
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use aya::{Ebpf, EbpfLoader, Pod};
use tartan_common::abi::{Abi, NodeConfig};
use tartan_golden::fixture::Memory;
use tartan_golden::{Case, Hook};

/// Room for what a program puts in front of a packet.
const ROOM: usize = 256;

pub(super) struct Kernel {
    ebpf: Ebpf,
    config: NodeConfig,
    out: Vec<u8>,
}

impl Kernel {
    pub(super) fn load(config: &NodeConfig) -> Result<Self> {
        let mut ebpf = EbpfLoader::new().load(tartan_datapath::object())?;
        for hook in [Hook::PodEgress, Hook::UplinkIngress] {
            program(&mut ebpf, hook)?.load()?;
        }
        let mut this = Self { ebpf, config: *config, out: vec![0; 4096] };
        this.configure(config)?;
        Ok(this)
    }

    pub(super) fn configure(&mut self, config: &NodeConfig) -> Result<()> {
        let map = self.ebpf.map_mut("CONFIG").context("no map CONFIG")?;
        let mut map: Array<_, <NodeConfig as Abi>::Bytes> = Array::try_from(map)?;
        map.set(1, config.to_bytes(), 0)?;
        // Slot 0 begins with the number of the slot in force and has nothing else.
        let mut slot = config.to_bytes();
        slot.fill(0);
        slot[..4].copy_from_slice(&1_u32.to_ne_bytes());
        map.set(0, slot, 0)?;
        self.config = *config;
        Ok(())
    }

    /// Fills the tables from `memory`, and makes the case's flow direct if it wants that.
    pub(super) fn reset(&mut self, case: &Case, memory: &Memory) -> Result<()> {
        case.prepare(&self.config, memory);
        self.fill(memory)
    }

    /// Replaces what the tables hold.
    pub(super) fn fill(&mut self, memory: &Memory) -> Result<()> {
        let pods = memory.pods.iter().map(|(key, value)| (key.octets(), value.to_bytes()));
        self.replace("PODS", pods)?;
        let peers = memory.peers.iter().map(|(key, value)| (key.octets(), value.to_bytes()));
        self.replace("PEERS", peers)?;
        let nodes = memory.nodes.iter().map(|(key, value)| (key.octets(), value.to_bytes()));
        self.replace("NODES", nodes)?;
        let flows = memory.flows.borrow();
        self.replace("FLOWS", flows.iter().map(|(key, state)| (*key, state.to_bytes())))
    }

    fn replace<K: Pod, V: Pod>(
        &mut self,
        name: &str,
        entries: impl Iterator<Item = (K, V)>,
    ) -> Result<()> {
        let map = self.ebpf.map_mut(name).with_context(|| format!("no map {name}"))?;
        let mut map: HashMap<&mut MapData, K, V> = HashMap::try_from(map)?;
        let old: Vec<K> = map.keys().collect::<Result<_, _>>()?;
        for key in old {
            map.remove(&key)?;
        }
        for (key, value) in entries {
            map.insert(key, value, 0)?;
        }
        Ok(())
    }

    /// The program does with the packet what the golden table says.
    pub(super) fn check(&mut self, case: &Case) -> Result<()> {
        let code = self.run(case, 1)?.0;
        let wanted = case.expected.code();
        ensure!(code == wanted, "{}: the program returned {code}, not {wanted}", case.name);
        Ok(())
    }

    pub(super) fn program(&mut self, hook: Hook) -> Result<&SchedClassifier> {
        Ok(program(&mut self.ebpf, hook)?)
    }

    /// Nanoseconds per call, over `repeat` calls.
    pub(super) fn time(&mut self, case: &Case, repeat: u32) -> Result<f64> {
        Ok(self.run(case, repeat)?.1)
    }

    #[expect(clippy::cast_precision_loss, reason = "nanoseconds of one call")]
    fn run(&mut self, case: &Case, repeat: u32) -> Result<(i32, f64)> {
        self.out.resize(case.frame.len() + ROOM, 0);
        let program = program(&mut self.ebpf, case.hook)?;
        let options = TestRunOptions {
            data_in: Some(&case.frame),
            data_out: Some(&mut self.out),
            repeat,
            ..TestRunOptions::default()
        };
        let result = program.test_run(options).context("BPF_PROG_TEST_RUN")?;
        Ok((result.return_value.cast_signed(), result.duration.as_nanos() as f64))
    }
}

fn program(ebpf: &mut Ebpf, hook: Hook) -> Result<&mut SchedClassifier> {
    let name = hook.program();
    Ok(ebpf.program_mut(name).with_context(|| format!("no program {name}"))?.try_into()?)
}
