//! A program in front of the others, which gives a packet what no test run can bring along, and
//! then hands it on by a tail call.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use nix::libc;
use tartan_golden::Key;
use tartan_golden::headers::Program;

use crate::support::{Kernel, program};

/// Commands of `enum bpf_cmd` in `include/uapi/linux/bpf.h`.
const MAP_CREATE: u32 = 0;
const MAP_UPDATE: u32 = 2;
const PROG_LOAD: u32 = 5;
const PROG_TEST_RUN: u32 = 10;
/// `BPF_MAP_TYPE_PROG_ARRAY`, `BPF_PROG_TYPE_SCHED_CLS`.
const PROG_ARRAY: u32 = 3;
const SCHED_CLS: u32 = 3;

/// Places in `struct __sk_buff`.
const TC_INDEX: i16 = 44;
const CB: i16 = 48;
const GSO_SIZE_AT: usize = 176;
const SKB_LEN: usize = 192;

/// What the stage finds in the first word of `cb`, beside the number of the program in its lowest
/// byte.
const VLAN: u32 = 0x100;
const KEY: u32 = 0x200;
const KEY6: u32 = 0x400;
/// What it answers when the tail call fails.
const NOBODY: i32 = 99;

/// The program in front.
pub(crate) struct Stage {
    program: OwnedFd,
    _targets: OwnedFd,
}

/// What the kernel cannot be told by bytes alone.
#[derive(Clone, Copy)]
pub(crate) struct Props {
    /// Bytes per piece of a GSO packet.
    pub(crate) gso_size: u32,
    /// The tag.
    pub(crate) tag: u16,
    /// Whether a VLAN tag rides beside the frame.
    pub(crate) in_vlan: bool,
    /// The tunnel key.
    pub(crate) key: Option<Key>,
}

impl Stage {
    /// In front of the programs of `kernel`.
    pub(crate) fn load(kernel: &mut Kernel) -> Self {
        let size = u32::try_from(Program::ALL.len()).unwrap();
        let mut attr = [PROG_ARRAY, 4, 4, size, 0];
        let targets = bpf_fd(MAP_CREATE, &mut attr).unwrap();
        for (number, target) in Program::ALL.into_iter().enumerate() {
            let fd = program(&mut kernel.ebpf, target.name()).fd().unwrap();
            put(&targets, u32::try_from(number).unwrap(), fd.as_fd()).unwrap();
        }
        let program = load(&code(number(targets.as_fd()))).unwrap();
        Self { program, _targets: targets }
    }

    /// Runs a frame; returns what the program returned and leaves the frame in `out`.
    pub(crate) fn run(
        &self,
        target: Program,
        frame: &[u8],
        props: &Props,
        out: &mut Vec<u8>,
    ) -> i32 {
        out.resize(frame.len() + 256, 0);
        let context = context(target, props);
        let mut attr = TestRun {
            prog_fd: number(self.program.as_fd()),
            data_size_in: u32::try_from(frame.len()).unwrap(),
            data_size_out: u32::try_from(out.len()).unwrap(),
            data_in: frame.as_ptr() as u64,
            data_out: out.as_mut_ptr() as u64,
            repeat: 1,
            ctx_size_in: u32::try_from(SKB_LEN).unwrap(),
            ctx_in: context.as_ptr() as u64,
            ..TestRun::default()
        };
        let ran = bpf(PROG_TEST_RUN, &mut attr);
        assert!(ran.is_ok(), "{ran:?}: {target:?} {frame:02x?}");
        out.truncate(usize::try_from(attr.data_size_out).unwrap());
        let code = attr.retval.cast_signed();
        assert_ne!(code, NOBODY, "no tail call to {target:?}");
        code
    }
}

fn context(target: Program, props: &Props) -> [u8; SKB_LEN] {
    let mut flags = target as u32 | if props.in_vlan { VLAN } else { 0 };
    let mut key = [0; 3];
    match props.key {
        None => {}
        Some(Key::V4(it)) => {
            flags |= KEY;
            let [sender, receiver] =
                [it.sender, it.receiver].map(|a| u32::from_be_bytes(a.octets()));
            key = [it.vni, sender, receiver];
        }
        Some(Key::V6(it)) => {
            flags |= KEY | KEY6;
            let [[.., sender], [.., receiver]] = [it.sender.words(), it.receiver.words()];
            key = [it.vni, sender, receiver];
        }
    }
    let mut context = [0_u8; SKB_LEN];
    let words = [flags, u32::from(props.tag), key[0], key[1], key[2]];
    let cb = usize::try_from(CB).unwrap();
    for (target, word) in context[cb..].chunks_exact_mut(4).zip(words) {
        target.copy_from_slice(&word.to_ne_bytes());
    }
    context[GSO_SIZE_AT..GSO_SIZE_AT + 4].copy_from_slice(&props.gso_size.to_ne_bytes());
    context
}

/// One instruction (`struct bpf_insn`).
type Insn = [u8; 8];

const fn insn(code: u8, to: u8, from: u8, offset: i16, value: i32) -> Insn {
    let (offset, value) = (offset.to_le_bytes(), value.to_le_bytes());
    [code, from << 4 | to, offset[0], offset[1], value[0], value[1], value[2], value[3]]
}

