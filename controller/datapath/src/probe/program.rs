//! Programs of a few instructions, written down as the kernel reads them.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use crate::sys::{Attr, Command, bpf, bpf_fd, number};

/// One instruction (`struct bpf_insn`).
type Insn = [u8; 8];

/// Registers: the arguments of a call, and the frame.
const R1: u8 = 1;
const R2: u8 = 2;
const R3: u8 = 3;
const R4: u8 = 4;
const FRAME: u8 = 10;

const fn insn(code: u8, registers: u8, offset: i16, value: i32) -> Insn {
    let (offset, value) = (offset.to_le_bytes(), value.to_le_bytes());
    [code, registers, offset[0], offset[1], value[0], value[1], value[2], value[3]]
}

/// `register = value`
const fn set(register: u8, value: i32) -> Insn {
    insn(0xb7, register, 0, value)
}

/// `register = other`
const fn copy(register: u8, other: u8) -> Insn {
    insn(0xbf, other << 4 | register, 0, 0)
}

/// `register += value`
const fn add(register: u8, value: i32) -> Insn {
    insn(0x07, register, 0, value)
}

/// Eight zero bytes at an offset from the frame.
const fn clear(offset: i16) -> Insn {
    insn(0x7a, FRAME, offset, 0)
}

const fn call(helper: i32) -> Insn {
    insn(0x85, 0, 0, helper)
}

const EXIT: Insn = insn(0x95, 0, 0, 0);
const SUCCEED: [Insn; 2] = [set(0, 0), EXIT];

/// A helper function that the programs call, by its number in `linux/bpf.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Helper {
    KtimeGetNs = 5,
    GetTunnelKey = 20,
    SetTunnelKey = 21,
    Redirect = 23,
    SkbLoadBytes = 26,
    SkbPullData = 39,
    CsumLevel = 135,
    RedirectNeigh = 152,
    RedirectPeer = 155,
    KtimeGetCoarseNs = 160,
}

impl Helper {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::KtimeGetNs => "bpf_ktime_get_ns",
            Self::GetTunnelKey => "bpf_skb_get_tunnel_key",
            Self::SetTunnelKey => "bpf_skb_set_tunnel_key",
            Self::Redirect => "bpf_redirect",
            Self::SkbLoadBytes => "bpf_skb_load_bytes",
            Self::SkbPullData => "bpf_skb_pull_data",
            Self::CsumLevel => "bpf_csum_level",
            Self::RedirectNeigh => "bpf_redirect_neigh",
            Self::RedirectPeer => "bpf_redirect_peer",
            Self::KtimeGetCoarseNs => "bpf_ktime_get_coarse_ns",
        }
    }

    /// A program that calls it with arguments that the verifier takes; R1 holds the packet.
    pub(super) fn call(self) -> Vec<Insn> {
        let mut program = match self {
            Self::KtimeGetNs | Self::KtimeGetCoarseNs => Vec::new(),
            Self::GetTunnelKey | Self::SetTunnelKey => buffer(KEY, R2, &[set(R3, KEY), set(R4, 0)]),
            Self::SkbLoadBytes => [vec![set(R2, 0)], buffer(8, R3, &[set(R4, 8)])].concat(),
            Self::Redirect | Self::RedirectPeer => vec![set(R1, 1), set(R2, 0)],
            Self::SkbPullData | Self::CsumLevel => vec![set(R2, 0)],
            Self::RedirectNeigh => vec![set(R1, 1), set(R2, 0), set(R3, 0), set(R4, 0)],
        };
        program.push(call(self as i32));
        program.extend(SUCCEED);
        program
    }
}

/// Length of `struct bpf_tunnel_key` in its oldest and shortest form that has an IPv4 address.
const KEY: i32 = 8;

/// Points a register at zeroed bytes of the frame, then does the rest.
fn buffer(bytes: i32, register: u8, rest: &[Insn]) -> Vec<Insn> {
    [&[clear(-8), copy(register, FRAME), add(register, -bytes)], rest].concat()
}

/// A program that answers with what `bpf_skb_adjust_room` returned, its sign turned.
#[expect(clippy::cast_possible_truncation, reason = "the halves of a word, one after the other")]
pub(super) fn adjust_room(by: i32, flags: u64) -> Vec<Insn> {
    // The words of it as they are, whatever sign they seem to have.
    let words = flags.cast_signed();
    let (low, high) = (words as i32, (words >> 32) as i32);
    vec![
        set(R2, by),
        // At the level of the MAC header.
        set(R3, 1),
        // Sixteen bytes: the second half holds the upper word.
        insn(0x18, R4, 0, low),
        insn(0, 0, 0, high),
        call(50),
        // R0 = -R0
        insn(0x87, 0, 0, 0),
        EXIT,
    ]
}

/// The fields of `union bpf_attr` for `BPF_PROG_LOAD`, up to the name.
#[repr(C)]
struct Load {
    kind: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    flags: u32,
    name: [u8; 16],
}

// SAFETY: `repr(C)` without padding. `load` fills in its pointers: to the instructions, as many
// as `insn_cnt` says, and to a text that ends with a zero byte.
unsafe impl Attr for Load {}

/// `BPF_PROG_TYPE_SCHED_CLS`.
const SCHED_CLS: u32 = 3;
const LICENSE: &std::ffi::CStr = c"Dual MIT/GPL";

pub(super) fn load(program: &[Insn]) -> io::Result<OwnedFd> {
    let mut attr = Load {
        kind: SCHED_CLS,
        insn_cnt: u32::try_from(program.len()).map_err(io::Error::other)?,
        insns: program.as_ptr() as u64,
        license: LICENSE.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        flags: 0,
        name: *b"tartan_probe\0\0\0\0",
    };
    bpf_fd(Command::ProgLoad, &mut attr)
}

/// What a program returned.
pub(super) struct Answer(pub(super) u32);

/// The fields of `union bpf_attr` for `BPF_PROG_TEST_RUN`.
#[repr(C)]
#[derive(Default)]
struct TestRun {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
}

// SAFETY: `repr(C)` without padding. `run` fills in `data_in`, as long as `data_size_in` says;
// `data_out` is null.
unsafe impl Attr for TestRun {}

/// Runs a program once on a packet that never leaves.
pub(super) fn run(program: &OwnedFd, packet: &[u8]) -> io::Result<Answer> {
    let mut attr = TestRun {
        prog_fd: number(program.as_fd())?,
        data_size_in: u32::try_from(packet.len()).map_err(io::Error::other)?,
        data_in: packet.as_ptr() as u64,
        repeat: 1,
        ..TestRun::default()
    };
    bpf(Command::ProgTestRun, &mut attr)?;
    Ok(Answer(attr.retval))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_encoded_as_the_kernel_reads_them() {
        assert_eq!(set(R2, -50), [0xb7, 2, 0, 0, 0xce, 0xff, 0xff, 0xff]);
        assert_eq!(copy(R3, FRAME), [0xbf, 0xa3, 0, 0, 0, 0, 0, 0]);
        assert_eq!(clear(-8), [0x7a, 10, 0xf8, 0xff, 0, 0, 0, 0]);
        let program = adjust_room(50, 14 << 56 | 0x6b);
        assert_eq!(program[2], [0x18, 4, 0, 0, 0x6b, 0, 0, 0]);
        assert_eq!(program[3], [0, 0, 0, 0, 0, 0, 0, 14]);
    }

    #[test]
    fn every_program_ends() {
        for helper in [Helper::KtimeGetNs, Helper::SkbLoadBytes, Helper::SetTunnelKey] {
            assert_eq!(helper.call().last(), Some(&EXIT));
        }
    }
}
