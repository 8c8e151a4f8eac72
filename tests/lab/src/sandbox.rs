//! A lab that vanishes: the program runs itself again as process 1 of fresh network, mount, pid,
//! uts and ipc namespaces.
//!
//! Three processes take part. The *caller* (what the user started) spawns the *keeper*, which
//! makes the namespaces and spawns the *inside*, process 1 of the new pid namespace. Keeper and
//! inside each ask the kernel to be killed when their parent dies, and when process 1 dies the
//! kernel kills everything else in the pid namespace: then links, mounts, pins and BPF objects
//! have no holder left. No clean-up routine takes part, so nothing is left whatever ended the run.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, geteuid, getppid};

use crate::cgroups::{self, Cgroups};

/// How often the caller looks after the lab.
const TICK: Duration = Duration::from_millis(10);

/// The signal that asked the caller to stop; 0 for none.
static STOP: AtomicI32 = AtomicI32::new(0);

extern "C" fn note_signal(signal: i32) {
    STOP.store(signal, Ordering::Relaxed);
}

/// How a run inside the lab ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this exit code (128 + signal when a signal ended it).
    Exited(i32),
    /// Its time was over; it was killed.
    TimedOut,
    /// The user asked for it with this signal; it was killed.
    Interrupted(i32),
}

/// A lab under way, seen from outside.
#[derive(Debug)]
pub struct Sandbox {
    keeper: Child,
    cgroups: Option<Cgroups>,
}

impl Sandbox {
    /// Starts `tartan-lab inside ARGS` in fresh namespaces. Its output goes to `log`, or to where
    /// the caller's goes.
    ///
    /// # Errors
    /// When the user is not root, or the kernel refuses a process.
    pub fn spawn(args: &[&str], log: Option<&File>) -> Result<Self> {
        Self::spawn_in(None, args, log)
    }

    /// As [`Sandbox::spawn`], in control groups of its own: kubelets can run there.
    ///
    /// # Errors
    /// As [`Sandbox::spawn`].
    pub fn spawn_with(cgroups: Cgroups, args: &[&str], log: Option<&File>) -> Result<Self> {
        Self::spawn_in(Some(cgroups), args, log)
    }

    fn spawn_in(cgroups: Option<Cgroups>, args: &[&str], log: Option<&File>) -> Result<Self> {
        require_root()?;
        prctl::set_child_subreaper(true).context("cannot become the reaper of the lab")?;
        catch_signals()?;
        let mut command = myself();
        command.arg("keeper").args(args).stdin(Stdio::null());
        if let Some(log) = log {
            command.stdout(log.try_clone()?).stderr(log.try_clone()?);
        }
        die_with_parent(&mut command);
        Cgroups::none(&mut command);
        cgroups.iter().try_for_each(|cgroups| cgroups.enter(&mut command))?;
        let keeper = command.spawn().context("cannot start the lab's keeper")?;
        Ok(Self { keeper, cgroups })
    }

    /// Waits until the run has ended and every process of it is gone.
    ///
    /// # Errors
    /// When waiting itself fails.
    pub fn wait(mut self, timeout: Option<Duration>) -> Result<Ended> {
        let end = timeout.map(|timeout| Instant::now() + timeout);
        let ended = loop {
            if let Some(status) = self.keeper.try_wait()? {
                break after_signals(code(status));
            }
            let signal = STOP.load(Ordering::Relaxed);
            if signal != 0 {
                break Ended::Interrupted(signal);
            }
            if end.is_some_and(|end| Instant::now() >= end) {
                break Ended::TimedOut;
            }
            thread::sleep(TICK);
        };
        self.end()?;
        Ok(ended)
    }

    /// Kills the lab and waits until every process of it is gone.
    fn end(&mut self) -> Result<()> {
        // An error means that it is gone already.
        let _ = self.keeper.kill();
        let _ = self.keeper.wait();
        self.cgroups.iter_mut().for_each(Cgroups::end);
        reap_all()
    }
}

/// The terminal sends Ctrl-C to the keeper as well: its death is then the user's wish.
fn after_signals(code: i32) -> Ended {
    match STOP.load(Ordering::Relaxed) {
        0 => Ended::Exited(code),
        signal => Ended::Interrupted(signal),
    }
}

/// Waits for the lab's process 1, which became our child when the keeper died: the kernel lets
/// it go only after every other process of the lab. Waits for every other child as well.
pub(crate) fn reap_all() -> Result<()> {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Err(Errno::ECHILD) => return Ok(()),
            Ok(WaitStatus::StillAlive) => thread::sleep(TICK),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("cannot wait for the lab's end"),
        }
        if Instant::now() >= end {
            bail!("a process of the lab did not die within 30 s of SIGKILL; look at `ps axf`");
        }
    }
}

/// The exit code of a finished process, as a shell would give it.
fn code(status: ExitStatus) -> i32 {
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

/// This very program, whatever its path is called in the namespaces it will run in.
#[must_use]
pub fn myself() -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("tartan-lab");
    command
}

/// Makes the child die, by SIGKILL, with the thread that spawns it.
fn die_with_parent(command: &mut Command) {
    let parent = Pid::this();
    let wish = move || {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        // A parent that died before the wish was made would never be noticed. In a new pid
        // namespace the parent has no number.
        let now = getppid();
        if now != parent && now.as_raw() != 0 {
            return Err(io::Error::from(Errno::ESRCH));
        }
        Ok(())
    };
    // SAFETY: the closure makes two system calls and allocates nothing, so it is safe between
    // fork and exec.
    unsafe { command.pre_exec(wish) };
}

/// The caller must outlive Ctrl-C, to see that nothing is left.
fn catch_signals() -> Result<()> {
    let action =
        SigAction::new(SigHandler::Handler(note_signal), SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler only stores into an atomic.
        unsafe { sigaction(signal, &action) }.context("cannot catch signals")?;
    }
    Ok(())
}

/// Namespaces, links and BPF need root.
///
/// # Errors
/// When the user is somebody else: what to run instead.
pub fn require_root() -> Result<()> {
    if geteuid().is_root() {
        return Ok(());
    }
    let words: Vec<_> = env::args().skip(1).collect();
    let program = env::current_exe().unwrap_or_else(|_| "tartan-lab".into());
    bail!(
        "the lab makes network namespaces and loads BPF programs, which needs root; run: sudo {} {}",
        program.display(),
        words.join(" ")
    )
}

/// The keeper: makes the namespaces, runs `tartan-lab inside ARGS` as their process 1 and passes
/// on its exit code.
///
/// # Errors
/// When the kernel refuses the namespaces or the process.
pub fn keep(args: &[OsString]) -> Result<i32> {
    let all = CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC;
    let groups = CloneFlags::CLONE_NEWCGROUP;
    let all = if cgroups::wanted() { all | groups } else { all };
    unshare(all).context("the kernel refuses new namespaces; are user limits set?")?;
    private_mounts()?;
    let mut command = myself();
    command.arg("inside").args(args);
    die_with_parent(&mut command);
    let status = command.status().context("cannot start the lab's first process")?;
    Ok(code(status))
}

/// Keeps every later mount to this mount namespace.
pub(crate) fn private_mounts() -> Result<()> {
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
        .context("cannot make the mounts private")
}
