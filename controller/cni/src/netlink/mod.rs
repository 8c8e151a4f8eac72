//! Rtnetlink, spoken synchronously: requests go out in one batch, answers are
//! read one by one, and an error carries the request's purpose and the
//! kernel's own sentence.

mod query;
mod request;
mod socket;

pub use query::{Link, RouteEntry};
pub(crate) use request::host_net;
pub use request::{
    Request, VethPair, add_address, add_neighbour, add_route, create_veth, delete_link, link_up,
};
pub use socket::{NetlinkError, Rtnl};

/// Index of the loopback interface in every network namespace.
pub const LOOPBACK: u32 = 1;
