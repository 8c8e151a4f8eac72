//! The whole ruleset: tables, sets, chains and rules of one generation.

use std::collections::HashMap;
use std::net::Ipv4Addr;

use tartan_core::netfilter::model::{Base, Chain, Engine, Family, Policy, Set, Table};

use super::attributes::{Attributes, each, text};
use super::decode::{self, Place};
use super::family;
use super::socket::{Dump, NetfilterSocket, generation};
use super::uapi::{chain, data, element, message, rule, set, table};
use crate::NetfilterError;

/// How often a ruleset is read anew when it changes meanwhile.
const ATTEMPTS: u32 = 10;

/// Reads everything; sets of tables named `own` only.
///
/// A transaction counts the generation up a moment before or after its objects come into force:
/// without waiting for that moment to pass, two halves of two rulesets could look like one.
pub(super) fn read(socket: &mut NetfilterSocket, own: &str) -> Result<Vec<Table>, NetfilterError> {
    for _ in 0..ATTEMPTS {
        let before = generation(socket)?;
        socket.settle()?;
        let mut ruleset = Ruleset::default();
        let dump = ruleset.read(socket, own);
        socket.settle()?;
        if generation(socket)? == before
            && let Dump::Whole = dump?
        {
            return Ok(ruleset.tables.into_iter().map(|one| one.table).collect());
        }
    }
    Err(NetfilterError::Busy(ATTEMPTS))
}

/// A table that is being read.
struct Growing {
    table: Table,
    /// Its chains are not hooked.
    dormant: bool,
    chains: HashMap<String, usize>,
    /// Names of its sets of addresses.
    addresses: Vec<String>,
}

#[derive(Default)]
struct Ruleset {
    tables: Vec<Growing>,
}

impl Ruleset {
    fn read(&mut self, socket: &mut NetfilterSocket, own: &str) -> Result<Dump, NetfilterError> {
        let mut dumps = vec![
            socket.dump(
                message::GET_TABLE,
                0,
                |_| {},
                |family, it| {
                    self.table(family, it);
                    Ok(())
                },
            )?,
            self.read_sets(socket, own)?,
        ];
        dumps.push(socket.dump(
            message::GET_CHAIN,
            0,
            |_| {},
            |family, it| self.chain(family, it),
        )?);
        dumps.push(socket.dump(
            message::GET_RULE,
            0,
            |_| {},
            |family, it| self.rule(family, it),
        )?);
        let whole = dumps.iter().all(|dump| *dump == Dump::Whole);
        Ok(if whole { Dump::Whole } else { Dump::Interrupted })
    }

    fn table(&mut self, family: u8, about: &Attributes) {
        let table = Table {
            engine: Engine::NfTables,
            family: family::of(family),
            name: about.text(table::NAME),
            sets: Vec::new(),
            chains: Vec::new(),
        };
        let dormant = about.number(table::FLAGS).unwrap_or_default() & table::DORMANT != 0;
        let (chains, addresses) = (HashMap::new(), Vec::new());
        self.tables.push(Growing { table, dormant, chains, addresses });
    }

    /// The table that something belongs to; `None` when it came after the tables were read.
    fn find(&mut self, family: u8, name: &[u8]) -> Option<&mut Growing> {
        let family = family::of(family);
        let name = name.strip_suffix(&[0]).unwrap_or(name);
        self.tables
            .iter_mut()
            .find(|one| one.table.family == family && one.table.name.as_bytes() == name)
    }

    fn read_sets(
        &mut self,
        socket: &mut NetfilterSocket,
        own: &str,
    ) -> Result<Dump, NetfilterError> {
        let mut dump = Dump::Whole;
        let ours = self.tables.iter_mut().filter(|one| one.table.name == own);
        for one in ours {
            if one.read_sets(socket)? == Dump::Interrupted {
                dump = Dump::Interrupted;
            }
        }
        Ok(dump)
    }

