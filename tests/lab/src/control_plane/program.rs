//! One program of the control plane: started, stopped, killed and started again.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Stdio};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::go_tools;
use crate::paths::LOGS;
use crate::process::Place as _;
use crate::scenario::tail;
use crate::wire::Outside;

/// Killed when dropped.
#[derive(Debug)]
pub(super) struct Program {
    name: &'static str,
    arguments: Vec<String>,
    log: PathBuf,
    child: Child,
}

impl Program {
    /// Starts it in the lab's own namespaces; it writes into `LOGS/log.log`.
    pub(super) fn start(log: &str, name: &'static str, arguments: Vec<String>) -> Result<Self> {
        let log = PathBuf::from(format!("{LOGS}/{log}.log"));
        let child = spawn(name, &arguments, &log)?;
        Ok(Self { name, arguments, log, child })
    }

    /// An error if it has ended: what it said last.
    pub(super) fn still_runs(&mut self) -> Result<()> {
        let Some(status) = self.child.try_wait()? else { return Ok(()) };
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        bail!("{} ended: {status}\n{}", self.name, tail(&text, 15))
    }

    /// Sends it a signal, for instance SIGSTOP.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_raw(i32::try_from(self.child.id())?);
        kill(pid, signal).with_context(|| format!("cannot send {signal} to {}", self.name))
    }

    /// Ends it at once.
    pub(super) fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop).with_context(|| format!("{} does not end", self.name))
    }

    /// Starts it again with the same command line, ending it first if it runs.
    pub(super) fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.child = spawn(self.name, &self.arguments, &self.log)?;
        Ok(())
    }

    /// Its process id in the lab.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(name: &str, arguments: &[String], log: &PathBuf) -> Result<Child> {
    let file = File::options().create(true).append(true).open(log)?;
    let mut command = Outside.command(&go_tools::path(name)?.to_string_lossy());
    command.args(arguments).stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
    command.spawn().with_context(|| format!("cannot start {name}"))
}
