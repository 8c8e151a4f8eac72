//! The host's way to the pods, and the pods' own links: what stands around the programs.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, Result};
use ipnet::Ipv4Net;
use tartan_common::Mtu;
use tartan_core::PodCidr;
use tartan_core::desired::Desired;
use tartan_core::subnet_env::SubnetEnv;
use tartan_datapath::{Pods, Pods6};
use tracing::{info, warn};

use super::tunnel::{Link, Tunnel};
use super::{Node, pod_links};
use crate::host::RouteChanges;
use crate::store::{LeaseStore, OwnLeases};

impl<S: LeaseStore> Node<S> {
    /// Pods whose links, routes or entries somebody deleted, and what is left of pods that are gone.
    pub(super) async fn repair_pods(&mut self, own: &OwnLeases, device_is_new: bool) -> Result<()> {
        let pods = self.repair_entries(own, device_is_new).await?;
        let Some(own) = &own.v4 else { return Ok(()) };
        let v4: Vec<_> = pods.into_iter().filter_map(|(ip, veth)| Some((v4(ip)?, veth))).collect();
        let repaired = self.host.repair_pod_routes(&v4, own.subnet.gateway()).await?;
        if repaired > 0 {
            warn!(repaired, "pods had lost their routes");
        }
        Ok(())
    }

    /// The entries of the family that every pod of this node has, and the pods that are left.
    async fn repair_entries(
        &mut self,
        own: &OwnLeases,
        device_is_new: bool,
    ) -> Result<Vec<(IpAddr, u32)>> {
        let Some(subnet) = own.subnets().next() else { return Ok(Vec::new()) };
        self.pods.are_of(&subnet);
        for veth in self.pods.orphans()? {
            let found = self.host.pod_behind(&veth, subnet).await?;
            if let Some((address, pod)) = found {
                let pod = pod_links::flagged(pod)?;
                match address {
                    IpAddr::V4(address) => Pods::open()?.insert(address, &pod)?,
                    IpAddr::V6(address) => Pods6::open()?.insert(address, &pod)?,
                }
                warn!(%address, veth, "put back the entry of a pod");
            }
        }
        self.pods.repair(device_is_new)
    }

    /// What the host stack needs to reach the pod network.
    pub(super) async fn connect_host(
        &self,
        link: &Link<'_>,
        tunnel: Option<&Tunnel>,
        own: &OwnLeases,
        desired: &Desired,
    ) -> Result<()> {
        if let (Some(network), Some(lease)) = (self.settings.conf.network(), &own.v4) {
            self.connect_ipv4(link, tunnel, (network, lease.subnet), desired).await?;
        } else if let Some(Tunnel { spec, .. }) = tunnel {
            self.host.raise_overlay(spec, &[]).await?;
        }
        Ok(())
    }

    /// Overlay devices that an agent with another backend left are looked for once: when the
    /// routes of both families lead elsewhere.
    pub(super) async fn remove_other_overlays(&self, tunnel: Option<&Tunnel>) -> Result<()> {
        if self.last.is_some() {
            return Ok(());
        }
        let name = tunnel.map(|tunnel| tunnel.spec.name.as_str());
        for device in self.host.remove_overlays_but(name).await? {
            info!(device, "removed an overlay device that nothing needs any more");
        }
        Ok(())
    }

    async fn connect_ipv4(
        &self,
        link: &Link<'_>,
        tunnel: Option<&Tunnel>,
        (network, subnet): (Ipv4Net, PodCidr),
        desired: &Desired,
    ) -> Result<()> {
        // What an agent with another backend left is looked for once.
        let is_first = self.last.is_none();
        if is_first || self.settings.conf.backend.is_direct() {
            self.route_to_peers(link, network, desired).await?;
        }
        // The pods' routes hang on the gateway's address: it has its new place before it loses
        // the old one.
        if let Some(tunnel) = tunnel {
            self.connect_tunnel(tunnel, network, subnet).await?;
        }
        if is_first || tunnel.is_none() {
            let gateway = tunnel.is_none().then(|| subnet.gateway());
            if self.host.ensure_gateway(network, gateway).await? {
                info!(?gateway, "changed the gateway's address on the loopback device");
            }
        }
        Ok(())
    }

    /// The host stack's routes to nodes that are reached without a tunnel.
    async fn route_to_peers(
        &self,
        link: &Link<'_>,
        network: Ipv4Net,
        desired: &Desired,
    ) -> Result<()> {
        let uplink = link.uplink.ifindex;
        let changes = self.host.ensure_peer_routes(network, &desired.routes, uplink).await?;
        if changes != RouteChanges::default() {
            info!(
                added = changes.added,
                removed = changes.removed,
                "changed the routes to nodes that are reached without a tunnel"
            );
        }
        Ok(())
    }

    async fn connect_tunnel(
        &self,
        tunnel: &Tunnel,
        network: Ipv4Net,
        subnet: PodCidr,
    ) -> Result<()> {
        let Tunnel { spec, overlay } = tunnel;
        let addresses = [subnet.first_address(), subnet.gateway()];
        let raised = self.host.raise_overlay(spec, &addresses).await?;
        let source = subnet.first_address();
        let routed = self.host.ensure_network_route(network, overlay.ifindex, source).await?;
        let removed = self.host.remove_peer_routes(network, subnet, overlay.ifindex).await?;
        if removed > 0 {
            info!(removed, "removed flannel's routes to single peers: one route leads to all");
        }
        if raised || routed {
            info!(device = spec.name, %network, "connected the host to the pod network");
        }
        Ok(())
    }

    pub(super) fn write_subnet_env(&self, mtu: Mtu, own: &OwnLeases) -> Result<()> {
        let conf = &self.settings.conf;
        let ip_masq = self.settings.rules.ip_masq;
        let mut env = match (conf.network(), &own.v4) {
            (Some(network), Some(lease)) => {
                SubnetEnv::ipv4(network, lease.subnet, mtu.get(), ip_masq)
            }
            (None, _) | (_, None) => SubnetEnv::without_ipv4(mtu.get(), ip_masq),
        };
        if let (Some(network), Some(lease)) = (conf.ipv6_network, &own.v6) {
            env.add_ipv6(network, lease.subnet);
        }
        let path = &self.settings.subnet_file;
        if std::fs::read_to_string(path).is_ok_and(|text| text == env.render()) {
            return Ok(());
        }
        env.write(path)
            .with_context(|| format!("Failed to write subnet file {}", path.display()))?;
        info!(file = %path.display(), subnet = own.shown(), %mtu, "wrote the subnet file");
        Ok(())
    }
}

fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}
