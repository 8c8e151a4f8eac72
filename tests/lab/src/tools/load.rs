//! `tool load`: what the benchmark sends. It warms up, says `ready`, and measures from there on.

mod datagrams;
mod streams;
mod tally;

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use self::tally::measure;
use super::setup::{any, pin};

/// After this long a UDP round trip counts as failed.
const LOST: Duration = Duration::from_millis(200);
const TIMEOUT: Duration = Duration::from_secs(5);

/// Kind of load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Load {
    /// Round trips over one TCP connection to an echo server.
    TcpRr,
    /// UDP round trips to an echo server.
    UdpRr,
    /// Connect, one round trip, close.
    TcpCrr,
    /// TCP streams, each from a thread of its own.
    TcpStream,
    /// Datagrams as fast as a core can.
    UdpFlood,
    /// Datagrams at a fixed rate, without a warm-up: every one counts.
    UdpRate,
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
    /// Payload of everything but streams, in bytes.
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// Number of streams.
    #[arg(long, default_value_t = 1)]
    connections: usize,
    /// Datagrams per second of `udp-rate`.
    #[arg(long, default_value_t = 1000.0)]
    pps: f64,
    #[arg(long)]
    cpu: Option<usize>,
}

/// What was achieved after the warm-up.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct LoadReport {
    /// Transactions, bytes of the streams, or datagrams that the kernel took.
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
    pin(args.cpu)?;
    let to = SocketAddr::new(args.to, args.port);
    match args.load {
        Load::TcpRr => tcp_rr(args, to),
        Load::UdpRr => udp_rr(args, to),
        Load::TcpCrr => tcp_crr(args, to),
        Load::TcpStream => streams::run(args, to),
        Load::UdpFlood => datagrams::flood(args, to),
        Load::UdpRate => datagrams::at_a_rate(args, to),
    }
}

fn tcp_rr(args: &Args, to: SocketAddr) -> Result<LoadReport> {
    let mut stream = connect(to).with_context(|| format!("cannot connect to {to}"))?;
    let mut payload = vec![0x5a; args.size];
    measure(args, || {
        stream.write_all(&payload)?;
        stream.read_exact(&mut payload)?;
        Ok(Some(1))
    })
}

fn udp_rr(args: &Args, to: SocketAddr) -> Result<LoadReport> {
    let socket = UdpSocket::bind(any(to))?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(LOST))?;
    let mut payload = vec![0x5a; args.size];
    measure(args, || {
        socket.send(&payload)?;
        Ok(socket.recv(&mut payload).is_ok().then_some(1))
    })
}

fn tcp_crr(args: &Args, to: SocketAddr) -> Result<LoadReport> {
    let mut turn: u16 = 0;
    let mut payload = vec![0x5a; args.size];
    measure(args, || {
        // Closed connections keep their pair of ports for a minute.
        turn = (turn + 1) % args.ports.max(1);
        let to = SocketAddr::new(to.ip(), to.port() + turn);
        Ok(transaction(to, &mut payload).is_ok().then_some(1))
    })
}

fn connect(to: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect(to)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    Ok(stream)
}

fn transaction(to: SocketAddr, payload: &mut [u8]) -> std::io::Result<()> {
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
