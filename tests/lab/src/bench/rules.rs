//! The rules on the nodes: as the contender's own set-up leaves them, or with those that the real
//! kube-proxy writes for a thousand Services beside them.

use std::net::Ipv4Addr;
use std::thread;

use anyhow::{Context as _, Result, anyhow, ensure};
use serde_json::json;

use super::contender::Contender;
use super::ground::Ground;
use crate::api::{Client, NodeSpec};
use crate::kube_proxy::{KubeProxy, ProxyMode};
use crate::kube_services::Translation;
use crate::node::Node;
use crate::process::Place as _;

/// Services, of one TCP port and one endpoint each.
pub(super) const SERVICES: u16 = 1000;
const SERVICES_PATH: &str = "/api/v1/namespaces/default/services";
const SLICES_PATH: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
const PORT: u16 = 8080;
/// Requests under way at the same time.
const CLIENTS: u16 = 8;

/// Which rules are in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum RuleSet {
    /// The contender's own.
    Own,
    /// Those of kube-proxy as well.
    Services,
}

impl RuleSet {
    /// Where a node keeps them.
    fn file(self) -> &'static str {
        match self {
            Self::Own => "/run/own.rules",
            Self::Services => "/run/services.rules",
        }
    }

    /// Puts them in force on all nodes, in one commit per table.
    pub(super) fn set(self, contenders: &[Contender]) -> Result<()> {
        let nodes = contenders.iter().flat_map(|contender| &contender.nodes);
        nodes.into_iter().try_for_each(|node| self.restore(node))
    }

    fn save(self, node: &Node) -> Result<()> {
        node.shell(&format!("iptables-save > {}", self.file())).map(drop)
    }

    fn restore(self, node: &Node) -> Result<()> {
        node.shell(&format!("iptables-restore -w < {}", self.file())).map(drop)
    }
}

/// Makes the Services, lets kube-proxy write their rules on every node, and keeps both sets there;
/// the contenders' own are in force afterwards.
///
/// # Errors
/// When a program is not built (a skip), or the rules do not come.
pub(super) fn prepare(ground: &Ground, contenders: &[Contender]) -> Result<()> {
    let plane = ground.plane()?;
    // The error of a missing program, before a thousand Services are made for it.
    crate::go_tools::path("kube-proxy")?;
    publish(plane.admin())?;
    for contender in contenders {
        let mut proxies = Vec::new();
        for node in &contender.nodes {
            RuleSet::Own.save(node)?;
            register(plane.admin(), node)?;
            proxies.push(KubeProxy::start(plane, node, ProxyMode::Iptables)?);
        }
        for (node, proxy) in contender.nodes.iter().zip(&mut proxies) {
            proxy.wait_programmed(&[translation(0), translation(SERVICES - 1)])?;
            check(node)?;
            RuleSet::Services.save(node)?;
        }
        drop(proxies);
        contender.nodes.iter().try_for_each(|node| RuleSet::Own.restore(node))?;
    }
    Ok(())
}

/// kube-proxy waits for its Node.
fn register(admin: &Client, node: &Node) -> Result<()> {
    if admin.node(node.name()).is_err() {
        admin.create_node(node.name(), &NodeSpec::default())?;
        admin.set_node_addresses(node.name(), &[node.address().into()])?;
    }
    Ok(())
}

fn check(node: &Node) -> Result<()> {
    let rules = node.run("iptables-save -t nat")?;
    let chains = rules.lines().filter(|rule| rule.starts_with(":KUBE-SVC-")).count();
    ensure!(chains >= usize::from(SERVICES), "{} has rules of {chains} Services", node.name());
    Ok(())
}

fn translation(number: u16) -> Translation {
    let (service, address) = (name(number), endpoint(number));
    Translation { service, port_name: "tcp", address: address.into(), port: PORT }
}

fn name(number: u16) -> String {
    format!("bench-{number}")
}

/// An address of a pod that does not exist: nobody connects to these Services.
fn endpoint(number: u16) -> Ipv4Addr {
    let [high, low] = number.to_be_bytes();
    Ipv4Addr::new(10, 244, 240 + high, low)
}

fn publish(admin: &Client) -> Result<()> {
    thread::scope(|scope| {
        let part = |first: u16| {
            (first..SERVICES).step_by(usize::from(CLIENTS)).try_for_each(|n| make(admin, n))
        };
        let started = (0..CLIENTS).map(|first| scope.spawn(move || part(first)));
        let all: Vec<_> = started.collect();
        all.into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| anyhow!("a client died"))?)
    })
    .context("cannot make the Services")
}

fn make(admin: &Client, number: u16) -> Result<()> {
    let name = name(number);
    let ports = [json!({ "name": "tcp", "protocol": "TCP", "port": 80, "targetPort": PORT })];
    let service = json!({ "metadata": { "name": name }, "spec": { "ports": ports } });
    admin.create(SERVICES_PATH, &service)?;
    let labels = json!({ "kubernetes.io/service-name": name });
    let slice = json!({
        "metadata": { "name": format!("{name}-1"), "labels": labels },
        "addressType": "IPv4",
        "endpoints": [{
            "addresses": [endpoint(number)],
            "conditions": { "ready": true, "serving": true, "terminating": false },
        }],
        "ports": [{ "name": "tcp", "protocol": "TCP", "port": PORT }],
    });
    admin.create(SLICES_PATH, &slice).map(drop)
}
