//! Node objects come, go and change; each node's tables follow, exactly and soon.

mod hostile;

use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use super::kube_outage::{in_step, peer_row};
use crate::api::Client;
use crate::control_plane::Options;
use crate::ghost::Ghost;
use crate::kernel_tables::{PeerRows, SenderRows};
use crate::kube_cluster::{KubeCluster, KubeMember, PREFIX};
use crate::node::Node;
use crate::process::{Place as _, eventually};
use crate::scenario::{Entry, Scenario};
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("kube_changes::a_node_deleted_meanwhile_is_gone_after_the_start", deleted)
        .with_tools(),
    Entry::new("kube_changes::a_hundred_changes_arrive_within_a_second", |s| changes(s, 34))
        .within(120)
        .with_tools(),
    Entry::new("kube_changes::each_kind_of_change_100_times", |s| changes(s, 100))
        .within(300)
        .long()
        .with_tools(),
    Entry::new("kube_changes::hostile_annotations_harm_nobody_else", hostile::annotations)
        .within(90)
        .with_tools(),
];

/// After the start of an agent, until nothing is left of a Node that is gone.
const FORGOTTEN: Duration = Duration::from_secs(2);
/// Until the state tells of a refusal.
const SAID: Duration = Duration::from_secs(10);
/// From a change to the kernel's table, for 99 of 100 changes.
const ARRIVES: Duration = Duration::from_secs(1);

fn deleted(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let mut cluster = KubeCluster::new(&lab, &Options::default(), 2, 0)?;
    let (goes, stays) = (Ghost::new("goes", 101), Ghost::new("stays", 102));
    for ghost in [&goes, &stays] {
        ghost.appear(cluster.admin())?;
    }
    let mut wanted = PeerRows::from([peer_row(&cluster.members[1])?]);
    wanted.extend([goes.row(), stays.row()]);
    in_step(&cluster.members[0], &wanted, Instant::now())?;

    cluster.members[0].stop_agent(Signal::SIGTERM)?;
    cluster.admin().delete_node(&goes.name)?;
    ensure!(cluster.members[0].node.peer_rows()? == wanted, "the table changed without an agent");
    let start = Instant::now();
    cluster.members[0].start_agent(&[])?;
    wanted.remove(&goes.subnet.network());
    let took = in_step(&cluster.members[0], &wanted, start)?;
    scenario.note(format!("gone {took:.0?} after the start"));
    ensure!(took <= FORGOTTEN, "it took too long: {took:?}");
    exact(&cluster.members[0].node, &wanted)?;
    let (subnet, address) = (goes.subnet.network().to_string(), goes.address.to_string());
    let left = cluster.members[0].node.shell(
        "ip -4 route show table all; ip -4 neigh; bridge fdb show dev flannel.1; \
         cat /run/flannel/tartan.json",
    )?;
    ensure!(!left.contains(&subnet) && !left.contains(&address), "something is left: {left}");
    Ok(())
}

/// Both tables hold these peers, and nothing else.
fn exact(node: &Node, wanted: &PeerRows) -> Result<()> {
    let peers = node.peer_rows()?;
    ensure!(peers == *wanted, "PEERS has {peers:?}, not {wanted:?}");
    let senders: SenderRows = wanted.iter().map(|(subnet, row)| (row.node, *subnet)).collect();
    let found = node.sender_rows()?;
    ensure!(found == senders, "NODES has {found:?}, not {senders:?}");
    Ok(())
}

/// Two processors busy with something else, as long as this lives.
struct Busy(Vec<Child>);

