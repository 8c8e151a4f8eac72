//! For tests: tables written as `iptables-save` prints them, and one packet's way through them.

use std::net::IpAddr;

use super::model::{Action, Base, Chain, Engine, Family, Hook, Match, Policy, Rule, Table};

/// A packet at one hook.
#[derive(Debug, Clone)]
pub(super) struct Packet {
    pub(super) source: IpAddr,
    pub(super) destination: IpAddr,
    pub(super) protocol: u8,
    pub(super) port: u16,
    pub(super) mark: u32,
    pub(super) translated: bool,
    pub(super) input: String,
    pub(super) output: String,
    /// Whether it meets conditions that nobody understands.
    pub(super) other: bool,
}

/// What a hook's chain did to a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Outcome {
    Accepted,
    Dropped,
    Masqueraded { random_fully: bool, ports: Option<(u16, u16)> },
    Touched(String),
}

impl Packet {
    /// From pod to pod or wherever else, without anything remarkable.
    pub(super) fn between(source: IpAddr, destination: IpAddr) -> Self {
        let (input, output) = ("veth1".to_owned(), "flannel.1".to_owned());
        Self {
            source,
            destination,
            protocol: 6,
            port: 80,
            mark: 0,
            translated: false,
            input,
            output,
            other: false,
        }
    }

    fn meets(&self, table: &Table, one: &Match) -> bool {
        let device = |pattern: &str, name: &str| match pattern.strip_suffix('+') {
            Some(start) => name.starts_with(start),
            None => pattern == name,
        };
        match one {
            // An address of the other family makes the whole condition about that family.
            Match::Source { net, .. } | Match::Destination { net, .. }
                if net.addr().is_ipv4() != self.source.is_ipv4() =>
            {
                false
            }
            Match::Source { net, negated } => net.contains(&self.source) != *negated,
            Match::Destination { net, negated } => net.contains(&self.destination) != *negated,
            Match::DestinationIn(name) => table.sets.iter().any(|set| {
                set.name == *name && set.elements.iter().any(|node| *node == self.destination)
            }),
            Match::InDevice { name, negated } => device(name, &self.input) != *negated,
            Match::OutDevice { name, negated } => device(name, &self.output) != *negated,
            Match::Mark { value, mask, negated } => (self.mark & mask == *value) != *negated,
            Match::Protocol(number) => self.protocol == *number,
            Match::DestinationPort(port) => self.port == *port,
            Match::DestinationTranslated => self.translated,
            Match::ConntrackInvalid | Match::TcpFlagsAny(_) | Match::Other(_) => self.other,
        }
    }

    /// What a base chain does to it.
    pub(super) fn through(&self, table: &Table, chain: &str) -> Outcome {
        let chain = table.chain(chain).unwrap();
        let policy = chain.base.as_ref().map_or(Policy::Accept, |base| base.policy);
        self.walk(table, chain).unwrap_or(match policy {
            Policy::Accept => Outcome::Accepted,
            Policy::Drop => Outcome::Dropped,
        })
    }

    fn walk(&self, table: &Table, chain: &Chain) -> Option<Outcome> {
        for rule in &chain.rules {
            if !rule.matches.iter().all(|one| self.meets(table, one)) {
                continue;
            }
            match &rule.action {
                Action::Continue => {}
                Action::Accept => return Some(Outcome::Accepted),
                Action::Drop => return Some(Outcome::Dropped),
                Action::Return => return None,
                Action::Jump(name) => {
                    let outcome = self.walk(table, table.chain(name).unwrap());
                    if outcome.is_some() {
                        return outcome;
                    }
                }
                Action::Goto(name) => return self.walk(table, table.chain(name).unwrap()),
                Action::Masquerade { random_fully, ports } => {
                    return Some(Outcome::Masqueraded {
                        random_fully: *random_fully,
                        ports: *ports,
                    });
                }
                other @ (Action::NoTrack | Action::Other(_)) => {
                    return Some(Outcome::Touched(other.to_string()));
                }
            }
        }
        None
    }
}

