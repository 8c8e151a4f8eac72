//! `tool mirror`: tells every client, over UDP and TCP, by which address and port it is seen.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::thread;

use anyhow::{Context as _, Result};

use super::net::receive_buffer;
use super::setup::{TICK, ready, stopped};

/// Flags of `tool mirror`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A host with several addresses answers by the one that was asked only if it is bound to it.
    #[arg(long)]
    bind: IpAddr,
    #[arg(long)]
    port: u16,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let address = SocketAddr::new(args.bind, args.port);
    let udp = UdpSocket::bind(address).with_context(|| format!("cannot bind UDP {address}"))?;
    receive_buffer(&udp, 4 << 20)?;
    let tcp = TcpListener::bind(address).with_context(|| format!("cannot bind TCP {address}"))?;
    thread::spawn(move || datagrams(&udp));
    thread::spawn(move || connections(&tcp));
    ready()?;
    while !stopped() {
        thread::sleep(TICK);
    }
    Ok(())
}

fn datagrams(socket: &UdpSocket) {
    let mut buffer = [0; 2048];
    loop {
        // An ICMP error about an earlier answer is reported here; it is no reason to stop.
        let Ok((_, peer)) = socket.recv_from(&mut buffer) else { continue };
        // A client that does not hear the answer says so itself.
        let _ = socket.send_to(peer.to_string().as_bytes(), peer);
    }
}

fn connections(listener: &TcpListener) {
    for stream in listener.incoming() {
        let Ok(mut stream) = stream else { continue };
        if let Ok(peer) = stream.peer_addr() {
            let _ = stream.write_all(peer.to_string().as_bytes());
        }
    }
}
