//! The overlay device: a kernel vxlan device that knows no peer, or flannel's
//! own, taken over as it is.
//!
//! A device of flannel's keeps its MAC address, its addresses and its forwarding
//! entries for as long as it lives; one that has to be made is made our way.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "netlink's attributes are an open set: what is not asked for is passed over"
)]

use std::net::Ipv4Addr;

use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkFlags, LinkMessage,
};
use rtnetlink::{LinkUnspec, LinkVxlan};
use tartan_common::{Mac, Mtu};
use tracing::info;

use super::error::errno;
use super::{Host, HostError, Link, NETWORK_GATEWAY};

/// What the device shall be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlaySpec {
    /// `flannel.<VNI>`.
    pub name: String,
    /// UDP port.
    pub port: u16,
    /// MTU.
    pub mtu: Mtu,
    /// MAC address for a device that has to be made.
    pub mac: Mac,
}

/// How the device tells one peer from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OverlayKind {
    /// Collect-metadata mode, as we make it: each packet carries its tunnel key.
    External,
    /// As flannel makes it: with an identifier of its own, and one forwarding entry per peer.
    Classic,
}

impl OverlayKind {
    /// The word for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::External => "external",
            Self::Classic => "classic",
        }
    }
}

/// The device as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// Index.
    pub ifindex: u32,
    /// MAC address: that of a device that was there already is kept.
    pub mac: Mac,
    /// Whether it had to be made.
    pub created: bool,
    /// How it tells peers apart.
    pub kind: OverlayKind,
}

impl Host {
    /// The MAC address of the overlay device, if it is there.
    ///
    /// # Errors
    /// When the kernel refuses, or the name belongs to another device.
    pub async fn overlay_mac(&self, name: &str, port: u16) -> Result<Option<Mac>, HostError> {
        match self.link(name).await? {
            Some(link) => {
                kind(&link, port)?;
                Ok(link.mac)
            }
            None => Ok(None),
        }
    }

    /// Makes sure that the device exists, with the right MTU; it may be down.
    ///
    /// # Errors
    /// When the kernel refuses, or the name belongs to another device.
    pub async fn ensure_overlay(&self, spec: &OverlaySpec) -> Result<Overlay, HostError> {
        let existing = self.link(&spec.name).await?;
        let created = existing.is_none();
        let link = match existing {
            Some(link) => link,
            None => self.create_overlay(spec).await?,
        };
        let kind = kind(&link, spec.port)?;
        if link.mtu != u32::from(spec.mtu.get()) {
            self.set_mtu(&link, spec.mtu).await?;
        }
        let mac = link.mac.unwrap_or(spec.mac);
        Ok(Overlay { ifindex: link.ifindex, mac, created, kind })
    }

    /// Brings the device up, which opens its UDP socket, and gives it its addresses and, where
    /// it resolves neighbours, the one neighbour that the pod network's route names.
    /// Says whether anything had to be done.
    ///
    /// # Errors
    /// [`HostError::PortTaken`], or when the kernel refuses.
    pub async fn raise_overlay(
        &self,
        spec: &OverlaySpec,
        addresses: &[Ipv4Addr],
    ) -> Result<bool, HostError> {
        let Some(link) = self.link(&spec.name).await? else {
            return Ok(false);
        };
        let mut changed = false;
        if !link.is_up {
            self.set_up(&link, spec.port).await?;
            changed = true;
        }
        let present = self.addresses(link.ifindex).await?;
        for address in addresses.iter().filter(|a| !present.contains(&(**a, 32))) {
            self.handle
                .address()
                .add(link.ifindex, (*address).into(), 32)
                .execute()
                .await
                .map_err(|e| {
                    HostError::netlink(format!("cannot give {address} to {}", spec.name), &e)
                })?;
            changed = true;
        }
        if !link.is_noarp {
            self.ensure_gateway_neighbour(&link, spec.mac).await?;
        }
        Ok(changed)
    }

    /// Any address would do, for `overlay_egress` writes the peer's: it is the one that a device
    /// without neighbours gives, its own. An entry that is there already is not touched.
    async fn ensure_gateway_neighbour(&self, link: &Link, mac: Mac) -> Result<(), HostError> {
        let mac = link.mac.unwrap_or(mac);
        self.handle
            .neighbours()
            .add(link.ifindex, NETWORK_GATEWAY.into())
            .link_layer_address(&mac.0)
            .replace()
            .execute()
            .await
            .map_err(|e| {
                let what = format!("cannot add the neighbour {NETWORK_GATEWAY} to {}", link.name);
                HostError::netlink(what, &e)
            })
    }

