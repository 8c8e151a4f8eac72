//! What the store does for its own node.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tartan_agent::store::{LeaseStore as _, Notice, NoticeKind, StoreError};
use tokio::time::{Instant, sleep};

use super::{Bench, Promise, own, path};
use crate::NodeSpec;
use crate::node::{backend_data, flannel};
use crate::suite::agent::{Agent, OWN, OWN_ADDRESS, OWN_MAC, OWN_SUBNET};
use crate::suite::raw::MERGE;

pub(super) const PROMISES: &[Promise] = &[
    Promise {
        name: "flannel's annotations are published byte for byte",
        run: |b| Box::pin(published(b)),
    },
    Promise { name: "both families are published", run: |b| Box::pin(both_families(b)) },
    Promise {
        name: "what somebody removes or alters is published again",
        run: |b| Box::pin(repaired(b)),
    },
    Promise { name: "an overwritten address is followed live", run: |b| Box::pin(overwritten(b)) },
    Promise {
        name: "without a podCIDR the node waits and says which flag to set",
        run: |b| Box::pin(no_cidr(b)),
    },
    Promise {
        name: "a node made anew under the agent's feet is published again",
        run: |b| Box::pin(made_anew(b)),
    },
    Promise { name: "what the node and its operator left is found", run: |b| Box::pin(wishes(b)) },
    Promise {
        name: "the condition is set once the node is ready, and not before",
        run: |b| Box::pin(condition(b)),
    },
    Promise {
        name: "the condition is set after an outage",
        run: |b| Box::pin(condition_after_outage(b)),
    },
    Promise { name: "an Event is visible at the node", run: |b| Box::pin(event(b)) },
];

const PATIENCE: Duration = Duration::from_secs(20);

/// Asks the server until its answer is right: what is written comes back by no event of ours.
async fn eventually(
    bench: &Bench<'_>,
    what: &str,
    right: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let end = Instant::now() + PATIENCE;
    loop {
        let node = bench.node(OWN).await?;
        if right(&node) {
            return Ok(node);
        }
        ensure!(Instant::now() < end, "{what}: not within {PATIENCE:?}: {}", node["metadata"]);
        sleep(Duration::from_millis(20)).await;
    }
}

fn annotation<'a>(node: &'a Value, name: &str) -> Option<&'a str> {
    node["metadata"]["annotations"][flannel(name)].as_str()
}

fn is_published(node: &Value) -> bool {
    annotation(node, "backend-data") == Some(&backend_data(OWN_MAC))
        && annotation(node, "backend-type") == Some("vxlan")
        && annotation(node, "kube-subnet-manager") == Some("true")
        && annotation(node, "public-ip") == Some(&OWN_ADDRESS.to_string())
}

async fn held(bench: &Bench<'_>) -> Result<Agent> {
    let agent = Agent::start(bench.api)?;
    agent.until_held("a lease", Result::is_ok).await?;
    eventually(bench, "published", is_published).await?;
    Ok(agent)
}

async fn published(bench: &Bench<'_>) -> Result<()> {
    bench.create(&own().with_annotation("example.org/mine", "{\"a\": 1}")).await?;
    let before = bench.node(OWN).await?;
    let agent = held(bench).await?;
    let lease = agent.hold().await?.v4.context("no IPv4 lease")?;
    ensure!(lease.subnet.to_string() == OWN_SUBNET && lease.public_ip == OWN_ADDRESS);
    let node = bench.node(OWN).await?;
    let ours = ["backend-data", "backend-type", "kube-subnet-manager", "public-ip"];
    let mut rest = node["metadata"]["annotations"].clone();
    let annotations = rest.as_object_mut().context("no annotations")?;
    annotations.retain(|key, _| !ours.iter().any(|name| *key == flannel(name)));
    ensure!(rest == before["metadata"]["annotations"], "other annotations changed: {rest}");
    ensure!(node["spec"] == before["spec"] && node["status"] == before["status"]);
    agent.until("it knows", async || agent.store.standing().published).await?;
    agent.until_list("it sees itself", |list| list.leases.contains(&lease)).await
}