/// An IPv4 table of iptables from lines such as `*filter`, `:FORWARD DROP`, `-A FORWARD -j X`.
pub(super) fn iptables(engine: Engine, text: &str) -> Table {
    let mut table =
        Table { engine, family: Family::Ip, name: String::new(), sets: vec![], chains: vec![] };
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if let Some(name) = line.strip_prefix('*') {
            name.clone_into(&mut table.name);
        } else if let Some(chain) = line.strip_prefix(':') {
            let (name, policy) = chain.split_once(' ').unwrap_or((chain, "-"));
            table.chains.push(Chain {
                name: name.to_owned(),
                base: base(name, policy),
                rules: vec![],
            });
        } else {
            let (chain, rest) = line.strip_prefix("-A ").unwrap().split_once(' ').unwrap();
            let handle = (engine == Engine::NfTables).then_some(line.len() as u64);
            let found = table.chains.iter_mut().find(|one| one.name == chain);
            found.unwrap_or_else(|| panic!("{line}")).rules.push(Rule { handle, ..rule(rest) });
        }
    }
    table
}

/// The same for nf_tables' engine.
pub(super) fn nft(text: &str) -> Table {
    iptables(Engine::NfTables, text)
}

fn base(name: &str, policy: &str) -> Option<Base> {
    let hook = match name {
        "PREROUTING" => Hook::Prerouting,
        "INPUT" => Hook::Input,
        "FORWARD" => Hook::Forward,
        "OUTPUT" => Hook::Output,
        "POSTROUTING" => Hook::Postrouting,
        "INGRESS" => Hook::Ingress,
        _ => return None,
    };
    let policy = if policy == "DROP" { Policy::Drop } else { Policy::Accept };
    Some(Base { kind: "filter".to_owned(), hook, priority: 0, policy, devices: vec![] })
}

/// A rule as `iptables -S` prints it, without its chain. Comments have no blanks here.
pub(super) fn rule(text: &str) -> Rule {
    let mut words = text.split_whitespace();
    let mut negated = false;
    let mut rule = Rule::new(vec![], Action::Continue, "");
    while let Some(word) = words.next() {
        let mut next = || words.next().unwrap().to_owned();
        let one = match word {
            "!" => {
                negated = true;
                continue;
            }
            "-s" => Match::Source { net: next().parse().unwrap(), negated },
            "-d" => Match::Destination { net: next().parse().unwrap(), negated },
            "-i" => Match::InDevice { name: next(), negated },
            "-o" => Match::OutDevice { name: next(), negated },
            "-p" => Match::Protocol(if next() == "udp" { 17 } else { 6 }),
            "--dport" => Match::DestinationPort(next().parse().unwrap()),
            "--ctstate" => match next() {
                state if state == "DNAT" => Match::DestinationTranslated,
                state => Match::Other(format!("--ctstate {state}")),
            },
            "--comment" => {
                rule.comment = next().replace('_', " ");
                continue;
            }
            "-g" => {
                rule.action = Action::Goto(next());
                continue;
            }
            "-j" => {
                rule.action = action(&next());
                continue;
            }
            other => Match::Other(format!("{}{other}", if negated { "! " } else { "" })),
        };
        negated = false;
        rule.matches.push(one);
    }
    rule
}

fn action(target: &str) -> Action {
    match target {
        "ACCEPT" => Action::Accept,
        "DROP" => Action::Drop,
        "RETURN" => Action::Return,
        "MASQUERADE" => Action::Masquerade { random_fully: false, ports: None },
        "REJECT" | "MARK" | "LOG" | "NFQUEUE" | "DNAT" | "CT" | "TPROXY" => {
            Action::Other(format!("-j {target}"))
        }
        chain => Action::Jump(chain.to_owned()),
    }
}
