//! What must hold, and the tests' own idea of what an agent's tables should hold.
//!
//! | Module | Holds |
//! |---|---|
//! | `naive` | Node objects to leases and peers, written anew from flannel's rules |
//! | `tables` | checks of one agent's tables |
//! | `view` | an agent's view of the cluster never goes back |

pub mod naive;
pub mod tables;
pub mod view;
