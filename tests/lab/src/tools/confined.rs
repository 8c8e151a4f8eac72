//! `tool confined`: runs a program under a filter of system calls, as a kernel without a feature
//! or a strict administrator would have it.

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use nix::libc::{self, sock_filter, sock_fprog};
use nix::sys::prctl;

/// Flags of `tool confined`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Netlink sockets of netfilter are refused with EPROTONOSUPPORT, as by a kernel without it.
    #[arg(long)]
    no_nf_tables: bool,
    /// The attempt to make another process kills the program; threads are free.
    #[arg(long)]
    no_children: bool,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<String>,
}

/// Becomes the program.
pub(super) fn run(args: &Args) -> Result<()> {
    let (program, arguments) = args.command.split_first().context("no program")?;
    prctl::set_no_new_privs()?;
    if args.no_nf_tables {
        install(&without_netfilter_sockets())?;
    }
    if args.no_children {
        install(&without_children())?;
    }
    let error = Command::new(program).args(arguments).exec();
    bail!("cannot run {program}: {error}")
}

/// Offsets in `struct seccomp_data`: the call's number, and the low halves of its arguments on
/// little-endian machines.
const NUMBER: u32 = 0;
const fn argument(index: u32) -> u32 {
    16 + 8 * index
}

const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const ANY_BIT: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;

/// `NETLINK_NETFILTER` and its neighbours are small numbers of the uapi.
const NETLINK_NETFILTER: u32 = 12;
const AF_NETLINK: u32 = 16;

/// `socket(AF_NETLINK, any, NETLINK_NETFILTER)` fails.
fn without_netfilter_sockets() -> Vec<sock_filter> {
    vec![
        step(LOAD, NUMBER, 0, 0),
        step(EQUAL, call(libc::SYS_socket), 0, 5),
        step(LOAD, argument(0), 0, 0),
        step(EQUAL, AF_NETLINK, 0, 3),
        step(LOAD, argument(2), 0, 0),
        step(EQUAL, NETLINK_NETFILTER, 0, 1),
        step(RETURN, errno(libc::EPROTONOSUPPORT), 0, 0),
        step(RETURN, ALLOW, 0, 0),
    ]
}

/// `clone` without `CLONE_THREAD` kills, as do `fork` and `vfork`; of `clone3` the kernel says that
/// it does not have it, because a filter cannot see its flags: the C library then takes `clone`.
fn without_children() -> Vec<sock_filter> {
    const THREAD: u32 = 0x0001_0000;
    let mut filter = vec![
        step(LOAD, NUMBER, 0, 0),
        step(EQUAL, call(libc::SYS_clone3), 0, 1),
        step(RETURN, errno(libc::ENOSYS), 0, 0),
        step(EQUAL, call(libc::SYS_clone), 0, 3),
        step(LOAD, argument(0), 0, 0),
        step(ANY_BIT, THREAD, 1, 0),
        step(RETURN, libc::SECCOMP_RET_KILL_PROCESS, 0, 0),
    ];
    #[cfg(target_arch = "x86_64")]
    for number in [libc::SYS_fork, libc::SYS_vfork] {
        // After a thread's clone the accumulator holds flags, which are no call's number.
        filter.push(step(EQUAL, call(number), 0, 1));
        filter.push(step(RETURN, libc::SECCOMP_RET_KILL_PROCESS, 0, 0));
    }
    filter.push(step(RETURN, ALLOW, 0, 0));
    filter
}

#[expect(clippy::cast_possible_truncation, reason = "operation codes fit 16 bits")]
const fn step(code: u32, k: u32, jt: u8, jf: u8) -> sock_filter {
    sock_filter { code: code as u16, jt, jf, k }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small numbers")]
const fn call(number: libc::c_long) -> u32 {
    number as u32
}

#[expect(clippy::cast_sign_loss, reason = "error numbers are positive")]
const fn errno(number: i32) -> u32 {
    libc::SECCOMP_RET_ERRNO | number as u32
}

fn install(filter: &[sock_filter]) -> Result<()> {
    let mut steps = filter.to_vec();
    let len = u16::try_from(steps.len())?;
    let program = sock_fprog { len, filter: steps.as_mut_ptr() };
    // SAFETY: the program's pointer and length describe `steps`, which outlives the call.
    let status = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program)
    };
    if status == 0 { Ok(()) } else { Err(io::Error::last_os_error()).context("seccomp") }
}
