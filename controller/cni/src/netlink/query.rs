//! What the kernel is asked about.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "the kernel's vocabulary grows; what is unknown is skipped"
)]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, State,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;

use tartan_common::Mac;

use super::request::Request;
use super::socket::{NetlinkError, Rtnl};

/// A link, as far as this plugin looks at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// Its index.
    pub index: u32,
    /// Its MAC address, if it has one of six bytes.
    pub mac: Option<Mac>,
    /// Whether it is a veth.
    pub is_veth: bool,
    /// Whether it is set up.
    pub is_up: bool,
    /// Whether it transmits: up, with a carrier, and its queue at work (RFC 2863).
    pub is_operational: bool,
    /// Index of a veth's other end.
    pub peer: Option<u32>,
}

/// A route of the main table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteEntry {
    /// Where to.
    pub dst: IpNet,
    /// The next hop.
    pub gw: Option<IpAddr>,
    /// Index of the link it leaves by.
    pub link: Option<u32>,
}

impl Rtnl {
    /// The link of a name, if there is one.
    ///
    /// # Errors
    ///
    /// Anything but its absence.
    pub fn link(&mut self, name: &str) -> Result<Option<Link>, NetlinkError> {
        let mut question = LinkMessage::default();
        question.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let answer =
            self.get(&format!("look up link {name}"), RouteNetlinkMessage::GetLink(question));
        match answer {
            Ok(Some(RouteNetlinkMessage::NewLink(message))) => Ok(Some(Link::from(&message))),
            Err(error) if !error.is(Errno::ENODEV) => Err(error),
            Ok(_) | Err(_) => Ok(None),
        }
    }

    /// Makes a link of this name and tells about it, if it is still there.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn create(&mut self, request: Request, called: &str) -> Result<Option<Link>, NetlinkError> {
        match self.run_echoed(request)? {
            Some(RouteNetlinkMessage::NewLink(made)) if name(&made) == Some(called) => {
                Ok(Some(Link::from(&made)))
            }
            // Linux before 6.2 does not say what it made.
            Some(_) | None => self.link(called),
        }
    }

    /// The veth with this MAC address and its name, if there is one.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn veth_with(&mut self, mac: Mac) -> Result<Option<(String, Link)>, NetlinkError> {
        let question = RouteNetlinkMessage::GetLink(LinkMessage::default());
        let answers = self.dump("list links", question)?;
        let named = |message| match message {
            RouteNetlinkMessage::NewLink(message) => {
                Some((name(&message)?.to_owned(), Link::from(&message)))
            }
            _ => None,
        };
        let mut links = answers.into_iter().filter_map(named);
        Ok(links.find(|(_, link)| link.is_veth && link.mac == Some(mac)))
    }

    /// The addresses of a link.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn addresses(&mut self, index: u32) -> Result<Vec<IpNet>, NetlinkError> {
        let question = AddressMessage::default();
        let answers = self.dump("list addresses", RouteNetlinkMessage::GetAddress(question))?;
        let of_link = |message| match message {
            RouteNetlinkMessage::NewAddress(message) if message.header.index == index => {
                local_address(&message)
            }
            _ => None,
        };
        Ok(answers.into_iter().filter_map(of_link).collect())
    }

    /// The routes of the main table, of either family.
    ///
    /// # Errors
    ///
    /// What the kernel says.
    pub fn routes(&mut self) -> Result<Vec<RouteEntry>, NetlinkError> {
        let mut answers = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut question = RouteMessage::default();
            question.header.address_family = family;
            answers.extend(self.dump("list routes", RouteNetlinkMessage::GetRoute(question))?);
        }
        let entry = |message| match message {
            RouteNetlinkMessage::NewRoute(message) => RouteEntry::read(&message),
            _ => None,
        };
        Ok(answers.into_iter().filter_map(entry).collect())
    }
}

impl From<&LinkMessage> for Link {
    fn from(message: &LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            mac: None,
            is_veth: false,
            is_up: message.header.flags.contains(LinkFlags::Up),
            is_operational: false,
            peer: None,
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::Address(mac) => link.mac = mac.as_slice().try_into().ok().map(Mac),
                LinkAttribute::OperState(state) => link.is_operational = *state == State::Up,
                LinkAttribute::Link(peer) => link.peer = Some(*peer),
                LinkAttribute::LinkInfo(infos) => {
                    link.is_veth = infos.contains(&LinkInfo::Kind(InfoKind::Veth));
                }
                _ => {}
            }
        }
        link
    }
}

fn name(message: &LinkMessage) -> Option<&str> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

/// IPv4 says which end of a link is ours; IPv6 has no other end.
fn local_address(message: &AddressMessage) -> Option<IpNet> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(ip) | AddressAttribute::Address(ip @ IpAddr::V6(_)) => Some(*ip),
        _ => None,
    });
    IpNet::new(local?, message.header.prefix_len).ok()
}

impl RouteEntry {
    /// `None` for a route of another table.
    fn read(message: &RouteMessage) -> Option<Self> {
        if message.header.table != netlink_packet_route::route::RouteHeader::RT_TABLE_MAIN {
            return None;
        }
        let unspecified = if message.header.address_family == AddressFamily::Inet6 {
            IpAddr::V6(Ipv6Addr::UNSPECIFIED)
        } else {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED)
        };
        let (mut dst, mut gw, mut link) = (unspecified, None, None);
        for attribute in &message.attributes {
            match attribute {
                RouteAttribute::Destination(RouteAddress::Inet(ip)) => dst = (*ip).into(),
                RouteAttribute::Destination(RouteAddress::Inet6(ip)) => dst = (*ip).into(),
                RouteAttribute::Gateway(RouteAddress::Inet(ip)) => gw = Some((*ip).into()),
                RouteAttribute::Gateway(RouteAddress::Inet6(ip)) => gw = Some((*ip).into()),
                RouteAttribute::Oif(index) => link = Some(*index),
                _ => {}
            }
        }
        let dst = IpNet::new(dst, message.header.destination_prefix_length).ok()?;
        Some(Self { dst, gw, link })
    }
}
