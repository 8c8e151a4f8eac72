//! Values that cannot hold anything illegal.

mod addr;
mod addr6;
mod mac;
mod mtu;
mod vni;

pub use addr::NetAddr;
pub use addr6::NetAddr6;
pub use mac::{Mac, MacError};
pub use mtu::{Mtu, MtuError};
pub use vni::{Vni, VniError};
