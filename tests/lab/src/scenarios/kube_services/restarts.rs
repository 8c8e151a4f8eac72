//! New connections through Services, direct flows beside them, and agents that are killed.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use super::host::Host;
use super::side::{FLAGS, Side};
use crate::control_plane::ControlPlane;
use crate::counters::Counts;
use crate::kube_proxy::ProxyMode;
use crate::kube_services::SERVICE_PORT;
use crate::scenario::Scenario;
use crate::traffic::{ECHO_PORT, EchoReport, InquireReport, RrReport, Running};

/// Who connects to which Service.
const CLIENTS: [(Host, &str); 4] =
    [(Host::Client, "both"), (Host::Published, "far"), (Host::Far, "near"), (Host::Near, "sticky")];
/// Connections of each client per restart.
const CONNECTIONS: u64 = 125;
/// A restart takes about as long.
const ROUND_SECONDS: f64 = 0.8;
const RESTARTS: u64 = 20;

/// 10,000 connections while every agent is killed 20 times.
pub(super) fn run(scenario: &Scenario, side: &mut Side, plane: &ControlPlane) -> Result<()> {
    let _proxies = side.proxies(plane, ProxyMode::Iptables)?;
    let (mut made, mut direct) = (0, 0);
    let _echo = echo(side)?;
    let before = side.nodes[0].paths()?;
    let start = Instant::now();
    for round in 0..RESTARTS {
        let beside = Beside::start(side)?;
        let clients = CLIENTS.map(|(from, service)| connect(side, from, service));
        restart_all(side)?;
        for client in clients {
            let report = client?.finish()?;
            let answered: u64 = report.answers.iter().map(|(_, count)| count).sum();
            ensure!(report.failed == 0 && answered == CONNECTIONS, "round {round}: {report:?}");
            made += answered;
        }
        direct += beside.finish()?;
    }
    let added = side.nodes[0].paths()?.since(&before);
    scenario.note(format!(
        "{made} connections, {direct} direct round trips, {RESTARTS} kills of each agent in {:?}: \
         {added:?}",
        start.elapsed()
    ));
    ensure!(made == 10_000, "only {made} connections were made");
    went_fast(&added, direct)
}

fn connect(side: &Side, from: Host, service: &str) -> Result<Running<InquireReport>> {
    let address = side.service(service)?.cluster_ip.context("no cluster address")?;
    let to = SocketAddr::new(address, SERVICE_PORT);
    let line = format!("inquire --to {to} --count {CONNECTIONS} --seconds {ROUND_SECONDS}");
    Running::start(from.place(side)?, &line, "")
}

fn restart_all(side: &mut Side) -> Result<()> {
    for member in side.members()? {
        member.stop_agent(Signal::SIGKILL)?;
        member.start_agent(FLAGS)?;
    }
    Ok(())
}

/// Two flows between pods of two nodes that nobody translates.
struct Beside([Running<RrReport>; 2]);

impl Beside {
    fn start(side: &Side) -> Result<Self> {
        let to = SocketAddr::new(Host::Far.address(side)?, ECHO_PORT);
        let start = |over: &str| {
            let line =
                format!("rr --to {to} --over {over} --seconds {ROUND_SECONDS} --pause-us 1000");
            Running::start(Host::Client.place(side)?, &line, "")
        };
        Ok(Self([start("tcp")?, start("udp")?]))
    }

    fn finish(self) -> Result<u64> {
        let mut round_trips = 0;
        for flow in self.0 {
            let report = flow.finish()?;
            ensure!(report.lost == 0 && report.round_trips > 0, "beside: {report:?}");
            round_trips += report.round_trips;
        }
        Ok(round_trips)
    }
}

/// Each round trip is at least one packet of the client; the first ones of a flow may be slow.
fn went_fast(added: &Counts, round_trips: u64) -> Result<()> {
    let fast = added.get("pod-remote-fast");
    ensure!(fast * 10 >= round_trips * 9, "{fast} packets of {round_trips} round trips: {added:?}");
    Ok(())
}

/// An echo server of both families in the pod of the other node.
fn echo(side: &Side) -> Result<Running<EchoReport>> {
    Running::start(side.pod(Host::Far)?, "echo --bind ::", "")
}

/// Whether a direct flow goes fast as this mode promises.
pub(super) fn goes_fast(side: &Side, fast: bool) -> Result<()> {
    let _echo = echo(side)?;
    let before = side.nodes[0].paths()?;
    let round_trips = Beside::start(side)?.finish()?;
    let added = side.nodes[0].paths()?.since(&before);
    if fast {
        return went_fast(&added, round_trips);
    }
    ensure!(added.get("pod-remote-fast") == 0, "off, but fast: {added:?}");
    ensure!(added.total() > 0, "nothing was counted");
    Ok(())
}
