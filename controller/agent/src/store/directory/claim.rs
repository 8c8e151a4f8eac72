//! Taking, writing and renewing a lease. Blocking; one call at a time per directory and node.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use tartan_core::alloc::Claimant;
use tartan_core::{Lease, LeaseBackend, PodCidr, SubnetPool, Timestamp, alloc};
use tracing::{info, warn};

use super::files::{self, Listing};
use crate::store::{LeaseRequest, StoreError};

/// Each lost race rules one subnet out; more than this many in a row is no race any more.
const TRIES: usize = 64;

/// The directory and the rules of its leases.
#[derive(Debug, Clone)]
pub(super) struct Registry {
    pub(super) dir: PathBuf,
    /// How long a lease is in force after it was renewed.
    pub(super) ttl: Duration,
    pub(super) clock: fn() -> Timestamp,
}

/// What a request asks of a directory: it holds IPv4 leases alone.
struct Claim<'a> {
    node_name: &'a str,
    public_ip: Ipv4Addr,
    backend: &'a LeaseBackend,
    pool: &'a SubnetPool,
    previous: Option<PodCidr>,
}

impl<'a> Claim<'a> {
    fn of(request: &'a LeaseRequest) -> Result<Self, StoreError> {
        let (Some(public_ip), Some(pool)) = (request.public_ip, &request.pool) else {
            return Err(StoreError::NeedsIpv4);
        };
        let LeaseRequest { node_name, backend, previous, .. } = request;
        Ok(Self { node_name, public_ip, backend, pool, previous: *previous })
    }

    /// Who asks, in the terms of the choice of a subnet.
    fn claimant(&self) -> Claimant<'_> {
        Claimant { node_name: self.node_name, public_ip: self.public_ip, previous: self.previous }
    }
}

enum Attempt {
    Done(Lease),
    /// Somebody else was faster.
    Lost(PodCidr),
}

impl Registry {
    /// Whether the lease's node failed to renew it in time.
    pub(super) fn is_expired(&self, lease: &Lease) -> bool {
        let now = (self.clock)();
        lease.renewed_at.is_some_and(|renewed| now.since(renewed) > self.ttl)
    }

    pub(super) fn acquire(&self, request: &LeaseRequest) -> Result<Lease, StoreError> {
        let request = &Claim::of(request)?;
        let _lock = files::lock(&self.dir)?;
        files::sweep(&self.dir);
        let mut lost = Vec::new();
        for _ in 0..TRIES {
            match self.attempt(request, &lost)? {
                Attempt::Done(lease) => return Ok(lease),
                Attempt::Lost(subnet) => lost.push(subnet),
            }
        }
        Err(StoreError::Contended { tries: TRIES })
    }

    /// Writes the node's lease if its data changed, or in any case if it is to be renewed.
    pub(super) fn put(&self, lease: &Lease, renew: bool) -> Result<Lease, StoreError> {
        let _lock = files::lock(&self.dir)?;
        let path = files::path_of(&self.dir, lease.subnet);
        match files::read_one(&path, lease.subnet) {
            Ok(Some(found)) if found.node_name != lease.node_name => {
                Err(self.conflict(lease, &found))
            }
            Ok(Some(found)) if !renew && found.same_data(lease) => Ok(found),
            Ok(Some(found)) => self.rewrite(lease, found.claimed_at),
            Ok(None) => self.put_back(lease),
            Err(what) => {
                warn!(file = %path.display(), what, "own lease is unreadable, it is written anew");
                self.rewrite(lease, lease.claimed_at)
            }
        }
    }

    fn attempt(&self, request: &Claim<'_>, lost: &[PodCidr]) -> Result<Attempt, StoreError> {
        let listing = files::read_all(&self.dir)?;
        self.refuse_shared_address(request, &listing)?;
        let subnet = self.choose(request, &listing, lost)?;
        let own = listing.leases.iter().find(|lease| is_own(request, lease, subnet));
        let attempt = match own {
            Some(own) => Attempt::Done(self.rewrite(&lease_for(request, subnet), own.claimed_at)?),
            None => self.claim(request, subnet, &listing)?,
        };
        if let Attempt::Done(lease) = &attempt {
            self.give_up_others(lease, &listing)?;
        }
        Ok(attempt)
    }

    /// A live node with our address is a configuration fault that must not be papered over.
    fn refuse_shared_address(
        &self,
        request: &Claim<'_>,
        listing: &Listing,
    ) -> Result<(), StoreError> {
        let is_holder = |lease: &&Lease| {
            lease.public_ip == request.public_ip
                && lease.node_name != request.node_name
                && !self.is_expired(lease)
        };
        match listing.leases.iter().find(is_holder) {
            None => Ok(()),
            Some(holder) => Err(StoreError::AddressInUse {
                address: request.public_ip,
                theirs: holder.node_name.clone(),
                path: files::path_of(&self.dir, holder.subnet),
            }),
        }
    }

