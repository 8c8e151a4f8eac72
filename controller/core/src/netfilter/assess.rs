//! Whether everything in netfilter together leaves traffic between pods alone, so that skipping
//! it changes nothing for them.
//!
//! Every rule on the way through the host is asked. One that cannot mean a packet with both ends
//! in the pod network, or that does nothing to it, is harmless; so are chains and tables that are
//! known by name. Anything else is a stranger, and what it may do is not guessed. A destination
//! port makes no rule harmless: pods use all of them.
//!
//! On the way are the hooks before, in and after forwarding, of the families that pods use, and
//! whatever stands at a device's own hooks. Bridges and ARP are not.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use ipnet::IpNet;

use super::known;
use super::model::{Action, Base, Chain, Family, Hook, Policy, Table};
use super::scene::Reach;
pub use super::scene::{Scene, Stranger};

/// Chains cannot jump in a circle, and nobody jumps deeper (`NFT_JUMP_STACK_SIZE`).
pub(super) const DEEPEST: usize = 16;

/// Whether traffic between pods may skip netfilter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Every rule on its way is known to leave it alone.
    Clear,
    /// One is not; the first in the order of tables and chains.
    Stranger(Stranger),
}

/// Looks at all tables of both engines.
#[must_use]
pub fn assess(tables: &[Table], scene: &Scene) -> Verdict {
    let unknown = tables.iter().filter(|table| !known::table(table));
    match unknown.into_iter().find_map(|table| stranger_in(table, scene)) {
        None => Verdict::Clear,
        Some(stranger) => Verdict::Stranger(stranger),
    }
}

/// Where a packet is after a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Behind the jump.
    Behind,
    /// Accepted, every one: the rest of the hook's chain sees none.
    Accepted,
}

fn stranger_in(table: &Table, scene: &Scene) -> Option<Stranger> {
    scene.networks_of(table.family).find_map(|network| {
        let chains = table.chains.iter().map(|chain| (chain.name.as_str(), chain)).collect();
        let mut walk = Walk { table, scene, network, chains, walked: HashMap::new() };
        table.chains.iter().find_map(|chain| walk.enter(chain).err())
    })
}

/// A walk of one network's packets through one table.
struct Walk<'a> {
    table: &'a Table,
    scene: &'a Scene,
    network: IpNet,
    chains: HashMap<&'a str, &'a Chain>,
    /// What is known already: the same chain may be jumped to from many places.
    walked: HashMap<&'a str, End>,
}

impl<'a> Walk<'a> {
    fn enter(&mut self, chain: &'a Chain) -> Result<(), Stranger> {
        let Some(base) = &chain.base else {
            return Ok(());
        };
        match way(self.table.family, base) {
            Way::Elsewhere => Ok(()),
            Way::Device => self.must_be_empty(chain, base),
            Way::Through => match (self.chain(chain, 0)?, base.policy) {
                (End::Behind, Policy::Drop) => Err(Stranger::policy(self.table, chain)),
                (End::Behind | End::Accepted, Policy::Accept) | (End::Accepted, Policy::Drop) => {
                    Ok(())
                }
            },
        }
    }

    /// Tunnel packets of all pods pass a device's hook, and bear no pod's address.
    fn must_be_empty(&self, chain: &Chain, base: &Base) -> Result<(), Stranger> {
        if !chain.rules.is_empty() {
            return Err(Stranger::rule(self.table, chain, 0));
        }
        match base.policy {
            Policy::Accept => Ok(()),
            Policy::Drop => Err(Stranger::policy(self.table, chain)),
        }
    }

    fn chain(&mut self, chain: &'a Chain, depth: usize) -> Result<End, Stranger> {
        // Whether some may have left this chain before its end, for what is behind the jump.
        let mut some_left = false;
        for (index, rule) in chain.rules.iter().enumerate() {
            let reach = self.scene.reach(self.network, &rule.matches);
            if reach == Reach::None {
                continue;
            }
            let table = self.table;
            let stranger = || Stranger::rule(table, chain, index);
            let end = match &rule.action {
                Action::Continue => continue,
                Action::Accept => End::Accepted,
                Action::Return => End::Behind,
                Action::Jump(name) => match self.jump(chain, name, depth)?.ok_or_else(stranger)? {
                    End::Behind => continue,
                    End::Accepted => End::Accepted,
                },
                Action::Goto(name) => self.jump(chain, name, depth)?.ok_or_else(stranger)?,
                Action::Drop | Action::Masquerade { .. } | Action::NoTrack | Action::Other(_) => {
                    return Err(stranger());
                }
            };
            some_left |= end == End::Behind;
            if reach == Reach::All {
                return Ok(if some_left { End::Behind } else { End::Accepted });
            }
        }
        Ok(End::Behind)
    }

    /// What a jump leads to; `None` for nothing that could be followed.
    fn jump(&mut self, from: &Chain, name: &'a str, depth: usize) -> Result<Option<End>, Stranger> {
        if known::chain(self.table, name) {
            return Ok(Some(End::Behind));
        }
        if let Some(end) = self.walked.get(name) {
            return Ok(Some(*end));
        }
        let Some(chain) = self.chains.get(name).filter(|_| depth < DEEPEST) else {
            return Ok(None);
        };
        let end = self.chain(chain, depth + 1).map_err(|stranger| stranger.behind(from))?;
        self.walked.insert(name, end);
        Ok(Some(end))
    }
}

/// What a base chain sees of pods' traffic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Their packets, between their addresses.
    Through,
    /// Their packets, maybe inside a tunnel.
    Device,
    /// Nothing.
    Elsewhere,
}

fn way(family: Family, base: &Base) -> Way {
    match (family, base.hook) {
        (Family::Arp | Family::Bridge, _) | (_, Hook::Input | Hook::Output) => Way::Elsewhere,
        (Family::Ip | Family::Ip6 | Family::Inet, hook) => match hook {
            Hook::Prerouting | Hook::Forward | Hook::Postrouting => Way::Through,
            Hook::Input | Hook::Output => Way::Elsewhere,
            Hook::Ingress | Hook::Egress | Hook::Other(_) => Way::Device,
        },
        (Family::Netdev | Family::Other(_), _) => Way::Device,
    }
}
