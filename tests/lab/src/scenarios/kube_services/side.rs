//! Two nodes of one pod network with what runs on them: the same under Tartan and under flannel.

use std::collections::BTreeMap;
use std::net::{Ipv6Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;
use serde_json::json;

use super::host::Host;
use crate::control_plane::{ControlPlane, User};
use crate::flannel::{FLANNEL_CONFLIST, FlannelNode, install, prepare};
use crate::go_tools;
use crate::ipv6::{address6, plug6, pod_address6};
use crate::kube_cluster::{KubeMember, register};
use crate::kube_proxy::{KubeProxy, ProxyMode};
use crate::kube_services::{BACKEND_PORT, Backend, Reach, Service, ServiceSpec, Translation};
use crate::lab::{Lab, Outsider};
use crate::node::{CONFLIST, NET_CONF, Node};
use crate::pod::Pod;
use crate::process::{Place as _, checked, eventually};
use crate::traffic::Running;

/// The port of its node that the pod `published` has.
pub(super) const HOST_PORT: u16 = 8088;

/// flannel's own configuration of both families.
const FLANNEL_DUAL: &str = r#"{"Network":"10.244.0.0/16","IPv6Network":"fd00:10:244::/56","EnableIPv6":true,"EnableNFTables":false,"Backend":{"Type":"vxlan","VNI":1,"Port":8472}}"#;

/// Ours, with the plugin that makes host ports after it.
const TARTAN_CONFLIST: &str = r#"{"name":"cbr0","cniVersion":"1.0.0","plugins":[{"type":"tartan-cni"},{"type":"portmap","capabilities":{"portMappings":true}}]}"#;

/// flannel's flag, for both.
pub(super) const FLAGS: &[&str] = &["--ip-masq"];

/// Which addresses are asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// IPv4, on nodes that have nothing else.
    V4,
    /// IPv6, on nodes of both families.
    V6,
}

/// Who runs the pod network.
pub(super) enum Agents {
    /// Tartan.
    Tartan(Vec<KubeMember>),
    /// The real flannel; it runs until the end.
    Flannel { _agents: Vec<FlannelNode> },
}

/// Two nodes, their pods and Services.
pub(super) struct Side {
    pub(super) nodes: [Node; 2],
    pub(super) outside: Outsider,
    pub(super) family: Family,
    agents: Agents,
    pods: BTreeMap<&'static str, Pod>,
    addresses6: BTreeMap<&'static str, Ipv6Addr>,
    specs: Vec<ServiceSpec>,
    services: BTreeMap<&'static str, Service>,
    prefix: &'static str,
    _witnesses: Vec<Running<()>>,
}

impl Side {
    /// Two nodes under Tartan.
    pub(super) fn tartan(
        lab: &Lab,
        plane: &ControlPlane,
        outside: &Outsider,
        family: Family,
    ) -> Result<Self> {
        let nodes: [Node; 2] = lab.nodes()?;
        let mut members = Vec::new();
        for node in &nodes {
            node.write(NET_CONF, &net_conf(family, "auto"))?;
            family.prepare(node)?;
            let mut member = KubeMember::without_agent(plane, node.clone())?;
            family.publish(plane, node)?;
            install(node, "portmap", &go_tools::path("portmap")?)?;
            node.write(CONFLIST, TARTAN_CONFLIST)?;
            member.start_agent(FLAGS)?;
            members.push(member);
        }
        Self::new(family, nodes, outside, Agents::Tartan(members), plane)
    }

    /// Two nodes under flannel.
    pub(super) fn flannel(
        lab: &Lab,
        plane: &ControlPlane,
        outside: &Outsider,
        family: Family,
    ) -> Result<Self> {
        let nodes: [Node; 2] = lab.nodes()?;
        let mut agents = Vec::new();
        for node in &nodes {
            prepare(node)?;
            family.prepare(node)?;
            if family == Family::V6 {
                node.write(NET_CONF, FLANNEL_DUAL)?;
            }
            register(plane, node)?;
            family.publish(plane, node)?;
            let kubeconfig = plane.kubeconfig(&User::agent(node.name()))?;
            agents.push(FlannelNode::start_prepared(node, &kubeconfig)?);
            ensure!(node.read(CONFLIST)? == FLANNEL_CONFLIST, "not flannel's own chain");
        }
        Self::new(family, nodes, outside, Agents::Flannel { _agents: agents }, plane)
    }