async fn both_families(bench: &Bench<'_>) -> Result<()> {
    bench.create(&own().with_cidr("fd00:64:0:fe::/64")).await?;
    let agent = Agent::start(bench.api)?.dual_stack("2001:DB8:0::1".parse()?, OWN_MAC)?;
    agent.until_held("both leases", |held| held.as_ref().is_ok_and(|own| own.v6.is_some())).await?;
    let right = |node: &Value| {
        is_published(node)
            && annotation(node, "backend-v6-data") == Some(&backend_data(OWN_MAC))
            && annotation(node, "public-ipv6") == Some("2001:db8::1")
    };
    eventually(bench, "both families", right).await.map(drop)
}

async fn repaired(bench: &Bench<'_>) -> Result<()> {
    bench.create(&own()).await?;
    let _agent = held(bench).await?;
    bench.annotate(OWN, &[(&*flannel("backend-data"), None)]).await?;
    eventually(bench, "there again", is_published).await?;
    bench.annotate(OWN, &[(&*flannel("public-ip"), Some("203.0.113.9"))]).await?;
    eventually(bench, "right again", is_published).await?;
    bench.annotate(OWN, &[(&*flannel("kube-subnet-manager"), Some("false"))]).await?;
    eventually(bench, "true again", is_published).await.map(drop)
}

async fn overwritten(bench: &Bench<'_>) -> Result<()> {
    bench.create(&own()).await?;
    let agent = held(bench).await?;
    let overwrite = flannel("public-ip-overwrite");
    let overwrite = |value: Option<&'static str>| [(overwrite.clone(), value)];
    for (value, wanted) in [(Some("203.0.113.7"), "203.0.113.7"), (None, "192.0.2.1")] {
        let pairs = overwrite(value);
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| (&**key, *value)).collect();
        bench.annotate(OWN, &pairs).await?;
        let address = wanted.parse()?;
        let right = |held: &Result<_, _>| is_at(held, address);
        agent.until_held(wanted, right).await?;
        eventually(bench, wanted, |node| annotation(node, "public-ip") == Some(wanted)).await?;
    }
    Ok(())
}

/// The IPv4 lease, if the node holds one.
fn v4(held: &Result<tartan_agent::store::OwnLeases, StoreError>) -> Option<&tartan_core::Lease> {
    held.as_ref().ok().and_then(|own| own.v4.as_ref())
}

fn is_at(
    held: &Result<tartan_agent::store::OwnLeases, StoreError>,
    address: std::net::Ipv4Addr,
) -> bool {
    v4(held).is_some_and(|lease| lease.public_ip == address)
}

async fn no_cidr(bench: &Bench<'_>) -> Result<()> {
    bench.create(&NodeSpec { pod_cidrs: Vec::new(), ..own() }).await?;
    let agent = Agent::start(bench.api)?;
    let missing = |held: &Result<_, StoreError>| matches!(held, Err(StoreError::NoPodCidr { .. }));
    agent.until_held("no podCIDR", missing).await?;
    let error = agent.hold().await.err().context("a lease out of nothing")?;
    ensure!(error.to_string().contains("--allocate-node-cidrs"), "{error}");
    ensure!(annotation(&bench.node(OWN).await?, "public-ip").is_none(), "published too early");
    let patch = json!({ "spec": { "podCIDR": "10.64.3.0/24", "podCIDRs": ["10.64.3.0/24"] } });
    bench.raw.patch(&path(OWN), MERGE, &patch).await?.ok()?;
    agent.until_held("assigned", Result::is_ok).await?;
    eventually(bench, "published", is_published).await.map(drop)
}

