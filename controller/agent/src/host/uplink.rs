//! Which interface leads to the other nodes: flannel's rules
//! (`pkg/ipmatch/match.go`), but followed for as long as the agent runs.

mod choice;
mod trouble;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use regex::Regex;
use tartan_common::Mtu;

use super::addresses::Address;
use super::{Host, HostError};
use choice::{Interface, View};

/// What the flags and the node's annotations say about the interface.
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
    /// `--public-ipv6`.
    pub public_ipv6: Option<Ipv6Addr>,
    /// Whether the cluster is one of IPv6 alone: IPv4 decides nothing then.
    pub ipv6_alone: bool,
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
    /// The address that our tunnel packets carry; `None` in a cluster of IPv6 alone.
    pub address: Option<Ipv4Addr>,
    /// The address that is published: the same, unless `--public-ip` says otherwise.
    pub public_ip: Option<Ipv4Addr>,
    /// Its IPv6 address, if it has a global one; in a cluster of IPv6 alone it has.
    pub address_v6: Option<Ipv6Addr>,
    /// The IPv6 address that is published: the same, unless `--public-ipv6` says otherwise.
    pub public_ipv6: Option<Ipv6Addr>,
}

impl Uplink {
    /// Its address for people: that of IPv4, where it has one.
    #[must_use]
    pub fn shown_address(&self) -> IpAddr {
        let v6 = self.address_v6.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6);
        self.address.map_or(v6, IpAddr::V4)
    }
}

/// Where the default route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum DefaultRoute {
    /// There is none.
    Missing,
    /// Out of this interface.
    Through(u32),
    /// It names no single interface: it has several next hops.
    Several,
}

impl Host {
    /// Finds the uplink.
    ///
    /// # Errors
    /// [`HostError::NoUplink`] with the interfaces that there are.
    pub async fn uplink(&self, choice: &UplinkChoice) -> Result<Uplink, HostError> {
        let view = View {
            interfaces: self.interfaces().await?,
            default_route: if choice.ipv6_alone {
                self.default_route6().await?
            } else {
                self.default_route().await?
            },
            reach: match choice.can_reach {
                Some(target) => self.route_to(target).await?,
                None => None,
            },
        };
        choice::decide(choice, &view).map_err(HostError::NoUplink)
    }

    async fn interfaces(&self) -> Result<Vec<Interface>, HostError> {
        let addresses = self.all_addresses().await?;
        let of = |ifindex: u32| -> Vec<Address> {
            addresses.iter().filter(|address| address.ifindex == ifindex).copied().collect()
        };
        let links = self.links().await?;
        Ok(links
            .into_iter()
            .map(|link| Interface {
                addresses: of(link.ifindex),
                ifindex: link.ifindex,
                name: link.name,
                mtu: link.mtu,
            })
            .collect())
    }
}
