//! A program of a node that runs until it is killed: containerd, kubelet, kube-proxy.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::go_tools;
use crate::node::Node;
use crate::paths::{LOGS, TOOLS};
use crate::process::{Place as _, eventually};
use crate::scenario::tail;

/// How long one may take to end by itself.
const STOP: Duration = Duration::from_secs(20);

/// Killed when dropped.
#[derive(Debug)]
pub struct Daemon {
    name: &'static str,
    arguments: Vec<String>,
    node: Node,
    log: PathBuf,
    child: Option<Child>,
}

impl Daemon {
    /// Starts it in the node's namespaces and control groups.
    pub(super) fn start(node: &Node, name: &'static str, arguments: Vec<String>) -> Result<Self> {
        let log = PathBuf::from(format!("{LOGS}/{name}-{}.log", node.name()));
        let mut this = Self { name, arguments, node: node.clone(), log, child: None };
        this.start_again()?;
        Ok(this)
    }

    /// Starts it with the same command line, if it does not run.
    ///
    /// # Errors
    /// When it is not built (a skip) or cannot be started.
    pub fn start_again(&mut self) -> Result<()> {
        if self.child.is_some() {
            return Ok(());
        }
        let file = File::options().create(true).append(true).open(&self.log)?;
        let mut command = self.node.command(&go_tools::path(self.name)?.to_string_lossy());
        command.args(&self.arguments);
        command.env("PATH", format!("{TOOLS}:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"));
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = command.spawn().with_context(|| format!("cannot start {}", self.label()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Sends it this signal and waits until it is gone.
    ///
    /// # Errors
    /// When it does not end within 20 s.
    pub fn stop(&mut self, signal: Signal) -> Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        kill(Pid::from_raw(i32::try_from(child.id())?), signal)?;
        let what = format!("{} ends after {signal}", self.label());
        eventually(&what, STOP, || Ok(child.try_wait()?.is_some()))
    }

    /// Ends it with this signal and starts it again.
    ///
    /// # Errors
    /// When it does not end or start.
    pub fn restart(&mut self, signal: Signal) -> Result<()> {
        self.stop(signal)?;
        self.start_again()
    }

    /// Its process id in the lab, if it runs.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// An error if it has ended by itself: what it said last.
    ///
    /// # Errors
    /// As said.
    pub fn still_runs(&mut self) -> Result<()> {
        let Some(status) = self.child.as_mut().map(Child::try_wait).transpose()?.flatten() else {
            return Ok(());
        };
        bail!("{} ended: {status}\n{}", self.label(), self.log_tail())
    }

    /// The end of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        tail(&fs::read_to_string(&self.log).unwrap_or_default(), 15)
    }

    fn label(&self) -> String {
        format!("{} on {}", self.name, self.node.name())
    }

    /// Forgets a process that somebody else has killed.
    pub(super) fn forget(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may be gone already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.forget();
    }
}
