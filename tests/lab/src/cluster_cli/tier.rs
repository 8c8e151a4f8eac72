//! What the commands need from a cluster, whichever tier it is.

use anyhow::Result;

use super::fault::Daemon;
use super::report::Pod;
use crate::control_plane::ControlPlane;
use crate::node::Node;

/// A node of a cluster.
#[derive(Debug, Clone)]
pub(super) struct NodeView {
    /// `node1` and so on.
    pub(super) name: String,
    /// Its address on the wire.
    pub(super) address: String,
    /// The node; `None` while its machine is off.
    pub(super) machine: Option<Node>,
}

/// A cluster that is up, in the lab's process 1.
pub(super) trait Tier {
    /// The control plane.
    fn plane(&mut self) -> &mut ControlPlane;

    /// What runs beside the nodes.
    fn control_programs(&self) -> &'static [&'static str];

    /// What runs on each node, and the file name of what is executed.
    fn node_programs(&self) -> Vec<(Daemon, &'static str)>;

    /// The nodes, in their order.
    fn nodes(&self) -> Vec<NodeView>;

    /// Pods of a node that the API server does not know.
    fn own_pods(&self, index: usize) -> Vec<Pod>;

    /// Name and version of what runs, as far as only this tier knows.
    fn versions(&self) -> Vec<(String, String)>;

    /// Switches the node's machine off: processes, links and /run are lost.
    fn switch_off(&mut self, index: usize) -> Result<()>;

    /// Switches it on and starts its programs.
    fn switch_on(&mut self, index: usize) -> Result<()>;

    /// Whether everything is there again after [`Tier::switch_on`].
    fn is_complete(&mut self, index: usize) -> Result<bool>;

    /// Starts a program that has ended; nothing to do where somebody else brings it back.
    fn bring_back(&mut self, index: usize, daemon: Daemon) -> Result<()>;

    /// Whether it runs in a pod, so that the kubelet brings it back.
    fn is_pod(&self, daemon: Daemon) -> bool;

    /// What [`Tier::failed_pairs`] tries.
    fn check_title(&self) -> &'static str;

    /// Lets every pod talk to every other: what failed.
    fn failed_pairs(&mut self) -> Result<Vec<String>>;

    /// What is to be done again and again.
    fn tick(&mut self) -> Result<()>;
}
