//! What the machine knows about the cluster that is up: one directory, and a lock in it.
//!
//! The supervisor holds the lock, so whether a cluster is up is never a guess: the kernel drops a
//! lock with its last holder. Everything else in the directory is words about the cluster, stale
//! as soon as nobody holds the lock.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write as _};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use nix::mount::{MsFlags, mount};
use serde::{Deserialize, Serialize};

use super::census::started_at;
use super::options::Options;

/// The only place on the machine where a cluster writes.
const DIRECTORY: &str = "/run/tartan-cluster";
const LOCK: &str = "lock";
const SUPERVISOR: &str = "supervisor";
const STATE: &str = "state.json";
const PROGRESS: &str = "up.log";
/// How often a lock is tried that somebody holds.
const TICK: Duration = Duration::from_millis(20);

/// How far a cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Phase {
    /// It comes up.
    Starting,
    /// It came up and every check passed.
    Ready,
    /// It came up, and a check failed.
    Unsound,
}

/// A node and the process that holds its namespaces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NodeEntry {
    /// `node1` and so on.
    pub(super) name: String,
    /// The holder's process id in the lab; `None` while the node is switched off.
    pub(super) holder: Option<u32>,
}

/// A process that no later one can be taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// Its number.
    pub(super) pid: u32,
    /// When it started, in ticks since the machine did.
    pub(super) started: u64,
}

impl Identity {
    /// The process of this number, if there is one that has not ended.
    pub(super) fn of(pid: u32) -> Option<Self> {
        let started = started_at(&pid.to_string())?;
        Some(Self { pid, started })
    }

    /// Whether it has ended; process 1 of a lab ends after every other process of it.
    pub(super) fn is_gone(self) -> bool {
        Self::of(self.pid) != Some(self)
    }
}

/// What process 1 of the lab tells the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct State {
    /// The lab's process 1, as the machine numbers it.
    pub(super) lab: Identity,
    /// How far it is.
    pub(super) phase: Phase,
    /// When it was started, in seconds since 1970.
    pub(super) started: u64,
    /// What the user asked for.
    pub(super) options: Options,
    /// The nodes, in their order.
    pub(super) nodes: Vec<NodeEntry>,
}

impl State {
    /// A cluster that begins.
    pub(super) fn new(lab: Identity, options: &Options) -> Self {
        let started = now();
        Self { lab, phase: Phase::Starting, started, options: options.clone(), nodes: Vec::new() }
    }

    /// For how long it has been there.
    pub(super) fn age(&self) -> Duration {
        Duration::from_secs(now().saturating_sub(self.started))
    }

