//! What flanneld shows to the outside, shown by our agent on the real API server: its command
//! line, its probes, its order at start, its exit codes.

mod waiting;

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::agent::Agent;
use crate::api::Client;
use crate::control_plane::{ControlPlane, NAMESPACE, Options};
use crate::flannel::FLANNEL_CONFLIST;
use crate::health::probe;
use crate::kube_cluster::{KubeCluster, PREFIX, published, register};
use crate::lab::Lab;
use crate::node::{CONFLIST, NET_CONF, Node};
use crate::paths::{self, CONTROL};
use crate::process::{Place as _, eventually};
use crate::scenario::{Entry, Scenario};
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("kube_surface::flannels_manifest_starts_it", flannels_manifest).with_tools(),
    Entry::new("kube_surface::a_node_without_pod_cidr_waits", waiting::run).with_tools(),
    Entry::new("kube_surface::addresses_follow_annotations", addresses).with_tools(),
    Entry::new("kube_surface::exit_codes", exit_codes),
];

const SUBNET_ENV: &str = "/run/flannel/subnet.env";
const AGENT: &str = "/opt/bin/flanneld";
/// The source of the configuration list: a file of flannel's ConfigMap.
const CONFLIST_SOURCE: &str = "/etc/kube-flannel/cni-conf.json";
const START: Duration = Duration::from_secs(20);

/// What flannel's manifest needs besides ours: who sets no `NODE_NAME` lets the agent read its pod.
fn let_agents_read_pods(admin: &Client) -> Result<()> {
    let (group, name) = ("rbac.authorization.k8s.io", "lab-read-pods");
    let role = json!({
        "metadata": { "name": name },
        "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["get"] }],
    });
    let binding = json!({
        "metadata": { "name": name },
        "roleRef": { "apiGroup": group, "kind": "ClusterRole", "name": name },
        "subjects": [{ "kind": "ServiceAccount", "name": "tartan", "namespace": NAMESPACE }],
    });
    admin.ensure(&format!("/apis/{group}/v1/clusterroles"), &role)?;
    admin.ensure(&format!("/apis/{group}/v1/clusterrolebindings"), &binding)
}

/// `flanneld`, which is ours under that name, as flannel's image has it.
fn install_as_flanneld(node: &Node) -> Result<()> {
    let ours = paths::binary("tartand")?;
    node.shell(&format!("mkdir -p /opt/bin; cp {} {AGENT}; chmod 755 {AGENT}", ours.display()))
        .map(drop)
}

/// systemd's end of `NOTIFY_SOCKET`.
struct Systemd {
    socket: UnixDatagram,
    path: String,
}

