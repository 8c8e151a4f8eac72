//! Values that cannot hold anything illegal.

mod addr;
mod mac;
mod mtu;
mod vni;

pub use addr::NetAddr;
pub use mac::{Mac, MacError};
pub use mtu::{Mtu, MtuError};
pub use vni::{Vni, VniError};
