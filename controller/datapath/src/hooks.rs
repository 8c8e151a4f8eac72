//! The hooks on the node's own devices: uplink and overlay.

use std::path::Path;

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType};
use tartan_common::features::Feature;

use crate::clsact;
use crate::error::DatapathError;
use crate::link;
use crate::logging;
use crate::pins;
use crate::programs::{ProgramName, features_in_use};
use crate::tc::Side;

/// A hook on one of the node's own devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeHook {
    /// What arrives on the uplink.
    UplinkIngress,
    /// What the host stack sends to the overlay device.
    OverlayEgress,
    /// What comes up from the overlay device.
    OverlayIngress,
    /// What leaves by the uplink.
    UplinkEgress,
}

/// Whether a hook does what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookState {
    /// The pinned program runs on the right interface.
    InPlace,
    /// No link is pinned, or its interface is gone.
    Missing,
    /// The link is on another interface, with this index.
    Elsewhere(u32),
    /// Another program than the pinned one runs.
    Outdated,
}

impl NodeHook {
    /// All of them, in the order in which they are attached. The guard comes last: what is under
    /// way on a device that was flannel's carries no judgement of ours yet, and a new device is
    /// down until all of them are there.
    pub const ALL: [Self; 4] =
        [Self::UplinkIngress, Self::OverlayEgress, Self::OverlayIngress, Self::UplinkEgress];

    /// The program that belongs there.
    #[must_use]
    pub const fn program(self) -> ProgramName {
        match self {
            Self::UplinkIngress => ProgramName::UplinkIngress,
            Self::OverlayEgress => ProgramName::OverlayEgress,
            Self::OverlayIngress => ProgramName::OverlayIngress,
            Self::UplinkEgress => ProgramName::UplinkEgress,
        }
    }

    const fn side(self) -> Side {
        match self {
            Self::UplinkIngress | Self::OverlayIngress => Side::Ingress,
            Self::OverlayEgress | Self::UplinkEgress => Side::Egress,
        }
    }
}

/// Looks at a hook.
///
/// # Errors
/// When the kernel refuses.
pub fn node_hook_state(hook: NodeHook, ifindex: u32) -> Result<HookState, DatapathError> {
    let program = hook.program();
    match Way::chosen()? {
        Way::Tcx => link_state(&pins::node_link(program.as_str()), program, ifindex),
        Way::Clsact => filter_state(program, ifindex, hook.side()),
    }
}

/// Makes sure that the pinned program runs at `hook` of the interface.
/// Says what had to be done about what was found.
///
/// # Errors
/// When the kernel refuses.
pub fn attach_node_hook(
    hook: NodeHook,
    interface: &str,
    ifindex: u32,
) -> Result<HookState, DatapathError> {
    let program = hook.program();
    let pin = pins::node_link(program.as_str());
    let found = ensure(&pin, program, interface, ifindex, hook.side())?;
    // Where it is in place it has been since the last look, and nowhere else.
    if found != HookState::InPlace {
        for other in strays(program, ifindex, hook.side())? {
            clsact::take_off(other, hook.side())?;
        }
    }
    Ok(found)
}

/// Takes our program off a hook; says whether it was there.
///
/// # Errors
/// When the pin cannot be removed.
pub fn detach_node_hook(hook: NodeHook) -> Result<bool, DatapathError> {
    let strays = strays(hook.program(), 0, hook.side())?;
    for ifindex in &strays {
        clsact::take_off(*ifindex, hook.side())?;
    }
    Ok(pins::remove(&pins::node_link(hook.program().as_str()))? || !strays.is_empty())
}

/// How programs come to run at a hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// By a pinned link.
    Tcx,
    /// By a filter.
    Clsact,
}

impl Way {
    /// What the agent chose when it loaded the programs.
    pub(crate) fn chosen() -> Result<Self, DatapathError> {
        Ok(if features_in_use()?.has(Feature::Tcx) { Self::Tcx } else { Self::Clsact })
    }
}

/// Other interfaces on which a filter of ours runs this program.
fn strays(program: ProgramName, ifindex: u32, side: Side) -> Result<Vec<u32>, DatapathError> {
    let mut strays = Vec::new();
    for other in clsact::interfaces()?.into_iter().filter(|other| *other != ifindex) {
        if clsact::running(other, side, program)?.is_some() {
            strays.push(other);
        }
    }
    Ok(strays)
}

fn link_state(pin: &Path, program: ProgramName, ifindex: u32) -> Result<HookState, DatapathError> {
    let Some(link) = link::info(pin)? else {
        return Ok(HookState::Missing);
    };
    Ok(match link.ifindex {
        0 => HookState::Missing,
        other if other != ifindex => HookState::Elsewhere(other),
        _ if link.program_id != program.id()? => HookState::Outdated,
        _ => HookState::InPlace,
    })
}

