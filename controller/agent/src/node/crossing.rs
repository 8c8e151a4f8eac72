//! What there is to say about IPv6 in the tunnel over IPv4.

use tartan_core::Lease6;
use tartan_core::conflict::Peer6;

use super::tunnel::Link;

/// More nodes than this are counted, not named.
const MOST_NAMED: usize = 4;

/// Which IPv6 goes in the tunnel over IPv4, and why; `None` where none does.
pub(super) fn shown(own: &Lease6, peers: &[Peer6], link: &Link<'_>) -> Option<String> {
    if own.is_over_ipv4() {
        let name = &link.uplink.name;
        return Some(format!(
            "in the tunnel over IPv4, to all nodes: {name} has no global IPv6 address"
        ));
    }
    let over_ipv4 = |peer: &&Peer6| peer.public_ip.to_ipv4_mapped().is_some();
    let nodes: Vec<&str> =
        peers.iter().filter(over_ipv4).map(|peer| peer.node_name.as_str()).collect();
    let named = match nodes.as_slice() {
        [] => return None,
        few if few.len() <= MOST_NAMED => few.join(", "),
        many => format!("{} nodes", many.len()),
    };
    Some(format!("in the tunnel over IPv4 to {named}: they publish no IPv6 address"))
}
