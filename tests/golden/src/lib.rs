//! The golden packet table.
//!
//! Each case is a frame that meets a hook, with what must become of it. The
//! tests run every case through the decision functions on the host
//! (`tests/host.rs`) and through the compiled programs in the kernel
//! (`tests/kernel.rs`) and compare byte for byte; `golden.txt` is the table
//! for people, with every frame before and after. [`headers`] goes through the
//! fields that decide, exhaustively, without a verdict written down: there the two
//! sides must agree.

mod apply;
mod apply6;
mod cases;
mod cases6;
mod crossed;
mod damaged;
mod device;
pub mod fixture;
pub mod fixture6;
pub mod headers;
mod link;
mod link6;
pub mod packets;
pub mod packets6;
mod prepare;
mod table;

pub use apply::{Key, Outcome, Verdict, guard, run, run_counted};
pub use cases::cases;
pub use table::{hex, meta, render};

/// Where a frame is met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// A pod sends.
    PodEgress,
    /// The host stack delivers to a pod.
    PodIngress,
    /// The host stack sends to the pod network.
    OverlayEgress,
    /// A frame arrives on the uplink.
    UplinkIngress,
    /// A frame leaves by the uplink.
    UplinkEgress,
}

impl Hook {
    /// Name of the program.
    #[must_use]
    pub const fn program(self) -> &'static str {
        match self {
            Self::PodEgress => "pod_egress",
            Self::PodIngress => "pod_ingress",
            Self::OverlayEgress => "overlay_egress",
            Self::UplinkIngress => "uplink_ingress",
            Self::UplinkEgress => "uplink_egress",
        }
    }
}

/// One line of the table.
#[derive(Clone, Debug)]
pub struct Case {
    /// What it is about, a sentence without blanks at its ends.
    pub name: &'static str,
    /// Where the frame is met.
    pub hook: Hook,
    /// The frame.
    pub frame: Vec<u8>,
    /// Bytes per piece of a GSO packet, else zero.
    pub gso_size: u32,
    /// Whether the flow of the frame is direct already.
    pub direct: bool,
    /// What must become of it.
    pub expected: Verdict,
}
