//! What an API server has forgotten, or does not know yet.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hyper::Method;
use nix::sys::signal::Signal;

use super::{in_step, peer_row};
use crate::api::Client;
use crate::control_plane::{API_PORT, BlackHole, ControlPlane, Options, User, etcd_address};
use crate::ghost::Ghost;
use crate::kernel_tables::PeerRows;
use crate::kube_cluster::{KubeCluster, KubeMember};
use crate::node::Node;
use crate::process::{Place as _, eventually};
use crate::scenario::Scenario;
use crate::wire::{Outside, Wire};

/// Until etcd has really forgotten a revision: two intervals and the work itself.
const FORGOTTEN: Duration = Duration::from_secs(30);
/// How long the second API server hears nothing of etcd, at least. After 10 s it may take the
/// connection for dead, and answer from memory no more.
const LAG: Duration = Duration::from_secs(6);
/// After that, until it can write again: what was lost is repeated after twice the time at most.
const IN_TOUCH: Duration = Duration::from_mins(1);

pub(super) fn compacted(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    // Without a watch cache the API server asks etcd, which has forgotten.
    let options =
        Options { compaction: Duration::from_secs(2), watch_cache: false, ..Options::default() };
    let mut cluster = KubeCluster::new(&lab, &options, 2, 0)?;
    let goes = Ghost::new("goes", 101);
    let mut moves = Ghost::new("moves", 102);
    goes.appear(cluster.admin())?;
    moves.appear(cluster.admin())?;
    let mut wanted = PeerRows::from([peer_row(&cluster.members[1])?]);
    wanted.extend([goes.row(), moves.row()]);
    in_step(&cluster.members[0], &wanted, Instant::now())?;

    let victim = cluster.members[0].node.clone();
    let black_hole = BlackHole::around(&victim)?;
    cluster.admin().delete_node(&goes.name)?;
    let last_heard = version(cluster.admin())?;
    for number in 1..=50 {
        moves.address = Ipv4Addr::new(172, 31, 5, number);
        moves.publish_address(cluster.admin())?;
    }
    eventually("what the node saw last is forgotten", FORGOTTEN, || {
        is_forgotten(cluster.admin(), &last_heard)
    })?;
    scenario.note(format!("version {last_heard} is gone"));
    // The connections of the node are gone as well.
    cluster.plane.restart(0)?;
    black_hole.close()?;
    wanted.remove(&goes.subnet.network());
    wanted.extend([moves.row()]);
    let took = in_step(&cluster.members[0], &wanted, Instant::now())?;
    scenario.note(format!("in step {took:.1?} after the end of the black hole"));
    Ok(())
}

/// The version of the list of all Nodes.
fn version(admin: &Client) -> Result<String> {
    let list = admin.get("/api/v1/nodes")?;
    Ok(list["metadata"]["resourceVersion"].as_str().context("a list without version")?.to_owned())
}

/// Whether a watch from this version is refused.
fn is_forgotten(admin: &Client, version: &str) -> Result<bool> {
    let path = format!("/api/v1/nodes?watch=true&resourceVersion={version}&timeoutSeconds=1");
    let answer = admin.call(&Method::GET, &path, "application/json", String::new())?;
    let text = format!("{} {}", answer.status, answer.body);
    Ok(text.contains("too old") || text.contains("compacted") || text.contains("410"))
}

pub(super) fn lagging(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let mut plane = ControlPlane::start(&lab, &Options::default().two_api_servers())?;
    let mut member = KubeMember::without_agent(&plane, lab.node()?)?;
    member.start_agent(&[])?;
    let mut marker = Marker::new(plane.admin())?;
    marker.raise_to(5, plane.admin())?;
    reaches(&member, 5)?;

    let watcher = Watcher::start(&member.node)?;
    let lag = Lag::of(1)?;
    marker.raise_to(60, plane.admin())?;
    reaches(&member, 60)?;
    let stale = stale_marker(&plane)?;
    scenario.note(format!("the second API server still says {stale}, the first 60"));
    ensure!(stale < 60, "the second API server does not lag");
    // From now on the node's packets for the first server reach the second.
    member.node.shell(&format!(
        "nft -f - <<'END'\nadd table ip lab_switch\n\
         add chain ip lab_switch output {{ type nat hook output priority -100; }}\n\
         add rule ip lab_switch output tcp dport {API_PORT} dnat to {}:{}\nEND",
        crate::wire::GATEWAY,
        API_PORT + 1
    ))?;
    plane.kill(0)?;
    thread::sleep(LAG / 2);
    // An agent that knows only what is on its disk meets the server that lags.
    member.stop_agent(Signal::SIGKILL)?;
    member.start_agent(&[])?;
    thread::sleep(LAG / 2);
    match stale_marker(&plane) {
        Ok(stale) => ensure!(stale < 60, "the lag has ended too early: {stale}"),
        Err(error) => scenario.note(format!("the second API server answers no more: {error:#}")),
    }
    let has = seen(&member.node)?;
    ensure!(has == 60, "the node went from 60 to {has} with a server that lags");
    lag.end()?;
    let second = plane.client_at(1, &User::admin())?.with_patience(Duration::from_secs(5));
    eventually("the second API server is back in touch with etcd", IN_TOUCH, || {
        marker.ghost.publish_address(&second).map(|()| true)
    })?;
    marker.raise_to(80, &second)?;
    let caught_up = Instant::now();
    reaches(&member, 80)?;
    scenario.note(format!("in step {:.1?} after the lag", caught_up.elapsed()));

    plane.restart(0)?;
    member.node.run("nft delete table ip lab_switch")?;
    plane.kill(1)?;
    marker.raise_to(100, plane.admin())?;
    reaches(&member, 100)?;
    let Sights { states, failures } = watcher.finish()?;
    let failed = failures.len();
    scenario.note(format!("{} different states seen, {failed} looks failed", states.len()));
    ensure!(failed * 10 < states.len(), "the looks fail: {failures:?}");
    ensure!(states.is_sorted(), "the state ran backwards: {states:?}");
    ensure!(states.first() <= Some(&5) && states.last() == Some(&100), "seen: {states:?}");
    Ok(())
}

