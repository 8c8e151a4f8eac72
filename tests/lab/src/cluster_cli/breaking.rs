//! What `fault` does to a cluster that is up, and how it is mended.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::census::kill_all_of;
use super::command;
use super::fault::{ApiFault, Daemon, Fault, Switch};
use super::guardian::{ApiState, Guardian};
use super::report::Life;
use super::tier::NodeView;
use crate::node::Node;

/// How long a node that was switched on may take until all of it is there.
const COMPLETE: Duration = Duration::from_mins(1);
/// How often a node that was switched on is looked at.
const LOOK: Duration = Duration::from_millis(100);

impl Guardian {
    /// Breaks or mends something: what was done.
    pub(super) fn apply(&mut self, fault: &Fault) -> Result<String> {
        match fault {
            Fault::Api { what } => self.api_fault(what),
            Fault::Node { node, what } => self.switch(node, *what),
            Fault::Kill { node, program, keep_down } => self.kill(node, *program, *keep_down),
            Fault::Start { node, program } => self.start(node, *program),
        }
    }

    /// The node's place among the others, and what is known of it.
    fn find(&self, name: &str) -> Result<(usize, NodeView)> {
        let mut views = self.tier.nodes().into_iter().enumerate();
        let found = views.find(|(_, view)| view.name == name);
        found.with_context(|| format!("there is no node {name}; {}", self.state.named_nodes()))
    }

    fn machine(&self, name: &str) -> Result<(usize, Node)> {
        let (index, view) = self.find(name)?;
        let off =
            || format!("{name} is switched off; first: {} fault node {name} start", command());
        Ok((index, view.machine.with_context(off)?))
    }

    fn api_fault(&mut self, what: &ApiFault) -> Result<String> {
        match what {
            ApiFault::Stop => self.freeze(),
            ApiFault::Cont => self.thaw(),
            ApiFault::Kill => {
                self.tier.plane().kill(0)?;
                self.api = Some(ApiState::Killed);
                Ok("the API server is dead: connections are refused".to_owned())
            }
            ApiFault::Restart => {
                let start = Instant::now();
                self.tier.plane().restart(0)?;
                self.api = None;
                let seconds = start.elapsed().as_secs_f64();
                Ok(format!("the API server was started again; ready after {seconds:.1} s"))
            }
            ApiFault::Blackhole { node, seconds } => self.blackhole(node, *seconds),
        }
    }

    fn freeze(&mut self) -> Result<String> {
        if self.api == Some(ApiState::Killed) {
            bail!("the API server is dead; first: {} fault api restart", command());
        }
        self.tier.plane().freeze(0)?;
        self.api = Some(ApiState::Frozen);
        Ok("the API server is frozen: connections stay open, nothing is answered".to_owned())
    }

    fn thaw(&mut self) -> Result<String> {
        if self.api != Some(ApiState::Frozen) {
            bail!("the API server is not frozen, so there is nothing to end");
        }
        self.tier.plane().thaw(0)?;
        self.api = None;
        Ok("the API server goes on".to_owned())
    }

    fn blackhole(&mut self, name: &str, seconds: u32) -> Result<String> {
        let (_, node) = self.machine(name)?;
        if seconds == 0 {
            if self.holes.close(name)? {
                return Ok(format!("{name} reaches the API server again"));
            }
            bail!("{name} is not cut off, so there is nothing to end");
        }
        self.holes.open(node, Duration::from_secs(seconds.into()))?;
        Ok(format!(
            "every packet between {name} and the API server is dropped; it ends in {seconds} s"
        ))
    }

    fn switch(&mut self, name: &str, what: Switch) -> Result<String> {
        let (index, view) = self.find(name)?;
        match (what, view.machine) {
            (Switch::Reboot, Some(node)) => {
                let start = Instant::now();
                self.switch_off(index, node)?;
                self.switch_on(index, name)?;
                let seconds = start.elapsed().as_secs_f64();
                Ok(format!("{name} was rebooted; everything of it is there after {seconds:.1} s"))
            }
            (Switch::Stop, Some(node)) => {
                self.switch_off(index, node)?;
                Ok(format!("{name} is off"))
            }
            (Switch::Start, None) => {
                let start = Instant::now();
                self.switch_on(index, name)?;
                let seconds = start.elapsed().as_secs_f64();
                Ok(format!("{name} is on; everything of it is there after {seconds:.1} s"))
            }
            (Switch::Start, Some(_)) => bail!("{name} is on already"),
            (Switch::Reboot | Switch::Stop, None) => {
                bail!("{name} is off; to switch it on: {} fault node {name} start", command())
            }
        }
    }

    fn switch_off(&mut self, index: usize, node: Node) -> Result<()> {
        // Whoever holds the node would keep its namespaces.
        self.holes.close(node.name())?;
        self.kept_down.retain(|(name, _)| name != node.name());
        let holder = node.pid();
        drop(node);
        kill_all_of(holder);
        self.tier.switch_off(index)?;
        self.count();
        Ok(())
    }

    fn switch_on(&mut self, index: usize, name: &str) -> Result<()> {
        self.tier.switch_on(index)?;
        let end = Instant::now() + COMPLETE;
        loop {
            self.count();
            let programs = self.census.programs(Some(name));
            let all_run =
                programs.iter().all(|program| matches!(program.life, Life::Running { .. }));
            // An API server that does not answer may do so in a moment.
            if all_run && self.tier.is_complete(index).unwrap_or(false) {
                return Ok(());
            }
            if Instant::now() >= end {
                bail!(
                    "{name} is on, but not in order after {COMPLETE:?}; see: {} status",
                    command()
                );
            }
            thread::sleep(LOOK);
        }
    }

    fn kill(&mut self, name: &str, program: Daemon, keep_down: bool) -> Result<String> {
        self.machine(name)?;
        self.runs_here(program)?;
        self.count();
        let called = program.name();
        let pid = self.census.pid(name, called);
        let pid = pid.with_context(|| format!("{called} of {name} does not run"))?;
        if keep_down && self.tier.is_pod(program) {
            bail!(
                "{called} runs in a pod, and the kubelet of {name} brings it back; without \
                 --keep-down it is killed once"
            );
        }
        if keep_down {
            self.kept_down.insert((name.to_owned(), program));
        }
        kill(Pid::from_raw(i32::try_from(pid)?), Signal::SIGKILL)?;
        let then = if keep_down { "it stays away" } else { "it comes back by itself" };
        Ok(format!("SIGKILL to {called} of {name} (pid {pid}); {then}"))
    }

    fn start(&mut self, name: &str, program: Daemon) -> Result<String> {
        let (index, _) = self.machine(name)?;
        self.runs_here(program)?;
        let called = program.name();
        if !self.kept_down.remove(&(name.to_owned(), program)) {
            bail!("{called} of {name} was not kept down, so there is nothing to end");
        }
        self.tier.bring_back(index, program)?;
        Ok(format!("{called} of {name} was started"))
    }

    fn runs_here(&self, program: Daemon) -> Result<()> {
        let programs: Vec<_> = self.tier.node_programs().iter().map(|one| one.0).collect();
        if programs.contains(&program) {
            return Ok(());
        }
        let names: Vec<_> = programs.iter().map(|program| program.name()).collect();
        bail!("no node of this cluster runs {}; there is: {}", program.name(), names.join(", "))
    }
}