    fn new(
        family: Family,
        nodes: [Node; 2],
        outside: &Outsider,
        agents: Agents,
        plane: &ControlPlane,
    ) -> Result<Self> {
        let prefix = match agents {
            Agents::Tartan(_) => "tartan",
            Agents::Flannel { .. } => "flannel",
        };
        let mut this = Self {
            nodes,
            outside: outside.clone(),
            family,
            agents,
            pods: BTreeMap::new(),
            addresses6: BTreeMap::new(),
            specs: Vec::new(),
            services: BTreeMap::new(),
            prefix,
            _witnesses: Vec::new(),
        };
        for host in [Host::Client, Host::Near, Host::Far, Host::Published] {
            let node = &this.nodes[usize::from(host == Host::Far)];
            let pod = node.pod(host.name())?;
            attach(&pod, host == Host::Published)?;
            if family == Family::V6 {
                this.addresses6.insert(host.name(), settled6(&pod)?);
            }
            this.pods.insert(host.name(), pod);
        }
        this.publish_pods(plane)?;
        this.publish_services(plane)?;
        let witnesses = Host::ALL.iter().map(|host| this.witness(*host)).collect::<Result<_>>()?;
        Ok(Self { _witnesses: witnesses, ..this })
    }

    fn witness(&self, host: Host) -> Result<Running<()>> {
        let (name, address) = (host.name(), host.address(self)?);
        // The machine outside serves both sides.
        let port = if host == Host::Outside { self.outside_port() } else { BACKEND_PORT };
        let line = format!("witness --name {name} --bind {}", SocketAddr::new(address, port));
        Running::start(host.place(self)?, &line, "")
    }

    /// The port of the server outside.
    pub(super) fn outside_port(&self) -> u16 {
        match self.agents {
            Agents::Tartan(_) => BACKEND_PORT,
            Agents::Flannel { .. } => BACKEND_PORT + 1000,
        }
    }

    fn backend(&self, host: Host) -> Result<Backend> {
        Ok(Backend {
            pod: format!("{}-{}", self.prefix, host.name()),
            address: host.address(self)?,
            node: host.node(self).to_owned(),
        })
    }

    fn publish_pods(&self, plane: &ControlPlane) -> Result<()> {
        for host in Host::ALL.into_iter().filter(|host| *host != Host::Outside) {
            let host_network = matches!(host, Host::Node1 | Host::Node2);
            plane.admin().publish_pod(&self.backend(host)?, host_network)?;
        }
        Ok(())
    }

    fn publish_services(&mut self, plane: &ControlPlane) -> Result<()> {
        let kinds: [(&'static str, Reach, bool, &[Host]); 8] = [
            ("near", Reach::NodePort, false, &[Host::Near]),
            ("far", Reach::NodePort, false, &[Host::Far]),
            ("both", Reach::Cluster, false, &[Host::Near, Host::Far]),
            ("sticky", Reach::Cluster, true, &[Host::Near, Host::Far]),
            ("headless", Reach::Headless, false, &[Host::Near, Host::Far]),
            ("local", Reach::NodePortLocal, false, &[Host::Near]),
            ("host-near", Reach::Cluster, false, &[Host::Node1]),
            ("host-far", Reach::Cluster, false, &[Host::Node2]),
        ];
        for (name, reach, client_affinity, hosts) in kinds {
            let backends = hosts.iter().map(|host| self.backend(*host)).collect::<Result<_>>()?;
            let name_there = self.full_name(name);
            let spec = ServiceSpec { name: name_there, reach, client_affinity, backends };
            self.services.insert(name, plane.admin().publish_service(&spec)?);
            self.specs.push(spec);
        }
        Ok(())
    }

    /// What the API server calls a Service of this side.
    pub(super) fn full_name(&self, service: &str) -> String {
        format!("{}-{service}", self.prefix)
    }

    pub(super) fn pod(&self, host: Host) -> Result<&Pod> {
        self.pods.get(host.name()).with_context(|| format!("{host:?} is no pod"))
    }

    pub(super) fn address6(&self, host: Host) -> Result<Ipv6Addr> {
        let address = self.addresses6.get(host.name()).copied();
        address.with_context(|| format!("{host:?} is no pod of both families"))
    }

    pub(super) fn service(&self, name: &str) -> Result<&Service> {
        self.services.get(name).with_context(|| format!("no Service {name}"))
    }

    /// Starts kube-proxy on both nodes, and waits until they know every Service of this side.
    pub(super) fn proxies(&self, plane: &ControlPlane, mode: ProxyMode) -> Result<Vec<KubeProxy>> {
        let each = self.nodes.iter().map(|node| KubeProxy::start(plane, node, mode));
        let mut proxies = each.collect::<Result<Vec<_>>>()?;
        let wanted: Vec<Translation> =
            self.specs.iter().flat_map(ServiceSpec::translations).collect();
        for (proxy, node) in proxies.iter_mut().zip(&self.nodes) {
            proxy.wait_programmed(&wanted)?;
            // A translation outlives the rules that made it: a UDP client that happens on the port
            // of an earlier one would be answered by the other mode's choice.
            node.run("conntrack -F")?;
        }
        Ok(proxies)
    }

    /// Tartan's members.
    pub(super) fn members(&mut self) -> Result<&mut Vec<KubeMember>> {
        match &mut self.agents {
            Agents::Tartan(members) => Ok(members),
            Agents::Flannel { .. } => anyhow::bail!("these nodes are flannel's"),
        }
    }

    /// The mode of the fast path that is in force on both nodes.
    pub(super) fn effective_fast_path(&mut self) -> Result<String> {
        let mut modes = Vec::new();
        for member in self.members()? {
            modes.push(member.state()?["fast_path"]["effective"].as_str().map(str::to_owned));
        }
        ensure!(modes[0] == modes[1], "the nodes do not agree: {modes:?}");
        modes.remove(0).context("the agent does not say which mode is in force")
    }

    /// Ends the agents, changes `FastPath` and starts them again.
    pub(super) fn set_fast_path(&mut self, mode: &str) -> Result<()> {
        let conf = net_conf(self.family, mode);
        for member in self.members()? {
            member.stop_agent(Signal::SIGTERM)?;
            member.node.write(NET_CONF, &conf)?;
            member.start_agent(FLAGS)?;
        }
        Ok(())
    }
}

impl Family {
    /// What an administrator gives a node of this family, its machine's settings included.
    fn prepare(self, node: &Node) -> Result<()> {
        match self {
            Self::V4 => Ok(()),
            Self::V6 => {
                plug6(node, node.address())?;
                node.sysctl("net.ipv6.conf.all.forwarding", "1")?;
                node.sysctl("net.bridge.bridge-nf-call-ip6tables", "1")
            }
        }
    }

