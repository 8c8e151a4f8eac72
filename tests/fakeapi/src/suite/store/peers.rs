//! What the store tells of the other nodes.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;
use tartan_agent::store::{LeaseStore as _, Snapshot};
use tartan_core::Lease6;
use tartan_core::conflict::{Observer, peers};

use super::{Bench, Promise, path};
use crate::NodeSpec;
use crate::node::{self, flannel, heartbeat, node_name};
use crate::suite::agent::{Agent, backend, net_conf};
use crate::suite::raw::{MERGE, STRATEGIC};

pub(super) const PROMISES: &[Promise] = &[
    Promise {
        name: "the first list comes whole, however many its pages",
        run: |b| Box::pin(pages(b)),
    },
    Promise { name: "nodes that come, change and go are seen", run: |b| Box::pin(changes(b)) },
    Promise { name: "status updates change nothing", run: |b| Box::pin(heartbeats(b)) },
    Promise { name: "a node made anew has its new subnet only", run: |b| Box::pin(made_anew(b)) },
    Promise {
        name: "of two nodes with one subnet the older claim holds",
        run: |b| Box::pin(duplicate(b)),
    },
    Promise {
        name: "a family that is missing or nonsense costs the other nothing",
        run: |b| Box::pin(families(b)),
    },
    Promise {
        name: "a node whose data are nonsense is named and costs no other",
        run: |b| Box::pin(nonsense(b)),
    },
    Promise { name: "a subnet that comes later is seen", run: |b| Box::pin(late_subnet(b)) },
];

fn has(list: &Snapshot, node: &str, subnet: &str) -> bool {
    let mut leases = list.leases.iter();
    leases.any(|lease| lease.node_name == node && lease.subnet.to_string() == subnet)
}

async fn pages(bench: &Bench<'_>) -> Result<()> {
    bench.cluster(7).await?;
    let agent = Agent::start(bench.api)?;
    agent.until_like(&bench.nodes().await?).await?;
    let list = agent.store.list().await?;
    ensure!(list.leases.len() == 7, "{} leases", list.leases.len());
    for (index, lease) in (1..).zip(&list.leases) {
        ensure!(lease.subnet.to_string() == node::subnet(index), "{lease:?}");
        ensure!(lease.vtep_mac() == backend(&node::vtep_mac(index))?.vtep_mac(), "{lease:?}");
    }
    Ok(())
}

async fn changes(bench: &Bench<'_>) -> Result<()> {
    bench.cluster(2).await?;
    let agent = Agent::start(bench.api)?;
    agent.until_list("two peers", |list| list.leases.len() == 2).await?;
    bench.create(&NodeSpec::numbered(3)).await?;
    agent.until_list("the third", |list| has(list, &node_name(3), &node::subnet(3))).await?;
    let mac = backend("0a:58:00:00:99:99")?;
    let data = [(&*flannel("backend-data"), Some(&*mac.data()))];
    bench.annotate(&node_name(1), &data).await?;
    let moved =
        |list: &Snapshot| list.leases.iter().any(|lease| lease.vtep_mac() == mac.vtep_mac());
    agent.until_list("its new MAC", moved).await?;
    bench.delete(&node_name(2)).await?;
    agent.until_like(&bench.nodes().await?).await
}

async fn heartbeats(bench: &Bench<'_>) -> Result<()> {
    bench.cluster(2).await?;
    let agent = Agent::start(bench.api)?;
    agent.until_list("two peers", |list| list.leases.len() == 2).await?;
    agent.settle().await;
    for second in 10..30 {
        let patch = heartbeat(&format!("2026-01-01T00:00:{second}Z"));
        let status = format!("{}/status", path(&node_name(1 + second % 2)));
        bench.raw.patch(&status, STRATEGIC, &patch).await?.ok()?;
    }
    ensure!(!agent.stirs_within(Duration::from_millis(500)).await, "a heartbeat was a change");
    // It does listen.
    bench.delete(&node_name(1)).await?;
    agent.until_list("one is gone", |list| list.leases.len() == 1).await
}

async fn made_anew(bench: &Bench<'_>) -> Result<()> {
    bench.cluster(2).await?;
    let agent = Agent::start(bench.api)?;
    agent.until_list("two peers", |list| list.leases.len() == 2).await?;
    bench.delete(&node_name(1)).await?;
    let anew = NodeSpec { pod_cidrs: vec!["10.64.77.0/24".into()], ..NodeSpec::numbered(1) };
    bench.create(&anew).await?;
    let right = |list: &Snapshot| {
        has(list, &node_name(1), "10.64.77.0/24") && !has(list, &node_name(1), &node::subnet(1))
    };
    agent.until_list("the new subnet", right).await?;
    agent.until_like(&bench.nodes().await?).await
}

