//! Lasting hooks by `clsact`, where the kernel has no TCX: a filter on a qdisc.
//!
//! A filter is found again by its place and its name, not by an id, and replaced in one step. It
//! does not hold itself as a pinned link does: whoever deletes the qdisc takes it away, and the
//! agent puts it back. A directory per interface among the pins says that filters of ours are
//! there, and one inside it that the qdisc is ours as well: it goes with the last filter, unless
//! somebody else has come to use it.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aya::programs::SchedClassifier;
use nix::libc;
use rustix::thread::{MembarrierCommand, membarrier};

use crate::error::DatapathError;
use crate::interface::interface_name;
use crate::pins;
use crate::programs::ProgramName;
use crate::tc::{Filter, Side, Tc};

/// Making the qdisc is work of microseconds: what takes this long has waited for others.
const CONTENDED: Duration = Duration::from_millis(2);

/// The program that our filter runs on a side, if we have one there.
pub(crate) fn running(
    ifindex: u32,
    side: Side,
    name: ProgramName,
) -> Result<Option<u32>, DatapathError> {
    if !dir(ifindex).is_dir() {
        return Ok(None);
    }
    let filters = Tc::open().and_then(|tc| tc.filters(ifindex, side)).or_else(absence);
    let filters = filters.map_err(|e| failed("list the filters of", ifindex, &e))?;
    Ok(filters.iter().find(|filter| filter.runs(name.as_str())).and_then(|it| it.program))
}

/// Runs a program on a side, in place of the one that ran there for us.
pub(crate) fn put(
    ifindex: u32,
    side: Side,
    name: ProgramName,
    program: &SchedClassifier,
) -> Result<(), DatapathError> {
    let fd = program.fd().map_err(|e| DatapathError::kernel("cannot use a program", &e))?;
    let tc = Tc::open().map_err(|e| failed("attach programs to", ifindex, &e))?;
    make_dir(&dir(ifindex))?;
    ensure_qdisc(&tc, ifindex, side)?;
    tc.put_filter(ifindex, side, name.as_str(), fd.as_fd()).map_err(|error| {
        // What is there is of another kind or for other protocols.
        if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EEXIST)) {
            refused(ifindex, "another one's filter is in the first place", "a higher `pref`")
        } else {
            failed("attach programs to", ifindex, &error)
        }
    })
}

/// Takes our filter off a side, and with the last one the qdisc if it is ours.
/// What is gone is fine.
pub(crate) fn take_off(ifindex: u32, side: Side) -> Result<(), DatapathError> {
    if !dir(ifindex).is_dir() {
        return Ok(());
    }
    let outcome = Tc::open().and_then(|tc| {
        delete_ours(&tc, ifindex, side)?;
        tidy(&tc, ifindex)
    });
    match outcome.or_else(absence) {
        Ok(Rest::Ours) => Ok(()),
        Ok(Rest::Nothing) => remove_marks(ifindex),
        Err(error) => Err(failed("take programs off", ifindex, &error)),
    }
}

/// Takes everything of ours off an interface.
pub(crate) fn clear(ifindex: u32) -> Result<(), DatapathError> {
    take_off(ifindex, Side::Ingress)?;
    take_off(ifindex, Side::Egress)
}