    /// A path of the lab, as this machine can open it.
    pub(super) fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.lab.pid))
    }

    /// The node of this name.
    ///
    /// # Errors
    /// When there is none: which there are.
    pub(super) fn node(&self, name: &str) -> Result<&NodeEntry> {
        let found = self.nodes.iter().find(|node| node.name == name);
        found.with_context(|| format!("there is no node {name}; {}", self.named_nodes()))
    }

    /// The names of the nodes, as a sentence's end.
    pub(super) fn named_nodes(&self) -> String {
        let names: Vec<_> = self.nodes.iter().map(|node| node.name.as_str()).collect();
        match names.as_slice() {
            [] => "no node is there yet".to_owned(),
            [one] => format!("the only node is {one}"),
            [most @ .., last] => format!("the nodes are {} and {last}", most.join(", ")),
        }
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// What stands in the directory.
#[derive(Debug)]
pub(super) enum Found {
    /// No directory: no cluster, and nothing of one.
    Nothing,
    /// Nobody holds the lock: words about a cluster whose supervisor was killed.
    Stale(Lock),
    /// A cluster, with its supervisor's process id; no state before process 1 wrote it.
    Up(Option<u32>, Option<State>),
}

/// What a supervisor that has ended left.
#[derive(Debug)]
pub(super) enum Released {
    /// Nothing: it removed the directory.
    Removed,
    /// The directory, with its lock free to take.
    Left(Lock),
}

/// The lock, held.
#[derive(Debug)]
pub(super) struct Lock(File);

impl Lock {
    /// Takes over a lock that the parent process held.
    pub(super) fn inherited(file: File) -> Self {
        Self(file)
    }

    /// Its descriptor, for a child that shall hold it too.
    pub(super) fn descriptor(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

/// The directory.
#[derive(Debug, Clone)]
pub(super) struct Directory(PathBuf);

impl Directory {
    /// That of this machine.
    pub(super) fn of_the_machine() -> Self {
        Self(PathBuf::from(DIRECTORY))
    }

    /// The same directory for a process that will have another `/run`; it holds `open`.
    pub(super) fn reopened(open: &File) -> Self {
        Self(PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd())))
    }

    /// Makes it a mount of its own, in a mount namespace that nobody shares.
    pub(super) fn bind_to_itself(&self) -> Result<()> {
        let none = None::<&str>;
        mount(Some(&self.0), &self.0, none, MsFlags::MS_BIND, none)
            .with_context(|| format!("cannot bind {}", self.0.display()))
    }

    /// Opens it, to keep it at hand.
    pub(super) fn open(&self) -> Result<File> {
        File::open(&self.0).with_context(|| format!("cannot open {}", self.0.display()))
    }

    /// What is there. Looking makes nothing.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub(super) fn look(&self) -> Result<Found> {
        if !fs::exists(self.0.join(LOCK))? {
            return Ok(Found::Nothing);
        }
        Ok(match self.try_lock()? {
            Some(lock) => Found::Stale(lock),
            None => Found::Up(self.supervisor(), self.state()),
        })
    }

    /// Makes the directory and takes the lock; `None` when somebody has it.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub(super) fn claim(&self) -> Result<Option<Lock>> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        made.with_context(|| format!("cannot make {}", self.0.display()))?;
        let Some(lock) = self.try_lock()? else { return Ok(None) };
        self.forget()?;
        Ok(Some(lock))
    }

    fn try_lock(&self) -> Result<Option<Lock>> {
        let path = self.0.join(LOCK);
        loop {
            let opened = File::options().create(true).truncate(false).write(true).open(&path);
            let file = opened.with_context(|| format!("cannot open {}", path.display()))?;
            match file.try_lock() {
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error).context("cannot lock"),
                // The last holder may have removed the file after we opened it.
                Ok(()) if is_same(&file, &path)? => return Ok(Some(Lock(file))),
                Ok(()) => {}
            }
        }
    }

    /// Removes what an earlier cluster said. For the holder of the lock.
    fn forget(&self) -> Result<()> {
        for name in [SUPERVISOR, STATE, PROGRESS] {
            remove(&self.0.join(name))?;
        }
        Ok(())
    }

    /// Removes everything, the lock last.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub(super) fn remove(&self, lock: Lock) -> Result<()> {
        self.forget()?;
        remove(&self.0.join(LOCK))?;
        drop(lock);
        match fs::remove_dir(&self.0) {
            // Another `up` may have begun in it.
            Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => {
                Err(error).with_context(|| format!("cannot remove {}", self.0.display()))
            }
            _ => Ok(()),
        }
    }

    /// Removes an empty directory that nobody uses.
    pub(super) fn remove_remains(&self) {
        // Somebody else's, if it cannot be removed.
        let _ = fs::remove_dir(&self.0);
    }

    /// Says which process supervises.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn note_supervisor(&self, pid: u32) -> Result<()> {
        self.write(SUPERVISOR, &pid.to_string())
    }

    /// The supervisor that wrote last.
    pub(super) fn supervisor(&self) -> Option<u32> {
        fs::read_to_string(self.0.join(SUPERVISOR)).ok()?.parse().ok()
    }

    /// Says how the cluster is.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn note(&self, state: &State) -> Result<()> {
        self.write(STATE, &serde_json::to_string(state)?)
    }

    /// What process 1 said last.
    pub(super) fn state(&self) -> Option<State> {
        serde_json::from_str(&fs::read_to_string(self.0.join(STATE)).ok()?).ok()
    }

    /// The file of the lines that `up` prints.
    pub(super) fn progress(&self) -> PathBuf {
        self.0.join(PROGRESS)
    }

    /// Readers see the old words or the new ones.
    fn write(&self, name: &str, text: &str) -> Result<()> {
        let (new, path) = (self.0.join(format!("{name}.new")), self.0.join(name));
        let write = || File::create(&new)?.write_all(text.as_bytes());
        write().and_then(|()| fs::rename(&new, &path)).with_context(|| path.display().to_string())
    }

    /// The cluster that is up.
    ///
    /// # Errors
    /// When there is none, or it is not far enough yet: what to do.
    pub(super) fn running(&self, command: &str) -> Result<State> {
        match self.look()? {
            Found::Up(_, Some(state)) => Ok(state),
            Found::Up(_, None) => bail!("the cluster has only just begun to start; try again"),
            Found::Nothing => bail!("no cluster is up; start one: {command} up"),
            Found::Stale(..) => bail!(
                "no cluster is up: the supervisor of the last one was killed. Start one: \
                 {command} up"
            ),
        }
    }

    /// Waits until nobody holds the lock; `None` when `patience` has passed.
    ///
    /// # Errors
    /// When the directory cannot be looked at.
    pub(super) fn wait_released(&self, patience: Duration) -> Result<Option<Released>> {
        let end = Instant::now() + patience;
        loop {
            match self.look()? {
                Found::Nothing => return Ok(Some(Released::Removed)),
                Found::Stale(lock) => return Ok(Some(Released::Left(lock))),
                Found::Up(..) if Instant::now() >= end => return Ok(None),
                Found::Up(..) => thread::sleep(TICK),
            }
        }
    }
}

fn is_same(file: &File, path: &Path) -> Result<bool> {
    let own = file.metadata()?;
    Ok(fs::metadata(path).is_ok_and(|now| (now.dev(), now.ino()) == (own.dev(), own.ino())))
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
