//! `tartan-lab cluster up`: Tartan nodes on a real API server, checked, then kept for looking at.
//!
//! It stands in the foreground: with this process everything of the cluster is gone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::cluster::{Servers, pairs, talk};
use crate::control_plane::{ControlPlane, Options, User};
use crate::kube_cluster::{KubeCluster, KubeMember};
use crate::lab::Lab;
use crate::node::Node;
use crate::pod::Pod;
use crate::process::Place as _;
use crate::sandbox::{Ended, Sandbox};
use crate::scenario::show_logs;
use crate::wire::Wire;

/// What to do with a cluster.
#[derive(Debug, clap::Subcommand)]
pub enum Action {
    /// Bring one up and keep it until Ctrl-C.
    Up(Args),
}

/// Flags of `tartan-lab cluster up`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// How many nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    nodes: u8,
    /// Leave at once, with the verdict of the checks as exit code.
    #[arg(long)]
    exit: bool,
}

/// Runs the cluster in a lab until it, or the user, ends it.
///
/// # Errors
/// When the user is not root or the lab cannot be started.
pub fn run(action: &Action) -> Result<u8> {
    let Action::Up(args) = action;
    let nodes = args.nodes.to_string();
    let mut words = vec!["cluster", "--nodes", &nodes];
    words.extend(args.exit.then_some("--exit"));
    match Sandbox::spawn(&words, None)?.wait(None)? {
        Ended::Exited(code) => Ok(u8::try_from(code).unwrap_or(1)),
        Ended::Interrupted(signal) => {
            println!("\nThe cluster is gone; nothing of it is left.");
            process::exit(128 + signal)
        }
        Ended::TimedOut => Ok(1),
    }
}

/// This process's number outside the lab. To be asked before the lab has a `/proc` of its own.
///
/// # Errors
/// When there is no `/proc`.
pub fn outer_pid() -> Result<PathBuf> {
    fs::read_link("/proc/self").context("/proc is not mounted")
}

/// The cluster, in the lab's process 1, whose number outside is `outer`.
///
/// # Errors
/// When something does not come up; the logs are shown then, because they go with the lab.
pub fn inside(args: &Args, outer: &Path) -> Result<u8> {
    let done = bring_up(args, outer);
    if done.is_err() {
        show_logs();
    }
    done
}

fn bring_up(args: &Args, outer: &Path) -> Result<u8> {
    let start = Instant::now();
    let lab = Lab::new(Wire::Framed)?;
    let plane = step("etcd, kube-apiserver, kube-controller-manager", || {
        ControlPlane::start(&lab, &Options::default())
    })?;
    let mut cluster = KubeCluster { plane, members: Vec::new() };
    for _ in 0..args.nodes {
        let node = lab.node()?;
        let title = format!("{}: Node object, tartand, one pod", node.name());
        let member = step(&title, || join(&cluster.plane, node))?;
        cluster.members.push(member);
    }
    let sound = step("all ordered pairs of pods: ping, TCP, UDP, 100 kB", || all_pairs(&cluster))?;
    println!("\n{}  {:.1} s in all\n", verdict(sound), start.elapsed().as_secs_f64());
    if args.exit {
        return Ok(u8::from(!sound));
    }
    println!("{}", guide(&cluster, &outer.display().to_string())?);
    loop {
        thread::sleep(Duration::from_hours(1));
    }
}

fn join(plane: &ControlPlane, node: Node) -> Result<KubeMember> {
    let mut member = KubeMember::new(plane, node)?;
    member.add_pod("a")?;
    Ok(member)
}

fn verdict(sound: bool) -> &'static str {
    if sound { "PASS" } else { "FAIL" }
}

/// Prints how long a step took, whether it failed or not.
fn step<T>(title: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let start = Instant::now();
    let done = work();
    let verdict = if done.is_ok() { "" } else { "FAILED after " };
    println!("  {title:54} {verdict}{:5.1} s", start.elapsed().as_secs_f64());
    done.with_context(|| title.to_owned())
}

/// Whether everybody reaches everybody; who does not is printed.
fn all_pairs(cluster: &KubeCluster) -> Result<bool> {
    let _servers = cluster.pods().map(Servers::start).collect::<Result<Vec<_>>>()?;
    let mut sound = true;
    for (from, to) in pairs(&cluster.pods().collect::<Vec<_>>()) {
        if let Err(error) = talk(from, to, 100_000) {
            println!("  FAILED {error:#}");
            sound = false;
        }
    }
    Ok(sound)
}

/// What to type in another terminal.
fn guide(cluster: &KubeCluster, outer: &str) -> Result<String> {
    let admin = User::admin();
    let kubeconfig = cluster.plane.kubeconfig(&admin)?;
    let (url, token) = (cluster.plane.access(0, &admin).url, admin.token());
    let mut lines = vec![
        "From another terminal, as root:".to_owned(),
        String::new(),
        format!("  administrator's kubeconfig   /proc/{outer}/root{kubeconfig}"),
        format!(
            "  kubectl        nsenter -t {outer} -n -m kubectl --kubeconfig {kubeconfig} get nodes"
        ),
        format!(
            "  without it     nsenter -t {outer} -n -m curl -s --cacert /mnt/control/ca.crt \\\n    \
             -H 'Authorization: Bearer {token}' {url}/api/v1/nodes"
        ),
    ];
    for member in &cluster.members {
        let (name, pid) = (member.node.name(), member.node.pid());
        let pods: Vec<_> = member.pods.iter().map(Pod::label).collect();
        lines.push(format!(
            "  {name:14} nsenter -t {outer} -a nsenter -t {pid} -n -m -u bash   ({})",
            pods.join(", ")
        ));
    }
    lines.push("\nCtrl-C ends it, and everything with it.".to_owned());
    Ok(lines.join("\n"))
}
