//! The supervisor: a process in a session of its own that holds the lab, the lock and nothing
//! else. It ends when it is told to, when the lab ends, and, while the cluster comes up, when the
//! `up` that started it is gone.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{FromRawFd as _, OwnedFd, RawFd};
use std::process;
use std::thread;

use anyhow::{Context as _, Result};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::options::{Options, Tier};
use super::state::{Directory, Lock};
use crate::cgroups::Cgroups;
use crate::sandbox::{Ended, Sandbox};

/// What `up` says to the supervisor when the cluster shall stay without it.
pub(super) const STAY: u8 = b'.';

/// What `up` hands over.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    options: Options,
    /// The descriptor of the lock.
    #[arg(long)]
    lock: RawFd,
}

/// Supervises a cluster until it ends, and leaves nothing of it.
///
/// # Errors
/// When the lab cannot be started, or something of it does not go.
pub fn run(args: &Args) -> Result<u8> {
    let lock = inherited_lock(args.lock)?;
    let directory = Directory::of_the_machine();
    directory.note_supervisor(process::id())?;
    thread::spawn(end_with_the_front_end);
    let ended = hold(&args.options);
    let removed = directory.remove(lock);
    let code = match ended? {
        Ended::Exited(code) => u8::try_from(code).unwrap_or(1),
        Ended::Interrupted(_) => 0,
        Ended::TimedOut => 1,
    };
    removed.map(|()| code)
}

fn hold(options: &Options) -> Result<Ended> {
    let words = options.words();
    let words = ["cluster"].into_iter().chain(words.iter().map(String::as_str));
    let words: Vec<_> = words.collect();
    let sandbox = match options.tier {
        Tier::L1 => Sandbox::spawn(&words, None)?,
        Tier::L2 => {
            let cgroups = Cgroups::make().context("try --tier l1, which has no kubelets")?;
            Sandbox::spawn_with(cgroups, &words, None)?
        }
    };
    sandbox.wait(None)
}

fn inherited_lock(descriptor: RawFd) -> Result<Lock> {
    // SAFETY: `up` opened it for this process alone, which uses it nowhere else.
    let lock = unsafe { OwnedFd::from_raw_fd(descriptor) };
    // The lab must not hold the lock beyond the supervisor's end.
    fcntl(&lock, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).context("the lock was not handed over")?;
    Ok(Lock::inherited(File::from(lock)))
}

/// Without the word to stay, the end of standard input is the end of the cluster.
fn end_with_the_front_end() {
    let mut word = [0];
    match io::stdin().read(&mut word) {
        Ok(1) if word[0] == STAY => {}
        _ => {
            // To itself: it can fail only if the process is gone already.
            let _ = kill(Pid::this(), Signal::SIGTERM);
        }
    }
}