impl Systemd {
    fn new(node: &Node) -> Result<Self> {
        // The lab and its nodes see one file system here.
        let path = format!("{CONTROL}/notify-{}", node.name());
        let socket = UnixDatagram::bind(&path).with_context(|| path.clone())?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, path })
    }

    /// What came since the last question.
    fn heard(&self) -> Result<String> {
        let (mut all, mut buffer) = (String::new(), [0; 4096]);
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => {
                    all.push_str(&String::from_utf8_lossy(&buffer[..length]));
                    all.push('\n');
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(all),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn is_there(node: &Node, path: &str) -> bool {
    node.path(path).exists()
}

fn flannels_manifest(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let plane = ControlPlane::start(&lab, &Options::default())?;
    let_agents_read_pods(plane.admin())?;
    let node = lab.node()?;
    register(&plane, &node)?;
    let kubeconfig = plane.kubeconfig(&plane.bound_agent(node.name())?)?;
    install_as_flanneld(&node)?;
    node.run(&format!("rm {CONFLIST}"))?;
    node.write(CONFLIST_SOURCE, FLANNEL_CONFLIST)?;
    let systemd = Systemd::new(&node)?;
    let agent = start_by_manifest(&node, &kubeconfig, &systemd)?;
    let heard = the_conflist_comes_last(scenario, &node, &agent, &systemd)?;
    ready_is_told_to_systemd(scenario, &systemd, heard)?;
    for (path, body) in
        [("/healthz", "flanneld is running"), ("/readyz", "flanneld is ready"), ("/livez", "ok")]
    {
        let answer = probe(&node, path)?;
        ensure!(answer == (200, body.to_owned()), "{path}: {answer:?}");
    }
    let (status, verbose) = probe(&node, "/readyz?verbose")?;
    ensure!(status == 200 && verbose.contains("[+]cni-conf ok"), "{status} {verbose}");
    ensure!(node.read(SUBNET_ENV)?.ends_with("FLANNEL_IPMASQ=true\n"), "--ip-masq has no effect");
    ensure!(node.read(CONFLIST)? == FLANNEL_CONFLIST, "another configuration list");
    let name = node.run(&format!("cat /proc/{}/comm", agent.pid()))?;
    ensure!(name.trim() == "flanneld", "the process is called {name}");
    agent.stop(Signal::SIGTERM)?;
    ensure!(systemd.heard()?.contains("STOPPING=1"), "systemd was not told of the end");
    Ok(())
}

/// flannel's own arguments and variables, the rest of flanneld's flags, and our two.
fn start_by_manifest(node: &Node, kubeconfig: &str, systemd: &Systemd) -> Result<Agent> {
    let kubeconfig = format!("--kubeconfig-file={kubeconfig}");
    let conf = format!("-net-config-path={NET_CONF}");
    let source = format!("--cni-conf-source={CONFLIST_SOURCE}");
    let target = format!("--cni-conf-file={CONFLIST}");
    let arguments = [
        "--ip-masq",
        "--kube-subnet-mgr",
        "--healthz-port=8081",
        "--healthz-ip=0.0.0.0",
        &kubeconfig,
        &conf,
        "-iface-regex=^eth[0-9]$",
        "--iface=eth0",
        "--kube-annotation-prefix=flannel.alpha.coreos.com",
        "--subnet-file=/run/flannel/subnet.env",
        "--set-node-network-unavailable=true",
        "--iptables-resync=5",
        "--iptables-forward-rules=true",
        "--ip-masq-fully-random-disable=false",
        "--ip-blackhole-route=false",
        "--subnet-lease-renew-margin=60",
        "-v=1",
        "--vmodule=main=1",
        &source,
        &target,
    ];
    let pod = format!("kube-tartan-ds-{}", node.name());
    let variables = [
        ("POD_NAME", pod.as_str()),
        ("POD_NAMESPACE", NAMESPACE),
        ("EVENT_QUEUE_DEPTH", "5000"),
        ("CONT_WHEN_CACHE_NOT_READY", "false"),
        ("NOTIFY_SOCKET", systemd.path.as_str()),
        // The command line beats it.
        ("FLANNELD_IFACE", "no-such-interface"),
    ];
    node.start_agent_as(AGENT, &arguments, &variables)
}

/// A runtime that looks without a pause never sees the list before what it stands for, and systemd
/// hears of nothing before the list is there; what it has heard by then.
fn the_conflist_comes_last(
    scenario: &Scenario,
    node: &Node,
    agent: &Agent,
    systemd: &Systemd,
) -> Result<String> {
    let (start, mut heard) = (Instant::now(), String::new());
    while !is_there(node, CONFLIST) {
        heard.push_str(&systemd.heard()?);
        let is_early = heard.contains("READY=1") && !is_there(node, CONFLIST);
        ensure!(!is_early, "systemd hears of a node without {CONFLIST}");
        if start.elapsed() > START {
            bail!("no {CONFLIST}: {}", agent.log_tail());
        }
    }
    let seen = start.elapsed();
    for path in [SUBNET_ENV, "/sys/fs/bpf/tartan/links/uplink_ingress"] {
        ensure!(is_there(node, path), "{path} is missing");
    }
    let device = node.run("ip -o link show dev flannel.1")?;
    ensure!(device.contains("UP"), "{device}");
    let written = |path: &str| node.path(path).metadata()?.modified();
    ensure!(written(SUBNET_ENV)? <= written(CONFLIST)?, "the list is older than subnet.env");
    scenario.note(format!("the configuration list came {seen:?} after the start"));
    Ok(heard)
}

fn ready_is_told_to_systemd(
    scenario: &Scenario,
    systemd: &Systemd,
    mut heard: String,
) -> Result<()> {
    eventually("systemd hears READY=1", START, || {
        heard.push_str(&systemd.heard()?);
        Ok(heard.contains("READY=1"))
    })?;
    scenario.note(format!("systemd heard: {}", heard.replace('\n', " ")));
    Ok(())
}

/// `public-ip-overwrite` is published and followed at once; `node-public-ip` chooses the uplink's
/// address.
fn addresses(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let cluster = KubeCluster::new(&lab, &Options::default(), 2, 0)?;
    let [one, two] = &cluster.members[..] else { bail!("not two members") };
    let (admin, name) = (cluster.admin(), one.node.name());
    let subnet = admin.wait_pod_cidr(name)?.network();
    let own = one.node.address().to_string();
    // A second address of the node, which node-public-ip needs; the overwrite needs none.
    one.node.run("ip address add 172.30.0.71/24 dev eth0")?;
    for (key, value, wanted) in [
        ("public-ip-overwrite", Some("172.30.0.70"), "172.30.0.70"),
        ("public-ip-overwrite", Some("not an address"), &own),
        ("public-ip-overwrite", None, &own),
        ("node-public-ip", Some("172.30.0.71"), "172.30.0.71"),
        ("node-public-ip", None, &own),
    ] {
        let start = Instant::now();
        admin.annotate_node(name, &format!("{PREFIX}{key}"), value)?;
        eventually(&format!("{key} {value:?}: peers send to {wanted}"), START, || {
            let rows = two.node.peer_rows()?;
            Ok(rows.get(&subnet).is_some_and(|row| row.node.to_string() == wanted))
        })?;
        let took = start.elapsed();
        scenario.note(format!("{key} {value:?}: in the peer's table after {took:?}"));
        ensure!(took < Duration::from_secs(1), "{key} took {took:?}");
        ensure!(
            published(admin, name)?.get("public-ip").map(String::as_str) == Some(wanted),
            "public-ip is not {wanted}"
        );
    }
    Ok(())
}

/// 2 for a command line, 1 for a start that fails; the last line says what to do.
fn exit_codes(scenario: &mut Scenario) -> Result<()> {
    let lab: Lab = scenario.lab(Wire::Offloaded)?;
    let node = lab.node()?;
    install_as_flanneld(&node)?;
    node.write("/etc/kube-flannel/bad.json", r#"{"Network":"10.244.0.0/99"}"#)?;
    node.write("/etc/kube-flannel/bad.yml", "clusters: 7")?;
    let net_conf = format!("--net-config-path={NET_CONF}");
    for (arguments, code, word) in [
        (&["--no-such-flag"][..], 2, "no-such-flag"),
        (&["--kube-subnet-mgr", "--healthz-port=many"], 2, "healthz-port"),
        (&["--kube-subnet-mgr", "--lease-dir=/x"], 2, "exclude each other"),
        (&["--kube-subnet-mgr", "--net-config-path=/none"], 1, "failed to read net conf"),
        (
            &["--kube-subnet-mgr", "--net-config-path=/etc/kube-flannel/bad.json"],
            1,
            "error parsing subnet config",
        ),
        (
            &["--kube-subnet-mgr", &net_conf, "--kubeconfig-file=/etc/kube-flannel/bad.yml"],
            1,
            "fail to create kubernetes config",
        ),
        (
            &["--kube-subnet-mgr", &net_conf, "--kubeconfig-file=/none"],
            1,
            "fail to create kubernetes config",
        ),
        (&["--version"], 0, "tartand"),
    ] {
        ends_with(&node, arguments, code, word)?;
        scenario.note(format!("{arguments:?}: {code}"));
    }
    Ok(())
}

fn ends_with(node: &Node, arguments: &[&str], code: i32, word: &str) -> Result<()> {
    let agent = node.start_agent_as(AGENT, arguments, &[("NODE_NAME", node.name())])?;
    let (ended, log) = agent.wait_end()?;
    ensure!(ended == Some(code), "{arguments:?}: ended with {ended:?}, not {code}: {log}");
    let last = log.lines().last().unwrap_or_default();
    ensure!(last.contains(word), "{arguments:?}: {last:?} says nothing of {word:?}");
    for path in [SUBNET_ENV, "/sys/fs/bpf/tartan"] {
        ensure!(!is_there(node, path), "{arguments:?} made {path}");
    }
    Ok(())
}
