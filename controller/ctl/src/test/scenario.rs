//! The scenarios of the self-test: a table. Numbers and ids are stable, new ones come last.

use std::time::Duration;

use super::check::Check;
use super::ground::Ground;
use super::plan;

/// One scenario.
#[derive(Debug)]
pub struct Scenario {
    /// Its stable name.
    pub id: &'static str,
    /// What it shows when it passes.
    pub shows: &'static str,
    /// What it means when it fails.
    pub means: &'static str,
    /// Where to look then.
    pub next: &'static str,
    /// What it cannot do without.
    pub(crate) needs: &'static [Need],
    pub(crate) work: Work,
}

/// What a scenario needs of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Two nodes.
    SeveralNodes,
    /// Pods in the network namespace of each node.
    HostNetwork,
    /// A DNS server for Services.
    Dns,
}

/// How a scenario goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    /// Waits for the probe pods.
    PodsReady,
    /// Asks the probes. What is not right is asked again for the time given: kube-proxy and DNS
    /// follow a new Service within seconds.
    Checks { plan: fn(&Ground) -> Vec<Check>, settle: Duration },
    /// Applies a policy and removes it.
    Policy,
    /// Looks at the agents.
    Agents,
}

const AT_ONCE: Duration = Duration::ZERO;
/// For what follows a new Service.
const SERVICE: Duration = Duration::from_secs(20);

const fn checks(plan: fn(&Ground) -> Vec<Check>, settle: Duration) -> Work {
    Work::Checks { plan, settle }
}

const FORWARDING: &str =
    "`tartanctl peers` on both nodes, then `tartanctl drops` on the receiving one";
const KUBE_PROXY: &str = "the log of kube-proxy on the client's node, and its rules there";