/// The interfaces that have, or had, filters of ours.
pub(crate) fn interfaces() -> Result<Vec<u32>, DatapathError> {
    let root = pins::clsact();
    match fs::read_dir(&root) {
        Ok(entries) => Ok(entries
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
            .collect()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(DatapathError::io("cannot list", root, error)),
    }
}

/// Forgets interfaces that are gone, with their qdiscs and filters.
pub(crate) fn sweep() -> Result<(), DatapathError> {
    let gone = |ifindex: &u32| interface_name(*ifindex).is_none();
    interfaces()?.into_iter().filter(gone).try_for_each(remove_marks)
}

/// Takes a qdisc that was made for a new pod as one that lasts.
pub(crate) fn adopt(ifindex: u32) -> Result<(), DatapathError> {
    make_dir(&dir(ifindex))?;
    make_dir(&qdisc_mark(ifindex))
}

/// Makes a qdisc; fails with `EEXIST` where there is one.
///
/// A new qdisc takes its first filters only after a grace period of RCU. A filter that comes
/// sooner waits for it with the kernel's configuration lock held, and everybody else behind it.
/// Waiting here, all pods that are being made wait for the same period at the same time.
pub(crate) fn make_qdisc(tc: &Tc, ifindex: u32) -> io::Result<()> {
    let asked = Instant::now();
    tc.add_qdisc(ifindex)?;
    if asked.elapsed() > CONTENDED {
        // Where the kernel does not offer it, the filter waits.
        let _ = membarrier(MembarrierCommand::Global);
    }
    Ok(())
}

fn ensure_qdisc(tc: &Tc, ifindex: u32, side: Side) -> Result<(), DatapathError> {
    let kind = tc.qdisc(ifindex).map_err(|e| failed("look at the qdisc of", ifindex, &e))?;
    match (kind.as_deref(), side) {
        (Some("clsact"), _) | (Some("ingress"), Side::Ingress) => Ok(()),
        (Some(other), _) => Err(refused(
            ifindex,
            &format!("its {other} qdisc has no side for what is sent"),
            "a clsact qdisc, which takes the same filters",
        )),
        (None, _) => make_ours(tc, ifindex),
    }
}

/// The mark comes first: whoever finds the qdisc must know whose it is.
fn make_ours(tc: &Tc, ifindex: u32) -> Result<(), DatapathError> {
    make_dir(&qdisc_mark(ifindex))?;
    match make_qdisc(tc, ifindex) {
        Ok(()) => Ok(()),
        // Somebody was faster.
        Err(error) if error.kind() == ErrorKind::AlreadyExists => remove_dir(&qdisc_mark(ifindex)),
        Err(error) => Err(failed("add a clsact qdisc to", ifindex, &error)),
    }
}

/// What is left of ours on an interface.
#[derive(Default)]
enum Rest {
    Ours,
    #[default]
    Nothing,
}

fn delete_ours(tc: &Tc, ifindex: u32, side: Side) -> io::Result<()> {
    if tc.filters(ifindex, side)?.iter().any(Filter::is_ours) {
        tc.delete_filter(ifindex, side)?;
    }
    Ok(())
}

fn tidy(tc: &Tc, ifindex: u32) -> io::Result<Rest> {
    let filters =
        [tc.filters(ifindex, Side::Ingress)?, tc.filters(ifindex, Side::Egress)?].concat();
    if filters.iter().any(Filter::is_ours) {
        return Ok(Rest::Ours);
    }
    if filters.is_empty() && qdisc_mark(ifindex).is_dir() {
        tc.delete_qdisc(ifindex)?;
    }
    Ok(Rest::Nothing)
}

/// The interface or the qdisc went away: nothing is there.
fn absence<T: Default>(error: io::Error) -> io::Result<T> {
    if is_absence(&error) { Ok(T::default()) } else { Err(error) }
}

/// Whether an error says that the interface or the qdisc is not there.
pub(crate) fn is_absence(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENODEV | libc::ENOENT | libc::EINVAL))
}

fn dir(ifindex: u32) -> PathBuf {
    pins::clsact().join(ifindex.to_string())
}

fn qdisc_mark(ifindex: u32) -> PathBuf {
    dir(ifindex).join("qdisc")
}

fn make_dir(dir: &Path) -> Result<(), DatapathError> {
    fs::create_dir_all(dir).map_err(|e| DatapathError::io("cannot create", dir, e))
}

fn remove_marks(ifindex: u32) -> Result<(), DatapathError> {
    remove_dir(&qdisc_mark(ifindex))?;
    remove_dir(&dir(ifindex))
}

fn remove_dir(dir: &Path) -> Result<(), DatapathError> {
    match fs::remove_dir(dir) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(DatapathError::io("cannot remove", dir, error))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

fn name_of(ifindex: u32) -> String {
    interface_name(ifindex).unwrap_or_else(|| format!("the interface with index {ifindex}"))
}

fn failed(what: &str, ifindex: u32, error: &io::Error) -> DatapathError {
    DatapathError::kernel(format!("cannot {what} {} by clsact", name_of(ifindex)), error)
}

fn refused(ifindex: u32, why: &str, instead: &str) -> DatapathError {
    let name = name_of(ifindex);
    DatapathError::Kernel {
        what: format!("cannot attach programs to {name} by clsact"),
        cause: format!("{why} (`tc qdisc show dev {name}`): give its owner {instead}"),
    }
}