async fn made_anew(bench: &Bench<'_>) -> Result<()> {
    bench.create(&own()).await?;
    let agent = held(bench).await?;
    bench.delete(OWN).await?;
    let gone = |held: &Result<_, StoreError>| matches!(held, Err(StoreError::NoNode { .. }));
    agent.until_held("no Node", gone).await?;
    bench.create(&NodeSpec { pod_cidrs: vec!["10.64.5.0/24".into()], ..own() }).await?;
    let right = |held: &Result<tartan_agent::store::OwnLeases, _>| {
        v4(held).is_some_and(|lease| lease.subnet.to_string() == "10.64.5.0/24")
    };
    agent.until_held("the new subnet", right).await?;
    eventually(bench, "published anew", is_published).await.map(drop)
}

async fn wishes(bench: &Bench<'_>) -> Result<()> {
    let node = own()
        .published("192.0.2.77".parse()?, "0a:58:00:00:77:77")
        .with_annotation(&flannel("node-public-ip"), "198.51.100.4");
    bench.create(&node).await?;
    let agent = Agent::start(bench.api)?;
    agent.until("an answer", async || agent.store.wishes(OWN).await.is_ok()).await?;
    let wishes = agent.store.wishes(OWN).await?;
    ensure!(wishes.public_ip == Some("198.51.100.4".parse()?), "{wishes:?}");
    ensure!(wishes.vtep_mac == Some("0a:58:00:00:77:77".parse()?), "{wishes:?}");
    Ok(())
}

fn unavailable(node: &Value) -> Option<&Value> {
    let mut conditions = node["status"]["conditions"].as_array()?.iter();
    conditions.find(|condition| condition["type"] == "NetworkUnavailable")
}

fn is_available(node: &Value) -> bool {
    unavailable(node).is_some_and(|condition| {
        condition["status"] == "False" && condition["reason"] == "FlannelIsUp"
    })
}

async fn condition(bench: &Bench<'_>) -> Result<()> {
    bench.create(&own()).await?;
    let agent = held(bench).await?;
    ensure!(unavailable(&bench.node(OWN).await?).is_none(), "set before the node was ready");
    agent.store.announce_ready();
    let node = eventually(bench, "the condition", is_available).await?;
    let others = node["status"]["conditions"].as_array().map_or(0, Vec::len);
    ensure!(others == 5, "{others} conditions: the kubelet's are not ours to touch");
    Ok(())
}

async fn condition_after_outage(bench: &Bench<'_>) -> Result<()> {
    bench.create(&own()).await?;
    let agent = held(bench).await?;
    bench.api.kill().await?;
    agent.store.announce_ready();
    sleep(Duration::from_millis(700)).await;
    bench.api.start().await?;
    eventually(bench, "the condition", is_available).await.map(drop)
}

async fn event(bench: &Bench<'_>) -> Result<()> {
    bench.create(&own()).await?;
    let agent = held(bench).await?;
    // The store of a real server may remember the events of another run.
    let text = format!("a text of {:?}: do something", Instant::now());
    let notice = Notice { kind: NoticeKind::LeaseRefused, text: text.clone() };
    agent.store.tell(notice.clone());
    agent.store.tell(notice);
    let end = Instant::now() + PATIENCE;
    let events = loop {
        let list = bench.raw.get("/api/v1/namespaces/default/events").await?.ok()?;
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let ours: Vec<_> = items.into_iter().filter(|event| event["message"] == *text).collect();
        if !ours.is_empty() {
            break ours;
        }
        ensure!(Instant::now() < end, "no Event within {PATIENCE:?}");
        sleep(Duration::from_millis(20)).await;
    };
    ensure!(events.len() == 1, "told {} times", events.len());
    let event = events.first().context("no Event")?;
    ensure!(event["reason"] == "LeaseRefused" && event["type"] == "Warning", "{event}");
    ensure!(event["involvedObject"]["name"] == OWN, "{event}");
    Ok(())
}
