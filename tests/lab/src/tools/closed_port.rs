//! `tool closed-port`: how an application learns that its UDP server has gone.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

use super::setup::{any, ready};

/// An answer, or a refusal, that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(5);

/// Flags of `tool closed-port`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An echo server that is going to end.
    #[arg(long)]
    to: SocketAddr,
}

/// What a client heard after its server had gone.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ClosedPortReport {
    /// Whether the socket said `Connection refused` within 5 s.
    pub refused: bool,
    /// Datagrams sent until then.
    pub sent: u64,
}

/// Exchanges a few datagrams, says that it is ready, then sends until the port is closed.
pub(super) fn run(args: &Args) -> Result<ClosedPortReport> {
    let socket = UdpSocket::bind(any(args.to))?;
    socket.connect(args.to)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut answer = [0; 16];
    for _ in 0..5 {
        socket.send(b"are you there?")?;
        if socket.recv(&mut answer)? == 0 {
            bail!("{} answers with nothing", args.to);
        }
    }
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    ready()?;
    let mut report = ClosedPortReport { refused: false, sent: 0 };
    let end = Instant::now() + PATIENCE;
    while !report.refused && Instant::now() < end {
        report.sent += 1;
        let heard = socket.send(b"and now?").and_then(|_| socket.recv(&mut answer));
        report.refused = heard.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
    }
    Ok(report)
}
