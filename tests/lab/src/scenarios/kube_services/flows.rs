//! Every kind of flow that a cluster has around Services, one row each: who asks, where, and who
//! must answer.

use super::host::Host;

/// How often each row asks; balanced Services must show both pods.
const FEW: u64 = 5;
const MANY: u64 = 24;

/// What the client connects to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// The cluster address of a Service.
    Cluster(&'static str),
    /// A port of this node, which stands for a Service.
    NodePort(&'static str, Host),
    /// The port of node 1 that stands for the pod `published`.
    HostPort,
    /// What the name of the headless Service stands for, one address after the other.
    Headless,
    /// The server itself.
    Direct(Host),
}

/// Who must answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// This server alone.
    By(Host),
    /// `near` and `far`, by turns.
    Both,
    /// `near` or `far`, always the same.
    OneOf,
    /// Nobody: the Service has no pod there.
    Nobody,
}

/// One row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flow {
    /// The kind of Service.
    pub(super) kind: &'static str,
    /// From where to where.
    pub(super) path: &'static str,
    pub(super) from: Host,
    pub(super) to: Target,
    pub(super) udp: bool,
    pub(super) answer: Answer,
    /// The client's own address is as good as what flannel makes of it: under flannel it has to be
    /// hidden, because the answer would go round the node by way of the bridge.
    pub(super) keeps_the_client: bool,
}

impl Flow {
    /// How often it asks.
    pub(super) fn count(&self) -> u64 {
        match self.answer {
            By(_) => FEW,
            Both | OneOf => MANY,
            Nobody => 1,
        }
    }

    const fn udp(mut self) -> Self {
        self.udp = true;
        self
    }

    const fn or_own(mut self) -> Self {
        self.keeps_the_client = true;
        self
    }
}

const fn flow(
    kind: &'static str,
    path: &'static str,
    from: Host,
    to: Target,
    answer: Answer,
) -> Flow {
    Flow { kind, path, from, to, udp: false, answer, keeps_the_client: false }
}

use Answer::{Both, By, Nobody, OneOf};
use Host::{Client, Far, Near, Node1, Node2, Outside, Published};
use Target::{Cluster, Direct, Headless, HostPort, NodePort};

const CLUSTER: &str = "ClusterIP";
const CLUSTER_UDP: &str = "ClusterIP, UDP";
const NODE_PORT: &str = "NodePort, policy Cluster";
const NODE_PORT_UDP: &str = "NodePort, policy Cluster, UDP";
const LOCAL: &str = "NodePort, policy Local";
const LOCAL_UDP: &str = "NodePort, policy Local, UDP";
const AFFINITY: &str = "session affinity ClientIP";
const HAIRPIN: &str = "hairpin";
const HEADLESS: &str = "headless";
const HOST_PORT: &str = "hostPort by portmap";
const HOST_PORT_UDP: &str = "hostPort by portmap, UDP";
const HOST_NETWORK: &str = "hostNetwork pod";
const DIRECT: &str = "no Service";

