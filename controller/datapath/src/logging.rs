//! Packet logging and tracing: the debugging build of the programs, swapped in
//! for as long as somebody reads its log.
//!
//! The production build pays nothing for it. Whoever logs holds a lock that
//! keeps the agent from bringing the production build back at once; if the
//! logger dies, the lock is gone and the agent does just that.

use std::path::{Path, PathBuf};

use aya::maps::Array;
use aya::programs::SchedClassifier;
use aya::{Ebpf, Pod};
use tartan_common::abi::Counted;
use tartan_common::marked::Traced;

use crate::clsact;
use crate::error::DatapathError;
use crate::hooks::{NodeHook, update};
use crate::object::logging_object;
use crate::pins::{self, DirLock};
use crate::pod_hooks::pod_pins;
use crate::programs::{ProgramName, features_in_use, load, program};
use crate::tc::Side;

/// Whether somebody logs packets on this node.
pub(crate) fn is_active() -> bool {
    pins::is_locked(&pins::programs())
}

/// Logging in progress; dropping it brings the production build back.
pub struct Logging {
    ebpf: Ebpf,
    _lock: DirLock,
}

impl Logging {
    /// Swaps the debugging build in and switches on the log of `what`.
    ///
    /// # Errors
    /// When the agent did not run since boot, somebody else logs, or the kernel refuses.
    pub fn start(what: &[Counted]) -> Result<Self, DatapathError> {
        let masks = what.iter().map(|one| (one.slot(), 1));
        Self::with(|ebpf| fill::<u32>(ebpf, "LOG_MASK", masks))
    }

    /// Swaps the debugging build in and follows one packet.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn follow(packet: Traced) -> Result<Self, DatapathError> {
        let words = [packet.on, packet.mark, packet.source, packet.destination];
        Self::with(|ebpf| fill::<[u32; 4]>(ebpf, "TRACED", [(0, words)]))
    }

    fn with(
        switch_on: impl FnOnce(&mut Ebpf) -> Result<(), DatapathError>,
    ) -> Result<Self, DatapathError> {
        if is_active() {
            return Err(DatapathError::Kernel {
                what: "cannot log packets".to_owned(),
                cause: "another `tartanctl log` or `trace` runs on this node; stop it first"
                    .to_owned(),
            });
        }
        let lock = pins::lock(&pins::programs())?;
        let mut ebpf = load(logging_object(), None, features_in_use()?)?;
        switch_on(&mut ebpf)?;
        for name in ProgramName::ALL {
            program(&mut ebpf, name)?;
        }
        let mut logging = Self { ebpf, _lock: lock };
        logging.swap_in()?;
        Ok(logging)
    }

    /// The loaded object, whose log can be read with aya-log.
    pub fn ebpf(&mut self) -> &mut Ebpf {
        &mut self.ebpf
    }

    fn swap_in(&mut self) -> Result<(), DatapathError> {
        for (name, spot) in spots()? {
            let failed = |cause: String| DatapathError::Kernel {
                what: format!("cannot log at {}", name.as_str()),
                cause,
            };
            let program = self.ebpf.program_mut(name.as_str());
            let program = program.ok_or_else(|| failed("the program is missing".to_owned()))?;
            spot.run(name, program.try_into().map_err(|e| failed(format!("{e}")))?)?;
        }
        Ok(())
    }

    fn swap_out() -> Result<(), DatapathError> {
        for (name, spot) in spots()? {
            spot.run(name, &mut name.open()?)?;
        }
        Ok(())
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        // The agent finishes what fails here: it sees links that do not run the pinned programs.
        let _ = Self::swap_out();
    }
}

fn fill<T: Pod>(
    ebpf: &mut Ebpf,
    map: &str,
    values: impl IntoIterator<Item = (u32, T)>,
) -> Result<(), DatapathError> {
    let failed = |cause: String| DatapathError::Kernel {
        what: "cannot choose what is logged".to_owned(),
        cause,
    };
    let map = ebpf.map_mut(map).ok_or_else(|| failed(format!("the map {map} is missing")))?;
    let mut map: Array<_, T> = map.try_into().map_err(|e| failed(format!("{e}")))?;
    for (slot, value) in values {
        map.set(slot, value, 0).map_err(|e| failed(e.to_string()))?;
    }
    Ok(())
}

/// Where a program of ours runs.
enum Spot {
    Link(PathBuf),
    Filter(u32, Side),
}

impl Spot {
    /// Puts another program in the place of the one that runs there.
    fn run(&self, name: ProgramName, program: &mut SchedClassifier) -> Result<(), DatapathError> {
        match self {
            Self::Link(pin) => update(pin, program),
            Self::Filter(ifindex, side) => clsact::put(*ifindex, *side, name, program),
        }
    }
}

/// Every place of ours with the program that belongs there.
fn spots() -> Result<Vec<(ProgramName, Spot)>, DatapathError> {
    let mut spots: Vec<_> =
        links()?.into_iter().map(|(name, pin)| (name, Spot::Link(pin))).collect();
    for ifindex in clsact::interfaces()? {
        for (side, name) in SIDES {
            if clsact::running(ifindex, side, name)?.is_some() {
                spots.push((name, Spot::Filter(ifindex, side)));
            }
        }
    }
    Ok(spots)
}

/// What may run on either side of some interface.
const SIDES: [(Side, ProgramName); 6] = [
    (Side::Ingress, ProgramName::UplinkIngress),
    (Side::Ingress, ProgramName::OverlayIngress),
    (Side::Ingress, ProgramName::PodEgress),
    (Side::Egress, ProgramName::OverlayEgress),
    (Side::Egress, ProgramName::UplinkEgress),
    (Side::Egress, ProgramName::PodIngress),
];

/// Every pinned link of ours with the program that belongs there.
fn links() -> Result<Vec<(ProgramName, PathBuf)>, DatapathError> {
    let node = NodeHook::ALL.into_iter().map(NodeHook::program);
    let mut links: Vec<_> = node.map(|name| (name, pins::node_link(name.as_str()))).collect();
    for (veth, _) in pod_pins()? {
        let dir = pins::pod_link_dir(&veth);
        for name in [ProgramName::PodEgress, ProgramName::PodIngress] {
            links.push((name, dir.join(name.as_str())));
        }
    }
    links.retain(|(_, pin)| Path::exists(pin));
    Ok(links)
}
