//! What is fuzzed.

use tartan_golden::Hook;
use tartan_golden::headers::{Program, sheets};

use crate::{hooks, input, sequence};

/// Something that reads an input and says what is wrong.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Reads one input.
    ///
    /// # Errors
    /// What is broken.
    pub check: fn(&[u8]) -> Result<(), String>,
    /// Inputs to start from, besides the corpus.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: [Target; 7] = [
    Target {
        name: "pod_egress",
        check: |input| hooks::check(Hook::PodEgress, input),
        seeds: || drafts(Program::PodEgress),
    },
    Target {
        name: "pod_ingress",
        check: |input| hooks::check(Hook::PodIngress, input),
        seeds: || drafts(Program::PodIngress),
    },
    Target {
        name: "overlay_egress",
        check: |input| hooks::check(Hook::OverlayEgress, input),
        seeds: || drafts(Program::OverlayEgress),
    },
    Target {
        name: "overlay_ingress",
        check: hooks::check_guard,
        seeds: || drafts(Program::OverlayIngress),
    },
    Target {
        name: "uplink_ingress",
        check: |input| {
            hooks::check_outer(input)?;
            hooks::check(Hook::UplinkIngress, input)
        },
        seeds: || drafts(Program::UplinkIngress),
    },
    Target {
        name: "uplink_egress",
        check: |input| hooks::check(Hook::UplinkEgress, input),
        seeds: || drafts(Program::UplinkEgress),
    },
    Target { name: "gate", check: sequence::check, seeds: sequence::seeds },
];

/// Some of the exhaustive headers: of each sheet a few.
fn drafts(program: Program) -> Vec<Vec<u8>> {
    const OF_EACH: usize = 23;
    let of_sheet = |sheet: &tartan_golden::headers::Sheet| {
        let step = (sheet.cases() / OF_EACH).max(1);
        sheet.drafts().step_by(step).map(|draft| input::written(&draft)).collect::<Vec<_>>()
    };
    sheets().iter().filter(|sheet| sheet.program == program).flat_map(of_sheet).collect()
}
