//! docs/CONFORMANCE.md, from the results of one run.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Context as _, Result, ensure};

use super::explanations::Explanations;
use super::options::{Network, Suite};
use super::results::{Results, Run, SuiteRun, Verdict};

/// What the tests are of.
const KUBERNETES: &str = "1.36.4";

/// The document.
///
/// # Errors
/// When a network or a mode was left out: the document would compare nothing.
pub(super) fn text(results: &Results, explanations: &Explanations) -> Result<String> {
    ensure!(
        results.runs.len() == 4,
        "a document compares both pod networks in both modes; run: cargo xtask e2e --cni both \
         --more --document"
    );
    let first = results.runs.first().context("nothing ran")?;
    let mut out = String::new();
    introduce(&mut out, first)?;
    name_suites(&mut out, results)?;
    table(&mut out, results)?;
    differences(&mut out, results)?;
    failures(&mut out, results, explanations)?;
    packets(&mut out, results)?;
    Ok(out)
}

fn introduce(out: &mut String, run: &Run) -> Result<()> {
    writeln!(
        out,
        "# Conformance

Kubernetes' own tests of the network (`e2e.test` {KUBERNETES}, `[sig-network]`), run on a cluster of
{} nodes with real kubelets, containerd, kube-proxy and CoreDNS in namespaces of one machine
(kernel {}). Tartan is installed by `kubectl apply -f deploy/kube-tartan.yml`, flannel
0.28.9 by its own DaemonSet with its own plugins. All figures are of one run; this file is written
by it:
",
        run.nodes,
        version(&run.kernel)
    )?;
    Ok(())
}

/// The version alone, without what its builder calls it.
fn version(kernel: &str) -> &str {
    kernel.split('-').next().unwrap_or(kernel)
}

fn name_suites(out: &mut String, results: &Results) -> Result<()> {
    let mut suites = results.runs.iter().flat_map(|run| &run.suites);
    let with_more = suites.any(|suite| suite.suite == Suite::More);
    let (flag, further) = if with_more {
        (
            "--more ",
            "; *more* is what else a pod
network takes part in, without what needs a cloud, the Internet, a second address family, the right
to break the cluster, or an engine for NetworkPolicy.",
        )
    } else {
        ("", ".")
    };
    writeln!(
        out,
        "    cargo xtask e2e --cni both {flag}--document

*conformance* is every test named `[Conformance]`, but for `[Serial]` ones{further}

## Results
"
    )?;
    Ok(())
}

fn table(out: &mut String, results: &Results) -> Result<()> {
    writeln!(
        out,
        "| tests | pod network | kube-proxy | chosen | ran | passed | failed | seconds |"
    )?;
    writeln!(out, "|---|---|---|---:|---:|---:|---:|---:|")?;
    let mut rows: Vec<_> = results
        .runs
        .iter()
        .flat_map(|run| run.suites.iter().map(move |suite| (run, suite)))
        .collect();
    rows.sort_by_key(|(_, suite)| suite.suite == Suite::More);
    for (run, suite) in rows {
        writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} | {:.0} |",
            suite.suite.name(),
            run.network.name(),
            run.proxy.name(),
            suite.chosen,
            suite.specs.len(),
            suite.count(Verdict::Passed),
            suite.count(Verdict::Failed),
            suite.seconds
        )?;
    }
    writeln!(
        out,
        "\nA chosen test that did not run found that it does not apply to this cluster. Three tests \
         run at a time."
    )?;
    Ok(())
}

/// Names of the tests that failed anywhere.
fn failed_names(results: &Results) -> BTreeSet<&str> {
    results.runs.iter().flat_map(Run::failed).map(|spec| spec.name.as_str()).collect()
}

fn shown(verdict: Option<Verdict>) -> &'static str {
    match verdict {
        Some(Verdict::Passed) => "passed",
        Some(Verdict::Failed) => "**failed**",
        None => "-",
    }
}

fn differences(out: &mut String, results: &Results) -> Result<()> {
    writeln!(out, "\n## What did not pass everywhere\n")?;
    let names = failed_names(results);
    if names.is_empty() {
        writeln!(out, "Nothing: every test that ran passed, with both and in both modes.")?;
        return Ok(());
    }
    let head =
        results.runs.iter().map(|run| format!(" {}, {} |", run.network.name(), run.proxy.name()));
    writeln!(out, "| test |{}", head.collect::<String>())?;
    writeln!(out, "|---|{}", "---|".repeat(results.runs.len()))?;
    for name in names {
        let cells = results.runs.iter().map(|run| format!(" {} |", shown(run.verdict(name))));
        writeln!(out, "| {} |{}", escaped(name), cells.collect::<String>())?;
    }
    Ok(())
}

