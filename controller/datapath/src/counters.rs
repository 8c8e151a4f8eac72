//! What the programs counted.

use aya::maps::{Map, MapData, PerCpuArray};
use tartan_common::abi::{Abi, Counted, Tally};

use crate::error::DatapathError;
use crate::pins;
use crate::table::open_map;

/// The `COUNTERS` map.
pub struct Counters(PerCpuArray<MapData, <Tally as Abi>::Bytes>);

/// A counter summed over all CPUs.
pub type Tallies = Tally;

impl Counters {
    /// Opens the pinned map.
    ///
    /// # Errors
    /// [`DatapathError::NotSetUp`] when the agent did not run since boot.
    pub fn open() -> Result<Self, DatapathError> {
        let map = Map::PerCpuArray(open_map(&pins::map("COUNTERS"))?);
        PerCpuArray::try_from(map)
            .map(Self)
            .map_err(|e| DatapathError::kernel("cannot use the map COUNTERS", &e))
    }

    /// The sum of a counter over all CPUs.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn get(&self, what: Counted) -> Result<Tallies, DatapathError> {
        let values = self
            .0
            .get(&what.slot(), 0)
            .map_err(|e| DatapathError::kernel("cannot read the map COUNTERS", &e))?;
        let sum = values.iter().map(Tally::from_bytes).fold((0, 0), |(packets, bytes), one| {
            (one.packets.wrapping_add(packets), one.bytes.wrapping_add(bytes))
        });
        Ok(Tally { packets: sum.0, bytes: sum.1 })
    }
}