impl Busy {
    fn start() -> Result<Self> {
        let processors = thread::available_parallelism()?.get();
        let spin = || {
            let mut command = Command::new("sh");
            command.args(["-c", "while :; do :; done"]).stdin(Stdio::null());
            command.spawn().context("cannot start a busy loop")
        };
        Ok(Self((0..processors).map(|_| spin()).collect::<Result<_>>()?))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // It may be gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn changes(scenario: &mut Scenario, rounds: u8) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let cluster = KubeCluster::new(&lab, &Options::default(), 2, 0)?;
    let [watching, real] = &cluster.members[..] else { anyhow::bail!("not two members") };
    let admin = cluster.admin();
    let mut ghosts = [Ghost::new("address", 101), Ghost::new("vtep", 102), Ghost::new("cidr", 103)];
    for ghost in &ghosts {
        ghost.appear(admin)?;
    }
    let mut wanted = PeerRows::from([peer_row(real)?]);
    wanted.extend(ghosts.iter().map(Ghost::row));
    in_step(watching, &wanted, Instant::now())?;
    eventually("the node's condition is set", SAID, || {
        Ok(announced_at(watching, admin)?.is_some())
    })?;
    let announced = announced_at(watching, admin)?;
    scenario.note("in step, and now the machine is busy");

    let busy = Busy::start()?;
    let mut times = [const { Vec::new() }; 4];
    for round in 1..=rounds {
        let [address, vtep, cidr] = &mut ghosts;
        address.address = Ipv4Addr::new(172, 31, 3, round);
        times[0].push(arrives(watching, &mut wanted, address, || address.publish_address(admin))?);
        vtep.vtep = [2, 0, 0, 0, 1, round];
        times[1].push(arrives(watching, &mut wanted, vtep, || vtep.publish_vtep(admin))?);
        wanted.remove(&cidr.subnet.network());
        cidr.subnet = Ghost::new("", 103 + round).subnet;
        let again = || admin.delete_node(&cidr.name).and_then(|()| cidr.appear(admin));
        times[2].push(arrives(watching, &mut wanted, cidr, again)?);
        if round % 5 == 0 {
            times[3].push(real_change(watching, &mut wanted, real, round, admin)?);
        }
    }
    drop(busy);
    for (what, times) in
        ["address", "VTEP", "podCIDR", "a real node's address"].iter().zip(&mut times)
    {
        let [median, p99] = percentiles(times);
        scenario
            .note(format!("{what}: {} changes, median {median:.0?}, p99 {p99:.0?}", times.len()));
        ensure!(p99 <= ARRIVES, "{what}: too late");
    }
    // What one agent writes, the agents of all nodes are told.
    let now = announced_at(watching, admin)?;
    ensure!(now == announced, "others changed, and the node wrote again: {announced:?}, {now:?}");
    exact(&watching.node, &wanted)
}

/// When the node said last that its network is available.
fn announced_at(member: &KubeMember, admin: &Client) -> Result<Option<String>> {
    let node = admin.node(member.node.name())?;
    let conditions = node["status"]["conditions"].as_array().context("a Node has conditions")?;
    let ours = conditions.iter().find(|condition| condition["type"] == "NetworkUnavailable");
    Ok(ours.and_then(|condition| condition["lastHeartbeatTime"].as_str()).map(str::to_owned))
}

/// Makes a change; the time until the node's table is exactly as wanted. It is taken from before
/// the request, so it has the API server's share in it.
fn arrives(
    watching: &KubeMember,
    wanted: &mut PeerRows,
    ghost: &Ghost,
    change: impl FnOnce() -> Result<()>,
) -> Result<Duration> {
    wanted.extend([ghost.row()]);
    let start = Instant::now();
    change()?;
    in_step(watching, wanted, start)
}

/// The administrator has a real node publish another address: its agent, too, has to act.
fn real_change(
    watching: &KubeMember,
    wanted: &mut PeerRows,
    real: &KubeMember,
    round: u8,
    admin: &Client,
) -> Result<Duration> {
    let (subnet, mut row) = peer_row(real)?;
    row.node = Ipv4Addr::new(172, 31, 4, round);
    wanted.insert(subnet, row);
    let key = format!("{PREFIX}public-ip-overwrite");
    let start = Instant::now();
    admin.annotate_node(real.node.name(), &key, Some(&row.node.to_string()))?;
    in_step(watching, wanted, start)
}

/// Median and 99th percentile.
fn percentiles(times: &mut [Duration]) -> [Duration; 2] {
    times.sort_unstable();
    [50, 99].map(|percent| times[(times.len() * percent / 100).min(times.len() - 1)])
}

/// Waits until a node says this of a lease that it refuses.
fn refuses(member: &KubeMember, what: &str) -> Result<()> {
    eventually(&format!("{} refuses {what}", member.node.name()), SAID, || {
        Ok(objections(member)?.contains(what))
    })
}

/// Waits until a node refuses nothing with this in it any more. The state follows the tables.
fn forgives(member: &KubeMember, what: &str) -> Result<()> {
    eventually(&format!("{} forgives {what}", member.node.name()), SAID, || {
        Ok(!objections(member)?.contains(what))
    })
}

fn objections(member: &KubeMember) -> Result<String> {
    let state = member.state()?;
    Ok(format!("{}{}", state["refused"], state["unreadable"]))
}
