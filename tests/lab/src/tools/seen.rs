//! `tool seen`: asks a mirror by which address it is seen, each time over a socket of its own.

use std::ffi::OsString;
use std::io::Read as _;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike as _};
use serde::{Deserialize, Serialize};

use super::setup::ready;

/// Flags of `tool seen`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long)]
    to: SocketAddr,
    /// UDP instead of TCP.
    #[arg(long)]
    udp: bool,
    /// The client's own address and port; port 0 for any.
    #[arg(long)]
    from: Option<SocketAddr>,
    /// The device that everything leaves by.
    #[arg(long)]
    device: Option<OsString>,
    /// So many questions, or as many as fit into `--seconds`.
    #[arg(long)]
    count: Option<u64>,
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// An answer that takes longer is none.
    #[arg(long, default_value_t = 1000)]
    patience_ms: u64,
    #[arg(long, default_value_t = 0)]
    pause_us: u64,
}

/// One question and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// The client's own address.
    pub(crate) own: SocketAddr,
    /// The address that the server saw.
    pub(crate) seen: SocketAddr,
}

/// Every question and how it ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct SeenReport {
    /// The answers in order.
    pub(crate) answers: Vec<Answer>,
    /// Questions without an answer.
    pub(crate) failed: u64,
    /// The first failure in words.
    pub(crate) first_failure: Option<String>,
}

pub(super) fn run(args: &Args) -> Result<SeenReport> {
    ready()?;
    let end = Instant::now() + Duration::from_secs_f64(args.seconds);
    let mut report = SeenReport { answers: Vec::new(), failed: 0, first_failure: None };
    let mut number = 0;
    while args.count.is_none_or(|count| number < count) && Instant::now() < end {
        match if args.udp { over_udp(args) } else { over_tcp(args) } {
            Ok(answer) => report.answers.push(answer),
            Err(error) => {
                report.failed += 1;
                report.first_failure.get_or_insert(format!("question {number}: {error:#}"));
            }
        }
        number += 1;
        thread::sleep(Duration::from_micros(args.pause_us));
    }
    Ok(report)
}

fn over_tcp(args: &Args) -> Result<Answer> {
    let mut stream = TcpStream::from(connected(args, SockType::Stream)?);
    let own = stream.local_addr()?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    answer(own, &text)
}

fn over_udp(args: &Args) -> Result<Answer> {
    let socket = UdpSocket::from(connected(args, SockType::Datagram)?);
    let own = socket.local_addr()?;
    socket.send(b"who am I?")?;
    let mut buffer = [0; 64];
    let length = socket.recv(&mut buffer)?;
    answer(own, &String::from_utf8_lossy(&buffer[..length]))
}

fn answer(own: SocketAddr, text: &str) -> Result<Answer> {
    Ok(Answer { own, seen: text.parse().with_context(|| format!("an odd answer: {text}"))? })
}

/// A socket bound to the wanted address and connected; no call on it takes longer than the
/// patience.
fn connected(args: &Args, kind: SockType) -> Result<OwnedFd> {
    let family = if args.to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
    let patience = TimeVal::milliseconds(i64::try_from(args.patience_ms)?);
    setsockopt(&fd, sockopt::SendTimeout, &patience)?;
    setsockopt(&fd, sockopt::ReceiveTimeout, &patience)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    if let Some(device) = &args.device {
        setsockopt(&fd, sockopt::BindToDevice, device)?;
    }
    if let Some(from) = args.from {
        bind(fd.as_raw_fd(), &SockaddrStorage::from(from)).context("bind")?;
    }
    connect(fd.as_raw_fd(), &SockaddrStorage::from(args.to)).context("connect")?;
    Ok(fd)
}