async fn duplicate(bench: &Bench<'_>) -> Result<()> {
    bench.cluster(2).await?;
    // Claims are told apart by whole seconds.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let subnet = vec![node::subnet(1)];
    bench.create(&NodeSpec { pod_cidrs: subnet, ..NodeSpec::numbered(9) }).await?;
    let agent = Agent::start(bench.api)?;
    agent.until_list("three leases", |list| list.leases.len() == 3).await?;
    let (usable, refused) = judged(&agent).await?;
    ensure!(usable == [node_name(1), node_name(2)], "{usable:?}");
    ensure!(refused == [node_name(9)], "{refused:?}");
    bench.delete(&node_name(1)).await?;
    let gone = |list: &Snapshot| list.leases.iter().all(|lease| lease.node_name != node_name(1));
    agent.until_list("the holder is gone", gone).await?;
    let (usable, refused) = judged(&agent).await?;
    ensure!(usable == [node_name(9), node_name(2)] && refused.is_empty(), "{usable:?} {refused:?}");
    Ok(())
}

/// The names of those that are peers, and of those that are not.
async fn judged(agent: &Agent) -> Result<(Vec<String>, Vec<String>)> {
    let (own, conf) = (agent.hold().await?.v4.context("no IPv4 lease")?, net_conf()?);
    let observer = Observer {
        own: &own,
        network: conf.network().context("no IPv4")?,
        vni: conf.backend.vxlan().map(|tunnel| tunnel.vni),
    };
    let peers = peers(observer, &agent.store.list().await?.leases);
    let usable = peers.usable.into_iter().map(|peer| peer.node_name).collect();
    let refused = peers.refused.into_iter().map(|refused| refused.lease.node_name).collect();
    Ok((usable, refused))
}

async fn families(bench: &Bench<'_>) -> Result<()> {
    bench.cluster(0).await?;
    let both = |index: u32| NodeSpec::numbered(index).with_cidr(&format!("fd00:64:0:{index}::/64"));
    let address = "2001:db8::1".parse()?;
    let mac = "0a:58:00:00:66:01";
    bench.create(&both(1).published6(address, mac)).await?;
    let garbage = both(2).published6(address, mac).with_annotation(&flannel("public-ipv6"), "x");
    bench.create(&garbage).await?;
    bench.create(&both(3)).await?;
    let only6 = NodeSpec { pod_cidrs: vec!["fd00:64:0:4::/64".into()], ..both(4) };
    bench.create(&only6.published6("2001:db8::4".parse()?, mac)).await?;
    let garbage4 = both(5).published6("2001:db8::5".parse()?, mac);
    bench.create(&garbage4.with_annotation(&flannel("public-ip"), "300.1.1.1")).await?;
    let agent = Agent::start(bench.api)?;
    agent
        .until_list("three and four", |list| list.leases.len() == 3 && list.leases6.len() == 4)
        .await?;
    let list = agent.store.list().await?;
    let names = |names: Vec<&str>| names.join(" ");
    let v4 = names(list.leases.iter().map(|lease| &*lease.node_name).collect());
    let v6 = names(list.leases6.iter().map(|lease| &*lease.node_name).collect());
    ensure!(v4 == "node-00001 node-00002 node-00003", "{v4}");
    ensure!(v6 == "node-00001 node-00003 node-00004 node-00005", "{v6}");
    // A node that publishes nothing of IPv6 has its IPv6 pods behind its IPv4 address.
    let over_ipv4 = |lease: &&Lease6| lease.public_ip.to_ipv4_mapped().is_some();
    let crossed =
        names(list.leases6.iter().filter(over_ipv4).map(|lease| &*lease.node_name).collect());
    ensure!(crossed == "node-00003", "{crossed}");
    let faulty = |name: &str| list.faults.iter().any(|fault| fault.place.contains(name));
    ensure!(faulty("node-00002") && faulty("node-00005"), "{:?}", list.faults);
    Ok(())
}

async fn nonsense(bench: &Bench<'_>) -> Result<()> {
    bench.cluster(2).await?;
    let long = "x".repeat(100_000);
    for (index, data) in (10..).zip(["", "null", "{\"VNI\":1}", "\u{0}\u{1}", &*long]) {
        let node = NodeSpec::numbered(index).with_annotation(&flannel("backend-data"), data);
        bench.create(&node).await?;
    }
    let agent = Agent::start(bench.api)?;
    let right = |list: &Snapshot| list.leases.len() == 2 && list.faults.len() == 5;
    agent.until_list("two leases and five faults", right).await?;
    let data = node::backend_data(&node::vtep_mac(10));
    bench.annotate(&node_name(10), &[(&*flannel("backend-data"), Some(&*data))]).await?;
    agent.until_list("it is mended", |list| list.leases.len() == 3).await
}

async fn late_subnet(bench: &Bench<'_>) -> Result<()> {
    bench.cluster(1).await?;
    bench.create(&NodeSpec { pod_cidrs: Vec::new(), ..NodeSpec::numbered(2) }).await?;
    let agent = Agent::start(bench.api)?;
    agent.until_list("one peer", |list| list.leases.len() == 1).await?;
    let subnet = node::subnet(2);
    let patch = json!({ "spec": { "podCIDR": subnet, "podCIDRs": [subnet] } });
    bench.raw.patch(&path(&node_name(2)), MERGE, &patch).await?.ok()?;
    agent.until_list("its subnet", |list| has(list, &node_name(2), &subnet)).await
}