fn filter_state(
    program: ProgramName,
    ifindex: u32,
    side: Side,
) -> Result<HookState, DatapathError> {
    Ok(match clsact::running(ifindex, side, program)? {
        Some(id) if id == program.id()? => HookState::InPlace,
        Some(_) => HookState::Outdated,
        None => HookState::Missing,
    })
}

/// Whether the pinned program, or one that logs in its place, runs at a pod's hook.
pub(crate) fn runs(
    way: Way,
    pin: &Path,
    program: ProgramName,
    ifindex: u32,
    side: Side,
) -> Result<bool, DatapathError> {
    let state = match way {
        Way::Tcx => link_state(pin, program, ifindex)?,
        Way::Clsact => filter_state(program, ifindex, side)?,
    };
    Ok(match state {
        HookState::InPlace => true,
        HookState::Outdated => logging::is_active(),
        HookState::Missing | HookState::Elsewhere(_) => false,
    })
}

/// Brings the pinned program to one side of one interface, in the chosen way. What runs there in
/// the other way goes when the new is in place: between the two both run, which counts a packet
/// twice and decides nothing else.
pub(crate) fn ensure(
    pin: &Path,
    program: ProgramName,
    interface: &str,
    ifindex: u32,
    side: Side,
) -> Result<HookState, DatapathError> {
    match Way::chosen()? {
        Way::Tcx => {
            let found = ensure_link(pin, program, interface, ifindex, side)?;
            clsact::take_off(ifindex, side)?;
            Ok(found)
        }
        Way::Clsact => {
            let found = ensure_filter(program, ifindex, side)?;
            pins::remove(pin)?;
            Ok(found)
        }
    }
}

fn ensure_filter(
    program: ProgramName,
    ifindex: u32,
    side: Side,
) -> Result<HookState, DatapathError> {
    let found = filter_state(program, ifindex, side)?;
    match found {
        HookState::InPlace => {}
        // `tartanctl log` has its own build there, and brings the pinned one back itself.
        HookState::Outdated if logging::is_active() => return Ok(HookState::InPlace),
        HookState::Outdated | HookState::Missing | HookState::Elsewhere(_) => {
            clsact::put(ifindex, side, program, &program.open()?)?;
        }
    }
    Ok(found)
}

fn ensure_link(
    pin: &Path,
    program: ProgramName,
    interface: &str,
    ifindex: u32,
    side: Side,
) -> Result<HookState, DatapathError> {
    let found = link_state(pin, program, ifindex)?;
    match found {
        HookState::InPlace => {}
        // As above.
        HookState::Outdated if logging::is_active() => return Ok(HookState::InPlace),
        HookState::Outdated => update(pin, &mut program.open()?)?,
        HookState::Missing | HookState::Elsewhere(_) => {
            pins::remove(pin)?;
            create(pin, program, interface, side)?;
        }
    }
    Ok(found)
}

/// Swaps the program of a link: packets meet the old one or the new one.
pub(crate) fn update(pin: &Path, program: &mut SchedClassifier) -> Result<(), DatapathError> {
    let failed = |e: &(dyn std::error::Error + 'static)| {
        DatapathError::kernel(format!("cannot move {} to the new program", pin.display()), e)
    };
    let pinned = PinnedLink::from_pin(pin).map_err(|e| failed(&e))?;
    let link = SchedClassifierLink::try_from(FdLink::from(pinned)).map_err(|e| failed(&e))?;
    let id = program.attach_to_link(link).map_err(|e| failed(&e))?;
    // Taken out again, or dropping the program would detach a link that is pinned elsewhere.
    program.take_link(id).map_err(|e| failed(&e))?;
    Ok(())
}

fn create(pin: &Path, name: ProgramName, interface: &str, side: Side) -> Result<(), DatapathError> {
    let attach_type = match side {
        Side::Ingress => TcAttachType::Ingress,
        Side::Egress => TcAttachType::Egress,
    };
    let failed = |e: &(dyn std::error::Error + 'static)| {
        DatapathError::kernel(format!("cannot attach {} to {interface}", name.as_str()), e)
    };
    let mut program: SchedClassifier = name.open()?;
    let options = TcAttachOptions::TcxOrder(LinkOrder::default());
    let id =
        program.attach_with_options(interface, attach_type, options).map_err(|e| failed(&e))?;
    let link = program.take_link(id).map_err(|e| failed(&e))?;
    let link = FdLink::try_from(link).map_err(|e| failed(&e))?;
    link.pin(pin).map_err(|e| failed(&e))?;
    Ok(())
}
