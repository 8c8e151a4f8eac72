//! The kernel's numbers of families and hooks.

use tartan_core::netfilter::model::{Family, Hook};

/// `NFPROTO_*` of a family.
pub(super) fn number(family: Family) -> u8 {
    match family {
        Family::Inet => 1,
        Family::Ip => 2,
        Family::Arp => 3,
        Family::Netdev => 5,
        Family::Bridge => 7,
        Family::Ip6 => 10,
        Family::Other(number) => number,
    }
}

/// The family of a `NFPROTO_*`.
pub(super) fn of(number: u8) -> Family {
    match number {
        1 => Family::Inet,
        2 => Family::Ip,
        3 => Family::Arp,
        5 => Family::Netdev,
        7 => Family::Bridge,
        10 => Family::Ip6,
        other => Family::Other(other),
    }
}

/// What a hook's number means in a family: ARP and devices count their own.
pub(super) fn hook(family: Family, number: u32) -> Hook {
    match (family, number) {
        (Family::Netdev, 0) | (Family::Inet, 5) => Hook::Ingress,
        (Family::Netdev, 1) => Hook::Egress,
        (Family::Ip | Family::Ip6 | Family::Inet | Family::Bridge, 0) => Hook::Prerouting,
        (Family::Ip | Family::Ip6 | Family::Inet | Family::Bridge, 1) | (Family::Arp, 0) => {
            Hook::Input
        }
        (Family::Ip | Family::Ip6 | Family::Inet | Family::Bridge | Family::Arp, 2) => {
            Hook::Forward
        }
        (Family::Ip | Family::Ip6 | Family::Inet | Family::Bridge, 3) | (Family::Arp, 1) => {
            Hook::Output
        }
        (Family::Ip | Family::Ip6 | Family::Inet | Family::Bridge, 4) => Hook::Postrouting,
        (_, other) => Hook::Other(other),
    }
}

/// The number of a hook; `None` where the family has none.
pub(super) fn hook_number(family: Family, wanted: Hook) -> Option<u32> {
    match wanted {
        Hook::Other(number) => Some(number),
        Hook::Prerouting
        | Hook::Input
        | Hook::Forward
        | Hook::Output
        | Hook::Postrouting
        | Hook::Ingress
        | Hook::Egress => (0..=5).find(|number| hook(family, *number) == wanted),
    }
}
