//! The kernel's packet filter, through sockets alone: no program is run for it.
//!
//! | Module | Promises |
//! |---|---|
//! | [`nft`] | nf_tables over netlink: a transaction happens whole or not at all |
//! | [`xtables`] | the older tables through socket options: one table is replaced in one step |

mod error;
pub mod nft;
mod removal;
mod survey;
pub mod xtables;

pub use error::NetfilterError;
pub use removal::remove;
pub use survey::{Glance, Glances, Survey, glance};
