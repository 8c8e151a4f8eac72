//! The node's link to the other nodes, and its end of the tunnel where the
//! configuration asks for one.

use anyhow::{Context as _, Result};
use tartan_common::Mtu;
use tartan_core::LeaseBackend;
use tartan_core::desired::TunnelFacts;
use tracing::info;

use super::Node;
use crate::host::{Overlay, OverlaySpec, Uplink};
use crate::settings::{Settings, overlay_name};
use crate::store::{LeaseStore, OwnLeases};

/// The link to the other nodes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Link<'a> {
    pub(super) uplink: &'a Uplink,
    /// Its MTU, or what the configuration says instead.
    pub(super) mtu: Mtu,
}

impl<'a> Link<'a> {
    pub(super) fn of(settings: &Settings, uplink: &'a Uplink) -> Self {
        Self { uplink, mtu: settings.conf.backend.outer_mtu().unwrap_or(uplink.mtu) }
    }
}

/// This node's end of the tunnel.
#[derive(Clone, Debug)]
pub(super) struct Tunnel {
    pub(super) spec: OverlaySpec,
    pub(super) overlay: Overlay,
}

impl Tunnel {
    pub(super) fn facts(&self) -> TunnelFacts {
        TunnelFacts {
            overlay_ifindex: self.overlay.ifindex,
            vtep_mac: self.overlay.mac,
            overlay_mtu: self.spec.mtu,
        }
    }
}

impl<S: LeaseStore> Node<S> {
    /// The overlay device, where there shall be one.
    pub(super) async fn ensure_tunnel(
        &self,
        own: &OwnLeases,
        link: &Link<'_>,
    ) -> Result<Option<Tunnel>> {
        let spec = spec(&self.settings, own, link)?;
        let Some(spec) = spec else {
            return Ok(None);
        };
        let overlay = self.host.ensure_overlay(&spec).await?;
        if overlay.created {
            info!(device = spec.name, mtu = %spec.mtu, mac = %overlay.mac, "created the overlay device");
        }
        Ok(Some(Tunnel { spec, overlay }))
    }
}

/// The overlay device's shape on this link.
fn spec(settings: &Settings, own: &OwnLeases, link: &Link<'_>) -> Result<Option<OverlaySpec>> {
    let Some(tunnel) = settings.conf.backend.vxlan() else {
        return Ok(None);
    };
    let mtu = link.mtu.inside_tunnel().with_context(|| {
        format!("the uplink {} with MTU {} is too small for a tunnel", link.uplink.name, link.mtu)
    })?;
    let mac = own
        .backend()
        .and_then(LeaseBackend::vtep_mac)
        .context("the node's own lease has no VTEP MAC address")?;
    Ok(Some(OverlaySpec { name: overlay_name(tunnel.vni), port: tunnel.port, mtu, mac }))
}
