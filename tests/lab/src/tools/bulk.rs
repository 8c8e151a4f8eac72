//! `tool tcp-send` and `tool tcp-sink`: one TCP stream, checked end to end.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::net::retransmits;
use super::setup::{pin, ready, stopped};

const BUFFER: usize = 128 << 10;
/// How long a stream may stand still.
const STALL: Duration = Duration::from_secs(15);

/// Flags of `tool tcp-sink`.
#[derive(Debug, clap::Args)]
pub struct SinkArgs {
    #[arg(long, default_value = "0.0.0.0:7100")]
    bind: SocketAddr,
    /// Count the bytes only.
    #[arg(long)]
    no_checksum: bool,
    #[arg(long)]
    cpu: Option<usize>,
}

/// Flags of `tool tcp-send`.
#[derive(Debug, clap::Args)]
pub struct SendArgs {
    #[arg(long)]
    to: SocketAddr,
    /// Send so many bytes; without it, for `--seconds`.
    #[arg(long)]
    bytes: Option<u64>,
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    #[arg(long)]
    no_checksum: bool,
    #[arg(long)]
    cpu: Option<usize>,
}

/// What a sink got until it was stopped.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SinkReport {}

/// How one stream went.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SendReport {
    /// Bytes given to the kernel.
    pub sent: u64,
    /// Bytes that the sink read, by its own word.
    pub received: u64,
    /// Whether the sink read what was sent, byte for byte (always true without checksums).
    pub intact: bool,
    /// From the first byte sent to the sink's answer.
    pub seconds: f64,
    /// Payload, in 10^9 bits per second.
    pub gbit_per_s: f64,
    /// Segments sent again.
    pub retransmits: u32,
}

/// What the sink answers at the end of a stream.
#[derive(Debug, Serialize, Deserialize)]
struct Receipt {
    bytes: u64,
    checksum: u64,
}

/// Order-dependent sum over a stream, whatever the pieces it comes in.
#[derive(Debug, Default)]
struct Checksum {
    sum: u64,
    position: u64,
}

impl Checksum {
    fn add(&mut self, piece: &[u8]) {
        for byte in piece {
            self.position = self.position.wrapping_add(0x9e37_79b9_7f4a_7c15);
            self.sum = self.sum.wrapping_add((u64::from(*byte) + 1).wrapping_mul(self.position));
        }
    }
}

pub(super) fn sink(args: &SinkArgs) -> Result<SinkReport> {
    pin(args.cpu)?;
    let listener =
        TcpListener::bind(args.bind).with_context(|| format!("cannot bind TCP {}", args.bind))?;
    let check = !args.no_checksum;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // The sender sees what went wrong with its stream: no receipt comes.
            thread::spawn(move || drop(receive(stream, check)));
        }
    });
    ready()?;
    while !stopped() {
        thread::sleep(super::setup::TICK);
    }
    Ok(SinkReport {})
}

fn receive(mut stream: TcpStream, check: bool) -> Result<()> {
    let mut buffer = vec![0; 4 * BUFFER];
    let mut checksum = Checksum::default();
    let mut bytes = 0;
    loop {
        let length = stream.read(&mut buffer)?;
        if length == 0 {
            break;
        }
        bytes += length as u64;
        if check {
            checksum.add(&buffer[..length]);
        }
    }
    let receipt = Receipt { bytes, checksum: checksum.sum };
    stream.write_all(serde_json::to_string(&receipt)?.as_bytes())?;
    Ok(())
}

pub(super) fn send(args: &SendArgs) -> Result<SendReport> {
    pin(args.cpu)?;
    let mut stream = TcpStream::connect_timeout(&args.to, STALL)
        .with_context(|| format!("cannot connect to {}", args.to))?;
    stream.set_write_timeout(Some(STALL))?;
    stream.set_read_timeout(Some(STALL))?;
    ready()?;
    let start = Instant::now();
    let (sent, checksum) = pour(args, &mut stream, start)?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).context("the sink sent no receipt")?;
    let seconds = start.elapsed().as_secs_f64();
    let receipt: Receipt = serde_json::from_str(&answer).context("the sink sent no receipt")?;
    let equal = args.no_checksum || receipt.checksum == checksum;
    Ok(SendReport {
        sent,
        received: receipt.bytes,
        intact: equal && receipt.bytes == sent,
        seconds,
        gbit_per_s: gigabits(sent) / seconds,
        retransmits: retransmits(&stream)?,
    })
}

/// Sends until the bytes or the seconds are used up: how much, and its checksum.
fn pour(args: &SendArgs, stream: &mut TcpStream, start: Instant) -> Result<(u64, u64)> {
    let pattern = pattern();
    let mut checksum = Checksum::default();
    let mut sent = 0;
    let limit = args.bytes.unwrap_or(u64::MAX);
    let end = args.bytes.is_none().then(|| start + Duration::from_secs_f64(args.seconds));
    while sent < limit && end.is_none_or(|end| Instant::now() < end) {
        let left = usize::try_from(limit - sent).unwrap_or(usize::MAX);
        let piece = &pattern[..left.min(BUFFER)];
        stream.write_all(piece).with_context(|| format!("the stream broke after {sent} bytes"))?;
        if !args.no_checksum {
            checksum.add(piece);
        }
        sent += piece.len() as u64;
    }
    Ok((sent, checksum.sum))
}

/// Bytes without a short period (xorshift).
fn pattern() -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(BUFFER).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn gigabits(bytes: u64) -> f64 {
    bytes as f64 * 8.0 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(pieces: &[&[u8]]) -> u64 {
        let mut checksum = Checksum::default();
        for piece in pieces {
            checksum.add(piece);
        }
        checksum.sum
    }

    #[test]
    fn the_checksum_sees_order_and_length_but_not_pieces() {
        assert_eq!(sum(&[b"abcd"]), sum(&[b"ab", b"cd"]));
        assert_ne!(sum(&[b"abcd"]), sum(&[b"abdc"]));
        assert_ne!(sum(&[b"abcd"]), sum(&[b"abcd\0"]));
    }
}
