//! One measurement.

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use super::contender::Contender;
use super::cpu::Moment;
use super::metric::Metric;
use super::netstat::Netstat;
use super::paths::Paths;
use super::rate::{self, Trial};
use super::wires::Crossed;
use crate::tools::load::{Load, LoadReport};
use crate::traffic::{self, ECHO_PORT, Running, SINK_PORT};

/// Port that counts datagrams.
const UDP_SINK_PORT: u16 = 7200;
/// Ports of the server of connections: a pair of ports rests for a minute after its connection.
const CONNECTION_PORTS: u16 = 16;
/// Longest warm-up, in seconds.
const WARM_UP: f64 = 0.2;
/// What each rate of a search is tried for, as part of a measurement's time.
const TRIAL: f64 = 0.4;

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
    /// Average length of a packet as the receiver's IP got it, in bytes: what GRO merged is one.
    pub(super) packet: f64,
    /// Part of the client's TCP segments that were sent again.
    pub(super) retransmitted: f64,
    /// Part of the pods' packets that skipped the host stack on both nodes; Tartan only.
    pub(super) fast_share: Option<f64>,
}

/// What listens; ends when dropped.
enum Server {
    Echo(#[expect(dead_code, reason = "held")] Running<traffic::EchoReport>),
    Sink(#[expect(dead_code, reason = "held")] Running<traffic::SinkReport>),
    UdpSink(Running<traffic::UdpSinkReport>),
}

/// Counters around a measurement.
struct Around {
    paths: Option<Paths>,
    sender: Netstat,
    receiver: Netstat,
    crossed: Crossed,
}

pub(super) fn measure(contender: &Contender, metric: Metric, seconds: f64) -> Result<Sample> {
    take(contender, metric, seconds)
        .with_context(|| format!("{} of {}", metric.name(), contender.name.text()))
}

fn take(contender: &Contender, metric: Metric, seconds: f64) -> Result<Sample> {
    if metric.load() == Load::UdpRate {
        return search(contender, metric, seconds);
    }
    let server = serve(contender, metric)?;
    let around = Around::begin(contender)?;
    let load = start(contender, metric, metric.load(), &timing(seconds))?;
    let moment = Moment::now()?;
    let report = load.finish()?;
    let busy = moment.busy_since()?;
    let figure = figure(metric, &report, server)?;
    ensure!(figure > 0.0, "nothing arrived: {report:?}");
    around.end(contender, figure, busy / (figure * report.seconds), &report)
}

/// The highest rate with hardly any loss.
fn search(contender: &Contender, metric: Metric, seconds: f64) -> Result<Sample> {
    let around = Around::begin(contender)?;
    let attempt = |pps: Option<f64>| trial(contender, metric, pps, seconds * TRIAL);
    let best = rate::highest(attempt)?.context("even a slow sender's datagrams are lost")?;
    around.end(contender, best.sent, best.cpu, &LoadReport::default())
}

#[expect(clippy::cast_precision_loss, reason = "a share")]
fn trial(contender: &Contender, metric: Metric, pps: Option<f64>, seconds: f64) -> Result<Trial> {
    let server = serve(contender, metric)?;
    // Without a warm-up what was sent and what arrived are the same datagrams.
    let mut words = format!("--seconds {seconds} --warm-up 0");
    let load = pps.map_or(Load::UdpFlood, |_| Load::UdpRate);
    if let Some(pps) = pps {
        words = format!("{words} --pps {pps:.0}");
    }
    let load = start(contender, metric, load, &words)?;
    let moment = Moment::now()?;
    let report = load.finish()?;
    let busy = moment.busy_since()?;
    let Server::UdpSink(sink) = server else { anyhow::bail!("no sink for {}", metric.name()) };
    let received = sink.stop()?.received;
    ensure!(report.done > 0 && received > 0, "nothing arrived: {report:?}");
    Ok(Trial {
        sent: report.done as f64 / report.seconds,
        lost: 1.0 - received as f64 / report.done as f64,
        cpu: busy / received as f64,
    })
}

impl Around {
    fn begin(contender: &Contender) -> Result<Self> {
        let [sender, _] = &contender.nodes;
        Ok(Self {
            paths: Paths::of(contender)?,
            sender: Netstat::of(&*contender.from)?,
            receiver: Netstat::of(&*contender.to)?,
            crossed: Crossed::from(sender)?,
        })
    }

    fn end(
        self,
        contender: &Contender,
        figure: f64,
        cpu_per_unit: f64,
        report: &LoadReport,
    ) -> Result<Sample> {
        let [sender, _] = &contender.nodes;
        Ok(Sample {
            figure,
            cpu_per_unit,
            p50_us: report.p50_us,
            p99_us: report.p99_us,
            failed: report.failed,
            frame: Crossed::from(sender)?.average_since(&self.crossed),
            packet: Netstat::of(&*contender.to)?.packet_since(&self.receiver),
            retransmitted: Netstat::of(&*contender.from)?.again_since(&self.sender),
            fast_share: self.paths.map(|before| before.share(contender)).transpose()?,
        })
    }
}

fn pinned(cpu: Option<usize>) -> String {
    cpu.map(|cpu| format!(" --cpu {cpu}")).unwrap_or_default()
}

fn serve(contender: &Contender, metric: Metric) -> Result<Server> {
    let (place, cpu) = (&*contender.to, metric.placement().server);
    Ok(match metric.load() {
        Load::TcpRr | Load::UdpRr => Server::Echo(traffic::echo(place, cpu)?),
        Load::TcpCrr => Server::Echo(traffic::serial_echo(place, CONNECTION_PORTS, cpu)?),
        Load::TcpStream => Server::Sink(traffic::tcp_sink(place, false, cpu)?),
        Load::UdpFlood | Load::UdpRate => {
            let line = format!("load-sink --port {UDP_SINK_PORT}{}", pinned(cpu));
            Server::UdpSink(Running::start(place, &line, "")?)
        }
    })
}

fn timing(seconds: f64) -> String {
    format!("--seconds {seconds} --warm-up {}", WARM_UP.min(seconds / 2.0))
}

fn start(
    contender: &Contender,
    metric: Metric,
    load: Load,
    timing: &str,
) -> Result<Running<LoadReport>> {
    let (word, port, ports) = match load {
        Load::TcpRr => ("tcp-rr", ECHO_PORT, 1),
        Load::UdpRr => ("udp-rr", ECHO_PORT, 1),
        Load::TcpCrr => ("tcp-crr", ECHO_PORT, CONNECTION_PORTS),
        Load::TcpStream => ("tcp-stream", SINK_PORT, 1),
        Load::UdpFlood => ("udp-flood", UDP_SINK_PORT, 1),
        Load::UdpRate => ("udp-rate", UDP_SINK_PORT, 1),
    };
    let (to, cpu) = (contender.address, pinned(metric.placement().client));
    let (size, connections) = (metric.payload(), metric.connections());
    let line = format!(
        "load {word} --to {to} --port {port} --ports {ports} --size {size} \
         --connections {connections} {timing}{cpu}"
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

/// One with this figure and nothing else of interest.
#[cfg(test)]
pub(super) fn sample(figure: f64) -> Sample {
    Sample {
        figure,
        cpu_per_unit: 1.0,
        p50_us: 1.0,
        p99_us: 2.0,
        failed: 0,
        frame: 106.0,
        packet: 92.0,
        retransmitted: 0.0,
        fast_share: None,
    }
}
