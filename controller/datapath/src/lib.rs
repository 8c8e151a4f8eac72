//! The kernel side of a node: the embedded programs, and the maps and links
//! that keep them at work.
//!
//! Promises:
//!
//! - everything is found by its pin under [`pins::ROOT`], never by an id:
//!   `CAP_BPF` and `CAP_NET_ADMIN` are enough, with `CAP_PERFMON` for the verifier of older kernels;
//! - a process that ends, however it ends, leaves forwarding as it was;
//! - programs are replaced in one step (`BPF_LINK_UPDATE`, or a filter in its place where the
//!   kernel has no TCX): no packet meets a hook without a program;
//! - nothing that is not ours by a pin or, on an interface with a `clsact` qdisc, by a mark among
//!   the pins is touched, and no stranger's program is ever detached;
//! - what the kernel lacks was found out by trying ([`Kernel::probe`]), and something stands in
//!   for it.

mod cleanup;
mod clsact;
mod config;
mod counters;
mod error;
mod flows;
mod hooks;
mod interface;
mod link;
mod logging;
mod object;
mod peers;
pub mod pins;
mod pod_hooks;
mod pod_wish;
mod pods;
mod probe;
mod programs;
mod provisional;
pub mod rights;
mod strangers;
mod sys;
mod table;
mod tc;
mod tcx;
mod xdp;

pub use cleanup::{cleanup, leftovers};
pub use config::Config;
pub use counters::{Counters, Tallies};
pub use error::DatapathError;
pub use hooks::{HookState, NodeHook, attach_node_hook, detach_node_hook, node_hook_state};
pub use interface::interface_name;
pub use logging::Logging;
pub use object::{Build, logging_object, object};
pub use peers::{Nodes, Nodes6, Peers, Peers6};
pub use pod_hooks::{attach_pod, detach_pod, pod_attached, pod_pins};
pub use pod_wish::{pod_wishes_stack, remember_pod_wish};
pub use pods::{Pods, Pods6};
pub use probe::{Kernel, NotARelease, Release};
pub use programs::{Adoption, ProgramName, ensure_programs};
pub use provisional::{attach_pod_provisionally, pod_is_provisional};
pub use strangers::{PodLinks, Stranger};
pub use tartan_common::abi::{FlowEntries, PodEntry};
pub use tartan_common::features::{Feature, Features};
pub use tc::strange_links;
pub use xdp::{UPLINK_XDP, XdpState, attach_xdp, detach_xdp, xdp_state};
