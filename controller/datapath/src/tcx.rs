//! Which programs run at a TCX hook, whoever attached them (`bpf(2)`).

use std::io;

use nix::libc;

use crate::sys::{Attr, Command, bpf};
use crate::tc::Side;

/// `BPF_TCX_INGRESS` and `BPF_TCX_EGRESS`.
const fn attach_type(side: Side) -> u32 {
    match side {
        Side::Ingress => 46,
        Side::Egress => 47,
    }
}

/// The most programs that the kernel takes at one hook (`BPF_MPROG_MAX`).
const MOST_PROGRAMS: usize = 64;

/// The fields of `union bpf_attr` for `BPF_PROG_QUERY`, to the last that the kernel writes: it
/// writes all of them, whatever length it was told.
#[repr(C)]
#[derive(Default)]
struct Query {
    ifindex: u32,
    attach_type: u32,
    flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    unused: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

// SAFETY: `repr(C)`, words and pointers on their natural places; `query` fills in a buffer as long
// as `prog_cnt` says, and the other pointers are null.
unsafe impl Attr for Query {}

/// The programs at a hook, in the order of their running.
///
/// # Errors
/// `EINVAL` where the kernel has no TCX, `ENODEV` where there is no such interface.
pub(crate) fn query(ifindex: u32, side: Side) -> io::Result<Vec<u32>> {
    let mut ids = [0_u32; MOST_PROGRAMS];
    let mut query = Query {
        ifindex,
        attach_type: attach_type(side),
        prog_ids: ids.as_mut_ptr() as u64,
        prog_cnt: u32::try_from(ids.len()).map_err(io::Error::other)?,
        ..Query::default()
    };
    bpf(Command::ProgQuery, &mut query)?;
    let count = usize::try_from(query.prog_cnt).map_err(io::Error::other)?;
    Ok(ids.get(..count).unwrap_or(&ids).to_vec())
}

/// As [`query`]; nothing runs where there is no TCX, or no such interface.
pub(crate) fn running(ifindex: u32, side: Side) -> io::Result<Vec<u32>> {
    query(ifindex, side).or_else(|error| match error.raw_os_error() {
        Some(libc::ENOENT | libc::EINVAL | libc::ENODEV) => Ok(Vec::new()),
        _ => Err(error),
    })
}
