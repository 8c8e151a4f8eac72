//! Hostile Nodes beside honest ones: what the honest ones own does not change.

use std::net::Ipv4Addr;

use tartan_common::{Mac, Vni};
use tartan_core::annotations::{Key, NodeRecord, to_leases};
use tartan_core::conflict::{Observer, Peer, Peers, peers};
use tartan_core::{Lease, Timestamp};

use super::is_fit_for_a_log;
use crate::{NETWORK, VNI};

/// The honest Nodes were made then; whoever came later has the weaker claim.
const HONEST_SINCE: u64 = 1_767_225_600;
const HONEST: u8 = 4;

/// Adds the hostile Nodes, as if they had been made later, and looks from each honest one.
/// `Ok` says in a few words what became of them.
///
/// # Errors
/// When an honest node lost something, or something unusable became a peer.
pub fn hostile_beside_honest(hostile: &[NodeRecord]) -> Result<String, String> {
    let honest: Vec<Lease> = (1..=HONEST).filter_map(honest_lease).collect();
    if honest.len() != usize::from(HONEST) {
        return Err("the honest Nodes have no leases".to_owned());
    }
    let mut all = honest.clone();
    all.extend(hostile.iter().filter_map(weaker_lease));
    all.reverse();
    let mut kinds = String::new();
    for own in &honest {
        let (before, after) = (seen_from(own, &honest), seen_from(own, &all));
        nothing_is_lost(&before, &after)?;
        after.usable.iter().try_for_each(|peer| is_within_the_rules(own, peer))?;
        for refused in &after.refused {
            is_fit_for_a_log(&refused.why.to_string())?;
            kinds += &refused.why.to_string();
        }
    }
    Ok(kinds)
}

fn honest_lease(number: u8) -> Option<Lease> {
    let created = Timestamp::from_unix_seconds(HONEST_SINCE);
    let mut record = NodeRecord::bare(&format!("node{number}"), "uid", created);
    record.pod_cidrs = vec![format!("10.244.{number}.0/24").into()];
    record.annotate(Key::SubnetManager, "true");
    record.annotate(Key::BackendType, "vxlan");
    record.annotate(
        Key::BackendData,
        &format!(r#"{{"VNI":1,"VtepMAC":"02:00:00:00:00:{number:02x}"}}"#),
    );
    record.annotate(Key::PublicIp, &format!("172.30.0.{number}"));
    to_leases(&record).v4.ok()?
}

/// The lease of a hostile Node. The API gives each name once, and no date before the honest.
fn weaker_lease(record: &NodeRecord) -> Option<Lease> {
    let mut lease = to_leases(record).v4.ok()??;
    let soonest = Timestamp::from_unix_seconds(HONEST_SINCE + 1);
    lease.claimed_at = lease.claimed_at.max(soonest);
    let is_taken = (1..=HONEST).any(|number| lease.node_name == format!("node{number}"));
    (!is_taken).then_some(lease)
}

fn seen_from(own: &Lease, leases: &[Lease]) -> Peers {
    let vni = Vni::new(u64::from(VNI)).unwrap_or_else(|_| unreachable!("1 is a VNI"));
    peers(Observer { own, network: NETWORK, vni: Some(vni) }, leases)
}

fn nothing_is_lost(before: &Peers, after: &Peers) -> Result<(), String> {
    match before.usable.iter().find(|peer| !after.usable.contains(peer)) {
        Some(lost) => Err(format!("{} lost {} to {:?}", lost.node_name, lost.subnet, after.usable)),
        None => Ok(()),
    }
}

fn is_within_the_rules(own: &Lease, peer: &Peer) -> Result<(), String> {
    let Peer { subnet, public_ip, vtep_mac, .. } = peer;
    let is_usable = is_a_nodes(*public_ip) && *public_ip != own.public_ip;
    let is_others = !subnet.overlaps(own.subnet) && subnet.is_within(NETWORK);
    if is_usable && is_others && is_a_stations(own, *vtep_mac) {
        return Ok(());
    }
    Err(format!("{peer:?} is a peer of {own:?}"))
}

fn is_a_nodes(address: Ipv4Addr) -> bool {
    let first = address.octets()[0];
    first != 0 && first != 127 && first < 224 && !NETWORK.contains(&address)
}

fn is_a_stations(own: &Lease, mac: Option<Mac>) -> bool {
    mac.is_some_and(|mac| is_usable_mac(own, mac))
}

fn is_usable_mac(own: &Lease, mac: Mac) -> bool {
    mac.0[0] & 1 == 0 && mac.0 != [0; 6] && Some(mac) != own.vtep_mac()
}
