//! What a run could leave behind on the machine, listed before and after.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::libc;

use crate::cgroups;
use crate::process::checked;

/// How long the kernel may take to free what has lost its last user.
const PATIENCE: Duration = Duration::from_secs(10);

const NAMESPACES: [&str; 5] = ["net", "mnt", "pid", "uts", "ipc"];

/// Directories that the product or the lab could write to.
const DIRECTORIES: [&str; 7] = [
    "/run/flannel",
    "/run/netns",
    "/var/lib/cni",
    "/etc/cni",
    "/etc/kube-flannel",
    "/opt/cni",
    "/sys/fs/bpf",
];

/// Everything of the machine that a run could add to: namespaces, links, routes, BPF programs,
/// maps and links, pins, files, control groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory(BTreeSet<String>);

impl Inventory {
    /// Lists what is there now.
    ///
    /// # Errors
    /// When a list cannot be had.
    pub fn take() -> Result<Self> {
        let mut things = BTreeSet::new();
        namespaces(&mut things)?;
        network(&mut things)?;
        for (what, command) in BPF_OBJECTS {
            things.extend(bpf_ids(command).map(|id| format!("BPF {what} {id}")));
        }
        for directory in DIRECTORIES {
            files(Path::new(directory), &mut things);
        }
        things.extend(our_temporary_files());
        let groups = cgroups::of_runs()?;
        things.extend(groups.iter().map(|dir| format!("control group {}", dir.display())));
        Ok(Self(things))
    }

    /// How many things there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is there, which no machine ever sees.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is there now and was not then; waits up to 10 s for it to go.
    ///
    /// # Errors
    /// When a list cannot be had.
    pub fn left_since(&self) -> Result<Vec<String>> {
        let end = Instant::now() + PATIENCE;
        loop {
            let now = Self::take()?;
            let left: Vec<_> = now.0.difference(&self.0).cloned().collect();
            if left.is_empty() || Instant::now() >= end {
                return Ok(left);
            }
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn namespaces(things: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let names = NAMESPACES.iter().map(|kind| path.join("ns").join(kind));
        // Other directories have no `ns`, and processes come and go.
        let found = names.filter_map(|name| fs::read_link(name).ok());
        things.extend(found.map(|ns| format!("namespace {}", ns.display())));
    }
    Ok(())
}

fn network(things: &mut BTreeSet<String>) -> Result<()> {
    for entry in fs::read_dir("/sys/class/net")? {
        things.insert(format!("link {}", entry?.file_name().to_string_lossy()));
    }
    for family in ["-4", "-6"] {
        let routes = checked(Command::new("ip").args([family, "route", "show", "table", "all"]))?;
        things.extend(routes.lines().map(|route| format!("route {}", route.trim())));
    }
    Ok(())
}

/// `BPF_PROG_GET_NEXT_ID` and so on, from the kernel's `enum bpf_cmd`.
const BPF_OBJECTS: [(&str, libc::c_long); 3] = [("program", 11), ("map", 12), ("link", 31)];

/// The head of `union bpf_attr` for the `GET_NEXT_ID` commands.
#[repr(C)]
#[derive(Default)]
struct NextId {
    start: u32,
    next: u32,
    flags: u32,
}

/// Ids of the BPF objects of one kind; none where the kernel refuses to list them.
fn bpf_ids(command: libc::c_long) -> impl Iterator<Item = u32> {
    std::iter::successors(Some(0), move |start| {
        let mut attr = NextId { start: *start, ..NextId::default() };
        // SAFETY: the pointer and the size describe `attr`, which outlives the call.
        let status =
            unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut attr, size_of::<NextId>()) };
        (status == 0).then_some(attr.next)
    })
    .skip(1)
}

/// The directory and everything below; what cannot be read is not there.
fn files(path: &Path, things: &mut BTreeSet<String>) {
    if path.symlink_metadata().is_err() {
        return;
    }
    things.insert(format!("file {}", path.display()));
    let entries = fs::read_dir(path).into_iter().flatten().filter_map(io::Result::ok);
    for entry in entries {
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_dir {
            files(&entry.path(), things);
        } else {
            things.insert(format!("file {}", entry.path().display()));
        }
    }
}

/// Other programs use /tmp as well: only what bears our name counts.
fn our_temporary_files() -> Vec<String> {
    let entries = fs::read_dir("/tmp").into_iter().flatten().filter_map(io::Result::ok);
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names
        .filter(|name| name.starts_with("tartan"))
        .map(|name| format!("file /tmp/{name}"))
        .collect()
}
