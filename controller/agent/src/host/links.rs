//! Network links.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "netlink's attributes and errors are an open set: what is not asked for is passed over"
)]

use futures_util::TryStreamExt as _;
use netlink_packet_route::link::{
    InfoData, InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use tartan_common::Mac;

use super::error::errno;
use super::{Host, HostError};

/// A link as the kernel shows it.
#[derive(Clone, Debug)]
pub struct Link {
    /// Index.
    pub ifindex: u32,
    /// Name.
    pub name: String,
    /// MTU in bytes.
    pub mtu: u32,
    /// Administratively up.
    pub is_up: bool,
    /// Resolves no neighbours.
    pub is_noarp: bool,
    /// Ethernet address, if it has one.
    pub mac: Option<Mac>,
    /// Kind, for links that are software.
    pub kind: Option<InfoKind>,
    /// Kind-specific settings.
    pub data: Option<InfoData>,
}

impl Host {
    /// The link of this name, if there is one.
    pub(crate) async fn link(&self, name: &str) -> Result<Option<Link>, HostError> {
        let mut found = self.handle.link().get().match_name(name.to_owned()).execute();
        match found.try_next().await {
            Ok(message) => Ok(message.as_ref().map(Link::from_message)),
            Err(error) if errno(&error) == Some(nix::libc::ENODEV) => Ok(None),
            Err(error) => {
                Err(HostError::netlink(format!("cannot look up the link {name}"), &error))
            }
        }
    }

    /// Every link, in the order of its index.
    pub(crate) async fn links(&self) -> Result<Vec<Link>, HostError> {
        let messages: Vec<_> = self
            .handle
            .link()
            .get()
            .execute()
            .try_collect()
            .await
            .map_err(|e| HostError::netlink("cannot list links", &e))?;
        let mut links: Vec<_> = messages.iter().map(Link::from_message).collect();
        links.sort_by_key(|link| link.ifindex);
        Ok(links)
    }
}

impl Link {
    fn from_message(message: &LinkMessage) -> Self {
        let mut link = Self {
            ifindex: message.header.index,
            name: String::new(),
            mtu: 0,
            is_up: message.header.flags.contains(LinkFlags::Up),
            is_noarp: message.header.flags.contains(LinkFlags::Noarp),
            mac: None,
            kind: None,
            data: None,
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::Address(bytes) => {
                    link.mac = bytes.as_slice().try_into().ok().map(Mac);
                }
                LinkAttribute::LinkInfo(infos) => link.read_info(infos),
                _ => {}
            }
        }
        link
    }

    fn read_info(&mut self, infos: &[LinkInfo]) {
        for info in infos {
            match info {
                LinkInfo::Kind(kind) => self.kind = Some(kind.clone()),
                LinkInfo::Data(data) => self.data = Some(data.clone()),
                _ => {}
            }
        }
    }
}
