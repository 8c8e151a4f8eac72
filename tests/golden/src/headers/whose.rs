//! Addresses by whose they are, in both families.

use tartan_common::{NetAddr, NetAddr6};

use crate::{fixture, fixture6};

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::V4, Self::V6];
}

/// Whose an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The pod that sends or receives.
    Pod,
    /// Another pod of this node.
    Neighbour,
    /// A pod of this node that never goes fast.
    Slow,
    /// A pod of this node behind another interface.
    Elsewhere,
    /// What pods route by.
    Gateway,
    /// A pod of the peer.
    Remote,
    /// The VTEP of the peer.
    RemoteVtep,
    /// A pod of a node on the link.
    LinkPod,
    /// A pod of a node behind a router.
    FarPod,
    /// A pod of nobody.
    Nowhere,
    /// Nothing of the cluster's.
    Outside,
    /// This node.
    Node,
    /// The peer.
    Peer,
    /// A host on the link that is no node.
    Stranger,
    /// A link's own address (IPv4: of RFC 3927).
    LinkLocal,
    /// No address.
    Any,
    /// Everybody on the link.
    Group,
}

impl Whose {
    /// In IPv4.
    #[must_use]
    pub const fn v4(self) -> NetAddr {
        match self {
            Self::Pod => fixture::POD,
            Self::Neighbour => fixture::NEIGHBOUR,
            Self::Slow => NetAddr::from_octets([10, 244, 1, 8]),
            Self::Elsewhere => NetAddr::from_octets([10, 244, 1, 9]),
            Self::Gateway => NetAddr::from_octets([10, 244, 1, 1]),
            Self::Remote => fixture::REMOTE,
            Self::RemoteVtep => NetAddr::from_octets([10, 244, 2, 0]),
            Self::LinkPod => fixture::LINK_POD,
            Self::FarPod => fixture::FAR_POD,
            Self::Nowhere => fixture::NOWHERE,
            Self::Outside => fixture::OUTSIDE,
            Self::Node => fixture::NODE,
            Self::Peer => fixture::PEER,
            Self::Stranger => fixture::STRANGER,
            Self::LinkLocal => NetAddr::from_octets([169, 254, 0, 2]),
            Self::Any => NetAddr::UNSPECIFIED,
            Self::Group => NetAddr::from_octets([224, 0, 0, 1]),
        }
    }

    /// In IPv6.
    #[must_use]
    pub const fn v6(self) -> NetAddr6 {
        match self {
            Self::Pod => fixture6::POD,
            Self::Neighbour => fixture6::NEIGHBOUR,
            Self::Slow => near(fixture6::POD, 8),
            Self::Elsewhere => near(fixture6::POD, 9),
            Self::Gateway => fixture6::GATEWAY,
            Self::Remote => fixture6::REMOTE,
            Self::RemoteVtep => fixture6::REMOTE_VTEP,
            Self::LinkPod => fixture6::LINK_POD,
            Self::FarPod => fixture6::FAR_POD,
            Self::Nowhere => fixture6::NOWHERE,
            Self::Outside => fixture6::OUTSIDE,
            Self::Node => fixture6::NODE,
            Self::Peer => fixture6::PEER,
            Self::Stranger => fixture6::STRANGER,
            Self::LinkLocal => fixture6::LINK_LOCAL,
            Self::Any => near(NetAddr6::from_octets([0; 16]), 0),
            Self::Group => fixture6::ALL_NODES,
        }
    }
}

/// The address with another last byte.
const fn near(address: NetAddr6, last: u8) -> NetAddr6 {
    let mut octets = address.octets();
    octets[15] = last;
    NetAddr6::from_octets(octets)
}
