//! `tool inquire`: questions to [witnesses](super::witness), each over a socket of its own.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Error, ErrorKind, Result as IoResult, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::setup::{any, ready};
use super::witness::Testimony;

/// After so many failures the rest is not tried: nothing more would be learned.
const ENOUGH: u64 = 2;
const QUESTION: &[u8] = b"Who are you, and who am I?";

/// Flags of `tool inquire`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A witness, or a virtual address of some.
    #[arg(long)]
    to: SocketAddr,
    /// UDP instead of TCP.
    #[arg(long)]
    udp: bool,
    #[arg(long, default_value_t = 1)]
    count: u64,
    /// Spread the questions over so many seconds.
    #[arg(long, default_value_t = 0.0)]
    seconds: f64,
    /// An answer that takes longer is none.
    #[arg(long, default_value_t = 3000)]
    patience_ms: u64,
}

/// What the witnesses said.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InquireReport {
    /// Who answered, having seen which source, and how often.
    pub answers: Vec<(Testimony, u64)>,
    /// Questions without an answer.
    pub failed: u64,
    /// The first failure in words.
    pub first_failure: Option<String>,
}

pub(super) fn run(args: &Args) -> Result<InquireReport> {
    ready()?;
    let mut answers = BTreeMap::new();
    let (mut failed, mut first_failure) = (0, None);
    let start = Instant::now();
    for number in 0..args.count {
        thread::sleep(due(args, number).saturating_sub(start.elapsed()));
        match ask(args) {
            Ok(testimony) => *answers.entry(testimony).or_insert(0) += 1,
            Err(error) => {
                failed += 1;
                first_failure.get_or_insert(format!("question {number}: {error}"));
            }
        }
        if failed == ENOUGH {
            break;
        }
    }
    Ok(InquireReport { answers: answers.into_iter().collect(), failed, first_failure })
}

/// When a question is to be asked, after the start.
#[expect(clippy::cast_precision_loss, reason = "a count of questions is far below 2^52")]
fn due(args: &Args, number: u64) -> Duration {
    Duration::from_secs_f64(args.seconds * number as f64 / args.count as f64)
}

fn ask(args: &Args) -> IoResult<Testimony> {
    let patience = Duration::from_millis(args.patience_ms);
    let line = if args.udp { over_udp(args.to, patience)? } else { over_tcp(args.to, patience)? };
    serde_json::from_slice(&line).map_err(|error| Error::new(ErrorKind::InvalidData, error))
}

fn over_tcp(to: SocketAddr, patience: Duration) -> IoResult<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&to, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(QUESTION)?;
    let mut line = Vec::new();
    BufReader::new(stream).read_until(b'\n', &mut line)?;
    Ok(line)
}

fn over_udp(to: SocketAddr, patience: Duration) -> IoResult<Vec<u8>> {
    let socket = UdpSocket::bind(any(to))?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(patience))?;
    socket.send(QUESTION)?;
    let mut line = vec![0; 2048];
    let length = socket.recv(&mut line)?;
    line.truncate(length);
    Ok(line)
}
