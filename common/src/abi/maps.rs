//! Every map: the source of `docs/MAP-ABI.md`.

use super::{
    Abi, CONFIG_SLOTS, COUNTER_SLOTS, FieldDoc, FlowEntries, FlowKey, FlowKey6, FlowState,
    Ipv6Config, NodeConfig, NodeEntry, NodeEntry6, Peer, Peer6, PodEntry, Tally,
};

/// Number of the layout as a whole. A change of any key, value, name or kind
/// raises it; the agent refuses to adopt pinned maps of another number.
pub const LAYOUT_VERSION: u32 = 4;

/// One map as the documents show it.
#[derive(Clone, Copy, Debug)]
pub struct MapDoc {
    /// Name, at most 15 bytes so that bpftool shows it whole.
    pub name: &'static str,
    /// Kernel map type.
    pub kind: &'static str,
    /// What the key is.
    pub key: &'static str,
    /// Name of the value's struct.
    pub value: &'static str,
    /// Fields of the value.
    pub value_fields: &'static [FieldDoc],
    /// Most entries.
    pub capacity: u32,
    /// Who writes it.
    pub writer: &'static str,
    /// What happens when it is full.
    pub when_full: &'static str,
}

/// Slots of the `META` map.
pub const META_SLOTS: u32 = 3;
/// Slot of the `META` map that holds [`LAYOUT_VERSION`].
pub const META_LAYOUT: u32 = 0;
/// Slot of the `META` map that holds the build of the pinned programs.
pub const META_BUILD: u32 = 1;
/// Slot of the `META` map that holds the [`Features`](crate::features::Features) in use.
pub const META_FEATURES: u32 = 2;
/// The capacity of `PEERS` and `NODES`.
pub const MAX_PEERS: u32 = 32_768;
/// The capacity of `PODS`.
pub const MAX_PODS: u32 = 4_096;
/// The capacity of `FLOWS` unless [`FlowEntries`] says otherwise.
pub const MAX_FLOWS: u32 = FlowEntries::DEFAULT.get();
/// The capacity of `FLOWS6`. Its memory is taken whether there are IPv6 pods or not.
pub const MAX_FLOWS6: u32 = 65_536;

/// Every map, in alphabetical order.
pub const MAPS: &[MapDoc] = &[
    MapDoc {
        name: "CONFIG",
        kind: "array",
        key: "slot number (u32)",
        value: NodeConfig::NAME,
        value_fields: NodeConfig::FIELDS,
        capacity: CONFIG_SLOTS,
        writer: "tartand",
        when_full: "cannot be full: slot 0 names the slot in force, slots 1 and 2 take turns",
    },
    MapDoc {
        name: "COUNTERS",
        kind: "percpu_array",
        key: "slot number (u32): reasons from 0, paths from 64, events from 112",
        value: Tally::NAME,
        value_fields: Tally::FIELDS,
        capacity: COUNTER_SLOTS,
        writer: "the programs",
        when_full: "cannot be full",
    },
    MapDoc {
        name: "FLOWS",
        kind: "lru_hash",
        key: "FlowKey",
        value: FlowState::NAME,
        value_fields: FlowState::FIELDS,
        capacity: MAX_FLOWS,
        writer: "the programs",
        when_full: "the least recently used flow goes back to the host stack until it is seen both ways again",
    },
    MapDoc {
        name: "FLOWS6",
        kind: "lru_hash",
        key: "FlowKey6",
        value: FlowState::NAME,
        value_fields: FlowState::FIELDS,
        capacity: MAX_FLOWS6,
        writer: "the programs",
        when_full: "the least recently used flow goes back to the host stack until it is seen both ways again",
    },
    MapDoc {
        name: "META",
        kind: "array",
        key: "0: layout version; 1: build of the pinned programs; 2: the kernel's features in use",
        value: "u64",
        value_fields: &[],
        capacity: META_SLOTS,
        writer: "tartand",
        when_full: "cannot be full",
    },
    MapDoc {
        name: "NODES",
        kind: "hash",
        key: "node address (4 bytes, network order)",
        value: NodeEntry::NAME,
        value_fields: NodeEntry::FIELDS,
        capacity: MAX_PEERS,
        writer: "tartand",
        when_full: "tartand logs the peer that did not fit and reports it in status",
    },
    MapDoc {
        name: "NODES6",
        kind: "hash",
        key: "IPv6 address of the node (16 bytes)",
        value: NodeEntry6::NAME,
        value_fields: NodeEntry6::FIELDS,
        capacity: MAX_PEERS,
        writer: "tartand",
        when_full: "tartand logs the peer that did not fit and reports it in status",
    },
    MapDoc {
        name: "PEERS",
        kind: "hash",
        key: "network address of the peer's subnet (4 bytes, network order)",
        value: Peer::NAME,
        value_fields: Peer::FIELDS,
        capacity: MAX_PEERS,
        writer: "tartand",
        when_full: "tartand logs the peer that did not fit and reports it in status",
    },
    MapDoc {
        name: "PEERS6",
        kind: "hash",
        key: "network address of the peer's IPv6 subnet (16 bytes)",
        value: Peer6::NAME,
        value_fields: Peer6::FIELDS,
        capacity: MAX_PEERS,
        writer: "tartand",
        when_full: "tartand logs the peer that did not fit and reports it in status",
    },
    MapDoc {
        name: "PODS",
        kind: "hash",
        key: "pod address (4 bytes, network order)",
        value: PodEntry::NAME,
        value_fields: PodEntry::FIELDS,
        capacity: MAX_PODS,
        writer: "tartan-cni",
        when_full: "ADD fails and undoes what it did",
    },
    MapDoc {
        name: "PODS6",
        kind: "hash",
        key: "IPv6 address of the pod (16 bytes)",
        value: PodEntry::NAME,
        value_fields: PodEntry::FIELDS,
        capacity: MAX_PODS,
        writer: "tartan-cni",
        when_full: "ADD fails and undoes what it did",
    },
];

/// The key of the `FLOWS` map.
pub const FLOW_KEY_FIELDS: &[FieldDoc] = FlowKey::FIELDS;
/// The key of the `FLOWS6` map.
pub const FLOW_KEY6_FIELDS: &[FieldDoc] = FlowKey6::FIELDS;
/// The field `ipv6` of the configuration.
pub const IPV6_CONFIG_FIELDS: &[FieldDoc] = Ipv6Config::FIELDS;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Mac, NetAddr};

    #[test]
    fn names_fit_into_what_bpftool_shows() {
        assert!(MAPS.iter().all(|map| map.name.len() <= 15));
        assert!(MAPS.is_sorted_by_key(|map| map.name));
    }

    #[test]
    fn bytes_and_struct_are_the_same_thing() {
        let pod = PodEntry {
            ifindex: 7,
            flags: 1,
            pod_mac: Mac([1, 2, 3, 4, 5, 6]),
            host_mac: Mac([7, 8, 9, 10, 11, 12]),
        };
        assert_eq!(PodEntry::from_bytes(&pod.to_bytes()), pod);
        assert_eq!(pod.to_bytes()[8..], [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
        let node =
            NodeEntry { subnet: NetAddr::from_octets([10, 244, 1, 0]), mask: NetAddr::mask(24) };
        assert_eq!(node.to_bytes(), [10, 244, 1, 0, 255, 255, 255, 0]);
    }
}
