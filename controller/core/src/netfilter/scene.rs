//! Where pods' packets are: the addresses and devices by which a rule can tell that it means
//! them, or that it does not.

use std::fmt;

use ipnet::IpNet;

use super::model::{Chain, Family, Match, Table};

/// What is known of the traffic between pods on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scene {
    networks: Vec<IpNet>,
    devices: Vec<String>,
}

/// Something in netfilter that is not known to leave pods' traffic alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stranger {
    /// Where it stands: `table ip filter, chain FORWARD > MINE, rule 3`, by the way that packets
    /// come, counted from 1.
    pub place: String,
    /// What it says, as `iptables -S` would put it.
    pub what: String,
}

/// Which packets between pods meet the conditions of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// None can.
    None,
    /// Some may.
    Some,
    /// All do.
    All,
}

impl Scene {
    /// Pods with addresses of `networks`, at most one for each family; a family without one has
    /// no traffic and its rules are ignored. Pods' packets come and go by `devices`: the
    /// overlay device and those of the pods, and with direct routing the uplink. A trailing `+`
    /// stands for any continuation, so `+` alone for any device.
    #[must_use]
    pub fn new(networks: &[IpNet], devices: &[String]) -> Self {
        let networks = networks.iter().map(IpNet::trunc).collect();
        Self { networks, devices: devices.to_vec() }
    }

    /// The pod networks whose packets a table of this family sees.
    pub(super) fn networks_of(&self, family: Family) -> impl Iterator<Item = IpNet> + '_ {
        self.networks.iter().copied().filter(move |net| match family {
            Family::Ip => matches!(net, IpNet::V4(_)),
            Family::Ip6 => matches!(net, IpNet::V6(_)),
            Family::Inet | Family::Netdev | Family::Other(_) => true,
            // A bridge's frames become packets of the other families before they are forwarded.
            Family::Arp | Family::Bridge => false,
        })
    }

    /// Which packets with both ends in `network`, translated by nobody, meet all conditions.
    pub(super) fn reach(&self, network: IpNet, matches: &[Match]) -> Reach {
        matches.iter().map(|one| self.meets(network, one)).min().unwrap_or(Reach::All)
    }

    fn meets(&self, network: IpNet, one: &Match) -> Reach {
        match one {
            Match::Source { net, negated } | Match::Destination { net, negated } => {
                address(network, *net, *negated)
            }
            Match::InDevice { name, negated } | Match::OutDevice { name, negated } => {
                negate(self.device(name), *negated)
            }
            // A flow that may skip the stack is one that nobody translates.
            Match::DestinationTranslated => Reach::None,
            Match::DestinationIn(_)
            | Match::Mark { .. }
            | Match::Protocol(_)
            | Match::DestinationPort(_)
            | Match::ConntrackInvalid
            | Match::TcpFlagsAny(_)
            | Match::Other(_) => Reach::Some,
        }
    }

    fn device(&self, pattern: &str) -> Reach {
        if self.devices.iter().all(|device| covers(pattern, device)) {
            return Reach::All;
        }
        let meets = |device: &String| covers(pattern, device) || covers(device, pattern);
        if self.devices.iter().any(meets) { Reach::Some } else { Reach::None }
    }
}

fn address(network: IpNet, net: IpNet, negated: bool) -> Reach {
    if matches!(network, IpNet::V4(_)) != matches!(net, IpNet::V4(_)) {
        // Asking for one family's address, even for another one, asks for the family.
        return Reach::None;
    }
    let reach = if net.contains(&network) {
        Reach::All
    } else if network.contains(&net) {
        Reach::Some
    } else {
        Reach::None
    };
    negate(reach, negated)
}

fn negate(reach: Reach, negated: bool) -> Reach {
    match (reach, negated) {
        (Reach::None, true) => Reach::All,
        (Reach::All, true) => Reach::None,
        (same, _) => same,
    }
}

/// Whether every device that `narrow` stands for is one that `wide` stands for.
fn covers(wide: &str, narrow: &str) -> bool {
    match (wide.strip_suffix('+'), narrow.strip_suffix('+')) {
        (Some(wide), Some(narrow)) => narrow.starts_with(wide),
        (Some(wide), None) => narrow.starts_with(wide),
        (None, Some(_)) => false,
        (None, None) => wide == narrow,
    }
}

impl Stranger {
    /// The rule of this index.
    pub(super) fn rule(table: &Table, chain: &Chain, index: usize) -> Self {
        let place = format!("{}, rule {}", place(table, chain), index + 1);
        let Some(rule) = chain.rules.get(index) else {
            return Self { place, what: String::new() };
        };
        let what = match (rule.to_string(), rule.comment.as_str()) {
            (text, "") => text,
            (text, comment) => format!("{} ({})", text.trim_end(), one_line(comment)),
        };
        Self { place, what: one_line(&what) }
    }

    /// The same, reached by a jump from another chain: people know the first chain of a way.
    pub(super) fn behind(self, from: &Chain) -> Self {
        let way = format!(", chain {} > ", one_line(&from.name));
        Self { place: self.place.replacen(", chain ", &way, 1), ..self }
    }

    /// The policy of a chain.
    pub(super) fn policy(table: &Table, chain: &Chain) -> Self {
        Self { place: place(table, chain), what: "policy drop".to_owned() }
    }
}

fn place(table: &Table, chain: &Chain) -> String {
    let legacy = match table.engine {
        super::model::Engine::NfTables => "",
        super::model::Engine::Xtables => "legacy ",
    };
    let (family, name) = (table.family, one_line(&table.name));
    format!("{legacy}table {family} {name}, chain {}", one_line(&chain.name))
}

/// A name or a comment is anybody's text.
fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

/// One line: the place, and what stands there.
impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}
