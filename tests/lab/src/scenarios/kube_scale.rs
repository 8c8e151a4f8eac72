//! Five thousand Nodes on the real API server.

use std::fs;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hyper::Method;
use ipnet::Ipv4Net;
use serde_json::json;

use crate::api::{Client, NodeSpec};
use crate::control_plane::{ControlPlane, Network, Options};
use crate::ghost::Ghost;
use crate::kernel_tables::PeerRows;
use crate::kube_cluster::KubeMember;
use crate::node::NET_CONF;
use crate::paths::LOGS;
use crate::process::eventually;
use crate::scenario::{Entry, Scenario};
use crate::trace::Trace;
use crate::usage::Usage;
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] =
    &[Entry::new("kube_scale::five_thousand_nodes", five_thousand).within(300).long().with_tools()];

const NODES: u16 = 5000;
const NETWORK: &str = "10.32.0.0/11";
/// What the agent may take from the last page of the list to the last entry.
const PROGRAMMED: f64 = 3.0;
const RESIDENT_KIB: u64 = 60 * 1024;
/// How long heartbeats come in, at [`RATE`] a second.
const HEARTBEATS: Duration = Duration::from_secs(20);
const RATE: u32 = 50;
/// Requests under way at the same time.
const CLIENTS: usize = 8;
const STATE: &str = "/run/flannel/tartan.json";

