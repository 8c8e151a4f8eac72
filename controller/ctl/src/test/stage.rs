//! Sets the stage: the namespace, the Services and the pods, and waits until the probes serve.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::check::Finding;
use super::cluster::{Cluster, ClusterError, Collection, Select, condition, items, name, text};
use super::ground::{Ground, Member, Probe, Protocol, Service, index};
use super::objects::{Kit, Role};
use super::outcome::Done;

/// How long pods may take to get Ready.
const READY: Duration = Duration::from_mins(2);
/// How long the namespace's service account, without which no pod is made, may take.
const ACCOUNT: Duration = Duration::from_secs(20);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(500);
/// Requests under way at once.
const AT_ONCE: usize = 16;

/// What is to be made.
#[derive(Debug, Clone)]
pub(crate) struct Stage {
    pub(crate) kit: Kit,
    /// The nodes, by number.
    pub(crate) nodes: Vec<String>,
    /// Whether a scenario needs probes in the nodes' networks.
    pub(crate) with_hosts: bool,
}

/// What was made.
#[derive(Debug, Default)]
pub(crate) struct Made {
    pub(crate) services: BTreeMap<String, Service>,
    /// Why there are no probes in the nodes' networks, if they were wanted.
    pub(crate) no_hosts: Option<String>,
    /// The pods that there should be.
    expected: BTreeSet<String>,
}

impl Stage {
    /// Makes the namespace.
    pub(crate) async fn namespace(&self, cluster: &impl Cluster) -> Result<()> {
        let namespace = self.kit.namespace(self.with_hosts);
        cluster.create(&Collection::Namespaces, &namespace).await?;
        Ok(())
    }

    /// Makes the Services and the pods.
    pub(crate) async fn fill(&self, cluster: &impl Cluster) -> Result<Made> {
        let mut made = Made::default();
        let services = self.kit.services(self.nodes.len());
        let place = Collection::Services(self.kit.namespace.clone());
        for service in each(cluster, &place, &services).await {
            let service = service_of(&service.context("the test needs its Services")?);
            made.services.insert(service.name.clone(), service);
        }
        self.pods(cluster, &[Role::A, Role::B], &mut made).await?;
        if self.with_hosts {
            let allowed = self.pods(cluster, &[Role::Host], &mut made).await;
            made.no_hosts = refusal(allowed)?;
        }
        Ok(made)
    }

    async fn pods(&self, cluster: &impl Cluster, roles: &[Role], made: &mut Made) -> Result<()> {
        let mut pods = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            pods.extend(roles.iter().map(|role| self.kit.pod(*role, index, node)));
        }
        let place = Collection::Pods(self.kit.namespace.clone());
        // The first one waits for what the namespace needs, the others go at once.
        let (first, rest) = pods.split_first().context("there is no node")?;
        patiently(cluster, &place, first).await?;
        for pod in each(cluster, &place, rest).await {
            pod?;
        }
        made.expected.extend(pods.iter().map(|pod| name(pod).to_owned()));
        Ok(())
    }

    /// Waits for the probes, and makes the ground of those that serve.
    pub(crate) async fn ready(&self, cluster: &impl Cluster, made: &Made) -> (Done, Ground) {
        let start = Instant::now();
        loop {
            let pods = self.look(cluster).await;
            let ready = |pod: &Value| condition(pod, "Ready");
            let up = pods.iter().filter(|pod| ready(pod)).count();
            if up == made.expected.len() || start.elapsed() >= READY || hopeless(&pods) {
                return self.judge(cluster, made, &pods).await;
            }
            sleep(PAUSE).await;
        }
    }

    /// The pods as they are; none where the API server does not answer, which may pass.
    async fn look(&self, cluster: &impl Cluster) -> Vec<Value> {
        let place = Collection::Pods(self.kit.namespace.clone());
        cluster.list(&place, &Select::All).await.unwrap_or_default()
    }

    async fn judge(&self, cluster: &impl Cluster, made: &Made, pods: &[Value]) -> (Done, Ground) {
        let up = pods.iter().filter(|pod| condition(pod, "Ready"));
        let ready: BTreeMap<_, _> = up.map(|pod| (name(pod).to_owned(), pod)).collect();
        let mut findings = Vec::new();
        for missing in made.expected.iter().filter(|pod| !ready.contains_key(*pod)) {
            let pod = pods.iter().find(|pod| name(pod) == missing);
            findings.push(self.missing(cluster, missing, pod).await);
        }
        let ground = Ground {
            namespace: self.kit.namespace.clone(),
            members: self.members(&ready),
            services: made.services.clone(),
        };
        let notes = vec![format!("{} of {} pods", ready.len(), made.expected.len())];
        (Done::by(findings, notes), ground)
    }

    fn probe(&self, pod: &Value) -> Option<Probe> {
        let role = text(pod, "/metadata/labels/tartan-test~1role");
        let role = Role::ALL.into_iter().find(|one| one.name() == role)?;
        Some(Probe {
            name: name(pod).to_owned(),
            node: text(pod, "/spec/nodeName").to_owned(),
            address: text(pod, "/status/podIP").parse().ok()?,
            port: self.kit.port(role),
        })
    }

    /// Nodes both of whose pods are Ready.
    fn members(&self, ready: &BTreeMap<String, &Value>) -> Vec<Member> {
        let pod = |role, index| ready.get(&Kit::pod_name(role, index));
        let probe = |role, index| self.probe(pod(role, index)?);
        let member = |(index, node): (usize, &String)| {
            let address = text(pod(Role::A, index)?, "/status/hostIP").parse().ok()?;
            let pair = [probe(Role::A, index)?, probe(Role::B, index)?];
            Some(Member { node: node.clone(), address, pair, host: probe(Role::Host, index) })
        };
        self.nodes.iter().enumerate().filter_map(member).collect()
    }

    async fn missing(&self, cluster: &impl Cluster, missing: &str, pod: Option<&Value>) -> Finding {
        let node = index(missing).and_then(|index| self.nodes.get(index));
        let node = node.map(String::as_str).unwrap_or_default();
        let Some(pod) = pod else {
            return Finding::about(node, format!("{missing} ({node}): the pod is gone"));
        };
        let event = last_warning(cluster, &self.kit.namespace, missing).await;
        let why = event.unwrap_or_else(|| state(pod));
        Finding::about(node, format!("{missing} ({node}) is not Ready: {why}"))
    }
}

