//! The lock that everybody who changes xtables takes, so that nobody's change is lost.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use crate::NetfilterError;

/// Where `iptables` has it.
pub(super) const PATH: &str = "/run/xtables.lock";
/// How long is waited for somebody else's change: a restore of a large table takes seconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);
/// How often is looked meanwhile.
const PAUSE: Duration = Duration::from_millis(20);

/// The lock while it is held.
#[derive(Debug)]
pub(super) struct Lock(#[expect(dead_code, reason = "held, not read")] Flock<File>);

impl Lock {
    /// Takes the lock, or says who to look for.
    pub(super) fn take(path: &Path, patience: Duration) -> Result<Self, NetfilterError> {
        let mut file = open(path)?;
        let deadline = Instant::now() + patience;
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Self(lock)),
                Err((back, Errno::EWOULDBLOCK | Errno::EINTR)) if Instant::now() < deadline => {
                    file = back;
                    thread::sleep(PAUSE);
                }
                Err((_, Errno::EWOULDBLOCK)) => return Err(held(path, patience)),
                Err((_, errno)) => return Err(failed(path, errno.into())),
            }
        }
    }
}

fn open(path: &Path) -> Result<File, NetfilterError> {
    let mut options = OpenOptions::new();
    options.create(true).read(true).write(true).truncate(false).mode(0o600);
    options.open(path).map_err(|source| failed(path, source))
}

fn failed(path: &Path, source: io::Error) -> NetfilterError {
    let what = format!("open {}; mount the host's file there", path.display());
    NetfilterError::Io { what, source }
}

fn held(path: &Path, patience: Duration) -> NetfilterError {
    let what = format!("lock {}; `lslocks` names who holds it", path.display());
    let waited = format!("still held after {} s", patience.as_secs_f32());
    NetfilterError::Io { what, source: io::Error::new(io::ErrorKind::TimedOut, waited) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_is_waited_for_and_then_named() {
        let path = std::env::temp_dir().join(format!("tartan-xtables-{}", std::process::id()));
        let first = Lock::take(&path, Duration::ZERO).expect("free");
        let error = Lock::take(&path, Duration::from_millis(50)).expect_err("held").to_string();
        assert!(error.contains("lslocks") && error.contains("tartan-xtables"), "{error}");
        let free = thread::spawn(move || drop(first));
        Lock::take(&path, Duration::from_secs(5)).expect("free again");
        free.join().expect("no panic");
        std::fs::remove_file(&path).expect("removed");
    }

    #[test]
    fn a_lock_that_cannot_be_opened_names_the_mount() {
        let error = Lock::take(Path::new("/nonexistent/lock"), Duration::ZERO).expect_err("no");
        assert!(error.to_string().contains("mount the host's file"), "{error}");
    }
}