/// A Node whose address only ever grows.
struct Marker {
    ghost: Ghost,
    value: u8,
}

impl Marker {
    fn new(admin: &Client) -> Result<Self> {
        let ghost = Ghost { address: Ipv4Addr::new(172, 31, 7, 1), ..Ghost::new("marker", 120) };
        ghost.appear(admin)?;
        Ok(Self { ghost, value: 1 })
    }

    fn raise_to(&mut self, value: u8, admin: &Client) -> Result<()> {
        while self.value < value {
            self.value += 1;
            self.ghost.address = Ipv4Addr::new(172, 31, 7, self.value);
            self.ghost.publish_address(admin)?;
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// What the kernel of the node goes by: 0 where it knows nothing of the marker.
fn seen(node: &Node) -> Result<u8> {
    let subnet = Ghost::new("marker", 120).subnet.network();
    Ok(node.peer_rows()?.get(&subnet).map_or(0, |row| row.node.octets()[3]))
}

fn reaches(member: &KubeMember, value: u8) -> Result<()> {
    eventually(
        &format!("the node has {value}"),
        super::IN_STEP,
        || Ok(seen(&member.node)? == value),
    )
}

/// What the second API server answers from memory.
fn stale_marker(plane: &ControlPlane) -> Result<u8> {
    let client = plane.client_at(1, &User::admin())?.with_patience(Duration::from_secs(3));
    let nodes = client.list("/api/v1/nodes?resourceVersion=0")?;
    let marker = nodes.iter().find(|node| node["metadata"]["name"] == "marker");
    let key = format!("{}public-ip", crate::kube_cluster::PREFIX);
    let address = marker.context("no marker")?["metadata"]["annotations"][&key].clone();
    let address: Ipv4Addr = address.as_str().context("no address")?.parse()?;
    Ok(address.octets()[3])
}

/// An API server that hears nothing of etcd, and answers what it knew.
struct Lag;

impl Lag {
    fn of(index: u16) -> Result<Self> {
        let etcd = etcd_address(index);
        Outside.shell(&format!(
            "nft -f - <<'END'\nadd table ip lab_lag\n\
             add chain ip lab_lag input {{ type filter hook input priority 0; }}\n\
             add rule ip lab_lag input ip daddr {etcd} drop\n\
             add rule ip lab_lag input ip saddr {etcd} drop\nEND"
        ))?;
        Ok(Self)
    }

    fn end(self) -> Result<()> {
        let Self = self;
        Outside.run("nft delete table ip lab_lag").map(drop)
    }
}

/// Looks at a node again and again, from a thread. A look that fails tells nothing about the node.
struct Watcher {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<Sights>,
}

/// What a [`Watcher`] saw.
#[derive(Debug, Default)]
struct Sights {
    /// The states in their order, each once.
    states: Vec<u8>,
    /// Why looks failed.
    failures: Vec<String>,
}

impl Watcher {
    fn start(node: &Node) -> Result<Self> {
        let stop = Arc::<AtomicBool>::default();
        let (node, told) = (node.clone(), Arc::clone(&stop));
        let look = move || {
            let mut sights = Sights::default();
            while !told.load(Ordering::Relaxed) {
                sights.look(&node);
                thread::sleep(Duration::from_millis(10));
            }
            // What came between the last look and the end counts as well.
            sights.look(&node);
            sights
        };
        Ok(Self { stop, thread: thread::Builder::new().spawn(look)? })
    }

    fn finish(self) -> Result<Sights> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().ok().context("the watcher panicked")
    }
}

impl Sights {
    fn look(&mut self, node: &Node) {
        match seen(node) {
            Ok(now) if self.states.last() == Some(&now) => {}
            Ok(now) => self.states.push(now),
            Err(error) => self.failures.push(format!("{error:#}")),
        }
    }
}
