//! The rules that a node shall have: flannel's outcome for every packet, in one nf_tables table
//! of our own per family, or in chains of our own where the kernel has only xtables.
//!
//! Pods are masqueraded towards everything outside the pod network, because the world has no
//! route back to them. `C` is the pod network, `P` this node's own subnet of it:
//!
//! | Packet | Outcome | Why |
//! |---|---|---|
//! | mark `0x4000/0x4000` | kept | kube-proxy masquerades it; twice would be once too often |
//! | `P` to `C` | kept | pods see each other's addresses |
//! | `C` to `P` | kept | the same for what arrives |
//! | not `C` to `P` | kept | a Service with local traffic policy shows the client's address |
//! | `C` to an exempt network | kept | net-conf's `NonMasqueradeCIDRs`; flannel has no such row |
//! | `C` to anything but multicast | masqueraded | no way back otherwise |
//! | not `C` to `C` | masqueraded | another node's pod must answer by way of this node |
//!
//! UDP is masqueraded by a rule of its own, whose ports leave out the tunnel's: if the node spoke
//! from its tunnel port on a pod's behalf, the answer would be taken for a tunnel packet. Where no
//! node has a tunnel, that rule and the chain at the forward hook are missing.
//!
//! The chain at the forward hook refuses what would make a pod a trusted sender of the tunnel. A
//! pod's own packets to a node's tunnel port are refused where they leave the pod; but a Service
//! whose endpoint is a node's tunnel port hides that address until netfilter translates it, and
//! masquerading then gives the packet the node's own address. So the packet is judged after the
//! translation. nf_tables looks the node up in a set. Without a set, a packet that was translated
//! to an address outside the pod network is refused: inside it no node can be met.
//!
//! Where flows may skip conntrack, the end of one may come to it all the same, because its entry in
//! the flow map was lost. What carries FIN, SYN or RST and belongs to no known connection is INVALID
//! then, and kube-proxy drops that; a lost FIN leaves a connection hanging. A chain at the
//! prerouting hook takes conntrack's hands off such packets between pods: they are UNTRACKED. That
//! opens nothing: rules that judge by address still judge them, and none that accepts what is
//! ESTABLISHED takes them. Other packets need no help: conntrack takes a flow up in its middle, and
//! keeps it whatever its window where it is liberal (`nf_conntrack_tcp_be_liberal`). xtables could
//! not let go behind conntrack, so without nf_tables flows must not skip it.
//!
//! Nothing is accepted here. An acceptance in a table of ours would not overrule a drop in
//! another one, so where the host's own forward chain drops by policy, [`forward_rules`] are
//! appended to that chain, behind everybody's.

mod rows;
#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;

use ipnet::IpNet;
use thiserror::Error;

use super::model::{Action, Base, Chain, Engine, Family, Hook, Match, Policy, Rule, Set, Table};

/// The name of our table of nf_tables.
pub const TABLE: &str = "tartan";
/// The set of our table that holds the nodes' addresses.
pub const NODES: &str = "nodes";
/// Our chain of the xtables table `nat`.
pub const POSTRTG: &str = "TARTAN-POSTRTG";
/// Our chain of the xtables table `mangle`.
pub const FWD: &str = "TARTAN-FWD";
/// The comment of [`forward_rules`].
pub const FORWARD_COMMENT: &str = "tartan forward";
/// `mangle` (`include/uapi/linux/netfilter_ipv4.h`): conntrack has looked by then.
const MANGLE: i32 = -150;
/// `srcnat` (as above).
const SOURCE_NAT: i32 = 100;

/// What an operator can choose, and who the nodes are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether pods are masqueraded (`--ip-masq`).
    pub ip_masq: bool,
    /// Whether source ports are drawn at random.
    pub random_fully: bool,
    /// Whether flows between pods may skip conntrack.
    pub skips_conntrack: bool,
    /// The tunnel's UDP port, if there is a tunnel.
    pub tunnel_port: Option<u16>,
    /// Destinations that see pods' own addresses; those of the other family are left out.
    pub exempt: Vec<IpNet>,
    /// The nodes' addresses, in any order; used for IPv4 alone.
    pub nodes: Vec<Ipv4Addr>,
}

/// The rules of one family, before they are written for one engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Masquerade {
    network: IpNet,
    subnet: IpNet,
    settings: Settings,
}

/// The pod network and the node's subnet do not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "the subnet {subnet} is not part of the pod network {network}: \
     see Network and the node's podCIDR"
)]
pub struct NotASubnet {
    network: IpNet,
    subnet: IpNet,
}