/// The rows of the table, in its order.
pub(super) const FLOWS: &[Flow] = &[
    flow(CLUSTER, "pod to a pod of its node", Client, Cluster("near"), By(Near)),
    flow(CLUSTER, "pod to a pod of another node", Client, Cluster("far"), By(Far)),
    flow(CLUSTER, "pod to two pods by turns", Client, Cluster("both"), Both),
    flow(CLUSTER_UDP, "pod to a pod of its node", Client, Cluster("near"), By(Near)).udp(),
    flow(CLUSTER_UDP, "pod to a pod of another node", Client, Cluster("far"), By(Far)).udp(),
    flow(CLUSTER_UDP, "pod to two pods by turns", Client, Cluster("both"), Both).udp(),
    flow(NODE_PORT, "outside to node 1, pod there", Outside, NodePort("near", Node1), By(Near)),
    flow(NODE_PORT, "outside to node 1, pod on node 2", Outside, NodePort("far", Node1), By(Far)),
    flow(NODE_PORT, "pod to its node, pod there", Client, NodePort("near", Node1), By(Near)),
    flow(NODE_PORT, "pod to its node, pod on node 2", Client, NodePort("far", Node1), By(Far)),
    flow(NODE_PORT, "pod to node 2, pod there", Client, NodePort("far", Node2), By(Far)),
    flow(NODE_PORT, "pod to node 2, pod on node 1", Client, NodePort("near", Node2), By(Near)),
    flow(NODE_PORT, "node to itself, pod there", Node1, NodePort("near", Node1), By(Near)),
    flow(NODE_PORT, "node to itself, pod on node 2", Node1, NodePort("far", Node1), By(Far)),
    flow(NODE_PORT, "node to node 2, pod there", Node1, NodePort("far", Node2), By(Far)),
    flow(NODE_PORT, "node to node 2, pod on node 1", Node1, NodePort("near", Node2), By(Near)),
    flow(NODE_PORT_UDP, "outside to node 1, pod there", Outside, NodePort("near", Node1), By(Near))
        .udp(),
    flow(
        NODE_PORT_UDP,
        "outside to node 1, pod on node 2",
        Outside,
        NodePort("far", Node1),
        By(Far),
    )
    .udp(),
    flow(NODE_PORT_UDP, "pod to its node, pod on node 2", Client, NodePort("far", Node1), By(Far))
        .udp(),
    flow(LOCAL, "outside to the pod's node", Outside, NodePort("local", Node1), By(Near)),
    flow(LOCAL, "outside to a node without pod", Outside, NodePort("local", Node2), Nobody),
    flow(LOCAL, "pod to its node, pod there", Client, NodePort("local", Node1), By(Near)),
    flow(LOCAL, "pod to its node, pod on node 1", Far, NodePort("local", Node2), By(Near)),
    flow(LOCAL, "pod to a node without pod", Client, NodePort("local", Node2), Nobody),
    flow(LOCAL, "pod to the pod's node", Far, NodePort("local", Node1), By(Near)),
    flow(LOCAL, "node to itself, pod on node 1", Node2, NodePort("local", Node2), By(Near)),
    flow(LOCAL_UDP, "outside to the pod's node", Outside, NodePort("local", Node1), By(Near)).udp(),
    flow(AFFINITY, "pod to one of two pods", Client, Cluster("sticky"), OneOf),
    flow(AFFINITY, "another pod to one of two pods", Published, Cluster("sticky"), OneOf),
    flow(AFFINITY, "pod to one of two pods, UDP", Client, Cluster("sticky"), OneOf).udp(),
    flow(HAIRPIN, "pod to itself by ClusterIP", Near, Cluster("near"), By(Near)),
    flow(HAIRPIN, "pod to itself by ClusterIP, UDP", Near, Cluster("near"), By(Near)).udp(),
    flow(HAIRPIN, "pod to itself by NodePort", Near, NodePort("near", Node1), By(Near)),
    flow(HAIRPIN, "pod to itself by hostPort", Published, HostPort, By(Published)),
    flow(HEADLESS, "pod to each pod", Client, Headless, Both),
    flow(HEADLESS, "pod to each pod, UDP", Client, Headless, Both).udp(),
    flow(HOST_PORT, "outside to the node", Outside, HostPort, By(Published)),
    flow(HOST_PORT, "pod of the node to the node", Client, HostPort, By(Published)).or_own(),
    flow(HOST_PORT, "pod of node 2 to the node", Far, HostPort, By(Published)),
    flow(HOST_PORT, "node to itself", Node1, HostPort, By(Published)),
    flow(HOST_PORT, "node 2 to the node", Node2, HostPort, By(Published)),
    flow(HOST_PORT_UDP, "outside to the node", Outside, HostPort, By(Published)).udp(),
    flow(HOST_PORT_UDP, "pod of node 2 to the node", Far, HostPort, By(Published)).udp(),
    flow(HOST_NETWORK, "client, to a pod of its node", Node1, Cluster("near"), By(Near)),
    flow(HOST_NETWORK, "client, to a pod of another node", Node1, Cluster("far"), By(Far)),
    flow(HOST_NETWORK, "client, to a pod of its node, UDP", Node1, Cluster("near"), By(Near)).udp(),
    flow(HOST_NETWORK, "client, to a pod of another node, UDP", Node1, Cluster("far"), By(Far))
        .udp(),
    flow(HOST_NETWORK, "server, on the pod's node", Client, Cluster("host-near"), By(Node1)),
    flow(HOST_NETWORK, "server, on another node", Client, Cluster("host-far"), By(Node2)),
    flow(HOST_NETWORK, "server, on another node, UDP", Client, Cluster("host-far"), By(Node2))
        .udp(),
    flow(HOST_NETWORK, "client and server, two nodes", Node1, Cluster("host-far"), By(Node2)),
    flow(DIRECT, "pod to a pod of its node", Client, Direct(Near), By(Near)),
    flow(DIRECT, "pod to a pod of another node", Client, Direct(Far), By(Far)),
    flow(DIRECT, "node to a pod of its own", Node1, Direct(Near), By(Near)),
    flow(DIRECT, "node to a pod of another node", Node1, Direct(Far), By(Far)),
    flow(DIRECT, "node to a pod of another node, UDP", Node1, Direct(Far), By(Far)).udp(),
    flow(DIRECT, "pod to its node", Client, Direct(Node1), By(Node1)),
    flow(DIRECT, "pod to another node", Client, Direct(Node2), By(Node2)),
    flow(DIRECT, "pod to another node, UDP", Client, Direct(Node2), By(Node2)).udp(),
    flow(DIRECT, "pod to outside", Client, Direct(Outside), By(Outside)),
    flow(DIRECT, "pod to outside, UDP", Client, Direct(Outside), By(Outside)).udp(),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_row_is_there_twice() {
        for (index, flow) in FLOWS.iter().enumerate() {
            let same = |other: &&Flow| other.kind == flow.kind && other.path == flow.path;
            assert_eq!(FLOWS.iter().position(|other| same(&other)), Some(index));
        }
    }
}
