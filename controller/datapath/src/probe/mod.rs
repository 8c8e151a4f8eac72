//! What the kernel can do, found out by trying it: a helper by loading a program of a few
//! instructions that calls it, a flag by running one on a made-up packet, TCX by asking for the
//! programs of a hook. Nothing is attached, nothing stays, and `CAP_BPF` with `CAP_NET_ADMIN`
//! is enough.

mod floor;
mod packet;
mod program;

use std::io;

use nix::libc;
use tartan_common::features::{Feature, Features};

use self::program::{Answer, Helper};
use crate::error::DatapathError;
use crate::tc::Side;
use crate::tcx;

pub use self::floor::{Kernel, NotARelease, Release};

/// `BPF_F_ADJ_ROOM_*` of `linux/bpf.h`.
mod room {
    pub(super) const FIXED_GSO: u64 = 1;
    pub(super) const ENCAP_L3_IPV4: u64 = 1 << 1;
    pub(super) const ENCAP_L4_UDP: u64 = 1 << 3;
    pub(super) const NO_CSUM_RESET: u64 = 1 << 5;
    pub(super) const ENCAP_L2_ETH: u64 = 1 << 6;
    pub(super) const DECAP_L3_IPV6: u64 = 1 << 8;
    /// Length of the inner Ethernet header, in the top byte.
    pub(super) const ENCAP_L2: u64 = 14 << 56;
    pub(super) const ENCAP: u64 =
        FIXED_GSO | ENCAP_L3_IPV4 | ENCAP_L4_UDP | NO_CSUM_RESET | ENCAP_L2;
    pub(super) const DECAP: u64 = FIXED_GSO | NO_CSUM_RESET;
}

/// Outer Ethernet, IPv4, UDP and VXLAN headers.
const OVERHEAD: i32 = 50;

/// Something without which there is no data path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Need {
    Helper(Helper),
    /// `bpf_skb_adjust_room` makes room for outer headers.
    EncapRoom,
    /// `bpf_skb_adjust_room` takes them off.
    DecapRoom,
}

impl Need {
    /// All of them.
    const ALL: [Self; 9] = [
        Self::Helper(Helper::Redirect),
        Self::Helper(Helper::SkbPullData),
        Self::Helper(Helper::SkbLoadBytes),
        Self::Helper(Helper::GetTunnelKey),
        Self::Helper(Helper::SetTunnelKey),
        Self::Helper(Helper::CsumLevel),
        Self::Helper(Helper::KtimeGetNs),
        Self::EncapRoom,
        Self::DecapRoom,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Helper(helper) => helper.name(),
            Self::EncapRoom => "bpf_skb_adjust_room (ENCAP_L3_IPV4, ENCAP_L4_UDP, NO_CSUM_RESET)",
            Self::DecapRoom => "bpf_skb_adjust_room (FIXED_GSO)",
        }
    }

    fn is_there(self) -> Result<bool, DatapathError> {
        match self {
            Self::Helper(helper) => helper_works(helper),
            Self::EncapRoom => room_works(OVERHEAD, room::ENCAP),
            Self::DecapRoom => room_works(-OVERHEAD, room::DECAP),
        }
    }
}

/// Whether the kernel has the feature.
pub(crate) fn has(feature: Feature) -> Result<bool, DatapathError> {
    match feature {
        Feature::Tcx => tcx_works(),
        Feature::DecapL3 => room_works(-OVERHEAD, room::DECAP | room::DECAP_L3_IPV6),
        Feature::EncapL2Eth => room_works(OVERHEAD, room::ENCAP | room::ENCAP_L2_ETH),
        Feature::CoarseClock => helper_works(Helper::KtimeGetCoarseNs),
        Feature::RedirectNeigh => helper_works(Helper::RedirectNeigh),
        Feature::RedirectPeer => helper_works(Helper::RedirectPeer),
    }
}

/// Every feature of the kernel.
///
/// # Errors
/// When the kernel does not let us try.
pub(crate) fn features() -> Result<Features, DatapathError> {
    Feature::ALL.into_iter().try_fold(Features::NONE, |found, feature| {
        Ok(if has(feature)? { found.with(feature) } else { found })
    })
}

/// What is missing of what is indispensable.
pub(crate) fn lacking() -> Result<Vec<&'static str>, DatapathError> {
    let mut lacking = Vec::new();
    for need in Need::ALL {
        if !need.is_there()? {
            lacking.push(need.name());
        }
    }
    Ok(lacking)
}

fn helper_works(helper: Helper) -> Result<bool, DatapathError> {
    match program::load(&helper.call()) {
        Ok(_) => Ok(true),
        Err(error) => refused(&error, helper.name()),
    }
}

fn room_works(by: i32, flags: u64) -> Result<bool, DatapathError> {
    let what = "bpf_skb_adjust_room";
    let program = match program::load(&program::adjust_room(by, flags)) {
        Ok(program) => program,
        Err(error) => return refused(&error, what),
    };
    match program::run(&program, &packet::TUNNEL) {
        Ok(Answer(code)) => Ok(code == 0),
        Err(error) => refused(&error, what),
    }
}

/// A refusal for want of privilege says nothing about the kernel.
fn refused(error: &io::Error, what: &str) -> Result<bool, DatapathError> {
    match error.raw_os_error() {
        Some(libc::EPERM) => {
            Err(DatapathError::Permission { what: format!("cannot try the kernel's {what}") })
        }
        Some(libc::EINVAL | libc::EACCES | libc::EOPNOTSUPP) => Ok(false),
        _ => Err(DatapathError::kernel(format!("cannot try the kernel's {what}"), error)),
    }
}

/// The first interface of every network namespace.
const LOOPBACK: u32 = 1;

fn tcx_works() -> Result<bool, DatapathError> {
    match tcx::query(LOOPBACK, Side::Ingress) {
        Ok(_) => Ok(true),
        // The kernel knows the hook and misses the interface.
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(true),
        Err(error) => refused(&error, "TCX hooks"),
    }
}
