//! Noticing that the directory changed.
//!
//! inotify tells at once what happens on this host. On a network file system
//! it is silent about the other hosts, so the directory's time of change is
//! looked at every now and then as well.

use std::fs;
use std::future::pending;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::files::is_lease_name;

/// A change this recent may be followed by another one with the same time of change: the
/// coarsest clock of a file system in use is that of NFSv2, in seconds.
const CLOCK_GRAIN: Duration = Duration::from_secs(2);

struct Descriptor(Inotify);

impl AsRawFd for Descriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// A subscription to a directory; it begins when it is made.
pub(super) struct Watch {
    dir: PathBuf,
    inotify: Option<AsyncFd<Descriptor>>,
    poll: Duration,
    state: Mutex<State>,
}

struct State {
    /// Kept here and not in a future, which is dropped whenever something else happens first.
    next_poll: Instant,
    seen: Option<SystemTime>,
    /// When something changes without anybody doing anything: a lease expires.
    due: Option<SystemTime>,
}

impl Watch {
    /// Subscribes. Without inotify (its limits are per user) only polling is left.
    pub(super) fn new(dir: &Path, poll: Duration) -> Self {
        let inotify = subscribe(dir)
            .inspect_err(|error| {
                warn!(dir = %dir.display(), %error, ?poll, "no inotify, changes are seen by polling");
            })
            .ok();
        let next_poll = Instant::now() + poll;
        let state = Mutex::new(State { next_poll, seen: None, due: None });
        Self { dir: dir.to_owned(), inotify, poll, state }
    }

    /// Notes what the directory looks like; to be called before it is read.
    pub(super) fn mark_seen(&self) {
        self.with_state(|state| state.seen = change_time(&self.dir));
    }

    /// Notes when the next lease expires.
    pub(super) fn set_due(&self, due: Option<SystemTime>) {
        self.with_state(|state| state.due = due);
    }

    /// Waits for a change. Loses nothing when it is dropped.
    pub(super) async fn changed(&self) {
        loop {
            let next_poll = self.with_state(|state| state.next_poll);
            tokio::select! {
                () = self.event() => return,
                () = sleep_until(next_poll) => if self.poll() { return },
            }
        }
    }

    fn poll(&self) -> bool {
        self.rearm();
        let now = change_time(&self.dir);
        let poll = self.poll;
        self.with_state(|state| {
            state.next_poll = Instant::now() + poll;
            let is_due = state.due.is_some_and(|due| due <= SystemTime::now());
            is_due || now.is_none() || now != state.seen
        })
    }

    /// A directory that was replaced by another one needs a new watch; else nothing happens.
    fn rearm(&self) {
        if let Some(inotify) = &self.inotify {
            // A directory that is missing is reported by the next list, which the poll asks for.
            inotify.get_ref().0.add_watch(&self.dir, events()).ok();
        }
    }

    async fn event(&self) {
        let Some(inotify) = &self.inotify else { return pending().await };
        loop {
            let Ok(mut ready) = inotify.readable().await else { return pending().await };
            match drain(&inotify.get_ref().0) {
                Ok(true) => return,
                Ok(false) => ready.clear_ready(),
                Err(error) => {
                    warn!(%error, "inotify failed, changes are seen by polling");
                    return pending().await;
                }
            }
        }
    }

    fn with_state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn events() -> AddWatchFlags {
    AddWatchFlags::IN_CREATE
        | AddWatchFlags::IN_CLOSE_WRITE
        | AddWatchFlags::IN_MOVED_TO
        | AddWatchFlags::IN_MOVED_FROM
        | AddWatchFlags::IN_DELETE
        | AddWatchFlags::IN_DELETE_SELF
        | AddWatchFlags::IN_MOVE_SELF
        | AddWatchFlags::IN_ONLYDIR
}

fn subscribe(dir: &Path) -> std::io::Result<AsyncFd<Descriptor>> {
    let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
    inotify.add_watch(dir, events())?;
    // SAFETY: Descriptor owns the inotify descriptor and never changes it, so it stays open and
    // the same for as long as the AsyncFd has it.
    let registered =
        unsafe { AsyncFd::register_with_interest(Descriptor(inotify), Interest::READABLE) };
    registered.map_err(|error| error.into_parts().1)
}

/// Reads all waiting events; whether one of them concerns a lease.
fn drain(inotify: &Inotify) -> Result<bool, Errno> {
    let mut concerns_lease = false;
    loop {
        match inotify.read_events() {
            Ok(events) => concerns_lease |= events.iter().any(is_about_lease),
            Err(Errno::EAGAIN) => return Ok(concerns_lease),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Events without a name are about the directory itself, or say that events were lost.
fn is_about_lease(event: &InotifyEvent) -> bool {
    event.name.as_ref().is_none_or(|name| name.to_str().is_some_and(is_lease_name))
}

/// The directory's time of change, unless it is so fresh that it may not be the last of its kind.
fn change_time(dir: &Path) -> Option<SystemTime> {
    let modified = fs::metadata(dir).ok()?.modified().ok()?;
    let age = SystemTime::now().duration_since(modified).unwrap_or_default();
    (age > CLOCK_GRAIN).then_some(modified)
}
