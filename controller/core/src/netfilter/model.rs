//! Netfilter's rules, as far as somebody has to understand them: one shape for nf_tables, for
//! iptables on top of it and for the older xtables, for what is read and for what is written.
//!
//! What is not understood is kept as text (`Other`), never guessed.

use std::fmt;
use std::net::Ipv4Addr;

use ipnet::IpNet;

/// Who holds a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Engine {
    /// nf_tables: `nft`, and `iptables` in its nft flavour.
    NfTables,
    /// xtables: `iptables-legacy`.
    Xtables,
}

/// The packets that a table sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// Both.
    Inet,
    /// ARP.
    Arp,
    /// Frames of bridges.
    Bridge,
    /// One device's packets, before or after everything else.
    Netdev,
    /// A family that this version does not know, by the kernel's number.
    Other(u8),
}

/// A table with everything in it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Table {
    /// Who holds it.
    pub engine: Engine,
    /// The packets that it sees.
    pub family: Family,
    /// Its name.
    pub name: String,
    /// Named sets of addresses that rules look up. Read back only for our own tables.
    pub sets: Vec<Set>,
    /// Its chains in the kernel's order.
    pub chains: Vec<Chain>,
}

/// A named set of IPv4 addresses (`type ipv4_addr`).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Set {
    /// Its name.
    pub name: String,
    /// Its elements in ascending order.
    pub elements: Vec<Ipv4Addr>,
}

/// A chain.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Chain {
    /// Its name.
    pub name: String,
    /// Where packets enter it; `None` for one that is only jumped to.
    pub base: Option<Base>,
    /// Its rules in order.
    pub rules: Vec<Rule>,
}

/// Where packets enter a chain.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Base {
    /// `filter`, `nat` or `route`; for xtables the table's job: `nat`, else `filter`.
    pub kind: String,
    /// The hook.
    pub hook: Hook,
    /// Lower is earlier.
    pub priority: i32,
    /// What happens at the end of the chain.
    pub policy: Policy,
    /// The devices of a chain of the netdev family.
    pub devices: Vec<String>,
}

/// A hook of netfilter (`include/uapi/linux/netfilter.h`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hook {
    /// Before routing.
    Prerouting,
    /// To this host.
    Input,
    /// Through this host.
    Forward,
    /// From this host.
    Output,
    /// After routing.
    Postrouting,
    /// In from a device (netdev and inet).
    Ingress,
    /// Out to a device (netdev).
    Egress,
    /// One that this version does not know, by the kernel's number.
    Other(u32),
}

/// What happens to a packet that no rule decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Policy {
    /// It goes on.
    Accept,
    /// It is dropped.
    Drop,
}

/// A rule: all matches must hold, then the action. Counters are not shown.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    /// What a packet must be like.
    pub matches: Vec<Match>,
    /// What happens then.
    pub action: Action,
    /// What its author says of it; empty for nothing.
    pub comment: String,
    /// The kernel's number of a rule that was read from nf_tables; `None` in what is to be
    /// written, and for xtables. See [`Rule::says_the_same`].
    pub handle: Option<u64>,
}

/// One condition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Match {
    /// The source address lies in `net`, or does not.
    Source {
        /// The network; its host bits are zero.
        net: IpNet,
        /// Whether it must not.
        negated: bool,
    },
    /// The destination address lies in `net`, or does not.
    Destination {
        /// The network; its host bits are zero.
        net: IpNet,
        /// Whether it must not.
        negated: bool,
    },
    /// The destination is an element of a named set of the same table.
    DestinationIn(String),
    /// It came in by this device.
    InDevice {
        /// Its name; a trailing `+` stands for any continuation.
        name: String,
        /// Whether it must not have.
        negated: bool,
    },
    /// It goes out by this device.
    OutDevice {
        /// Its name; a trailing `+` stands for any continuation.
        name: String,
        /// Whether it must not.
        negated: bool,
    },
    /// `mark & mask == value`.
    Mark {
        /// The value.
        value: u32,
        /// The mask.
        mask: u32,
        /// Whether it must differ.
        negated: bool,
    },
    /// The transport protocol (6 TCP, 17 UDP, 132 SCTP).
    Protocol(u8),
    /// The transport's destination port; stands behind a [`Match::Protocol`].
    DestinationPort(u16),
    /// Conntrack translated its destination (`ct status dnat`, `--ctstate DNAT`).
    DestinationTranslated,
    /// Conntrack has no place for the packet (`ct state invalid`).
    ConntrackInvalid,
    /// Any of these flags of TCP is set; stands behind [`Match::Protocol`] 6.
    TcpFlagsAny(u8),
    /// Anything else, as readable as it gets.
    Other(String),
}

