//! What is sent, and what must come of it.

use std::net::SocketAddr;

use anyhow::{Context as _, Error, Result, ensure};

use super::ground::{Ends, Family};
use super::sums::{self, Watch};
use super::{sctp, too_big};
use crate::process::Place as _;
use crate::traffic::{self, ECHO_PORT, EchoReport, Running, VolleyReport};

/// Port of the server that takes UDP over IPv6 without a checksum.
const LENIENT: u16 = 7400;
/// UDP header.
const UDP: u16 = 8;

/// A column of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Tcp,
    Udp,
    UdpGso,
    ZeroChecksum,
    Ping,
    TooBig,
    Fragments,
    Sctp,
}

/// What a cell came to.
#[derive(Debug, Clone)]
pub(super) enum Outcome {
    Passed,
    /// There can be no such packet, for this reason.
    NotApplicable(String),
    Failed(String),
}

impl Outcome {
    #[expect(clippy::needless_pass_by_value, reason = "for unwrap_or_else")]
    pub(super) fn failed(error: Error) -> Self {
        Self::Failed(format!("{error:#}"))
    }
}

impl Shape {
    pub(super) const ALL: &[Self] = &[
        Self::Tcp,
        Self::Udp,
        Self::UdpGso,
        Self::ZeroChecksum,
        Self::Ping,
        Self::Fragments,
        Self::Sctp,
        Self::TooBig,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::UdpGso => "udp-gso",
            Self::ZeroChecksum => "zero-sum",
            Self::Ping => "ping",
            Self::TooBig => "too-big",
            Self::Fragments => "fragments",
            Self::Sctp => "sctp",
        }
    }

    /// Sends it; `wanted` is told of each bad checksum that was sent on purpose.
    pub(super) fn run(self, ends: &Ends<'_>, wanted: &mut u64) -> Result<Outcome> {
        match self {
            Self::Tcp => tcp(ends)?,
            Self::Udp => udp(ends)?,
            Self::UdpGso => udp_gso(ends)?,
            Self::ZeroChecksum => zero_checksum(ends, wanted)?,
            Self::Ping => ping(ends)?,
            Self::TooBig => too_big::run(ends)?,
            Self::Fragments => fragments(ends)?,
            Self::Sctp => sctp::run(ends)?,
        }
        Ok(Outcome::Passed)
    }
}

fn tcp(ends: &Ends<'_>) -> Result<()> {
    let sent = traffic::tcp_bytes(ends.from, ends.target, 4_000_000)?;
    ensure!(sent.intact, "{sent:?}");
    Ok(())
}

/// `flags` of `tool volley`.
pub(super) fn volley(ends: &Ends<'_>, port: u16, flags: &str) -> Result<VolleyReport> {
    let to = SocketAddr::new(ends.target, port);
    Running::start(ends.from, &format!("volley --to {to} {flags}"), "")?.finish()
}

/// All must come back as they were sent.
pub(super) fn all_back(ends: &Ends<'_>, port: u16, flags: &str) -> Result<()> {
    let report = volley(ends, port, flags)?;
    let good = report.sent > 0 && report.intact == report.sent && report.altered == 0;
    ensure!(good && report.refused.is_none(), "{flags}: {report:?}");
    Ok(())
}

fn udp(ends: &Ends<'_>) -> Result<()> {
    let largest = ends.mtu - ends.header() - UDP;
    [4, 64, 999, largest]
        .into_iter()
        .try_for_each(|size| all_back(ends, ECHO_PORT, &format!("--size {size} --count 10")))
}

/// As many full segments as one call takes, and a last one that is not full.
fn udp_gso(ends: &Ends<'_>) -> Result<()> {
    let segment = ends.mtu - ends.header() - UDP;
    let size = (60_000 / segment).min(40) * segment - segment / 2;
    all_back(ends, ECHO_PORT, &format!("--size {size} --segment {segment} --count 5"))?;
    all_back(ends, ECHO_PORT, "--size 6000 --segment 100 --count 5")
}

/// Datagrams without a checksum arrive without one. Over IPv6 a socket takes them only if it was
/// told to (RFC 6936); another one counts them as bad, and it must be the one that refuses them.
fn zero_checksum(ends: &Ends<'_>, wanted: &mut u64) -> Result<()> {
    const COUNT: u16 = 5;
    const REFUSED: &str = "--size 300 --count 2 --zero-checksum --patience-ms 200";
    let line = format!("echo --bind :: --port {LENIENT} --zero-checksum");
    let _lenient: Running<EchoReport> = Running::start(ends.to, &line, "")?;
    let watch = Watch::on(ends.from.node())?;
    let flags = format!("--size 300 --count {COUNT} --zero-checksum");
    all_back(ends, LENIENT, &flags)?;
    let seen = watch.stop()?;
    ensure!(seen.inner_absent == u64::from(COUNT), "on the wire: {seen:?}");
    if ends.pair.inner() == Family::V6 {
        let before = sums::bad(ends.to)?;
        let report = volley(ends, ECHO_PORT, REFUSED)?;
        let refused = sums::bad(ends.to)? - before;
        *wanted += refused;
        ensure!(report.intact == 0 && refused == 2, "{refused} were refused: {report:?}");
    }
    Ok(())
}

fn ping(ends: &Ends<'_>) -> Result<()> {
    let largest = ends.mtu - ends.header() - 8;
    for size in [0, 56, largest] {
        let line = format!("ping -n -c 3 -i 0.01 -W 1 -M do -s {size} {}", ends.target);
        ends.from.run(&line).with_context(|| format!("{size} bytes"))?;
    }
    Ok(())
}

/// Datagrams larger than any packet, which their sender cuts.
fn fragments(ends: &Ends<'_>) -> Result<()> {
    let more = u32::from(ends.mtu) + 1;
    for size in [more, 3 * more, 60_000] {
        all_back(ends, ECHO_PORT, &format!("--size {size} --count 3"))?;
    }
    let line = format!("ping -n -c 2 -i 0.01 -W 1 -s {} {}", 2 * more, ends.target);
    ends.from.run(&line).map(drop)
}