    /// Removes overlay devices that we made, but the one of this name. Where there is no tunnel,
    /// or another one than before, nothing needs them, and their route must not lead astray.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn remove_overlays_but(&self, keep: Option<&str>) -> Result<Vec<String>, HostError> {
        let mut removed = Vec::new();
        for link in self.links().await? {
            if keep == Some(link.name.as_str()) || !is_ours(&link) {
                continue;
            }
            self.handle.link().del(link.ifindex).execute().await.map_err(|e| {
                HostError::netlink(format!("cannot remove the device {}", link.name), &e)
            })?;
            removed.push(link.name);
        }
        Ok(removed)
    }

    async fn create_overlay(&self, spec: &OverlaySpec) -> Result<Link, HostError> {
        let message = vxlan_message(spec);
        match self.handle.link().add(message).execute().await {
            Ok(()) => {}
            // Somebody was faster; what it made is looked at like any other.
            Err(error) if errno(&error) == Some(nix::libc::EEXIST) => {}
            Err(error) => {
                let what = format!("cannot create the overlay device {}", spec.name);
                return Err(HostError::netlink(what, &error));
            }
        }
        self.link(&spec.name).await?.ok_or_else(|| HostError::Netlink {
            what: format!("cannot create the overlay device {}", spec.name),
            cause: "another vxlan device may use the same port: see `ip -d link show type vxlan`"
                .to_owned(),
        })
    }

    async fn set_mtu(&self, link: &Link, mtu: Mtu) -> Result<(), HostError> {
        let message = LinkUnspec::new_with_index(link.ifindex).mtu(u32::from(mtu.get())).build();
        self.handle.link().set(message).execute().await.map_err(|e| {
            HostError::netlink(format!("cannot set the MTU of {} to {mtu}", link.name), &e)
        })
    }

    async fn set_up(&self, link: &Link, port: u16) -> Result<(), HostError> {
        match self.try_set_up(link, port).await {
            Err(HostError::PortTaken { .. }) if self.replace_twin(link, port).await? => {
                self.try_set_up(link, port).await
            }
            outcome => outcome,
        }
    }

    async fn try_set_up(&self, link: &Link, port: u16) -> Result<(), HostError> {
        let message = LinkUnspec::new_with_index(link.ifindex).up().build();
        match self.handle.link().set(message).execute().await {
            Ok(()) => Ok(()),
            Err(error) if errno(&error) == Some(nix::libc::EADDRINUSE) => {
                Err(HostError::PortTaken { port })
            }
            Err(error) => Err(HostError::netlink(format!("cannot bring up {}", link.name), &error)),
        }
    }

    /// Removes flannel's second device, which has the port over IPv6: ours does its work as well,
    /// and needs the port of both families. Says whether it was there.
    async fn replace_twin(&self, ours: &Link, port: u16) -> Result<bool, HostError> {
        let Some(vni) = vni_of(&ours.name) else { return Ok(false) };
        let name = format!("flannel-v6.{vni}");
        let Some(twin) = self.link(&name).await? else { return Ok(false) };
        if !matches!(kind(&twin, port), Ok(OverlayKind::Classic)) {
            return Ok(false);
        }
        info!(device = name, "removed flannel's device for IPv6: the overlay device replaces it");
        self.handle
            .link()
            .del(twin.ifindex)
            .execute()
            .await
            .map_err(|e| HostError::netlink(format!("cannot remove the device {name}"), &e))?;
        Ok(true)
    }
}

fn vxlan_message(spec: &OverlaySpec) -> LinkMessage {
    // Collect-metadata mode takes no identifier of its own: the key of each packet has it.
    let mut message = LinkVxlan::new(&spec.name, 0)
        .collect_metadata(true)
        .learning(false)
        .port(spec.port)
        .mtu(u32::from(spec.mtu.get()))
        .address(spec.mac.0.to_vec())
        .build();
    // No neighbour is ever resolved here: what goes out gets its inner addresses from the map.
    message.header.flags |= LinkFlags::Noarp;
    message.header.change_mask |= LinkFlags::Noarp;
    message.attributes.push(LinkAttribute::TxQueueLen(0));
    message
}

