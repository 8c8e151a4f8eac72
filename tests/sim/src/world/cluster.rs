//! What operators, kubelets, other implementations and attackers do to Node objects.

use std::collections::BTreeMap;

use super::World;
use super::event::{Change, Event};
use crate::Ms;
use crate::api::PREFIX;
use crate::api::object::Object;
use crate::api::patch::OURS;

/// 2026-01-01T00:00:00Z.
const EPOCH: u64 = 1_767_225_600;

/// Texts that somebody may write into any annotation.
const HOSTILE: [&str; 22] = [
    "",
    "true",
    "TRUE",
    "null",
    "0.0.0.0",
    "127.0.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "10.244.1.1",
    "172.30.0.1",
    "172.30.0.2",
    "172.30.0.3",
    "2001:db8::1",
    "172.30.0.1; reboot",
    "host-gw",
    "\u{1b}[31m\r\n",
    r#"{"VNI":1,"VtepMAC":"ff:ff:ff:ff:ff:ff"}"#,
    r#"{"VNI":2,"VtepMAC":"02:00:00:00:00:99"}"#,
    r#"{"VNI":16777216,"VtepMAC":"02:00:00:00:00:99"}"#,
    r#"{"vtepmac":"02-00-00-00-00-99","More":[1]}"#,
    r#"{"VNI":1,"VtepMAC":""}"#,
    r#"{"VNI":1"#,
];

/// Subnets that no controller should give.
const BAD_CIDRS: [&str; 7] = [
    "10.245.1.0/24",
    "10.244.0.0/16",
    "10.244.7.7/24",
    "10.244.9.0/25",
    "0.0.0.0/0",
    "10.244.1.0",
    "x",
];

/// A Node object that is to be made.
#[derive(Debug, Clone)]
pub(super) struct NewNode {
    /// Its name.
    pub(super) name: String,
    /// Its subnets.
    pub(super) cidrs: Vec<String>,
    /// Its annotations.
    pub(super) annotations: BTreeMap<String, String>,
}

impl World {
    /// The kubelet registers the agent's Node, if it is not there.
    pub(super) fn register(&mut self, agent: usize) {
        let name = self.agents[agent].host.name.clone();
        if self.store.get(&name).is_none() {
            let cidr = self.free_cidr();
            self.create(NewNode { name, cidrs: vec![cidr], annotations: BTreeMap::new() });
        }
    }

    /// Makes a Node, unless there is one.
    pub(super) fn create(&mut self, node: NewNode) {
        if self.store.get(&node.name).is_some() {
            return;
        }
        let seconds = i64::try_from(EPOCH + self.now / 1000).unwrap_or_default() + self.skew;
        let object = Object {
            name: node.name,
            uid: format!("uid-{}", self.next_id()),
            created: u64::try_from(seconds).unwrap_or_default(),
            pod_cidrs: node.cidrs,
            annotations: node.annotations,
            beats: 0,
        };
        self.put(object);
    }

    /// The lowest /24 that no Node has; low numbers change hands often.
    pub(super) fn free_cidr(&mut self) -> String {
        let is_taken = |cidr: &String| {
            self.store
                .objects()
                .filter_map(|version| version.object.as_ref())
                .any(|object| object.pod_cidrs.contains(cidr))
        };
        let cidrs = (0..=255).map(|third| format!("10.244.{third}.0/24"));
        cidrs.into_iter().find(|cidr| !is_taken(cidr)).unwrap_or_default()
    }

    /// A subnet that some Node has.
    pub(super) fn taken_cidr(&mut self) -> Option<String> {
        let all: Vec<String> = self
            .store
            .objects()
            .filter_map(|version| version.object.as_ref()?.pod_cidrs.first().cloned())
            .collect();
        self.rng.pick(&all).cloned()
    }

    pub(super) fn bad_cidr(&mut self) -> String {
        self.rng.pick(&BAD_CIDRS).copied().unwrap_or_default().to_owned()
    }

    /// A Node of somebody else, with annotations like ours.
    pub(super) fn create_ghost(&mut self, cidr: String, after: Ms) {
        self.names += 1;
        let name = format!("ghost{:03}", self.names);
        self.ghosts.push(name.clone());
        let annotations = self.ghost_annotations();
        let node = NewNode { name, cidrs: vec![cidr], annotations };
        self.later(after, Change::Create(node));
    }

    fn ghost_annotations(&mut self) -> BTreeMap<String, String> {
        let last = self.rng.within(100..=130);
        let mac = self.rng.within(16..=40);
        BTreeMap::from([
            (format!("{PREFIX}kube-subnet-manager"), "true".to_owned()),
            (format!("{PREFIX}backend-type"), "vxlan".to_owned()),
            (format!("{PREFIX}public-ip"), format!("172.30.1.{last}")),
            (
                format!("{PREFIX}backend-data"),
                format!(r#"{{"VNI":1,"VtepMAC":"02:00:00:00:01:{mac:02x}"}}"#),
            ),
        ])
    }

    pub(super) fn any_ghost(&mut self) -> Option<String> {
        let there: Vec<String> =
            self.ghosts.iter().filter(|name| self.store.get(name).is_some()).cloned().collect();
        self.rng.pick(&there).cloned()
    }

    /// Any Node that is there, an agent's or not.
    pub(super) fn any_node(&mut self) -> Option<String> {
        let names: Vec<String> =
            self.store.objects().map(|version| version.name.to_string()).collect();
        self.rng.pick(&names).cloned()
    }

    /// Changes an annotation of a Node, or removes it.
    pub(super) fn annotate(&mut self, node: &str, name: &str, value: Option<&str>) {
        let Some(object) = self.store.get(node) else { return };
        let mut changed = (**object).clone();
        let key = format!("{PREFIX}{name}");
        match value {
            Some(value) => changed.annotations.insert(key, value.to_owned()),
            None => changed.annotations.remove(&key),
        };
        if changed != **object {
            self.put(changed);
        }
    }

    /// Somebody writes nonsense, or something dangerous, into an annotation of ours.
    pub(super) fn attack(&mut self, node: &str) {
        let text = match self.rng.below(12) {
            0 => "x".repeat(5000),
            1 => format!("172.30.0.{}", self.rng.within(1..=9)),
            _ => self.rng.pick(&HOSTILE).copied().unwrap_or_default().to_owned(),
        };
        if let Some(key) = self.rng.pick(&OURS) {
            self.annotate(node, key.name(), Some(&text));
        }
    }

    /// Somebody removes all annotations of a Node that are ours.
    pub(super) fn strip(&mut self, node: &str) {
        let Some(object) = self.store.get(node) else { return };
        let mut changed = (**object).clone();
        let is_ours =
            |name: &String| OURS.iter().any(|key| *name == format!("{PREFIX}{}", key.name()));
        changed.annotations.retain(|name, _| !is_ours(name));
        if changed != **object {
            self.put(changed);
        }
    }

    /// The kubelet says that it is alive.
    pub(super) fn beat(&mut self, node: &str) {
        let Some(object) = self.store.get(node) else { return };
        let mut changed = (**object).clone();
        changed.beats += 1;
        self.put(changed);
    }

    pub(super) fn later(&mut self, after: Ms, change: Change) {
        self.queue.push(self.now + after, Event::Later(change));
    }
}
