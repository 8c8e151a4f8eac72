//! Map keys and values, shared by the kernel programs and userspace.
//!
//! Every struct is `repr(C)` without implicit padding (checked at compile
//! time) and converts to and from its bytes without `unsafe`. Addresses are
//! [`NetAddr`](crate::NetAddr) or [`NetAddr6`](crate::NetAddr6) (network order); every other number is in the
//! host's byte order.

mod config;
mod counter;
mod flow;
mod flow_entries;
mod ipv6;
mod layout;
mod maps;
mod node;
mod peer;
mod pod;

pub use config::{
    CONFIG_SLOT_PADDING, CONFIG_SLOTS, ConfigSlot, FastPath, NodeConfig, SourceCheck, XdpStage,
};
pub use counter::{COUNTER_SLOTS, Counted, Tally};
pub use flow::{FlowKey, FlowKey6, FlowState};
pub use flow_entries::{FlowEntries, FlowEntriesError};
pub use ipv6::{Ipv6Config, NodeEntry6, Peer6};
pub use layout::{Abi, FieldDoc};
pub use maps::{
    FLOW_KEY_FIELDS, FLOW_KEY6_FIELDS, IPV6_CONFIG_FIELDS, LAYOUT_VERSION, MAPS, MAX_FLOWS,
    MAX_FLOWS6, MAX_PEERS, MAX_PODS, META_BUILD, META_FEATURES, META_LAYOUT, META_SLOTS, MapDoc,
};
pub use node::NodeEntry;
pub use peer::{Peer, PeerMode, PeerSpec};
pub use pod::PodEntry;
