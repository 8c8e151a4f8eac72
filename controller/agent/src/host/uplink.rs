//! Which interface leads to the other nodes: flannel's rules
//! (`pkg/ipmatch/match.go`), but followed for as long as the agent runs.

use std::net::Ipv4Addr;

use regex::Regex;
use tartan_common::Mtu;

use super::{Host, HostError, Link};

/// What the flags say about the interface.
#[derive(Clone, Debug, Default)]
pub struct UplinkChoice {
    /// `--iface`: names or addresses, first match wins.
    pub interfaces: Vec<String>,
    /// `--iface-regex`: matched against addresses, then names.
    pub patterns: Vec<Regex>,
    /// `--iface-can-reach`.
    pub can_reach: Option<Ipv4Addr>,
    /// `--public-ip`.
    pub public_ip: Option<Ipv4Addr>,
}

/// The interface that leads to the other nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uplink {
    /// Index.
    pub ifindex: u32,
    /// Name.
    pub name: String,
    /// Its MTU.
    pub mtu: Mtu,
    /// The address that our tunnel packets carry.
    pub address: Ipv4Addr,
    /// The address that is published: the same, unless `--public-ip` says otherwise.
    pub public_ip: Ipv4Addr,
}

/// A link with the address that would be used, if it has one.
struct Candidate {
    link: Link,
    addresses: Vec<Ipv4Addr>,
}

impl Host {
    /// Finds the uplink.
    ///
    /// # Errors
    /// [`HostError::NoUplink`] with the interfaces that there are.
    pub async fn uplink(&self, choice: &UplinkChoice) -> Result<Uplink, HostError> {
        let candidates = self.candidates().await?;
        let Some((index, address)) = self.flagged(choice, &candidates).await? else {
            return Err(HostError::NoUplink(no_match(choice, &candidates)));
        };
        let found = candidates.iter().find(|c| c.link.ifindex == index).ok_or_else(|| {
            HostError::NoUplink(format!("the interface with index {index} is gone; try again"))
        })?;
        let name = found.link.name.clone();
        let address = address.or_else(|| found.addresses.first().copied()).ok_or_else(|| {
            HostError::NoUplink(format!(
                "failed to find IPv4 address for interface {name}: give it one, or choose another with --iface"
            ))
        })?;
        let mtu = Mtu::new(u64::from(found.link.mtu))
            .map_err(|e| HostError::NoUplink(format!("interface {name}: {e}")))?;
        let public_ip = choice.public_ip.unwrap_or(address);
        Ok(Uplink { ifindex: index, name, mtu, address, public_ip })
    }

    async fn candidates(&self) -> Result<Vec<Candidate>, HostError> {
        let mut candidates = Vec::new();
        for link in self.links().await? {
            let addresses = self.addresses(link.ifindex).await?;
            let addresses = addresses.into_iter().map(|(address, _)| address).collect();
            candidates.push(Candidate { link, addresses });
        }
        Ok(candidates)
    }

    /// The index, and the address where the flags name one.
    async fn flagged(
        &self,
        choice: &UplinkChoice,
        candidates: &[Candidate],
    ) -> Result<Option<(u32, Option<Ipv4Addr>)>, HostError> {
        if let Some(found) = choice.interfaces.iter().find_map(|one| named(one, candidates)) {
            return Ok(Some(found));
        }
        if let Some(found) = choice.patterns.iter().find_map(|one| matching(one, candidates)) {
            return Ok(Some(found));
        }
        if let Some(target) = choice.can_reach {
            let route = self.route_to(target).await?;
            return Ok(route.map(|hop| (hop.ifindex, hop.source)));
        }
        if !choice.interfaces.is_empty() || !choice.patterns.is_empty() {
            return Ok(None);
        }
        match choice.public_ip {
            Some(ip) => Ok(owner(ip, candidates)),
            None => Ok(self.default_route_interface().await?.map(|index| (index, None))),
        }
    }
}

fn named(text: &str, candidates: &[Candidate]) -> Option<(u32, Option<Ipv4Addr>)> {
    match text.parse() {
        Ok(ip) => owner(ip, candidates),
        Err(_) => candidates.iter().find(|c| c.link.name == text).map(|c| (c.link.ifindex, None)),
    }
}

fn owner(ip: Ipv4Addr, candidates: &[Candidate]) -> Option<(u32, Option<Ipv4Addr>)> {
    candidates.iter().find(|c| c.addresses.contains(&ip)).map(|c| (c.link.ifindex, Some(ip)))
}

fn matching(pattern: &Regex, candidates: &[Candidate]) -> Option<(u32, Option<Ipv4Addr>)> {
    let by_address = candidates.iter().find_map(|c| {
        let ip = c.addresses.iter().find(|ip| pattern.is_match(&ip.to_string()))?;
        Some((c.link.ifindex, Some(*ip)))
    });
    by_address.or_else(|| {
        let found = candidates.iter().find(|c| pattern.is_match(&c.link.name))?;
        Some((found.link.ifindex, None))
    })
}

fn no_match(choice: &UplinkChoice, candidates: &[Candidate]) -> String {
    let list: Vec<_> = candidates
        .iter()
        .map(|c| {
            let addresses: Vec<_> = c.addresses.iter().map(ToString::to_string).collect();
            format!("{}:[{}]", c.link.name, addresses.join(","))
        })
        .collect();
    let list = list.join(", ");
    if let Some(ip) = choice.public_ip
        && choice.interfaces.is_empty()
        && choice.patterns.is_empty()
    {
        return format!("no interface has the address {ip} of --public-ip; there are {list}");
    }
    if choice.interfaces.is_empty() && choice.patterns.is_empty() {
        return format!(
            "unable to find default route: name the interface with --iface; there are {list}"
        );
    }
    let wanted: Vec<_> = choice
        .interfaces
        .iter()
        .cloned()
        .chain(choice.patterns.iter().map(|p| format!("/{p}/")))
        .collect();
    format!(
        "Failed to find interface to use that matches the interfaces and/or regexes provided: \
         {} is none of {list}; correct --iface",
        wanted.join(", ")
    )
}
