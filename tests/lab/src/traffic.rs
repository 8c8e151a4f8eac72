//! Traffic between places of the lab: the tools of this program, started where they are needed
//! and read back as typed reports.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::marker::PhantomData;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Stdio};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::de::DeserializeOwned;

use crate::hex;
use crate::process::Place;
pub use crate::tools::bulk::{SendReport, SinkReport};
pub use crate::tools::closed_port::ClosedPortReport;
pub use crate::tools::crr::CrrReport;
pub use crate::tools::echo::EchoReport;
pub use crate::tools::exchange::ExchangeReport;
pub use crate::tools::flood::{FloodReport, UdpSinkReport};
pub use crate::tools::hooks::HookedProgram;
pub use crate::tools::inquire::InquireReport;
pub use crate::tools::probe::ProbeReport;
pub use crate::tools::raw::RawReport;
pub use crate::tools::rr::RrReport;
pub use crate::tools::sniff::{Capture, CapturedFrame};
pub use crate::tools::sums::SumsReport;
pub use crate::tools::volley::VolleyReport;
pub use crate::tools::witness::Testimony;

/// A tool under way; killed when dropped. `T` is what it reports in the end.
#[derive(Debug)]
pub struct Running<T> {
    label: String,
    child: Child,
    stdout: BufReader<ChildStdout>,
    report: PhantomData<T>,
}

impl<T: DeserializeOwned> Running<T> {
    /// Starts `tartan-lab tool LINE` in a place, `input` on its standard input, and waits until
    /// it says that it is ready.
    ///
    /// # Errors
    /// When it cannot be started, or ends before it is ready.
    pub fn start(place: &dyn Place, line: &str, input: &str) -> Result<Self> {
        let label = format!("{}: {line}", place.label());
        let mut command = place.command("/proc/self/exe");
        command.arg0("tartan-lab").arg("tool").args(line.split_whitespace());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {label}"))?;
        let mut stdin = child.stdin.take().context("a tool without input")?;
        // A tool that fails early does not read its input; it says why on stderr.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let stdout = BufReader::new(child.stdout.take().context("a tool without output")?);
        let mut this = Self { label, child, stdout, report: PhantomData };
        this.await_ready()?;
        Ok(this)
    }

    fn await_ready(&mut self) -> Result<()> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        if line.trim() == "ready" { Ok(()) } else { self.failure() }
    }

    fn failure<R>(&mut self) -> Result<R> {
        let mut stderr = String::new();
        if let Some(pipe) = self.child.stderr.as_mut() {
            pipe.read_to_string(&mut stderr)?;
        }
        let status = self.child.wait()?;
        bail!("{}: {status}: {}", self.label, stderr.trim())
    }

    /// Waits until the tool ends by itself; its report.
    ///
    /// # Errors
    /// When the tool fails.
    pub fn finish(mut self) -> Result<T> {
        let mut line = String::new();
        self.stdout.read_line(&mut line)?;
        if line.is_empty() {
            return self.failure();
        }
        self.child.wait()?;
        serde_json::from_str(&line).with_context(|| format!("{}: {line}", self.label))
    }

    /// Ends a server or a capture; its report.
    ///
    /// # Errors
    /// When the tool has failed.
    pub fn stop(self) -> Result<T> {
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGTERM)?;
        self.finish()
    }
}

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Port of [`echo`] servers.
pub const ECHO_PORT: u16 = 7000;
/// Port of [`tcp_sink`]s.
pub const SINK_PORT: u16 = 7100;

fn pinned(cpu: Option<usize>) -> String {
    cpu.map(|cpu| format!(" --cpu {cpu}")).unwrap_or_default()
}

/// Starts an echo server (UDP and TCP) on port 7000.
///
/// # Errors
/// When it cannot bind.
pub fn echo(place: &dyn Place, cpu: Option<usize>) -> Result<Running<EchoReport>> {
    Running::start(place, &format!("echo{}", pinned(cpu)), "")
}

/// Starts an echo server on `ports` ports from 7000 on, which serves each port's connections in
/// turn: the peer of [`crr`].
///
/// # Errors
/// When it cannot bind.
pub fn serial_echo(
    place: &dyn Place,
    ports: u16,
    cpu: Option<usize>,
) -> Result<Running<EchoReport>> {
    Running::start(place, &format!("echo --serial --ports {ports}{}", pinned(cpu)), "")
}

/// Starts probing echo servers at `pps` datagrams per second each, for `seconds`.
///
/// # Errors
/// When it cannot connect a socket.
pub fn udp_probe(
    place: &dyn Place,
    to: &[IpAddr],
    pps: u32,
    seconds: f64,
) -> Result<Running<Vec<ProbeReport>>> {
    let to = to.iter().map(|ip| format!(" --to {}", SocketAddr::new(*ip, ECHO_PORT)));
    let to: String = to.collect();
    Running::start(place, &format!("udp-probe --pps {pps} --seconds {seconds}{to}"), "")
}

