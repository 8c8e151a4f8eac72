//! The hooks of a pod that has just been made.
//!
//! Attaching by TCX takes a grace period of RCU for each program, 8 to 16 ms, during which the
//! kernel's configuration lock is held: a hundred pods at once would wait for each other for
//! seconds. A `clsact` qdisc takes its filters at once. So the CNI plugin starts a pod with
//! these, the same programs in the same places, and the agent puts the lasting links in their
//! place when no pod is being made. Between the two both run, which counts a packet twice and
//! decides nothing else: the programs' verdict on what they have let pass is the same again.
//!
//! A directory beside the pins of the links says that a veth has them. The filters end with
//! the veth.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::libc;
use nix::net::if_::if_nametoindex;
use rustix::thread::{MembarrierCommand, membarrier};

use crate::error::DatapathError;
use crate::pins;
use crate::pod_hooks::{interface, make_dir};
use crate::programs::ProgramName;
use crate::tc::{Filter, Side, Tc};

/// As with links, the guard of what the pod sends comes first.
const HOOKS: [(ProgramName, Side); 2] =
    [(ProgramName::PodEgress, Side::Ingress), (ProgramName::PodIngress, Side::Egress)];

/// Making the qdisc is work of microseconds: what takes this long has waited for others.
const CONTENDED: Duration = Duration::from_millis(2);

/// Attaches both programs to the host's end of a new pod's veth, to be replaced by lasting links
/// later ([`attach_pod`](crate::attach_pod)). Says whether it could: another one's qdisc may be
/// in the place.
///
/// # Errors
/// When the agent did not run since boot, the veth is missing, or the kernel refuses.
pub fn attach_pod_provisionally(host_veth: &str) -> Result<bool, DatapathError> {
    let ifindex = interface(host_veth)?;
    let dir = make_dir(host_veth)?;
    let _lock = pins::lock(&dir)?;
    let failed = |e: io::Error| {
        DatapathError::kernel(format!("cannot attach programs to {host_veth} by clsact"), &e)
    };
    let tc = Tc::open().map_err(failed)?;
    // Before the qdisc: whoever finds the qdisc must know whose it is.
    make_mark(&dir)?;
    let asked = Instant::now();
    match tc.add_qdisc(ifindex) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            remove_mark(&dir)?;
            return Ok(false);
        }
        outcome => outcome.map_err(failed)?,
    }
    if asked.elapsed() > CONTENDED {
        pass_grace_period();
    }
    for (name, side) in HOOKS {
        let program = name.open()?;
        let fd = program.fd().map_err(|e| DatapathError::kernel("cannot use a program", &e))?;
        tc.add_filter(ifindex, side, name.as_str(), fd.as_fd()).map_err(failed)?;
    }
    Ok(true)
}

/// A new qdisc takes its first filters only after a grace period of RCU. A filter that comes
/// sooner waits for it with the kernel's configuration lock held, and everybody else behind it.
/// Waiting here, all pods that are being made wait for the same period at the same time.
fn pass_grace_period() {
    // Where the kernel does not offer it, the filter waits.
    let _ = membarrier(MembarrierCommand::Global);
}

/// Whether the lasting links of a pod are still to be attached.
#[must_use]
pub fn pod_is_provisional(host_veth: &str) -> bool {
    is_marked(&pins::pod_link_dir(host_veth))
}

/// Whether both programs run from the qdisc.
pub(crate) fn in_place(dir: &Path, ifindex: u32) -> Result<bool, DatapathError> {
    if !is_marked(dir) {
        return Ok(false);
    }
    let failed = |e: io::Error| DatapathError::kernel("cannot list the filters of a pod", &e);
    let tc = Tc::open().map_err(failed)?;
    for (_, side) in HOOKS {
        let filters = tc.filters(ifindex, side).map_err(failed)?;
        if !filters.iter().any(Filter::is_ours) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Takes the provisional hooks of a veth away, if it has them; what is gone is fine.
pub(crate) fn finish(dir: &Path, host_veth: &str) -> Result<(), DatapathError> {
    if !is_marked(dir) {
        return Ok(());
    }
    if let Ok(ifindex) = if_nametoindex(host_veth) {
        remove(ifindex).or_else(absence).map_err(|e| {
            DatapathError::kernel(format!("cannot take clsact off {host_veth}"), &e)
        })?;
    }
    remove_mark(dir)
}

/// The qdisc goes as well, unless somebody else has come to use it.
fn remove(ifindex: u32) -> io::Result<()> {
    let tc = Tc::open()?;
    let mut others = false;
    for (_, side) in HOOKS {
        if tc.filters(ifindex, side)?.iter().any(Filter::is_ours) {
            tc.delete_filter(ifindex, side)?;
        }
        others |= !tc.filters(ifindex, side)?.is_empty();
    }
    if others { Ok(()) } else { tc.delete_qdisc(ifindex) }
}

/// The veth or the qdisc went away meanwhile.
fn absence(error: io::Error) -> io::Result<()> {
    match error.raw_os_error() {
        Some(libc::ENODEV | libc::ENOENT | libc::EINVAL) => Ok(()),
        _ => Err(error),
    }
}

fn mark(dir: &Path) -> PathBuf {
    dir.join("provisional")
}

fn is_marked(dir: &Path) -> bool {
    mark(dir).is_dir()
}

fn make_mark(dir: &Path) -> Result<(), DatapathError> {
    match fs::create_dir(mark(dir)) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(DatapathError::io("cannot create", mark(dir), error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn remove_mark(dir: &Path) -> Result<(), DatapathError> {
    match fs::remove_dir(mark(dir)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(DatapathError::io("cannot remove", mark(dir), error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}
