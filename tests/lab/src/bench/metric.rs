//! What is measured.

use super::wires::WireKind;
use crate::tools::load::Load;

/// A figure. More is better in every one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Metric {
    /// Round trips over TCP.
    TcpRr,
    /// Round trips over UDP.
    UdpRr,
    /// Connections of one round trip.
    TcpCrr,
    /// Small datagrams received.
    Udp64,
    /// One stream, frames of 1500 bytes.
    StreamFramed,
    /// One stream, 64 KiB packets.
    StreamOffloaded,
}

/// CPUs of the two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Placement {
    pub(super) client: usize,
    pub(super) server: usize,
}

impl Metric {
    /// In the order of measuring.
    pub(super) const ALL: [Self; 6] = [
        Self::TcpRr,
        Self::UdpRr,
        Self::TcpCrr,
        Self::Udp64,
        Self::StreamFramed,
        Self::StreamOffloaded,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::TcpRr => "TCP round trips of 64 bytes per second",
            Self::UdpRr => "UDP round trips of 64 bytes per second",
            Self::TcpCrr => "TCP connections per second: connect, 64 bytes each way, close",
            Self::Udp64 => "UDP datagrams of 64 bytes received per second",
            Self::StreamFramed => "one TCP stream, frames of 1500 bytes, Gbit/s",
            Self::StreamOffloaded => "one TCP stream, offloaded wire, Gbit/s",
        }
    }

    /// Of the lines that must be short.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::TcpRr => "TCP round trips",
            Self::UdpRr => "UDP round trips",
            Self::TcpCrr => "TCP connections",
            Self::Udp64 => "UDP 64 B",
            Self::StreamFramed => "stream, framed",
            Self::StreamOffloaded => "stream, offloaded",
        }
    }

    pub(super) fn wire(self) -> WireKind {
        match self {
            Self::TcpRr | Self::UdpRr | Self::TcpCrr | Self::Udp64 | Self::StreamFramed => {
                WireKind::Framed
            }
            Self::StreamOffloaded => WireKind::Offloaded,
        }
    }

    pub(super) fn load(self) -> Load {
        match self {
            Self::TcpRr => Load::TcpRr,
            Self::UdpRr => Load::UdpRr,
            Self::TcpCrr => Load::TcpCrr,
            Self::Udp64 => Load::UdpFlood,
            Self::StreamFramed | Self::StreamOffloaded => Load::TcpStream,
        }
    }

    pub(super) fn is_stream(self) -> bool {
        self.load() == Load::TcpStream
    }

    /// Ends that take turns share one CPU, or the figure would show how fast an idle CPU wakes up.
    pub(super) fn placement(self) -> Placement {
        match self {
            Self::TcpRr | Self::UdpRr | Self::TcpCrr => Placement { client: 0, server: 0 },
            Self::Udp64 | Self::StreamFramed | Self::StreamOffloaded => {
                Placement { client: 0, server: 1 }
            }
        }
    }

    /// What the processor time is divided by.
    pub(super) fn cpu_unit(self) -> &'static str {
        match self {
            Self::TcpRr | Self::UdpRr => "CPU us/trip",
            Self::TcpCrr => "CPU us/conn",
            Self::Udp64 => "CPU us/pkt",
            Self::StreamFramed | Self::StreamOffloaded => "CPU ms/Gbit",
        }
    }

    /// Seconds of processor time per unit of the figure, as [`Metric::cpu_unit`] has it.
    pub(super) fn cpu_figure(self, seconds: f64) -> f64 {
        if self.is_stream() { seconds * 1e3 } else { seconds * 1e6 }
    }
}
