//! The CNI plugin of Tartan: wires a pod by a point-to-point veth, owns its
//! address, and hands it to the eBPF data path.
//!
//! A synchronous program of a few milliseconds: environment and stdin in, one
//! JSON object out. It needs the agent's pins and `subnet.env`, but not the
//! agent itself. Kernel, files and environment are real everywhere; only the
//! data path is behind a trait, [`datapath::Datapath`].
//!
//! | Module | Holds |
//! |---|---|
//! | [`environment`], [`netconf`], [`delegate`], [`json`] | the request, with Go's decoding rules |
//! | [`version`], [`result`], [`error`] | the answer, in the request's version |
//! | [`subnet`], [`plan`] | what the node offers, what ADD will do |
//! | [`wish`] | what the pod itself asks for |
//! | [`patience`] | waiting for an agent that is starting |
//! | [`ipam`] | host-local's directory |
//! | [`netlink`], [`netns`], [`sysctl`] | the kernel |
//! | [`handover`] | what flannel's plugin needs to take over again |
//! | [`identity`] | names and MAC addresses that follow from the attachment |
//! | [`naming`], [`sha1`] | the name of the host's end, ours or Calico's |
//! | [`add`], [`del`], [`check`], [`status`], [`gc`] | the verbs |

#![forbid(unsafe_code)]

pub mod add;
mod attempt;
pub mod check;
pub mod context;
pub mod datapath;
pub mod del;
pub mod delegate;
pub mod environment;
pub mod error;
pub mod gc;
pub mod handover;
pub mod identity;
pub mod ipam;
pub mod json;
pub mod naming;
pub mod netconf;
pub mod netlink;
pub mod netns;
pub mod patience;
pub mod plan;
pub mod result;
mod run;
pub mod sha1;
pub mod status;
pub mod subnet;
pub mod sysctl;
pub mod version;
pub mod wish;

pub use run::{Outcome, run};
