//! What is measured. A new figure is a variant of [`Metric`] and a row of [`ROWS`].

use super::rules::RuleSet;
use super::wires::WireKind;
use crate::tools::load::Load;

/// A figure. More is better in every one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Metric {
    TcpRr,
    UdpRr,
    TcpCrr,
    #[value(name = "udp-64")]
    #[serde(rename = "udp-64")]
    Udp64,
    #[value(name = "udp-1400")]
    #[serde(rename = "udp-1400")]
    Udp1400,
    #[value(name = "udp-64-lossless")]
    #[serde(rename = "udp-64-lossless")]
    Udp64Lossless,
    #[value(name = "stream-framed")]
    StreamFramed,
    #[value(name = "stream-4-framed")]
    #[serde(rename = "stream-4-framed")]
    Stream4Framed,
    #[value(name = "stream-8-framed")]
    #[serde(rename = "stream-8-framed")]
    Stream8Framed,
    StreamOffloaded,
    #[value(name = "stream-4-offloaded")]
    #[serde(rename = "stream-4-offloaded")]
    Stream4Offloaded,
    #[value(name = "stream-8-offloaded")]
    #[serde(rename = "stream-8-offloaded")]
    Stream8Offloaded,
    TcpCrrServices,
}

/// CPUs of the two ends; `None` leaves the choice to the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(super) struct Placement {
    pub(super) client: Option<usize>,
    pub(super) server: Option<usize>,
}

/// Ends that take turns share one CPU, or the figure would show how fast an idle CPU wakes up.
const TOGETHER: Placement = Placement { client: Some(0), server: Some(0) };
const APART: Placement = Placement { client: Some(0), server: Some(1) };
/// Several streams use whatever there is.
const ANYWHERE: Placement = Placement { client: None, server: None };

/// What there is to know about a figure.
struct Row {
    metric: Metric,
    title: &'static str,
    name: &'static str,
    load: Load,
    wire: WireKind,
    rules: RuleSet,
    placement: Placement,
    /// Bytes of payload of everything but streams.
    payload: u16,
    connections: u16,
}

const fn exchange(metric: Metric, load: Load, title: &'static str, name: &'static str) -> Row {
    Row {
        metric,
        title,
        name,
        load,
        wire: WireKind::Framed,
        rules: RuleSet::Own,
        placement: TOGETHER,
        payload: 64,
        connections: 1,
    }
}

const fn datagrams(
    metric: Metric,
    load: Load,
    payload: u16,
    title: &'static str,
    name: &'static str,
) -> Row {
    Row { placement: APART, payload, ..exchange(metric, load, title, name) }
}

const fn streams(
    metric: Metric,
    wire: WireKind,
    connections: u16,
    title: &'static str,
    name: &'static str,
) -> Row {
    let placement = if connections == 1 { APART } else { ANYWHERE };
    let row = exchange(metric, Load::TcpStream, title, name);
    Row { wire, placement, connections, ..row }
}

/// In the order of measuring: each change of the wire or of the rules takes its time.
static ROWS: &[Row] = &[
    exchange(
        Metric::TcpRr,
        Load::TcpRr,
        "TCP round trips of 64 bytes per second",
        "TCP round trips",
    ),
    exchange(
        Metric::UdpRr,
        Load::UdpRr,
        "UDP round trips of 64 bytes per second",
        "UDP round trips",
    ),
    exchange(
        Metric::TcpCrr,
        Load::TcpCrr,
        "TCP connections per second: connect, 64 bytes each way, close",
        "TCP connections",
    ),
    datagrams(
        Metric::Udp64,
        Load::UdpFlood,
        64,
        "UDP datagrams of 64 bytes received per second",
        "UDP 64 B",
    ),
    datagrams(
        Metric::Udp1400,
        Load::UdpFlood,
        1400,
        "UDP datagrams of 1400 bytes received per second",
        "UDP 1400 B",
    ),
    datagrams(
        Metric::Udp64Lossless,
        Load::UdpRate,
        64,
        "UDP datagrams of 64 bytes per second with at most 0.1 % lost",
        "UDP 64 B, 0.1 % loss",
    ),
    streams(
        Metric::StreamFramed,
        WireKind::Framed,
        1,
        "one TCP stream, frames of 1500 bytes, Gbit/s",
        "stream, framed",
    ),
    streams(
        Metric::Stream4Framed,
        WireKind::Framed,
        4,
        "4 TCP streams, frames of 1500 bytes, Gbit/s",
        "4 streams, framed",
    ),
    streams(
        Metric::Stream8Framed,
        WireKind::Framed,
        8,
        "8 TCP streams, frames of 1500 bytes, Gbit/s",
        "8 streams, framed",
    ),
    streams(
        Metric::StreamOffloaded,
        WireKind::Offloaded,
        1,
        "one TCP stream, offloaded wire, Gbit/s",
        "stream, offloaded",
    ),
    streams(
        Metric::Stream4Offloaded,
        WireKind::Offloaded,
        4,
        "4 TCP streams, offloaded wire, Gbit/s",
        "4 streams, offloaded",
    ),
    streams(
        Metric::Stream8Offloaded,
        WireKind::Offloaded,
        8,
        "8 TCP streams, offloaded wire, Gbit/s",
        "8 streams, offloaded",
    ),
    Row {
        rules: RuleSet::Services,
        ..exchange(
            Metric::TcpCrrServices,
            Load::TcpCrr,
            "TCP connections per second, kube-proxy's rules of 1,000 Services on the nodes",
            "connections, 1000 Svc",
        )
    },
];

impl Metric {
    /// In the order of measuring.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        ROWS.iter().map(|row| row.metric)
    }

    fn row(self) -> &'static Row {
        // A test sees to it that every metric has its row.
        ROWS.iter().find(|row| row.metric == self).unwrap_or(&ROWS[0])
    }

    pub(super) fn title(self) -> &'static str {
        self.row().title
    }

    /// Of the lines that must be short: at most 22 characters.
    pub(super) fn name(self) -> &'static str {
        self.row().name
    }

    pub(super) fn wire(self) -> WireKind {
        self.row().wire
    }

    pub(super) fn rules(self) -> RuleSet {
        self.row().rules
    }

    pub(super) fn load(self) -> Load {
        self.row().load
    }

    pub(super) fn payload(self) -> u16 {
        self.row().payload
    }

    pub(super) fn connections(self) -> u16 {
        self.row().connections
    }

    pub(super) fn placement(self) -> Placement {
        self.row().placement
    }

    pub(super) fn is_stream(self) -> bool {
        self.load() == Load::TcpStream
    }

    /// How long one measurement takes, as multiples of a plain one.
    pub(super) fn weight(self) -> u32 {
        if self.load() == Load::UdpRate { 4 } else { 1 }
    }

    /// What the processor time is divided by.
    pub(super) fn cpu_unit(self) -> &'static str {
        match self.load() {
            Load::TcpRr | Load::UdpRr => "CPU us/trip",
            Load::TcpCrr => "CPU us/conn",
            Load::UdpFlood | Load::UdpRate => "CPU us/pkt",
            Load::TcpStream => "CPU ms/Gbit",
        }
    }

    /// Seconds of processor time per unit of the figure, as [`Metric::cpu_unit`] has it.
    pub(super) fn cpu_figure(self, seconds: f64) -> f64 {
        if self.is_stream() { seconds * 1e3 } else { seconds * 1e6 }
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_metric_has_its_row_and_a_short_name() {
        assert_eq!(Metric::value_variants(), Metric::all().collect::<Vec<_>>());
        assert!(Metric::all().all(|metric| metric.name().chars().count() <= 22));
    }
}
