//! The whole flow without a cluster: what is found, what is told, and what is left.

mod fake;

use std::future::pending;

use self::fake::{Fake, Fault};
use super::interrupts::Interrupts;
use super::narrator::Narrator;
use super::options::tests::parse;
use super::outcome::{Cut, Outcome, Report};
use super::report;
use super::{cleaning, exit_code, runner};

/// Nobody interrupts.
struct Quiet;

impl Interrupts for Quiet {
    async fn next(&mut self) {
        pending::<()>().await;
    }
}

/// Somebody interrupts after so many milliseconds, once or again and again.
struct Impatient {
    after: u64,
    times: u32,
}

impl Interrupts for Impatient {
    async fn next(&mut self) {
        if self.times == 0 {
            return pending().await;
        }
        tokio::time::sleep(std::time::Duration::from_millis(self.after)).await;
        self.times -= 1;
    }
}

async fn run(cluster: &Fake, words: &[&str]) -> (Result<Report, String>, String) {
    run_until(cluster, words, &mut Quiet).await
}

async fn run_until(
    cluster: &Fake,
    words: &[&str],
    interrupts: &mut impl Interrupts,
) -> (Result<Report, String>, String) {
    let mut out = Vec::new();
    let mut narrator = Narrator::new(&mut out);
    let options = parse(words).unwrap();
    let report = runner::run(cluster, &options, &mut narrator, interrupts).await;
    let report = report.map_err(|error| format!("{error:#}"));
    (report, String::from_utf8(out).unwrap())
}

/// Ids of the failed scenarios.
fn failed(report: &Report) -> Vec<&'static str> {
    let failed = |outcome: &Outcome| matches!(outcome, Outcome::Failed(_));
    let rows = report.rows.iter().filter(|row| failed(&row.done.outcome));
    rows.map(|row| row.scenario.id).collect()
}

fn skipped(report: &Report) -> Vec<&'static str> {
    let skipped = |outcome: &Outcome| matches!(outcome, Outcome::Skipped(_));
    let rows = report.rows.iter().filter(|row| skipped(&row.done.outcome));
    rows.map(|row| row.scenario.id).collect()
}

/// The failed scenarios of a cluster with these faults, which leaves nothing behind.
async fn failing(faults: &[Fault]) -> Vec<&'static str> {
    let cluster = Fake::with(faults);
    let (report, told) = run(&cluster, &[]).await;
    let report = report.unwrap();
    assert_eq!(cluster.namespaces(), Vec::<String>::new(), "{told}");
    assert_eq!(exit_code(&report), u8::from(!failed(&report).is_empty()));
    failed(&report)
}

