//! `tartanctl status`: what the agent decided, and whether the kernel does it.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use tartan_core::state::{AgentState, LOCK_FILE, PeerState, PeerWay};
use tartan_datapath::{HookState, NodeHook, Pods, Pods6, node_hook_state, pod_attached, pod_pins};

use crate::output::{self, Format};
use crate::peers::read_state;

#[derive(Serialize)]
struct Status {
    agent: AgentState,
    /// Process id of the running agent.
    running: Option<u32>,
    programs: Vec<Hook>,
    pods: usize,
    problems: Vec<String>,
}

#[derive(Serialize)]
struct Hook {
    program: &'static str,
    interface: String,
    state: String,
}

pub(crate) fn run(format: Format) -> Result<ExitCode> {
    tartan_datapath::pins::require_bpffs()?;
    let status = collect(read_state()?)?;
    match format {
        Format::Json => output::json(&status)?,
        Format::Text => print(&status),
    }
    Ok(if status.problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn collect(agent: AgentState) -> Result<Status> {
    let running = running_agent();
    let mut problems = agent.problems.clone();
    problems.extend(
        agent.store_trouble.as_ref().map(|trouble| {
            format!("{trouble}; forwarding goes on with what is known, changes wait")
        }),
    );
    if running.is_none() {
        problems.push(
            "tartand does not run: forwarding goes on, but changes are not followed; start it"
                .to_owned(),
        );
    }
    let programs = programs(&agent, &mut problems)?;
    for (veth, alive) in pod_pins()? {
        if alive && !pod_attached(&veth)? {
            problems.push(format!("the programs of the pod behind {veth} are not those pinned"));
        }
    }
    let pods = Pods::open()?.entries()?.len().max(Pods6::open()?.entries()?.len());
    Ok(Status { agent, running, programs, pods, problems })
}

fn programs(agent: &AgentState, problems: &mut Vec<String>) -> Result<Vec<Hook>> {
    let mut hooks = Vec::new();
    for hook in NodeHook::ALL {
        let device = match hook {
            NodeHook::UplinkIngress => Some(&agent.uplink),
            NodeHook::OverlayEgress | NodeHook::OverlayIngress => agent.overlay.as_ref(),
            NodeHook::UplinkEgress => agent.is_direct.then_some(&agent.uplink),
        };
        let Some(device) = device else { continue };
        let state = match node_hook_state(hook, device.ifindex)? {
            HookState::InPlace => "in place".to_owned(),
            HookState::Missing => "missing".to_owned(),
            HookState::Outdated => "another program than the pinned one".to_owned(),
            HookState::Elsewhere(index) => format!("on the interface with index {index}"),
        };
        let program = hook.program().as_str();
        if state != "in place" {
            problems.push(format!("{program} on {}: {state}; tartand repairs it", device.name));
        }
        hooks.push(Hook { program, interface: device.name.clone(), state });
    }
    Ok(hooks)
}

/// The backend, and how many peers are reached which way.
fn backend(agent: &AgentState) -> String {
    let ways = |peers: &[PeerState]| {
        let count = |way| peers.iter().filter(|peer| peer.mode == way).count();
        let tunnel = count(PeerWay::Tunnel) + count(PeerWay::TunnelOverIpv4);
        let direct = count(PeerWay::Direct);
        if agent.overlay.is_some() {
            format!("{direct} peers on the link without the tunnel, {tunnel} through it")
        } else {
            format!("{direct} peers on the link")
        }
    };
    let kind = match (agent.overlay.is_some(), agent.is_direct) {
        (true, false) => return format!("{}, everything through the tunnel", agent.backend),
        (true, true) => "with DirectRouting",
        (false, _) => "without a tunnel",
    };
    let ways = match (&agent.subnet, &agent.subnet6) {
        (_, None) => ways(&agent.peers),
        (None, Some(_)) => ways(&agent.peers6),
        (Some(_), Some(_)) => format!("{}; IPv6: {}", ways(&agent.peers), ways(&agent.peers6)),
    };
    format!("{} {kind}: {ways}", agent.backend)
}

/// How many there are of each family.
fn peers(agent: &AgentState) -> String {
    let (v4, v6) = (agent.peers.len(), agent.peers6.len());
    match (&agent.subnet, &agent.subnet6) {
        (Some(_), Some(_)) => format!("{v4}, {v6} of them with IPv6"),
        (Some(_), None) => v4.to_string(),
        (None, _) => v6.to_string(),
    }
}

/// How many there are, and how many of them the fast path leaves alone.
fn shown_pods(pods: usize, agent: &AgentState) -> String {
    let slow: BTreeSet<_> = agent.slow_pods.iter().map(|pod| &pod.interface).collect();
    match slow.len() {
        0 => pods.to_string(),
        slow => format!("{pods}, {slow} of them off the fast path:"),
    }
}

/// The agent holds a lock for as long as it lives.
fn running_agent() -> Option<u32> {
    let file = File::open(Path::new(LOCK_FILE)).ok()?;
    match file.try_lock() {
        Ok(()) => None,
        Err(_) => std::fs::read_to_string(LOCK_FILE).ok()?.trim().parse().ok(),
    }
}

fn print(status: &Status) {
    let Status { agent, running, programs, pods, problems } = status;
    let line = |name: &str, value: String| println!("{name:14}{value}");
    line("node", agent.node_name.clone());
    line(
        "agent",
        match running {
            Some(pid) => format!("{} running, process {pid}", agent.version),
            None => format!("{} NOT RUNNING", agent.version),
        },
    );
    let v4 = (&agent.network, &agent.subnet);
    let v6 = (&agent.network6, &agent.subnet6);
    let known = |(network, subnet): (&Option<String>, &Option<String>)| {
        Some(format!("{}, this node {}", network.as_ref()?, subnet.as_deref().unwrap_or("none")))
    };
    for (index, text) in [v4, v6].into_iter().filter_map(known).enumerate() {
        line(if index == 0 { "network" } else { "" }, text);
    }
    let uplink = &agent.uplink;
    line("uplink", format!("{} {} MTU {}", uplink.name, uplink.address, uplink.mtu));
    line("backend", backend(agent));
    if let Some(overlay) = &agent.overlay {
        let vtep_mac = agent.vtep_mac.as_deref().unwrap_or_default();
        let (vni, port) = (agent.vni.unwrap_or_default(), agent.port.unwrap_or_default());
        let (name, kind, mtu) = (&overlay.name, &agent.overlay_kind, overlay.mtu);
        let text = format!("{name} ({kind}) MTU {mtu}, VNI {vni}, UDP port {port}, MAC {vtep_mac}");
        line("overlay", text);
    }
    if agent.public_ip != uplink.address {
        line("published", agent.public_ip.to_string());
    }
    if let Some(address) = agent.public_ipv6 {
        line("IPv6", format!("tunnel packets to {address}"));
    }
    if let Some(what) = &agent.ipv6_over_ipv4 {
        line("IPv6", what.clone());
    }
    line("leases", agent.store.clone());
    let fast = &agent.fast_path;
    line("fast path", format!("{} (configured: {})", fast.effective, fast.configured));
    line("", fast.why.clone());
    line("rules", agent.firewall.rules.clone());
    line("masquerade", agent.firewall.masquerade.clone());
    line("source check", agent.source_check.clone());
    line(
        "peers",
        format!(
            "{}, {} leases refused, {} unreadable",
            peers(agent),
            agent.refused.len(),
            agent.unreadable.len()
        ),
    );
    line("pods", shown_pods(*pods, agent));
    for pod in &agent.slow_pods {
        line("", format!("{} behind {}: {}", pod.address, pod.interface, pod.why));
    }
    for (index, hook) in programs.iter().enumerate() {
        let name = if index == 0 { "programs" } else { "" };
        line(name, format!("{} on {}: {}", hook.program, hook.interface, hook.state));
    }
    if let Some(xdp) = &agent.xdp {
        line("XDP", xdp.clone());
    }
    let kernel = &agent.kernel;
    line("kernel", format!("Linux {}, programs attached by {}", kernel.release, kernel.attached));
    for missing in &kernel.missing {
        line("", missing.to_string());
    }
    line("build", agent.build.clone());
    if problems.is_empty() {
        line("problems", "none".to_owned());
    }
    for (index, problem) in problems.iter().enumerate() {
        line(if index == 0 { "PROBLEMS" } else { "" }, problem.clone());
    }
}
