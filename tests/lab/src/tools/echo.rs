//! `tool echo`: an echo server for UDP and TCP on the same ports.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context as _, Result};
use nix::libc;
use serde::{Deserialize, Serialize};

use super::net::{receive_buffer, set_option};
use super::setup::{TICK, pin, ready, stopped};

/// Flags of `tool echo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long, default_value = "0.0.0.0")]
    bind: IpAddr,
    /// The first port.
    #[arg(long, default_value_t = 7000)]
    port: u16,
    /// Number of ports, from the first on.
    #[arg(long, default_value_t = 1)]
    ports: u16,
    /// Serve TCP connections of a port one after another, without a thread for each.
    #[arg(long)]
    serial: bool,
    /// Take UDP over IPv6 without a checksum, which a socket refuses unless it is told.
    #[arg(long)]
    zero_checksum: bool,
    #[arg(long)]
    cpu: Option<usize>,
}

/// What an echo server answered until it was stopped.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct EchoReport {
    /// UDP datagrams answered.
    pub datagrams: u64,
    /// TCP connections accepted.
    pub connections: u64,
}

#[derive(Debug, Default)]
struct Counts {
    datagrams: AtomicU64,
    connections: AtomicU64,
}

pub(super) fn run(args: &Args) -> Result<EchoReport> {
    pin(args.cpu)?;
    let counts = Arc::new(Counts::default());
    for port in args.port..args.port.saturating_add(args.ports) {
        serve(args, SocketAddr::new(args.bind, port), &counts)?;
    }
    ready()?;
    while !stopped() {
        thread::sleep(TICK);
    }
    Ok(EchoReport {
        datagrams: counts.datagrams.load(Ordering::Relaxed),
        connections: counts.connections.load(Ordering::Relaxed),
    })
}

/// Two threads per port; they end with the process.
fn serve(args: &Args, address: SocketAddr, counts: &Arc<Counts>) -> Result<()> {
    let udp = UdpSocket::bind(address).with_context(|| format!("cannot bind UDP {address}"))?;
    receive_buffer(&udp, 4 << 20)?;
    if args.zero_checksum {
        set_option(&udp, (libc::SOL_UDP, libc::UDP_NO_CHECK6_RX), 1)?;
    }
    let tcp = TcpListener::bind(address).with_context(|| format!("cannot bind TCP {address}"))?;
    let for_udp = Arc::clone(counts);
    thread::spawn(move || echo_datagrams(&udp, &for_udp));
    let (for_tcp, serial) = (Arc::clone(counts), args.serial);
    thread::spawn(move || accept(&tcp, serial, &for_tcp));
    Ok(())
}

fn echo_datagrams(socket: &UdpSocket, counts: &Counts) {
    let mut buffer = vec![0; 65536];
    loop {
        // An ICMP error about an earlier answer is reported here; it is no reason to stop.
        let Ok((length, peer)) = socket.recv_from(&mut buffer) else { continue };
        if socket.send_to(&buffer[..length], peer).is_ok() {
            counts.datagrams.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn accept(listener: &TcpListener, serial: bool, counts: &Counts) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        counts.connections.fetch_add(1, Ordering::Relaxed);
        if serial {
            echo_stream(stream);
        } else {
            thread::spawn(|| echo_stream(stream));
        }
    }
}

/// Until the peer closes or resets; both are its right.
fn echo_stream(mut stream: TcpStream) {
    let mut buffer = vec![0; 65536];
    if stream.set_nodelay(true).is_err() {
        return;
    }
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                if stream.write_all(&buffer[..length]).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return,
        }
    }
}
