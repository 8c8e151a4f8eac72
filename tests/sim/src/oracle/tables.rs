//! Checks of one agent's tables.

use ipnet::Ipv4Net;
use tartan_common::{Mac, NetAddr};
use tartan_core::PodCidr;

use super::naive::{self, Itself, NaiveLease};
use crate::Ms;
use crate::agent::Host;
use crate::agent::host::Tables;
use crate::api::store::Store;

/// Nobody owns a prefix beside another, and nobody has ours.
///
/// # Errors
/// A sentence that names the owners.
pub fn one_owner_each(tables: &Tables, own: PodCidr) -> Result<(), String> {
    let mut subnets: Vec<(Ipv4Net, &str)> = Vec::new();
    for (entry, owner) in tables.peers.values() {
        let net = owner.subnet.net();
        if owner.subnet.overlaps(own) {
            return Err(format!("our own {own} is given to {}: {net}", owner.node_name));
        }
        if let Some((other, name)) = subnets.iter().find(|(other, _)| overlap(*other, net)) {
            return Err(format!("{net} of {} and {other} of {name}", owner.node_name));
        }
        subnets.push((net, &owner.node_name));
        let carries = |mac: Mac| entry.template.windows(6).any(|bytes| bytes == mac.0);
        let carries_mac = owner.vtep_mac.is_some_and(carries);
        if entry.node != NetAddr::from(owner.public_ip) || !carries_mac {
            return Err(format!("the entry of {net} is not made of the lease {owner:?}"));
        }
    }
    senders_are_owners(tables)
}

fn senders_are_owners(tables: &Tables) -> Result<(), String> {
    for (address, entry) in &tables.nodes {
        let is_owner = |owner: &tartan_core::conflict::Peer| {
            owner.public_ip == *address
                && NetAddr::from(owner.subnet.first_address()) == entry.subnet
        };
        if !tables.peers.values().any(|(_, owner)| is_owner(owner)) {
            return Err(format!("{address} may send for {entry:?}, which it does not own"));
        }
    }
    let (peers, nodes) = (tables.peers.len(), tables.nodes.len());
    if peers == nodes { Ok(()) } else { Err(format!("{peers} peers and {nodes} senders")) }
}

/// The tables hold exactly what the API's objects ask for, no more and no less.
///
/// # Errors
/// A sentence that names what is wrong first.
pub fn equal_the_api(host: &Host, own: Itself<'_>, store: &Store) -> Result<(), String> {
    let leases: Vec<&NaiveLease> = store.objects().filter_map(|version| version.lease()).collect();
    let mut wanted = naive::peers(own, &leases);
    wanted.sort_by_key(|lease| lease.subnet.network());
    let found: Vec<_> = host.tables.peers.values().map(|(_, owner)| owner).collect();
    let same = wanted.len() == found.len()
        && wanted.iter().zip(&found).all(|(wanted, found)| {
            wanted.name == found.node_name
                && wanted.subnet == found.subnet.net()
                && wanted.address == found.public_ip
                && Some(Mac(wanted.mac)) == found.vtep_mac
        });
    if same {
        return Ok(());
    }
    let wanted: Vec<_> =
        wanted.iter().map(|lease| (&lease.name, lease.subnet, lease.address)).collect();
    let found: Vec<_> =
        found.iter().map(|peer| (&peer.node_name, peer.subnet.net(), peer.public_ip)).collect();
    Err(format!("{own:?}\n   the API says {wanted:?}\n   the table   {found:?}"))
}

/// Each entry is what its Node said at some moment since `since`.
///
/// # Errors
/// A sentence about an entry that is older.
pub fn nothing_older(tables: &Tables, store: &Store, since: Ms) -> Result<(), String> {
    for (_, owner) in tables.peers.values() {
        let history = store.history(&owner.node_name);
        let first = history.iter().rposition(|version| version.at <= since).unwrap_or_default();
        let is_that = |lease: &NaiveLease| {
            lease.subnet == owner.subnet.net()
                && lease.address == owner.public_ip
                && Some(Mac(lease.mac)) == owner.vtep_mac
        };
        if !history[first..].iter().any(|version| version.lease().is_some_and(is_that)) {
            return Err(format!("the entry {owner:?} is older than {since} ms"));
        }
    }
    Ok(())
}

/// How many entries are gone although their Nodes still say the same.
#[must_use]
pub fn lost_though_valid(before: &Tables, after: &Tables, store: &Store) -> usize {
    let is_lost =
        |(subnet, (_, owner)): &(&std::net::Ipv4Addr, &(_, tartan_core::conflict::Peer))| {
            let last = store.history(&owner.node_name).last();
            let lease = last.and_then(|version| version.lease());
            !after.peers.contains_key(subnet)
                && lease.is_some_and(|lease| {
                    lease.subnet == owner.subnet.net() && lease.address == owner.public_ip
                })
        };
    before.peers.iter().filter(is_lost).count()
}

fn overlap(left: Ipv4Net, right: Ipv4Net) -> bool {
    left.contains(&right) || right.contains(&left)
}
