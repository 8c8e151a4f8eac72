//! Whose chains and tables are known, by their whole names, to leave packets alone that go from
//! pod to pod and that nobody translates.
//!
//! A name is trusted only where its owner puts it. What is behind it changes with every Service,
//! and is not looked at.

use super::model::{Engine, Family, Table};
use super::wanted;

/// Chains of iptables that packets may enter, by table.
const CHAINS: [(&str, &str); 12] = [
    // kube-proxy (iptables and IPVS): translates what goes to a Service's address.
    ("nat", "KUBE-SERVICES"),
    // kube-proxy, and the kubelet once: masquerades what bears the mark 0x4000, which only
    // packets to a Service get.
    ("nat", "KUBE-POSTROUTING"),
    // kube-proxy: accepts what bears the mark, drops what conntrack calls INVALID. Conntrack
    // never hears of a flow that skips the stack, so none of its packets can be that.
    ("filter", "KUBE-FORWARD"),
    // kube-proxy: rejects what goes to Services without endpoints.
    ("filter", "KUBE-SERVICES"),
    // kube-proxy: the same for the addresses that the world uses for Services.
    ("filter", "KUBE-EXTERNAL-SERVICES"),
    // kube-proxy: a Service's loadBalancerSourceRanges, for packets that came to its address.
    ("filter", "KUBE-PROXY-FIREWALL"),
    // kube-proxy: lets health checks in.
    ("filter", "KUBE-NODEPORTS"),
    // kubelet and kube-proxy: drops what comes to 127.0.0.0/8 from elsewhere.
    ("filter", "KUBE-FIREWALL"),
    // portmap: translates what goes to a host port of an address of this node.
    ("nat", "CNI-HOSTPORT-DNAT"),
    // portmap: masquerades what the chain above marked.
    ("nat", "CNI-HOSTPORT-MASQ"),
    // flannel: masquerades, but nothing from pod to pod. (FLANNEL-FWD is short and is read.)
    ("nat", "FLANNEL-POSTRTG"),
    // Ours, the same.
    ("nat", wanted::POSTRTG),
];

/// Tables of nf_tables in the families `ip` and `ip6`.
const TABLES: [&str; 2] = [
    // kube-proxy (nftables): as its chains of iptables above.
    "kube-proxy",
    // portmap: as its chains of iptables above.
    "cni_hostport",
];

/// Whether all of a table is known.
pub(super) fn table(table: &Table) -> bool {
    let name = table.name.as_str();
    let known = match table.family {
        Family::Ip => TABLES.contains(&name) || [wanted::TABLE, "flannel-ipv4"].contains(&name),
        Family::Ip6 => TABLES.contains(&name) || [wanted::TABLE, "flannel-ipv6"].contains(&name),
        Family::Inet | Family::Arp | Family::Bridge | Family::Netdev | Family::Other(_) => false,
    };
    table.engine == Engine::NfTables && known
}

/// Whether a chain of this name, in this table, is known.
pub(super) fn chain(table: &Table, name: &str) -> bool {
    let iptables = matches!(table.family, Family::Ip | Family::Ip6);
    iptables && CHAINS.contains(&(table.name.as_str(), name))
}
