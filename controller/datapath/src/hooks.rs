//! The hooks on the node's own devices: uplink and overlay.

use std::path::Path;

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::{LinkOrder, SchedClassifier, TcAttachType};

use crate::error::DatapathError;
use crate::link;
use crate::logging;
use crate::pins;
use crate::programs::ProgramName;

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

    const fn attach_type(self) -> TcAttachType {
        match self {
            Self::UplinkIngress | Self::OverlayIngress => TcAttachType::Ingress,
            Self::OverlayEgress | Self::UplinkEgress => TcAttachType::Egress,
        }
    }
}

/// Looks at a hook.
///
/// # Errors
/// When the kernel refuses.
pub fn node_hook_state(hook: NodeHook, ifindex: u32) -> Result<HookState, DatapathError> {
    let program = hook.program();
    state(&pins::node_link(program.as_str()), program, ifindex)
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
    ensure(&pin, program, interface, ifindex, hook.attach_type())
}

/// Takes our program off a hook; says whether it was there.
///
/// # Errors
/// When the pin cannot be removed.
pub fn detach_node_hook(hook: NodeHook) -> Result<bool, DatapathError> {
    pins::remove(&pins::node_link(hook.program().as_str()))
}

fn state(pin: &Path, program: ProgramName, ifindex: u32) -> Result<HookState, DatapathError> {
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

/// Brings one pinned link to the pinned program on one interface.
pub(crate) fn ensure(
    pin: &Path,
    program: ProgramName,
    interface: &str,
    ifindex: u32,
    attach_type: TcAttachType,
) -> Result<HookState, DatapathError> {
    let found = state(pin, program, ifindex)?;
    match found {
        HookState::InPlace => {}
        // `tartanctl log` has its own build there, and brings the pinned one back itself.
        HookState::Outdated if logging::is_active() => return Ok(HookState::InPlace),
        HookState::Outdated => update(pin, &mut program.open()?)?,
        HookState::Missing | HookState::Elsewhere(_) => {
            pins::remove(pin)?;
            create(pin, program, interface, attach_type)?;
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

fn create(
    pin: &Path,
    name: ProgramName,
    interface: &str,
    attach_type: TcAttachType,
) -> Result<(), DatapathError> {
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
