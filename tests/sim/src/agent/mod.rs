//! One agent: the product's decisions in the order in which the product takes them.
//!
//! The passes follow `Node::reconcile` of the agent; what it asks of the host is a few fields
//! here. Everything that decides (the mirror, annotations, conflicts, the desired state, the
//! memory's format) is the product's own code.
//!
//! | Module | Holds |
//! |---|---|
//! | `host` | what survives a crash: kernel tables, the overlay device, the disk |
//! | `process` | what does not: the mirror, what is held, what was sent |
//! | `pass` | one pass |
//! | `publisher` | the patches of the own Node |

pub mod host;
pub mod pass;
pub mod process;
pub mod publisher;

pub use host::Host;
pub use process::Process;
