//! The real agent on a node.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::node::{NET_CONF, Node};
use crate::paths;
use crate::process::{Place as _, eventually};
use crate::scenario::tail;

/// How long an agent may take until its node is ready.
const START: Duration = Duration::from_secs(20);
/// How long an agent may take to end after SIGTERM.
const STOP: Duration = Duration::from_secs(10);
/// File times lag behind the clock by up to a tick of the kernel.
const CLOCK_TICK: Duration = Duration::from_millis(10);
const SUBNET_ENV: &str = "/run/flannel/subnet.env";
const STATE: &str = "/run/flannel/tartan.json";

/// A running agent; killed when dropped.
#[derive(Debug)]
pub struct Agent {
    node: Node,
    child: Child,
    log: PathBuf,
    started: SystemTime,
}

impl Node {
    /// Starts the agent with the flags that every node of the lab has, and `more`.
    ///
    /// # Errors
    /// When it is not built or cannot be started.
    pub fn start_agent_with(&self, more: &[&str]) -> Result<Agent> {
        self.start_agent_under(&[], more)
    }

    /// Starts the agent through another program and its arguments, for instance `setpriv`.
    ///
    /// # Errors
    /// As [`Node::start_agent_with`].
    pub fn start_agent_under(&self, launcher: &[&str], more: &[&str]) -> Result<Agent> {
        let store = ["--lease-dir", paths::LEASES, "--net-config-path", NET_CONF];
        self.spawn_agent(launcher, &[&store[..], more].concat())
    }

    /// Starts the agent on the API server of `kubeconfig`, with flanneld's flags and `more`.
    ///
    /// # Errors
    /// When it is not built or cannot be started.
    pub fn start_kube_agent_with(&self, kubeconfig: &str, more: &[&str]) -> Result<Agent> {
        let store = ["--kube-subnet-mgr", "--kubeconfig-file", kubeconfig];
        let flags = [&store[..], &["--net-config-path", NET_CONF], more].concat();
        self.spawn_agent(&[], &flags)
    }

    fn spawn_agent(&self, launcher: &[&str], flags: &[&str]) -> Result<Agent> {
        let mut command = self.product("tartand")?;
        if let Some((program, arguments)) = launcher.split_first() {
            let agent = command.get_program().to_owned();
            command = self.command(program);
            command.args(arguments).arg(agent);
        }
        command.args(["--iface", "eth0"]).args(flags).env("NODE_NAME", self.name());
        self.launch_agent(command)
    }

    /// Starts the program at a path of the node in the agent's place, with these arguments and
    /// variables and no others.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_agent_as(
        &self,
        program: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> Result<Agent> {
        let mut command = self.command(program);
        command.args(arguments).envs(variables.iter().copied());
        self.launch_agent(command)
    }

    fn launch_agent(&self, mut command: Command) -> Result<Agent> {
        let log = Path::new(paths::LOGS).join(format!("tartand-{}.log", self.name()));
        let file = File::options().create(true).append(true).open(&log)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let started = SystemTime::now();
        let child = command.spawn().context("cannot start tartand")?;
        Ok(Agent { node: self.clone(), child, log, started })
    }

    /// Starts the agent and waits until the node is ready.
    ///
    /// # Errors
    /// When it ends, or is not ready in time.
    pub fn start_agent(&self) -> Result<Agent> {
        let mut agent = self.start_agent_with(&[])?;
        agent.wait_ready()?;
        Ok(agent)
    }
}

impl Agent {
    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until this very agent calls the node ready: subnet.env is there and the state was
    /// written after its start.
    ///
    /// # Errors
    /// When it ends, or 20 s pass.
    pub fn wait_ready(&mut self) -> Result<()> {
        let what = format!("tartand on {} ready", self.node.name());
        let mut ended = None;
        eventually(&what, START, || {
            ended = self.child.try_wait()?;
            Ok(ended.is_some() || self.is_ready())
        })
        .with_context(|| self.log_tail())?;
        match ended {
            None => Ok(()),
            Some(status) => bail!("{what}: it ended: {status}\n{}", self.log_tail()),
        }
    }

    /// Whether this very agent calls the node ready.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let state = self.node.read(STATE).unwrap_or_default();
        let state: serde_json::Value = serde_json::from_str(&state).unwrap_or_default();
        let written = fs::metadata(self.node.path(STATE)).and_then(|file| file.modified());
        state["ready"].as_bool() == Some(true)
            && written.is_ok_and(|written| written + CLOCK_TICK >= self.started)
            && self.node.path(SUBNET_ENV).exists()
    }

    /// The end of its log.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        tail(&text, 30)
    }

    /// Ends it with this signal and waits.
    ///
    /// # Errors
    /// When it does not end within 10 s.
    pub fn stop(mut self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(i32::try_from(self.pid())?), signal)?;
        let what = format!("tartand on {} ends after {signal}", self.node.name());
        eventually(&what, STOP, || Ok(self.child.try_wait()?.is_some()))
    }

    /// Waits until it ends by itself, for instance over bad input: its exit code and its log.
    ///
    /// # Errors
    /// When it does not end within 20 s.
    pub fn wait_end(mut self) -> Result<(Option<i32>, String)> {
        let mut status = None;
        eventually("tartand ends by itself", START, || {
            status = self.child.try_wait()?;
            Ok(status.is_some())
        })?;
        Ok((status.and_then(|status| status.code()), self.log_tail()))
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
