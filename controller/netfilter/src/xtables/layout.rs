//! Where things lie in the kernel's structures, for IPv4 (`struct ipt_entry`) and IPv6
//! (`struct ip6t_entry`), on machines of 64 bits.

use nix::libc;
use nix::sys::socket::AddressFamily;
use tartan_core::netfilter::model::Family;

use crate::NetfilterError;

/// The length of a table's name field.
pub(super) const TABLE_NAME: usize = 32;
/// The length of a device's name field, with its closing zero.
pub(super) const DEVICE_NAME: usize = 16;
/// The length of `struct xt_entry_match` and `struct xt_entry_target`: size, name, revision.
pub(super) const EXTENSION: usize = 32;
/// Where the name lies in them.
pub(super) const EXTENSION_NAME: usize = 2;
/// The length of that name, with its closing zero.
pub(super) const EXTENSION_NAME_LENGTH: usize = 29;
/// Where the revision lies in them.
pub(super) const EXTENSION_REVISION: usize = 31;
/// The length of a target that carries a verdict.
pub(super) const STANDARD_TARGET: usize = 40;
/// The length of a target that carries a chain's name.
pub(super) const ERROR_TARGET: usize = 64;
/// The length of a chain's name field, with its closing zero.
pub(super) const CHAIN_NAME: usize = 30;
/// The name of the target that heads a user chain and ends a table.
pub(super) const ERROR: &str = "ERROR";
/// The length of `struct xt_counters`: packets and bytes.
pub(super) const COUNTER: usize = 16;

/// Bits of `invflags`, the same for both families.
pub(super) mod inversion {
    pub(in super::super) const IN_DEVICE: u8 = 0x01;
    pub(in super::super) const OUT_DEVICE: u8 = 0x02;
    pub(in super::super) const TYPE_OF_SERVICE: u8 = 0x04;
    pub(in super::super) const SOURCE: u8 = 0x08;
    pub(in super::super) const DESTINATION: u8 = 0x10;
    pub(in super::super) const FRAGMENT: u8 = 0x20;
    pub(in super::super) const PROTOCOL: u8 = 0x40;
    /// Those that belong to a condition that every entry has room for.
    pub(in super::super) const EXPLAINED: u8 =
        IN_DEVICE | OUT_DEVICE | SOURCE | DESTINATION | PROTOCOL;
}

/// Verdicts of the standard target: the negated number of netfilter's verdict, minus one.
pub(super) mod verdict {
    pub(in super::super) const DROP: i32 = -1;
    pub(in super::super) const ACCEPT: i32 = -2;
    pub(in super::super) const QUEUE: i32 = -4;
    pub(in super::super) const RETURN: i32 = -5;
}

/// One family's structures.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// The family.
    pub(super) family: Family,
    /// The socket to ask through.
    pub(super) domain: AddressFamily,
    /// The level of its socket options.
    pub(super) level: libc::c_int,
    /// The file with the names of the tables that are there.
    pub(super) names: &'static str,
    /// The length of an address. An entry begins with source, destination and their masks.
    pub(super) address: usize,
    /// Where the device names begin: in, out and their masks.
    pub(super) devices: usize,
    /// Where the protocol is, two bytes.
    pub(super) protocol: usize,
    /// Where the traffic class is, for the family that has it.
    pub(super) traffic_class: Option<usize>,
    /// Where the flags are.
    pub(super) flags: usize,
    /// Where the inversions are.
    pub(super) inversions: usize,
    /// The flag without which the protocol is not looked at, or 0.
    pub(super) with_protocol: u8,
    /// The flag with which a jump does not come back.
    pub(super) goto: u8,
    /// Where the offset of the target is, two bytes.
    pub(super) target: usize,
    /// Where the offset of the next entry is, two bytes.
    pub(super) next: usize,
    /// The length of an entry's fixed part.
    pub(super) entry: usize,
}

const V4: Layout = Layout {
    family: Family::Ip,
    domain: AddressFamily::Inet,
    level: libc::IPPROTO_IP,
    names: "/proc/thread-self/net/ip_tables_names",
    address: 4,
    devices: 16,
    protocol: 80,
    traffic_class: None,
    flags: 82,
    inversions: 83,
    with_protocol: 0,
    goto: 0x02,
    target: 88,
    next: 90,
    entry: 112,
};

const V6: Layout = Layout {
    family: Family::Ip6,
    domain: AddressFamily::Inet6,
    level: libc::IPPROTO_IPV6,
    names: "/proc/thread-self/net/ip6_tables_names",
    address: 16,
    devices: 64,
    protocol: 128,
    traffic_class: Some(130),
    flags: 131,
    inversions: 132,
    with_protocol: 0x01,
    goto: 0x04,
    target: 140,
    next: 142,
    entry: 168,
};

impl Layout {
    /// The structures of a family.
    pub(super) fn of(family: Family) -> Result<&'static Self, NetfilterError> {
        match family {
            Family::Ip => Ok(&V4),
            Family::Ip6 => Ok(&V6),
            Family::Inet | Family::Arp | Family::Bridge | Family::Netdev | Family::Other(_) => {
                Err(NetfilterError::Unsupported("xtables for this family; ask for ip or ip6"))
            }
        }
    }
}
