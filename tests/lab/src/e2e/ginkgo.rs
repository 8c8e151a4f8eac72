//! Starting Kubernetes' tests, following them, and reading their report.

use std::fs::{self, File};
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::files::whole;
use super::results::{Spec, Verdict};
use crate::control_plane::User;
use crate::go_tools;
use crate::kubernetes::Cluster;
use crate::paths::TOOLS;
use crate::process::Place as _;
use crate::scenario::tail;
use crate::wire::Outside;

/// Processes that run tests at the same time.
const PROCESSES: u8 = 3;
/// In the lab's own /tmp.
const REPORTS: &str = "/tmp/e2e";
const REPORT: &str = "report.json";
/// How often the log is looked at.
const TICK: Duration = Duration::from_millis(500);
/// How often a line tells how far it is.
const REMINDER: Duration = Duration::from_secs(20);
/// What ginkgo prints for each test that ended.
const DOT: char = '•';

/// What ginkgo's report says, in its own words.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Report {
    pre_run_stats: PreRunStats,
    #[serde(default)]
    spec_reports: Vec<SpecReport>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PreRunStats {
    specs_that_will_run: usize,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SpecReport {
    #[serde(default)]
    container_hierarchy_texts: Option<Vec<String>>,
    leaf_node_type: String,
    #[serde(default)]
    leaf_node_text: String,
    state: String,
    /// In nanoseconds.
    #[serde(default)]
    run_time: u64,
    failure: Option<Failure>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Failure {
    #[serde(default)]
    message: String,
    location: Option<Location>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Location {
    #[serde(default)]
    file_name: String,
    #[serde(default)]
    line_number: u64,
}

/// What one start of ginkgo found.
#[derive(Debug, PartialEq)]
pub(super) struct Found {
    pub(super) chosen: usize,
    pub(super) specs: Vec<Spec>,
}

/// Runs the chosen tests; what they say goes to `log`.
///
/// # Errors
/// When ginkgo cannot be started or leaves no report. Failed tests are none.
pub(super) fn run(
    cluster: &Cluster,
    title: &str,
    (focus, skip): &(String, String),
    log: &File,
) -> Result<Found> {
    fs::create_dir_all(REPORTS)?;
    let report = format!("{REPORTS}/{REPORT}");
    // Of the tests before it.
    let _ = fs::remove_file(&report);
    let mut child = start(cluster, focus, skip, log)?;
    follow(&mut child, title, log)?;
    let text = fs::read_to_string(&report).with_context(|| {
        format!(
            "ginkgo left no report; its log ends with:\n{}",
            tail(&whole(log).unwrap_or_default(), 30)
        )
    })?;
    parse(&text)
}

fn start(cluster: &Cluster, focus: &str, skip: &str, log: &File) -> Result<Child> {
    let tests = go_tools::path("e2e.test")?;
    let kubectl = go_tools::path("kubectl")?;
    let mut command = Outside.command(&go_tools::path("ginkgo")?.to_string_lossy());
    command
        .args([&format!("--nodes={PROCESSES}"), &format!("--focus={focus}")])
        .args([&format!("--skip={skip}"), "--timeout=2h", "--no-color", "--keep-going"])
        .args([&format!("--output-dir={REPORTS}"), &format!("--json-report={REPORT}")])
        .arg(tests)
        .args(["--", "--provider=skeleton", "--disable-log-dump", "--allowed-not-ready-nodes=0"])
        .arg(format!("--num-nodes={}", cluster.nodes.len()))
        .arg(format!("--kubeconfig={}", cluster.plane.kubeconfig(&User::admin())?))
        .arg(format!("--kubectl-path={}", kubectl.display()));
    // The tests write where they are told to, and nowhere else.
    command.env("HOME", "/tmp").env("PATH", format!("{TOOLS}:/usr/sbin:/usr/bin:/sbin:/bin"));
    command.current_dir(REPORTS);
    command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
    command.spawn().context("cannot start ginkgo")
}

fn follow(child: &mut Child, title: &str, log: &File) -> Result<()> {
    let (start, mut told) = (Instant::now(), Instant::now());
    while child.try_wait()?.is_none() {
        if told.elapsed() >= REMINDER {
            told = Instant::now();
            let done = whole(log)?.matches(DOT).count();
            println!("  {title} ... {done} done after {} s", start.elapsed().as_secs());
        }
        thread::sleep(TICK);
    }
    Ok(())
}

fn parse(text: &str) -> Result<Found> {
    let reports: Vec<Report> = serde_json::from_str(text).context("ginkgo's report is broken")?;
    let [report] = <[Report; 1]>::try_from(reports).map_err(|all| {
        anyhow::anyhow!("ginkgo's report has {} suites instead of one", all.len())
    })?;
    let mut specs = Vec::new();
    for one in &report.spec_reports {
        specs.extend(spec(one)?);
    }
    Ok(Found { chosen: report.pre_run_stats.specs_that_will_run, specs })
}

/// A test that ran, or the common preparation of all when that failed.
fn spec(report: &SpecReport) -> Result<Option<Spec>> {
    let verdict = match report.state.as_str() {
        "passed" => Verdict::Passed,
        "skipped" | "pending" => return Ok(None),
        "failed" | "panicked" | "aborted" | "interrupted" | "timedout" => Verdict::Failed,
        other => bail!("ginkgo calls a test {other:?}, which is unknown here"),
    };
    if report.leaf_node_type != "It" && verdict == Verdict::Passed {
        return Ok(None);
    }
    let mut words = report.container_hierarchy_texts.clone().unwrap_or_default();
    let own = if report.leaf_node_text.is_empty() {
        &report.leaf_node_type
    } else {
        &report.leaf_node_text
    };
    words.push(own.clone());
    Ok(Some(Spec {
        name: words.join(" "),
        verdict,
        seconds: Duration::from_nanos(report.run_time).as_secs_f64(),
        failure: report.failure.as_ref().map(described),
    }))
}

fn described(failure: &Failure) -> String {
    let place = failure.location.as_ref();
    let place = place.map(|at| format!("\nat {}:{}", at.file_name, at.line_number));
    format!("{}{}", failure.message.trim(), place.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: &str = r#"[{
        "PreRunStats": {"TotalSpecs": 7579, "SpecsThatWillRun": 3},
        "SpecReports": [
            {"LeafNodeType": "SynchronizedBeforeSuite", "State": "passed", "RunTime": 5},
            {"ContainerHierarchyTexts": ["[sig-network] DNS"], "LeafNodeType": "It",
             "LeafNodeText": "answers [Conformance]", "State": "passed", "RunTime": 1500000000},
            {"ContainerHierarchyTexts": ["[sig-network] DNS"], "LeafNodeType": "It",
             "LeafNodeText": "fails", "State": "timedout", "RunTime": 1000000000,
             "Failure": {"Message": "no answer\n", "Location": {"FileName": "dns.go", "LineNumber": 7}}},
            {"ContainerHierarchyTexts": ["[sig-network] DNS"], "LeafNodeType": "It",
             "LeafNodeText": "is filtered out", "State": "skipped", "RunTime": 0}
        ]}]"#;

    #[test]
    fn a_report_gives_what_ran_and_why_it_failed() {
        let found = parse(REPORT).unwrap();
        assert_eq!(found.chosen, 3);
        let names: Vec<_> = found.specs.iter().map(|spec| spec.name.as_str()).collect();
        assert_eq!(names, ["[sig-network] DNS answers [Conformance]", "[sig-network] DNS fails"]);
        assert!((found.specs[0].seconds - 1.5).abs() < 1e-9);
        assert_eq!(found.specs[1].failure.as_deref(), Some("no answer\nat dns.go:7"));
    }

    #[test]
    fn a_failed_preparation_counts_as_a_failed_test() {
        let text = REPORT.replacen("\"passed\"", "\"failed\"", 1);
        let found = parse(&text).unwrap();
        assert_eq!(found.specs[0].name, "SynchronizedBeforeSuite");
        assert_eq!(found.specs[0].verdict, Verdict::Failed);
    }

    #[test]
    fn an_unknown_state_is_an_error_and_not_a_pass() {
        assert!(parse(&REPORT.replace("timedout", "dreamt")).is_err());
    }
}
