//! A Kubernetes API in memory: what agents can see of it, with every revision kept.
//!
//! | Module | Holds |
//! |---|---|
//! | `object` | one Node object |
//! | `store` | all revisions of all of them: linearizable |
//! | `server` | what one API server answers, which may lag behind the store |
//! | `patch` | merge patches, and what an agent may change with one |

pub mod object;
pub mod patch;
pub mod server;
pub mod store;

/// What stands before each of flannel's annotations here.
pub const PREFIX: &str = "flannel.alpha.coreos.com/";
