//! `tool load`: what the benchmark sends. It warms up, says `ready`, and measures from there on.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::net::Batch;
use super::setup::{pin, ready};

/// Payload of everything but the stream, in bytes.
pub(crate) const PAYLOAD: usize = 64;
/// Bytes per write of the stream.
const CHUNK: usize = 128 << 10;
/// After this long a UDP round trip counts as failed.
const LOST: Duration = Duration::from_millis(200);
const TIMEOUT: Duration = Duration::from_secs(5);
/// Room for the times of so many round trips, taken before the measurement.
const TIMES: usize = 1 << 20;

/// Kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Load {
    /// Round trips over one TCP connection to an echo server.
    TcpRr,
    /// UDP round trips to an echo server.
    UdpRr,
    /// Connect, one round trip, close.
    TcpCrr,
    /// One TCP stream.
    TcpStream,
    /// Datagrams as fast as a core can.
    UdpFlood,
}

/// Flags of `tool load`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(value_enum)]
    load: Load,
    #[arg(long)]
    to: IpAddr,
    /// The server's first port.
    #[arg(long)]
    port: u16,
    /// Number of its ports, used in turn.
    #[arg(long, default_value_t = 1)]
    ports: u16,
    #[arg(long)]
    seconds: f64,
    #[arg(long)]
    warm_up: f64,
    #[arg(long)]
    cpu: usize,
}

/// What was achieved after the warm-up.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LoadReport {
    /// Transactions, bytes of the stream, or datagrams that the kernel took.
    pub done: u64,
    /// Transactions or calls that failed.
    pub failed: u64,
    /// How long it took.
    pub seconds: f64,
    /// Median of the transactions, in microseconds.
    pub p50_us: f64,
    /// 99th percentile of the transactions, in microseconds.
    pub p99_us: f64,
}

pub(super) fn run(args: &Args) -> Result<LoadReport> {
    pin(Some(args.cpu))?;
    let to = SocketAddr::new(args.to, args.port);
    match args.load {
        Load::TcpRr => tcp_rr(args, to),
        Load::UdpRr => udp_rr(args, to),
        Load::TcpCrr => tcp_crr(args, to),
        Load::TcpStream => tcp_stream(args, to),
        Load::UdpFlood => udp_flood(args, to),
    }
}

fn tcp_rr(args: &Args, to: SocketAddr) -> Result<LoadReport> {
    let mut stream = connect(to).with_context(|| format!("cannot connect to {to}"))?;
    let mut payload = [0x5a; PAYLOAD];
    measure(args, || {
        stream.write_all(&payload)?;
        stream.read_exact(&mut payload)?;
        Ok(Some(1))
    })
}

fn udp_rr(args: &Args, to: SocketAddr) -> Result<LoadReport> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(LOST))?;
    let mut payload = [0x5a; PAYLOAD];
    measure(args, || {
        socket.send(&payload)?;
        Ok(socket.recv(&mut payload).is_ok().then_some(1))
    })
}

fn tcp_crr(args: &Args, to: SocketAddr) -> Result<LoadReport> {
    let mut turn: u16 = 0;
    let mut payload = [0x5a; PAYLOAD];
    measure(args, || {
        // Closed connections keep their pair of ports for a minute.
        turn = (turn + 1) % args.ports.max(1);
        let to = SocketAddr::new(to.ip(), to.port() + turn);
        Ok(transaction(to, &mut payload).is_ok().then_some(1))
    })
}

fn tcp_stream(args: &Args, to: SocketAddr) -> Result<LoadReport> {
    let mut stream = connect(to).with_context(|| format!("cannot connect to {to}"))?;
    let chunk = vec![0x5a; CHUNK];
    measure(args, || {
        stream.write_all(&chunk)?;
        Ok(Some(CHUNK as u64))
    })
}

fn udp_flood(args: &Args, to: SocketAddr) -> Result<LoadReport> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.send(&[0x5a; PAYLOAD])?;
    socket.recv(&mut [0; PAYLOAD]).with_context(|| format!("{to} does not answer"))?;
    let mut batch = Batch::new(PAYLOAD);
    measure(args, || Ok(batch.send(&socket).ok().map(|sent| sent as u64)))
}

fn connect(to: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

fn transaction(to: SocketAddr, payload: &mut [u8; PAYLOAD]) -> std::io::Result<()> {
    let mut stream = connect(to)?;
    stream.write_all(payload)?;
    stream.read_exact(payload)?;
    // The server closes as soon as it sees our end: wait for it, so that connections do not
    // overlap.
    stream.shutdown(std::net::Shutdown::Write)?;
    match stream.read(payload)? {
        0 => Ok(()),
        _ => Err(ErrorKind::InvalidData.into()),
    }
}

/// Repeats `step`, which says how much it did or that it failed, first to warm up.
fn measure(args: &Args, mut step: impl FnMut() -> Result<Option<u64>>) -> Result<LoadReport> {
    let mut tally = Tally { times: Vec::with_capacity(TIMES), ..Tally::default() };
    tally.repeat(args.warm_up, &mut step)?;
    tally.clear();
    ready()?;
    let seconds = tally.repeat(args.seconds, &mut step)?;
    Ok(tally.report(seconds))
}

#[derive(Debug, Default)]
struct Tally {
    done: u64,
    failed: u64,
    /// Of each step that did something, in nanoseconds.
    times: Vec<u32>,
}

impl Tally {
    fn clear(&mut self) {
        (self.done, self.failed) = (0, 0);
        self.times.clear();
    }

    /// How long it took, in seconds.
    fn repeat(
        &mut self,
        seconds: f64,
        step: &mut impl FnMut() -> Result<Option<u64>>,
    ) -> Result<f64> {
        let start = Instant::now();
        let end = start + Duration::from_secs_f64(seconds);
        let mut now = start;
        while now < end {
            let done = step()?;
            let after = Instant::now();
            match done {
                Some(done) => {
                    self.done += done;
                    self.times.push(u32::try_from((after - now).as_nanos()).unwrap_or(u32::MAX));
                }
                None => self.failed += 1,
            }
            now = after;
        }
        Ok((now - start).as_secs_f64())
    }

    fn report(mut self, seconds: f64) -> LoadReport {
        self.times.sort_unstable();
        let percentile = |percent: usize| {
            let at = self.times.len() * percent / 100;
            self.times.get(at).map_or(0.0, |nanoseconds| f64::from(*nanoseconds) / 1e3)
        };
        let (p50_us, p99_us) = (percentile(50), percentile(99));
        LoadReport { done: self.done, failed: self.failed, seconds, p50_us, p99_us }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_holds_sums_and_percentiles() {
        let times = (1..=200).map(|n| n * 1000).collect();
        let report = Tally { done: 200, failed: 3, times }.report(2.0);
        assert_eq!((report.done, report.failed), (200, 3));
        assert_eq!((report.p50_us, report.p99_us), (101.0, 199.0));
    }
}
