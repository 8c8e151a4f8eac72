//! The maps, and typed access to them. Layouts: `docs/MAP-ABI.md`.

use aya_ebpf::btf_maps::{Array, HashMap, LruHashMap, PerCpuArray};
use aya_ebpf::helpers::{bpf_ktime_get_coarse_ns, bpf_ktime_get_ns};
use aya_ebpf::macros::btf_map;
use tartan_common::abi::{
    CONFIG_SLOTS, COUNTER_SLOTS, Counted, FlowKey, FlowKey6, FlowState, MAX_FLOWS, MAX_FLOWS6,
    MAX_PEERS, MAX_PODS, META_SLOTS, NodeConfig, NodeEntry, NodeEntry6, Peer, Peer6, PodEntry,
    Tally,
};
use tartan_common::event::Event;
use tartan_common::hook::{Maps, Maps6};
use tartan_common::{NetAddr, NetAddr6};

use crate::features::{Feature, has};

#[btf_map]
static CONFIG: Array<NodeConfig, { CONFIG_SLOTS as usize }> = Array::new();
#[btf_map]
static COUNTERS: PerCpuArray<Tally, { COUNTER_SLOTS as usize }> = PerCpuArray::new();
#[btf_map]
static FLOWS: LruHashMap<FlowKey, FlowState, { MAX_FLOWS as usize }> = LruHashMap::new();
#[btf_map]
static FLOWS6: LruHashMap<FlowKey6, FlowState, { MAX_FLOWS6 as usize }> = LruHashMap::new();
/// For userspace alone: which layout and build is pinned.
#[btf_map]
static META: Array<u64, { META_SLOTS as usize }> = Array::new();
#[btf_map]
static NODES: HashMap<NetAddr, NodeEntry, { MAX_PEERS as usize }, NO_PREALLOC> = HashMap::new();
#[btf_map]
static NODES6: HashMap<NetAddr6, NodeEntry6, { MAX_PEERS as usize }, NO_PREALLOC> = HashMap::new();
#[btf_map]
static PEERS: HashMap<NetAddr, Peer, { MAX_PEERS as usize }, NO_PREALLOC> = HashMap::new();
#[btf_map]
static PEERS6: HashMap<NetAddr6, Peer6, { MAX_PEERS as usize }, NO_PREALLOC> = HashMap::new();
#[btf_map]
static PODS: HashMap<NetAddr, PodEntry, { MAX_PODS as usize }, NO_PREALLOC> = HashMap::new();
#[btf_map]
static PODS6: HashMap<NetAddr6, PodEntry, { MAX_PODS as usize }, NO_PREALLOC> = HashMap::new();

/// Rarely written and mostly empty: memory is taken as entries come.
const NO_PREALLOC: usize = 1;

/// The configuration in force; `None` before the agent's first write.
#[inline(always)]
pub(crate) fn config() -> Option<&'static NodeConfig> {
    // The first word of slot 0 is the number of the slot in force (`ConfigSlot`).
    let slot = CONFIG.get(0)?.node.bits();
    if slot == 0 { None } else { CONFIG.get(slot) }
}

/// Counts one packet of `bytes` and returns this CPU's number for it.
#[inline(always)]
pub(crate) fn count(what: Counted, bytes: u32) -> u64 {
    let Some(tally) = COUNTERS.get_ptr_mut(what.slot()) else {
        return 0;
    };
    // SAFETY: the slot is this CPU's own, and programs of this CPU do not interrupt each other
    // at tc; a lost count would be the worst outcome.
    let tally = unsafe { &mut *tally };
    tally.packets = tally.packets.wrapping_add(1);
    tally.bytes = tally.bytes.wrapping_add(u64::from(bytes));
    tally.packets
}

/// The node's tables as the decision functions want them.
pub(crate) struct Tables;

impl Maps for Tables {
    #[inline(always)]
    fn pod(&self, address: NetAddr) -> Option<&PodEntry> {
        // SAFETY: userspace replaces entries, never edits them in place, and an element is not
        // freed before the program ends (RCU).
        unsafe { PODS.get(address) }
    }

    #[inline(always)]
    fn peer(&self, subnet: NetAddr) -> Option<&Peer> {
        // SAFETY: as for `pod`.
        unsafe { PEERS.get(subnet) }
    }

    #[inline(always)]
    fn node(&self, address: NetAddr) -> Option<&NodeEntry> {
        // SAFETY: as for `pod`.
        unsafe { NODES.get(address) }
    }

    #[inline(always)]
    fn flow(&self, key: &FlowKey) -> FlowState {
        // SAFETY: copied at once; another CPU may write meanwhile, and either value is right.
        unsafe { FLOWS.get(key) }.copied().unwrap_or(FlowState::UNKNOWN)
    }

    #[inline(always)]
    fn write_flow(&self, key: &FlowKey, state: FlowState) {
        if FLOWS.insert(key, state, 0).is_err() {
            self.count(Event::GateFull);
        }
    }

    #[inline(always)]
    fn delete_flow(&self, key: &FlowKey) {
        // It may be gone already: another CPU was faster.
        let _ = FLOWS.remove(key);
    }

    #[inline(always)]
    fn now(&self) -> u64 {
        // SAFETY: plain helpers of one and the same clock.
        unsafe {
            if has(Feature::CoarseClock) { bpf_ktime_get_coarse_ns() } else { bpf_ktime_get_ns() }
        }
    }

    #[inline(always)]
    fn count(&self, event: Event) {
        count(Counted::Event(event), 0);
    }
}

impl Maps6 for Tables {
    #[inline(always)]
    fn pod6(&self, address: NetAddr6) -> Option<&PodEntry> {
        // SAFETY: as for `pod`.
        unsafe { PODS6.get(address) }
    }

    #[inline(always)]
    fn peer6(&self, subnet: NetAddr6) -> Option<&Peer6> {
        // SAFETY: as for `pod`.
        unsafe { PEERS6.get(subnet) }
    }

    #[inline(always)]
    fn node6(&self, address: NetAddr6) -> Option<&NodeEntry6> {
        // SAFETY: as for `pod`.
        unsafe { NODES6.get(address) }
    }

    #[inline(always)]
    fn flow6(&self, key: &FlowKey6) -> FlowState {
        // SAFETY: as for `flow`.
        unsafe { FLOWS6.get(key) }.copied().unwrap_or(FlowState::UNKNOWN)
    }

    #[inline(always)]
    fn write_flow6(&self, key: &FlowKey6, state: FlowState) {
        if FLOWS6.insert(key, state, 0).is_err() {
            self.count(Event::GateFull);
        }
    }

    #[inline(always)]
    fn delete_flow6(&self, key: &FlowKey6) {
        // It may be gone already: another CPU was faster.
        let _ = FLOWS6.remove(key);
    }
}