    /// Expired leases of others are spared as long as anything else is free, so that a node
    /// that was away for long finds its subnet again.
    fn choose(
        &self,
        request: &Claim<'_>,
        listing: &Listing,
        lost: &[PodCidr],
    ) -> Result<PodCidr, StoreError> {
        let blocked: Vec<PodCidr> = listing.unreadable.iter().chain(lost).copied().collect();
        let choose =
            |leases: &[Lease]| alloc::choose(request.pool, request.claimant(), leases, &blocked);
        let choice = choose(&listing.leases).or_else(|_| {
            let live: Vec<Lease> =
                listing.leases.iter().filter(|lease| !self.is_expired(lease)).cloned().collect();
            choose(&live)
        })?;
        Ok(choice.subnet())
    }

    /// Claims a subnet that is free but for expired leases and old ones of our own.
    fn claim(
        &self,
        request: &Claim<'_>,
        subnet: PodCidr,
        listing: &Listing,
    ) -> Result<Attempt, StoreError> {
        for stale in listing.leases.iter().filter(|lease| lease.subnet.overlaps(subnet)) {
            if !files::remove(&self.dir, stale)? {
                return Ok(Attempt::Lost(subnet));
            }
            info!(subnet = %stale.subnet, node = stale.node_name, "stale lease removed");
        }
        let now = (self.clock)();
        let lease = Lease { claimed_at: now, renewed_at: Some(now), ..lease_for(request, subnet) };
        if !files::create(&self.dir, &lease)? || self.is_contested(&lease)? {
            return Ok(Attempt::Lost(subnet));
        }
        Ok(Attempt::Done(lease))
    }

    /// Where files cannot be locked, two nodes with different `SubnetLen` may claim overlapping
    /// subnets under different names: whoever sees both steps back.
    fn is_contested(&self, lease: &Lease) -> Result<bool, StoreError> {
        let overlaps = |other: &Lease| {
            other.node_name != lease.node_name && other.subnet.overlaps(lease.subnet)
        };
        let contested = files::read_all(&self.dir)?.leases.iter().any(overlaps);
        if contested {
            files::remove(&self.dir, lease)?;
        }
        Ok(contested)
    }

    /// A node holds one subnet: what it held besides is given back.
    fn give_up_others(&self, lease: &Lease, listing: &Listing) -> Result<(), StoreError> {
        let is_surplus =
            |other: &&Lease| other.node_name == lease.node_name && other.subnet != lease.subnet;
        for surplus in listing.leases.iter().filter(is_surplus) {
            files::remove(&self.dir, surplus)?;
            info!(subnet = %surplus.subnet, kept = %lease.subnet, "own former lease removed");
        }
        Ok(())
    }

    fn rewrite(&self, lease: &Lease, claimed_at: Timestamp) -> Result<Lease, StoreError> {
        let lease = Lease { claimed_at, renewed_at: Some((self.clock)()), ..lease.clone() };
        files::replace(&self.dir, &lease)?;
        Ok(lease)
    }

    /// The lease's file was removed under the running agent, which still forwards for it.
    fn put_back(&self, lease: &Lease) -> Result<Lease, StoreError> {
        let overlaps = |other: &&Lease| {
            other.node_name != lease.node_name && other.subnet.overlaps(lease.subnet)
        };
        let listing = files::read_all(&self.dir)?;
        if let Some(holder) = listing.leases.iter().find(overlaps) {
            return Err(self.conflict(lease, holder));
        }
        let lease = Lease { renewed_at: Some((self.clock)()), ..lease.clone() };
        if !files::create(&self.dir, &lease)? {
            return Err(StoreError::Contended { tries: 1 });
        }
        warn!(subnet = %lease.subnet, "own lease was removed from the directory, it is put back");
        Ok(lease)
    }

    fn conflict(&self, ours: &Lease, holder: &Lease) -> StoreError {
        StoreError::Conflict {
            subnet: ours.subnet,
            ours: ours.node_name.clone(),
            theirs: holder.node_name.clone(),
            path: files::path_of(&self.dir, holder.subnet),
        }
    }
}

fn is_own(request: &Claim<'_>, lease: &Lease, subnet: PodCidr) -> bool {
    lease.node_name == request.node_name && lease.subnet == subnet
}

fn lease_for(request: &Claim<'_>, subnet: PodCidr) -> Lease {
    Lease {
        subnet,
        public_ip: request.public_ip,
        node_name: request.node_name.to_owned(),
        backend: request.backend.clone(),
        claimed_at: Timestamp::default(),
        renewed_at: None,
    }
}
