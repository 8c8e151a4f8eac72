//! The front end of `up`: starts the supervisor, shows how the cluster comes up, and says what to
//! type next.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::setsid;

use super::options::{Cni, Options, Tier};
use super::state::{Directory, Found, Lock, Phase, State};
use super::supervisor::STAY;
use super::{command, text};
use crate::sandbox::{myself, require_root};

/// How often the front end looks for more to show.
const TICK: Duration = Duration::from_millis(20);

/// The signal that asked `up` to stop; 0 for none.
static STOP: AtomicI32 = AtomicI32::new(0);

extern "C" fn note_signal(signal: i32) {
    STOP.store(signal, Ordering::Relaxed);
}

/// Flags of `tartan-lab cluster up`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    #[command(flatten)]
    options: Options,
    /// Stay in the foreground: Ctrl-C ends the cluster
    #[arg(long)]
    foreground: bool,
    /// End the cluster as soon as it was checked; the verdict is the exit code
    #[arg(long, conflicts_with = "foreground")]
    exit: bool,
}

/// How the wait for the cluster ended.
enum Outcome {
    Up(Box<State>),
    Ended(ExitStatus),
    Stopped(i32),
}

/// Brings a cluster up.
///
/// # Errors
/// When it cannot be had: why, and what to do.
pub(super) fn run(args: &Args) -> Result<u8> {
    require_root()?;
    args.options.check()?;
    let directory = Directory::of_the_machine();
    let lock = claim(&directory)?;
    // Before anything is made, so that no signal finds it half made.
    catch_signals()?;
    println!("{}", args.options.summary());
    let mut front = FrontEnd::start(directory, &lock, &args.options)?;
    // From here on it is the supervisor's alone.
    drop(lock);
    match front.wait(|state| state.phase != Phase::Starting)? {
        Outcome::Up(state) => front.go_on(args, &state),
        Outcome::Ended(status) => front.failed(status),
        Outcome::Stopped(signal) => front.stop(signal),
    }
}

fn claim(directory: &Directory) -> Result<Lock> {
    match directory.look()? {
        Found::Up(_, state) => bail!(occupied(state.as_ref())),
        Found::Stale(_) => super::down::sweep(directory)?,
        Found::Nothing => {}
    }
    directory.claim()?.with_context(|| occupied(None))
}

fn occupied(state: Option<&State>) -> String {
    let about = state.map(|state| {
        let age = text::span(state.age().as_secs());
        format!(" ({}, started {age} ago)", state.options.summary())
    });
    let about = about.unwrap_or_default();
    let command = command();
    format!(
        "a cluster is up already{about}; a machine has one at a time. Look at it: {command} \
         status. End it: {command} down"
    )
}

/// The supervisor as `up` sees it.
struct FrontEnd {
    directory: Directory,
    supervisor: Child,
    progress: File,
}

impl FrontEnd {
    fn start(directory: Directory, lock: &Lock, options: &Options) -> Result<Self> {
        let path = directory.progress();
        let log = File::create(&path).with_context(|| format!("cannot make {}", path.display()))?;
        let progress = File::open(&path)?;
        let mut command = myself();
        command.arg("supervisor").args(options.words());
        command.arg(format!("--lock={}", lock.descriptor()));
        command.current_dir("/").stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
        detach(&mut command, lock);
        let supervisor = command.spawn().context("cannot start the supervisor")?;
        Ok(Self { directory, supervisor, progress })
    }

    /// Shows progress until the state is as wished, or there is nothing to wait for.
    fn wait(&mut self, wished: impl Fn(&State) -> bool) -> Result<Outcome> {
        loop {
            let ended = self.supervisor.try_wait()?;
            // Asked for before the rest is shown: its lines were written before it.
            let state = self.directory.state();
            self.show()?;
            let signal = STOP.load(Ordering::Relaxed);
            if signal != 0 {
                return Ok(Outcome::Stopped(signal));
            }
            if let Some(status) = ended {
                return Ok(Outcome::Ended(status));
            }
            if let Some(state) = state.filter(&wished) {
                return Ok(Outcome::Up(Box::new(state)));
            }
            thread::sleep(TICK);
        }
    }

    fn show(&mut self) -> Result<()> {
        let mut bytes = Vec::new();
        self.progress.read_to_end(&mut bytes)?;
        let mut stdout = io::stdout();
        // A terminal that is gone shows nothing; its closing ends the cluster by itself.
        let _ = stdout.write_all(&bytes).and_then(|()| stdout.flush());
        Ok(())
    }

