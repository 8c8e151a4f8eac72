//! Which subnet a node takes.
//!
//! A pure choice in flannel's order: the subnet the node holds already, the
//! one it had before (from its last `subnet.env`), the first free one. It is
//! deterministic, so that a store can take the answer, try to claim it, and
//! ask again with one subnet more taken. flannel picks at random instead,
//! because its stores cannot ask again.

use std::net::Ipv4Addr;

use thiserror::Error;

use crate::net_conf::SubnetPool;
use crate::{Lease, PodCidr};

/// Who asks for a subnet.
#[derive(Debug, Clone, Copy)]
pub struct Claimant<'a> {
    /// The node's name, by which its own lease is known first.
    pub node_name: &'a str,
    /// The node's address, by which its own lease is known second.
    pub public_ip: Ipv4Addr,
    /// The subnet of the node's last `subnet.env`.
    pub previous: Option<PodCidr>,
}

/// The subnet to take, and why this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// The node holds it: publish the lease again.
    Own(PodCidr),
    /// The node had it before, nobody took it since.
    Previous(PodCidr),
    /// The first free one.
    Free(PodCidr),
}

/// No subnet is left.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "out of subnets: all {total} subnets of length /{len} between {min} and {max} are taken: \
     enlarge Network or SubnetMax, raise SubnetLen, or remove the leases of nodes that are gone"
)]
pub struct OutOfSubnets {
    total: u32,
    len: u8,
    min: PodCidr,
    max: PodCidr,
}

impl Choice {
    /// The subnet itself.
    #[must_use]
    pub fn subnet(self) -> PodCidr {
        match self {
            Self::Own(subnet) | Self::Previous(subnet) | Self::Free(subnet) => subnet,
        }
    }
}

/// Chooses a subnet of `pool` for `claimant`, who must overlap neither another's lease nor a
/// subnet in `blocked`.
///
/// # Errors
/// [`OutOfSubnets`], when nothing of the pool is free.
pub fn choose(
    pool: &SubnetPool,
    claimant: Claimant<'_>,
    leases: &[Lease],
    blocked: &[PodCidr],
) -> Result<Choice, OutOfSubnets> {
    let own = own_lease(claimant, leases);
    let is_own = |lease: &Lease| is_of(claimant, lease);
    let others = leases.iter().filter(|lease| !is_own(lease)).map(|lease| lease.subnet);
    let taken: Vec<PodCidr> = others.chain(blocked.iter().copied()).collect();
    let fits = |subnet: &PodCidr| {
        pool.contains(*subnet) && !taken.iter().any(|other| other.overlaps(*subnet))
    };
    if let Some(subnet) = own.map(|lease| lease.subnet).filter(fits) {
        return Ok(Choice::Own(subnet));
    }
    if let Some(subnet) = claimant.previous.filter(fits) {
        return Ok(Choice::Previous(subnet));
    }
    first_free(pool, &taken).map(Choice::Free).ok_or(OutOfSubnets {
        total: pool.len(),
        len: pool.subnet_len(),
        min: pool.min(),
        max: pool.max(),
    })
}

/// The claimant's own lease: by name, else by address; of several, the oldest claim.
#[must_use]
pub fn own_lease<'a>(claimant: Claimant<'_>, leases: &'a [Lease]) -> Option<&'a Lease> {
    let rank =
        |lease: &&Lease| (lease.node_name != claimant.node_name, lease.claimed_at, lease.subnet);
    leases.iter().filter(|lease| is_of(claimant, lease)).min_by_key(rank)
}

fn is_of(claimant: Claimant<'_>, lease: &Lease) -> bool {
    lease.node_name == claimant.node_name || lease.public_ip == claimant.public_ip
}

/// Walks the taken subnets upwards once, looking for the first gap that holds a subnet.
fn first_free(pool: &SubnetPool, taken: &[PodCidr]) -> Option<PodCidr> {
    let mut taken: Vec<PodCidr> = taken.to_vec();
    taken.sort_unstable();
    let mut candidate = Some(pool.min());
    for other in taken {
        let Some(subnet) = candidate else { break };
        if subnet.last_address() < other.first_address() {
            break;
        }
        if subnet.overlaps(other) {
            candidate = following(subnet, other.last_address());
        }
    }
    candidate.filter(|subnet| *subnet <= pool.max())
}

/// The first subnet of the same length that begins above `address`.
fn following(subnet: PodCidr, address: Ipv4Addr) -> Option<PodCidr> {
    let host_bits = 32 - u32::from(subnet.prefix_len());
    let next = ((address.to_bits() >> host_bits) + 1).checked_mul(1 << host_bits)?;
    let following = ipnet::Ipv4Net::new(next.into(), subnet.prefix_len()).ok()?;
    PodCidr::new(following).ok()
}

#[cfg(test)]
mod tests;