    fn chain(&mut self, family: u8, about: &Attributes) -> Result<(), NetfilterError> {
        let Some(one) = self.find(family, about.bytes(chain::TABLE)) else { return Ok(()) };
        let name = about.text(chain::NAME);
        let base = if one.dormant { None } else { base(one.table.family, about)? };
        one.chains.insert(name.clone(), one.table.chains.len());
        one.table.chains.push(Chain { name, base, rules: Vec::new() });
        Ok(())
    }

    fn rule(&mut self, family: u8, about: &Attributes) -> Result<(), NetfilterError> {
        let Some(one) = self.find(family, about.bytes(rule::TABLE)) else { return Ok(()) };
        let index = one.chains.get(&about.text(rule::CHAIN)).copied();
        let Some(chain) = index.and_then(|index| one.table.chains.get_mut(index)) else {
            return Ok(());
        };
        let place = Place { family: one.table.family, sets: &one.addresses };
        chain.rules.push(decode::rule(place, about)?);
        Ok(())
    }
}

fn base(family: Family, about: &Attributes) -> Result<Option<Base>, NetfilterError> {
    if about.get(chain::HOOK).is_none() {
        return Ok(None);
    }
    let hook = about.nested(chain::HOOK)?;
    let accepts = about.number(chain::POLICY).is_none_or(|policy| policy != 0);
    Ok(Some(Base {
        kind: about.text(chain::TYPE),
        hook: family::hook(family, hook.number(chain::HOOK_NUMBER).unwrap_or(u32::MAX)),
        priority: hook.number(chain::HOOK_PRIORITY).unwrap_or_default().cast_signed(),
        policy: if accepts { Policy::Accept } else { Policy::Drop },
        devices: devices(&hook)?,
    }))
}

fn devices(hook: &Attributes) -> Result<Vec<String>, NetfilterError> {
    let single = hook.get(chain::HOOK_DEVICE).map(text);
    let mut names = Vec::new();
    for one in each(hook.bytes(chain::HOOK_DEVICES)) {
        names.push(text(one?.1));
    }
    if names.is_empty() {
        names.extend(single);
    }
    Ok(names)
}

impl Growing {
    fn read_sets(&mut self, socket: &mut NetfilterSocket) -> Result<Dump, NetfilterError> {
        let number = family::number(self.table.family);
        let name = self.table.name.clone();
        let mut found = Vec::new();
        let mut dump = socket.dump(
            message::GET_SET,
            number,
            |to| to.text(set::TABLE, &name),
            |_, it| {
                found.push((it.text(set::NAME), is_of_addresses(it)));
                Ok(())
            },
        )?;
        for (set, addresses) in found {
            let (set, elements) = if addresses {
                let mut elements = Vec::new();
                let read = socket.dump(
                    message::GET_ELEMENTS,
                    number,
                    |to| {
                        to.text(element::TABLE, &name);
                        to.text(element::SET, &set);
                    },
                    |_, it| collect(it.bytes(element::LIST), &mut elements),
                )?;
                if read == Dump::Interrupted {
                    dump = Dump::Interrupted;
                }
                self.addresses.push(set.clone());
                elements.sort_unstable();
                elements.dedup();
                (set, elements)
            } else {
                (format!("{set} (not a plain set of IPv4 addresses)"), Vec::new())
            };
            self.table.sets.push(Set { name: set, elements });
        }
        Ok(dump)
    }
}

/// Plain addresses: no intervals, no map, nothing that expires.
fn is_of_addresses(about: &Attributes) -> bool {
    let plain = about.number(set::FLAGS).unwrap_or_default() == 0;
    plain
        && about.number(set::KEY_TYPE) == Some(set::TYPE_IPV4)
        && about.number(set::KEY_LEN) == Some(4)
}

fn collect(list: &[u8], elements: &mut Vec<Ipv4Addr>) -> Result<(), NetfilterError> {
    for one in each(list) {
        let (kind, value) = one?;
        if kind == data::ELEMENT {
            let key = Attributes::parse(value)?.value(element::KEY)?;
            let octets: [u8; 4] = key
                .try_into()
                .map_err(|_| NetfilterError::Malformed("an element of a set".into()))?;
            elements.push(octets.into());
        }
    }
    Ok(())
}
