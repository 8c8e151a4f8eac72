//! One measurement.

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use super::contender::Contender;
use super::cpu::Moment;
use super::metric::{Metric, Placement};
use super::wires::Crossed;
use crate::counters::Counts;
use crate::tools::load::{Load, LoadReport};
use crate::traffic::{self, ECHO_PORT, Running, SINK_PORT};

/// Port that counts datagrams.
const UDP_SINK_PORT: u16 = 7200;
/// Ports of the server of connections: a pair of ports rests for a minute after its connection.
const CONNECTION_PORTS: u16 = 16;
/// Longest warm-up, in seconds.
const WARM_UP: f64 = 0.2;

/// What one measurement gave.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Sample {
    /// In the unit of its metric.
    pub(super) figure: f64,
    /// Seconds of processor time, of all CPUs, per unit (per Gbit of a stream).
    pub(super) cpu_per_unit: f64,
    /// Median and 99th percentile of transactions, in microseconds.
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    /// Transactions or system calls that failed.
    pub(super) failed: u64,
    /// Average length on the wire in the direction of the data, in bytes.
    pub(super) frame: f64,
    /// Part of the pods' packets that skipped the host stack on both nodes; Tartan only.
    pub(super) fast_share: Option<f64>,
}

/// What listens; ends when dropped.
enum Server {
    Echo(#[expect(dead_code, reason = "held")] Running<traffic::EchoReport>),
    Sink(#[expect(dead_code, reason = "held")] Running<traffic::SinkReport>),
    UdpSink(Running<traffic::UdpSinkReport>),
}

pub(super) fn measure(contender: &Contender, metric: Metric, seconds: f64) -> Result<Sample> {
    take(contender, metric, seconds)
        .with_context(|| format!("{} of {}", metric.name(), contender.name.text()))
}

fn take(contender: &Contender, metric: Metric, seconds: f64) -> Result<Sample> {
    let placement = metric.placement();
    let server = serve(contender, metric, placement)?;
    let paths = Paths::of(contender)?;
    let load = start(contender, metric, placement, seconds)?;
    let [sender, _] = &contender.nodes;
    let (crossed, moment) = (Crossed::from(sender)?, Moment::now()?);
    let report = load.finish()?;
    let busy = moment.busy_since()?;
    let frame = Crossed::from(sender)?.average_since(&crossed);
    let fast_share = paths.map(|before| before.share(contender)).transpose()?;
    let figure = figure(metric, &report, server)?;
    ensure!(figure > 0.0, "nothing arrived: {report:?}");
    Ok(Sample {
        figure,
        cpu_per_unit: busy / (figure * report.seconds),
        p50_us: report.p50_us,
        p99_us: report.p99_us,
        failed: report.failed,
        frame,
        fast_share,
    })
}

fn serve(contender: &Contender, metric: Metric, placement: Placement) -> Result<Server> {
    let (place, cpu) = (&*contender.to, Some(placement.server));
    Ok(match metric.load() {
        Load::TcpRr | Load::UdpRr => Server::Echo(traffic::echo(place, cpu)?),
        Load::TcpCrr => Server::Echo(traffic::serial_echo(place, CONNECTION_PORTS, cpu)?),
        Load::TcpStream => Server::Sink(traffic::tcp_sink(place, false, cpu)?),
        Load::UdpFlood => {
            let line = format!("load-sink --port {UDP_SINK_PORT} --cpu {}", placement.server);
            Server::UdpSink(Running::start(place, &line, "")?)
        }
    })
}

fn start(
    contender: &Contender,
    metric: Metric,
    placement: Placement,
    seconds: f64,
) -> Result<Running<LoadReport>> {
    let (word, port, ports) = match metric.load() {
        Load::TcpRr => ("tcp-rr", ECHO_PORT, 1),
        Load::UdpRr => ("udp-rr", ECHO_PORT, 1),
        Load::TcpCrr => ("tcp-crr", ECHO_PORT, CONNECTION_PORTS),
        Load::TcpStream => ("tcp-stream", SINK_PORT, 1),
        Load::UdpFlood => ("udp-flood", UDP_SINK_PORT, 1),
    };
    let warm_up = WARM_UP.min(seconds / 2.0);
    let (to, cpu) = (contender.address, placement.client);
    let line = format!(
        "load {word} --to {to} --port {port} --ports {ports} --seconds {seconds} \
         --warm-up {warm_up} --cpu {cpu}"
    );
    Running::start(&*contender.from, &line, "")
}

/// In the unit of the metric. Of a flood only what arrived counts.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn figure(metric: Metric, report: &LoadReport, server: Server) -> Result<f64> {
    let done = report.done as f64 / report.seconds;
    match server {
        Server::UdpSink(sink) => Ok(sink.stop()?.per_second),
        Server::Echo(_) | Server::Sink(_) if metric.is_stream() => Ok(done * 8.0 / 1e9),
        Server::Echo(_) | Server::Sink(_) => Ok(done),
    }
}

/// Counters of both nodes at one time.
struct Paths([Counts; 2]);

impl Paths {
    fn of(contender: &Contender) -> Result<Option<Self>> {
        if !contender.is_tartan() {
            return Ok(None);
        }
        let [one, two] = &contender.nodes;
        Ok(Some(Self([one.paths()?, two.paths()?])))
    }

    /// The part of packets since then that went fast.
    #[expect(clippy::cast_precision_loss, reason = "a share")]
    fn share(&self, contender: &Contender) -> Result<f64> {
        let Self(before) = self;
        let (mut fast, mut all) = (0, 0);
        for (node, before) in contender.nodes.iter().zip(before) {
            let added = node.paths()?.since(before);
            let quick = added.get("pod-remote-fast") + added.get("uplink-pod-fast");
            let slow = ["pod-to-stack", "uplink-to-stack", "uplink-to-device"];
            fast += quick;
            all += quick + slow.iter().map(|path| added.get(path)).sum::<u64>();
        }
        ensure!(all > 0, "no packet passed the programs");
        Ok(fast as f64 / all as f64)
    }
}
