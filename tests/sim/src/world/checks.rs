//! The invariants, continuously and at the end.

use std::net::Ipv4Addr;

use super::World;
use super::event::Event;
use crate::Ms;
use crate::api::object::Object;
use crate::oracle::naive::{self, Itself, annotation};
use crate::oracle::tables;

/// A second of an agent has no more passes than this, and no more requests.
const BUSY: (u64, u64) = (55, 30);
/// What an agent that hears everything may take.
const PROMPT: Ms = 2000;

impl World {
    /// Each second: nothing in the tables is older than it may be.
    pub(super) fn tick(&mut self) {
        for agent in 0..self.agents.len() {
            self.check_untouched(agent);
            self.check_busy(agent);
            if self.is_in_contact(agent) && self.holds(agent) {
                let since = self.now - PROMPT;
                let tables = &self.agents[agent].host.tables;
                if let Err(what) = tables::nothing_older(tables, &self.store, since) {
                    let name = self.agents[agent].host.name.clone();
                    self.violate("I3 nothing older than 2 s", format!("{name}: {what}"));
                }
            }
        }
        self.queue.push(self.now + 1000, Event::Tick);
    }

    /// Two seconds after a change without a further one, who hears everything has everything.
    pub(super) fn check_settled(&mut self, revision: u64) {
        if self.store.revision() != revision {
            return;
        }
        for agent in 0..self.agents.len() {
            if self.is_in_contact(agent) && !self.agents[agent].link.slow {
                self.compare(agent, "I1 the tables follow the API");
            }
        }
    }

    /// Everything is well and long since: everybody has everything.
    pub(super) fn check_the_end(&mut self) {
        for agent in 0..self.agents.len() {
            let name = self.agents[agent].host.name.clone();
            if self.agents[agent].contact.is_none() {
                self.violate("an agent finds back to the API", format!("{name} has no watch"));
            }
            if !self.holds(agent) {
                self.violate("an agent finds back to the API", format!("{name} holds nothing"));
            }
            self.compare(agent, "I1 the tables follow the API");
            self.check_published(agent);
        }
    }

    fn is_in_contact(&self, agent: usize) -> bool {
        self.agents[agent].contact.is_some_and(|since| since + PROMPT <= self.now)
    }

    fn holds(&self, agent: usize) -> bool {
        self.agents[agent].process.as_ref().is_some_and(|process| process.held.is_some())
    }

    fn compare(&mut self, agent: usize, promise: &'static str) {
        let Some((subnet, address)) = self.own_lease(agent) else { return };
        let this = &self.agents[agent];
        let Some(mac) = this.host.device else { return };
        let itself = Itself { name: &this.host.name, subnet, address, mac: mac.0 };
        self.figures.comparisons += 1;
        if let Err(what) = tables::equal_the_api(&this.host, itself, &self.store) {
            self.violate(promise, what);
        }
    }

    /// What the API gave the node.
    fn given_subnet(&self, agent: usize) -> Option<ipnet::Ipv4Net> {
        let object = self.store.get(&self.agents[agent].host.name)?;
        naive::subnet_of(object).filter(|net| crate::NETWORK.contains(net))
    }

    /// What the API gave the node and published for it; without that, what it holds.
    fn own_lease(&self, agent: usize) -> Option<(ipnet::Ipv4Net, Ipv4Addr)> {
        let held = self.agents[agent].process.as_ref()?.held.as_ref()?;
        Some(match self.given_subnet(agent) {
            Some(subnet) => (subnet, self.published_address(agent)),
            None => (held.subnet.net(), held.public_ip),
        })
    }

    /// What the node says its address is: the operator's word, or its own.
    fn published_address(&self, agent: usize) -> Ipv4Addr {
        let this = &self.agents[agent];
        let wish = |name| annotation(self.store.get(&this.host.name)?, name).parse().ok();
        wish("public-ip-overwrite").or_else(|| wish("node-public-ip")).unwrap_or(this.host.address)
    }

    /// The own annotations are what they should be, whatever happened to them.
    fn check_published(&mut self, agent: usize) {
        let this = &self.agents[agent];
        let (Some(object), Some(mac)) = (self.store.get(&this.host.name), this.host.device) else {
            return;
        };
        let wanted = [
            ("kube-subnet-manager", "true".to_owned()),
            ("backend-type", "vxlan".to_owned()),
            ("backend-data", format!(r#"{{"VNI":1,"VtepMAC":"{mac}"}}"#)),
            ("public-ip", self.published_address(agent).to_string()),
        ];
        let wrong = |object: &Object, (name, value): &(&str, String)| {
            let found = annotation(object, name);
            (found != value).then(|| format!("{}: {name} is {found:?}, not {value:?}", object.name))
        };
        if let Some(what) = wanted.iter().find_map(|pair| wrong(object, pair)) {
            self.violate("I4 own annotations are what they should be", what);
        }
    }

    /// Nothing makes an agent run in circles.
    fn check_busy(&mut self, agent: usize) {
        let (passes, requests) = std::mem::take(&mut self.agents[agent].busy);
        if passes > BUSY.0 || requests > BUSY.1 {
            let what =
                format!("agent {agent}: {passes} passes and {requests} requests in a second");
            self.violate("no agent runs in circles", what);
        }
    }

    /// Between passes nobody touches the tables, whatever the network does.
    fn check_untouched(&mut self, agent: usize) {
        let this = &self.agents[agent];
        let Some(process) = &this.process else { return };
        let Some(programmed) = &process.programmed else { return };
        if !this.host.tables.peers.keys().eq(programmed) {
            let name = this.host.name.clone();
            self.violate("forwarding goes on without the API", format!("{name}: entries are gone"));
        }
    }
}
