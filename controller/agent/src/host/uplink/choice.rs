//! The decision itself: a pure function of the flags and of what the host is like.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use regex::Regex;
use tartan_common::Mtu;

use super::super::addresses::Address;
use super::super::routes::RouteTo;
use super::{DefaultRoute, Uplink, UplinkChoice, trouble};

/// What the host is like.
#[derive(Clone, Debug)]
pub(super) struct View {
    /// In the order of their indexes.
    pub(super) interfaces: Vec<Interface>,
    pub(super) default_route: DefaultRoute,
    /// How the kernel would reach the target of `--iface-can-reach`.
    pub(super) reach: Option<RouteTo>,
}

/// An interface with its addresses in the kernel's order.
#[derive(Clone, Debug)]
pub(super) struct Interface {
    pub(super) ifindex: u32,
    pub(super) name: String,
    pub(super) mtu: u32,
    pub(super) addresses: Vec<Address>,
}

/// An interface, and the addresses where the flags name them.
#[derive(Clone, Copy, Debug)]
struct Match<'v> {
    interface: &'v Interface,
    address: Option<Ipv4Addr>,
    address_v6: Option<Ipv6Addr>,
}

/// Finds the uplink.
///
/// # Errors
/// What fits nothing, and what there is.
pub(super) fn decide(choice: &UplinkChoice, view: &View) -> Result<Uplink, String> {
    let Match { interface, address, address_v6 } = find(choice, view)?;
    let name = interface.name.clone();
    let own = || address.or_else(|| interface.best(ipv4));
    let address = if choice.ipv6_alone {
        None
    } else {
        Some(own().ok_or_else(|| trouble::no_address("IPv4", &name, &view.interfaces))?)
    };
    if interface.mtu == 0 {
        return Err(trouble::no_mtu(&name));
    }
    let mtu =
        Mtu::new(u64::from(interface.mtu)).map_err(|error| trouble::bad_mtu(&name, &error))?;
    let address_v6 = address_v6.or_else(|| interface.best(global_ipv6));
    if choice.ipv6_alone && address_v6.is_none() {
        return Err(trouble::no_address("global IPv6", &name, &view.interfaces));
    }
    Ok(Uplink {
        ifindex: interface.ifindex,
        name,
        mtu,
        address,
        public_ip: address.map(|address| choice.public_ip.unwrap_or(address)),
        address_v6,
        public_ipv6: choice.public_ipv6.or(address_v6),
    })
}

fn find<'v>(choice: &UplinkChoice, view: &'v View) -> Result<Match<'v>, String> {
    let UplinkChoice { interfaces, patterns, can_reach, .. } = choice;
    if interfaces.is_empty() && patterns.is_empty() && can_reach.is_none() {
        return unflagged(choice, view);
    }
    let all = &view.interfaces;
    let named = || interfaces.iter().find_map(|text| named(text, all));
    let family = if choice.ipv6_alone { any_ipv6 } else { any_ipv4 };
    let matching = || patterns.iter().find_map(|pattern| matching(pattern, family, all));
    named()
        .or_else(matching)
        .or_else(|| reached(view))
        .ok_or_else(|| trouble::no_match(choice, view))
}

/// Without flags, a public address that is ours tells the interface, else the default route does.
fn unflagged<'v>(choice: &UplinkChoice, view: &'v View) -> Result<Match<'v>, String> {
    let published = if choice.ipv6_alone {
        choice.public_ipv6.map(IpAddr::V6)
    } else {
        choice.public_ip.map(IpAddr::V4)
    };
    if let Some(ip) = published {
        let owner = owner(ip, &view.interfaces);
        return owner.ok_or_else(|| trouble::public_ip_elsewhere(ip, &view.interfaces));
    }
    let by_index = |index: u32| view.interfaces.iter().find(|one| one.ifindex == index);
    match &view.default_route {
        DefaultRoute::Missing => Err(trouble::no_default_route(&view.interfaces)),
        DefaultRoute::Several => Err(trouble::several_default_routes(&view.interfaces)),
        DefaultRoute::Through(index) => {
            by_index(*index).map(Interface::alone).ok_or_else(|| trouble::vanished(*index))
        }
    }
}

fn named<'v>(text: &str, interfaces: &'v [Interface]) -> Option<Match<'v>> {
    match text.parse() {
        Ok(ip) => owner(ip, interfaces),
        Err(_) => interfaces.iter().find(|one| one.name == text).map(Interface::alone),
    }
}

fn owner(ip: IpAddr, interfaces: &[Interface]) -> Option<Match<'_>> {
    let owns = |one: &&Interface| one.addresses.iter().any(|address| address.ip == ip);
    let interface = interfaces.iter().find(owns)?;
    Some(interface.by(ip))
}

/// Addresses of all interfaces first, then names.
fn matching<'v>(
    pattern: &Regex,
    family: fn(IpAddr) -> Option<IpAddr>,
    interfaces: &'v [Interface],
) -> Option<Match<'v>> {
    let by_address = interfaces.iter().find_map(|interface| {
        let mut usable = interface.ranked(family).into_iter();
        let ip = usable.find(|ip| pattern.is_match(&ip.to_string()))?;
        Some(interface.by(ip))
    });
    let by_name = || interfaces.iter().find(|one| pattern.is_match(&one.name));
    by_address.or_else(|| by_name().map(Interface::alone))
}

fn reached(view: &View) -> Option<Match<'_>> {
    let route = view.reach?;
    let interface = view.interfaces.iter().find(|one| one.ifindex == route.ifindex)?;
    Some(Match { address: route.source, ..interface.alone() })
}

fn ipv4(ip: IpAddr) -> Option<Ipv4Addr> {
    match ip {
        IpAddr::V4(ip) => Some(ip),
        IpAddr::V6(_) => None,
    }
}

fn any_ipv4(ip: IpAddr) -> Option<IpAddr> {
    ipv4(ip).map(IpAddr::V4)
}

fn any_ipv6(ip: IpAddr) -> Option<IpAddr> {
    global_ipv6(ip).map(IpAddr::V6)
}

/// A link-local address means nothing to another link's node.
fn global_ipv6(ip: IpAddr) -> Option<Ipv6Addr> {
    match ip {
        IpAddr::V6(ip) if !ip.is_unicast_link_local() => Some(ip),
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

impl Interface {
    fn alone(&self) -> Match<'_> {
        Match { interface: self, address: None, address_v6: None }
    }

    /// Chosen by one of its addresses.
    fn by(&self, ip: IpAddr) -> Match<'_> {
        match ip {
            IpAddr::V4(ip) => Match { address: Some(ip), ..self.alone() },
            IpAddr::V6(ip) => Match { address_v6: Some(ip), ..self.alone() },
        }
    }

    fn best<T>(&self, family: fn(IpAddr) -> Option<T>) -> Option<T> {
        self.ranked(family).into_iter().next()
    }

    /// The usable addresses of a family, best first.
    fn ranked<T>(&self, family: fn(IpAddr) -> Option<T>) -> Vec<T> {
        let with_rank = |address: &Address| Some((address.rank()?, family(address.ip)?));
        let mut found: Vec<_> = self.addresses.iter().filter_map(with_rank).collect();
        // Stable: among equals the kernel's order counts.
        found.sort_by_key(|(rank, _)| *rank);
        found.into_iter().map(|(_, ip)| ip).collect()
    }
}

#[cfg(test)]
mod tests;
