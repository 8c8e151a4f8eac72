//! `tool exchange`: question and answer, each over a socket of its own.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::setup::{any, ready};

/// An answer that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(5);

/// Flags of `tool exchange`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// An echo server, or a virtual address of some.
    #[arg(long)]
    to: SocketAddr,
    /// UDP instead of TCP.
    #[arg(long)]
    udp: bool,
    #[arg(long, default_value_t = 1)]
    count: u64,
}

/// How the exchanges went.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExchangeReport {
    /// Exchanges with the right answer.
    pub good: u64,
    /// Exchanges without it.
    pub failed: u64,
    /// The first failure in words.
    pub first_failure: Option<String>,
}

pub(super) fn run(args: &Args) -> Result<ExchangeReport> {
    ready()?;
    let mut report = ExchangeReport { good: 0, failed: 0, first_failure: None };
    for number in 0..args.count {
        let question = format!("question {number} to {}", args.to).into_bytes();
        let answer =
            if args.udp { over_udp(args.to, &question) } else { over_tcp(args.to, &question) };
        let problem = match answer {
            Ok(answer) if answer == question => {
                report.good += 1;
                continue;
            }
            Ok(_) => "another answer".to_owned(),
            Err(error) => error.to_string(),
        };
        report.failed += 1;
        report.first_failure.get_or_insert(format!("exchange {number}: {problem}"));
    }
    Ok(report)
}

fn over_tcp(to: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(question)?;
    let mut answer = vec![0; question.len()];
    stream.read_exact(&mut answer)?;
    Ok(answer)
}

fn over_udp(to: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let socket = UdpSocket::bind(any(to))?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.send(question)?;
    let mut answer = vec![0; 2048];
    let length = socket.recv(&mut answer)?;
    answer.truncate(length);
    Ok(answer)
}
