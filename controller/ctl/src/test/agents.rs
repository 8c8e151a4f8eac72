//! Tartan's agents: whether they are well, and what they dropped since the test began.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use serde::Deserialize;
use serde_json::Value;

use super::check::Finding;
use super::cluster::{Cluster, Collection, Container, Select, condition, items, name, text};
use super::outcome::Done;
use super::survey::Tartan;

/// Dropped packets by reason.
type Drops = BTreeMap<String, Drop>;

/// As `tartanctl drops -o json` has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Drop {
    reason: String,
    packets: u64,
    remedy: String,
}

#[derive(Deserialize)]
struct Listing {
    drops: Vec<Drop>,
}

/// An agent's pod.
struct Agent {
    node: String,
    pod: String,
    ready: bool,
}

/// The agents of the nodes under test.
pub(crate) struct Agents {
    tartan: Option<Tartan>,
    nodes: Vec<String>,
    /// By node, as they were at the last look.
    drops: BTreeMap<String, Drops>,
}

impl Agents {
    /// Notes what was dropped until now.
    pub(crate) async fn new(
        cluster: &impl Cluster,
        tartan: Option<Tartan>,
        nodes: &[String],
    ) -> Self {
        let mut this = Self { tartan, nodes: nodes.to_vec(), drops: BTreeMap::new() };
        this.drops = this.count(cluster).await;
        this
    }

    /// What was dropped since this was asked the last time, or since the test began. Nothing
    /// where Tartan is not installed.
    pub(crate) async fn dropped(&mut self, cluster: &impl Cluster) -> Option<Vec<String>> {
        self.tartan.as_ref()?;
        let now = self.count(cluster).await;
        let mut grown = Vec::new();
        for (node, drops) in &now {
            // Without a first figure nothing can be said of growth.
            let Some(before) = self.drops.get(node) else { continue };
            grown.extend(growth(node, before, drops));
        }
        self.drops = now;
        Some(grown)
    }

    /// Runs the scenario `tartan-agents`; `dropped` is what grew since the test began.
    pub(crate) async fn run(&self, cluster: &impl Cluster, dropped: &[String]) -> Done {
        let Some(tartan) = &self.tartan else {
            return Done::skipped("there is no DaemonSet kube-tartan-ds in this cluster");
        };
        let agents = self.agents(cluster).await;
        let mut findings = Vec::new();
        for node in &self.nodes {
            match agents.iter().find(|agent| agent.node == *node) {
                None => findings.push(Finding::about(node, format!("{node} has no agent"))),
                Some(agent) if !agent.ready => {
                    let text = format!("{} ({node}) is not Ready", agent.pod);
                    findings.push(Finding::about(node, text));
                }
                Some(_) => {}
            }
        }
        let looked = join_all(
            agents
                .iter()
                .map(async |agent| (agent, status(cluster, &container(tartan, agent)).await)),
        );
        let mut ways: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (agent, status) in looked.await {
            findings.extend(status.problems.iter().map(|problem| {
                Finding::about(&agent.node, format!("{} ({}): {problem}", agent.pod, agent.node))
            }));
            if let Some(way) = status.fast_path {
                ways.entry(way).or_default().push(&agent.node);
            }
        }
        let mut notes: Vec<_> =
            ways.iter().map(|(way, nodes)| format!("{}: {way}", nodes.join(" "))).collect();
        notes.extend(dropped.iter().map(|line| format!("dropped during the test: {line}")));
        Done::by(findings, notes)
    }

    async fn count(&self, cluster: &impl Cluster) -> BTreeMap<String, Drops> {
        let Some(tartan) = &self.tartan else { return BTreeMap::new() };
        let agents = self.agents(cluster).await;
        let counted = join_all(agents.iter().map(async |agent| {
            let drops = drops(cluster, &container(tartan, agent)).await;
            Some((agent.node.clone(), drops?))
        }));
        counted.await.into_iter().flatten().collect()
    }

    /// The agents on the nodes under test; none where the API server does not tell.
    async fn agents(&self, cluster: &impl Cluster) -> Vec<Agent> {
        let Some(tartan) = &self.tartan else { return Vec::new() };
        let place = Collection::Pods(tartan.namespace.clone());
        let select = Select::Labels(tartan.selector.clone());
        let pods = cluster.list(&place, &select).await.unwrap_or_default();
        let agents = pods.iter().map(agent);
        agents.filter(|agent| self.nodes.contains(&agent.node)).collect()
    }
}

fn agent(pod: &Value) -> Agent {
    let node = text(pod, "/spec/nodeName").to_owned();
    Agent { node, pod: name(pod).to_owned(), ready: condition(pod, "Ready") }
}

fn container(tartan: &Tartan, agent: &Agent) -> Container {
    Container {
        namespace: tartan.namespace.clone(),
        pod: agent.pod.clone(),
        name: tartan.container.clone(),
    }
}

/// Runs a command of `tartanctl` beside the agent: its JSON, or why there is none.
async fn ask(cluster: &impl Cluster, at: &Container, command: &str) -> Result<Value, String> {
    let words = ["/bin/tartanctl", command, "--output=json"].map(str::to_owned);
    let output = cluster.exec(at, &words).await.map_err(|error| error.to_string())?;
    let said = format!("`tartanctl {command}` failed: {}", output.stderr.trim());
    serde_json::from_str(&output.stdout).map_err(|_| said)
}

async fn drops(cluster: &impl Cluster, at: &Container) -> Option<Drops> {
    let listing = serde_json::from_value::<Listing>(ask(cluster, at, "drops").await.ok()?).ok()?;
    Some(listing.drops.into_iter().map(|drop| (drop.reason.clone(), drop)).collect())
}

struct Status {
    problems: Vec<String>,
    /// Its mode and the reason for it.
    fast_path: Option<String>,
}

async fn status(cluster: &impl Cluster, at: &Container) -> Status {
    let status = match ask(cluster, at, "status").await {
        Ok(status) => status,
        Err(error) => return Status { problems: vec![error], fast_path: None },
    };
    let fast = |key: &str| text(&status, &format!("/agent/fast_path/{key}")).to_owned();
    let problems = items(&status, "/problems").filter_map(Value::as_str);
    Status {
        problems: problems.map(str::to_owned).collect(),
        fast_path: Some(format!("fast path {} ({})", fast("effective"), fast("why"))),
    }
}

fn growth(node: &str, before: &Drops, now: &Drops) -> Vec<String> {
    let mut grown = Vec::new();
    for drop in now.values() {
        let was = before.get(&drop.reason).map_or(0, |drop| drop.packets);
        let more = drop.packets.saturating_sub(was);
        if more > 0 {
            grown.push(format!("{node}: {more} x {}; {}", drop.reason, drop.remedy));
        }
    }
    grown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drops(packets: u64) -> Drops {
        let drop = Drop { reason: "not-ours".into(), packets, remedy: "look there".into() };
        [(drop.reason.clone(), drop)].into()
    }

    #[test]
    fn only_what_grew_is_told() {
        assert_eq!(growth("n", &drops(4), &drops(4)), Vec::<String>::new());
        assert_eq!(growth("n", &drops(4), &drops(9)), ["n: 5 x not-ours; look there"]);
        assert_eq!(growth("n", &Drops::new(), &drops(2)).len(), 1);
    }
}
