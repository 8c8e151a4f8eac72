//! The node's configuration in the kernel.

use aya::maps::{Array, Map, MapData};
use tartan_common::abi::{Abi, CONFIG_SLOT_PADDING, ConfigSlot, NodeConfig};

use crate::error::DatapathError;
use crate::pins;
use crate::table::open_map;

type Bytes = <NodeConfig as Abi>::Bytes;

/// The `CONFIG` map: written to the idle slot, then switched to.
pub struct Config(Array<MapData, Bytes>);

impl Config {
    /// Opens the pinned map.
    ///
    /// # Errors
    /// [`DatapathError::NotSetUp`] when the agent did not run since boot.
    pub fn open() -> Result<Self, DatapathError> {
        let map = Map::Array(open_map(&pins::map("CONFIG"))?);
        Array::try_from(map)
            .map(Self)
            .map_err(|e| DatapathError::kernel("cannot use the map CONFIG", &e))
    }

    /// The configuration in force, if one was written yet.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn get(&self) -> Result<Option<NodeConfig>, DatapathError> {
        match self.active()? {
            0 => Ok(None),
            slot => self.read(slot).map(|bytes| Some(NodeConfig::from_bytes(&bytes))),
        }
    }

    /// Puts a configuration in force; one that is in force already is left alone.
    /// Says whether anything changed.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set(&mut self, config: &NodeConfig) -> Result<bool, DatapathError> {
        if self.get()?.as_ref() == Some(config) {
            return Ok(false);
        }
        let idle = if self.active()? == 1 { 2 } else { 1 };
        self.write(idle, config.to_bytes())?;
        self.write(0, ConfigSlot { active: idle, unused: [0; CONFIG_SLOT_PADDING] }.to_bytes())?;
        Ok(true)
    }

    fn active(&self) -> Result<u32, DatapathError> {
        Ok(ConfigSlot::from_bytes(&self.read(0)?).active)
    }

    fn read(&self, slot: u32) -> Result<Bytes, DatapathError> {
        self.0.get(&slot, 0).map_err(|e| DatapathError::kernel("cannot read the map CONFIG", &e))
    }

    fn write(&mut self, slot: u32, bytes: Bytes) -> Result<(), DatapathError> {
        self.0
            .set(slot, bytes, 0)
            .map_err(|e| DatapathError::kernel("cannot write the map CONFIG", &e))
    }
}
