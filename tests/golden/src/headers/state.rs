//! What a frame meets: the gate, the flows, and what the stack did to it before.

use tartan_common::abi::{FastPath, NodeConfig, PodEntry, SourceCheck};
use tartan_common::flow::{Address, Tuple};
use tartan_common::gate;
use tartan_common::hook::{Maps as _, Maps6 as _};
use tartan_common::wire::Frame;
use tartan_common::wire::ipv4::Ipv4Header;
use tartan_common::wire::ipv6::Ipv6Header;

use super::{Family, Whose};
use crate::fixture::{self, HOST_MAC, Memory, POD_IFINDEX, POD_MAC};
use crate::prepare::tuple_of;

/// The node's configuration, by what is special about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Flows may go fast.
    On,
    /// None may.
    Off,
    /// Those that netfilter accepted may.
    AfterAccept,
    /// They may for another hour.
    Renewed,
    /// The agent did not renew the right.
    RunOut,
    /// Known senders may use any source.
    AnySource,
    /// No tunnel: host-gw.
    NoTunnel,
    /// No IPv6 pods.
    NoIpv6,
}

impl Setting {
    /// The modes of the gate.
    pub const GATES: [Self; 5] =
        [Self::On, Self::Off, Self::AfterAccept, Self::Renewed, Self::RunOut];
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::On,
        Self::Off,
        Self::AfterAccept,
        Self::Renewed,
        Self::RunOut,
        Self::AnySource,
        Self::NoTunnel,
        Self::NoIpv6,
    ];

    /// As the agent writes it at `second` of CLOCK_MONOTONIC.
    #[must_use]
    pub fn config(self, second: u32) -> NodeConfig {
        let on = fixture::config();
        match self {
            Self::On => on,
            Self::Off => NodeConfig { fast_path: FastPath::Off as u32, ..on },
            Self::AfterAccept => NodeConfig { fast_path: FastPath::AfterAccept as u32, ..on },
            Self::Renewed => NodeConfig { on_until: second.saturating_add(3600), ..on },
            Self::RunOut => NodeConfig { on_until: second.saturating_sub(1).max(1), ..on },
            Self::AnySource => NodeConfig { source_check: SourceCheck::Sender as u32, ..on },
            Self::NoTunnel => NodeConfig { port: 0, overlay_ifindex: 0, ..on },
            Self::NoIpv6 => {
                let mut config = on;
                config.ipv6 = without_ipv6();
                config
            }
        }
    }
}

fn without_ipv6() -> tartan_common::abi::Ipv6Config {
    use tartan_common::abi::Abi as _;
    tartan_common::abi::Ipv6Config::from_bytes(&[0; size_of::<tartan_common::abi::Ipv6Config>()])
}

/// What the flow map says about a frame's flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// Nothing.
    Unknown,
    /// Seen with these bits, in this regime.
    Seen(u32),
    /// Direct, in another regime.
    Stale,
    /// Nothing, but connections are translated to its destination.
    Served,
}

impl Flow {
    /// Every kind of entry: nothing, one end, the other end, both, opened, tracked, tracked and
    /// seen by both ends, of another regime, and a Service's destination.
    pub const ALL: [Self; 9] = [
        Self::Unknown,
        Self::Seen(1),
        Self::Seen(2),
        Self::Seen(3),
        Self::Seen(5),
        Self::Seen(8),
        Self::Seen(11),
        Self::Stale,
        Self::Served,
    ];
    /// Nothing, and what goes fast.
    pub const TWO: [Self; 2] = [Self::Unknown, Self::Seen(3)];

    /// Writes the entry of the flow that a frame of this family, from its Ethernet header on,
    /// belongs to, if it belongs to one.
    pub fn write<F: Frame>(self, family: Family, frame: &F, config: &NodeConfig, maps: &Memory) {
        match family {
            Family::V4 => {
                let write = |key: &_, state| maps.write_flow(key, state);
                if let Some(tuple) = tuple_of::<_, Ipv4Header>(frame) {
                    self.seed(config, maps.now, &tuple, write);
                }
            }
            Family::V6 => {
                let write = |key: &_, state| maps.write_flow6(key, state);
                if let Some(tuple) = tuple_of::<_, Ipv6Header>(frame) {
                    self.seed(config, maps.now, &tuple, write);
                }
            }
        }
    }

    /// Writes the entry, if there is one, by `write`.
    fn seed<A: Address>(
        self,
        config: &NodeConfig,
        now: u64,
        tuple: &Tuple<A>,
        write: impl FnOnce(&A::Key, tartan_common::abi::FlowState),
    ) {
        let (key, _) = tuple.key();
        match self {
            Self::Unknown => {}
            Self::Seen(seen) => write(&key, config.regime(&key, || now).state(seen)),
            Self::Stale => {
                let other = NodeConfig { epoch: config.epoch + 1, ..*config };
                write(&key, other.regime(&key, || now).state(3));
            }
            Self::Served => {
                let key = tuple.destination_key();
                write(&key, gate::served(&config.regime(&key, || now)));
            }
        }
    }
}

/// The tag that the packet brings along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// None.
    Absent,
    /// That of its own tuple: the stack did not translate it.
    Own,
    /// That of another tuple.
    Other,
    /// [`gate::ACCEPTED`].
    Accepted,
    /// [`gate::FORWARDED`].
    Forwarded,
    /// [`gate::KEYED`].
    Keyed,
}

impl Tag {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Absent, Self::Own, Self::Other, Self::Accepted, Self::Forwarded, Self::Keyed];

    /// In numbers; `own` is that of the packet's tuple, if it has one.
    #[must_use]
    pub const fn number(self, own: Option<u16>) -> u16 {
        match (self, own) {
            (Self::Absent, _) => 0,
            (Self::Own, Some(own)) => own,
            (Self::Other, Some(own)) => own ^ 0x5550,
            (Self::Own | Self::Other, None) => 0x1111,
            (Self::Accepted, _) => gate::ACCEPTED,
            (Self::Forwarded, _) => gate::FORWARDED,
            (Self::Keyed, _) => gate::KEYED,
        }
    }
}

/// The fixture's tables with this module's own pods.
#[must_use]
pub fn memory() -> Memory {
    let mut memory = Memory::new();
    let pod = PodEntry { ifindex: POD_IFINDEX, flags: 0, pod_mac: POD_MAC, host_mac: HOST_MAC };
    let elsewhere = PodEntry { ifindex: POD_IFINDEX + 6, ..pod };
    let slow = PodEntry { flags: PodEntry::NO_FAST_PATH, ..pod };
    for (whose, entry) in [(Whose::Elsewhere, elsewhere), (Whose::Slow, slow)] {
        memory.pods.insert(whose.v4(), entry);
        memory.pods6.insert(whose.v6(), entry);
    }
    memory
}
