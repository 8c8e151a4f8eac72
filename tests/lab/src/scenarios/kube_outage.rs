//! The API server is away: packets, agents and nodes go on, and catch up when it is back.

mod memory;
mod starts;
mod versions;

use std::fs;
use std::net::IpAddr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::api::Client;
use crate::cluster::Servers;
use crate::control_plane::{API_PORT, BlackHole, ControlPlane, Options, User};
use crate::ghost::Ghost;
use crate::kernel_tables::PeerRows;
use crate::kube_cluster::KubeMember;
use crate::lab::Lab;
use crate::node::Node;
use crate::pod::Pod;
use crate::process::{Place as _, captured, eventually};
use crate::scenario::{Entry, Scenario};
use crate::traffic::{self, ProbeReport, Running};
use crate::usage::Usage;
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("kube_outage::no_packet_notices_for_40_s", |s| outage(s, 40))
        .within(150)
        .with_tools(),
    Entry::new("kube_outage::no_packet_notices_for_10_minutes", |s| outage(s, 600))
        .within(900)
        .long()
        .with_tools(),
    Entry::new("kube_outage::an_agent_starts_without_an_api_server", starts::without_api_server)
        .within(90)
        .with_tools(),
    Entry::new("kube_outage::an_agent_without_memory_waits", memory::waits)
        .within(120)
        .with_tools(),
    Entry::new("kube_outage::a_compacted_revision_costs_a_list", versions::compacted)
        .within(120)
        .with_tools(),
    Entry::new("kube_outage::a_lagging_api_server_takes_nothing_back", versions::lagging)
        .within(200)
        .with_tools(),
];

/// After the end of an outage, until what happened meanwhile is in the kernel's table.
const IN_STEP: Duration = Duration::from_secs(30);
/// What one core an agent may use during an outage.
const PROCESSOR: f64 = 0.02;
/// What an agent may grow by during an outage.
const GROWTH_KIB: u64 = 2048;
/// The health listener of every agent here.
pub(super) const HEALTH_PORT: &str = "8090";

/// Which API server is whose: the live one serves the administrator and the node in the black
/// hole.
const FROZEN: u16 = 0;
const LIVE: u16 = 1;
const KILLED: u16 = 2;

/// Three nodes, each of which loses its API server in another way, and the ghosts that change
/// meanwhile.
struct Ground {
    plane: ControlPlane,
    admin: Client,
    members: Vec<KubeMember>,
    stays: Ghost,
    goes: Ghost,
    moves: Ghost,
}

impl Ground {
    fn new(lab: &Lab) -> Result<Self> {
        let options = Options { api_servers: 3, ..Options::default() };
        let plane = ControlPlane::start(lab, &options)?;
        let admin = plane.client_at(LIVE, &User::admin())?;
        let mut members = Vec::new();
        // In the order of their outages: black hole, frozen server, killed server.
        for server in [LIVE, FROZEN, KILLED] {
            let mut member = KubeMember::without_agent(&plane, lab.node()?)?;
            member.kubeconfig = at_server(&member.kubeconfig, server)?;
            member.start_agent(&["--healthz-port", HEALTH_PORT])?;
            member.add_pod("a")?;
            members.push(member);
        }
        let ghosts = ["stays", "goes", "moves"].iter().zip(101..);
        let ghosts: Vec<_> = ghosts.map(|(name, number)| Ghost::new(name, number)).collect();
        for ghost in &ghosts {
            ghost.appear(&admin)?;
        }
        let [stays, goes, moves] = ghosts.try_into().ok().context("three ghosts")?;
        Ok(Self { plane, admin, members, stays, goes, moves })
    }

    /// What the table of a node has to hold, given the ghosts.
    fn wanted(&self, of: &KubeMember, ghosts: &[&Ghost]) -> Result<PeerRows> {
        let others = self.members.iter().filter(|other| other.node.name() != of.node.name());
        let mut rows = others.map(peer_row).collect::<Result<PeerRows>>()?;
        rows.extend(ghosts.iter().map(|ghost| ghost.row()));
        Ok(rows)
    }