    /// The cluster is up.
    fn go_on(&mut self, args: &Args, state: &State) -> Result<u8> {
        let verdict = u8::from(state.phase != Phase::Ready);
        if args.exit {
            self.end()?;
            println!("The cluster is gone; nothing of it is left.");
            return Ok(verdict);
        }
        println!("\n{}", guide(&args.options, args.foreground));
        if args.foreground {
            return match self.wait(|_| false)? {
                Outcome::Stopped(signal) => self.stop(signal),
                Outcome::Ended(status) => self.ended(status),
                Outcome::Up(_) => Ok(verdict),
            };
        }
        let stdin = self.supervisor.stdin.as_mut();
        stdin.context("the supervisor has no input")?.write_all(&[STAY])?;
        Ok(verdict)
    }

    /// Ends the cluster and waits until nothing is left.
    fn end(&mut self) -> Result<()> {
        drop(self.supervisor.stdin.take());
        self.supervisor.wait()?;
        self.show()
    }

    fn stop(&mut self, signal: i32) -> Result<u8> {
        println!("\nstopped; everything is taken down");
        self.end()?;
        println!("The cluster is gone; nothing of it is left.");
        Ok(u8::try_from(128 + signal).unwrap_or(1))
    }

    fn failed(&mut self, status: ExitStatus) -> Result<u8> {
        let code = self.ended(status)?;
        println!("The cluster did not come up; nothing of it is left.");
        Ok(code)
    }

    /// The supervisor ended by itself, or was killed.
    fn ended(&mut self, status: ExitStatus) -> Result<u8> {
        self.show()?;
        match status.code() {
            Some(0) => {
                println!("The cluster was ended by another command.");
                Ok(0)
            }
            Some(code) => Ok(u8::try_from(code).unwrap_or(1)),
            None => {
                println!("The supervisor was killed ({status}).");
                super::down::after_a_kill(&self.directory)?;
                Ok(1)
            }
        }
    }
}

/// A session of its own, and the lock.
fn detach(command: &mut Command, lock: &Lock) {
    let descriptor = lock.descriptor();
    let own = move || {
        setsid()?;
        // SAFETY: the descriptor is open: `lock` lives until the child has started.
        let lock = unsafe { std::os::fd::BorrowedFd::borrow_raw(descriptor) };
        fcntl(lock, FcntlArg::F_SETFD(FdFlag::empty()))?;
        Ok(())
    };
    // SAFETY: the closure makes two system calls and allocates nothing.
    unsafe { command.pre_exec(own) };
}

fn catch_signals() -> Result<()> {
    let action =
        SigAction::new(SigHandler::Handler(note_signal), SaFlags::SA_RESTART, SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: the handler only stores into an atomic.
        unsafe { sigaction(signal, &action) }.context("cannot catch signals")?;
    }
    Ok(())
}

/// What to type next.
fn guide(options: &Options, foreground: bool) -> String {
    let (shell, agent) = match options.cni() {
        Cni::Tartan => ("a shell on a node; there, for instance: tartanctl peers", "tartand"),
        Cni::Flannel => ("a shell on a node", "flanneld"),
    };
    let logs = format!("what {agent} says");
    let mut rows = vec![("status", "how everything is")];
    rows.extend(match options.tier {
        Tier::L1 => &[("kubectl get nodes -o wide", "")][..],
        Tier::L2 => &[
            ("kubectl get pods -A -o wide", ""),
            ("kubectl exec -it toolbox-node1 -- sh", "a shell in a pod"),
        ],
    });
    rows.extend([
        ("exec node1", shell),
        ("logs node1 agent -f", &logs),
        ("fault --help", "what can be broken"),
    ]);
    if !foreground {
        rows.push(("down", "end it, and everything with it"));
    }
    let command = command();
    let line = |(words, what): (&str, &str)| format!("  {command} {words:38} {what}");
    let lines = rows.into_iter().map(|row| line(row).trim_end().to_owned());
    let title = if foreground { "From another terminal:" } else { "It stays up. Next:" };
    let end = foreground.then(|| "Ctrl-C ends it, and everything with it.".to_owned());
    [title.to_owned()].into_iter().chain(lines).chain(end).collect::<Vec<_>>().join("\n")
}
