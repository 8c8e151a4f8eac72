//! [`FlowEntries`]: how large the flow map is.

use core::fmt;

/// The number of entries of the `FLOWS` map: 64 to 2^24.
///
/// Below, the kernel's LRU lists have nothing left to choose from; above, the
/// map takes more than a gigabyte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowEntries(u32);

/// A number that is no usable size of the flow map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowEntriesError(pub u64);

impl fmt::Display for FlowEntriesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (min, max) = (FlowEntries::MIN, FlowEntries::MAX);
        write!(f, "{} flow entries are out of range: use {min} to {max}", self.0)
    }
}

impl core::error::Error for FlowEntriesError {}

impl FlowEntries {
    /// The smallest legal value.
    pub const MIN: u32 = 64;
    /// The largest legal value.
    pub const MAX: u32 = 1 << 24;
    /// What the map has where nobody says otherwise.
    pub const DEFAULT: Self = Self(262_144);

    /// Checks `entries`.
    ///
    /// # Errors
    /// [`FlowEntriesError`] when it is out of range.
    pub const fn new(entries: u64) -> Result<Self, FlowEntriesError> {
        if entries >= Self::MIN as u64 && entries <= Self::MAX as u64 {
            #[expect(clippy::cast_possible_truncation, reason = "the range was checked above")]
            Ok(Self(entries as u32))
        } else {
            Err(FlowEntriesError(entries))
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Default for FlowEntries {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for FlowEntries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive() {
        assert!(FlowEntries::new(64).is_ok() && FlowEntries::new(16_777_216).is_ok());
        assert_eq!(FlowEntries::new(63), Err(FlowEntriesError(63)));
        assert!(FlowEntries::new(16_777_217).is_err());
    }
}
