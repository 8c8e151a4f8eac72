//! Whether the agent lives and the node is ready, for probes and people.
//!
//! The bodies of `/healthz` and `/readyz` are flanneld's, because monitoring
//! compares them. `?verbose` lists every check with its reason.

mod metrics;
mod server;

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tartan_datapath::Features;

pub use self::metrics::{METRICS, Metric};
pub use self::server::serve;

/// A pass that takes longer than this hangs: the slowest healthy one takes a second.
const HUNG: Duration = Duration::from_mins(2);

/// What has to be in place, in the order in which the reconciler sees to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Check {
    /// The interface that leads to the other nodes.
    Uplink,
    /// The node's subnet.
    Lease,
    /// The overlay device.
    Overlay,
    /// What the other nodes hold.
    Peers,
    /// Programs, tables and hooks.
    Programs,
    /// The host's way to the pod network.
    Routes,
    /// The rules in the packet filter.
    Rules,
    /// The pods that are there already.
    Pods,
    /// The file that the CNI plugin reads.
    SubnetFile,
    /// Whether the other nodes can find this one.
    Published,
    /// The CNI configuration.
    CniConf,
}

/// How it stands with one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// In place.
    Ok,
    /// Not in place, and why.
    Failed(String),
    /// Not looked at yet.
    NotReached,
}

/// What the reconciler tells the probes; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Health {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    alive_at: Instant,
    failed: Option<(Check, String)>,
    /// Informational: forwarding does not depend on it.
    store: Option<String>,
    /// No pass has ended yet.
    fresh: bool,
    /// What the programs use of the kernel.
    features: Option<Features>,
}

impl Default for State {
    fn default() -> Self {
        Self { alive_at: Instant::now(), failed: None, store: None, fresh: true, features: None }
    }
}

impl Check {
    /// Every check.
    pub const ALL: [Self; 11] = [
        Self::Uplink,
        Self::Lease,
        Self::Overlay,
        Self::Peers,
        Self::Programs,
        Self::Routes,
        Self::Rules,
        Self::Pods,
        Self::SubnetFile,
        Self::Published,
        Self::CniConf,
    ];

    /// Its name in `/readyz?verbose`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Uplink => "uplink",
            Self::Lease => "lease",
            Self::Overlay => "overlay",
            Self::Peers => "peers",
            Self::Programs => "programs",
            Self::Routes => "routes",
            Self::Rules => "rules",
            Self::Pods => "pods",
            Self::SubnetFile => "subnet-file",
            Self::Published => "published",
            Self::CniConf => "cni-conf",
        }
    }
}

impl Health {
    /// The loop runs.
    pub fn beat(&self) {
        self.with(|state| state.alive_at = Instant::now());
    }

    /// A pass ended well.
    pub fn passed(&self) {
        self.with(|state| {
            state.fresh = false;
            state.failed = None;
        });
    }

    /// A pass ended at this check.
    pub fn failed(&self, check: Check, why: &str) {
        self.with(|state| {
            state.fresh = false;
            state.failed = Some((check, one_line(why)));
        });
    }

    /// How it stands with the lease store.
    pub fn store(&self, trouble: Option<String>) {
        self.with(|state| state.store = trouble);
    }

    /// What the programs use of the kernel.
    pub fn features(&self, features: Features) {
        self.with(|state| state.features = Some(features));
    }

    /// The text of `/metrics`.
    #[must_use]
    pub fn metrics(&self) -> String {
        metrics::page(self.with(|state| state.features))
    }

    /// Whether the node can serve pods.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.with(|state| !state.fresh && state.failed.is_none())
    }

    /// Why the agent should be restarted, if it should.
    #[must_use]
    pub fn hung(&self) -> Option<String> {
        let since = self.with(|state| state.alive_at.elapsed());
        (since > HUNG)
            .then(|| format!("the reconciler has not come round for {} s", since.as_secs()))
    }

    /// Every check.
    #[must_use]
    pub fn outcomes(&self) -> Vec<(Check, Outcome)> {
        self.with(|state| Check::ALL.map(|check| (check, state.outcome(check))).to_vec())
    }

    /// The text of `/readyz?verbose`: the form of Kubernetes' own components.
    #[must_use]
    pub fn verbose(&self) -> String {
        let mut text = String::new();
        for (check, outcome) in self.outcomes() {
            let name = check.name();
            // Writing to a string cannot fail.
            let _ = match outcome {
                Outcome::Ok => writeln!(text, "[+]{name} ok"),
                Outcome::Failed(why) => writeln!(text, "[-]{name} failed: {why}"),
                Outcome::NotReached => writeln!(text, "[ ]{name} not reached"),
            };
        }
        if let Some(trouble) = self.with(|state| state.store.clone()) {
            let _ = writeln!(text, "[!]store {trouble} (forwarding does not depend on it)");
        }
        let verdict = if self.is_ready() { "passed" } else { "failed" };
        let _ = writeln!(text, "readyz check {verdict}");
        text
    }

    fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl State {
    fn outcome(&self, check: Check) -> Outcome {
        match &self.failed {
            _ if self.fresh => Outcome::NotReached,
            None => Outcome::Ok,
            Some((failed, _)) if check < *failed => Outcome::Ok,
            Some((failed, why)) if check == *failed => Outcome::Failed(why.clone()),
            Some(_) => Outcome::NotReached,
        }
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_ready_after_a_pass_and_not_before() {
        let health = Health::default();
        assert!(!health.is_ready());
        assert!(health.verbose().contains("[ ]uplink not reached"));
        health.passed();
        assert!(health.is_ready());
        assert!(health.verbose().ends_with("readyz check passed\n"));
    }

    #[test]
    fn the_check_that_failed_says_why_and_those_after_it_were_not_reached() {
        let health = Health::default();
        health.failed(Check::Lease, "node \"a\" pod cidr not assigned:\n  set it");
        let text = health.verbose();
        assert!(text.contains("[+]uplink ok\n[-]lease failed: node \"a\" pod cidr not assigned: set it\n[ ]overlay"), "{text}");
        assert!(!health.is_ready());
    }

    #[test]
    fn a_store_in_trouble_does_not_make_a_node_unready() {
        let health = Health::default();
        health.passed();
        health.store(Some("no answer for 60 s".to_owned()));
        assert!(health.is_ready());
        assert!(health.verbose().contains("[!]store no answer for 60 s"));
    }

    #[test]
    fn a_loop_that_beats_is_alive() {
        let health = Health::default();
        health.beat();
        assert_eq!(health.hung(), None);
    }
}
