//! What the store does when its server does not.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;
use tartan_agent::store::LeaseStore as _;
use tartan_core::Timestamp;
use tokio::time::sleep;

use super::{Bench, Promise};
use crate::NodeSpec;
use crate::node::node_name;
use crate::suite::agent::Agent;

pub(super) const PROMISES: &[Promise] = &[
    Promise { name: "a restart of the server costs nothing", run: |b| Box::pin(restart(b)) },
    Promise {
        name: "a revision that the server forgot costs a list",
        run: |b| Box::pin(forgotten(b)),
    },
    Promise {
        name: "a server that says nothing is trouble, and forgotten when it speaks",
        run: |b| Box::pin(silent(b)),
    },
    Promise { name: "a server that is not there is waited for", run: |b| Box::pin(late_server(b)) },
];

async fn restart(bench: &Bench<'_>) -> Result<()> {
    bench.cluster(3).await?;
    let agent = Agent::start(bench.api)?;
    agent.until_list("three peers", |list| list.leases.len() == 3).await?;
    let before = agent.store.list().await?;
    bench.api.kill().await?;
    sleep(Duration::from_millis(300)).await;
    ensure!(agent.store.list().await? == before, "an outage changed the list");
    bench.api.start().await?;
    bench.delete(&node_name(2)).await?;
    bench.create(&NodeSpec::numbered(4)).await?;
    agent.until_like(&bench.nodes().await?).await
}

async fn forgotten(bench: &Bench<'_>) -> Result<()> {
    bench.cluster(3).await?;
    let agent = Agent::start(bench.api)?;
    agent.until_list("three peers", |list| list.leases.len() == 3).await?;
    // Writes that no watch of nodes tells of carry the store away from what the agent knows.
    let run = Timestamp::now().unix_seconds();
    for number in 0..5 {
        let event = json!({
            "metadata": { "name": format!("filler.{number}.{run}") },
            "involvedObject": { "kind": "Node", "name": "filler" },
            "reason": "Filler", "message": "m", "type": "Normal",
        });
        bench.raw.post("/api/v1/namespaces/default/events", &event).await?.ok()?;
    }
    bench.api.compact().await?;
    bench.api.kill().await?;
    bench.api.start().await?;
    bench.delete(&node_name(1)).await?;
    bench.create(&NodeSpec::numbered(5)).await?;
    agent.until_like(&bench.nodes().await?).await
}

async fn silent(bench: &Bench<'_>) -> Result<()> {
    bench.cluster(2).await?;
    let agent = Agent::start(bench.api)?;
    agent.until_list("two peers", |list| list.leases.len() == 2).await?;
    ensure!(agent.store.standing().trouble.is_none(), "trouble without a cause");
    let before = agent.store.list().await?;
    bench.api.freeze().await?;
    let troubled = agent.until("trouble", async || agent.store.standing().trouble.is_some()).await;
    let during = agent.store.list().await?;
    bench.api.thaw().await?;
    troubled?;
    ensure!(during == before, "silence changed the list");
    bench.delete(&node_name(1)).await?;
    agent.until_list("one peer", |list| list.leases.len() == 1).await?;
    agent.until("no trouble", async || agent.store.standing().trouble.is_none()).await
}

async fn late_server(bench: &Bench<'_>) -> Result<()> {
    bench.cluster(2).await?;
    bench.api.kill().await?;
    let agent = Agent::start(bench.api)?;
    sleep(Duration::from_millis(300)).await;
    ensure!(agent.store.list().await.is_err(), "a list out of nothing");
    bench.api.start().await?;
    agent.until_list("two peers", |list| list.leases.len() == 2).await
}
