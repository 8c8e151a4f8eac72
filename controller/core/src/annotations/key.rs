//! The annotations by name.

/// One of flannel's annotations; its full name is the prefix and [`Key::name`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// `true` on every node that has a lease.
    SubnetManager,
    /// `vxlan` for nodes that can be peers.
    BackendType,
    /// The IPv4 tunnel's JSON text.
    BackendData,
    /// The IPv6 tunnel's JSON text.
    BackendV6Data,
    /// Where peers send IPv4 tunnel packets to.
    PublicIp,
    /// Where peers send IPv6 tunnel packets to.
    PublicIpv6,
    /// What the operator wants published as [`Key::PublicIp`], whatever the node's address is.
    PublicIpOverwrite,
    /// The same for IPv6.
    PublicIpv6Overwrite,
    /// The address that the operator wants used and published.
    NodePublicIp,
    /// The same for IPv6.
    NodePublicIpv6,
}

impl Key {
    /// How many there are.
    pub const COUNT: usize = 10;
    /// All of them, each at the place of its index.
    pub const ALL: [Self; Self::COUNT] = [
        Self::SubnetManager,
        Self::BackendType,
        Self::BackendData,
        Self::BackendV6Data,
        Self::PublicIp,
        Self::PublicIpv6,
        Self::PublicIpOverwrite,
        Self::PublicIpv6Overwrite,
        Self::NodePublicIp,
        Self::NodePublicIpv6,
    ];

    /// The name behind the prefix.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SubnetManager => "kube-subnet-manager",
            Self::BackendType => "backend-type",
            Self::BackendData => "backend-data",
            Self::BackendV6Data => "backend-v6-data",
            Self::PublicIp => "public-ip",
            Self::PublicIpv6 => "public-ipv6",
            Self::PublicIpOverwrite => "public-ip-overwrite",
            Self::PublicIpv6Overwrite => "public-ipv6-overwrite",
            Self::NodePublicIp => "node-public-ip",
            Self::NodePublicIpv6 => "node-public-ipv6",
        }
    }

    /// Its place in [`Key::ALL`].
    #[must_use]
    pub(super) fn index(self) -> usize {
        self as usize
    }
}
