//! The options of `tartanctl test`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::scenario::{SCENARIOS, Scenario};

/// The longest prefix that leaves room for the rest of a name.
const LONGEST_PREFIX: usize = 50;

/// How to test.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The file that says where the cluster is [default: as kubectl finds it]
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context in that file [default: its current one]
    #[arg(long, value_name = "NAME")]
    pub(crate) context: Option<String>,
    /// What the test's namespace begins with
    #[arg(long, value_name = "PREFIX", default_value = "tartan-test", value_parser = prefix)]
    pub(crate) namespace_prefix: String,
    /// The image of the probes [default: that of the DaemonSet kube-tartan-ds]
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Option<String>,
    /// Test these nodes only
    #[arg(long, value_name = "NODE,...", value_delimiter = ',')]
    pub(crate) nodes: Vec<String>,
    /// Run these scenarios only, by id or number; the first runs always
    #[arg(long, value_name = "ID,...", value_delimiter = ',', value_parser = scenario)]
    pub(crate) include: Vec<&'static str>,
    /// Leave out these scenarios, by id or number
    #[arg(long, value_name = "ID,...", value_delimiter = ',', value_parser = scenario)]
    pub(crate) exclude: Vec<&'static str>,
    /// Give up after so many seconds; what was made is still removed
    #[arg(long, value_name = "SECONDS", default_value_t = 900, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) timeout: u32,
    /// Also write the results as JUnit XML
    #[arg(long, value_name = "FILE")]
    pub(crate) junit: Option<PathBuf>,
    /// Leave the namespace and its pods there
    #[arg(long)]
    pub(crate) keep: bool,
    /// Only list the scenarios
    #[arg(long, conflicts_with = "cleanup")]
    pub(crate) list: bool,
    /// Only delete the namespaces that earlier tests left, also those of tests that still run
    #[arg(long)]
    pub(crate) cleanup: bool,
}

impl Options {
    /// The scenarios to run, in their order. The others stand on the first one.
    pub(crate) fn selected(&self) -> Vec<&'static Scenario> {
        let mut chosen: Vec<_> = SCENARIOS.iter().filter(|one| self.selects(one)).collect();
        chosen.dedup_by_key(|one| one.id);
        chosen
    }

    fn selects(&self, scenario: &Scenario) -> bool {
        let included = self.include.is_empty() || self.include.contains(&scenario.id);
        let first = scenario.number() == 1;
        first || (included && !self.exclude.contains(&scenario.id))
    }

    /// How long all scenarios may take.
    pub(crate) fn limit(&self) -> Duration {
        Duration::from_secs(self.timeout.into())
    }
}

fn scenario(word: &str) -> Result<&'static str, String> {
    let known = SCENARIOS.iter().find(|one| one.is_called(word)).map(|one| one.id);
    known.ok_or_else(|| "no such scenario; `tartanctl test --list` names them all".to_owned())
}

/// A name as DNS labels are.
fn prefix(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let good = text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(plain)
        && text.len() <= LONGEST_PREFIX;
    if good {
        return Ok(text.to_owned());
    }
    Err(format!("use a-z, 0-9 and `-`, a letter first, {LONGEST_PREFIX} characters at most"))
}

#[cfg(test)]
pub(crate) mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    /// The options of a command line.
    pub(crate) fn parse(words: &[&str]) -> Result<Options, String> {
        let line = Line::try_parse_from(["test"].iter().chain(words));
        line.map(|line| line.options).map_err(|error| error.to_string())
    }

    fn selected(words: &[&str]) -> Vec<&'static str> {
        parse(words).unwrap().selected().iter().map(|one| one.id).collect()
    }

    #[test]
    fn everything_is_selected_unless_something_is_named() {
        assert_eq!(selected(&[]).len(), SCENARIOS.len());
        assert_eq!(selected(&["--include", "mtu,2"]), ["pods-ready", "pod-to-pod-tcp", "mtu"]);
        let without = selected(&["--exclude", "network-policy,pods-ready"]);
        assert_eq!(without.len(), SCENARIOS.len() - 1, "the first one runs always");
        assert_eq!(selected(&["--include", "mtu,dns", "--exclude", "dns"]), ["pods-ready", "mtu"]);
    }

    #[test]
    fn an_unknown_scenario_and_an_impossible_prefix_are_refused() {
        assert!(parse(&["--include", "nonsense"]).unwrap_err().contains("--list"));
        assert!(parse(&["--exclude", "0"]).is_err());
        assert!(parse(&["--namespace-prefix", "Caps"]).is_err());
        assert!(parse(&["--namespace-prefix", "my-test"]).is_ok());
        assert!(parse(&["--timeout", "0"]).is_err());
    }
}
