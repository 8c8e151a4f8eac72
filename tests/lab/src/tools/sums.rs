//! `tool sums`: looks at every checksum of the tunnel packets that cross an interface.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::raw::PacketSocket;
use super::setup::{ready, stopped};
use crate::checksums::{self, Sum};
use crate::hex;

/// How long frames that wait already are looked at once it is over.
const LAST: Duration = Duration::from_secs(1);

/// Flags of `tool sums`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long, default_value = "eth0")]
    iface: String,
    /// The tunnel's UDP port.
    #[arg(long, default_value_t = 8472)]
    port: u16,
    /// End after so long.
    #[arg(long, default_value_t = 600.0)]
    seconds: f64,
}

/// How many checksums there were of each sort.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SumsReport {
    /// Tunnel packets.
    pub packets: u64,
    /// Outer checksums that are right, IP and UDP together.
    pub outer_right: u64,
    /// Outer ones that are wrong, or missing where they must not be.
    pub outer_wrong: u64,
    /// Inner checksums that are right, of the IP header and of what it carries.
    pub inner_right: u64,
    /// Inner ones that are wrong.
    pub inner_wrong: u64,
    /// Inner UDP without a checksum.
    pub inner_absent: u64,
    /// Inner packets of which no sum can be known: fragments, and protocols without one.
    pub inner_unknown: u64,
    /// The first packets with a wrong one, in hexadecimal.
    pub examples: Vec<String>,
}

pub(super) fn run(args: &Args) -> Result<SumsReport> {
    let socket = PacketSocket::open(&args.iface)?;
    ready()?;
    let mut end = Instant::now() + Duration::from_secs_f64(args.seconds);
    let mut buffer = vec![0; 128 << 10];
    let mut report = SumsReport::default();
    while Instant::now() < end {
        if stopped() {
            end = end.min(Instant::now() + LAST);
        }
        match socket.receive(&mut buffer) {
            Ok((length, _)) => report.note(&buffer[..length], args.port),
            // A timeout: nothing waits any more.
            Err(_) if stopped() => break,
            Err(_) => {}
        }
    }
    Ok(report)
}

impl SumsReport {
    fn note(&mut self, frame: &[u8], port: u16) {
        let Some(sums) = checksums::tunnel(frame, port) else { return };
        let wrong = self.outer_wrong + self.inner_wrong;
        self.packets += 1;
        for sum in sums.outer {
            match sum {
                Sum::Right => self.outer_right += 1,
                Sum::Wrong => self.outer_wrong += 1,
                Sum::Absent | Sum::Unknown => {}
            }
        }
        for sum in sums.inner {
            match sum {
                Sum::Right => self.inner_right += 1,
                Sum::Wrong => self.inner_wrong += 1,
                Sum::Absent => self.inner_absent += 1,
                Sum::Unknown => self.inner_unknown += 1,
            }
        }
        if self.outer_wrong + self.inner_wrong > wrong && self.examples.len() < 3 {
            self.examples.push(hex::encode(&frame[..frame.len().min(160)]));
        }
    }
}
