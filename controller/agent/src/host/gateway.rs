//! The pods' gateway address on a node without a tunnel.
//!
//! Elsewhere the overlay device has it. Without one it stands on the loopback
//! device, with the scope of a link: it is the node's, it answers pods, and the
//! kernel chooses it as the source of nothing.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use nix::libc;

use super::error::errno;
use super::{Host, HostError};

/// The loopback device is always the first (`include/linux/netdevice.h`, `LOOPBACK_IFINDEX`).
const LOOPBACK: u32 = 1;

impl Host {
    /// Makes sure that the loopback device has the gateway's address, and no other one of
    /// `network` that an earlier lease left there. Says whether anything had to be done.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn ensure_gateway(
        &self,
        network: Ipv4Net,
        gateway: Option<Ipv4Addr>,
    ) -> Result<bool, HostError> {
        let present = self.addresses(LOOPBACK).await?;
        let mut changed = false;
        if let Some(gateway) = gateway.filter(|ip| !present.contains(&(*ip, 32))) {
            let mut request = self.handle.address().add(LOOPBACK, gateway.into(), 32);
            request.message_mut().header.scope = AddressScope::Link;
            request.execute().await.map_err(|error| {
                HostError::netlink(format!("cannot give {gateway} to the loopback device"), &error)
            })?;
            changed = true;
        }
        let stale = |(ip, len): &&(Ipv4Addr, u8)| {
            *len == 32 && network.contains(ip) && Some(*ip) != gateway
        };
        for (address, _) in present.iter().filter(stale) {
            self.remove_gateway(*address).await?;
            changed = true;
        }
        Ok(changed)
    }

    async fn remove_gateway(&self, address: Ipv4Addr) -> Result<(), HostError> {
        let all = self.all_address_messages().await?;
        let local = AddressAttribute::Local(IpAddr::V4(address));
        let is_it = |message: &AddressMessage| {
            message.header.index == LOOPBACK
                && message.header.prefix_len == 32
                && message.attributes.contains(&local)
        };
        for message in all.into_iter().filter(is_it) {
            match self.handle.address().del(message).execute().await {
                Ok(()) => {}
                // Somebody was faster.
                Err(error) if errno(&error) == Some(libc::EADDRNOTAVAIL) => {}
                Err(error) => {
                    let what = format!("cannot take {address} off the loopback device");
                    return Err(HostError::netlink(what, &error));
                }
            }
        }
        Ok(())
    }
}
