//! Black holes that end by themselves: each is held open by a thread of its own.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use super::fault::ApiFault;
use super::fault::Fault;
use super::report::InForce;
use crate::control_plane::BlackHole;
use crate::node::Node;

/// Those that are open.
#[derive(Debug, Default)]
pub(super) struct Holes(Vec<Hole>);

#[derive(Debug)]
struct Hole {
    node: String,
    until: Instant,
    end: Sender<()>,
    thread: JoinHandle<Result<()>>,
}

impl Holes {
    /// Cuts a node off from the API server for this long, in place of a hole that it has.
    pub(super) fn open(&mut self, node: Node, length: Duration) -> Result<()> {
        self.close(node.name())?;
        let name = node.name().to_owned();
        let (end, ended) = mpsc::channel();
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn(move || hold(&node, length, &tell, &ended));
        // The other side hangs up without a word when it could not open the hole.
        if told.recv().is_err() {
            return join(thread);
        }
        self.0.push(Hole { node: name, until: Instant::now() + length, end, thread });
        Ok(())
    }

    /// Ends the hole around a node; whether there was one.
    pub(super) fn close(&mut self, node: &str) -> Result<bool> {
        let Some(index) = self.0.iter().position(|hole| hole.node == node) else {
            return Ok(false);
        };
        let hole = self.0.swap_remove(index);
        // It may have ended by itself meanwhile.
        let _ = hole.end.send(());
        join(hole.thread).map(|()| true)
    }

    /// Forgets those that have ended by themselves.
    pub(super) fn tick(&mut self) {
        self.0.retain(|hole| !hole.thread.is_finished());
    }

    /// What is in force.
    pub(super) fn report(&self) -> Vec<InForce> {
        let report = |hole: &Hole| {
            let node = hole.node.clone();
            let left = hole.until.saturating_duration_since(Instant::now());
            let what = format!("every packet between {node} and the API server is dropped");
            let end = Fault::Api { what: ApiFault::Blackhole { node, seconds: 0 } };
            InForce { what, seconds_left: Some(left.as_secs()), end: end.words() }
        };
        self.0.iter().map(report).collect()
    }
}

fn hold(node: &Node, length: Duration, tell: &Sender<()>, ended: &Receiver<()>) -> Result<()> {
    let hole = BlackHole::around(node)?;
    tell.send(()).context("nobody waits for the black hole")?;
    // Either way it is over: the time has passed, or somebody said so.
    let _ = ended.recv_timeout(length);
    hole.close()
}

fn join(thread: JoinHandle<Result<()>>) -> Result<()> {
    thread.join().map_err(|_| anyhow!("the thread of a black hole panicked"))?
}
