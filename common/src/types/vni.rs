//! [`Vni`]: a VXLAN network identifier.

use core::fmt;

/// A VXLAN network identifier: 1 to 2^24 - 1 (RFC 7348 section 5).
///
/// Zero is legal on the wire but no cluster uses it, and flannel reads an
/// absent VNI as zero: refusing it catches that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vni(u32);

/// A number that is no VNI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VniError(pub u64);

impl fmt::Display for VniError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VNI {} is out of range: use 1 to {}", self.0, Vni::MAX)
    }
}

impl core::error::Error for VniError {}

impl Vni {
    /// The largest identifier: 24 bits.
    pub const MAX: u32 = (1 << 24) - 1;

    /// Checks `number`.
    ///
    /// # Errors
    /// [`VniError`] when it is zero or needs more than 24 bits.
    pub const fn new(number: u64) -> Result<Self, VniError> {
        if number >= 1 && number <= Self::MAX as u64 {
            #[expect(clippy::cast_possible_truncation, reason = "the range was checked above")]
            Ok(Self(number as u32))
        } else {
            Err(VniError(number))
        }
    }

    /// The identifier as a number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Vni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_four_bits_without_zero_are_legal() {
        assert!(Vni::new(1).is_ok() && Vni::new(0xff_ffff).is_ok());
        assert_eq!(Vni::new(0), Err(VniError(0)));
        assert_eq!(Vni::new(0x100_0000), Err(VniError(0x100_0000)));
    }
}
