//! The container's network namespace.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use nix::net::if_::if_nametoindex;
use nix::sched::{CloneFlags, setns};

use crate::error::{CniError, Code};
use crate::netlink::Rtnl;
use crate::sysctl;

/// An open network namespace.
#[derive(Debug)]
pub struct NetNs {
    file: File,
    path: PathBuf,
}

/// What a look into a network namespace brings back.
#[derive(Debug)]
pub struct Inside {
    /// A socket inside.
    pub rtnl: Rtnl,
    /// Whether an interface has the name that was asked for.
    pub has_interface: bool,
}

impl NetNs {
    /// Opens `CNI_NETNS`.
    ///
    /// # Errors
    ///
    /// Code 4 if the path cannot be opened, code 8 if it is the plugin's own namespace.
    pub fn open(path: &Path) -> Result<Self, CniError> {
        let file = File::open(path).map_err(|error| refuse(path, &error))?;
        let netns = Self { file, path: path.to_owned() };
        if netns.is_own().map_err(|error| refuse(path, &error))? {
            return Err(CniError::new(
                Code::InvalidNetNs,
                "plugin's netns and netns from CNI_NETNS should not be the same",
            )
            .hint(format!("CNI_NETNS is {}; it must be the container's", path.display())));
        }
        Ok(netns)
    }

    fn is_own(&self) -> io::Result<bool> {
        let own = fs::metadata("/proc/thread-self/ns/net")?;
        let other = self.file.metadata()?;
        Ok((own.dev(), own.ino()) == (other.dev(), other.ino()))
    }

    /// The number by which netlink knows it.
    #[must_use]
    pub fn as_raw_fd(&self) -> RawFd {
        self.file.as_raw_fd()
    }

    /// A socket inside.
    ///
    /// # Errors
    ///
    /// Code 4 if the path is not a network namespace.
    pub fn rtnl(&self) -> Result<Rtnl, CniError> {
        self.visit(Rtnl::open)
    }

    /// A socket inside, and whether an interface of a name is there already. Unlike the socket,
    /// this question needs no lock of the kernel that others may be holding.
    ///
    /// # Errors
    ///
    /// Code 4 if the path is not a network namespace.
    pub fn enter(&self, interface: &str) -> Result<Inside, CniError> {
        self.visit(|| {
            let has_interface = if_nametoindex(interface).is_ok();
            Ok(Inside { rtnl: Rtnl::open()?, has_interface })
        })
    }

    /// Writes settings inside; one that is not there is fine.
    ///
    /// # Errors
    ///
    /// Code 4 if the path is not a network namespace or a setting cannot be written.
    pub fn set(&self, settings: &[(String, &str)]) -> Result<(), CniError> {
        self.visit(|| settings.iter().try_for_each(|(path, value)| sysctl::ensure(path, value)))
    }

    /// A thread goes in and ends there, so that this one never leaves the host.
    fn visit<T: Send>(&self, work: impl FnOnce() -> io::Result<T> + Send) -> Result<T, CniError> {
        let enter = || {
            setns(&self.file, CloneFlags::CLONE_NEWNET)?;
            work()
        };
        let inside = thread::scope(|scope| {
            let visitor = thread::Builder::new().spawn_scoped(scope, enter)?;
            visitor.join().unwrap_or_else(|_| Err(io::Error::other("the thread panicked")))
        });
        inside.map_err(|error| refuse(&self.path, &error))
    }
}

fn refuse(path: &Path, error: &io::Error) -> CniError {
    CniError::new(
        Code::InvalidEnvironment,
        format!("failed to open netns \"{}\" (CNI_NETNS): {error}", path.display()),
    )
    .hint("CNI_NETNS must be the path of a live network namespace")
}