/// Makes several objects, several at once.
async fn each(
    cluster: &impl Cluster,
    place: &Collection,
    objects: &[Value],
) -> Vec<Result<Value, ClusterError>> {
    let create = async |object| cluster.create(place, object).await;
    stream::iter(objects.iter().map(create)).buffered(AT_ONCE).collect().await
}

/// Makes a pod as soon as its namespace has a service account.
async fn patiently(
    cluster: &impl Cluster,
    place: &Collection,
    pod: &Value,
) -> Result<(), ClusterError> {
    let start = Instant::now();
    loop {
        match cluster.create(place, pod).await {
            Ok(_) => return Ok(()),
            Err(error) if !is_early(&error) || start.elapsed() >= ACCOUNT => return Err(error),
            Err(_) => sleep(PAUSE).await,
        }
    }
}

fn is_early(error: &ClusterError) -> bool {
    error.is_forbidden() && error.to_string().contains("serviceaccount")
}

/// Why such pods are not allowed; other errors remain errors.
fn refusal(made: Result<()>) -> Result<Option<String>> {
    let Err(error) = made else { return Ok(None) };
    match error.downcast_ref::<ClusterError>() {
        Some(refused) if refused.is_forbidden() => {
            Ok(Some(format!("pods in the nodes' networks are not allowed here ({refused})")))
        }
        _ => Err(error),
    }
}

/// Whether pods have ended that never end by themselves, and the others are Ready.
fn hopeless(pods: &[Value]) -> bool {
    let ended = |pod: &Value| text(pod, "/status/phase") == "Failed";
    pods.iter().any(ended) && pods.iter().all(|pod| ended(pod) || condition(pod, "Ready"))
}

fn service_of(object: &Value) -> Service {
    let mut node_ports = BTreeMap::new();
    for port in items(object, "/spec/ports") {
        let protocol = Protocol::ALL.into_iter().find(|one| one.name() == text(port, "/protocol"));
        let number = port["nodePort"].as_u64().and_then(|number| u16::try_from(number).ok());
        if let (Some(protocol), Some(number)) = (protocol, number) {
            node_ports.insert(protocol, number);
        }
    }
    let address = text(object, "/spec/clusterIP").parse().ok();
    Service { name: name(object).to_owned(), address, node_ports }
}

/// What the kubelet says about a pod that does not start.
async fn last_warning(cluster: &impl Cluster, namespace: &str, pod: &str) -> Option<String> {
    let select = Select::Fields(format!("involvedObject.name={pod},type=Warning"));
    let events = cluster.list(&Collection::Events(namespace.to_owned()), &select).await.ok()?;
    let newest = events.iter().max_by_key(|event| text(event, "/lastTimestamp").to_owned())?;
    Some(format!("{}: {}", text(newest, "/reason"), text(newest, "/message")))
}

/// What the pod's status says.
fn state(pod: &Value) -> String {
    let phase = text(pod, "/status/phase");
    let reason = [
        text(pod, "/status/message"),
        text(pod, "/status/containerStatuses/0/state/terminated/message"),
        text(pod, "/status/containerStatuses/0/state/waiting/message"),
        text(pod, "/status/containerStatuses/0/state/waiting/reason"),
    ];
    let reason = reason.into_iter().find(|text| !text.is_empty());
    match reason {
        Some(reason) => format!("{phase}: {}", reason.trim()),
        None if phase == "Running" => "it runs, and the kubelet cannot reach it".to_owned(),
        None => phase.to_owned(),
    }
}
