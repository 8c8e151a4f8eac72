//! What both worlds must agree on.
//!
//! Every decision about a packet is taken here, by pure functions over bytes:
//! the programs of `ebpf/` fetch bytes and apply the answer, unit tests and
//! fuzzers run the very same code on the host. The crate promises
//!
//! - no `unsafe`, no allocation, no dependency at run time, no panic on any
//!   input: a packet is hostile until proven otherwise;
//! - no state of its own: what a decision needs is passed in ([`hook::Maps`]);
//! - layouts that do not move by accident: [`abi`] checks them at compile time
//!   and `docs/MAP-ABI.md` is generated from them.
//!
//! | Module | Holds |
//! |---|---|
//! | [`types`] | values that cannot be illegal: [`Vni`], [`Mtu`], [`Mac`], [`NetAddr`], [`NetAddr6`] |
//! | [`wire`] | headers and checksums, RFC 791, 8200, 768, 7348, 1071, 1624, 6040 |
//! | [`abi`] | map keys and values, counters' index space |
//! | [`reason`], [`path`], [`event`] | what is counted, with captions |
//! | [`features`] | what a kernel may lack |
//! | [`flow`], [`gate`] | which flows may skip the host stack |
//! | [`marked`] | one packet that is followed through the programs |
//! | [`tunnel`] | emitting and accepting tunnel packets |
//! | [`hook`] | one decision function per hook |

#![no_std]
#![forbid(unsafe_code)]
#![expect(
    clippy::inline_always,
    reason = "the kernel programs are one function each: a call costs a frame, and the verifier \
              follows values only within one"
)]

#[cfg(test)]
extern crate std;

pub mod abi;
pub mod event;
pub mod features;
pub mod flow;
pub mod gate;
pub mod hook;
pub mod marked;
pub mod path;
pub mod reason;
mod table;
pub mod tunnel;
pub mod types;
pub mod wire;

pub use types::{Mac, Mtu, NetAddr, NetAddr6, Vni};
