//! The subnets that nodes may take: `Network`, `SubnetLen`, `SubnetMin`, `SubnetMax`.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::NetConfError;
use crate::PodCidr;

/// Networks that cannot hold pods, whatever the configuration says.
const UNUSABLE: [(Ipv4Addr, u8, &str); 4] = [
    (Ipv4Addr::UNSPECIFIED, 8, "\"this network\" (RFC 1122)"),
    (Ipv4Addr::new(127, 0, 0, 0), 8, "loopback"),
    // The pods' route points at 169.254.1.1.
    (Ipv4Addr::new(169, 254, 0, 0), 16, "link-local"),
    (Ipv4Addr::new(224, 0, 0, 0), 3, "multicast or reserved"),
];

/// The subnets of one length between two bounds inside the pod network.
///
/// The constructor holds: all of them lie in the network, the bounds are
/// subnets of that length, and the lower one is not above the upper one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubnetPool {
    network: Ipv4Net,
    min: PodCidr,
    max: PodCidr,
}

impl SubnetPool {
    /// The pool that flannel would make of these keys, with its defaults for absent ones:
    /// `/24` subnets (a quarter of the network where that is smaller than `/22`), without the
    /// first subnet, whose `.0` address is that of the network.
    ///
    /// # Errors
    /// [`NetConfError`], naming the key that does not fit the others.
    pub fn new(
        network: Ipv4Net,
        len: Option<u8>,
        min: Option<Ipv4Addr>,
        max: Option<Ipv4Addr>,
    ) -> Result<Self, NetConfError> {
        let network = usable_network(network)?;
        let len = subnet_len(network, len)?;
        let size = 1_u32 << (32 - u32::from(len));
        let min = match min {
            Some(address) => bound("SubnetMin", address, network, len)?,
            None => subnet_at(network.network().to_bits() + size, len)?,
        };
        let max = match max {
            Some(address) => bound("SubnetMax", address, network, len)?,
            None => subnet_at(network.broadcast().to_bits(), len)?,
        };
        if min > max {
            let fix = format!("use at most SubnetMax, which is {}", max.first_address());
            let first = min.first_address();
            return Err(NetConfError::invalid("SubnetMin", &first, "is above SubnetMax", fix));
        }
        Ok(Self { network, min, max })
    }

    /// The pod network of the whole cluster.
    #[must_use]
    pub fn network(&self) -> Ipv4Net {
        self.network
    }

    /// The prefix length of every node's subnet.
    #[must_use]
    pub fn subnet_len(&self) -> u8 {
        self.min.prefix_len()
    }

    /// The lowest subnet that may be taken.
    #[must_use]
    pub fn min(&self) -> PodCidr {
        self.min
    }

    /// The highest subnet that may be taken.
    #[must_use]
    pub fn max(&self) -> PodCidr {
        self.max
    }

    /// Whether `subnet` is one of the pool.
    #[must_use]
    pub fn contains(&self, subnet: PodCidr) -> bool {
        subnet.prefix_len() == self.subnet_len() && (self.min..=self.max).contains(&subnet)
    }

    /// How many subnets the pool has.
    #[must_use]
    pub fn len(&self) -> u32 {
        let first = self.min.first_address().to_bits() >> (32 - self.subnet_len());
        let last = self.max.first_address().to_bits() >> (32 - self.subnet_len());
        last - first + 1
    }

    /// Never: a pool has at least one subnet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }
}

fn usable_network(network: Ipv4Net) -> Result<Ipv4Net, NetConfError> {
    let network = network.trunc();
    let fix = "use a private network such as 10.244.0.0/16";
    for (address, len, what) in UNUSABLE {
        let unusable = Ipv4Net::new_assert(address, len);
        if unusable.contains(&network) || network.contains(&unusable) {
            let problem = format!("overlaps {unusable}, which is {what}");
            return Err(NetConfError::invalid("Network", &network, problem, fix));
        }
    }
    Ok(network)
}

/// flannel's rule: four subnets at least, because the first one is never used.
fn subnet_len(network: Ipv4Net, len: Option<u8>) -> Result<u8, NetConfError> {
    let shortest = (network.prefix_len() + 2).max(PodCidr::MIN_PREFIX_LEN);
    if shortest > PodCidr::MAX_PREFIX_LEN {
        let problem = "is too small for four subnets";
        let fix = "use a prefix length of at most 28";
        return Err(NetConfError::invalid("Network", &network, problem, fix));
    }
    let len = len.unwrap_or(shortest.max(24));
    if !(shortest..=PodCidr::MAX_PREFIX_LEN).contains(&len) {
        let problem = format!("does not fit Network {network}, which must hold four subnets");
        let fix = format!("use {shortest}..={}", PodCidr::MAX_PREFIX_LEN);
        return Err(NetConfError::invalid("SubnetLen", &len, problem, fix));
    }
    Ok(len)
}

fn bound(
    key: &'static str,
    address: Ipv4Addr,
    network: Ipv4Net,
    len: u8,
) -> Result<PodCidr, NetConfError> {
    let subnet = subnet_at(address.to_bits(), len)?;
    if !network.contains(&address) {
        let fix = format!("use {}..={}", network.network(), network.broadcast());
        return Err(NetConfError::invalid(key, &address, format!("is outside {network}"), fix));
    }
    if subnet.first_address() != address {
        let problem = format!("is not the first address of a /{len}");
        let fix = format!("use {}", subnet.first_address());
        return Err(NetConfError::invalid(key, &address, problem, fix));
    }
    Ok(subnet)
}

/// The subnet of length `len` around an address of the network.
fn subnet_at(bits: u32, len: u8) -> Result<PodCidr, NetConfError> {
    let invalid = |error: String| {
        NetConfError::invalid("SubnetLen", &len, format!("cannot be used ({error})"), "use 24")
    };
    let net = Ipv4Net::new(bits.into(), len).map_err(|error| invalid(error.to_string()))?;
    PodCidr::around(net).map_err(|error| invalid(error.to_string()))
}
