//! The server: TCP and UDP on one address and port.

use std::io;
use std::net::{IpAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::arrived::Arrived;
use super::{tcp, udp};

/// After an error such as having no file descriptor left.
const BREATH: Duration = Duration::from_millis(100);

/// Answers until the process ends.
pub(super) fn run(bind: IpAddr, port: u16, name: &str) -> Result<()> {
    let datagrams = UdpSocket::bind((bind, port)).with_context(|| taken("UDP", bind, port))?;
    let listener = TcpListener::bind((bind, port)).with_context(|| taken("TCP", bind, port))?;
    println!("{name} answers on {}", listener.local_addr()?);
    let arrived = Arc::new(Arrived::default());
    let (own_name, noted) = (name.to_owned(), Arc::clone(&arrived));
    thread::spawn(move || udp::answer_all(&datagrams, &own_name, &noted));
    for stream in listener.incoming() {
        take(stream, name, &arrived);
    }
    Ok(())
}

fn taken(protocol: &str, bind: IpAddr, port: u16) -> String {
    format!(
        "cannot listen on {protocol} {bind} port {port}: start the test again, the port differs"
    )
}

fn take(stream: io::Result<TcpStream>, name: &str, arrived: &Arc<Arrived>) {
    let Ok(stream) = stream else {
        thread::sleep(BREATH);
        return;
    };
    let (name, arrived) = (name.to_owned(), Arc::clone(arrived));
    // A client that goes away is no concern of the others.
    let served = thread::Builder::new().spawn(move || drop(tcp::answer(&stream, &name, &arrived)));
    if served.is_err() {
        thread::sleep(BREATH);
    }
}