/// A chain for a kernel without nf_tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hooked {
    /// The table: `nat` or `mangle`.
    pub table: &'static str,
    /// The built-in chain at whose end `jump` stands.
    pub base: &'static str,
    /// The way into `chain`.
    pub jump: Rule,
    /// The chain.
    pub chain: Chain,
}

impl Masquerade {
    /// The rules for the pods of `subnet`, a part of the pod network `network`; host bits of
    /// either do not count.
    ///
    /// # Errors
    /// [`NotASubnet`], also where the two are of different families.
    pub fn new(network: IpNet, subnet: IpNet, mut settings: Settings) -> Result<Self, NotASubnet> {
        let (network, subnet) = (network.trunc(), subnet.trunc());
        if !network.contains(&subnet) {
            return Err(NotASubnet { network, subnet });
        }
        settings.exempt.retain(|net| family(*net) == family(network));
        settings.exempt.iter_mut().for_each(|net| *net = net.trunc());
        settings.nodes.sort_unstable();
        settings.nodes.dedup();
        Ok(Self { network, subnet, settings })
    }

    /// The family of the rules.
    #[must_use]
    pub fn family(&self) -> Family {
        family(self.network)
    }

    /// The pod network.
    #[must_use]
    pub fn network(&self) -> IpNet {
        self.network
    }
}

/// Our table of nf_tables. Without masquerading it has no `postrouting` chain.
#[must_use]
pub fn table(wanted: &Masquerade) -> Table {
    let postrouting = wanted.settings.ip_masq.then(|| Chain {
        name: "postrouting".to_owned(),
        base: base("nat", Hook::Postrouting, SOURCE_NAT),
        rules: rows::postrouting(wanted),
    });
    let ends = wanted.settings.skips_conntrack.then(|| Chain {
        name: "prerouting".to_owned(),
        base: base("filter", Hook::Prerouting, MANGLE),
        rules: vec![rows::end_of_an_unseen_flow(wanted)],
    });
    let guard = rows::guard(wanted).map(|rule| Chain {
        name: "forward".to_owned(),
        base: base("filter", Hook::Forward, 0),
        rules: vec![rule],
    });
    let nodes = Set { name: NODES.to_owned(), elements: wanted.settings.nodes.clone() };
    Table {
        engine: Engine::NfTables,
        family: wanted.family(),
        name: TABLE.to_owned(),
        sets: if wanted.family() == Family::Ip { vec![nodes] } else { Vec::new() },
        chains: ends.into_iter().chain(postrouting).chain(guard).collect(),
    }
}

/// What lets pods' packets through a forward chain that drops by policy, as flannel does it
/// (`--iptables-forward-rules`); to be appended, never inserted.
#[must_use]
pub fn forward_rules(network: IpNet) -> [Rule; 2] {
    [rows::source(network.trunc(), false), rows::destination(network.trunc(), false)]
        .map(|one| Rule::new(vec![one], Action::Accept, FORWARD_COMMENT))
}

/// The same outcome as [`table`], for a kernel without nf_tables; but nothing lets go of the ends of
/// flows that skipped conntrack, so here none may skip it.
#[must_use]
pub fn xtables(wanted: &Masquerade) -> Vec<Hooked> {
    let hooked = |table, base, name: &str, comment, rules| Hooked {
        table,
        base,
        jump: Rule::new(Vec::new(), Action::Jump(name.to_owned()), comment),
        chain: Chain { name: name.to_owned(), base: None, rules },
    };
    // Not in `filter`: an acceptance before it would end the chain, and nothing of ours is put
    // before anybody's rules.
    let guard = rows::no_translated_pod(wanted)
        .map(|rule| hooked("mangle", "FORWARD", FWD, "tartan guard", vec![rule]));
    let masquerade = wanted.settings.ip_masq.then(|| {
        let rows = rows::postrouting(wanted);
        hooked("nat", "POSTROUTING", POSTRTG, "tartan masq", rows)
    });
    masquerade.into_iter().chain(guard).collect()
}

fn family(net: IpNet) -> Family {
    match net {
        IpNet::V4(_) => Family::Ip,
        IpNet::V6(_) => Family::Ip6,
    }
}

#[expect(clippy::unnecessary_wraps, reason = "a chain's base is optional")]
fn base(kind: &str, hook: Hook, priority: i32) -> Option<Base> {
    let kind = kind.to_owned();
    Some(Base { kind, hook, priority, policy: Policy::Accept, devices: Vec::new() })
}