    fn change_meanwhile(&mut self) -> Result<Ghost> {
        self.admin.delete_node(&self.goes.name)?;
        self.moves.address = [172, 31, 9, 9].into();
        self.moves.publish_address(&self.admin)?;
        let comes = Ghost::new("comes", 110);
        comes.appear(&self.admin)?;
        Ok(comes)
    }
}

/// A kubeconfig like this one, for the API server of another index.
fn at_server(kubeconfig: &str, index: u16) -> Result<String> {
    let text = fs::read_to_string(kubeconfig)?;
    let path = format!("{kubeconfig}-at-{index}");
    let other = text.replace(&format!(":{API_PORT}"), &format!(":{}", API_PORT + index));
    fs::write(&path, other)?;
    Ok(path)
}

/// What other nodes must hold of a node with an agent.
pub(super) fn peer_row(
    member: &KubeMember,
) -> Result<(std::net::Ipv4Addr, crate::kernel_tables::PeerRow)> {
    let state = member.state()?;
    let text = |key: &str| state[key].as_str().with_context(|| format!("the state has no {key}"));
    let subnet: ipnet::Ipv4Net = text("subnet")?.parse()?;
    let vtep = crate::frames::mac(text("vtep_mac")?)?;
    let node = member.node.address();
    Ok((subnet.network(), crate::kernel_tables::PeerRow { node, vtep }))
}

/// Traffic from every pod to every other, at 1,000 packets per second and pair.
pub(super) fn start_traffic(pods: &[&Pod], seconds: f64) -> Result<Vec<Running<Vec<ProbeReport>>>> {
    let start = |from: &&Pod| {
        let others = pods.iter().filter(|to| to.label() != from.label());
        let to = others.map(|to| Ok(to.address()?.into())).collect::<Result<Vec<IpAddr>>>()?;
        traffic::udp_probe(*from, &to, 1000, seconds)
    };
    pods.iter().map(start).collect()
}

/// Waits for the end of the traffic, of which nothing may be lost.
pub(super) fn finish_traffic(
    scenario: &Scenario,
    probes: Vec<Running<Vec<ProbeReport>>>,
) -> Result<()> {
    let reports = probes.into_iter().map(Running::finish).collect::<Result<Vec<_>>>()?.concat();
    let sent: u64 = reports.iter().map(|report| report.sent).sum();
    let lost: u64 = reports.iter().map(|report| report.lost + report.refused).sum();
    let gap = reports.iter().map(|report| report.max_gap_ms).fold(0.0, f64::max);
    scenario.note(format!("{sent} packets, {lost} lost, longest gap {gap:.0} ms"));
    ensure!(sent > 0 && lost == 0, "lost: {reports:?}");
    Ok(())
}

