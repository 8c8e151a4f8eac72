//! TCP streams side by side: bytes that the kernel took from all of them.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::{Args, LoadReport, connect};
use crate::tools::setup::ready;

/// Bytes per write.
const CHUNK: usize = 128 << 10;

/// What the streams' threads share with the one that measures.
#[derive(Debug, Default)]
struct Shared {
    bytes: AtomicU64,
    failed: AtomicU64,
    over: AtomicBool,
}

pub(super) fn run(args: &Args, to: SocketAddr) -> Result<LoadReport> {
    let shared = Arc::new(Shared::default());
    let stream = || connect(to).with_context(|| format!("cannot connect to {to}"));
    let streams = (0..args.connections.max(1)).map(|_| stream()).collect::<Result<Vec<_>>>()?;
    for stream in streams {
        let shared = Arc::clone(&shared);
        thread::spawn(move || pour(stream, &shared));
    }
    thread::sleep(Duration::from_secs_f64(args.warm_up));
    ready()?;
    let (start, before) = (Instant::now(), shared.bytes.load(Ordering::Relaxed));
    thread::sleep(Duration::from_secs_f64(args.seconds));
    let done = shared.bytes.load(Ordering::Relaxed) - before;
    let seconds = start.elapsed().as_secs_f64();
    shared.over.store(true, Ordering::Relaxed);
    let failed = shared.failed.load(Ordering::Relaxed);
    Ok(LoadReport { done, failed, seconds, p50_us: 0.0, p99_us: 0.0 })
}

fn pour(mut stream: TcpStream, shared: &Shared) {
    let chunk = vec![0x5a; CHUNK];
    while !shared.over.load(Ordering::Relaxed) {
        let Ok(written) = stream.write(&chunk) else {
            shared.failed.fetch_add(1, Ordering::Relaxed);
            return;
        };
        shared.bytes.fetch_add(written as u64, Ordering::Relaxed);
    }
}
