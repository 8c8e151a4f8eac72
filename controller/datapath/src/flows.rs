//! The flow map, whose size is a setting.
//!
//! A map cannot grow: another size means another map, and programs that hold
//! it. It takes the pin's place only after the programs have taken theirs, so
//! that whoever died in between is found out by the size of what is pinned.

use std::fs;

use aya::Ebpf;
use tartan_common::abi::FlowEntries;

use crate::error::DatapathError;
use crate::pins;
use crate::table::open_map;

/// Its name.
pub(crate) const FLOWS: &str = "FLOWS";

/// The size of the map that has to be made; `None` when what is pinned will do.
pub(crate) fn to_be_made(
    wanted: Option<FlowEntries>,
) -> Result<Option<FlowEntries>, DatapathError> {
    let Some(wanted) = wanted else {
        return Ok(None);
    };
    let pin = pins::map(FLOWS);
    if !pin.exists() {
        return Ok(Some(wanted));
    }
    let info = open_map(&pin)?.info();
    let info = info.map_err(|e| DatapathError::kernel("cannot look at the map FLOWS", &e))?;
    Ok((info.max_entries() != wanted.get()).then_some(wanted))
}

/// Pins the map of a loaded object in the place of the one that is pinned.
pub(crate) fn pin(ebpf: &Ebpf) -> Result<(), DatapathError> {
    let (fresh, path) = (pins::map("FLOWS_new"), pins::map(FLOWS));
    pins::remove(&fresh)?;
    let map = ebpf.map(FLOWS).ok_or_else(|| DatapathError::Kernel {
        what: "cannot pin the map FLOWS".to_owned(),
        cause: "it is not in the object".to_owned(),
    })?;
    map.pin(&fresh).map_err(|e| DatapathError::kernel("cannot pin the map FLOWS", &e))?;
    fs::rename(&fresh, &path).map_err(|e| DatapathError::io("cannot rename to", &path, e))
}
