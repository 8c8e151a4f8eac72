//! [`Mac`]: an Ethernet address.

use core::fmt;
use core::str::FromStr;

/// An Ethernet address of six bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Mac(pub [u8; 6]);

/// Text that is no Ethernet address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MacError;

impl fmt::Display for MacError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an Ethernet address: use six hexadecimal bytes like aa:bb:cc:dd:ee:ff")
    }
}

impl core::error::Error for MacError {}

impl Mac {
    /// Whether a station can own this address: neither zero nor a group address.
    #[must_use]
    pub const fn is_station(self) -> bool {
        let b = self.0;
        b[0] & 1 == 0 && (b[0] | b[1] | b[2] | b[3] | b[4] | b[5]) != 0
    }

    /// The locally administered unicast address with these random bytes.
    #[must_use]
    pub const fn local(mut random: [u8; 6]) -> Self {
        random[0] = (random[0] & 0xfe) | 0x02;
        Self(random)
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [first, rest @ ..] = self.0;
        write!(f, "{first:02x}")?;
        rest.iter().try_for_each(|byte| write!(f, ":{byte:02x}"))
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Mac {
    type Err = MacError;

    fn from_str(text: &str) -> Result<Self, MacError> {
        let mut bytes = [0; 6];
        let mut parts = text.split(':');
        for byte in &mut bytes {
            let part = parts.next().filter(|p| p.len() == 2).ok_or(MacError)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| MacError)?;
        }
        parts.next().is_none().then_some(Self(bytes)).ok_or(MacError)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn text_and_bytes_agree() {
        let mac: Mac = "C6:d2:32:6f:8f:44".parse().unwrap();
        assert_eq!(mac.to_string(), "c6:d2:32:6f:8f:44");
    }

    #[test]
    fn malformed_text_is_refused() {
        for text in
            ["", "1:2:3:4:5:6", "aa:bb:cc:dd:ee", "aa:bb:cc:dd:ee:ff:00", "gg:bb:cc:dd:ee:ff"]
        {
            assert_eq!(text.parse::<Mac>(), Err(MacError), "{text}");
        }
    }

    #[test]
    fn random_bytes_become_a_station_address() {
        assert!(Mac::local([0xff; 6]).is_station());
        assert!(Mac::local([0; 6]).is_station());
        assert!(!Mac([0; 6]).is_station());
        assert!(!Mac([1, 0, 0x5e, 0, 0, 1]).is_station());
    }
}
