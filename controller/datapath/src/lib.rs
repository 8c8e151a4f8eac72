//! The kernel side of a node: the embedded programs, and the maps and links
//! that keep them at work.
//!
//! Promises:
//!
//! - everything is found by its pin under [`pins::ROOT`], never by an id:
//!   `CAP_BPF` and `CAP_NET_ADMIN` are enough;
//! - a process that ends, however it ends, leaves forwarding as it was;
//! - programs are replaced with `BPF_LINK_UPDATE`: no packet meets a hook
//!   without a program;
//! - nothing that is not ours by a pin or, on a new pod's veth, by a mark among the pins is
//!   touched, and no stranger's program is ever detached.

mod cleanup;
mod config;
mod counters;
mod error;
mod flows;
mod hooks;
mod link;
mod logging;
mod object;
mod peers;
pub mod pins;
mod pod_hooks;
mod pods;
mod programs;
mod provisional;
mod table;
mod tc;

pub use cleanup::{cleanup, leftovers};
pub use config::Config;
pub use counters::{Counters, Tallies};
pub use error::DatapathError;
pub use hooks::{HookState, NodeHook, attach_node_hook, detach_node_hook, node_hook_state};
pub use logging::Logging;
pub use object::{Build, logging_object, object};
pub use peers::{Nodes, Nodes6, Peers, Peers6};
pub use pod_hooks::{attach_pod, detach_pod, pod_attached, pod_pins};
pub use pods::{Pods, Pods6};
pub use programs::{Adoption, ProgramName, ensure_programs};
pub use provisional::{attach_pod_provisionally, pod_is_provisional};
pub use tartan_common::abi::{FlowEntries, PodEntry};
