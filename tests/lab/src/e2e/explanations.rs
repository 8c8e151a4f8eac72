//! Known causes of failures that are not Tartan's.

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::options::Network;

/// What is known.
#[derive(Debug, Clone, Default)]
pub(super) struct Explanations(Vec<Explanation>);

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Explanation {
    /// Part of the test's name.
    spec: String,
    /// With this pod network only; otherwise with any.
    network: Option<Network>,
    why: String,
}

impl Explanations {
    /// Those of this tree.
    pub(super) fn known() -> Result<Self> {
        Self::parse(include_str!("explanations.json"))
    }

    fn parse(text: &str) -> Result<Self> {
        serde_json::from_str(text).map(Self).context("explanations.json is broken")
    }

    /// Why this test fails with this pod network.
    pub(super) fn of(&self, network: Network, name: &str) -> Option<&str> {
        let fits = |one: &&Explanation| {
            name.contains(&one.spec) && one.network.is_none_or(|only| only == network)
        };
        self.0.iter().find(fits).map(|one| one.why.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_explanation_for_one_network_excuses_no_other() {
        let text = r#"[{"spec": "DNS", "network": "flannel", "why": "because"}]"#;
        let known = Explanations::parse(text).unwrap();
        assert_eq!(known.of(Network::Flannel, "[sig-network] DNS should"), Some("because"));
        assert_eq!(known.of(Network::Tartan, "[sig-network] DNS should"), None);
    }

    #[test]
    fn no_test_for_conformance_is_excused() {
        let known = Explanations::known().unwrap();
        assert!(known.0.iter().all(|one| !one.spec.contains("Conformance")));
        assert!(known.0.iter().all(|one| one.spec.len() > 10 && one.why.len() > 20));
    }
}