    /// What the kubelet says of the node's addresses, once its Node object is there.
    fn publish(self, plane: &ControlPlane, node: &Node) -> Result<()> {
        let address = node.address();
        match self {
            Self::V4 => Ok(()),
            Self::V6 => plane
                .admin()
                .set_node_addresses(node.name(), &[address.into(), address6(address).into()]),
        }
    }
}

/// A pod's IPv6 address, once the pod can use it: flannel's bridge looks for duplicates of its own
/// address first.
fn settled6(pod: &Pod) -> Result<Ipv6Addr> {
    let node = address6(pod.node().address());
    let what = format!("{} reaches its node over IPv6", pod.label());
    eventually(&what, Duration::from_secs(10), || {
        pod.succeeds(&format!("ping -n -c 1 -W 1 {node}"))
    })?;
    pod_address6(pod)
}

/// flannel's, with one more key.
fn net_conf(family: Family, fast_path: &str) -> String {
    let mut conf = json!({
        "Network": "10.244.0.0/16",
        "FastPath": fast_path,
        "Backend": { "Type": "vxlan", "VNI": 1, "Port": 8472 },
    });
    if family == Family::V6 {
        conf["EnableIPv6"] = true.into();
        conf["IPv6Network"] = "fd00:10:244::/56".into();
    }
    conf.to_string()
}

/// Connects a pod by the node's whole chain, as a container runtime does: `hostPort` comes to the
/// plugins as a capability.
fn attach(pod: &Pod, published: bool) -> Result<()> {
    let mut command = pod.node().command(&go_tools::path("cnitool")?.to_string_lossy());
    command.args(["add", "cbr0", &pod.netns()]).env("CNI_PATH", "/opt/cni/bin");
    command.env("CNI_ARGS", format!("IgnoreUnknown=1;K8S_POD_NAME={}", pod.name()));
    if published {
        let mapping = |protocol| json!({ "hostPort": HOST_PORT, "containerPort": BACKEND_PORT, "protocol": protocol });
        let mappings = ["tcp", "udp"].map(mapping);
        command.env("CAP_ARGS", json!({ "portMappings": mappings }).to_string());
    }
    let printed = checked(&mut command).with_context(|| format!("the chain of {}", pod.label()))?;
    let result = serde_json::from_str(&printed).context("cnitool printed no JSON")?;
    pod.set_address(crate::cni::Attachment { result }.address()?.addr());
    Ok(())
}
