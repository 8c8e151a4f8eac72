//! What process 1 does while the cluster is up: looks after the programs, reports, breaks and
//! mends.

use std::collections::BTreeSet;

use anyhow::Result;

use super::census::{Census, Expected, network_namespace};
use super::control::{Answer, Request};
use super::fault::Daemon;
use super::holes::Holes;
use super::observe::{NOWHERE, Observed, observe};
use super::options::Tier as Level;
use super::orphans::Orphans;
use super::report::{InForce, Life, Node as NodeReport, Pod, Problem, Report, problems};
use super::state::{NodeEntry, State};
use super::tier::{NodeView, Tier};
use crate::node::Node;

/// How long a program stays away before it is started again, as systemd's default for kubelets.
const PAUSE: u64 = 1;

/// What holds the API server down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ApiState {
    /// By SIGSTOP.
    Frozen,
    /// By SIGKILL.
    Killed,
}

/// A cluster under watch.
pub(super) struct Guardian {
    pub(super) tier: Box<dyn Tier>,
    pub(super) state: State,
    pub(super) census: Census,
    pub(super) holes: Holes,
    pub(super) api: Option<ApiState>,
    pub(super) kept_down: BTreeSet<(String, Daemon)>,
    worries: Vec<Problem>,
    orphans: Orphans,
}

impl Guardian {
    /// Takes a cluster that has come up.
    pub(super) fn new(tier: Box<dyn Tier>, state: State) -> Self {
        let mut this = Self {
            tier,
            state,
            census: Census::default(),
            holes: Holes::default(),
            api: None,
            kept_down: BTreeSet::new(),
            worries: Vec::new(),
            orphans: Orphans::default(),
        };
        this.count();
        this
    }

    /// The state as the machine should know it.
    pub(super) fn state(&mut self) -> &State {
        let entry = |view: NodeView| NodeEntry {
            name: view.name,
            holder: view.machine.as_ref().map(Node::pid),
        };
        self.state.nodes = self.tier.nodes().into_iter().map(entry).collect();
        &self.state
    }

    /// Looks after everything once.
    pub(super) fn tick(&mut self) {
        self.holes.tick();
        self.count();
        self.worries.clear();
        let mut programs = self.tier.control_programs().to_vec();
        programs.extend(self.tier.node_programs().iter().map(|one| one.1));
        self.orphans.reap(&programs);
        if let Err(error) = self.tier.tick() {
            self.worries.push(Problem::new(format!("{error:#}")));
        }
        for (index, view) in self.tier.nodes().into_iter().enumerate() {
            if let Err(error) = self.revive(index, &view) {
                self.worries.push(Problem::new(format!("{}: {error:#}", view.name)));
            }
        }
    }

    /// Looks which programs run.
    pub(super) fn count(&mut self) {
        let nodes = self.tier.nodes();
        let control = self.tier.control_programs().iter();
        let mut expected: Vec<_> =
            control.map(|&name| Expected { node: None, name, executable: name }).collect();
        for view in &nodes {
            expected.extend(self.tier.node_programs().into_iter().map(|(daemon, executable)| {
                Expected { node: Some(view.name.clone()), name: daemon.name(), executable }
            }));
        }
        self.census.update(&expected, |name| {
            let view = nodes.iter().find(|view| view.name == name)?;
            network_namespace(&view.machine.as_ref()?.pid().to_string())
        });
    }

    /// Starts what has ended on a node and was not meant to stay away.
    fn revive(&mut self, index: usize, view: &NodeView) -> Result<()> {
        if view.machine.is_none() {
            return Ok(());
        }
        let programs = self.census.programs(Some(&view.name));
        for (daemon, _) in self.tier.node_programs() {
            let gone = programs.iter().any(|program| {
                program.name == daemon.name()
                    && matches!(program.life, Life::Ended { seconds } if seconds >= PAUSE)
            });
            if gone && !self.kept_down.contains(&(view.name.clone(), daemon)) {
                self.tier.bring_back(index, daemon)?;
            }
        }
        Ok(())
    }

    /// Answers a command.
    pub(super) fn answer(&mut self, request: Request) -> Answer {
        match request {
            Request::Status => Answer::Status(Box::new(self.report())),
            Request::Fault(fault) => match self.apply(&fault) {
                Ok(done) => Answer::Done(done),
                Err(error) => Answer::Refused(format!("{error:#}")),
            },
        }
    }

    fn report(&mut self) -> Report {
        self.count();
        let observed = observe(self.tier.plane().admin());
        let api_answers = observed.is_ok();
        let observed = observed.unwrap_or_default();
        let control_plane = self.census.programs(None);
        let views = self.tier.nodes();
        let nodes: Vec<_> = views
            .into_iter()
            .enumerate()
            .map(|(index, view)| self.node_report(index, view, &observed))
            .collect();
        let mut problems = problems(&control_plane, &nodes, api_answers);
        if self.state.options.tier == Level::L2 {
            problems.extend(observed.pods(NOWHERE).iter().filter_map(Pod::trouble));
        }
        problems.extend(self.worries.iter().cloned());
        Report {
            options: self.state.options.clone(),
            uptime_seconds: self.state.age().as_secs(),
            lab: self.state.lab.pid,
            versions: self.versions(&observed),
            control_plane,
            nodes,
            faults: self.faults(),
            problems,
        }
    }

    fn node_report(&self, index: usize, view: NodeView, observed: &Observed) -> NodeReport {
        // Without a kubelet, pods of the API server are words that nobody acts on.
        let mut pods = match self.state.options.tier {
            Level::L1 => Vec::new(),
            Level::L2 => observed.pods(&view.name),
        };
        pods.extend(self.tier.own_pods(index));
        NodeReport {
            on: view.machine.is_some(),
            ready: observed.ready(&view.name),
            pod_cidr: observed.pod_cidr(&view.name),
            programs: self.census.programs(Some(&view.name)),
            pods,
            name: view.name,
            address: view.address,
        }
    }

    fn versions(&self, observed: &Observed) -> Vec<(String, String)> {
        let kubernetes = ("Kubernetes".to_owned(), observed.version.clone());
        let known = Some(kubernetes).filter(|(_, version)| !version.is_empty());
        let pods = match self.state.options.tier {
            Level::L1 => None,
            Level::L2 => observed.agent(),
        };
        let known = known.into_iter().chain(observed.runtime()).chain(pods);
        known.chain(self.tier.versions()).collect()
    }

    fn faults(&self) -> Vec<InForce> {
        let lasting = |what: String, end: String| InForce { what, seconds_left: None, end };
        let api = self.api.map(|api| match api {
            ApiState::Frozen => {
                lasting("the API server is frozen".to_owned(), "api cont".to_owned())
            }
            ApiState::Killed => {
                lasting("the API server was killed".to_owned(), "api restart".to_owned())
            }
        });
        let off = self.tier.nodes().into_iter().filter(|view| view.machine.is_none());
        let off = off.map(|NodeView { name, .. }| {
            lasting(format!("{name} is switched off"), format!("node {name} start"))
        });
        let down = self.kept_down.iter().map(|(node, daemon)| {
            let name = daemon.name();
            lasting(format!("{name} of {node} is kept down"), format!("start {node} {name}"))
        });
        api.into_iter().chain(off).chain(down).chain(self.holes.report()).collect()
    }
}
