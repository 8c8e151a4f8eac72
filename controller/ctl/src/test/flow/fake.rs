//! A cluster in memory: three nodes, a network that can be harmed, and a record of what is left.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::pending;
use std::net::IpAddr;

use serde_json::{Value, json};

use crate::test::cluster::{
    Cluster, ClusterError, Collection, Container, Output, Select, name, text,
};
use crate::test::objects::LABEL;
use crate::test::probe::wire::{Answer, Met, Question};

/// What is wrong with the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// Datagrams between these nodes are lost.
    UdpLost(&'static str, &'static str),
    /// Large packets towards this node are lost.
    SmallMtu(&'static str),
    /// What leaves this node has the node's address.
    Masquerades(&'static str),
    /// A pod never gets Ready.
    NeverReady(&'static str),
    /// Pods in the nodes' networks are forbidden.
    NoHosts,
    /// Nothing may be made.
    NoRights,
    /// No DNS.
    NoDns,
    /// Tartan is not installed.
    NoTartan,
    /// The agent on this node complains.
    Complains(&'static str),
    /// The agent on this node drops 7 packets whenever it is asked.
    Drops(&'static str),
    /// Commands in pods never end.
    Hangs,
    /// A policy engine that does its work.
    Enforces,
    /// One that forgets UDP.
    EnforcesTcpOnly,
    /// One that never takes a policy back.
    NeverForgets,
    /// The namespace never goes away.
    Stays,
}

/// The cluster.
#[derive(Default)]
pub(super) struct Fake {
    pub(super) faults: Vec<Fault>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    namespaces: Vec<Value>,
    pods: Vec<Value>,
    services: Vec<Value>,
    /// Whether the policy is there, and whether it ever was.
    policy: (bool, bool),
    dropped: u64,
}

const NODES: [&str; 3] = ["node1", "node2", "node3"];

impl Fake {
    pub(super) fn with(faults: &[Fault]) -> Self {
        Self { faults: faults.to_vec(), state: RefCell::default() }
    }

    /// The namespaces that are there.
    pub(super) fn namespaces(&self) -> Vec<String> {
        self.state.borrow().namespaces.iter().map(|one| name(one).to_owned()).collect()
    }

    /// A namespace that an earlier test left.
    pub(super) fn leave(&self, name: &str) {
        let left = json!({ "metadata": { "name": name } });
        self.state.borrow_mut().namespaces.push(left);
    }

    fn has(&self, fault: &Fault) -> bool {
        self.faults.contains(fault)
    }

    fn pods(&self) -> Vec<Value> {
        let pods = self.state.borrow().pods.clone();
        pods.into_iter().map(|pod| self.running(pod)).collect()
    }

    fn running(&self, mut pod: Value) -> Value {
        let own_name = name(&pod).to_owned();
        let node = node_number(text(&pod, "/spec/nodeName"));
        let last = if own_name.starts_with('a') { 2 } else { 3 };
        let host = format!("172.30.0.{node}");
        let address = if own_name.starts_with("host") {
            host.clone()
        } else {
            format!("10.244.{node}.{last}")
        };
        let never =
            self.faults.iter().any(|one| matches!(one, Fault::NeverReady(pod) if *pod == own_name));
        let ready = if never { "False" } else { "True" };
        pod["status"] = json!({
            "phase": "Running", "podIP": address, "hostIP": host,
            "conditions": [{ "type": "Ready", "status": ready }],
        });
        pod
    }

    fn agents() -> Vec<Value> {
        let agent = |node: &&str| {
            json!({
                "metadata": { "name": format!("agent-{node}") },
                "spec": { "nodeName": node },
                "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
            })
        };
        NODES.iter().map(agent).collect()
    }

    fn set(&self) -> Vec<Value> {
        if self.has(&Fault::NoTartan) {
            return Vec::new();
        }
        vec![json!({
            "metadata": { "name": "kube-tartan-ds", "namespace": "kube-tartan" },
            "spec": {
                "selector": { "matchLabels": { "app": "tartan" } },
                "template": { "spec": { "containers": [{ "name": "agent", "image": "i:1" }] } },
            },
        })]
    }

    /// The pods that may answer at an address, a Service's or a node's port.
    fn servers(&self, to: &str) -> Vec<Value> {
        let (host, port) = to.rsplit_once(':').unwrap_or_default();
        let pods = self.pods();
        let direct = pods
            .iter()
            .find(|pod| text(pod, "/status/podIP") == host && port != "30080" && port != "30081");
        if let Some(pod) = direct {
            return vec![pod.clone()];
        }
        let services = self.state.borrow().services.clone();
        let service = services.iter().find(|one| {
            text(one, "/spec/clusterIP") == host
                || name(one) == host
                || one["spec"]["ports"][0]["nodePort"].as_u64() == port.parse().ok()
        });
        let Some(service) = service else { return Vec::new() };
        let local = text(service, "/spec/externalTrafficPolicy") == "Local";
        let chosen = |pod: &&Value| {
            let labels = &pod["metadata"]["labels"];
            let wanted = service["spec"]["selector"].as_object().unwrap();
            wanted.iter().all(|(key, value)| labels[key] == *value)
                && (!local || text(pod, "/status/hostIP") == host)
        };
        pods.iter().filter(chosen).cloned().collect()
    }

    fn answer(&self, from: &Value, question: &Question) -> Answer {
        let lost = || Answer::failed("no answer");
        match question {
            Question::Tcp { to, times } => self.met(from, to, *times, false),
            Question::Udp { to, times, .. } => self.met(from, to, *times, true),
            Question::Sizes { to, .. } if self.is_small(to) => Answer::Sizes {
                mtu: 1450,
                right: 1,
                wrong: vec!["1422: no answer".into()],
                lost: BTreeSet::new(),
            },
            Question::Sizes { .. } => {
                Answer::Sizes { mtu: 1450, right: 8, wrong: Vec::new(), lost: BTreeSet::new() }
            }
            Question::Transfer { to, .. } if self.is_small(to) => lost(),
            Question::Transfer { .. } => Answer::Transferred,
            Question::Resolve { name } => self.resolve(name),
        }
    }

    fn is_small(&self, to: &str) -> bool {
        let Some(server) = self.servers(to).into_iter().next() else { return true };
        let node = text(&server, "/spec/nodeName");
        self.faults.iter().any(|fault| matches!(fault, Fault::SmallMtu(one) if *one == node))
    }

    fn met(&self, from: &Value, to: &str, times: u32, udp: bool) -> Answer {
        let servers = self.servers(to);
        let near = text(from, "/spec/nodeName");
        let mut met = Met { asked: times, ..Met::default() };
        for attempt in 0..times as usize {
            let server = servers.get(attempt % servers.len().max(1));
            match server.filter(|server| !self.stops(near, server, udp)) {
                Some(server) => *met.by.entry(name(server).to_owned()).or_default() += 1,
                None => *met.errors.entry("no answer".to_owned()).or_default() += 1,
            }
        }
        if !met.by.is_empty() {
            met.sources.insert(self.source(from));
        }
        Answer::Met(met)
    }

    fn source(&self, from: &Value) -> IpAddr {
        let node = text(from, "/spec/nodeName");
        let masquerades =
            self.faults.iter().any(|one| matches!(one, Fault::Masquerades(at) if *at == node));
        let pointer = if masquerades { "/status/hostIP" } else { "/status/podIP" };
        text(from, pointer).parse().unwrap()
    }

    fn stops(&self, near: &str, server: &Value, udp: bool) -> bool {
        let far = text(server, "/spec/nodeName");
        let lost =
            |fault: &Fault| matches!(fault, Fault::UdpLost(a, b) if udp && *a == near && *b == far);
        self.faults.iter().any(lost) || (name(server) == "b-0" && self.denies(udp))
    }

    fn denies(&self, udp: bool) -> bool {
        let (there, ever) = self.state.borrow().policy;
        let engine = |fault| self.has(&fault);
        (there && engine(Fault::Enforces))
            || (there && engine(Fault::EnforcesTcpOnly) && !udp)
            || (ever && engine(Fault::NeverForgets))
    }

    fn resolve(&self, wanted: &str) -> Answer {
        let first = wanted.split('.').next().unwrap_or_default();
        let services = self.state.borrow().services.clone();
        let Some(service) = services.iter().find(|one| name(one) == first) else {
            return Answer::failed("no such name");
        };
        let addresses: BTreeSet<IpAddr> = match text(service, "/spec/clusterIP") {
            "None" => {
                let pods = self.pods();
                let serves =
                    |pod: &&Value| pod["metadata"]["labels"]["tartan-test/serves"] == "yes";
                pods.iter()
                    .filter(serves)
                    .map(|pod| text(pod, "/status/podIP").parse().unwrap())
                    .collect()
            }
            address => [address.parse().unwrap()].into(),
        };
        Answer::Addresses { addresses }
    }

    fn agent_says(&self, pod: &str, command: &str) -> Value {
        let node = pod.trim_start_matches("agent-");
        if command == "drops" {
            let drops = self.faults.iter().any(|one| matches!(one, Fault::Drops(n) if *n == node));
            let mut state = self.state.borrow_mut();
            state.dropped += if drops { 7 } else { 0 };
            let packets = if drops { state.dropped } else { 0 };
            return json!({ "drops": [
                { "number": 1, "reason": "no-peer", "packets": packets, "remedy": "look at peers" },
            ] });
        }
        let complains =
            self.faults.iter().any(|one| matches!(one, Fault::Complains(n) if *n == node));
        let problems = if complains { json!(["the overlay is missing"]) } else { json!([]) };
        json!({ "agent": { "fast_path": { "effective": "on", "why": "nobody filters" } }, "problems": problems })
    }
}

fn node_number(name: &str) -> String {
    name.trim_start_matches("node").to_owned()
}

impl Cluster for Fake {
    async fn list(&self, of: &Collection, select: &Select) -> Result<Vec<Value>, ClusterError> {
        let state = || self.state.borrow();
        Ok(match (of, select) {
            (Collection::Nodes, _) => NODES
                .iter()
                .map(|node| {
                    json!({
                        "metadata": { "name": node },
                        "status": { "conditions": [{ "type": "Ready", "status": "True" }] },
                    })
                })
                .collect(),
            (Collection::DaemonSets, _) => self.set(),
            (Collection::Namespaces, Select::Fields(field)) => {
                let wanted = field.trim_start_matches("metadata.name=");
                state().namespaces.iter().filter(|one| name(one) == wanted).cloned().collect()
            }
            (Collection::Namespaces, select) => {
                assert_eq!(*select, Select::Labels(LABEL.to_owned()));
                state().namespaces.clone()
            }
            (Collection::Services(namespace), _) if namespace == "kube-system" => {
                if self.has(&Fault::NoDns) { Vec::new() } else { vec![json!({})] }
            }
            (Collection::Pods(namespace), _) if namespace == "kube-tartan" => Self::agents(),
            (Collection::Pods(_), _) => self.pods(),
            (Collection::Services(_), _) => state().services.clone(),
            (Collection::Events(_) | Collection::NetworkPolicies(_), _) => Vec::new(),
        })
    }

    async fn create(&self, of: &Collection, object: &Value) -> Result<Value, ClusterError> {
        let host = object["spec"]["hostNetwork"] == true;
        if self.has(&Fault::NoRights) || (host && self.has(&Fault::NoHosts)) {
            let (what, message) = (format!("create {}", of.name()), "no".to_owned());
            return Err(ClusterError::Refused { what, code: 403, message });
        }
        let mut object = object.clone();
        let mut state = self.state.borrow_mut();
        match of {
            Collection::Namespaces => state.namespaces.push(object.clone()),
            Collection::Pods(_) => state.pods.push(object.clone()),
            Collection::Services(_) => {
                let number = state.services.len();
                if text(&object, "/spec/clusterIP").is_empty() {
                    object["spec"]["clusterIP"] = json!(format!("10.96.0.{}", number + 10));
                }
                if text(&object, "/spec/type") == "NodePort" {
                    let port = if name(&object) == "node-port" { 30_080 } else { 30_081 };
                    object["spec"]["ports"][0]["nodePort"] = json!(port);
                    object["spec"]["ports"][1]["nodePort"] = json!(port);
                }
                state.services.push(object.clone());
            }
            Collection::NetworkPolicies(_) => state.policy = (true, true),
            Collection::Nodes | Collection::DaemonSets | Collection::Events(_) => {}
        }
        Ok(object)
    }

    async fn delete(&self, of: &Collection, wanted: &str) -> Result<(), ClusterError> {
        let mut state = self.state.borrow_mut();
        match of {
            Collection::Namespaces if self.has(&Fault::Stays) => {}
            Collection::Namespaces => state.namespaces.retain(|one| name(one) != wanted),
            Collection::NetworkPolicies(_) => state.policy.0 = false,
            Collection::Nodes
            | Collection::DaemonSets
            | Collection::Pods(_)
            | Collection::Services(_)
            | Collection::Events(_) => panic!("{wanted} is not for the test to delete"),
        }
        Ok(())
    }

    async fn exec(&self, at: &Container, command: &[String]) -> Result<Output, ClusterError> {
        let output = |stdout: String| Output { stdout, stderr: String::new(), success: true };
        if at.namespace == "kube-tartan" {
            return Ok(output(self.agent_says(&at.pod, &command[1]).to_string()));
        }
        if self.has(&Fault::Hangs) {
            return pending().await;
        }
        let from = self.pods().into_iter().find(|pod| name(pod) == at.pod).unwrap();
        let questions: Vec<Question> = serde_json::from_str(&command[3]).unwrap();
        let answers: Vec<_> = questions.iter().map(|one| self.answer(&from, one)).collect();
        Ok(output(serde_json::to_string(&answers).unwrap()))
    }
}
