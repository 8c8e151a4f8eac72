//! `tool crr`: connect, one round trip, close, again and again.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::setup::{pin, ready};

/// Flags of `tool crr`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long)]
    to: IpAddr,
    /// The first port of the echo server.
    #[arg(long, default_value_t = 7000)]
    port: u16,
    /// Number of its ports, used in turn: closed connections block their ports for a minute.
    #[arg(long, default_value_t = 1)]
    ports: u16,
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// End after so many connections.
    #[arg(long)]
    count: Option<u64>,
    /// Payload in bytes.
    #[arg(long, default_value_t = 64)]
    size: usize,
    #[arg(long)]
    cpu: Option<usize>,
}

/// How the connections went.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CrrReport {
    /// Connections that carried their round trip.
    pub connections: u64,
    /// Connections that did not.
    pub failed: u64,
    /// The first failure in words.
    pub first_failure: Option<String>,
    /// Connections per second.
    pub per_second: f64,
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub(super) fn run(args: &Args) -> Result<CrrReport> {
    pin(args.cpu)?;
    ready()?;
    let mut payload = vec![0x5a; args.size.max(1)];
    let mut report = CrrReport { connections: 0, failed: 0, first_failure: None, per_second: 0.0 };
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(args.seconds);
    let mut number: u64 = 0;
    while Instant::now() < end && args.count.is_none_or(|count| number < count) {
        let port = args.port + u16::try_from(number % u64::from(args.ports.max(1)))?;
        match exchange(SocketAddr::new(args.to, port), &mut payload) {
            Ok(()) => report.connections += 1,
            Err(error) => {
                report.failed += 1;
                report.first_failure.get_or_insert(format!("connection {number}: {error}"));
            }
        }
        number += 1;
    }
    report.per_second = report.connections as f64 / start.elapsed().as_secs_f64();
    Ok(report)
}

fn exchange(to: SocketAddr, payload: &mut [u8]) -> std::io::Result<()> {
    let timeout = Duration::from_secs(5);
    let mut stream = TcpStream::connect_timeout(&to, timeout)?;
    stream.set_read_timeout(Some(timeout))?;
    stream.write_all(payload)?;
    stream.read_exact(payload)
}
