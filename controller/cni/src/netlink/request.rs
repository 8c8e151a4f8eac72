//! What is asked of the kernel, one function per object.

use std::net::IpAddr;
use std::os::fd::RawFd;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteProtocol,
    RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use tartan_common::Mac;

use crate::result::Route;

/// A request and what it is for.
#[derive(Debug)]
pub struct Request {
    /// The purpose, for an error's text.
    pub what: String,
    pub(super) message: RouteNetlinkMessage,
    pub(super) flags: u16,
}

impl Request {
    /// The same request, taking the place of whatever is there.
    #[must_use]
    pub fn replacing(mut self) -> Self {
        self.flags |= NLM_F_REPLACE;
        self
    }
}

/// The two ends of a veth.
#[derive(Debug, Clone, Copy)]
pub struct VethPair<'a> {
    /// Name of the host's end.
    pub host_name: &'a str,
    /// MAC address of the host's end.
    pub host_mac: Mac,
    /// Name of the container's end.
    pub pod_name: &'a str,
    /// MAC address of the container's end.
    pub pod_mac: Mac,
    /// MTU of both, in bytes.
    pub mtu: u32,
    /// The container's network namespace, where its end is born.
    pub netns: RawFd,
}

/// Makes both ends at once, each in its namespace, both down.
#[must_use]
pub fn create_veth(pair: &VethPair<'_>) -> Request {
    let mut peer = veth_end(pair.pod_name, pair.pod_mac, pair.mtu);
    peer.attributes.push(LinkAttribute::NetNsFd(pair.netns));
    let mut host = veth_end(pair.host_name, pair.host_mac, pair.mtu);
    host.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ]));
    Request {
        what: format!("create veth {} for {}", pair.host_name, pair.pod_name),
        message: RouteNetlinkMessage::NewLink(host),
        flags: NLM_F_CREATE | NLM_F_EXCL,
    }
}

fn veth_end(name: &str, mac: Mac, mtu: u32) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Address(mac.0.to_vec()),
        LinkAttribute::Mtu(mtu),
        // Asked for no number, the kernel makes a queue for each processor and takes all but one
        // back, waiting for every processor with its configuration lock held.
        LinkAttribute::NumTxQueues(1),
        LinkAttribute::NumRxQueues(1),
    ];
    message
}

/// Sets a link up.
#[must_use]
pub fn link_up(index: u32) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    Request {
        what: format!("set link {index} up"),
        message: RouteNetlinkMessage::SetLink(message),
        flags: 0,
    }
}

/// Deletes a link and, for a veth, its peer.
#[must_use]
pub fn delete_link(index: u32) -> Request {
    let mut message = LinkMessage::default();
    message.header.index = index;
    Request {
        what: format!("delete link {index}"),
        message: RouteNetlinkMessage::DelLink(message),
        flags: 0,
    }
}

/// Gives a link the address alone, without a network behind it. An IPv6 address is used at
/// once: whom it belongs to is known, and nobody is asked.
#[must_use]
pub fn add_address(index: u32, ip: IpAddr) -> Request {
    let net = host_net(ip);
    let mut message = AddressMessage::default();
    message.header.family = family(ip);
    message.header.prefix_len = net.prefix_len();
    message.header.index = index;
    message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
    if ip.is_ipv6() {
        message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    }
    Request {
        what: format!("add address {net}"),
        message: RouteNetlinkMessage::NewAddress(message),
        flags: NLM_F_CREATE | NLM_F_EXCL,
    }
}

/// Adds a route out of a link; without a gateway it is of link scope.
///
/// Another route of the same destination stays, behind this one, as with the
/// reference: a second attachment of a pod may bring a second default route.
#[must_use]
pub fn add_route(index: u32, route: &Route, source: Option<IpAddr>) -> Request {
    let mut message = RouteMessage::default();
    message.header = route_header(route);
    message.attributes = vec![
        RouteAttribute::Destination(route_address(route.dst.network())),
        RouteAttribute::Oif(index),
    ];
    let optional = [
        route.gw.map(|gw| RouteAttribute::Gateway(route_address(gw))),
        source.map(|source| RouteAttribute::PrefSource(route_address(source))),
        route.priority.map(RouteAttribute::Priority),
        route.table.map(RouteAttribute::Table),
        metrics(route),
    ];
    message.attributes.extend(optional.into_iter().flatten());
    Request {
        what: format!("add route to {}", describe(route)),
        message: RouteNetlinkMessage::NewRoute(message),
        flags: NLM_F_CREATE,
    }
}

fn route_header(route: &Route) -> RouteHeader {
    let scope = if route.gw.is_some() { RouteScope::Universe } else { RouteScope::Link };
    RouteHeader {
        address_family: family(route.dst.addr()),
        destination_prefix_length: route.dst.prefix_len(),
        table: RouteHeader::RT_TABLE_MAIN,
        protocol: RouteProtocol::Boot,
        scope,
        kind: RouteType::Unicast,
        ..RouteHeader::default()
    }
}

fn metrics(route: &Route) -> Option<RouteAttribute> {
    let metrics = [route.mtu.map(RouteMetric::Mtu), route.advmss.map(RouteMetric::Advmss)];
    let metrics: Vec<RouteMetric> = metrics.into_iter().flatten().collect();
    (!metrics.is_empty()).then_some(RouteAttribute::Metrics(metrics))
}

fn describe(route: &Route) -> String {
    let Route { dst, gw, .. } = route;
    gw.map_or_else(|| dst.to_string(), |gw| format!("{dst} via {gw}"))
}

/// Adds or replaces a neighbour.
#[must_use]
pub fn add_neighbour(index: u32, ip: IpAddr, mac: Mac, state: NeighbourState) -> Request {
    let mut message = NeighbourMessage::default();
    message.header.family = family(ip);
    message.header.ifindex = index;
    message.header.state = state;
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![
        NeighbourAttribute::Destination(match ip {
            IpAddr::V4(ip) => NeighbourAddress::Inet(ip),
            IpAddr::V6(ip) => NeighbourAddress::Inet6(ip),
        }),
        NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()),
    ];
    Request {
        what: format!("add neighbour {ip} lladdr {mac}"),
        message: RouteNetlinkMessage::NewNeighbour(message),
        flags: NLM_F_CREATE | NLM_F_REPLACE,
    }
}

/// The network that holds one address.
pub(crate) fn host_net(ip: IpAddr) -> IpNet {
    IpNet::from(ip)
}

const fn family(ip: IpAddr) -> AddressFamily {
    match ip {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

const fn route_address(ip: IpAddr) -> RouteAddress {
    match ip {
        IpAddr::V4(ip) => RouteAddress::Inet(ip),
        IpAddr::V6(ip) => RouteAddress::Inet6(ip),
    }
}
