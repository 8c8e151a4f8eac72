//! A cluster in one thread: N agents, an API, a network, a virtual clock, and chance by seed.
//!
//! The agents decide with the product's own code (`tartan-core`): the mirror of Nodes, the
//! annotations, the conflicts, the desired state. Everything around them is a model that breaks
//! as much as it can: crashes, partitions, delays, duplicates, 410, lagging servers, clock
//! jumps, replaced Nodes, subnets that change hands, hostile annotations. After each seed the
//! cluster is healed, and then every agent must have come to what an independent implementation
//! of the rules says; other promises are checked all the time ([`oracle`]).
//!
//! ```text
//! cargo test -p tartan-sim --release            10,000 seeds
//! TARTAN_SEEDS=1000000 cargo test -p tartan-sim --release
//! TARTAN_SEED=7 cargo test -p tartan-sim -- --nocapture seeds    one seed, with what happened
//! TARTAN_FUZZ_SECONDS=60 cargo test -p tartan-sim --release      so long per parser
//! ```

#![forbid(unsafe_code)]

pub mod agent;
pub mod api;
pub mod fuzz;
pub mod mutant;
pub mod oracle;
pub mod rng;
pub mod runner;
pub mod trace;
pub mod world;

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// Milliseconds since the start of a simulation.
pub type Ms = u64;

/// The pod network of every simulated cluster.
pub const NETWORK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 16);
/// Its VNI.
pub const VNI: u32 = 1;
