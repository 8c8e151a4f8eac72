//! The system calls of a process, as strace sees them.

use std::fs;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::paths::LOGS;
use crate::process::{Place as _, eventually};
use crate::scenario::skip;
use crate::wire::Outside;

/// Some calls of a process and of all its threads, from now on.
#[derive(Debug)]
pub struct Trace {
    child: Child,
    log: String,
}

impl Trace {
    /// Follows a process: `calls` is what `strace -e trace=` takes.
    ///
    /// # Errors
    /// When there is no strace (a skip), or it does not get hold of the process.
    pub fn of(pid: u32, calls: &str) -> Result<Self> {
        let log = format!("{LOGS}/calls-of-{pid}.log");
        let line = format!("strace -f -qq -e trace={calls} -o {log} -p {pid}");
        let mut command = Outside.words(&line)?;
        command.stdin(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().map_err(|_| skip("no strace"))?;
        let attached = || {
            let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
            Ok(status.contains(&format!("TracerPid:\t{}\n", child.id())))
        };
        eventually("strace is attached", Duration::from_secs(5), attached)?;
        Ok(Self { child, log })
    }

    /// Ends; one line per call.
    ///
    /// # Errors
    /// When strace has ended by itself.
    pub fn end(mut self) -> Result<String> {
        ensure!(self.child.try_wait()?.is_none(), "strace ended too early");
        kill(Pid::from_raw(i32::try_from(self.child.id())?), Signal::SIGTERM)?;
        self.child.wait()?;
        fs::read_to_string(&self.log).context("no log of strace")
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