fn failures(out: &mut String, results: &Results, explanations: &Explanations) -> Result<()> {
    let names = failed_names(results);
    if names.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n## Why\n")?;
    for name in names {
        let mut said = BTreeSet::new();
        for run in results.runs.iter().filter(|run| run.verdict(name) == Some(Verdict::Failed)) {
            let known = explanations.of(run.network, name);
            said.insert((run.network == Network::Flannel, run.network.name(), known));
        }
        writeln!(out, "- {}", escaped(name))?;
        for (_, network, known) in said {
            writeln!(out, "  - {network}: {}", known.unwrap_or("not explained yet"))?;
        }
    }
    Ok(())
}

fn packets(out: &mut String, results: &Results) -> Result<()> {
    writeln!(
        out,
        "
## Who carried the packets

What the agents counted while the tests ran, all nodes together (`tartanctl paths`, `tartanctl \
         drops`; [TROUBLESHOOTING](TROUBLESHOOTING.md) tells what each name means). The fast path \
         carried the packets between pods; through a Service the first ones of a connection, and \
         all that kube-proxy's rules must rewrite, take the kernel's.
"
    )?;
    writeln!(out, "| tests | kube-proxy | counter | packets |\n|---|---|---|---:|")?;
    for run in results.runs.iter().filter(|run| run.network == Network::Tartan) {
        for suite in &run.suites {
            counters(out, run, suite)?;
        }
    }
    Ok(())
}

fn counters(out: &mut String, run: &Run, suite: &SuiteRun) -> Result<()> {
    for (name, packets) in suite.paths.iter().chain(&suite.drops) {
        let (tests, proxy) = (suite.suite.name(), run.proxy.name());
        writeln!(out, "| {tests} | {proxy} | {name} | {packets} |")?;
    }
    Ok(())
}

/// Table cells end at a bar.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::super::options::Proxy;
    use super::super::results::Spec;
    use super::*;

    fn run(network: Network, proxy: Proxy, verdict: Verdict) -> Run {
        let spec =
            Spec { name: "[sig-network] a | b".to_owned(), verdict, seconds: 1.0, failure: None };
        let suite = SuiteRun {
            suite: Suite::Conformance,
            chosen: 2,
            seconds: 9.6,
            specs: vec![spec],
            paths: [("pod-remote-fast".to_owned(), 7)].into(),
            drops: [].into(),
        };
        Run {
            network,
            proxy,
            nodes: 3,
            kernel: "6.18".to_owned(),
            bring_up_seconds: 9.0,
            suites: vec![suite],
        }
    }

    fn all(flannel: Verdict) -> Results {
        let runs = [Network::Tartan, Network::Flannel].into_iter().flat_map(|network| {
            let verdict = if network == Network::Flannel { flannel } else { Verdict::Passed };
            [Proxy::Iptables, Proxy::Nftables].map(|proxy| run(network, proxy, verdict))
        });
        Results { runs: runs.collect() }
    }

    #[test]
    fn every_cluster_has_a_row() {
        let text = text(&all(Verdict::Passed), &Explanations::default()).unwrap();
        assert!(
            text.contains("| conformance | tartan | nftables | 2 | 1 | 1 | 0 | 10 |"),
            "{text}"
        );
        assert!(text.contains("every test that ran passed"));
        assert!(text.contains("| conformance | iptables | pod-remote-fast | 7 |"));
    }

    #[test]
    fn it_names_the_command_and_the_kernel_of_the_run() {
        assert_eq!(version("6.18.44-of-somebody"), "6.18.44");
        let mut results = all(Verdict::Passed);
        for suite in results.runs.iter_mut().flat_map(|run| &mut run.suites) {
            suite.suite = Suite::Conformance;
        }
        let named = |results: &Results| text(results, &Explanations::default()).unwrap();
        assert!(named(&results).contains("--cni both --document\n"));
        results.runs[0].suites[0].suite = Suite::More;
        assert!(named(&results).contains("--cni both --more --document\n"));
    }

    #[test]
    fn a_difference_is_listed_and_asks_for_its_reason() {
        let text = text(&all(Verdict::Failed), &Explanations::default()).unwrap();
        let row = r"| [sig-network] a \| b | passed | passed | **failed** | **failed** |";
        assert!(text.contains(row), "{text}");
        assert!(text.contains("  - flannel: not explained yet"));
    }

    #[test]
    fn a_run_that_left_something_out_writes_no_document() {
        let mut some = all(Verdict::Passed);
        some.runs.pop();
        assert!(text(&some, &Explanations::default()).is_err());
    }
}
