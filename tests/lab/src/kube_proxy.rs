//! The real kube-proxy on a node of the lab, in the node's namespaces, as its DaemonSet runs it.
//!
//! It watches Services and EndpointSlices on the lab's API server and writes the node's iptables
//! or nf_tables rules by itself. Starting it in the other mode removes the rules of the first one,
//! as it does on a real node.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::json;

use crate::control_plane::{ControlPlane, User};
use crate::go_tools;
use crate::kube_services::Translation;
use crate::node::Node;
use crate::paths::LOGS;
use crate::process::{Place as _, eventually};
use crate::scenario::tail;

const CONFIG: &str = "/etc/kube-proxy.json";
/// How long it may take from its start, or from a change of a Service, to the node's rules.
const PROGRAMMED: Duration = Duration::from_secs(30);

/// How kube-proxy translates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyMode {
    /// `iptables`, which here is the nf_tables flavour of the command.
    Iptables,
    /// `nftables`.
    Nftables,
}

impl ProxyMode {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Iptables, Self::Nftables];

    /// As kube-proxy's configuration has it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Iptables => "iptables",
            Self::Nftables => "nftables",
        }
    }

    /// The command that shows what kube-proxy made of the Services of a family.
    fn listing(self, is_v6: bool) -> &'static str {
        match (self, is_v6) {
            (Self::Iptables, false) => "iptables-save -t nat",
            (Self::Iptables, true) => "ip6tables-save -t nat",
            (Self::Nftables, false) => "nft list table ip kube-proxy",
            (Self::Nftables, true) => "nft list table ip6 kube-proxy",
        }
    }

    /// Whether this listing translates a Service to an endpoint.
    fn translates(self, listing: &str, wanted: &Translation) -> bool {
        let Translation { service, port_name, address, port } = wanted;
        match self {
            Self::Iptables => {
                let endpoint = SocketAddr::new(*address, *port);
                listing.contains(&format!("default/{service}:{port_name} -> {endpoint}"))
            }
            Self::Nftables => {
                // The ports of the lab are called after their protocol.
                let name = format!("-default/{service}/{port_name}/{port_name}");
                let mut chains = listing.split("chain service-");
                let chain = chains.find(|chain| chain.contains(&format!("{name} {{")));
                let body = chain.and_then(|chain| chain.split('}').next()).unwrap_or_default();
                // With session affinity every endpoint has a chain of its own.
                let plain = address.to_string().replace(':', ".");
                body.contains(&format!(": {address} . {port}"))
                    || body.contains(&format!("{name}__{plain}/{port}"))
            }
        }
    }
}

/// The user that the API server's own roles know as kube-proxy; it needs a place in
/// [`Options::users`](crate::control_plane::Options::users).
#[must_use]
pub fn user() -> User {
    User::new("system:kube-proxy", &[])
}

/// A running kube-proxy; killed when dropped, its rules stay.
#[derive(Debug)]
pub struct KubeProxy {
    node: Node,
    mode: ProxyMode,
    child: Child,
    log: PathBuf,
}

impl KubeProxy {
    /// Starts it on a node whose Node object is there.
    ///
    /// # Errors
    /// When it is not built (a skip) or cannot be started.
    pub fn start(plane: &ControlPlane, node: &Node, mode: ProxyMode) -> Result<Self> {
        let program = go_tools::path("kube-proxy")?;
        write_config(node, mode, &plane.kubeconfig(&user())?, plane.pod_ranges())?;
        let log = Path::new(LOGS).join(format!("kube-proxy-{}.log", node.name()));
        let file = File::options().create(true).append(true).open(&log)?;
        let mut command = node.command(&program.to_string_lossy());
        command.arg(format!("--config={CONFIG}"));
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().context("cannot start kube-proxy")?;
        Ok(Self { node: node.clone(), mode, child, log })
    }

