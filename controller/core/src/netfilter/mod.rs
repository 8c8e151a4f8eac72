//! Netfilter, as pure data: which rules a node shall have, which of those that are there are
//! flannel's leftovers, and whether the others leave pods' traffic alone.
//!
//! | Module | Holds |
//! |---|---|
//! | [`model`] | tables, chains and rules, whoever keeps them |
//! | [`wanted`] | our own rules: masquerading, and the guard of the tunnel |
//! | [`leftovers`] | what has to go when flannel leaves a node, and when we do |
//! | [`scene`] | where pods' packets are, and which conditions they meet |
//! | [`assess`] | whether all rules together leave traffic between pods alone |
//! | [`obstacles`] | chains that drop pods' packets, for the operator to open |

pub mod assess;
mod known;
pub mod leftovers;
pub mod model;
pub mod obstacles;
pub mod scene;
#[cfg(test)]
mod testing;
pub mod wanted;
