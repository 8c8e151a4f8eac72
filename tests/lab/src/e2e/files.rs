//! What a run writes: the log of each suite, the results.
//!
//! The lab sees the machine's files read-only, so its caller opens the folder and hands it down.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

use super::options::{Part, Suite};
use super::results::Run;

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder {
    opened: File,
}

impl Folder {
    /// Makes the folder if need be. Programs that are started while it is open inherit it.
    pub(super) fn make(path: &Path) -> Result<Self> {
        let open = || {
            fs::create_dir_all(path)?;
            let opened = File::open(path)?;
            fcntl(&opened, FcntlArg::F_SETFD(FdFlag::empty()))?;
            Ok::<_, std::io::Error>(opened)
        };
        let opened = open()
            .with_context(|| format!("cannot make {}; name another --output", path.display()))?;
        Ok(Self { opened })
    }

    /// The one that was inherited under this number; it is not handed down any further.
    pub(super) fn inherited(number: RawFd) -> Result<Self> {
        // SAFETY: the caller of the lab opened it for this process, which uses it here alone.
        let opened = File::from(unsafe { OwnedFd::from_raw_fd(number) });
        fcntl(&opened, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).context("the folder is not open")?;
        Ok(Self { opened })
    }

    /// Under which programs inherit it.
    pub(super) fn number(&self) -> RawFd {
        self.opened.as_raw_fd()
    }

    /// A file in it, through the folder's own mount.
    fn path(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.number()))
    }

    /// Makes the files of one cluster, empty.
    pub(super) fn open(&self, part: &Part) -> Result<Opened> {
        let log = |suite: Suite| {
            let name = format!("{}-{}.log", part.name(), suite.name());
            Ok((suite, self.create(&name)?))
        };
        let logs = part.suites().into_iter().map(log).collect::<Result<_>>()?;
        Ok(Opened { logs, results: self.create(&results_name(part))? })
    }

    fn create(&self, name: &str) -> Result<File> {
        let path = self.path(name);
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path);
        file.with_context(|| format!("cannot write {name} in the folder for results"))
    }

    /// What the run found.
    pub(super) fn read_results(&self, part: &Part) -> Result<Run> {
        let name = results_name(part);
        let text = fs::read_to_string(self.path(&name));
        let text = text.with_context(|| format!("cannot read {name}"))?;
        serde_json::from_str(&text).with_context(|| format!("{name} is broken"))
    }
}

fn results_name(part: &Part) -> String {
    format!("{}.json", part.name())
}

/// The files of one cluster, open.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) logs: Vec<(Suite, File)>,
    results: File,
}

impl Opened {
    pub(super) fn write_results(&mut self, run: &Run) -> Result<()> {
        let text = serde_json::to_string_pretty(run)?;
        self.results.write_all(text.as_bytes()).context("cannot write the results")
    }
}

/// Everything in a file that another program writes to.
pub(super) fn whole(file: &File) -> Result<String> {
    // Opened again: the writer's place in it stays.
    let mut own = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    let mut bytes = Vec::new();
    own.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
