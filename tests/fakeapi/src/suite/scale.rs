//! What a large cluster costs its agents: the process that runs this holds the store and nothing
//! else, and says what it used.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tartan_agent::store::LeaseStore as _;
use tartan_agent::store::kube::Timing;
use tartan_common::Mtu;
use tartan_common::abi::FastPath;
use tartan_core::NetConf;
use tartan_core::conflict::{Observer, peers};
use tartan_core::desired::{Desired, HostFacts, NextHop, TunnelFacts, desired};

use super::agent::{Agent, OWN_ADDRESS, OWN_MAC, net_conf};
use super::api::ApiUnderTest;

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub struct Figures {
    /// Entries of the peer table.
    pub peers: usize,
    /// From the start of the store to the desired state, by the clock.
    pub elapsed: Duration,
    /// Of that, what this process worked: the server's share is not in it.
    pub worked: Duration,
    /// Resident memory once the desired state was there, in KiB.
    pub resident: u64,
    /// The most that it ever was, in KiB.
    pub most: u64,
    /// How often the store spoke of a change while only status updates came.
    pub stirs: u32,
    /// Entries that would have been written to the kernel meanwhile.
    pub writes: usize,
    /// What this process worked meanwhile.
    pub idle_work: Duration,
}

impl fmt::Display for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_json().fmt(formatter)
    }
}

impl Figures {
    /// As one object: seconds and KiB.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "peers": self.peers,
            "elapsed_s": self.elapsed.as_secs_f64(),
            "worked_s": self.worked.as_secs_f64(),
            "resident_kib": self.resident,
            "most_kib": self.most,
            "stirs": self.stirs,
            "writes": self.writes,
            "idle_work_s": self.idle_work.as_secs_f64(),
        })
    }
}

/// Lists `nodes` nodes, works out the desired state, and watches for `time`.
///
/// # Errors
/// When the store does not get there within a minute.
pub async fn measure(api: &dyn ApiUnderTest, nodes: usize, time: Duration) -> Result<Figures> {
    let (start, work) = (Instant::now(), worked()?);
    // As an agent has them: pages of 500, and time limits of a cluster.
    let agent = Agent::with(api, Timing::default())?;
    agent.until_list("all nodes", |list| list.leases.len() >= nodes).await?;
    let before = state(&agent).await?;
    let (elapsed, done) = (start.elapsed(), worked()?);
    let resident = memory("VmRSS:")?;
    agent.settle().await;
    let (stirs, idle_start) = (stirs(&agent, time).await, worked()?);
    let after = state(&agent).await?;
    ensure!(before.unreachable.is_empty(), "peers without a route");
    Ok(Figures {
        peers: before.peers.len(),
        elapsed,
        worked: done.saturating_sub(work),
        resident,
        most: memory("VmHWM:")?,
        stirs,
        writes: differences(&before, &after),
        idle_work: idle_start.saturating_sub(done),
    })
}

async fn stirs(agent: &Agent, time: Duration) -> u32 {
    let (end, mut count) = (Instant::now() + time, 0);
    while agent.stirs_within(end.saturating_duration_since(Instant::now())).await {
        count += 1;
    }
    count
}

async fn state(agent: &Agent) -> Result<Desired> {
    let conf = net_conf()?;
    let own = agent.hold().await?.v4.context("no IPv4 lease")?;
    let list = agent.store.list().await?;
    let observer = Observer {
        own: &own,
        network: conf.network().context("no IPv4")?,
        vni: conf.backend.vxlan().map(|tunnel| tunnel.vni),
    };
    let peers = peers(observer, &list.leases).usable;
    let next_hops: BTreeMap<Ipv4Addr, NextHop> = peers
        .iter()
        .map(|peer| (peer.public_ip, NextHop { via: peer.public_ip, ifindex: 2 }))
        .collect();
    Ok(desired(&conf, Some(&own), &peers, &facts(&conf, next_hops)?, FastPath::On))
}

fn facts(conf: &NetConf, next_hops: BTreeMap<Ipv4Addr, NextHop>) -> Result<HostFacts> {
    let network = conf.network().context("no IPv4")?;
    ensure!(!network.contains(&OWN_ADDRESS), "the node's address is a pod's");
    Ok(HostFacts {
        node: OWN_ADDRESS,
        uplink_ifindex: 2,
        link_mtu: Mtu::new(1500)?,
        tunnel: Some(TunnelFacts {
            overlay_ifindex: 7,
            vtep_mac: OWN_MAC.parse()?,
            overlay_mtu: Mtu::new(1450)?,
        }),
        ttl: 64,
        ports: (32768, 60999),
        next_hops,
    })
}

fn differences(before: &Desired, after: &Desired) -> usize {
    let mut writes = usize::from(before.config != after.config);
    writes += before.peers.iter().filter(|(key, peer)| after.peers.get(key) != Some(peer)).count();
    writes += after.peers.keys().filter(|key| !before.peers.contains_key(key)).count();
    writes += before.nodes.iter().filter(|(key, node)| after.nodes.get(key) != Some(node)).count();
    writes + after.nodes.keys().filter(|key| !before.nodes.contains_key(key)).count()
}

/// What this process used of the processors, all its threads together.
fn worked() -> Result<Duration> {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF)?;
    let time = |time: nix::sys::time::TimeVal| {
        let micros = time.tv_sec() * 1_000_000 + time.tv_usec();
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    };
    Ok(time(usage.user_time()) + time(usage.system_time()))
}

/// A line of `/proc/self/status`, in KiB.
fn memory(key: &str) -> Result<u64> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(key)).context("no such line")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
