//! Traffic between the pods of a real cluster, while things are done to it, and what a node keeps
//! of its pods.

use std::io::Read as _;
use std::net::IpAddr;
use std::process::{Child, ChildStdin, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use crate::kubernetes::{Cluster, KubeletNode, PodPlace, PodView};
use crate::process::{Place as _, eventually};
use crate::traffic::{self, ECHO_PORT, EchoReport, ProbeReport, Running};

/// Longer than any scenario; the probes are stopped.
const SECONDS: f64 = 900.0;
/// Datagrams per second of each probe.
const RATE: u32 = 1000;

/// UDP at 1,000 datagrams a second from each pod to the next one and back, and one TCP connection
/// between the first two that is held all the time.
pub(super) struct Traffic {
    probes: Vec<Running<Vec<ProbeReport>>>,
    stream: Stream,
    _servers: Vec<Running<EchoReport>>,
}

impl Traffic {
    /// Starts it among these pods, in a ring.
    pub(super) fn start(cluster: &Cluster, pods: &[PodView]) -> Result<Self> {
        let places = pods.iter().map(|pod| cluster.place(pod)).collect::<Result<Vec<_>>>()?;
        let servers =
            places.iter().map(|place| traffic::echo(place, None)).collect::<Result<Vec<_>>>()?;
        let next = |index: usize| places.get((index + 1) % places.len());
        let mut probes = Vec::new();
        for (index, from) in places.iter().enumerate() {
            let to = next(index).context("no pod")?.address();
            probes.push(traffic::udp_probe(from, &[to], RATE, SECONDS)?);
        }
        let stream = Stream::start(
            places.first().context("no pod")?,
            places.get(1).context("one pod alone")?.address(),
        )?;
        Ok(Self { probes, stream, _servers: servers })
    }

    /// Ends it and says what became of it.
    pub(super) fn stop(self) -> Result<Flow> {
        let exchanges = self.stream.stop()?;
        let mut flow = Flow { exchanges, ..Flow::default() };
        for probe in self.probes {
            for report in probe.stop()? {
                flow.sent += report.sent;
                flow.lost += report.lost + report.refused;
                flow.longest_gap =
                    flow.longest_gap.max(Duration::from_secs_f64(report.max_gap_ms / 1000.0));
            }
        }
        Ok(flow)
    }
}

/// What became of the traffic.
#[derive(Debug, Default)]
pub(super) struct Flow {
    /// Datagrams that were to be sent.
    pub(super) sent: u64,
    /// Of them, those that did not come back.
    pub(super) lost: u64,
    /// The longest time between two answers.
    pub(super) longest_gap: Duration,
    /// Questions answered over the one TCP connection.
    pub(super) exchanges: u64,
}

impl std::fmt::Display for Flow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { sent, lost, longest_gap, exchanges } = self;
        let gap = longest_gap.as_secs_f64() * 1000.0;
        write!(f, "UDP: {lost} of {sent} lost, longest gap {gap:.0} ms; ")?;
        write!(f, "one TCP connection: {exchanges} exchanges")
    }
}

impl Flow {
    /// An error if anything was lost.
    pub(super) fn whole(&self) -> Result<()> {
        ensure!(self.lost == 0 && self.sent > 0 && self.exchanges > 0, "{self}");
        Ok(())
    }
}

/// A TCP connection with a question and its answer fifty times a second. A shell, so that it
/// is as slow as people's own programs are.
struct Stream {
    child: Child,
    input: ChildStdin,
}

impl Stream {
    fn start(from: &PodPlace, to: IpAddr) -> Result<Self> {
        let script = format!(
            "exec 3<>/dev/tcp/{to}/{ECHO_PORT}; n=0; while :; do read -t 0.02; \
             [ $? -gt 128 ] || break; echo question $n >&3; read -t 30 -u 3 answer; \
             [ \"$answer\" = \"question $n\" ] || {{ echo \"$n: $answer\" >&2; exit 1; }}; \
             n=$((n + 1)); done; echo $n"
        );
        let mut command = from.command("bash");
        command.args(["-c", &script]).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let input = child.stdin.take().context("no standard input")?;
        Ok(Self { child, input })
    }

    fn stop(self) -> Result<u64> {
        drop(self.input);
        let output = self.child.wait_with_output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "the TCP connection broke after {said}");
        String::from_utf8_lossy(&output.stdout).trim().parse().context("the stream said nothing")
    }
}

/// The pods are the same and were not restarted.
pub(super) fn ensure_untouched(cluster: &Cluster, before: &[PodView]) -> Result<()> {
    for pod in before {
        let now = cluster.pod(&pod.namespace, &pod.name)?;
        let same = now.uid == pod.uid && now.restarts == pod.restarts && now.ready;
        ensure!(same, "{} was restarted: {} to {} restarts", pod.name, pod.restarts, now.restarts);
    }
    Ok(())
}

/// What Tartan keeps of the pods of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Traces {
    entries: usize,
    pins: usize,
    reservations: usize,
    links: usize,
    routes: usize,
    scratch: usize,
}

impl Traces {
    pub(super) fn of(node: &KubeletNode) -> Result<Self> {
        let count = |script: &str| -> Result<usize> {
            Ok(node.shell(script)?.lines().filter(|line| !line.is_empty()).count())
        };
        Ok(Self {
            entries: node.node().pod_rows()?.len(),
            pins: count("ls /sys/fs/bpf/tartan/links/pods")?,
            reservations: count("ls /var/lib/cni/networks/cbr0 | grep '^[0-9.]*$' || true")?,
            links: count("ip -o link show type veth | grep ': veth' || true")?,
            routes: count("ip -4 route show | grep 'dev veth' || true")?,
            scratch: count("ls /var/lib/cni/flannel 2>/dev/null || true")?,
        })
    }

    const fn are(&self, pods: usize) -> bool {
        let Self { entries, pins, reservations, links, routes, scratch } = *self;
        entries == pods
            && pins == pods
            && reservations == pods
            && links == pods
            && routes == pods
            && scratch == pods
    }
}

/// Waits until a node keeps exactly what its pods need.
pub(super) fn wait_no_leftovers(cluster: &Cluster, name: &str) -> Result<usize> {
    let (mut pods, mut traces) = (0, None);
    let asked = eventually("the node keeps its pods' things alone", Duration::from_mins(1), || {
        pods = pods_with_network(cluster, name)?;
        let now = Traces::of(cluster.node(name)?)?;
        let fits = now.are(pods);
        traces = Some(now);
        Ok(fits)
    });
    if let Err(error) = asked {
        bail!("{name} has {pods} pods and keeps {traces:?}: {error:#}");
    }
    Ok(pods)
}

/// Pods of all namespaces on a node that have a network of their own.
fn pods_with_network(cluster: &Cluster, node: &str) -> Result<usize> {
    let path = format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{node}");
    let pods = cluster.admin().list(&path)?;
    let lives = |phase: Option<&str>| !matches!(phase, Some("Succeeded" | "Failed"));
    let own = |pod: &&serde_json::Value| {
        pod["spec"]["hostNetwork"] != true && lives(pod["status"]["phase"].as_str())
    };
    Ok(pods.iter().filter(own).count())
}

/// The content of a process's file in /proc, as the lab numbers it.
pub(super) fn proc_file(process: i32, name: &str) -> Result<String> {
    let mut text = String::new();
    let path = format!("/proc/{process}/{name}");
    std::fs::File::open(&path).context(path.clone())?.read_to_string(&mut text).context(path)?;
    Ok(text)
}
