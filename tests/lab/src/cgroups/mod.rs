//! Control groups of a run whose nodes have kubelets: one of its own in every version 1 hierarchy,
//! below the group of whoever started the run, and below that one per node.
//!
//! They are the only things of a lab that do not vanish with its processes. A *janitor*, a process
//! outside of the lab, removes them as soon as the caller has ended, in whatever way; what even
//! that leaves (when the janitor is killed too) is empty, and the next run sweeps it.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::unistd::setsid;

use self::hierarchy::Hierarchy;
use crate::sandbox::myself;
use crate::scenario::skip;

mod hierarchy;
mod inside;

pub(crate) use self::inside::{NodeGroups, mount_all, wanted};

/// What the run's groups are called; the caller's process id follows.
const PREFIX: &str = "tartan-lab-";

/// How long the kernel may take to let go of the groups of killed processes.
const PATIENCE: Duration = Duration::from_secs(30);

/// The groups of one run, as its caller made them.
#[derive(Debug)]
pub struct Cgroups {
    names: String,
    dirs: Vec<PathBuf>,
    janitor: Child,
}

impl Cgroups {
    /// Makes the groups, and sweeps empty ones of runs that are gone.
    ///
    /// # Errors
    /// A skip where the machine has no version 1 hierarchies; otherwise when the kernel refuses a
    /// group.
    pub fn make() -> Result<Self> {
        let hierarchies = Hierarchy::all()?;
        if hierarchies.is_empty() {
            return Err(skip(
                "the lab's kubelets need control groups of version 1, and this machine has none; \
                 boot it with systemd.unified_cgroup_hierarchy=0, or run the other scenarios",
            ));
        }
        for one in &hierarchies {
            sweep(&one.own);
        }
        let name = format!("{PREFIX}{}", process::id());
        let dirs: Vec<_> = hierarchies.iter().map(|one| one.own.join(&name)).collect();
        // First, so that it also removes what a failure leaves half made.
        let janitor = spawn_janitor(&dirs)?;
        dirs.iter().try_for_each(|dir| make_group(dir))?;
        let names = hierarchies.iter().map(|one| one.options.as_str()).collect::<Vec<_>>();
        Ok(Self { names: names.join(";"), dirs, janitor })
    }

    /// Makes the command start in the groups.
    pub(crate) fn enter(&self, command: &mut Command) -> Result<()> {
        let doors = Doors::open(&self.dirs)?;
        command.env(inside::VARIABLE, &self.names);
        // SAFETY: the closure writes to files that it owns and allocates nothing.
        unsafe { command.pre_exec(move || doors.enter()) };
        Ok(())
    }

    /// Makes the command start outside of any run's groups.
    pub(crate) fn none(command: &mut Command) {
        command.env_remove(inside::VARIABLE);
    }

    /// Lets the janitor begin; every process of the run must be gone or about to go.
    pub(crate) fn end(&mut self) {
        drop(self.janitor.stdin.take());
    }
}

/// The groups of every run below this process's own.
pub(crate) fn of_runs() -> Result<Vec<PathBuf>> {
    let hierarchies = Hierarchy::all()?;
    Ok(hierarchies.iter().flat_map(|one| runs_below(&one.own)).collect())
}

fn runs_below(own: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(own).into_iter().flatten().flatten();
    let dirs = entries.map(|entry| entry.path());
    dirs.filter(|dir| caller_of(dir).is_some()).collect()
}

/// The process id in the name of a run's group.
fn caller_of(dir: &Path) -> Option<&str> {
    dir.file_name()?.to_str()?.strip_prefix(PREFIX)
}

/// A group's `cgroup.procs` in each hierarchy, open.
#[derive(Debug, Clone)]
pub(crate) struct Doors(Arc<Vec<File>>);

impl Doors {
    fn open(dirs: &[PathBuf]) -> Result<Self> {
        let open = |dir: &PathBuf| {
            let path = dir.join("cgroup.procs");
            let file = File::options().write(true).open(&path);
            file.with_context(|| format!("cannot open {}", path.display()))
        };
        Ok(Self(Arc::new(dirs.iter().map(open).collect::<Result<_>>()?)))
    }

    /// Moves the calling process into the group. Allocates nothing: it may run between fork and
    /// exec.
    pub(crate) fn enter(&self) -> io::Result<()> {
        self.0.iter().try_for_each(|mut door| door.write_all(b"0"))
    }
}

/// A group that takes over what cpuset demands of every group before a process may enter.
fn make_group(dir: &Path) -> Result<()> {
    let context = || format!("cannot make the control group {}", dir.display());
    fs::create_dir(dir).with_context(context)?;
    let parent = dir.parent().unwrap_or(dir);
    for file in ["cpuset.cpus", "cpuset.mems"] {
        if let Ok(value) = fs::read_to_string(parent.join(file)) {
            fs::write(dir.join(file), value.trim()).with_context(context)?;
            fs::write(dir.join("cgroup.clone_children"), "1").with_context(context)?;
        }
    }
    Ok(())
}

/// Removes the groups of callers that are gone. One with a process in it cannot be removed.
fn sweep(own: &Path) {
    for dir in runs_below(own) {
        if caller_of(&dir).is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            // Somebody else's, if it cannot be removed.
            let _ = remove_tree(&dir);
        }
    }
}

/// Removes the groups of a caller that is gone; whether none of them is left.
pub(crate) fn sweep_of(caller: u32) -> Result<bool> {
    let caller = caller.to_string();
    let dirs = of_runs()?.into_iter().filter(|dir| caller_of(dir) == Some(&*caller));
    // Its janitor may be faster; a group whose last process is just dying stays for now.
    Ok(dirs.filter(|dir| remove_tree(dir).is_err() && dir.exists()).count() == 0)
}

/// Removes a group and all groups below it, lowest first.
fn remove_tree(dir: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(dir)
}

/// Removes all of these as soon as their last process is gone.
fn remove_all(dirs: &[PathBuf]) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    for dir in dirs {
        while let Err(error) = remove_tree(dir) {
            if Instant::now() >= end {
                let text = format!("cannot remove the control group {}", dir.display());
                return Err(error).context(text);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }
    Ok(())
}

fn spawn_janitor(dirs: &[PathBuf]) -> Result<Child> {
    let mut command = myself();
    command.arg("janitor").args(dirs);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    // SAFETY: the closure makes one system call and allocates nothing.
    unsafe { command.pre_exec(|| Ok(setsid().map(drop)?)) };
    command.spawn().context("cannot start the janitor of the control groups")
}

/// The janitor: waits until the caller closes its standard input, by intent or by its death, then
/// removes the groups.
///
/// # Errors
/// When one cannot be removed within 30 s.
pub fn clean_up_after(dirs: &[PathBuf]) -> Result<()> {
    io::stdin().read_to_end(&mut Vec::new())?;
    if dirs.is_empty() {
        bail!("no control group to remove");
    }
    remove_all(dirs)
}
