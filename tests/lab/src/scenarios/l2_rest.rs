//! Tartan beside flannel in the same run: from `kubectl apply` to the first pods, and at rest.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::kubernetes::{Cluster, Cni, Image, Options, ProcessUsage, Steps, at_rest};
use crate::lab::Lab;
use crate::process::eventually;
use crate::scenario::{Entry, Scenario};
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[Entry::new("l2_rest::beside_flannel", beside_flannel)
    .within(400)
    .with_tools()
    .with_kubelets()
    .long()];

/// How long after Ready a waiting pod may take to run.
const AFTER_READY: Duration = Duration::from_secs(3);
const AT_REST: Duration = Duration::from_secs(30);

/// Since `kubectl apply` of the network.
#[derive(Debug)]
struct Start {
    first_ready: Duration,
    all_ready: Duration,
    first_pod: Duration,
    all_pods: Duration,
}

impl std::fmt::Display for Start {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { first_ready, all_ready, first_pod, all_pods } = self;
        write!(f, "first node Ready {first_ready:.1?}, all {all_ready:.1?}; ")?;
        write!(f, "first pod Running {first_pod:.1?}, all {all_pods:.1?}")
    }
}

fn beside_flannel(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Framed)?;
    let (lab, ours) = measure(scenario, lab, Cni::Tartan, "tartand")?;
    let (_, theirs) = measure(scenario, lab, Cni::Flannel, "flanneld")?;
    let after = ours.first_pod.saturating_sub(ours.first_ready);
    scenario.note(format!("first pod {after:.1?} after the first node was Ready"));
    ensure!(after <= AFTER_READY, "first pod {after:?} after the first node was Ready");
    ensure!(ours.all_pods < theirs.all_pods, "flannel was faster: {ours:?} and {theirs:?}");
    Ok(())
}

fn measure(scenario: &Scenario, lab: Lab, cni: Cni, agent: &str) -> Result<(Lab, Start)> {
    let image = Image(if cni == Cni::Tartan { "tartan" } else { "flannel" });
    let options = Options { cni: Cni::None, dns: false, images: vec![image], ..Options::default() };
    let mut cluster = Cluster::up(lab, &options, &mut Steps::new())?;
    cluster.apply(WAITING)?;
    let start = first_pods(&mut cluster, cni)?;
    scenario.note(format!("{cni:?}: since kubectl apply: {start}"));
    // What a start leaves to be done is not rest.
    std::thread::sleep(Duration::from_secs(15));
    let all = at_rest(AT_REST)?;
    let used = all.iter().find(|one| one.program == agent);
    scenario.note(describe(used.with_context(|| format!("no {agent} runs"))?));
    Ok((cluster.down()?, start))
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal place")]
fn describe(used: &ProcessUsage) -> String {
    let [rss, pss] = [used.resident_kib, used.proportional_kib]
        .map(|kib| kib as f64 / 1024.0 / f64::from(used.count));
    let share = used.processor * 100.0 / f64::from(used.count);
    format!("{}: RSS {rss:.1} MiB, PSS {pss:.1} MiB, {share:.2} % of a core each", used.program)
}

/// Pods wait for the network on every node; what it takes from the apply to each event.
fn first_pods(cluster: &mut Cluster, cni: Cni) -> Result<Start> {
    let count = cluster.nodes.len();
    eventually("pods wait on every node", Duration::from_secs(30), || {
        Ok(cluster.pods("default", "app=early")?.len() == count)
    })?;
    let manifest = match cni {
        Cni::Tartan => include_str!("../../../../deploy/kube-tartan.yml"),
        Cni::Flannel => include_str!("../kubernetes/manifests/flannel.yaml"),
        Cni::None => "",
    };
    let began = Instant::now();
    cluster.apply(manifest)?;
    let (mut ready, mut running) = (Vec::new(), Vec::new());
    eventually("every waiting pod runs", Duration::from_mins(2), || {
        let mut nodes = 0;
        for node in &cluster.nodes {
            nodes += usize::from(cluster.is_ready(node.name())?);
        }
        ready.resize(nodes.max(ready.len()), began.elapsed());
        let pods = cluster.pods("default", "app=early")?;
        let run = pods.iter().filter(|pod| pod.object["status"]["phase"] == "Running").count();
        running.resize(run.max(running.len()), began.elapsed());
        Ok(ready.len() == count && running.len() == count)
    })?;
    let at = |times: &[Duration], index: usize| times.get(index).copied().unwrap_or_default();
    Ok(Start {
        first_ready: at(&ready, 0),
        all_ready: at(&ready, count - 1),
        first_pod: at(&running, 0),
        all_pods: at(&running, count - 1),
    })
}

/// Pods that tolerate a node without a network, so that they are there before it is.
const WAITING: &str = "apiVersion: apps/v1
kind: DaemonSet
metadata:
  name: early
spec:
  selector:
    matchLabels:
      app: early
  template:
    metadata:
      labels:
        app: early
    spec:
      tolerations:
        - operator: Exists
      terminationGracePeriodSeconds: 1
      containers:
        - name: toolbox
          image: tartan.test/toolbox:1
          imagePullPolicy: Never
          command: [sleep, \"100000\"]
";