/// Starts a TCP sink on port 7100; `checked` sums every byte.
///
/// # Errors
/// When it cannot bind.
pub fn tcp_sink(
    place: &dyn Place,
    checked: bool,
    cpu: Option<usize>,
) -> Result<Running<SinkReport>> {
    let check = if checked { "" } else { " --no-checksum" };
    Running::start(place, &format!("tcp-sink{check}{}", pinned(cpu)), "")
}

/// Sends `bytes` to a sink and compares every byte.
///
/// # Errors
/// When the connection fails or stalls.
pub fn tcp_bytes(place: &dyn Place, to: IpAddr, bytes: u64) -> Result<SendReport> {
    let to = SocketAddr::new(to, SINK_PORT);
    Running::start(place, &format!("tcp-send --to {to} --bytes {bytes}"), "")?.finish()
}

/// Streams to an unchecked sink for `seconds`.
///
/// # Errors
/// When the connection fails or stalls.
pub fn tcp_stream(
    place: &dyn Place,
    to: IpAddr,
    seconds: f64,
    cpu: Option<usize>,
) -> Result<Running<SendReport>> {
    let to = SocketAddr::new(to, SINK_PORT);
    let pin = pinned(cpu);
    Running::start(place, &format!("tcp-send --to {to} --no-checksum --seconds {seconds}{pin}"), "")
}

/// Transport of [`rr`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// Starts round trips of 64 bytes to an echo server.
///
/// # Errors
/// When the server does not answer.
pub fn rr(
    place: &dyn Place,
    over: Transport,
    to: IpAddr,
    seconds: f64,
    cpu: Option<usize>,
) -> Result<Running<RrReport>> {
    let to = SocketAddr::new(to, ECHO_PORT);
    let over = match over {
        Transport::Tcp => "tcp",
        Transport::Udp => "udp",
    };
    let pin = pinned(cpu);
    Running::start(place, &format!("rr --to {to} --over {over} --seconds {seconds}{pin}"), "")
}

/// Starts connections of one round trip each to a [`serial_echo`] with as many ports.
///
/// # Errors
/// When the tool cannot be started; failed connections are in the report.
pub fn crr(
    place: &dyn Place,
    to: IpAddr,
    ports: u16,
    seconds: f64,
    cpu: Option<usize>,
) -> Result<Running<CrrReport>> {
    let pin = pinned(cpu);
    Running::start(place, &format!("crr --to {to} --ports {ports} --seconds {seconds}{pin}"), "")
}

/// Makes `count` connections of one round trip each to an [`echo`] server.
///
/// # Errors
/// When the tool cannot be started; failed connections are in the report.
pub fn crr_count(place: &dyn Place, to: IpAddr, count: u64) -> Result<CrrReport> {
    Running::start(place, &format!("crr --to {to} --count {count} --seconds 60"), "")?.finish()
}

/// Starts counting datagrams on port 7200.
///
/// # Errors
/// When it cannot bind.
pub fn udp_sink(place: &dyn Place, cpu: Option<usize>) -> Result<Running<UdpSinkReport>> {
    Running::start(place, &format!("udp-sink{}", pinned(cpu)), "")
}

/// Starts sending datagrams of 64 bytes to port 7200 as fast as one core can.
///
/// # Errors
/// When the socket cannot be connected.
pub fn udp_flood(
    place: &dyn Place,
    to: IpAddr,
    seconds: f64,
    cpu: Option<usize>,
) -> Result<Running<FloodReport>> {
    let pin = pinned(cpu);
    Running::start(place, &format!("udp-flood --to {to}:7200 --seconds {seconds}{pin}"), "")
}

/// Sends these frames, as they are, out of an interface, `repeat` times.
///
/// # Errors
/// When the interface is missing; what the kernel refused is in the report.
pub fn raw_send(
    place: &dyn Place,
    iface: &str,
    frames: &[Vec<u8>],
    repeat: u64,
) -> Result<RawReport> {
    let lines: Vec<_> = frames.iter().map(|frame| hex::encode(frame)).collect();
    let line = format!("raw-send --iface {iface} --repeat {repeat}");
    Running::start(place, &line, &lines.join("\n"))?.finish()
}

/// Starts a capture; `filter` is more flags of `tool sniff`, for instance `--udp-port 8472`.
///
/// # Errors
/// When the interface is missing.
pub fn sniff(place: &dyn Place, iface: &str, filter: &str) -> Result<Running<Capture>> {
    Running::start(place, &format!("sniff --iface {iface} {filter}"), "")
}

/// The BPF programs at an interface's TCX hooks, ingress first, in the order in which they run.
///
/// # Errors
/// When the interface is missing or the kernel has no TCX.
pub fn hooks(place: &dyn Place, iface: &str) -> Result<Vec<HookedProgram>> {
    Running::start(place, &format!("hooks --iface {iface}"), "")?.finish()
}
