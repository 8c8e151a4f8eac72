//! What the tests found, as it is kept.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::explanations::Explanations;
use super::options::{Network, Proxy, Suite};

/// How a test ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    /// As it should.
    Passed,
    /// It did not.
    Failed,
}

/// One test that ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Spec {
    /// Its whole name.
    pub(super) name: String,
    pub(super) verdict: Verdict,
    pub(super) seconds: f64,
    /// Why it failed: what it said, and where.
    pub(super) failure: Option<String>,
}

/// What one start of ginkgo ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SuiteRun {
    pub(super) suite: Suite,
    /// How many tests its regular expressions choose. Some find that they do not apply.
    pub(super) chosen: usize,
    pub(super) seconds: f64,
    pub(super) specs: Vec<Spec>,
    /// Packets per path of the agents that the tests caused, on all nodes together.
    pub(super) paths: BTreeMap<String, u64>,
    /// Refused packets per reason.
    pub(super) drops: BTreeMap<String, u64>,
}

/// The tests of one cluster.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Run {
    pub(super) network: Network,
    pub(super) proxy: Proxy,
    pub(super) nodes: usize,
    /// The machine's kernel.
    pub(super) kernel: String,
    /// From nothing to ready nodes and DNS.
    pub(super) bring_up_seconds: f64,
    pub(super) suites: Vec<SuiteRun>,
}

/// All clusters of one call.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Results {
    pub(super) runs: Vec<Run>,
}

impl SuiteRun {
    pub(super) fn count(&self, verdict: Verdict) -> usize {
        self.specs.iter().filter(|spec| spec.verdict == verdict).count()
    }
}

impl Run {
    fn specs(&self) -> impl Iterator<Item = &Spec> {
        self.suites.iter().flat_map(|suite| &suite.specs)
    }

    pub(super) fn passed(&self) -> impl Iterator<Item = &Spec> {
        self.specs().filter(|spec| spec.verdict == Verdict::Passed)
    }

    pub(super) fn failed(&self) -> impl Iterator<Item = &Spec> {
        self.specs().filter(|spec| spec.verdict == Verdict::Failed)
    }

    /// The failures without a known cause.
    pub(super) fn unexplained<'a>(
        &'a self,
        explanations: &'a Explanations,
    ) -> impl Iterator<Item = &'a Spec> {
        self.failed().filter(|spec| explanations.of(self.network, &spec.name).is_none())
    }

    /// How a test of this name ended here.
    pub(super) fn verdict(&self, name: &str) -> Option<Verdict> {
        self.specs().find(|spec| spec.name == name).map(|spec| spec.verdict)
    }

    /// Prints each failure, and the counts.
    pub(super) fn print(&self, explanations: &Explanations) {
        for spec in self.failed() {
            println!("  FAILED {} ({:.0} s)", spec.name, spec.seconds);
            if let Some(why) = explanations.of(self.network, &spec.name) {
                println!("    known: {why}");
            } else {
                let said = spec.failure.as_deref().unwrap_or("it says nothing");
                said.lines().take(12).for_each(|line| println!("    {line}"));
            }
        }
        for suite in &self.suites {
            println!(
                "  {}: {} chosen, {} ran, {} passed, {} failed in {:.0} s",
                suite.suite.name(),
                suite.chosen,
                suite.specs.len(),
                suite.count(Verdict::Passed),
                suite.count(Verdict::Failed),
                suite.seconds
            );
        }
    }
}