    /// Waits until the node's rules translate to all of these.
    ///
    /// # Errors
    /// When kube-proxy has ended, or 30 s pass: what is missing.
    pub fn wait_programmed(&mut self, wanted: &[Translation]) -> Result<()> {
        let mut missing = Vec::new();
        let what = format!("kube-proxy on {} translates", self.node.name());
        let programmed = eventually(&what, PROGRAMMED, || {
            if self.child.try_wait()?.is_some() {
                return Ok(true);
            }
            missing.clear();
            for is_v6 in [false, true] {
                missing.extend(self.missing(wanted, is_v6)?);
            }
            Ok(missing.is_empty())
        });
        programmed.with_context(|| format!("{}\nmissing: {missing:?}", self.log_tail()))?;
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("kube-proxy ended: {status}\n{}", self.log_tail()),
        }
    }

    /// What of a family is not in the node's rules.
    fn missing<'w>(
        &self,
        wanted: &'w [Translation],
        is_v6: bool,
    ) -> Result<impl Iterator<Item = &'w Translation>> {
        let mode = self.mode;
        let of_family = move |one: &&Translation| one.address.is_ipv6() == is_v6;
        let is_asked = wanted.iter().any(|one| of_family(&one));
        let listing = if is_asked { self.node.run(mode.listing(is_v6))? } else { String::new() };
        let lacks = move |one: &&Translation| !mode.translates(&listing, one);
        Ok(wanted.iter().filter(of_family).filter(lacks))
    }

    /// The end of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&fs::read_to_string(&self.log).unwrap_or_default(), 30)
    }
}

impl Drop for KubeProxy {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Writes the configuration of a node's kube-proxy: its path there.
pub(crate) fn write_config(
    node: &Node,
    mode: ProxyMode,
    kubeconfig: &str,
    pod_ranges: &str,
) -> Result<&'static str> {
    node.write(CONFIG, &config(node, mode, kubeconfig, pod_ranges))?;
    Ok(CONFIG)
}

/// kubeadm's configuration, but for what a namespace may not change: the limits of the machine's
/// connection table, and its own score with the out-of-memory killer.
fn config(node: &Node, mode: ProxyMode, kubeconfig: &str, pod_ranges: &str) -> String {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": mode.name(),
        "hostnameOverride": node.name(),
        "clientConnection": { "kubeconfig": kubeconfig },
        "clusterCIDR": pod_ranges,
        "detectLocalMode": "ClusterCIDR",
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
        "oomScoreAdj": 0,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    const NFT: &str = "\tchain service-A-default/web/udp/udp {\n\t\tmeta l4proto udp dnat ip to \
                       numgen random mod 1 map { 0 : 10.244.1.2 . 8080 }\n\t}\n\
                       \tchain service-B-default/web/tcp/tcp {\n\t\tgoto \
                       endpoint-C-default/web/tcp/tcp__10.244.1.3/8080\n\t}\n";
    const IPTABLES: &str =
        "-A KUBE-SVC-X -m comment --comment \"default/web:tcp -> 10.244.1.2:8080\" -j KUBE-SEP-Y";

    fn web(port_name: &'static str, last: u8) -> Translation {
        let address = IpAddr::from([10, 244, 1, last]);
        Translation { service: "web".to_owned(), port_name, address, port: 8080 }
    }

    #[test]
    fn a_translation_is_found_in_what_each_mode_lists() {
        assert!(ProxyMode::Iptables.translates(IPTABLES, &web("tcp", 2)));
        assert!(!ProxyMode::Iptables.translates(IPTABLES, &web("udp", 2)));
        assert!(ProxyMode::Nftables.translates(NFT, &web("udp", 2)));
        assert!(ProxyMode::Nftables.translates(NFT, &web("tcp", 3)));
        assert!(!ProxyMode::Nftables.translates(NFT, &web("tcp", 2)));
    }

    #[test]
    fn addresses_of_ipv6_are_written_in_three_ways() {
        let web = Translation { address: "fd00:10::2".parse().unwrap(), ..web("tcp", 2) };
        let iptables = "\"default/web:tcp -> [fd00:10::2]:8080\"";
        assert!(ProxyMode::Iptables.translates(iptables, &web));
        for rule in [
            "dnat ip6 to numgen random mod 1 map { 0 : fd00:10::2 . 8080 }",
            "goto endpoint-C-default/web/tcp/tcp__fd00.10..2/8080",
        ] {
            let chain = format!("chain service-B-default/web/tcp/tcp {{ {rule} }}");
            assert!(ProxyMode::Nftables.translates(&chain, &web), "{rule}");
        }
    }
}
