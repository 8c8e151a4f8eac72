//! The VXLAN header (RFC 7348 section 5).

use super::{VXLAN_LEN, be32};

/// The only legal first word: the I flag, everything else reserved and zero.
pub const FLAGS_WORD: u32 = 0x0800_0000;

/// The second word that carries `vni`: 24 bits and a reserved zero byte.
#[inline(always)]
#[must_use]
pub const fn vni_word(vni: u32) -> u32 {
    vni << 8
}

/// The header's two words as they stand.
#[inline(always)]
#[must_use]
pub const fn words(b: &[u8; VXLAN_LEN]) -> (u32, u32) {
    (be32(b, 0), be32(b, 4))
}

/// The header that carries `vni`.
#[inline(always)]
#[must_use]
pub const fn header(vni: u32) -> [u8; VXLAN_LEN] {
    let (f, v) = (FLAGS_WORD.to_be_bytes(), vni_word(vni).to_be_bytes());
    [f[0], f[1], f[2], f[3], v[0], v[1], v[2], v[3]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_what_flannel_puts_on_the_wire() {
        assert_eq!(header(1), [0x08, 0, 0, 0, 0, 0, 1, 0]);
        assert_eq!(words(&header(0xab_cdef)), (FLAGS_WORD, 0xabcd_ef00));
    }
}
