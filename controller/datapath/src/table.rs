//! A pinned hash map whose keys and values are structs of tartan-common.

use std::marker::PhantomData;
use std::path::Path;

use aya::Pod;
use aya::maps::{HashMap, Map, MapData, MapError};
use tartan_common::abi::Abi;

use crate::error::DatapathError;
use crate::pins;

/// A pinned hash map from `N` bytes, an address, to `V`.
pub(crate) struct Table<V: Abi, const N: usize = 4>
where
    V::Bytes: Pod,
    [u8; N]: Pod,
{
    name: &'static str,
    map: HashMap<MapData, [u8; N], V::Bytes>,
    value: PhantomData<V>,
}

impl<V: Abi, const N: usize> Table<V, N>
where
    V::Bytes: Pod,
    [u8; N]: Pod,
{
    pub(crate) fn open(name: &'static str) -> Result<Self, DatapathError> {
        let map = Map::HashMap(open_map(&pins::map(name))?);
        let map = HashMap::try_from(map)
            .map_err(|e| DatapathError::kernel(format!("cannot use the map {name}"), &e))?;
        Ok(Self { name, map, value: PhantomData })
    }

    pub(crate) fn get(&self, key: [u8; N]) -> Result<Option<V>, DatapathError> {
        match self.map.get(&key, 0) {
            Ok(bytes) => Ok(Some(V::from_bytes(&bytes))),
            Err(MapError::KeyNotFound) => Ok(None),
            Err(error) => Err(self.failed("read", &error)),
        }
    }

    pub(crate) fn insert(
        &mut self,
        key: [u8; N],
        value: &V,
        what: impl FnOnce() -> String,
    ) -> Result<(), DatapathError> {
        match self.map.insert(key, value.to_bytes(), 0) {
            Ok(()) => Ok(()),
            Err(MapError::SyscallError(error))
                if error.io_error.raw_os_error() == Some(nix::libc::E2BIG) =>
            {
                Err(DatapathError::Full { map: self.name, what: what() })
            }
            Err(error) => Err(self.failed("write", &error)),
        }
    }

    pub(crate) fn remove(&mut self, key: [u8; N]) -> Result<bool, DatapathError> {
        match self.map.remove(&key) {
            Ok(()) => Ok(true),
            Err(MapError::KeyNotFound) => Ok(false),
            Err(MapError::SyscallError(error))
                if error.io_error.kind() == std::io::ErrorKind::NotFound =>
            {
                Ok(false)
            }
            Err(error) => Err(self.failed("delete from", &error)),
        }
    }

    pub(crate) fn entries(&self) -> Result<Vec<([u8; N], V)>, DatapathError> {
        self.map
            .iter()
            .map(|entry| entry.map(|(key, bytes)| (key, V::from_bytes(&bytes))))
            .collect::<Result<_, _>>()
            .map_err(|error| self.failed("list", &error))
    }

    fn failed(&self, what: &str, error: &MapError) -> DatapathError {
        DatapathError::kernel(format!("cannot {what} the map {}", self.name), error)
    }
}

/// Opens a pinned map.
pub(crate) fn open_map(path: &Path) -> Result<MapData, DatapathError> {
    MapData::from_pin(path).map_err(|error| {
        if path.exists() {
            DatapathError::kernel(format!("cannot open {}", path.display()), &error)
        } else {
            DatapathError::NotSetUp(path.to_owned())
        }
    })
}