fn five_thousand(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let flags = ["--max-requests-inflight=2000", "--max-mutating-requests-inflight=1000"];
    let network = Network { v4: Some(NETWORK.to_owned()), ..Network::default() };
    let options = Options {
        network: Some(network),
        api_server_flags: flags.map(str::to_owned).to_vec(),
        ..Options::default()
    };
    let mut plane = ControlPlane::start(&lab, &options)?;
    let node = lab.node()?;
    let conf = format!(r#"{{"Network":"{NETWORK}","Backend":{{"Type":"vxlan","VNI":1}}}}"#);
    node.write(NET_CONF, &conf)?;
    let mut member = KubeMember::without_agent(&plane, node)?;
    plane.stop_controllers()?;
    let ghosts: Vec<_> = (0..NODES).map(ghost).collect::<Result<_>>()?;
    populate(plane.admin(), &ghosts)?;
    scenario.note(format!("{NODES} Nodes are there"));

    let start = Instant::now();
    member.start_agent(&[])?;
    scenario.note(format!("ready {:.2?} after the start", start.elapsed()));
    let wanted: PeerRows = ghosts.iter().map(Ghost::row).collect();
    eventually("every Node is in the table", Duration::from_secs(20), || {
        Ok(member.node.peer_rows()? == wanted)
    })?;
    scenario.note(format!("all in the table {:.2?} after the start", start.elapsed()));
    let share = listed_to_programmed(&member)?;
    scenario.note(format!("from listed to programmed {share:.3} s"));
    ensure!(share <= PROGRAMMED, "it took too long");

    // The memory is written by then.
    thread::sleep(Duration::from_secs(6));
    let pid = member.agent()?.pid();
    quiet_under_heartbeats(scenario, &member, plane.admin(), pid)?;
    let usage = Usage::of(pid)?;
    scenario.note(format!("{} KiB resident, {} KiB at most", usage.resident_kib, usage.peak_kib));
    ensure!(usage.resident_kib <= RESIDENT_KIB, "too much memory");
    ensure!(member.node.peer_rows()? == wanted, "the table changed");
    Ok(())
}

/// A Node of a cluster far away, with as much text as real ones carry.
fn ghost(number: u16) -> Result<Ghost> {
    let [high, low] = number.to_be_bytes();
    let [third, fourth] = [number / 250, number % 250 + 1].map(u8::try_from);
    Ok(Ghost {
        name: format!("ghost{number}"),
        subnet: Ipv4Net::new(Ipv4Addr::new(10, 40 + high, low, 0), 24)?,
        address: Ipv4Addr::new(172, 31, third?, fourth?),
        vtep: [2, 0, 0, 1, high, low],
    })
}

fn populate(admin: &Client, ghosts: &[Ghost]) -> Result<()> {
    let create = |ghost: &Ghost| -> Result<()> {
        let mut annotations: std::collections::BTreeMap<_, _> =
            ghost.annotations().into_iter().collect();
        annotations.insert("example.org/of-somebody-else".to_owned(), "x".repeat(3000));
        let pod_cidrs = vec![ghost.subnet.into()];
        let spec = NodeSpec { annotations, pod_cidrs, ..NodeSpec::default() };
        admin.create_node(&ghost.name, &spec).map(drop)
    };
    thread::scope(|scope| {
        let part = ghosts.len().div_ceil(CLIENTS);
        let workers: Vec<_> = ghosts
            .chunks(part)
            .map(|part| scope.spawn(move || part.iter().try_for_each(create)))
            .collect();
        workers.into_iter().try_for_each(|worker| worker.join().ok().context("a panic").flatten())
    })
}

/// Between two lines of the agent's log, in seconds.
fn listed_to_programmed(member: &KubeMember) -> Result<f64> {
    let log = fs::read_to_string(format!("{LOGS}/tartand-{}.log", member.node.name()))?;
    let at = |text: &str| -> Result<f64> {
        let line = log.lines().find(|line| line.contains(text));
        let line = line.with_context(|| format!("the log has no line with {text:?}"))?;
        seconds_of_day(line).with_context(|| format!("no time: {line}"))
    };
    Ok(at("changed the kernel's tables")? - at("Node controller sync successful")?)
}

/// `2026-11-22T21:20:40.813487Z` at the beginning of a line.
fn seconds_of_day(line: &str) -> Option<f64> {
    let (_, time) = line.split_once('T')?;
    let (time, _) = time.split_once('Z')?;
    let parts = time.split(':').map(|part| part.parse::<f64>().ok());
    parts.collect::<Option<Vec<_>>>().map(|p| p.iter().fold(0.0, |sum, part| sum * 60.0 + part))
}

/// Heartbeats of kubelets change nothing: no entry is written, no file.
fn quiet_under_heartbeats(
    scenario: &Scenario,
    member: &KubeMember,
    admin: &Client,
    pid: u32,
) -> Result<()> {
    let written = || -> Result<_> { Ok(fs::metadata(member.node.path(STATE))?.modified()?) };
    let (file, before) = (written()?, Usage::of(pid)?);
    let start = Instant::now();
    let sent = heartbeats(admin, HEARTBEATS / 2)?;
    let share = Usage::of(pid)?.share_since(&before, start.elapsed()) * 100.0;
    // The second half under strace, which takes its own time.
    let trace = Trace::of(pid, "bpf")?;
    let sent = sent + heartbeats(admin, HEARTBEATS / 2)?;
    let calls = trace.end()?;
    let is_write = |line: &&str| line.contains("BPF_MAP_UPDATE") || line.contains("BPF_MAP_DELETE");
    let (all, writes) = (calls.lines().count(), calls.lines().filter(is_write).count());
    scenario.note(format!(
        "{sent} heartbeats: {share:.1} % of a core; of {all} calls of bpf(2) {writes} write"
    ));
    ensure!(all > 0, "the agent did not look at its tables at all");
    ensure!(writes == 0, "needless writes:\n{calls:.2000}");
    ensure!(written()? == file, "{STATE} was written");
    Ok(())
}

/// Sends [`RATE`] status updates a second; how many.
fn heartbeats(admin: &Client, duration: Duration) -> Result<u32> {
    let (start, mut sent) = (Instant::now(), 0);
    while start.elapsed() < duration {
        let time = format!("2030-01-01T00:{:02}:{:02}Z", sent / 60 % 60, sent % 60);
        let status = json!({ "status": { "conditions": [{
            "type": "Ready", "status": "True", "reason": "KubeletReady", "message": "",
            "lastHeartbeatTime": time,
        }]}});
        let path = format!("/api/v1/nodes/ghost{}/status", sent % u32::from(NODES));
        let kind = "application/strategic-merge-patch+json";
        admin.call(&Method::PATCH, &path, kind, status.to_string())?.success()?;
        sent += 1;
        thread::sleep((Duration::from_secs(1) * sent / RATE).saturating_sub(start.elapsed()));
    }
    Ok(sent)
}
