//! flannel's annotations on Node objects: the leases of a cluster whose store is the API server.
//!
//! A Node arrives as hostile bytes (`record`): whoever may patch a Node chooses them. What is
//! kept of it is a [`NodeRecord`], bounded in every field; everything else is forgotten.
//! [`to_leases`] reads a record as flannel does, except that the two families are independent
//! and that a fault is a sentence. [`own_leases`], [`wanted`] and [`difference`] are the other
//! direction: what this node holds, what it publishes, and which keys have to change for it.
//!
//! | Function | Answers |
//! |---|---|
//! | [`NodeRecord::from_json`] | what is kept of a Node object |
//! | [`to_leases`] | which leases a Node stands for, per family |
//! | [`wishes`] | what the operator, or the agent in an earlier life, left on the own Node |
//! | [`own_leases`] | what this node holds |
//! | [`wanted`], [`difference`], [`merge_patch`] | what it publishes, and the patch for it |

mod key;
mod leases;
mod own;
mod prefix;
mod publication;
mod record;
#[cfg(test)]
mod tests;

/// A pod's own word about the fast path, which the CNI plugin reads: `"off"` or `"auto"`.
pub const POD_FAST_PATH: &str = "tartan.dev/fast-path";

pub use self::key::Key;
pub use self::leases::{Family, LeaseFault, NodeLeases, to_leases};
pub use self::own::{Networks, Own, OwnFault, OwnWishes, own_leases, wishes};
pub use self::prefix::{AnnotationPrefix, PrefixError};
pub use self::publication::{
    Publication, Publication6, difference, merge_patch, published_addresses, wanted,
};
pub use self::record::{
    LARGEST_OBJECT, LONGEST_VALUE, NodeRecord, Observed, RecordFault, UnreadableNode,
};
