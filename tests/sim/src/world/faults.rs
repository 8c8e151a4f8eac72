//! What goes wrong, when, and how it ends.

use std::collections::BTreeMap;

use super::World;
use super::cluster::NewNode;
use super::event::{Change, Event};
use crate::Ms;

/// Clocks jump ahead up to so far.
const LONGEST_JUMP: Ms = 3_600_000;

impl World {
    pub(super) fn make_fault(&mut self) {
        if self.calm {
            return;
        }
        self.figures.faults += 1;
        let agent = self.rng.index(self.agents.len());
        match self.rng.below(24) {
            0..=2 => self.crash_for_a_while(agent),
            3..=4 => self.disconnect(agent),
            5 => self.slow_down(agent),
            6 => self.compact(),
            7 => self.freeze(),
            8 => self.jump_clocks(agent),
            9..=10 => self.replace_node(agent),
            11..=12 => self.hand_over(),
            13 => self.collide(),
            14 => self.attack_somebody(),
            15 => self.strip_somebody(),
            16..=17 => self.wish(agent),
            18 => self.move_ghost(),
            19 => self.beat_for_all(),
            20 => self.misbehave(),
            21 => self.break_watch(agent),
            22 => self.grow_or_shrink(),
            _ => self.move_agent(agent),
        }
        let pause = if self.rng.percent(30) { 200 } else { 4000 };
        let next = self.now + self.rng.within(1..=pause);
        self.queue.push(next, Event::Fault);
    }

    fn crash_for_a_while(&mut self, agent: usize) {
        let reboot = self.rng.percent(25);
        self.crash(agent, reboot);
        if self.rng.percent(30) {
            self.agents[agent].host.last_known = None;
        }
        let down = self.rng.within(10..=20_000);
        self.queue.push(self.now + down, Event::Start { agent });
    }

    fn disconnect(&mut self, agent: usize) {
        self.agents[agent].link.up = false;
        self.note(agent, || "is cut off");
        if self.rng.percent(50) {
            self.reset_watch(agent);
        }
        self.refresh_contact(agent);
        let down = self.rng.within(100..=120_000);
        self.later(down, Change::Connect { agent });
    }

    fn slow_down(&mut self, agent: usize) {
        self.agents[agent].link.slow = true;
        self.note(agent, || "has a slow link");
        self.refresh_contact(agent);
        let long = self.rng.within(1000..=20_000);
        self.later(long, Change::Hasten { agent });
    }

    fn compact(&mut self) {
        let back = self.rng.below(6);
        let revision = self.store.revision().saturating_sub(back);
        self.store.compacted = self.store.compacted.max(revision);
        self.trace.note(self.now, || format!("api    forgets what was before {revision}"));
        let agent = self.rng.index(self.agents.len());
        if self.rng.percent(50) {
            self.expire_watch(agent);
        }
    }

    fn freeze(&mut self) {
        let server = self.rng.index(2);
        self.servers[server].frozen = true;
        self.trace.note(self.now, || format!("api    server {server} lags"));
        for agent in 0..self.agents.len() {
            self.refresh_contact(agent);
        }
        let long = self.rng.within(500..=30_000);
        self.later(long, Change::Thaw { server });
    }

    fn jump_clocks(&mut self, agent: usize) {
        self.skew = i64::try_from(self.rng.below(7200)).unwrap_or_default() - 3600;
        self.agents[agent].ahead += self.rng.below(LONGEST_JUMP);
        self.note(agent, || "has a clock that jumps");
        let life = self.agents[agent].life;
        self.agents[agent].contact = None;
        self.queue.push(self.now, Event::Wake { agent, life });
    }

    /// The same name, another object; sometimes with another subnet, or one that cannot be used.
    fn replace_node(&mut self, agent: usize) {
        let name = self.agents[agent].host.name.clone();
        let old = self.store.get(&name).map(|object| object.pod_cidrs.clone()).unwrap_or_default();
        self.delete(&name);
        let cidrs = match self.rng.below(8) {
            0 => Vec::new(),
            1 => vec![self.bad_cidr()],
            2 => self.taken_cidr().into_iter().collect(),
            3..=5 => vec![self.free_cidr()],
            _ => old,
        };
        let after = if self.rng.percent(50) { 0 } else { self.rng.below(10_000) };
        self.later(after, Change::Create(NewNode { name, cidrs, annotations: BTreeMap::new() }));
    }

    /// One Node goes and another one gets its subnet, in either order.
    fn hand_over(&mut self) {
        let Some(old) = self.any_ghost() else { return self.grow_or_shrink() };
        let Some(object) = self.store.get(&old) else { return };
        let Some(cidr) = object.pod_cidrs.first().cloned() else { return };
        let (first, second) = (self.rng.below(3000), self.rng.below(3000));
        self.later(first, Change::Delete { name: old });
        self.create_ghost(cidr, second);
    }

    /// Two Nodes with one subnet.
    fn collide(&mut self) {
        if let Some(cidr) = self.taken_cidr() {
            self.create_ghost(cidr, 0);
        }
    }

