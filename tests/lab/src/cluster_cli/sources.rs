//! Which logs there are, by node and program.

use std::path::{Path, PathBuf};

use super::fault::Daemon;
use super::logs::entries_of;
use super::state::{NodeEntry, State};
use crate::paths::LOGS;

/// Namespaces of the agents' pods.
pub(super) const AGENTS: [&str; 2] = ["kube-tartan", "kube-flannel"];
/// Programs that are a node's agent.
const AGENT_PROGRAMS: [&str; 2] = ["tartand", "flanneld"];

/// One log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Source {
    /// Its node; `None` for the control plane.
    pub(super) node: Option<String>,
    /// What the command line calls the program.
    pub(super) program: String,
    /// The file, as this machine sees it.
    pub(super) path: PathBuf,
    /// Whether a container runtime wrote it.
    pub(super) cri: bool,
}

impl Source {
    /// As its file in the lab is called: `etcd.log`, `kubelet-node1.log`.
    pub(super) fn of_file(path: &Path, state: &State) -> Option<Self> {
        let stem = path.file_name()?.to_str()?.strip_suffix(".log")?;
        let of_node = |node: &NodeEntry| {
            let program = stem.strip_suffix(&node.name)?.strip_suffix('-')?;
            Some((Some(node.name.clone()), program))
        };
        let (node, program) = state.nodes.iter().find_map(of_node).unwrap_or((None, stem));
        // The API servers are numbered.
        let program = program.strip_suffix("-0").unwrap_or(program);
        let is_agent = AGENT_PROGRAMS.contains(&program);
        let program = if is_agent { Daemon::Agent.name() } else { program };
        Some(Self { node, program: program.to_owned(), path: path.to_owned(), cri: false })
    }

    /// Whether the user means it by this name of a program.
    pub(super) fn is_called(&self, word: &str) -> bool {
        let is_agent = self.program == Daemon::Agent.name();
        self.program == word || (is_agent && AGENT_PROGRAMS.contains(&word))
    }

    /// `node1 kubelet`.
    pub(super) fn title(&self) -> String {
        let node = self.node.as_deref().into_iter();
        node.chain([self.program.as_str()]).collect::<Vec<_>>().join(" ")
    }
}

/// Every log of the cluster.
pub(super) fn sources(state: &State) -> Vec<Source> {
    let files = entries_of(&state.path(LOGS));
    let mut all: Vec<_> = files.iter().filter_map(|path| Source::of_file(path, state)).collect();
    for node in &state.nodes {
        all.extend(node.holder.and_then(|holder| agent(state, &node.name, holder)));
    }
    all.sort_by(|one, other| (&one.node, &one.program).cmp(&(&other.node, &other.program)));
    all
}

/// The newest log of the agent's container: `NAMESPACE_POD_UID/CONTAINER/COUNT.log`.
fn agent(state: &State, node: &str, holder: u32) -> Option<Source> {
    let pods = entries_of(&state.path(&format!("/proc/{holder}/root/var/log/pods")));
    let is_agent = |pod: &&PathBuf| {
        let name = pod.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.split('_').next().is_some_and(|namespace| AGENTS.contains(&namespace))
    };
    let containers = pods.iter().filter(is_agent).flat_map(|pod| entries_of(pod));
    let logs = containers.flat_map(|container| entries_of(&container));
    let age = |path: &PathBuf| path.metadata().and_then(|file| file.modified()).ok();
    let path = logs.filter(|path| path.is_file()).max_by_key(age)?;
    let program = Daemon::Agent.name().to_owned();
    Some(Source { node: Some(node.to_owned()), program, path, cri: true })
}
