//! Windows into a packet's bytes: the bounds check that the verifier wants to see.

use core::ptr::NonNull;

/// Where a packet's linear bytes begin and end.
#[derive(Clone, Copy)]
pub(crate) struct Bytes {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// A window that can be read.
#[inline(always)]
pub(crate) fn window<'p, const N: usize>(bytes: Bytes, at: usize) -> Option<&'p [u8; N]> {
    let start = checked::<N>(bytes, at)?;
    // SAFETY: the bytes lie between data and data_end, as `checked` made sure.
    Some(unsafe { &*(start.as_ptr().cast_const()) })
}

/// A window that can be written.
///
/// The caller holds no other window: nothing else aliases these bytes.
#[inline(always)]
pub(crate) fn window_mut<'p, const N: usize>(bytes: Bytes, at: usize) -> Option<&'p mut [u8; N]> {
    let start = checked::<N>(bytes, at)?;
    // SAFETY: the bytes lie between data and data_end, as `checked` made sure.
    Some(unsafe { &mut *start.as_ptr() })
}

/// Where `N` bytes from `at` on are, if they are all there.
#[inline(always)]
fn checked<const N: usize>(bytes: Bytes, at: usize) -> Option<NonNull<[u8; N]>> {
    let Bytes { start, end } = bytes;
    if start + at + N > end {
        return None;
    }
    let address = start + at;
    // SAFETY: a packet never lies at address zero. Without this line the compiler compares
    // the pointer with zero again, which the verifier forbids without CAP_PERFMON.
    unsafe { core::hint::assert_unchecked(address != 0) };
    NonNull::new(address as *mut [u8; N])
}
