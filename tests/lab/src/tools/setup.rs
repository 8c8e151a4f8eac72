//! What every tool does first: catch SIGTERM, pin itself, say `ready`.

use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::Pid;

/// How long a receive call waits before it looks whether the tool shall end.
pub(super) const TICK: Duration = Duration::from_millis(50);

static STOP: AtomicBool = AtomicBool::new(false);

extern "C" fn note_stop(_signal: i32) {
    STOP.store(true, Ordering::Relaxed);
}

/// Whether the tool shall end.
pub(super) fn stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}

/// Lets SIGTERM end servers in good order.
pub(super) fn stop_on_sigterm() -> Result<()> {
    let action = SigAction::new(SigHandler::Handler(note_stop), SaFlags::empty(), SigSet::empty());
    // SAFETY: the handler only stores into an atomic.
    unsafe { sigaction(Signal::SIGTERM, &action) }.context("cannot catch SIGTERM")?;
    Ok(())
}

/// Pins the calling thread, and those it will start, to one CPU.
pub(super) fn pin(cpu: Option<usize>) -> Result<()> {
    let Some(cpu) = cpu else { return Ok(()) };
    let mut set = CpuSet::new();
    set.set(cpu)?;
    sched_setaffinity(Pid::from_raw(0), &set).with_context(|| format!("cannot pin to CPU {cpu}"))
}

/// Tells whoever started the tool that it can count on it.
pub(super) fn ready() -> Result<()> {
    println!("ready");
    Ok(std::io::stdout().flush()?)
}

/// Where a socket is bound that is to talk to `to`: any address of its family, any port.
pub(super) fn any(to: SocketAddr) -> SocketAddr {
    match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}
