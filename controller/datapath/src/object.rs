//! The compiled programs inside this binary.

use aya::include_bytes_aligned;

/// The production build of the programs.
#[must_use]
pub fn object() -> &'static [u8] {
    include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tartan-plain"))
}

/// The debugging build: the same programs with packet logging.
#[must_use]
pub fn logging_object() -> &'static [u8] {
    include_bytes_aligned!(concat!(env!("OUT_DIR"), "/tartan-log"))
}

/// Identifies a build of the programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Build(pub u64);

impl Build {
    /// The build of the programs inside this binary: FNV-1a over the object.
    #[must_use]
    pub fn embedded() -> Self {
        Self(object().iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        }))
    }
}

impl std::fmt::Display for Build {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