fn outage(scenario: &mut Scenario, seconds: u64) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let mut ground = Ground::new(&lab)?;
    let pods: Vec<_> = ground.members.iter().flat_map(|member| &member.pods).cloned().collect();
    let pods: Vec<_> = pods.iter().collect();
    let _servers = pods.iter().map(|pod| Servers::start(pod)).collect::<Result<Vec<_>>>()?;
    let before = [&ground.stays, &ground.goes, &ground.moves];
    for member in &ground.members {
        in_step(member, &ground.wanted(member, &before)?, Instant::now())?;
    }
    // The writing of files after the start is over.
    thread::sleep(Duration::from_secs(6));
    scenario.note("all nodes are in step");

    #[expect(clippy::cast_precision_loss, reason = "seconds of a test")]
    let probes = start_traffic(&pods, seconds as f64 + 5.0)?;
    let victim = ground.members[0].node.clone();
    let black_hole = BlackHole::around(&victim)?;
    ground.plane.freeze(FROZEN.into())?;
    ground.plane.kill(KILLED.into())?;
    let start = Instant::now();
    let usage = ground.members.iter().map(usage).collect::<Result<Vec<_>>>()?;
    let tables = ground.members.iter().map(|m| m.node.peer_rows()).collect::<Result<Vec<_>>>()?;

    thread::sleep(Duration::from_secs(seconds / 2));
    let comes = ground.change_meanwhile()?;
    thread::sleep(Duration::from_secs(seconds).saturating_sub(start.elapsed()));
    for ((member, usage), table) in ground.members.iter().zip(&usage).zip(&tables) {
        frugal(scenario, member, usage, start.elapsed())?;
        says_so(scenario, member)?;
        ensure!(member.node.peer_rows()? == *table, "{}'s table changed", member.node.name());
    }

    black_hole.close()?;
    ground.plane.thaw(FROZEN.into())?;
    let early = Instant::now();
    let wanted =
        |member: &KubeMember| ground.wanted(member, &[&ground.stays, &ground.moves, &comes]);
    for member in &ground.members[..2] {
        let took = in_step(member, &wanted(member)?, early)?;
        scenario.note(format!("{} is in step {took:.1?} after the end", member.node.name()));
    }
    let member = &ground.members[2];
    let wanted = wanted(member)?;
    ground.plane.restart(KILLED.into())?;
    let took = in_step(member, &wanted, Instant::now())?;
    scenario.note(format!("{} is in step {took:.1?} after the end", member.node.name()));
    for member in &ground.members {
        eventually("nothing is wrong any more", IN_STEP, || {
            Ok(member.state()?["store_trouble"].is_null())
        })?;
    }
    finish_traffic(scenario, probes)
}

fn usage(member: &KubeMember) -> Result<Usage> {
    Usage::of(member.agent()?.pid())
}

/// Waits until a node's table is exactly this; how long it took since `start`.
pub(super) fn in_step(member: &KubeMember, wanted: &PeerRows, start: Instant) -> Result<Duration> {
    let name = member.node.name();
    let mut last = PeerRows::new();
    let end = eventually(&format!("{name} is in step"), IN_STEP, || {
        last = member.node.peer_rows()?;
        Ok(last == *wanted)
    });
    end.with_context(|| format!("{name} has {last:?}, not {wanted:?}"))?;
    Ok(start.elapsed())
}

/// The agent used next to nothing.
fn frugal(
    scenario: &Scenario,
    member: &KubeMember,
    before: &Usage,
    elapsed: Duration,
) -> Result<()> {
    let now = usage(member)?;
    let (name, share) = (member.node.name(), now.share_since(before, elapsed));
    let (from, to) = (before.resident_kib, now.resident_kib);
    let percent = share * 100.0;
    scenario.note(format!("{name}: {percent:.2} % of a core, {from} KiB before, {to} KiB after"));
    ensure!(share < PROCESSOR, "{name} used {percent:.2} % of a core");
    ensure!(to <= from + GROWTH_KIB, "{name} grew from {from} to {to} KiB");
    Ok(())
}

/// People and probes are told, and the node stays ready.
fn says_so(scenario: &Scenario, member: &KubeMember) -> Result<()> {
    let name = member.node.name();
    let status = captured(member.node.product("tartanctl")?.args(["status", "-o", "json"]))?;
    let status: Value = serde_json::from_slice(&status.stdout)?;
    let trouble = status["agent"]["store_trouble"].as_str();
    let trouble =
        trouble.with_context(|| format!("{name}'s status tells of no trouble: {status}"))?;
    scenario.note(format!("{name}: {trouble}"));
    ensure!(status["agent"]["ready"] == true, "{name} is not ready: {status}");
    let (code, readyz) = readyz(&member.node)?;
    ensure!(code == "200", "{name}'s /readyz says {code}: {readyz}");
    ensure!(readyz.contains("[!]store cannot"), "{name}'s /readyz does not say so: {readyz}");
    Ok(())
}

/// `/readyz?verbose` of the node's agent: status and body.
pub(super) fn readyz(node: &Node) -> Result<(String, String)> {
    let url = format!("http://127.0.0.1:{HEALTH_PORT}/readyz?verbose");
    let text = node.run(&format!("curl -s -m 5 -w %{{http_code}} {url}"))?;
    let at = text.len().saturating_sub(3);
    Ok((text[at..].to_owned(), text[..at].to_owned()))
}
