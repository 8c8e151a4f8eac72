//! Tartan's kernel programs.
//!
//! One file per hook. Each fetches what [`tartan_common::hook`] asks for and
//! applies its answer; no decision is taken here. On any other target than
//! BPF this is an empty program, so that the workspace builds as a whole.

#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(
    target_arch = "bpf",
    expect(
        clippy::inline_always,
        reason = "a program is one function: a call costs a frame, and the verifier follows values \
                  only within one"
    ),
    expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "helpers take and return the kernel's integers; the values are small constants"
    )
)]

#[cfg(target_arch = "bpf")]
mod actions;
#[cfg(target_arch = "bpf")]
mod actions6;
#[cfg(target_arch = "bpf")]
mod features;
#[cfg(target_arch = "bpf")]
mod ipv6;
#[cfg(target_arch = "bpf")]
mod log;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod overlay_egress;
#[cfg(target_arch = "bpf")]
mod overlay_ingress;
#[cfg(target_arch = "bpf")]
mod packet;
#[cfg(target_arch = "bpf")]
mod pod_egress;
#[cfg(target_arch = "bpf")]
mod pod_ingress;
#[cfg(target_arch = "bpf")]
mod uplink_egress;
#[cfg(target_arch = "bpf")]
mod uplink_ingress;
#[cfg(target_arch = "bpf")]
mod uplink_xdp;
#[cfg(target_arch = "bpf")]
mod window;

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: tartan-common has no reachable panic: every window it reads was bounds-checked,
    // and the verifier refuses any access that was not.
    unsafe { core::hint::unreachable_unchecked() }
}

/// What the kernel wants to see before it lends GPL-only helpers; the source
/// is under Apache-2.0 or GPL-2.0, whichever the reader prefers.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
