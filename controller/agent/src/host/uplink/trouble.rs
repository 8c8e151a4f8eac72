//! What is said when no interface fits: flannel's words where people search for them, then what
//! there is, and what to do.

use std::fmt::Display;
use std::net::IpAddr;

use super::UplinkChoice;
use super::choice::{Interface, View};

pub(super) fn no_match(choice: &UplinkChoice, view: &View) -> String {
    let names = choice.interfaces.iter().map(|name| format!("--iface {name}"));
    let patterns = choice.patterns.iter().map(|pattern| format!("--iface-regex {pattern}"));
    let target = choice.can_reach.iter().map(|target| format!("--iface-can-reach {target}"));
    let wanted: Vec<_> = names.chain(patterns).chain(target).collect();
    let hint = choice.can_reach.map_or_else(String::new, |target| {
        format!(
            "; the kernel has no route to {target} through an interface: see `ip route get {target}`"
        )
    });
    format!(
        "Failed to find interface to use that matches the interfaces and/or regexes provided: \
         {} fits none of the available network interfaces ({}){hint}; correct the flag",
        wanted.join(", "),
        listed(&view.interfaces)
    )
}

pub(super) fn public_ip_elsewhere(ip: IpAddr, interfaces: &[Interface]) -> String {
    format!(
        "Failed to find any valid interface to use: error looking up interface {ip}: no interface \
         with given IP found among {}: an address that another device translates to this node's \
         needs the interface as well (--iface), or the annotation public-ip-overwrite instead",
        listed(interfaces)
    )
}

pub(super) fn no_default_route(interfaces: &[Interface]) -> String {
    format!(
        "unable to find default route: name the interface that leads to the other nodes with \
         --iface; there are {}",
        listed(interfaces)
    )
}

pub(super) fn several_default_routes(interfaces: &[Interface]) -> String {
    format!(
        "found default route but could not determine interface: it has several next hops; name \
         the interface that leads to the other nodes with --iface; there are {}",
        listed(interfaces)
    )
}

pub(super) fn no_address(family: &str, name: &str, interfaces: &[Interface]) -> String {
    format!(
        "failed to find {family} address for interface {name}: give it one, or choose another with \
         --iface; there are {}",
        listed(interfaces)
    )
}

pub(super) fn no_mtu(name: &str) -> String {
    format!(
        "failed to determine MTU for {name} interface: set it with `ip link set {name} mtu 1500`, \
         or choose another interface with --iface"
    )
}

pub(super) fn bad_mtu(name: &str, error: &impl Display) -> String {
    format!("interface {name}: {error}; choose another with --iface")
}

pub(super) fn vanished(index: u32) -> String {
    format!("the interface with index {index}, which the default route uses, is gone; trying again")
}

/// Every interface with its addresses.
fn listed(interfaces: &[Interface]) -> String {
    let one = |interface: &Interface| {
        let addresses: Vec<_> =
            interface.addresses.iter().map(|address| address.ip.to_string()).collect();
        format!("{}:[{}]", interface.name, addresses.join(" "))
    };
    interfaces.iter().map(one).collect::<Vec<_>>().join(", ")
}
