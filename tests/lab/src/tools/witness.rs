//! `tool witness`: a server that says who it is and from which address it was asked.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use super::setup::{TICK, ready, stopped};

/// Flags of `tool witness`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The name that it answers with.
    #[arg(long)]
    name: String,
    /// A server in a network with several addresses answers from the one that was asked only if
    /// it is bound to it.
    #[arg(long)]
    bind: SocketAddr,
}

/// What a witness says of one question.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Testimony {
    /// Who was asked.
    pub server: String,
    /// The address from which the question came.
    pub source: IpAddr,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let udp = UdpSocket::bind(args.bind).with_context(|| format!("UDP {}", args.bind))?;
    let tcp = TcpListener::bind(args.bind).with_context(|| format!("TCP {}", args.bind))?;
    let name = args.name.clone();
    thread::spawn(move || answer_datagrams(&udp, &name));
    let name = args.name.clone();
    thread::spawn(move || accept(&tcp, &name));
    ready()?;
    while !stopped() {
        thread::sleep(TICK);
    }
    Ok(())
}

/// One line of JSON.
fn words(name: &str, peer: SocketAddr) -> Vec<u8> {
    let testimony = Testimony { server: name.to_owned(), source: peer.ip() };
    let mut line = serde_json::to_vec(&testimony).unwrap_or_default();
    line.push(b'\n');
    line
}

fn answer_datagrams(socket: &UdpSocket, name: &str) {
    let mut buffer = [0; 2048];
    loop {
        // An ICMP error about an earlier answer is reported here; it is no reason to stop.
        let Ok((_, peer)) = socket.recv_from(&mut buffer) else { continue };
        let _ = socket.send_to(&words(name, peer), peer);
    }
}

fn accept(listener: &TcpListener, name: &str) {
    for stream in listener.incoming() {
        let Ok(stream) = stream else { continue };
        let name = name.to_owned();
        thread::spawn(move || answer(stream, &name));
    }
}

/// The answer comes after the question, and the client closes first.
fn answer(mut stream: TcpStream, name: &str) {
    let mut buffer = [0; 2048];
    let Ok(peer) = stream.peer_addr() else { return };
    while stream.read(&mut buffer).is_ok_and(|length| length > 0) {
        if stream.write_all(&words(name, peer)).is_err() {
            return;
        }
    }
}
