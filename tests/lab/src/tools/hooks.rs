//! `tool hooks`: the BPF programs at an interface's TCX hooks, asked of the kernel itself (older
//! bpftools do not know TCX), and those of its `clsact` qdisc.

use std::ffi::CStr;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::process::Command;
use std::ptr;

use anyhow::{Context as _, Result};
use nix::libc;
use serde::{Deserialize, Serialize};

use super::setup::ready;
use crate::process::checked;

// From the kernel's `enum bpf_cmd` and `enum bpf_attach_type`.
const PROG_GET_FD_BY_ID: libc::c_long = 13;
const OBJ_GET_INFO_BY_FD: libc::c_long = 15;
const PROG_QUERY: libc::c_long = 16;
const TCX_INGRESS: u32 = 46;
const TCX_EGRESS: u32 = 47;

const MOST: usize = 64;
/// Where `struct bpf_prog_info` has the name, and how long it is.
const NAME: std::ops::Range<usize> = 64..80;

/// Flags of `tool hooks`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(long, default_value = "eth0")]
    iface: String,
}

/// A program at a hook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HookedProgram {
    /// `ingress` or `egress`.
    pub hook: String,
    /// The kernel's id; a program that was loaded again has another one.
    pub id: u32,
    /// Its name, cut to 15 bytes.
    pub name: String,
}

/// The part of `union bpf_attr` for `BPF_PROG_QUERY`.
#[repr(C)]
#[derive(Default)]
struct Query {
    ifindex: u32,
    attach_type: u32,
    flags: u32,
    attach_flags: u32,
    ids: u64,
    count: u32,
    padding: u32,
    more: [u64; 4],
}

#[repr(C)]
#[derive(Default)]
struct ById {
    id: u32,
    next: u32,
    flags: u32,
}

#[repr(C)]
struct Info {
    fd: u32,
    length: u32,
    buffer: u64,
}

pub(super) fn run(args: &Args) -> Result<Vec<HookedProgram>> {
    let ifindex = ifindex(&args.iface).with_context(|| format!("no interface {}", args.iface))?;
    ready()?;
    let mut programs = Vec::new();
    for (hook, attach_type) in [("ingress", TCX_INGRESS), ("egress", TCX_EGRESS)] {
        for id in query(ifindex, attach_type)? {
            programs.push(HookedProgram { hook: hook.to_owned(), id, name: name(id)? });
        }
        programs.extend(filters(&args.iface, hook)?);
    }
    Ok(programs)
}

/// Programs of one side of a `clsact` qdisc; none where there is no such qdisc.
fn filters(iface: &str, hook: &str) -> Result<Vec<HookedProgram>> {
    let mut command = Command::new("tc");
    let listed = checked(command.args(["-j", "filter", "show", "dev", iface, hook]))?;
    let listed: Vec<serde_json::Value> =
        if listed.trim().is_empty() { Vec::new() } else { serde_json::from_str(&listed)? };
    let program = |filter: &serde_json::Value| {
        let program = &filter["options"]["prog"];
        let id = u32::try_from(program["id"].as_u64()?).ok()?;
        let name = program["name"].as_str()?.to_owned();
        Some(HookedProgram { hook: hook.to_owned(), id, name })
    };
    Ok(listed.iter().filter_map(program).collect())
}

fn ifindex(iface: &str) -> Result<u32> {
    let text = fs::read_to_string(format!("/sys/class/net/{iface}/ifindex"))?;
    Ok(text.trim().parse()?)
}

fn bpf<T>(command: libc::c_long, attr: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: the pointer and the size describe `attr`, which outlives the call, and every
    // pointer within it is to memory that its maker keeps alive.
    let status =
        unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_mut(attr), size_of::<T>()) };
    if status < 0 { Err(io::Error::last_os_error()) } else { Ok(status) }
}

fn query(ifindex: u32, attach_type: u32) -> Result<Vec<u32>> {
    let mut ids = vec![0_u32; MOST];
    let mut attr = Query {
        ifindex,
        attach_type,
        ids: ids.as_mut_ptr() as u64,
        count: u32::try_from(MOST)?,
        ..Query::default()
    };
    match bpf(PROG_QUERY, &mut attr) {
        // A kernel without TCX.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return Ok(Vec::new()),
        outcome => outcome.context("cannot list the programs of a TCX hook")?,
    };
    ids.truncate(usize::try_from(attr.count)?);
    Ok(ids)
}

fn name(id: u32) -> Result<String> {
    let raw = bpf(PROG_GET_FD_BY_ID, &mut ById { id, ..ById::default() })?;
    // SAFETY: the descriptor is new and nobody else's.
    let program = unsafe { OwnedFd::from_raw_fd(i32::try_from(raw)?) };
    let mut info = [0_u8; NAME.end];
    let mut attr = Info {
        fd: u32::try_from(program.as_raw_fd())?,
        length: u32::try_from(info.len())?,
        buffer: info.as_mut_ptr() as u64,
    };
    bpf(OBJ_GET_INFO_BY_FD, &mut attr).context("cannot ask for a program's name")?;
    let name = info.get(NAME).unwrap_or_default();
    let name = CStr::from_bytes_until_nul(name).context("a name without an end")?;
    Ok(name.to_string_lossy().into_owned())
}