/// What kind of overlay device a link of the right name is.
fn kind(link: &Link, port: u16) -> Result<OverlayKind, HostError> {
    let foreign = |found: String| Err(HostError::ForeignOverlay { name: link.name.clone(), found });
    let (Some(InfoKind::Vxlan), Some(InfoData::Vxlan(settings))) = (&link.kind, &link.data) else {
        return foreign("not a vxlan device".to_owned());
    };
    let found = Settings::read(settings);
    if found.port != Some(port) {
        let found = found.port.map_or_else(|| "none".to_owned(), |found| found.to_string());
        return foreign(format!("a vxlan device on UDP port {found} instead of {port}"));
    }
    if found.external {
        return if link.is_noarp {
            Ok(OverlayKind::External)
        } else {
            foreign("an external vxlan device that resolves neighbours".to_owned())
        };
    }
    let vni = vni_of(&link.name);
    if found.vni != vni {
        let text = |vni: Option<u32>| vni.map_or_else(|| "none".to_owned(), |vni| vni.to_string());
        return foreign(format!(
            "a vxlan device with VNI {} instead of {}",
            text(found.vni),
            text(vni)
        ));
    }
    Ok(OverlayKind::Classic)
}

/// Whether we made a device: nobody else gives one of flannel's names to a vxlan device in
/// collect-metadata mode.
fn is_ours(link: &Link) -> bool {
    let (Some(InfoKind::Vxlan), Some(InfoData::Vxlan(settings))) = (&link.kind, &link.data) else {
        return false;
    };
    let is_named_so = link.name.starts_with("flannel.") && vni_of(&link.name).is_some();
    is_named_so && link.is_noarp && Settings::read(settings).external
}

/// The device's name carries the identifier: `flannel.<VNI>`.
fn vni_of(name: &str) -> Option<u32> {
    name.rsplit_once('.').and_then(|(_, vni)| vni.parse().ok())
}

/// What tells a device of flannel's from others.
#[derive(Default)]
struct Settings {
    external: bool,
    port: Option<u16>,
    vni: Option<u32>,
}

impl Settings {
    fn read(all: &[InfoVxlan]) -> Self {
        let mut found = Self::default();
        for one in all {
            match one {
                InfoVxlan::CollectMetadata(on) => found.external = *on,
                InfoVxlan::Port(port) => found.port = Some(*port),
                InfoVxlan::Id(vni) => found.vni = Some(*vni),
                _ => {}
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(name: &str, data: Vec<InfoVxlan>, is_noarp: bool) -> Link {
        Link {
            ifindex: 7,
            name: name.to_owned(),
            mtu: 1450,
            is_up: true,
            is_noarp,
            mac: None,
            kind: Some(InfoKind::Vxlan),
            data: Some(InfoData::Vxlan(data)),
        }
    }

    fn classic(vni: u32, port: u16) -> Link {
        let data =
            vec![InfoVxlan::Id(vni), InfoVxlan::Port(port), InfoVxlan::CollectMetadata(false)];
        device("flannel.1", data, false)
    }

    fn refusal(link: &Link) -> String {
        kind(link, 8472).unwrap_err().to_string()
    }

    #[test]
    fn a_device_of_flannels_is_taken_over() {
        assert_eq!(kind(&classic(1, 8472), 8472).unwrap(), OverlayKind::Classic);
    }

    #[test]
    fn a_device_of_ours_is_external() {
        let data = vec![InfoVxlan::CollectMetadata(true), InfoVxlan::Port(8472)];
        assert_eq!(
            kind(&device("flannel.1", data.clone(), true), 8472).unwrap(),
            OverlayKind::External
        );
        assert!(refusal(&device("flannel.1", data, false)).contains("resolves neighbours"));
    }

    #[test]
    fn another_identifier_port_or_kind_is_refused_with_what_to_do() {
        for (link, word) in [
            (classic(2, 8472), "VNI 2 instead of 1"),
            (classic(1, 4789), "UDP port 4789 instead of 8472"),
            (Link { kind: Some(InfoKind::Dummy), data: None, ..classic(1, 8472) }, "not a vxlan"),
        ] {
            let text = refusal(&link);
            assert!(text.contains(word) && text.contains("ip link del flannel.1"), "{text}");
        }
    }
}
