//! `down`: ends the cluster and waits until nothing of it is left, whatever state it is in.

use std::time::Duration;

use anyhow::{Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::state::{Directory, Found, Lock, Released, State};
use crate::cgroups;
use crate::process::eventually;
use crate::sandbox::require_root;

/// How long the supervisor may take to end.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long the kernel may take over a lab whose supervisor was killed.
const VANISH: Duration = Duration::from_secs(30);

/// Ends the cluster, if one is up.
///
/// # Errors
/// When something does not go.
pub(super) fn run() -> Result<u8> {
    require_root()?;
    let directory = Directory::of_the_machine();
    let found = directory.look()?;
    match found {
        Found::Nothing => {
            directory.remove_remains();
            println!("No cluster is up, and nothing of one is left.");
        }
        Found::Stale(lock) => {
            println!("No cluster is up: the supervisor of the last one was killed.");
            remove(&directory, lock)?;
            println!("Nothing of it is left.");
        }
        Found::Up(supervisor, _) => {
            end(&directory, supervisor)?;
            println!("The cluster is gone; nothing of it is left.");
        }
    }
    Ok(0)
}

fn end(directory: &Directory, supervisor: Option<u32>) -> Result<()> {
    let Some(supervisor) = supervisor.and_then(|pid| i32::try_from(pid).ok()) else {
        bail!("the cluster has only just begun to start; try again");
    };
    // It holds the lock, so the number is its own.
    kill(Pid::from_raw(supervisor), Signal::SIGTERM)?;
    if let Some(released) = directory.wait_released(PATIENCE)? {
        return clean(directory, released);
    }
    println!("The supervisor (process {supervisor}) does not end; it is killed.");
    kill(Pid::from_raw(supervisor), Signal::SIGKILL)?;
    after_a_kill(directory)
}

/// Removes what is left of a cluster whose supervisor was just killed.
///
/// # Errors
/// When something does not go.
pub(super) fn after_a_kill(directory: &Directory) -> Result<()> {
    match directory.wait_released(VANISH)? {
        Some(released) => clean(directory, released),
        None => bail!("the supervisor does not die of SIGKILL; look at `ps axf`"),
    }
}

fn clean(directory: &Directory, released: Released) -> Result<()> {
    match released {
        Released::Removed => Ok(()),
        Released::Left(lock) => remove(directory, lock),
    }
}

fn remove(directory: &Directory, lock: Lock) -> Result<()> {
    sweep(directory)?;
    directory.remove(lock)
}

/// Waits until the kernel has removed a lab whose supervisor was killed: its process 1 goes last.
///
/// # Errors
/// When something stays.
pub(super) fn sweep(directory: &Directory) -> Result<()> {
    if let Some(State { lab, .. }) = directory.state() {
        let what = format!("the lab (process {}) is gone", lab.pid);
        eventually(&what, VANISH, || Ok(lab.is_gone()))?;
    }
    // The janitor removes them, unless it was killed too.
    directory.supervisor().map_or(Ok(()), |supervisor| {
        eventually("the control groups are gone", VANISH, || cgroups::sweep_of(supervisor))
    })
}
