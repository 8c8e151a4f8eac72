//! Chains as Calico's engine writes them, for the endpoints of one node: only their contract, by
//! hand. What conntrack knows is accepted; what the endpoint's policy allows gets a mark; the rest
//! is dropped; the mark is accepted at the end of FORWARD.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use anyhow::Result;

use crate::network_policy::Flavour;
use crate::node::Node;
use crate::process::Place as _;

/// Who holds the chains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dataplane {
    Iptables(Flavour),
    Nftables,
}

/// A pod of the node.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    /// The name of its host end.
    pub(super) link: String,
    /// Whom it hears; `None`: everybody.
    pub(super) hears: Option<Vec<Ipv4Addr>>,
}

impl Dataplane {
    /// How `tartanctl status` has to begin the name of the rule that decides.
    pub(super) fn decides(self) -> &'static str {
        match self {
            Self::Iptables(_) => "> cali-",
            Self::Nftables => "table ip calico, chain",
        }
    }

    /// Puts the chains of these endpoints in force, in one step, in place of earlier ones.
    pub(super) fn enforce(self, node: &Node, endpoints: &[Endpoint]) -> Result<()> {
        match self {
            Self::Iptables(_) => iptables(node, endpoints),
            Self::Nftables => nftables(node, endpoints),
        }
    }

    /// Removes every chain.
    pub(super) fn remove(self, node: &Node) -> Result<()> {
        match self {
            Self::Iptables(_) => node
                .shell(
                    "iptables-save | grep -v -e cali -e 0x10000/0x10000 | iptables-restore -w
                     ! iptables-save | grep cali",
                )
                .map(drop),
            Self::Nftables => node.run("nft delete table ip calico").map(drop),
        }
    }
}

const KNOWN: &str = "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT";
const INVALID: &str = "-m conntrack --ctstate INVALID -j DROP";
const CLEAR: &str = "-j MARK --set-xmark 0x0/0x10000";
const ALLOW: &str = "-j MARK --set-xmark 0x10000/0x10000";
const ALLOWED: &str = "-m mark --mark 0x10000/0x10000";

fn iptables(node: &Node, endpoints: &[Endpoint]) -> Result<()> {
    let mut rules = String::from(
        "*raw\n:cali-PREROUTING - [0:0]\n\
         -A cali-PREROUTING -i cali+ -m rpfilter --validmark --invert -j DROP\nCOMMIT\n\
         *filter\n:cali-FORWARD - [0:0]\n:cali-from-wl-dispatch - [0:0]\n\
         :cali-to-wl-dispatch - [0:0]\n",
    );
    writeln!(rules, "-A cali-FORWARD {CLEAR}")?;
    writeln!(rules, "-A cali-FORWARD -i cali+ -j cali-from-wl-dispatch")?;
    writeln!(rules, "-A cali-FORWARD -o cali+ -j cali-to-wl-dispatch")?;
    for Endpoint { link, hears } in endpoints {
        for (dispatch, flag, chain) in [("from", "-i", "cali-fw"), ("to", "-o", "cali-tw")] {
            writeln!(rules, ":{chain}-{link} - [0:0]")?;
            writeln!(rules, "-A cali-{dispatch}-wl-dispatch {flag} {link} -g {chain}-{link}")?;
            for rule in [KNOWN, INVALID, CLEAR] {
                writeln!(rules, "-A {chain}-{link} {rule}")?;
            }
            match hears.as_ref().filter(|_| dispatch == "to") {
                None => writeln!(rules, "-A {chain}-{link} {ALLOW}")?,
                Some(peers) => peers
                    .iter()
                    .try_for_each(|peer| writeln!(rules, "-A {chain}-{link} -s {peer} {ALLOW}"))?,
            }
            writeln!(rules, "-A {chain}-{link} {ALLOWED} -j RETURN")?;
            writeln!(rules, "-A {chain}-{link} -j DROP")?;
        }
    }
    for dispatch in ["from", "to"] {
        writeln!(rules, "-A cali-{dispatch}-wl-dispatch -j DROP")?;
    }
    rules += "COMMIT\n";
    node.write("/run/calico.rules", &rules)?;
    node.shell(&format!(
        "iptables-restore -w --noflush /run/calico.rules
         iptables -w -t raw -C PREROUTING -j cali-PREROUTING 2>/dev/null ||
             iptables -w -t raw -I PREROUTING -j cali-PREROUTING
         iptables -w -C FORWARD -j cali-FORWARD 2>/dev/null ||
             iptables -w -I FORWARD -j cali-FORWARD
         iptables -w -C FORWARD {ALLOWED} -j ACCEPT 2>/dev/null ||
             iptables -w -A FORWARD {ALLOWED} -j ACCEPT"
    ))
    .map(drop)
}

fn nftables(node: &Node, endpoints: &[Endpoint]) -> Result<()> {
    let (mut chains, mut from, mut to) = (String::new(), String::new(), String::new());
    for Endpoint { link, hears } in endpoints {
        writeln!(from, "iifname \"{link}\" goto fw-{link}")?;
        writeln!(to, "oifname \"{link}\" goto tw-{link}")?;
        let tracked = "ct state established,related accept\n ct state invalid drop";
        let allow = "meta mark set meta mark or 0x10000 return";
        writeln!(chains, "chain fw-{link} {{\n {tracked}\n {allow}\n }}")?;
        let peers = match hears {
            None => allow.to_owned(),
            Some(peers) => {
                let rules = peers.iter().map(|peer| format!("ip saddr {peer} {allow}"));
                rules.collect::<Vec<_>>().join("\n")
            }
        };
        writeln!(chains, "chain tw-{link} {{\n {tracked}\n {peers}\n drop\n }}")?;
    }
    let table = format!(
        "table ip calico {{}}\ndelete table ip calico\ntable ip calico {{
           {chains}
           chain from-wl-dispatch {{\n {from}\n drop\n }}
           chain to-wl-dispatch {{\n {to}\n drop\n }}
           chain filter-cali-FORWARD {{
             type filter hook forward priority filter; policy accept;
             iifname \"cali*\" jump from-wl-dispatch
             oifname \"cali*\" jump to-wl-dispatch
           }}
           chain raw-cali-PREROUTING {{
             type filter hook prerouting priority raw; policy accept;
             iifname \"cali*\" fib saddr . mark . iif oif 0 drop
           }}
         }}\n"
    );
    node.write("/run/calico.nft", &table)?;
    node.run("nft -f /run/calico.nft").map(drop)
}
