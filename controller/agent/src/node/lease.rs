//! What the node holds: by the store's word, or from memory while the store
//! gives none.

use std::io::Read as _;

use anyhow::{Context as _, Result, ensure};
use ipnet::IpNet;
use tartan_common::{Mac, Vni};
use tartan_core::net_conf::VxlanConf;
use tartan_core::subnet_env::previous_subnet;
use tartan_core::{Backend, Lease, Lease6, LeaseBackend, VxlanData};
use tracing::{info, warn};

use super::Node;
use crate::host::{Uplink, UplinkChoice};
use crate::preflight;
use crate::settings::overlay_name;
use crate::store::{
    LeaseRequest, LeaseRequest6, LeaseStore, Notice, NoticeKind, OwnLeases, StoreError, Wishes,
};

impl<S: LeaseStore> Node<S> {
    /// The uplink, by the flags and by what the operator left in the store.
    pub(super) async fn uplink(&mut self) -> Result<Uplink> {
        match self.store.wishes(&self.settings.node_name).await {
            Ok(wishes) => self.heed(wishes),
            Err(error) if error.is_temporary() => {}
            Err(error) => return Err(error.into()),
        }
        let flags = &self.settings.uplink;
        let choice = UplinkChoice {
            public_ip: self.wishes.public_ip.or(flags.public_ip),
            public_ipv6: self.wishes.public_ipv6.or(flags.public_ipv6),
            ipv6_alone: self.settings.conf.network().is_none(),
            ..flags.clone()
        };
        Ok(self.host.uplink(&choice).await?)
    }

    fn heed(&mut self, wishes: Wishes) {
        let (old, new) = (&self.wishes, &wishes);
        if (old.public_ip, old.public_ipv6) != (new.public_ip, new.public_ipv6) {
            info!(public_ip = ?new.public_ip, public_ipv6 = ?new.public_ipv6,
                "the node's annotations name its address");
        }
        self.wishes = wishes;
    }

    /// What the node holds now.
    ///
    /// The store is asked in every pass. While it cannot answer, or answers that the node should
    /// hold nothing, what is held already stays: pods are using it.
    pub(super) async fn hold(&mut self, uplink: &Uplink) -> Result<OwnLeases> {
        let request = self.request(uplink).await?;
        match self.store.hold(&request, self.own.as_ref()).await {
            Ok(own) => {
                self.objection = None;
                self.welcome(&own);
                self.own = Some(own.clone());
                Ok(own)
            }
            Err(error) if error.is_temporary() => self.hold_on(error, &request),
            Err(error) => Err(error.into()),
        }
    }

    fn hold_on(&mut self, error: StoreError, request: &LeaseRequest) -> Result<OwnLeases> {
        let objection = error.objection();
        if let Some(kind) = error.notice_kind()
            && self.objection != objection
        {
            self.store.tell(Notice { kind, text: error.to_string() });
        }
        let Some(mut own) = self.own.clone() else {
            self.objection = objection;
            return Err(error.into());
        };
        if objection.is_some() && self.objection != objection {
            warn!(%error, subnet = own.shown(), "keeping what the node holds");
        }
        self.objection = objection;
        if let Some(lease) = &mut own.v4 {
            lease.backend = request.backend.clone();
        }
        Ok(own)
    }

    fn welcome(&mut self, own: &OwnLeases) {
        let before = self.own.as_ref();
        if before.is_some_and(|before| before == own) {
            return;
        }
        info!(subnet = own.shown(), "holding the lease");
        if let Some(before) = before.filter(|before| changed(before, own)) {
            let text = format!(
                "the subnet of node {} is {} now and was {}: pods that were made before keep their \
                 old addresses and cannot be reached from other nodes; delete them",
                self.settings.node_name,
                own.shown(),
                before.shown()
            );
            warn!("{text}");
            self.store.tell(Notice { kind: NoticeKind::SubnetChanged, text });
        }
    }

