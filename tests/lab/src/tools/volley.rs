//! `tool volley`: UDP datagrams of one shape to an echo server, one system call at a time; every
//! byte of every answer is compared.

use std::collections::BTreeSet;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::libc;
use serde::{Deserialize, Serialize};

use super::net::{receive_buffer, set_option};
use super::setup::{TICK, any, ready};

/// Bytes of a datagram's number, at its front.
const NUMBER: usize = 4;

/// Flags of `tool volley`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long)]
    to: SocketAddr,
    /// Bytes given to each system call.
    #[arg(long)]
    size: usize,
    /// System calls.
    #[arg(long, default_value_t = 1)]
    count: u32,
    /// Let the kernel cut what a call gets into datagrams of so many bytes (UDP_SEGMENT).
    #[arg(long)]
    segment: Option<u16>,
    /// Send without a UDP checksum.
    #[arg(long)]
    zero_checksum: bool,
    /// How long the answers to one system call may take.
    #[arg(long, default_value_t = 1000)]
    patience_ms: u64,
}

/// What became of the datagrams.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct VolleyReport {
    /// Datagrams that should come back.
    pub sent: u64,
    /// Those that came back as they were.
    pub intact: u64,
    /// Answers that are none of what was sent.
    pub altered: u64,
    /// What the kernel refused to send, in words: the last one.
    pub refused: Option<String>,
}

pub(super) fn run(args: &Args) -> Result<VolleyReport> {
    let socket = UdpSocket::bind(any(args.to))?;
    receive_buffer(&socket, 4 << 20)?;
    socket.connect(args.to).with_context(|| format!("cannot connect to {}", args.to))?;
    socket.set_read_timeout(Some(TICK))?;
    shape(args, &socket)?;
    ready()?;
    let mut report = VolleyReport::default();
    let piece = args.segment.map_or(args.size, usize::from).max(NUMBER);
    let mut first = 0;
    for _ in 0..args.count {
        let datagrams = datagrams(first, args.size.max(NUMBER), piece);
        first += u32::try_from(datagrams.len())?;
        exchange(&socket, &datagrams, args.patience_ms, &mut report);
    }
    Ok(report)
}

fn shape(args: &Args, socket: &UdpSocket) -> Result<()> {
    if let Some(segment) = args.segment {
        set_option(socket, (libc::SOL_UDP, libc::UDP_SEGMENT), segment.into())?;
    }
    if args.zero_checksum {
        let option = match args.to {
            SocketAddr::V4(_) => (libc::SOL_SOCKET, libc::SO_NO_CHECK),
            SocketAddr::V6(_) => (libc::SOL_UDP, libc::UDP_NO_CHECK6_TX),
        };
        set_option(socket, option, 1)?;
    }
    Ok(())
}

/// One call's datagrams, numbered from `first`, no two of them alike.
fn datagrams(first: u32, size: usize, piece: usize) -> Vec<Vec<u8>> {
    let lengths = (0..size).step_by(piece).map(|at| piece.min(size - at)).filter(|n| *n >= NUMBER);
    let numbered = |(number, length): (u32, usize)| {
        let bytes = (0_u32..).map(|at| (at.wrapping_mul(number | 1) >> 3).to_le_bytes()[0]);
        number.to_be_bytes().into_iter().chain(bytes).take(length).collect()
    };
    (first..).zip(lengths).map(numbered).collect()
}

/// Sends all in one call, and waits for the answers.
fn exchange(
    socket: &UdpSocket,
    datagrams: &[Vec<u8>],
    patience_ms: u64,
    report: &mut VolleyReport,
) {
    report.sent += datagrams.len() as u64;
    if let Err(error) = socket.send(&datagrams.concat()) {
        report.refused = Some(error.to_string());
        return;
    }
    let mut missing: BTreeSet<&[u8]> = datagrams.iter().map(Vec::as_slice).collect();
    let end = Instant::now() + Duration::from_millis(patience_ms);
    let mut buffer = vec![0; 65536];
    while !missing.is_empty() && Instant::now() < end {
        // A timeout, or an ICMP error about what was sent: look again whether it is over.
        let Ok(length) = socket.recv(&mut buffer) else { continue };
        if missing.remove(&buffer[..length]) {
            report.intact += 1;
        } else {
            report.altered += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_cut_as_the_kernel_cuts_it() {
        let lengths: Vec<_> = datagrams(7, 2500, 1000).iter().map(Vec::len).collect();
        assert_eq!(lengths, [1000, 1000, 500]);
        assert_eq!(datagrams(7, 2500, 1000)[1][..4], [0, 0, 0, 8]);
    }
}