/// What a rule does with a packet.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Action {
    /// Nothing that decides: the next rule follows.
    Continue,
    /// Ends this chain's hook: the packet goes on.
    Accept,
    /// Drops it.
    Drop,
    /// Back to where the chain was jumped to, or to the policy.
    Return,
    /// Into another chain of the table, and back.
    Jump(String),
    /// Into another chain of the table, for good.
    Goto(String),
    /// Gives it the address of the device that it leaves by.
    Masquerade {
        /// Ports are drawn at random (`fully-random`, `--random-fully`).
        random_fully: bool,
        /// First and last port to draw from; `None` for any. Stands behind a [`Match::Protocol`].
        ports: Option<(u16, u16)>,
    },
    /// Conntrack lets go of it (`notrack`).
    NoTrack,
    /// Anything else, as readable as it gets.
    Other(String),
}

impl Rule {
    /// A rule to be written.
    #[must_use]
    pub fn new(matches: Vec<Match>, action: Action, comment: impl Into<String>) -> Self {
        Self { matches, action, comment: comment.into(), handle: None }
    }

    /// Whether both are the same rule, wherever they stand.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        (&self.matches, &self.action, &self.comment)
            == (&other.matches, &other.action, &other.comment)
    }
}

impl Table {
    /// The chain of this name.
    #[must_use]
    pub fn chain(&self, name: &str) -> Option<&Chain> {
        self.chains.iter().find(|chain| chain.name == name)
    }

    /// Whether both hold the same, handles and the order of chains and sets aside.
    #[must_use]
    pub fn says_the_same(&self, other: &Self) -> bool {
        let same_set = |set: &Set| other.sets.contains(set);
        let same_chain = |chain: &Chain| {
            other.chain(&chain.name).is_some_and(|twin| {
                twin.base == chain.base
                    && twin.rules.len() == chain.rules.len()
                    && twin.rules.iter().zip(&chain.rules).all(|(a, b)| a.says_the_same(b))
            })
        };
        (self.engine, self.family, &self.name) == (other.engine, other.family, &other.name)
            && self.sets.len() == other.sets.len()
            && self.chains.len() == other.chains.len()
            && self.sets.iter().all(same_set)
            && self.chains.iter().all(same_chain)
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip => f.write_str("ip"),
            Self::Ip6 => f.write_str("ip6"),
            Self::Inet => f.write_str("inet"),
            Self::Arp => f.write_str("arp"),
            Self::Bridge => f.write_str("bridge"),
            Self::Netdev => f.write_str("netdev"),
            Self::Other(number) => write!(f, "family {number}"),
        }
    }
}

impl fmt::Display for Match {
    /// As `iptables -S` writes it, for both engines: what most operators read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = |negated: &bool| if *negated { "! " } else { "" };
        match self {
            Self::Source { net, negated } => write!(f, "{}-s {net}", not(negated)),
            Self::Destination { net, negated } => write!(f, "{}-d {net}", not(negated)),
            Self::DestinationIn(set) => write!(f, "-d @{set}"),
            Self::InDevice { name, negated } => write!(f, "{}-i {name}", not(negated)),
            Self::OutDevice { name, negated } => write!(f, "{}-o {name}", not(negated)),
            Self::Mark { value, mask, negated } => {
                write!(f, "{}--mark {value:#x}/{mask:#x}", not(negated))
            }
            Self::Protocol(6) => f.write_str("-p tcp"),
            Self::Protocol(17) => f.write_str("-p udp"),
            Self::Protocol(number) => write!(f, "-p {number}"),
            Self::DestinationPort(port) => write!(f, "--dport {port}"),
            Self::DestinationTranslated => f.write_str("--ctstate DNAT"),
            Self::ConntrackInvalid => f.write_str("-m conntrack --ctstate INVALID"),
            Self::TcpFlagsAny(mask) => write!(f, "! --tcp-flags {mask:#04x} NONE"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Continue => Ok(()),
            Self::Accept => f.write_str("-j ACCEPT"),
            Self::Drop => f.write_str("-j DROP"),
            Self::Return => f.write_str("-j RETURN"),
            Self::Jump(chain) => write!(f, "-j {chain}"),
            Self::Goto(chain) => write!(f, "-g {chain}"),
            Self::NoTrack => f.write_str("-j CT --notrack"),
            Self::Masquerade { random_fully, ports } => {
                f.write_str("-j MASQUERADE")?;
                if let Some((first, last)) = ports {
                    write!(f, " --to-ports {first}-{last}")?;
                }
                f.write_str(if *random_fully { " --random-fully" } else { "" })
            }
            Self::Other(text) => f.write_str(text),
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for one in &self.matches {
            write!(f, "{one} ")?;
        }
        write!(f, "{}", self.action)
    }
}