/// Every scenario, in the order in which they run; the first is number 1.
pub const SCENARIOS: &[Scenario] = &[
    Scenario {
        id: "pods-ready",
        shows: "Pods start on every node and get Ready: the CNI plugin works, and the kubelet reaches its pods",
        means: "pods do not start or cannot be reached on a node; all that follows leaves it out",
        next: "the named event; `tartanctl status` on the node, /etc/cni/net.d and /opt/cni/bin there",
        needs: &[],
        work: Work::PodsReady,
    },
    Scenario {
        id: "pod-to-pod-tcp",
        shows: "TCP between pods, for every ordered pair of nodes and within each node",
        means: "pods cannot open connections to each other",
        next: FORWARDING,
        needs: &[],
        work: checks(plan::pod_to_pod_tcp, AT_ONCE),
    },
    Scenario {
        id: "pod-to-pod-udp",
        shows: "UDP between pods, for every ordered pair of nodes and within each node",
        means: "datagrams between pods are lost",
        next: FORWARDING,
        needs: &[],
        work: checks(plan::pod_to_pod_udp, AT_ONCE),
    },
    Scenario {
        id: "source-address",
        shows: "A pod sees the address of the pod that talks to it, not that of a node: nothing masquerades between pods",
        means: "traffic between pods is masqueraded; policies and logs see wrong addresses",
        next: "the POSTROUTING rules of the client's node: who masquerades, and whether the cluster CIDR is the one in net-conf",
        needs: &[],
        work: checks(plan::source_address, AT_ONCE),
    },
    Scenario {
        id: "pod-to-node",
        shows: "Pods reach the address of every node, TCP and UDP (the server is a pod in the node's network)",
        means: "pods cannot reach nodes",
        next: "the firewall of the receiving node (INPUT), and masquerading on the client's node (`--ip-masq`)",
        needs: &[Need::HostNetwork],
        work: checks(plan::pod_to_node, AT_ONCE),
    },
    Scenario {
        id: "node-to-pod",
        shows: "Every node reaches the pods of every node, TCP and UDP (the client is a pod in the node's network)",
        means: "processes on a node, the kubelet and the API server among them, cannot reach pods",
        next: "`ip route get POD` on the node: it has to lead to the overlay device, or to the pod's veth; then `tartanctl drops`",
        needs: &[Need::HostNetwork],
        work: checks(plan::node_to_pod, AT_ONCE),
    },
    Scenario {
        id: "cluster-ip",
        shows: "A Service's cluster address, from a pod of every node: every endpoint is reached, TCP and UDP",
        means: "Services do not work for pods, or not for all endpoints",
        next: KUBE_PROXY,
        needs: &[],
        work: checks(plan::cluster_ip, SERVICE),
    },
    Scenario {
        id: "cluster-ip-from-node",
        shows: "A Service's cluster address, from the network of every node: every endpoint is reached, TCP and UDP",
        means: "Services do not work for the nodes themselves: webhooks and the kubelet's probes suffer",
        next: KUBE_PROXY,
        needs: &[Need::HostNetwork],
        work: checks(plan::cluster_ip_from_node, SERVICE),
    },
    Scenario {
        id: "hairpin",
        shows: "A pod reaches itself through its own Service, TCP and UDP, on every node",
        means: "a pod that happens to be chosen as its own server gets no answer",
        next: "`hairpinMode` in the CNI configuration, and kube-proxy's masquerading of hairpin traffic",
        needs: &[],
        work: checks(plan::hairpin, SERVICE),
    },
    Scenario {
        id: "node-port",
        shows: "A NodePort on every node, from a pod of every node, TCP and UDP",
        means: "NodePorts do not answer pods",
        next: KUBE_PROXY,
        needs: &[],
        work: checks(plan::node_port, SERVICE),
    },
    Scenario {
        id: "node-port-from-node",
        shows: "A NodePort on every node, from the network of every node, TCP and UDP",
        means: "NodePorts do not answer other machines",
        next: "the firewall of the named node (the range 30000-32767), then kube-proxy there",
        needs: &[Need::HostNetwork],
        work: checks(plan::node_port_from_node, SERVICE),
    },
    Scenario {
        id: "node-port-local",
        shows: "A NodePort with externalTrafficPolicy Local: another node's request is answered by the node's own endpoint, which sees the client's address",
        means: "the policy Local is not kept, or the client's address is lost",
        next: KUBE_PROXY,
        needs: &[Need::HostNetwork, Need::SeveralNodes],
        work: checks(plan::node_port_local, SERVICE),
    },
    Scenario {
        id: "dns",
        shows: "A Service's name, short and with its namespace, leads to its cluster address and to its endpoints, from pods and from the network of every node",
        means: "names of Services do not resolve, or to wrong addresses",
        next: "the pods of the cluster's DNS (label k8s-app=kube-dns in kube-system), and whether the named node reaches them",
        needs: &[Need::Dns],
        work: checks(plan::dns, SERVICE),
    },
    Scenario {
        id: "headless",
        shows: "A headless Service's name gives the address of every endpoint",
        means: "clients that look for the pods themselves, as databases do, miss some",
        next: "the EndpointSlices of the Service `headless` in the test's namespace (`--keep`), then the cluster's DNS",
        needs: &[Need::Dns],
        work: checks(plan::headless, SERVICE),
    },
    Scenario {
        id: "mtu",
        shows: "Datagrams that fill the MTU exactly and may not be fragmented, and TCP around the segment size, for every ordered pair of nodes",
        means: "the network carries less than the pods' MTU promises: large packets vanish",
        next: "the MTU of the nodes' uplinks and of all switches between them; it has to hold the pods' MTU and the tunnel's 50 bytes. Or set `Backend.MTU` in net-conf",
        needs: &[],
        work: checks(plan::mtu, AT_ONCE),
    },
    Scenario {
        id: "large-udp",
        shows: "Datagrams up to 60 000 bytes, in fragments, for every ordered pair of nodes",
        means: "fragmented datagrams are lost",
        next: "firewalls that drop fragments between the nodes; the limits net.ipv4.ipfrag_*; the scenario `mtu`",
        needs: &[],
        work: checks(plan::large_udp, AT_ONCE),
    },
    Scenario {
        id: "long-transfer",
        shows: "8 MiB each way over one connection, each byte compared, from every node to the next one and within each node",
        means: "long transfers stall or arrive changed",
        next: "the scenario `mtu` when it stalls; the uplink's offloads (`ethtool -K DEVICE gro off tso off`) when bytes are changed",
        needs: &[],
        work: checks(plan::long_transfer, AT_ONCE),
    },
    Scenario {
        id: "short-connections",
        shows: "500 connections one after the other, from every node to the next one and within each node, without one failure",
        means: "some connections fail: load shows it first",
        next: "`dmesg` for a full connection table, `tartanctl drops` on both nodes",
        needs: &[],
        work: checks(plan::short_connections, AT_ONCE),
    },
    Scenario {
        id: "network-policy",
        shows: "A NetworkPolicy that denies everything is in force within 10 seconds, from every node, and gone again when it is deleted; skipped where no policy engine enforces",
        means: "a policy holds only in part, or stays after it is gone",
        next: "the policy engine on the named node; `tartanctl status` there: with an engine the fast path must not be `on`",
        needs: &[],
        work: Work::Policy,
    },
    Scenario {
        id: "tartan-agents",
        shows: "Tartan's agent is Ready on every node, `tartanctl status` finds nothing wrong there; drops that grew during the test are named",
        means: "an agent is missing or complains",
        next: "the agent's log: kubectl logs -n kube-tartan POD",
        needs: &[],
        work: Work::Agents,
    },
];

impl Scenario {
    /// Its number: its place in the table.
    #[must_use]
    pub fn number(&self) -> usize {
        SCENARIOS.iter().position(|one| one.id == self.id).map_or(0, |index| index + 1)
    }

    /// Whether a selection's word means it: its id or its number.
    pub(crate) fn is_called(&self, word: &str) -> bool {
        word == self.id || word.parse() == Ok(self.number())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_numbers_follow_the_table() {
        let ids: BTreeSet<_> = SCENARIOS.iter().map(|scenario| scenario.id).collect();
        assert_eq!(ids.len(), SCENARIOS.len());
        assert_eq!(SCENARIOS[0].id, "pods-ready");
        for (index, scenario) in SCENARIOS.iter().enumerate() {
            assert_eq!(scenario.number(), index + 1);
            assert!(scenario.is_called(scenario.id));
            assert!(scenario.is_called(&(index + 1).to_string()));
        }
        assert!(!SCENARIOS[0].is_called("pods"));
    }
}
