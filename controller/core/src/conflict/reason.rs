//! Why a lease is no peer: one caption and one remedy each.

use std::fmt;

use ipnet::IpNet;
use tartan_common::Vni;

use crate::LeaseBackend;

/// Why a lease is no peer. Its text is the caption and the remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefusedReason {
    /// Another subnet under our own name.
    OurNodeName,
    /// The node's address is ours.
    OurAddress,
    /// The subnet shares addresses with ours.
    OverlapsOurs {
        /// Our subnet.
        ours: IpNet,
    },
    /// The subnet shares addresses with that of another node, whose claim is older.
    OverlapsPeer {
        /// The node whose claim holds.
        winner: String,
    },
    /// The node's address is that of another node, which was there more recently, or first.
    SharedAddress {
        /// The node that the address is taken to be.
        winner: String,
    },
    /// The VTEP MAC address is ours: the kernel would take our packets for its own.
    OurVtepMac,
    /// The VTEP MAC address is zero or a group's: the kernel would drop our packets.
    UnusableVtepMac,
    /// The subnet is not part of the pod network.
    OutsideNetwork {
        /// The pod network.
        network: IpNet,
    },
    /// The subnet is larger or smaller than the cluster's.
    PrefixLength {
        /// The length of ours.
        wanted: u8,
    },
    /// The node's backend is not that of this node.
    BackendType {
        /// The node's.
        found: String,
        /// Ours.
        ours: &'static str,
    },
    /// The node's VNI is not ours, so each would drop the other's packets.
    OtherVni {
        /// The node's.
        theirs: Vni,
        /// Ours.
        ours: Vni,
    },
    /// No node can have this address.
    UnusableAddress,
    /// The node's address is a pod address: packets to it would go round in circles.
    AddressInNetwork {
        /// The pod network.
        network: IpNet,
    },
}

impl RefusedReason {
    /// The node's backend is not `ours`.
    pub(super) fn backend_type(found: &LeaseBackend, ours: &'static str) -> Self {
        Self::BackendType { found: found.type_name().to_owned(), ours }
    }

    /// What is wrong, without a full stop.
    #[must_use]
    pub fn caption(&self) -> String {
        match self {
            Self::OurNodeName => "the lease carries this node's name".to_owned(),
            Self::OurAddress => "the node's address is this node's".to_owned(),
            Self::OverlapsOurs { ours } => format!("the subnet overlaps this node's {ours}"),
            Self::OverlapsPeer { winner } => {
                format!("the subnet overlaps that of {winner}, whose claim is older")
            }
            Self::SharedAddress { winner } => {
                format!("the node's address is also that of {winner}, whose lease holds")
            }
            Self::OurVtepMac => "the VTEP MAC address is this node's".to_owned(),
            Self::UnusableVtepMac => "no device can have this VTEP MAC address".to_owned(),
            Self::OutsideNetwork { network } => format!("the subnet is not part of {network}"),
            Self::PrefixLength { wanted } => format!("the subnet is not a /{wanted}"),
            Self::BackendType { found, ours } => {
                format!("the backend type is {found:?}, not {ours:?}")
            }
            Self::OtherVni { theirs, ours } => format!("the VNI is {theirs}, here it is {ours}"),
            Self::UnusableAddress => "no node can have this address".to_owned(),
            Self::AddressInNetwork { network } => {
                format!("the node's address is inside the pod network {network}")
            }
        }
    }

    /// What to do about it, as an order.
    #[must_use]
    pub fn remedy(&self) -> &'static str {
        match self {
            Self::OurNodeName => "remove the stale lease, or give each node its own NODE_NAME",
            Self::OurAddress => {
                "remove the lease of the node that had the address before (in Kubernetes: delete \
                 the Node that is gone)"
            }
            Self::OverlapsOurs { .. } | Self::OverlapsPeer { .. } => {
                "remove one of the two leases and restart its node's agent (in Kubernetes: delete \
                 and recreate one of the two Nodes, so that it gets another podCIDR)"
            }
            Self::SharedAddress { .. } => {
                "remove the stale lease, or set --public-ip on one of the two nodes (in \
                 Kubernetes: delete the Node that is gone, or correct its public-ip annotations)"
            }
            Self::OurVtepMac => {
                "delete flannel.<VNI> on one of the two nodes and restart its agent"
            }
            Self::UnusableVtepMac => "restart the agent of that node",
            Self::OutsideNetwork { .. } => {
                "use the same Network in every node's net-conf (in Kubernetes: the --cluster-cidr \
                 of kube-controller-manager)"
            }
            Self::PrefixLength { .. } => {
                "use the same SubnetLen in every node's net-conf (in Kubernetes: one \
                 --node-cidr-mask-size)"
            }
            Self::BackendType { .. } => "use the same Backend.Type in every node's net-conf",
            Self::OtherVni { .. } => "use the same Backend.VNI in every node's net-conf",
            Self::UnusableAddress => "set --public-ip on that node",
            Self::AddressInNetwork { .. } => {
                "set --iface or --public-ip on that node to an address outside the pod network"
            }
        }
    }
}

impl fmt::Display for RefusedReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.caption(), self.remedy())
    }
}
