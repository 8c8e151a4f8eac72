//! `tool knock`: opens new flows to an echo server, one after another, and says when the last one
//! got through. A policy that comes meanwhile shows itself by that time.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;
use serde::{Deserialize, Serialize};

use super::setup::{any, ready, stopped};

/// Flags of `tool knock`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An echo server.
    #[arg(long)]
    to: SocketAddr,
    /// UDP instead of TCP.
    #[arg(long)]
    udp: bool,
    /// The source port of every flow; without it each flow has its own.
    #[arg(long, default_value_t = 0)]
    from_port: u16,
    /// End after so many flows; without it, at SIGTERM.
    #[arg(long)]
    count: Option<u64>,
    /// How long a flow may wait for its answer, in milliseconds.
    #[arg(long, default_value_t = 300)]
    patience: u64,
    /// Rest between two flows, in milliseconds.
    #[arg(long, default_value_t = 20)]
    pause: u64,
}

/// What became of the flows.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct KnockReport {
    /// Flows that got their answer.
    pub answered: u64,
    /// Flows that did not.
    pub denied: u64,
    /// When the last flow that was answered began, in milliseconds since 1970.
    pub last_answered_ms: u64,
    /// The last denial in words.
    pub last_denial: Option<String>,
}

pub(super) fn run(args: &Args) -> Result<KnockReport> {
    ready()?;
    let mut report = KnockReport::default();
    let mut number = 0;
    while !stopped() && args.count.is_none_or(|count| number < count) {
        let began = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        match knock(args, number) {
            Ok(()) => {
                report.answered += 1;
                report.last_answered_ms = u64::try_from(began.as_millis())?;
            }
            Err(error) => {
                report.denied += 1;
                report.last_denial = Some(error.to_string());
            }
        }
        number += 1;
        thread::sleep(Duration::from_millis(args.pause));
    }
    Ok(report)
}

/// One flow: a question, its answer, and an end that leaves no port occupied.
fn knock(args: &Args, number: u64) -> io::Result<()> {
    let socket = open(args)?;
    // The kernel knows no other TCP stream; UDP sockets read and write in the same way.
    let mut stream = TcpStream::from(socket);
    let question = number.to_be_bytes();
    stream.write_all(&question)?;
    let end = Instant::now() + Duration::from_millis(args.patience);
    let mut answer = [0; 8];
    // What is read first may be the answer to an earlier question from the same port.
    while Instant::now() < end {
        stream.read_exact(&mut answer)?;
        if answer == question {
            return Ok(());
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn open(args: &Args) -> io::Result<OwnedFd> {
    let kind = if args.udp { SockType::Datagram } else { SockType::Stream };
    let family = if args.to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    let patience = TimeVal::new(
        i64::try_from(args.patience / 1000).unwrap_or(i64::MAX),
        i64::try_from(args.patience % 1000 * 1000).unwrap_or(0),
    );
    // For TCP the first of them limits the handshake as well.
    setsockopt(&socket, sockopt::SendTimeout, &patience)?;
    setsockopt(&socket, sockopt::ReceiveTimeout, &patience)?;
    // A reset ends a TCP flow: its port is free for the next one.
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(&socket, sockopt::Linger, &linger)?;
    let own = SocketAddr::new(any(args.to).ip(), args.from_port);
    bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &SockaddrStorage::from(own))?;
    connect(std::os::fd::AsRawFd::as_raw_fd(&socket), &SockaddrStorage::from(args.to))?;
    Ok(socket)
}
