//! What a node decides without touching the host: configuration, leases,
//! subnets, and which of the other nodes are fit to be peers.
//!
//! Everything here is a pure function of its arguments, except
//! [`atomic_file`] and what writes through it. No Kubernetes, no eBPF and no
//! netlink type is known here, so all of it is tested without root.
//!
//! | Module | Holds |
//! |---|---|
//! | [`netfilter`] | the rules that a node shall have, and what the others mean for its pods |
//! | [`net_conf`] | flannel's `net-conf.json`, read with the rules of Go's `encoding/json` |
//! | [`pod_cidr`] | the subnet of one node |
//! | [`last_known`] | what a node knew last, for a start without its store |
//! | [`lease`] | who holds which subnet, and flannel's backend data |
//! | [`lease6`] | the same for IPv6 |
//! | [`annotations`] | flannel's annotations: from Node objects to leases, and back |
//! | [`reflector`] | a mirror of all Node objects, kept by lists and watches |
//! | [`alloc`] | which subnet a node takes |
//! | [`conflict`] | which leases are usable peers, and why the others are not |
//! | [`desired`] | what the kernel's tables shall hold |
//! | [`desired6`] | the same for IPv6 |
//! | [`state`] | what the agent says about itself |
//! | [`subnet_env`] | flannel's `subnet.env` |
//! | [`atomic_file`] | a file that is seen whole or not at all |
//! | [`timestamp`] | seconds since 1970, written as RFC 3339 |

#![forbid(unsafe_code)]

pub mod alloc;
pub mod annotations;
pub mod atomic_file;
pub mod conflict;
pub mod desired;
pub mod desired6;
mod go_json;
pub mod last_known;
pub mod lease;
pub mod lease6;
pub mod net_conf;
pub mod netfilter;
pub mod pod_cidr;
pub mod reflector;
pub mod state;
pub mod subnet_env;
pub mod timestamp;

pub use last_known::LastKnown;
pub use lease::{Lease, LeaseBackend, VxlanData};
pub use lease6::Lease6;
pub use net_conf::{Backend, FastPath, NetConf, SourceCheck, SubnetPool};
pub use pod_cidr::PodCidr;
pub use timestamp::Timestamp;