#[tokio::test(start_paused = true)]
async fn a_healthy_cluster_passes_everything_and_nothing_is_left() {
    let cluster = Fake::with(&[Fault::Enforces]);
    let (report, told) = run(&cluster, &[]).await;
    let report = report.unwrap();
    assert_eq!((failed(&report), skipped(&report)), (vec![], vec![]), "{told}");
    assert_eq!(exit_code(&report), 0);
    assert_eq!(report.rows.len(), 20);
    assert_eq!(cluster.namespaces(), Vec::<String>::new());
    assert!(told.contains("node1 node2 node3: fast path on"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn datagrams_lost_between_two_nodes_are_named_with_both() {
    let cluster = Fake::with(&[Fault::Enforces, Fault::UdpLost("node2", "node3")]);
    let report = run(&cluster, &["--include", "2,3"]).await.0.unwrap();
    assert_eq!(failed(&report), ["pod-to-pod-udp"]);
    let text = report::text::summary(&report);
    assert!(text.contains("it fails from node2 to node3 only"), "{text}");
    let json = serde_json::to_value(report::json::document(&report)).unwrap();
    assert_eq!(json["scenarios"][2]["outcome"], "failed");
    assert_eq!(json["scenarios"][2]["failure"]["findings"][0]["to_node"], "node3");
    assert_eq!(json["failed"], 1);
}

#[tokio::test(start_paused = true)]
async fn each_fault_fails_the_scenarios_that_are_about_it() {
    let healthy = Fault::Enforces;
    assert_eq!(
        failing(&[healthy.clone(), Fault::SmallMtu("node3")]).await,
        ["mtu", "large-udp", "long-transfer"]
    );
    assert_eq!(failing(&[healthy.clone(), Fault::Masquerades("node1")]).await, ["source-address"]);
    assert_eq!(failing(&[healthy, Fault::Complains("node2")]).await, ["tartan-agents"]);
    assert_eq!(failing(&[Fault::EnforcesTcpOnly]).await, ["network-policy"]);
    assert_eq!(failing(&[Fault::NeverForgets]).await, ["network-policy"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_cluster_does_not_have_is_skipped_with_its_reason() {
    let cluster = Fake::with(&[Fault::NoDns, Fault::NoHosts]);
    let (report, told) = run(&cluster, &[]).await;
    let report = report.unwrap();
    let expected = [
        "pod-to-node",
        "node-to-pod",
        "cluster-ip-from-node",
        "node-port-from-node",
        "node-port-local",
        "dns",
        "headless",
        "network-policy",
    ];
    assert_eq!((skipped(&report), failed(&report)), (expected.to_vec(), vec![]), "{told}");
    assert!(told.contains("no policy engine enforces"), "{told}");
    assert!(told.contains("not allowed here"), "{told}");
    assert_eq!(exit_code(&report), 0);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_never_gets_ready_fails_the_first_scenario_and_the_others_go_on() {
    let cluster = Fake::with(&[Fault::Enforces, Fault::NeverReady("a-1")]);
    let (report, told) = run(&cluster, &[]).await;
    let report = report.unwrap();
    assert_eq!(failed(&report)[0], "pods-ready");
    assert!(told.contains("a-1 (node2) is not Ready"), "{told}");
    let pairs = report.rows.iter().find(|row| row.scenario.id == "pod-to-pod-tcp").unwrap();
    assert_eq!(pairs.done.notes[0], "4 checks", "two nodes are left");
}

#[tokio::test(start_paused = true)]
async fn drops_of_tartan_are_told_beside_the_failure() {
    let faults = [Fault::Enforces, Fault::UdpLost("node1", "node2"), Fault::Drops("node2")];
    let (_, told) = run(&Fake::with(&faults), &["--include", "3,tartan-agents"]).await;
    assert!(told.contains("Tartan dropped: node2: 7 x no-peer; look at peers"), "{told}");
    assert!(told.contains("dropped during the test: node2: 7 x no-peer"), "{told}");
    let (_, told) = run(&Fake::with(&faults[..2]), &["--include", "3"]).await;
    assert!(told.contains("Tartan dropped nothing meanwhile"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn without_tartan_an_image_must_be_named() {
    let cluster = Fake::with(&[Fault::NoTartan]);
    let error = run(&cluster, &[]).await.0.unwrap_err();
    assert!(error.contains("--image"), "{error}");
    let report = run(&cluster, &["--image", "i:1"]).await.0.unwrap();
    assert!(skipped(&report).contains(&"tartan-agents"));
}

#[tokio::test(start_paused = true)]
async fn an_interruption_leaves_nothing() {
    let cluster = Fake::with(&[Fault::Hangs]);
    let mut once = Impatient { after: 5_000, times: 1 };
    let (report, told) = run_until(&cluster, &[], &mut once).await;
    let report = report.unwrap();
    assert_eq!((report.cut, exit_code(&report)), (Some(Cut::Interrupted), 2));
    assert_eq!(cluster.namespaces(), Vec::<String>::new());
    assert!(told.contains("removed namespace"), "{told}");
    assert!(report::text::summary(&report).contains("interrupted"));
}

#[tokio::test(start_paused = true)]
async fn a_second_interruption_ends_at_once_and_names_what_is_left() {
    let cluster = Fake::with(&[Fault::Hangs, Fault::Stays]);
    let mut twice = Impatient { after: 5_000, times: 2 };
    let (report, told) = run_until(&cluster, &[], &mut twice).await;
    let report = report.unwrap();
    assert!(told.contains(&format!("kubectl delete namespace {}", report.namespace)), "{told}");
}

#[tokio::test(start_paused = true)]
async fn the_time_limit_ends_the_test_and_leaves_nothing() {
    let cluster = Fake::with(&[Fault::Hangs]);
    let report = run(&cluster, &["--timeout", "30"]).await.0.unwrap();
    assert_eq!((report.cut, exit_code(&report)), (Some(Cut::TimedOut), 2));
    assert_eq!(cluster.namespaces(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn missing_rights_are_an_error_that_says_which() {
    let error = run(&Fake::with(&[Fault::NoRights]), &[]).await.0.unwrap_err();
    assert!(error.contains("refuses to create namespaces"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn keep_leaves_the_namespace_and_says_how_to_delete_it() {
    let cluster = Fake::default();
    let (report, told) = run(&cluster, &["--keep", "--include", "1"]).await;
    assert_eq!(cluster.namespaces(), [report.unwrap().namespace]);
    assert!(told.contains("kept namespace"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn what_an_earlier_test_left_is_named_and_can_be_removed() {
    let cluster = Fake::default();
    cluster.leave("tartan-test-old");
    let (report, told) = run(&cluster, &["--include", "1"]).await;
    assert!(
        report.is_ok() && told.contains("namespace tartan-test-old is of an earlier"),
        "{told}"
    );
    assert_eq!(cluster.namespaces(), ["tartan-test-old"], "it may be in use");
    let mut out = Vec::new();
    let mut narrator = Narrator::new(&mut out);
    cleaning::remove_leftovers(&cluster, &mut narrator, &mut Quiet).await.unwrap();
    assert_eq!(cluster.namespaces(), Vec::<String>::new());
}

/// A reader that goes away, as `head` does.
struct Gone(usize);

impl std::io::Write for Gone {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0 == 0 {
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        self.0 -= 1;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_goes_away_ends_the_test_and_leaves_nothing() {
    let cluster = Fake::default();
    let options = parse(&[]).unwrap();
    let mut narrator = Narrator::new(Gone(20));
    let report = runner::run(&cluster, &options, &mut narrator, &mut Quiet).await;
    assert!(report.is_err());
    assert_eq!(cluster.namespaces(), Vec::<String>::new());
}
