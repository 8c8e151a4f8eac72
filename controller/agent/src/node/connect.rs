//! The host's way to the pods, and the pods' own links: what stands around the programs.

use anyhow::{Context as _, Result};
use tartan_common::Mtu;
use tartan_core::desired::Desired;
use tartan_core::subnet_env::SubnetEnv;
use tartan_datapath::Pods;
use tracing::{info, warn};

use super::Node;
use super::tunnel::{Link, Tunnel};
use crate::host::RouteChanges;
use crate::store::{LeaseStore, OwnLeases};

impl<S: LeaseStore> Node<S> {
    /// Pods whose links, routes or entries somebody deleted, and what is left of pods that are gone.
    pub(super) async fn repair_pods(&mut self, own: &OwnLeases, device_is_new: bool) -> Result<()> {
        let subnet = own.v4.subnet;
        for veth in self.pods.orphans()? {
            let found = self.host.pod_behind(&veth).await?;
            if let Some((address, pod)) = found.filter(|(ip, _)| subnet.contains(*ip)) {
                Pods::open()?.insert(address, &pod)?;
                warn!(%address, veth, "put back the entry of a pod");
            }
        }
        let pods = self.pods.repair(device_is_new)?;
        let repaired = self.host.repair_pod_routes(&pods, subnet.gateway()).await?;
        if repaired > 0 {
            warn!(repaired, "pods had lost their routes");
        }
        Ok(())
    }

    /// What the host stack needs to reach the pod network.
    pub(super) async fn connect_host(
        &self,
        link: &Link<'_>,
        tunnel: Option<&Tunnel>,
        own: &OwnLeases,
        desired: &Desired,
    ) -> Result<()> {
        // What an agent with another backend left is looked for once.
        let is_first = self.last.is_none();
        if is_first || self.settings.conf.backend.is_direct() {
            self.route_to_peers(link, desired).await?;
        }
        // The pods' routes hang on the gateway's address: it has its new place before it loses
        // the old one.
        if let Some(tunnel) = tunnel {
            self.connect_tunnel(tunnel, own).await?;
        }
        if is_first || tunnel.is_none() {
            let network = self.settings.conf.network();
            let gateway = tunnel.is_none().then(|| own.v4.subnet.gateway());
            if self.host.ensure_gateway(network, gateway).await? {
                info!(?gateway, "changed the gateway's address on the loopback device");
            }
        }
        if is_first {
            let name = tunnel.map(|tunnel| tunnel.spec.name.as_str());
            for device in self.host.remove_overlays_but(name).await? {
                info!(device, "removed an overlay device that nothing needs any more");
            }
        }
        Ok(())
    }

    /// The host stack's routes to nodes that are reached without a tunnel.
    async fn route_to_peers(&self, link: &Link<'_>, desired: &Desired) -> Result<()> {
        let (network, uplink) = (self.settings.conf.network(), link.uplink.ifindex);
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

    async fn connect_tunnel(&self, tunnel: &Tunnel, own: &OwnLeases) -> Result<()> {
        let Tunnel { spec, overlay } = tunnel;
        let subnet = own.v4.subnet;
        let addresses = [subnet.first_address(), subnet.gateway()];
        let raised = self.host.raise_overlay(spec, &addresses).await?;
        let network = self.settings.conf.network();
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
        let subnet = own.v4.subnet;
        let ip_masq = self.settings.rules.ip_masq;
        let mut env = SubnetEnv::ipv4(conf.network(), subnet, mtu.get(), ip_masq);
        if let (Some(network), Some(lease)) = (conf.ipv6_network, &own.v6) {
            env.add_ipv6(network, lease.subnet);
        }
        let path = &self.settings.subnet_file;
        if std::fs::read_to_string(path).is_ok_and(|text| text == env.render()) {
            return Ok(());
        }
        env.write(path)
            .with_context(|| format!("Failed to write subnet file {}", path.display()))?;
        info!(file = %path.display(), subnet = %subnet.net(), %mtu, "wrote the subnet file");
        Ok(())
    }
}
