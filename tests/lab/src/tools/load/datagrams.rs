//! Datagrams in one direction: as many as a core can send, or so many per second.

use std::hint;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::tally::measure;
use super::{Args, LoadReport, TIMEOUT};
use crate::tools::net::Batch;
use crate::tools::setup::ready;

/// Time between two bursts, in seconds: short against what a receiver's buffer holds.
const PACE: f64 = 50e-6;

pub(super) fn flood(args: &Args, to: SocketAddr) -> Result<LoadReport> {
    let socket = introduced(args, to)?;
    let mut batch = Batch::new(args.size);
    measure(args, || Ok(batch.send(&socket).ok().map(|sent| sent as u64)))
}

/// A sender that falls behind does not catch up: the report says how long it took.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a burst is a small positive number"
)]
pub(super) fn at_a_rate(args: &Args, to: SocketAddr) -> Result<LoadReport> {
    let socket = introduced(args, to)?;
    let mut batch = Batch::new(args.size);
    let burst = (args.pps * PACE).ceil().clamp(1.0, 64.0);
    let pause = Duration::from_secs_f64(burst / args.pps.max(1.0));
    ready()?;
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(args.seconds);
    let (mut next, mut done, mut failed) = (start, 0, 0);
    while next < end {
        while Instant::now() < next {
            hint::spin_loop();
        }
        match batch.send_some(&socket, burst as u32) {
            Ok(sent) => done += sent as u64,
            Err(_) => failed += 1,
        }
        next = (next + pause).max(Instant::now());
    }
    Ok(LoadReport {
        done,
        failed,
        seconds: start.elapsed().as_secs_f64(),
        p50_us: 0.0,
        p99_us: 0.0,
    })
}

/// A flow whose ends never spoke to each other is no flow to a network that looks after flows.
fn introduced(args: &Args, to: SocketAddr) -> Result<UdpSocket> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.send(&vec![0x5a; args.size])?;
    socket.recv(&mut [0; 2048]).with_context(|| format!("{to} does not answer"))?;
    Ok(socket)
}
