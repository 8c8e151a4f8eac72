//! The node agent.
//!
//! It leases a subnet, keeps the host and the kernel's tables as they must
//! be, and is not in any packet's way: killing it loses nothing.
//!
//! | Module | Holds |
//! |---|---|
//! | [`cli`] | flannel's flags and environment |
//! | [`settings`] | what the flags and `net-conf.json` come to |
//! | [`store`] | where leases are kept |
//! | [`host`] | links, addresses, routes |
//! | [`firewall`] | our rules in the packet filter, and everybody's |
//! | [`node`] | the reconciler |
//! | [`health`] | what probes are told |
//! | [`run`] | the agent's life |

pub mod cli;
pub mod firewall;
pub mod health;
pub mod host;
mod lock;
pub mod node;
mod preflight;
pub mod run;
pub mod settings;
pub mod store;
