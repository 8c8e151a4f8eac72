//! `tool load-sink`: counts the benchmark's datagrams.

use std::net::UdpSocket;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::flood::UdpSinkReport;
use super::net::{Batch, receive_buffer};
use super::setup::{TICK, pin, ready, stopped};

/// Flags of `tool load-sink`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long)]
    port: u16,
    #[arg(long)]
    cpu: Option<usize>,
}

pub(super) fn run(args: &Args) -> Result<UdpSinkReport> {
    pin(args.cpu)?;
    let address = ("0.0.0.0", args.port);
    let socket = UdpSocket::bind(address).with_context(|| format!("cannot bind {address:?}"))?;
    receive_buffer(&socket, 4 << 20)?;
    socket.set_read_timeout(Some(TICK))?;
    ready()?;
    answer_first(&socket)?;
    Ok(count(&socket))
}

/// A flow whose ends never spoke to each other is no flow to a network that looks after flows.
fn answer_first(socket: &UdpSocket) -> Result<()> {
    let mut buffer = [0; 2048];
    while !stopped() {
        if let Ok((length, peer)) = socket.recv_from(&mut buffer) {
            socket.send_to(&buffer[..length], peer).context("cannot answer")?;
            break;
        }
    }
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn count(socket: &UdpSocket) -> UdpSinkReport {
    let mut batch = Batch::new(2048);
    let (mut received, mut bytes) = (0, 0);
    let mut span: Option<(Instant, Instant)> = None;
    while !stopped() {
        // A timeout: look again whether it is over.
        let Ok((count, length)) = batch.receive(socket) else { continue };
        received += count as u64;
        bytes += length;
        let now = Instant::now();
        span = Some((span.map_or(now, |(first, _)| first), now));
    }
    let seconds = span.map_or(0.0, |(first, last)| (last - first).as_secs_f64());
    let per_second = if seconds > 0.0 { received as f64 / seconds } else { 0.0 };
    UdpSinkReport { received, bytes, seconds, per_second }
}
