//! The programs: loaded once per build, pinned, swapped without a gap.

use std::fs;
use std::path::Path;

use aya::maps::{Array, Map, MapData};
use aya::programs::{ProgramError, ProgramInfo, SchedClassifier};
use aya::{Ebpf, EbpfLoader};
use tartan_common::abi::{
    FlowEntries, LAYOUT_VERSION, MAPS, META_BUILD, META_FEATURES, META_LAYOUT,
};
use tartan_common::features::Features;

use crate::error::DatapathError;
use crate::flows::{self, FLOWS};
use crate::object::{Build, object};
use crate::pins;
use crate::rights::{Capabilities, Capability};
use crate::table::open_map;

/// The programs, by the name that bpftool shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgramName {
    /// Ingress of a pod's host-side veth.
    PodEgress,
    /// Egress of a pod's host-side veth.
    PodIngress,
    /// Egress of the overlay device.
    OverlayEgress,
    /// Ingress of the overlay device.
    OverlayIngress,
    /// Ingress of the uplink.
    UplinkIngress,
    /// Egress of the uplink, where peers are reached without a tunnel.
    UplinkEgress,
}

impl ProgramName {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::PodEgress,
        Self::PodIngress,
        Self::OverlayEgress,
        Self::OverlayIngress,
        Self::UplinkIngress,
        Self::UplinkEgress,
    ];

    /// The name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PodEgress => "pod_egress",
            Self::PodIngress => "pod_ingress",
            Self::OverlayEgress => "overlay_egress",
            Self::OverlayIngress => "overlay_ingress",
            Self::UplinkIngress => "uplink_ingress",
            Self::UplinkEgress => "uplink_egress",
        }
    }

    /// The pinned program.
    pub(crate) fn open(self) -> Result<SchedClassifier, DatapathError> {
        let path = pins::program(self.as_str());
        SchedClassifier::from_pin(&path).map_err(|error| {
            if path.exists() {
                DatapathError::kernel(format!("cannot open {}", path.display()), &error)
            } else {
                DatapathError::NotSetUp(path)
            }
        })
    }

    /// The kernel's id of the pinned program.
    pub(crate) fn id(self) -> Result<u32, DatapathError> {
        let path = pins::program(self.as_str());
        ProgramInfo::from_pin(&path)
            .map(|info| info.id())
            .map_err(|e| DatapathError::kernel(format!("cannot open {}", path.display()), &e))
    }
}

/// How the programs came to be pinned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adoption {
    /// Nothing was pinned.
    Fresh,
    /// What is pinned is this build: left alone.
    Adopted,
    /// Another build was pinned: replaced.
    Replaced {
        /// The build that was pinned.
        from: Build,
    },
}

/// Makes sure that this binary's programs are pinned, with the maps that are.
///
/// Links still run what they ran: see
/// [`attach_node_hook`](crate::attach_node_hook) and
/// [`attach_pod`](crate::attach_pod), which move them to the pinned programs.
///
/// `flow_entries` is the size of the flow map. A pinned one of another size is replaced together
/// with the programs, and what it held is learned again; without a size any will do.
///
/// `features` are what the programs may use of the kernel; pinned ones that were loaded for
/// others are replaced.
///
/// # Errors
/// When the kernel refuses, or when maps of another layout are pinned.
pub fn ensure_programs(
    replace_anyway: bool,
    flow_entries: Option<FlowEntries>,
    features: Features,
) -> Result<Adoption, DatapathError> {
    pins::require_bpffs()?;
    let pinned = pinned_build()?;
    let replace_anyway = replace_anyway || (pinned.is_some() && features_in_use()? != features);
    let complete = ProgramName::ALL.iter().all(|p| pins::program(p.as_str()).exists())
        && MAPS.iter().all(|map| pins::map(map.name).exists());
    let flows = flows::to_be_made(flow_entries)?;
    if pinned == Some(Build::embedded()) && complete && !replace_anyway && flows.is_none() {
        return Ok(Adoption::Adopted);
    }
    pins::create_dirs()?;
    let mut ebpf = load(object(), flows, features)?;
    for name in ProgramName::ALL {
        pin_program(program(&mut ebpf, name)?, name)?;
    }
    if flows.is_some() {
        flows::pin(&ebpf)?;
    }
    write_meta(features)?;
    Ok(pinned.map_or(Adoption::Fresh, |from| Adoption::Replaced { from }))
}