    async fn request(&mut self, uplink: &Uplink) -> Result<LeaseRequest> {
        let settings = &self.settings;
        let previous = previous_subnet(&settings.subnet_file);
        let (node_name, pool) = (settings.node_name.clone(), settings.conf.pool);
        let network6 = settings.conf.ipv6_network;
        let has_tunnel = settings.conf.backend.vxlan().is_some();
        let (backend, backend6) = self.backends(uplink).await?;
        // A node without an IPv6 address is reached over IPv4, where there is a tunnel.
        let over_ipv4 = uplink.public_ip.filter(|_| has_tunnel);
        let ipv6 = match (uplink.address_v6, uplink.public_ipv6, over_ipv4) {
            (Some(_), Some(public_ip), _) => Some((public_ip, backend6)),
            (_, _, Some(address)) => Some((address.to_ipv6_mapped(), backend.clone())),
            (_, _, None) => None,
        };
        let ipv6 = ipv6.zip(network6).map(|((public_ip, backend), network)| LeaseRequest6 {
            public_ip,
            backend,
            network,
        });
        Ok(LeaseRequest { node_name, public_ip: uplink.public_ip, backend, pool, previous, ipv6 })
    }

    /// How the node wants to be reached, by IPv4 and by IPv6.
    async fn backends(&mut self, uplink: &Uplink) -> Result<(LeaseBackend, LeaseBackend)> {
        match self.settings.conf.backend {
            Backend::Vxlan(VxlanConf { vni, port, .. }) => {
                let (mac, mac6) = self.macs(vni, port).await?;
                let data = |mac| LeaseBackend::Vxlan(VxlanData::new(vni, mac));
                Ok((data(mac), data(mac6)))
            }
            Backend::HostGw(_) => {
                not_behind_nat(uplink)?;
                Ok((LeaseBackend::HostGw, LeaseBackend::HostGw))
            }
        }
    }

    /// The addresses of the VTEPs: of the device that is there, else as published last, else new.
    async fn macs(&mut self, vni: Vni, port: u16) -> Result<(Mac, Mac)> {
        let name = overlay_name(vni);
        let device = self.host.overlay_mac(&name, port).await?;
        if device.is_none() && self.last.is_none() {
            preflight::port_is_free(port)?;
        }
        let held = self.own.as_ref();
        let held4 = held.and_then(|own| own.v4.as_ref()).and_then(Lease::vtep_mac);
        let mac = device.or(held4).or(self.wishes.vtep_mac);
        let held6 = held.and_then(|own| own.v6.as_ref()).and_then(Lease6::vtep_mac);
        let mac6 = held6.or(self.wishes.vtep_mac6);
        let (new, new6) = self.new_macs()?;
        Ok((mac.unwrap_or(new), mac6.unwrap_or(new6)))
    }

    fn new_macs(&mut self) -> Result<(Mac, Mac)> {
        if let Some(macs) = self.new_macs {
            return Ok(macs);
        }
        let macs = (random_mac()?, random_mac()?);
        self.new_macs = Some(macs);
        Ok(macs)
    }
}

/// Whether a family's pods have other addresses than before. That a family comes or goes changes
/// nothing for those of the other.
fn changed(before: &OwnLeases, now: &OwnLeases) -> bool {
    let differs = |subnet: &IpNet| {
        let same = |other: &IpNet| other.addr().is_ipv4() == subnet.addr().is_ipv4();
        now.subnets().find(same).is_some_and(|other| other != *subnet)
    };
    before.subnets().any(|subnet| differs(&subnet))
}

/// Nodes without a tunnel send to each other's interfaces.
fn not_behind_nat(uplink: &Uplink) -> Result<()> {
    ensure!(
        uplink.public_ip == uplink.address,
        "your PublicIP ({}) differs from interface IP ({} of {}), meaning that probably you're on \
         a NAT, which is not supported by host-gw backend: remove --public-ip, choose another \
         --iface, or use Backend.Type \"vxlan\"",
        uplink.public_ip.map_or_else(String::new, |ip| ip.to_string()),
        uplink.shown_address(),
        uplink.name
    );
    Ok(())
}

/// A random locally administered address, as the kernel would give the device.
fn random_mac() -> Result<Mac> {
    let mut bytes = [0; 6];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("cannot read /dev/urandom")?;
    Ok(Mac::local(bytes))
}
