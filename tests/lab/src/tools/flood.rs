//! `tool udp-flood` and `tool udp-sink`: small datagrams as fast as a core can.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::net::{Batch, receive_buffer};
use super::setup::{TICK, any, pin, ready, stopped};

/// Flags of `tool udp-flood`.
#[derive(Debug, clap::Args)]
pub struct FloodArgs {
    #[arg(long)]
    to: SocketAddr,
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Payload in bytes.
    #[arg(long, default_value_t = 64)]
    size: usize,
    #[arg(long)]
    cpu: Option<usize>,
}

/// Flags of `tool udp-sink`.
#[derive(Debug, clap::Args)]
pub struct SinkArgs {
    #[arg(long, default_value = "0.0.0.0:7200")]
    bind: SocketAddr,
    #[arg(long)]
    cpu: Option<usize>,
}

/// What a flood sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FloodReport {
    /// Datagrams that the kernel took.
    pub sent: u64,
    /// System calls that failed.
    pub errors: u64,
    /// How long it took.
    pub seconds: f64,
}

/// What a sink received until it was stopped.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct UdpSinkReport {
    /// Datagrams.
    pub received: u64,
    /// Their payload in bytes.
    pub bytes: u64,
    /// From the first to the last.
    pub seconds: f64,
    /// Datagrams per second between the first and the last.
    pub per_second: f64,
}

pub(super) fn flood(args: &FloodArgs) -> Result<FloodReport> {
    pin(args.cpu)?;
    let socket = UdpSocket::bind(any(args.to))?;
    socket.connect(args.to).with_context(|| format!("cannot connect to {}", args.to))?;
    let mut batch = Batch::new(args.size);
    ready()?;
    let start = Instant::now();
    let end = start + Duration::from_secs_f64(args.seconds);
    let (mut sent, mut errors) = (0, 0);
    while Instant::now() < end {
        match batch.send(&socket) {
            Ok(count) => sent += count as u64,
            Err(_) => errors += 1,
        }
    }
    Ok(FloodReport { sent, errors, seconds: start.elapsed().as_secs_f64() })
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
pub(super) fn sink(args: &SinkArgs) -> Result<UdpSinkReport> {
    pin(args.cpu)?;
    let socket = UdpSocket::bind(args.bind)?;
    receive_buffer(&socket, 4 << 20)?;
    socket.set_read_timeout(Some(TICK))?;
    ready()?;
    let mut batch = Batch::new(2048);
    let (mut received, mut bytes) = (0, 0);
    let mut span: Option<(Instant, Instant)> = None;
    while !stopped() {
        // A timeout: look again whether it is over.
        let Ok((count, length)) = batch.receive(&socket) else { continue };
        received += count as u64;
        bytes += length;
        let now = Instant::now();
        span = Some((span.map_or(now, |(first, _)| first), now));
    }
    let seconds = span.map_or(0.0, |(first, last)| (last - first).as_secs_f64());
    let per_second = if seconds > 0.0 { received as f64 / seconds } else { 0.0 };
    Ok(UdpSinkReport { received, bytes, seconds, per_second })
}
