//! The overlay device: a kernel vxlan device that knows no peer.

use std::net::Ipv4Addr;

use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkFlags, LinkMessage,
};
use rtnetlink::{LinkUnspec, LinkVxlan};
use tartan_common::{Mac, Mtu};

use super::error::errno;
use super::{Host, HostError, Link};

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

/// The device as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// Index.
    pub ifindex: u32,
    /// MAC address: that of a device that was there already is kept.
    pub mac: Mac,
    /// Whether it had to be made.
    pub created: bool,
}

impl Host {
    /// The MAC address of the overlay device, if it is there.
    ///
    /// # Errors
    /// When the kernel refuses, or the name belongs to another device.
    pub async fn overlay_mac(&self, name: &str, port: u16) -> Result<Option<Mac>, HostError> {
        match self.link(name).await? {
            Some(link) => {
                require_ours(&link, port)?;
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
        require_ours(&link, spec.port)?;
        if link.mtu != u32::from(spec.mtu.get()) {
            self.set_mtu(&link, spec.mtu).await?;
        }
        let mac = link.mac.unwrap_or(spec.mac);
        Ok(Overlay { ifindex: link.ifindex, mac, created })
    }

    /// Brings the device up, which opens its UDP socket, and gives it its addresses.
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
        Ok(changed)
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
        let message = LinkUnspec::new_with_index(link.ifindex).up().build();
        match self.handle.link().set(message).execute().await {
            Ok(()) => Ok(()),
            Err(error) if errno(&error) == Some(nix::libc::EADDRINUSE) => {
                Err(HostError::PortTaken { port })
            }
            Err(error) => Err(HostError::netlink(format!("cannot bring up {}", link.name), &error)),
        }
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

/// Refuses a device of the right name that is something else.
fn require_ours(link: &Link, port: u16) -> Result<(), HostError> {
    let foreign = |found: &str| HostError::ForeignOverlay {
        name: link.name.clone(),
        found: found.to_owned(),
    };
    let (Some(InfoKind::Vxlan), Some(InfoData::Vxlan(settings))) = (&link.kind, &link.data) else {
        return Err(foreign("not a vxlan device"));
    };
    if !settings.contains(&InfoVxlan::CollectMetadata(true)) {
        return Err(foreign("a vxlan device with its own peers, as flannel makes it"));
    }
    if !settings.contains(&InfoVxlan::Port(port)) {
        return Err(foreign("a vxlan device on another UDP port"));
    }
    if !link.is_noarp {
        return Err(foreign("a vxlan device that resolves neighbours"));
    }
    Ok(())
}
