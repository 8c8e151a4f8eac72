//! Numbers and names out of bytes, in the machine's order: what does not lie inside is `None`.

/// The byte at a place.
pub(super) fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

/// The number of two bytes at a place.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_ne_bytes)
}

/// The number of two bytes in network order at a place.
pub(super) fn be16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}

/// The number of four bytes at a place.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array(bytes, at).map(u32::from_ne_bytes)
}

/// The signed number of four bytes at a place.
pub(super) fn i32_at(bytes: &[u8], at: usize) -> Option<i32> {
    array(bytes, at).map(i32::from_ne_bytes)
}

/// `N` bytes at a place.
pub(super) fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// The text in a field, up to the first zero.
pub(super) fn text_at(bytes: &[u8], at: usize, length: usize) -> Option<String> {
    let field = bytes.get(at..at.checked_add(length)?)?;
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(length);
    Some(String::from_utf8_lossy(field.get(..end)?).into_owned())
}

/// Writes into a field that was made large enough; what would stick out is left off.
pub(super) fn put(bytes: &mut [u8], at: usize, value: &[u8]) {
    for (place, byte) in bytes.iter_mut().skip(at).zip(value) {
        *place = *byte;
    }
}

/// The next multiple of eight, at which the kernel lays out entries, matches and targets.
pub(super) const fn aligned(length: usize) -> usize {
    length.next_multiple_of(8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_beyond_the_end() {
        let bytes = [1, 2, 3];
        assert_eq!(u8_at(&bytes, 3), None);
        assert_eq!(u16_at(&bytes, 2), None);
        assert_eq!(u32_at(&bytes, usize::MAX), None);
        assert_eq!(text_at(&bytes, 2, 2), None);
        assert_eq!(text_at(b"ab\0c", 0, 4).as_deref(), Some("ab"));
        assert_eq!(text_at(b"ab", 0, 2).as_deref(), Some("ab"));
    }

    #[test]
    fn nothing_is_written_beyond_the_end() {
        let mut bytes = [0; 3];
        put(&mut bytes, 2, &[7, 8]);
        assert_eq!(bytes, [0, 0, 7]);
        put(&mut bytes, 9, &[1]);
        assert_eq!(bytes, [0, 0, 7]);
    }
}
