//! `tool udp-probe`: a fixed rate to each of several echo servers; every datagram is accounted
//! for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};
use serde::{Deserialize, Serialize};

use super::net::receive_buffer;
use super::setup::{TICK, pin, ready, stopped};

/// How long the last answers may take.
const GRACE: Duration = Duration::from_millis(500);
/// Sequence number, 8 bytes, and time of sending in nanoseconds, 8 bytes.
const HEADER: usize = 16;

/// Answers to all servers together, duplicates included.
static ANSWERS: AtomicU64 = AtomicU64::new(0);

/// Flags of `tool udp-probe`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An echo server; may be given several times.
    #[arg(long, required = true)]
    to: Vec<SocketAddr>,
    /// Datagrams per second to each.
    #[arg(long, default_value_t = 1000)]
    pps: u32,
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Payload in bytes.
    #[arg(long, default_value_t = 64)]
    size: usize,
    #[arg(long)]
    cpu: Option<usize>,
}

/// What became of the datagrams to one echo server.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ProbeReport {
    /// The echo server.
    pub to: String,
    /// Datagrams that the kernel took.
    pub sent: u64,
    /// Datagrams that it refused, for instance with `Network is unreachable`.
    pub refused: u64,
    /// Different datagrams that came back.
    pub received: u64,
    /// `sent - received`.
    pub lost: u64,
    /// Datagrams that came back again.
    pub duplicates: u64,
    /// Datagrams that came back after a later one.
    pub reordered: u64,
    /// The longest time between two answers, in milliseconds.
    pub max_gap_ms: f64,
    /// Median round trip in microseconds.
    pub rtt_p50_us: f64,
    /// 99th percentile of the round trips in microseconds.
    pub rtt_p99_us: f64,
}

pub(super) fn run(args: &Args) -> Result<Vec<ProbeReport>> {
    pin(args.cpu)?;
    let start = Instant::now();
    let done = Arc::new(AtomicBool::new(false));
    let sockets = args.to.iter().map(|to| connect(*to)).collect::<Result<Vec<_>>>()?;
    let receivers: Vec<_> =
        sockets.iter().map(|socket| spawn_receiver(socket, start, &done)).collect::<Result<_>>()?;
    ready()?;
    let sent = send_all(args, &sockets, start);
    await_answers(sent.iter().map(|(sent, _)| sent).sum());
    done.store(true, Ordering::Relaxed);
    let mut reports = Vec::new();
    for ((to, (sent, refused)), receiver) in args.to.iter().zip(sent).zip(receivers) {
        let received = receiver.join().map_err(|_| anyhow!("a receiver panicked"))?;
        reports.push(received.report(*to, sent, refused));
    }
    Ok(reports)
}

/// Until every datagram is back, or the time for the last ones is over.
fn await_answers(sent: u64) {
    let end = Instant::now() + GRACE;
    while ANSWERS.load(Ordering::Relaxed) < sent && Instant::now() < end {
        thread::sleep(Duration::from_millis(1));
    }
}