/// Loads an object's maps, reusing those that are pinned and pinning the others. With a size
/// for the flow map, that one is made anew and left to be pinned.
pub(crate) fn load(
    object: &[u8],
    flows: Option<FlowEntries>,
    features: Features,
) -> Result<Ebpf, DatapathError> {
    let bits = features.bits();
    let mut loader = EbpfLoader::new();
    loader.override_global("FEATURES", &bits, true);
    for map in MAPS.iter().filter(|map| map.name != FLOWS || flows.is_none()) {
        loader.map_pin_path(map.name, pins::map(map.name));
    }
    if let Some(entries) = flows {
        loader.map_max_entries(FLOWS, entries.get());
    }
    loader.load(object).map_err(|e| DatapathError::kernel("cannot load the maps", &e))
}

/// Verifies and takes one program of a loaded object.
pub(crate) fn program(
    ebpf: &mut Ebpf,
    name: ProgramName,
) -> Result<&mut SchedClassifier, DatapathError> {
    let failed = |e: &dyn std::error::Error| DatapathError::Kernel {
        what: format!("cannot load the program {}", name.as_str()),
        cause: e.to_string(),
    };
    let program = ebpf.program_mut(name.as_str()).ok_or_else(|| DatapathError::Kernel {
        what: format!("cannot load the program {}", name.as_str()),
        cause: "it is not in the object".to_owned(),
    })?;
    let program: &mut SchedClassifier = program.try_into().map_err(|e| failed(&e))?;
    program.load().map_err(|e| refused(name.as_str(), &e))?;
    Ok(program)
}

/// The verifier refuses with EACCES, too: what it says is not about our privileges.
pub(crate) fn refused(name: &str, error: &ProgramError) -> DatapathError {
    let what = format!("cannot load the program {name}");
    let ProgramError::LoadError { io_error, verifier_log } = error else {
        return DatapathError::kernel(what, error);
    };
    if io_error.raw_os_error() == Some(nix::libc::EPERM) {
        return DatapathError::Permission { what };
    }
    let log = verifier_log.to_string();
    let lines: Vec<_> = log.lines().filter(|line| !line.is_empty()).collect();
    let tail = lines.get(lines.len().saturating_sub(VERIFIER_LINES)..).unwrap_or_default();
    let cause = format!("{io_error}; the verifier says: {}", tail.join(" | "));
    if Capabilities::effective().is_ok_and(|held| !held.allow(Capability::Perfmon)) {
        return DatapathError::NeedsPerfmon { what, cause };
    }
    DatapathError::Kernel { what, cause }
}

/// The verifier's verdict stands at the end of its log.
const VERIFIER_LINES: usize = 6;

/// Pins under a temporary name and renames: there is always a pinned program.
fn pin_program(program: &mut SchedClassifier, name: ProgramName) -> Result<(), DatapathError> {
    let path = pins::program(name.as_str());
    let fresh = pins::program(&format!("{}_new", name.as_str()));
    pins::remove(&fresh)?;
    program
        .pin(&fresh)
        .map_err(|e| DatapathError::kernel(format!("cannot pin {}", fresh.display()), &e))?;
    fs::rename(&fresh, &path).map_err(|e| DatapathError::io("cannot rename to", &path, e))
}

fn pinned_build() -> Result<Option<Build>, DatapathError> {
    let path = pins::map("META");
    if !path.exists() {
        return Ok(None);
    }
    let meta = meta(&path)?;
    match read(&meta, META_LAYOUT)? {
        // An agent that died between creating the map and filling it.
        0 => Ok(None),
        layout if layout == u64::from(LAYOUT_VERSION) => {
            read(&meta, META_BUILD).map(|build| Some(Build(build)))
        }
        found => Err(DatapathError::Layout { found, expected: u64::from(LAYOUT_VERSION) }),
    }
}

/// The features that the pinned programs were loaded for.
///
/// # Errors
/// When the agent did not run since boot.
pub(crate) fn features_in_use() -> Result<Features, DatapathError> {
    let bits = read(&meta(&pins::map("META"))?, META_FEATURES)?;
    Ok(Features::from_bits(u32::try_from(bits).unwrap_or_default()))
}

fn write_meta(features: Features) -> Result<(), DatapathError> {
    let mut meta = meta(&pins::map("META"))?;
    for (slot, value) in [
        (META_FEATURES, u64::from(features.bits())),
        (META_BUILD, Build::embedded().0),
        (META_LAYOUT, u64::from(LAYOUT_VERSION)),
    ] {
        meta.set(slot, value, 0)
            .map_err(|e| DatapathError::kernel("cannot write the map META", &e))?;
    }
    Ok(())
}

fn read(meta: &Array<MapData, u64>, slot: u32) -> Result<u64, DatapathError> {
    meta.get(&slot, 0).map_err(|e| DatapathError::kernel("cannot read the map META", &e))
}

fn meta(path: &Path) -> Result<Array<MapData, u64>, DatapathError> {
    Array::try_from(Map::Array(open_map(path)?))
        .map_err(|e| DatapathError::kernel("cannot use the map META", &e))
}
