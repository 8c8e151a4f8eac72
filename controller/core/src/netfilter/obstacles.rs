//! Chains that drop pods' packets whatever we do, for the operator to open.
//!
//! An acceptance in one chain does not overrule a drop in another one, and nothing of ours is put
//! before anybody's rules. So where a chain at the forward hook ends in a drop, a rejection or
//! the policy drop, its owner has to accept the pod network there. Whoever accepts something by
//! addresses or devices of pods alone has thought of them, and is not told.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use ipnet::IpNet;

use super::assess::DEEPEST;
use super::known;
use super::model::{Action, Chain, Hook, Match, Policy, Rule, Table};
use super::scene::{Reach, Scene, Stranger};

/// The chains at the forward hook in which packets between pods come to a bad end: for each the
/// rule or the policy that does it.
#[must_use]
pub fn obstacles(tables: &[Table], scene: &Scene) -> Vec<Stranger> {
    let unknown = tables.iter().filter(|table| !known::table(table));
    unknown
        .flat_map(|table| table.chains.iter().filter_map(|chain| obstacle(table, chain, scene)))
        .collect()
}

/// What becomes of packets between pods in a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    /// Nothing yet.
    Behind,
    /// Accepted, or their owner has thought of them.
    Accepted,
    /// All of them are dropped.
    Dropped(Stranger),
}

fn obstacle(table: &Table, chain: &Chain, scene: &Scene) -> Option<Stranger> {
    let base = chain.base.as_ref().filter(|base| base.hook == Hook::Forward)?;
    scene.networks_of(table.family).find_map(|network| {
        let mut walk = Walk { table, scene, network, walked: HashMap::new() };
        match (walk.chain(chain, 0), base.policy) {
            (Fate::Dropped(stranger), _) => Some(stranger),
            (Fate::Behind, Policy::Drop) => Some(Stranger::policy(table, chain)),
            (Fate::Behind, Policy::Accept) | (Fate::Accepted, _) => None,
        }
    })
}

struct Walk<'a> {
    table: &'a Table,
    scene: &'a Scene,
    network: IpNet,
    /// What is known already: the same chain may be jumped to from many places.
    walked: HashMap<&'a str, Fate>,
}

impl<'a> Walk<'a> {
    fn chain(&mut self, chain: &'a Chain, depth: usize) -> Fate {
        for (index, rule) in chain.rules.iter().enumerate() {
            let reach = self.scene.reach(self.network, &rule.matches);
            if reach == Reach::None {
                continue;
            }
            let all = reach == Reach::All;
            match self.action(chain, index, depth) {
                Some(Fate::Accepted) if all || is_of_pods(rule) => return Fate::Accepted,
                Some(fate) if all => return fate,
                Some(_) | None => {}
            }
        }
        Fate::Behind
    }

    /// What becomes of a packet that a rule means; `None` for one that is for the next rule.
    fn action(&mut self, chain: &'a Chain, index: usize, depth: usize) -> Option<Fate> {
        let dropped = || Some(Fate::Dropped(Stranger::rule(self.table, chain, index)));
        match &chain.rules.get(index)?.action {
            Action::Accept => Some(Fate::Accepted),
            Action::Return => Some(Fate::Behind),
            Action::Drop => dropped(),
            Action::Other(text) if rejects(text) => dropped(),
            Action::Jump(name) => Some(self.jump(name, depth)).filter(|fate| *fate != Fate::Behind),
            Action::Goto(name) => Some(self.jump(name, depth)),
            Action::Continue | Action::Masquerade { .. } | Action::NoTrack | Action::Other(_) => {
                None
            }
        }
    }

    fn jump(&mut self, name: &'a str, depth: usize) -> Fate {
        if let Some(fate) = self.walked.get(name) {
            return fate.clone();
        }
        let follow = depth < DEEPEST && !known::chain(self.table, name);
        let chain = self.table.chain(name).filter(|_| follow);
        let fate = chain.map_or(Fate::Behind, |chain| self.chain(chain, depth + 1));
        self.walked.insert(name, fate.clone());
        fate
    }
}

/// `-j REJECT` of iptables and `reject` of nft, with whatever follows.
fn rejects(text: &str) -> bool {
    text.split_whitespace().any(|word| word == "REJECT" || word == "reject")
}

/// Whether a rule asks for nothing but addresses and devices.
fn is_of_pods(rule: &Rule) -> bool {
    rule.matches.iter().all(|one| match one {
        Match::Source { .. }
        | Match::Destination { .. }
        | Match::InDevice { .. }
        | Match::OutDevice { .. } => true,
        Match::DestinationIn(_)
        | Match::Mark { .. }
        | Match::Protocol(_)
        | Match::DestinationPort(_)
        | Match::DestinationTranslated
        | Match::ConntrackInvalid
        | Match::TcpFlagsAny(_)
        | Match::Other(_) => false,
    })
}
