//! The store and the API server: the suite that `cargo test` runs against the scripted server,
//! here against the real one, and what a cluster of 15,000 nodes costs an agent.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use crate::control_plane::{ControlPlane, Options, User};
use crate::paths;
use crate::process::{Place as _, checked};
use crate::scenario::{Entry, Scenario};
use crate::wire::{Outside, Wire};

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("kube_store_suite::the_real_server_and_the_store", suite).within(300).with_tools(),
    Entry::new("kube_store_suite::fifteen_thousand_nodes", scale).within(240),
];

const PROGRAM: &str = "tartan-fakeapi";
const ETCD: &str = "http://127.0.0.1:2379";
const NODES: &str = "15000";

/// Killed when dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spawn(arguments: &[&str]) -> Result<Running> {
    let program = paths::binary(PROGRAM)?;
    let mut command = Outside.command(&program.to_string_lossy());
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().map(Running).with_context(|| format!("cannot start {PROGRAM}"))
}

fn suite(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let mut control_plane = ControlPlane::start(&lab, &Options::without_controllers())?;
    let kubeconfig = control_plane.kubeconfig(&User::admin())?;
    let mut running = spawn(&["suite", "--kubeconfig", &kubeconfig, "--etcd", ETCD])?;
    let mut orders = running.0.stdin.take().context("no way to answer")?;
    let lines = BufReader::new(running.0.stdout.take().context("no way to listen")?).lines();
    for line in lines {
        let line = line?;
        match line.strip_prefix('@') {
            None => scenario.note(line),
            Some(order) => obey(&mut control_plane, order, &mut orders)?,
        }
    }
    let status = running.0.wait()?;
    ensure!(status.success(), "the suite failed: {status}");
    Ok(())
}

/// What only the keeper of the API server can do.
fn obey(control_plane: &mut ControlPlane, order: &str, answer: &mut ChildStdin) -> Result<()> {
    match order {
        "kill" => control_plane.kill(0)?,
        "start" => control_plane.restart(0)?,
        "freeze" => control_plane.freeze(0)?,
        "thaw" => control_plane.thaw(0)?,
        other => bail!("no such order: {other}"),
    }
    writeln!(answer, "done").context("the suite has ended")
}

fn scale(scenario: &mut Scenario) -> Result<()> {
    let _lab = scenario.lab(Wire::Offloaded)?;
    let mut server = spawn(&["serve", "--nodes", NODES, "--heartbeats", "50"])?;
    let mut url = String::new();
    BufReader::new(server.0.stdout.take().context("no way to listen")?).read_line(&mut url)?;
    let program = paths::binary(PROGRAM)?;
    let mut command = Outside.command(&program.to_string_lossy());
    command.args(["scale", "--url", url.trim(), "--nodes", NODES, "--seconds", "20"]);
    let text = checked(&mut command)?;
    scenario.note(text.trim());
    judge(&serde_json::from_str(&text)?)
}

/// The figures that are promised.
fn judge(figures: &Value) -> Result<()> {
    let figure = |name: &str| figures[name].as_f64().with_context(|| format!("no {name}"));
    ensure!(figure("peers")? >= 15_000.0, "peers are missing");
    let worked = Duration::from_secs_f64(figure("worked_s")?);
    ensure!(worked <= Duration::from_secs(3), "listed to computed took {worked:?} of work");
    for name in ["resident_kib", "most_kib"] {
        let kib = figure(name)?;
        ensure!(kib <= 60.0 * 1024.0, "{name}: {:.1} MiB", kib / 1024.0);
    }
    ensure!(figure("stirs")? < 1.0, "status updates were changes");
    ensure!(figure("writes")? < 1.0, "status updates were written to the kernel");
    Ok(())
}