fn connect(to: SocketAddr) -> Result<Arc<UdpSocket>> {
    let any: IpAddr = match to {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    receive_buffer(&socket, 4 << 20)?;
    socket.connect(to).with_context(|| format!("cannot connect to {to}"))?;
    socket.set_read_timeout(Some(TICK))?;
    Ok(Arc::new(socket))
}

/// Sends one datagram to each server per interval, by the clock, so that a late wake-up is made
/// up for. Returns sent and refused per server.
fn send_all(args: &Args, sockets: &[Arc<UdpSocket>], start: Instant) -> Vec<(u64, u64)> {
    let mut counts = vec![(0, 0); sockets.len()];
    let mut payload = vec![0; args.size.max(HEADER)];
    let interval = Duration::from_secs(1) / args.pps.max(1);
    let first = Instant::now();
    let end = first + Duration::from_secs_f64(args.seconds);
    let mut next = first;
    let mut sequence: u64 = 0;
    while next < end && !stopped() {
        thread::sleep(next.saturating_duration_since(Instant::now()));
        payload[..8].copy_from_slice(&sequence.to_be_bytes());
        for (socket, (sent, refused)) in sockets.iter().zip(&mut counts) {
            payload[8..HEADER].copy_from_slice(&nanoseconds(start).to_be_bytes());
            match socket.send(&payload) {
                Ok(_) => *sent += 1,
                Err(_) => *refused += 1,
            }
        }
        sequence += 1;
        next += interval;
    }
    counts
}

fn nanoseconds(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

#[derive(Debug, Default)]
struct Received {
    seen: Vec<bool>,
    unique: u64,
    duplicates: u64,
    reordered: u64,
    highest: Option<usize>,
    last: Option<Instant>,
    max_gap: Duration,
    /// Nanoseconds.
    round_trips: Vec<u64>,
}

fn spawn_receiver(
    socket: &Arc<UdpSocket>,
    start: Instant,
    done: &Arc<AtomicBool>,
) -> Result<thread::JoinHandle<Received>> {
    let (socket, done) = (Arc::clone(socket), Arc::clone(done));
    let receive = move || {
        let mut received = Received::default();
        let mut buffer = vec![0; 65536];
        while !done.load(Ordering::Relaxed) {
            // A timeout or an ICMP error: look again whether it is over.
            let Ok(length) = socket.recv(&mut buffer) else { continue };
            received.note(&buffer[..length], start);
            ANSWERS.fetch_add(1, Ordering::Relaxed);
        }
        received
    };
    Ok(thread::Builder::new().spawn(receive)?)
}

impl Received {
    fn note(&mut self, datagram: &[u8], start: Instant) {
        let now = Instant::now();
        if let Some(last) = self.last.replace(now) {
            self.max_gap = self.max_gap.max(now - last);
        }
        let (Some(sequence), Some(sent)) = (number(datagram, 0), number(datagram, 8)) else {
            return;
        };
        let Ok(sequence) = usize::try_from(sequence) else { return };
        self.round_trips.push(nanoseconds(start).saturating_sub(sent));
        if self.seen.len() <= sequence {
            self.seen.resize(sequence + 1, false);
        }
        if std::mem::replace(&mut self.seen[sequence], true) {
            self.duplicates += 1;
            return;
        }
        self.unique += 1;
        if self.highest.is_some_and(|highest| sequence < highest) {
            self.reordered += 1;
        }
        self.highest = self.highest.max(Some(sequence));
    }

    fn report(mut self, to: SocketAddr, sent: u64, refused: u64) -> ProbeReport {
        self.round_trips.sort_unstable();
        ProbeReport {
            to: to.to_string(),
            sent,
            refused,
            received: self.unique,
            lost: sent.saturating_sub(self.unique),
            duplicates: self.duplicates,
            reordered: self.reordered,
            max_gap_ms: self.max_gap.as_secs_f64() * 1e3,
            rtt_p50_us: percentile(&self.round_trips, 50),
            rtt_p99_us: percentile(&self.round_trips, 99),
        }
    }
}

fn number(datagram: &[u8], at: usize) -> Option<u64> {
    let bytes = datagram.get(at..at + 8)?;
    bytes.try_into().ok().map(u64::from_be_bytes)
}

/// Of sorted nanoseconds, in microseconds; 0 when there are none.
#[expect(clippy::cast_precision_loss, reason = "a round trip is far below 2^52 ns")]
pub(super) fn percentile(sorted: &[u64], percent: usize) -> f64 {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).map_or(0.0, |value| *value as f64 / 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn datagram(sequence: u64) -> Vec<u8> {
        [sequence.to_be_bytes(), 0_u64.to_be_bytes()].concat()
    }

    #[test]
    fn lost_duplicated_and_reordered_datagrams_are_told_apart() {
        let mut received = Received::default();
        for sequence in [0, 2, 1, 1, 4] {
            received.note(&datagram(sequence), Instant::now());
        }
        let report = received.report(([127, 0, 0, 1], 1).into(), 5, 0);
        assert_eq!((report.received, report.lost), (4, 1));
        assert_eq!((report.duplicates, report.reordered), (1, 1));
    }
}