/// `to = value`, `to = from`, `to += value`, `to &= value`.
const fn set(to: u8, value: i32) -> Insn {
    insn(0xb7, to, 0, 0, value)
}
const fn copy(to: u8, from: u8) -> Insn {
    insn(0xbf, to, from, 0, 0)
}
const fn and(to: u8, value: u32) -> Insn {
    insn(0x57, to, 0, 0, value.cast_signed())
}
/// `to = *(u32 *)(from + offset)`, `*(u32 *)(to + offset) = from`, the same with a number.
const fn load_word(to: u8, from: u8, offset: i16) -> Insn {
    insn(0x61, to, from, offset, 0)
}
const fn store_word(to: u8, offset: i16, from: u8) -> Insn {
    insn(0x63, to, from, offset, 0)
}
const fn store(offset: i16, value: u32) -> Insn {
    insn(0x62, FRAME, 0, offset, value.cast_signed())
}
/// Skips `count` instructions where `register` is zero.
const fn skip_if_zero(register: u8, count: usize) -> Insn {
    #[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "few")]
    insn(0x15, register, 0, count as i16, 0)
}
const fn call(helper: i32) -> Insn {
    insn(0x85, 0, 0, 0, helper)
}

/// Registers: the packet, the flags, the frame.
const PACKET: u8 = 6;
const FLAGS: u8 = 7;
const FRAME: u8 = 10;
/// Where the tunnel key is built (`struct bpf_tunnel_key`, 44 bytes, on 48).
const AT: i16 = -48;
const REMOTE: i16 = AT + 4;
const LOCAL: i16 = AT + 28;

fn code(targets: u32) -> Vec<Insn> {
    let vlan = [copy(1, PACKET), set(2, 0x81), set(3, 5), call(18)];
    let key = tunnel_key();
    let mut code = vec![
        copy(PACKET, 1),
        load_word(FLAGS, PACKET, CB),
        load_word(2, PACKET, CB + 4),
        store_word(PACKET, TC_INDEX, 2),
        copy(2, FLAGS),
        and(2, VLAN),
        skip_if_zero(2, vlan.len()),
    ];
    code.extend(vlan);
    code.extend([copy(2, FLAGS), and(2, KEY), skip_if_zero(2, key.len())]);
    code.extend(key);
    code.extend([
        copy(1, PACKET),
        // Two instructions: the descriptor of a map.
        insn(0x18, 2, 1, 0, targets.cast_signed()),
        insn(0, 0, 0, 0, 0),
        copy(3, FLAGS),
        and(3, 0xff),
        call(12),
        set(0, NOBODY),
        insn(0x95, 0, 0, 0, 0),
    ]);
    code
}

/// Writes the key as if the packet were to leave; whoever reads it as that of a packet that
/// arrived finds the ends exchanged.
fn tunnel_key() -> Vec<Insn> {
    let mut code: Vec<_> = (0..12).map(|word| store(AT + word * 4, 0)).collect();
    code.extend([load_word(2, PACKET, CB + 8), store_word(FRAME, AT, 2)]);
    code.extend([load_word(2, PACKET, CB + 12), load_word(3, PACKET, CB + 16)]);
    // The nodes of the fixture differ in the last word only.
    let [a, b, c, _] = tartan_golden::fixture6::NODE.words();
    let mut six = Vec::new();
    for address in [LOCAL, REMOTE] {
        let words = [a, b, c].into_iter().zip([0, 4, 8]);
        six.extend(words.map(|(word, at)| store(address + at, word)));
    }
    six.extend([store_word(FRAME, LOCAL + 12, 2), store_word(FRAME, REMOTE + 12, 3), set(4, 1)]);
    let four = [store_word(FRAME, LOCAL, 2), store_word(FRAME, REMOTE, 3), set(4, 0)];
    code.extend(four);
    code.extend([copy(5, FLAGS), and(5, KEY6), skip_if_zero(5, six.len())]);
    code.extend(six);
    let key =
        [copy(1, PACKET), copy(2, FRAME), insn(0x07, 2, 0, 0, AT.into()), set(3, 44), call(21)];
    code.extend(key);
    code
}

fn load(code: &[Insn]) -> io::Result<OwnedFd> {
    let mut attr = Load {
        kind: SCHED_CLS,
        insn_cnt: u32::try_from(code.len()).map_err(io::Error::other)?,
        insns: code.as_ptr() as u64,
        license: c"Dual MIT/GPL".as_ptr() as u64,
    };
    bpf_fd(PROG_LOAD, &mut attr)
}

fn put(map: &OwnedFd, key: u32, program: BorrowedFd<'_>) -> io::Result<()> {
    let value = number(program);
    let mut attr = Element {
        map_fd: number(map.as_fd()),
        unused: 0,
        key: (&raw const key) as u64,
        value: (&raw const value) as u64,
        flags: 0,
    };
    bpf(MAP_UPDATE, &mut attr).map(drop)
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().unsigned_abs()
}

/// The fields of `union bpf_attr` for each command, as far as they are needed.
#[repr(C)]
struct Load {
    kind: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
}

#[repr(C)]
struct Element {
    map_fd: u32,
    unused: u32,
    key: u64,
    value: u64,
    flags: u64,
}

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
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
}

/// A prefix of `union bpf_attr`: `repr(C)` without padding, its pointers to memory that lives and
/// is as long as the fields beside them say.
trait Attr {}
impl Attr for Load {}
impl Attr for Element {}
impl Attr for TestRun {}
impl Attr for [u32; 5] {}

fn bpf<T: Attr>(command: u32, attr: &mut T) -> io::Result<i32> {
    // SAFETY: `attr` is what `Attr` promises, and lives through the call.
    let result =
        unsafe { libc::syscall(libc::SYS_bpf, libc::c_long::from(command), attr, size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(result).map_err(io::Error::other)
}

fn bpf_fd<T: Attr>(command: u32, attr: &mut T) -> io::Result<OwnedFd> {
    let fd = bpf(command, attr)?;
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
