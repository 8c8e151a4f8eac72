//! A node taken over from the real flannel, in each way that flannel writes its rules: none of
//! them is left once ours are there, and no packet leaves unmasqueraded in between, there and back.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use super::ground::{Flavour, MIRROR, OUTSIDE, ask, mirror};
use crate::control_plane::{ControlPlane, Options};
use crate::flannel::{FlannelNode, prepare};
use crate::kube_cluster::register;
use crate::netfilter_rules::Rules;
use crate::node::{NET_CONF, Node};
use crate::pod::Pod;
use crate::process::{Place as _, checked, eventually};
use crate::scenario::Scenario;
use crate::tools::seen::SeenReport;
use crate::traffic::{self, RrReport, Running};
use crate::wire::{Outside, Wire};

/// Longer than a change of hands takes.
const SECONDS: f64 = 5.0;
/// How long an answer may take: as long as TCP needs to repeat a lost SYN.
const PATIENCE_MS: u64 = 2500;
/// How long leftovers may stay after the agent is ready.
const SOON: Duration = Duration::from_secs(5);

/// Takes a node over and gives it back; `legacy` says which iptables the node has.
pub(super) fn there_and_back(
    scenario: &mut Scenario,
    flavour: Flavour,
    legacy: bool,
) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let plane = ControlPlane::start(&lab, &Options::default())?;
    let node = lab.node()?;
    register(&plane, &node)?;
    prepare(&node)?;
    node.write(NET_CONF, &flavour.net_conf())?;
    if legacy {
        legacy_iptables(&node)?;
    }
    strangers(&node)?;
    let before = Rules::all(&node)?;
    let kubeconfig = plane.kubeconfig(&plane.bound_agent(node.name())?)?;
    let mut flannel = FlannelNode::start_prepared(&node, &kubeconfig)?;
    let pod = flannel.add_pod("a")?;
    let _servers = (mirror(&Outside, OUTSIDE, MIRROR)?, traffic::echo(&Outside, None)?);
    flannels_rules_are_there(&node)?;
    let traffic = Traffic::start(&pod)?;
    flannel.stop(Signal::SIGTERM)?;
    let mut agent = node.start_kube_agent_with(&kubeconfig, &["--ip-masq"])?;
    agent.wait_ready()?;
    let gone = || Ok(flannels(&Rules::all(&node)?).is_empty());
    eventually("flannel's rules are gone", SOON, gone)
        .with_context(|| format!("{:#?}", Rules::all(&node)))?;
    traffic.finish(scenario, &node, "there")?;
    before.unchanged("the take-over", &Rules::foreign(&node)?)?;
    give_back(scenario, &node, agent, &mut flannel, &pod)
}

fn give_back(
    scenario: &Scenario,
    node: &Node,
    agent: crate::agent::Agent,
    flannel: &mut FlannelNode,
    pod: &Pod,
) -> Result<()> {
    let traffic = Traffic::start(pod)?;
    agent.stop(Signal::SIGTERM)?;
    flannel.start_agent(&[])?;
    eventually("flannel's rules are back", SOON, || Ok(flannels_rules_are_there(node).is_ok()))?;
    checked(node.product("tartanctl")?.arg("cleanup"))?;
    traffic.finish(scenario, node, "back")?;
    let left = Rules::ours(node)?;
    ensure!(left.is_empty(), "left of ours: {left:#?}");
    flannels_rules_are_there(node)
}

/// The node's `iptables` is the older one, for flannel and everybody who asks by that name.
fn legacy_iptables(node: &Node) -> Result<()> {
    for name in ["iptables", "ip6tables"] {
        for tool in ["", "-save", "-restore"] {
            let link = format!("/etc/alternatives/{name}{tool}");
            node.run(&format!("ln -sfn /usr/sbin/{name}-legacy{tool} {link}"))?;
        }
    }
    let version = node.run("iptables --version")?;
    ensure!(version.contains("legacy"), "{version}");
    Ok(())
}

/// What others have beside flannel, in both engines.
fn strangers(node: &Node) -> Result<()> {
    for iptables in ["iptables-nft", "iptables-legacy"] {
        node.run(&format!("{iptables} -w -t nat -N KUBE-POSTROUTING"))?;
        node.run(&format!("{iptables} -w -t nat -A POSTROUTING -j KUBE-POSTROUTING"))?;
        node.run(&format!("{iptables} -w -A FORWARD -p tcp --dport 9 -j DROP"))?;
    }
    Ok(())
}

/// Every line that is flannel's.
fn flannels(rules: &Rules) -> Vec<String> {
    let words = ["FLANNEL", "flannel-ipv", "flanneld"];
    words.iter().flat_map(|word| rules.with(word)).map(str::to_owned).collect()
}

fn flannels_rules_are_there(node: &Node) -> Result<()> {
    let rules = flannels(&Rules::all(node)?);
    let masquerades = rules.iter().any(|rule| rule.to_lowercase().contains("masquerade"));
    ensure!(masquerades, "flannel does not masquerade: {rules:#?}");
    Ok(())
}

/// New connections and new UDP flows to an outside host, one after the other without a break, and
/// one connection that lasts.
struct Traffic {
    new: [Running<SeenReport>; 2],
    lasting: Running<RrReport>,
}

impl Traffic {
    fn start(pod: &Pod) -> Result<Self> {
        let start = |over: &str| {
            let flags =
                format!("--seconds {SECONDS} --pause-us 1000 --patience-ms {PATIENCE_MS} {over}");
            ask(pod, (OUTSIDE, MIRROR), &flags)
        };
        let line = format!(
            "rr --to {OUTSIDE}:{} --over tcp --seconds {SECONDS} --pause-us 2000",
            traffic::ECHO_PORT
        );
        let lasting = Running::start(pod, &line, "")?;
        Ok(Self { new: [start("")?, start("--udp")?], lasting })
    }

    /// Each was answered, and came from the node's address; the lasting one did not break.
    fn finish(self, scenario: &Scenario, node: &Node, what: &str) -> Result<()> {
        let lasting = self.lasting.finish().with_context(|| format!("{what}: it broke"))?;
        ensure!(lasting.round_trips > 100, "{what}: {lasting:?}");
        for asking in self.new {
            let report = asking.finish()?;
            let number = report.answers.len();
            scenario.note(format!("{what}: {number} new flows, {} failed", report.failed));
            ensure!(report.failed == 0, "{what}: {:?}", report.first_failure);
            let astray = report.answers.iter().find(|answer| answer.seen.ip() != node.address());
            ensure!(number > 100 && astray.is_none(), "{what}: {number}, {astray:?}");
        }
        Ok(())
    }
}