    fn attack_somebody(&mut self) {
        if self.rng.percent(40) {
            let cidr = self.bad_cidr();
            self.create_ghost(cidr, 0);
        }
        let ghost = if self.rng.percent(70) { self.any_ghost() } else { None };
        if let Some(node) = ghost.or_else(|| self.any_node()) {
            self.attack(&node);
        }
    }

    fn strip_somebody(&mut self) {
        if let Some(node) = self.any_node() {
            self.strip(&node);
        }
    }

    /// The operator wants something of a node, or no longer.
    fn wish(&mut self, agent: usize) {
        let name = self.agents[agent].host.name.clone();
        let key = if self.rng.percent(70) { "public-ip-overwrite" } else { "node-public-ip" };
        let value = match self.rng.below(4) {
            0 => None,
            1 => Some("not an address".to_owned()),
            _ => Some(format!("203.0.113.{}", self.rng.within(1..=60))),
        };
        self.annotate(&name, key, value.as_deref());
    }

    /// Another implementation moves its node.
    fn move_ghost(&mut self) {
        let Some(node) = self.any_ghost() else { return };
        let last = self.rng.within(100..=130);
        if self.rng.percent(50) {
            self.annotate(&node, "public-ip", Some(&format!("172.30.1.{last}")));
        } else {
            let data = format!(r#"{{"VNI":1,"VtepMAC":"02:00:00:00:02:{last:02x}"}}"#);
            self.annotate(&node, "backend-data", Some(&data));
        }
    }

    fn beat_for_all(&mut self) {
        for _ in 0..self.rng.within(1..=5) {
            if let Some(node) = self.any_node() {
                self.beat(&node);
            }
        }
    }

    fn misbehave(&mut self) {
        self.errors = self.rng.within(10..=90);
        self.trace.note(self.now, || "api    answers with errors");
        let long = self.rng.within(500..=20_000);
        self.later(long, Change::Behave);
    }

    fn break_watch(&mut self, agent: usize) {
        self.note(agent, || "loses its connection");
        if self.rng.percent(30)
            && let Some(watch) = &mut self.agents[agent].watch
        {
            watch.stalled = true;
            self.refresh_contact(agent);
        } else {
            self.reset_watch(agent);
        }
    }

    fn grow_or_shrink(&mut self) {
        if self.rng.percent(60) {
            let cidr = self.free_cidr();
            self.create_ghost(cidr, 0);
        } else if let Some(node) = self.any_ghost() {
            self.delete(&node);
        }
    }

    /// The node's address changes.
    fn move_agent(&mut self, agent: usize) {
        let last = u8::try_from(self.rng.within(100..=250)).unwrap_or(100);
        self.agents[agent].host.address = std::net::Ipv4Addr::new(172, 30, 2, last);
        self.note(agent, || "has another address");
        self.pass_soon(agent, 20);
    }

    pub(super) fn undo(&mut self, change: Change) {
        match change {
            Change::Connect { agent } => self.connect(agent),
            Change::Hasten { agent } => {
                self.agents[agent].link.slow = false;
                self.refresh_contact(agent);
            }
            Change::Thaw { server } => self.thaw(server),
            Change::Behave => self.errors = 0,
            Change::Create(node) => self.create(node),
            Change::Delete { name } => self.delete(&name),
        }
    }

    /// Either the connection is found dead later, or TCP goes on with it.
    fn connect(&mut self, agent: usize) {
        let dead = self.rng.percent(30);
        let this = &mut self.agents[agent];
        if this.link.up {
            return;
        }
        this.link.up = true;
        if let Some(watch) = &mut this.watch {
            watch.stalled |= dead;
        }
        self.note(agent, || "is connected again");
        self.pump(agent);
        self.refresh_contact(agent);
    }

    fn thaw(&mut self, server: usize) {
        self.servers[server].frozen = false;
        self.catch_up(server, self.store.revision());
        for agent in 0..self.agents.len() {
            self.refresh_contact(agent);
        }
    }

    /// All faults end; what they left has to be found and repaired by the agents.
    pub(super) fn heal(&mut self) {
        self.calm = true;
        self.errors = 0;
        self.trace.note(self.now, || "all faults end");
        for server in 0..self.servers.len() {
            self.thaw(server);
        }
        for agent in 0..self.agents.len() {
            self.connect(agent);
            self.agents[agent].link.slow = false;
            self.refresh_contact(agent);
            self.queue.push(self.now + 1, Event::Start { agent });
            self.repair_node(agent);
        }
    }

    fn repair_node(&mut self, agent: usize) {
        let name = self.agents[agent].host.name.clone();
        let usable = |object: &crate::api::object::Object| {
            crate::oracle::naive::subnet_of(object)
                .is_some_and(|net| net.prefix_len() == 24 && crate::NETWORK.contains(&net))
        };
        if self.store.get(&name).is_some_and(|object| !usable(object)) {
            self.delete(&name);
        }
        // A replacement that is on its way must not bring a bad subnet back.
        self.register(agent);
    }
}
