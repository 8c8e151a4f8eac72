//! The overlay device: deleted where it is ours, cleared of what is ours where it is flannel's.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Result;
use futures_util::TryStreamExt as _;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourMessage};
use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteProtocol};
use rtnetlink::{Handle, RouteMessageBuilder};
use tartan_core::PodCidr;
use tartan_core::state::AgentState;

/// What the agent marks its routes with.
pub(super) const PROTOCOL: RouteProtocol = RouteProtocol::Other(b'T');
/// The gateway of the pod network's route.
pub(super) const NETWORK_GATEWAY: Ipv4Addr = Ipv4Addr::new(169, 254, 1, 1);

/// The overlay device as the agent left it.
pub(super) struct Overlay {
    handle: Handle,
    index: u32,
    /// Its name.
    pub(super) name: String,
    /// Made by us: it knows no peer.
    pub(super) is_ours: bool,
    /// The host's address in the pod network, which the agent added.
    gateway: Option<Ipv4Addr>,
}

impl Overlay {
    /// The vxlan device of the name that the agent used.
    pub(super) async fn find(state: Option<&AgentState>) -> Result<Option<Self>> {
        let Some((state, overlay)) = state.and_then(|one| Some((one, one.overlay.as_ref()?)))
        else {
            return Ok(None);
        };
        let (connection, handle, _) = rtnetlink::new_connection()?;
        tokio::spawn(connection);
        let links: Vec<_> = handle.link().get().execute().try_collect().await?;
        let name = overlay.name.clone();
        let link = links.iter().find(|link| link_name(link) == Some(&name));
        let Some((link, is_ours)) = link.and_then(|link| Some((link, vxlan(link)?))) else {
            return Ok(None);
        };
        let subnet = state.subnet.as_ref().and_then(|subnet| subnet.parse().ok());
        let subnet = subnet.and_then(|subnet| PodCidr::new(subnet).ok());
        let gateway = subnet.map(PodCidr::gateway);
        Ok(Some(Self { handle, index: link.header.index, name, is_ours, gateway }))
    }

    /// Deletes the device, and with it its addresses and routes.
    pub(super) async fn delete(&self) -> Result<()> {
        Ok(self.handle.link().del(self.index).execute().await?)
    }

    /// Takes off a device of flannel's what the agent put there; `dry_run` only names it.
    pub(super) async fn clear(&self, dry_run: bool) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for route in self.our_routes().await? {
            let length = route.header.destination_prefix_length;
            found.push(format!("route of the pod network (/{length})"));
            if !dry_run {
                self.handle.route().del(route).execute().await?;
            }
        }
        for neighbour in self.our_neighbours().await? {
            found.push(format!("neighbour {NETWORK_GATEWAY}"));
            if !dry_run {
                self.handle.neighbours().del(neighbour).execute().await?;
            }
        }
        for address in self.our_addresses().await? {
            found.push(format!("address {}/32", self.gateway.unwrap_or(NETWORK_GATEWAY)));
            if !dry_run {
                self.handle.address().del(address).execute().await?;
            }
        }
        Ok(found)
    }

    async fn our_routes(&self) -> Result<Vec<RouteMessage>> {
        let all = RouteMessageBuilder::<Ipv4Addr>::new().build();
        let all: Vec<_> = self.handle.route().get(all).execute().try_collect().await?;
        let leads_here = RouteAttribute::Oif(self.index);
        let is_ours = |route: &RouteMessage| {
            route.header.protocol == PROTOCOL && route.attributes.contains(&leads_here)
        };
        Ok(all.into_iter().filter(is_ours).collect())
    }

    async fn our_neighbours(&self) -> Result<Vec<NeighbourMessage>> {
        let request = self.handle.neighbours().get().set_address_family(AddressFamily::Inet);
        let all: Vec<_> = request.execute().try_collect().await?;
        let gateway = NeighbourAttribute::Destination(NeighbourAddress::Inet(NETWORK_GATEWAY));
        let is_ours = |one: &NeighbourMessage| {
            one.header.ifindex == self.index && one.attributes.contains(&gateway)
        };
        Ok(all.into_iter().filter(is_ours).collect())
    }

    async fn our_addresses(&self) -> Result<Vec<AddressMessage>> {
        let Some(gateway) = self.gateway else {
            return Ok(Vec::new());
        };
        let all: Vec<_> = self.handle.address().get().execute().try_collect().await?;
        let local = AddressAttribute::Local(IpAddr::V4(gateway));
        let is_ours = |one: &AddressMessage| {
            one.header.index == self.index
                && one.header.prefix_len == 32
                && one.attributes.contains(&local)
        };
        Ok(all.into_iter().filter(is_ours).collect())
    }
}

/// Whether a link is a vxlan device, and then whether it is one of ours: in
/// collect-metadata mode.
fn vxlan(link: &LinkMessage) -> Option<bool> {
    let infos = link.attributes.iter().find_map(|attribute| {
        if let LinkAttribute::LinkInfo(infos) = attribute { Some(infos) } else { None }
    })?;
    infos.contains(&LinkInfo::Kind(InfoKind::Vxlan)).then(|| infos.iter().any(is_external))
}

fn is_external(info: &LinkInfo) -> bool {
    matches!(info, LinkInfo::Data(InfoData::Vxlan(settings))
        if settings.contains(&InfoVxlan::CollectMetadata(true)))
}

fn link_name(link: &LinkMessage) -> Option<&String> {
    link.attributes.iter().find_map(|attribute| {
        if let LinkAttribute::IfName(name) = attribute { Some(name) } else { None }
    })
}
