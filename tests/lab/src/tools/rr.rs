//! `tool rr`: round trips over one connection to an echo server.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use super::probe::percentile;
use super::setup::{any, pin, ready};

/// After this long a UDP round trip counts as lost.
const LOST: Duration = Duration::from_millis(500);

/// Transport of the round trips.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Transport {
    Tcp,
    Udp,
}

/// Flags of `tool rr`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long)]
    to: SocketAddr,
    #[arg(long, value_enum, default_value = "tcp")]
    over: Transport,
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Payload in bytes.
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// Rest so long after each round trip, in microseconds.
    #[arg(long, default_value_t = 0)]
    pause_us: u64,
    #[arg(long)]
    cpu: Option<usize>,
}

/// How the round trips went.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RrReport {
    /// Round trips completed.
    pub round_trips: u64,
    /// UDP round trips without an answer.
    pub lost: u64,
    /// Round trips per second.
    pub per_second: f64,
    /// Median in microseconds.
    pub p50_us: f64,
    /// 99th percentile in microseconds.
    pub p99_us: f64,
}

pub(super) fn run(args: &Args) -> Result<RrReport> {
    pin(args.cpu)?;
    match args.over {
        Transport::Tcp => over_tcp(args),
        Transport::Udp => over_udp(args),
    }
}

fn over_tcp(args: &Args) -> Result<RrReport> {
    let timeout = Duration::from_secs(10);
    let mut stream = TcpStream::connect_timeout(&args.to, timeout)
        .with_context(|| format!("cannot connect to {}", args.to))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(timeout))?;
    measure(args, |payload| {
        stream.write_all(payload)?;
        stream.read_exact(payload)?;
        Ok(true)
    })
}

fn over_udp(args: &Args) -> Result<RrReport> {
    let socket = UdpSocket::bind(any(args.to))?;
    socket.connect(args.to)?;
    socket.set_read_timeout(Some(LOST))?;
    measure(args, |payload| {
        socket.send(payload)?;
        Ok(socket.recv(payload).is_ok())
    })
}

fn measure(args: &Args, mut exchange: impl FnMut(&mut [u8]) -> Result<bool>) -> Result<RrReport> {
    let mut payload = vec![0x5a; args.size.max(1)];
    if !exchange(&mut payload)? && !exchange(&mut payload)? {
        bail!("{} does not answer", args.to);
    }
    ready()?;
    let (mut times, mut lost) = (Vec::new(), 0);
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(args.seconds);
    let mut now = start;
    while now < end {
        let answered = exchange(&mut payload)?;
        let after = Instant::now();
        if answered {
            times.push(u64::try_from((after - now).as_nanos()).unwrap_or(u64::MAX));
        } else {
            lost += 1;
        }
        now = if args.pause_us > 0 {
            thread::sleep(Duration::from_micros(args.pause_us));
            Instant::now()
        } else {
            after
        };
    }
    Ok(report(times, lost, now - start))
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn report(mut times: Vec<u64>, lost: u64, took: Duration) -> RrReport {
    times.sort_unstable();
    RrReport {
        round_trips: times.len() as u64,
        lost,
        per_second: times.len() as f64 / took.as_secs_f64(),
        p50_us: percentile(&times, 50),
        p99_us: percentile(&times, 99),
    }
}
