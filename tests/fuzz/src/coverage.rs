//! What the instrumentation tells: a counter per edge of the code, and the operands of
//! comparisons.
//!
//! The functions with the reserved names are called by instrumented code (LLVM's documentation
//! of SanitizerCoverage names them); without instrumentation nobody calls them. They must contain no
//! comparison themselves: this crate is instrumented, too.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

static START: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static STOP: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());

/// So many comparisons are remembered; a power of two.
const REMEMBERED: usize = 256;
static COMPARED: [[AtomicU64; 2]; REMEMBERED] =
    [const { [AtomicU64::new(0), AtomicU64::new(0)] }; REMEMBERED];
static COMPARISONS: AtomicUsize = AtomicUsize::new(0);

/// Called before `main`, once per part of the program, always with the same counters.
///
/// # Safety
/// The counters lie between the pointers and live as long as the program.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, stop: *mut u8) {
    START.store(start, Ordering::Relaxed);
    STOP.store(stop, Ordering::Relaxed);
}

macro_rules! comparisons {
    ($($name:ident: $operand:ty;)*) => {
        $(
            /// Called at a comparison.
            #[unsafe(no_mangle)]
            pub extern "C" fn $name(one: $operand, other: $operand) {
                remember(u64::from(one), u64::from(other));
            }
        )*
    };
}

comparisons! {
    __sanitizer_cov_trace_cmp1: u8;
    __sanitizer_cov_trace_cmp2: u16;
    __sanitizer_cov_trace_cmp4: u32;
    __sanitizer_cov_trace_cmp8: u64;
    __sanitizer_cov_trace_const_cmp1: u8;
    __sanitizer_cov_trace_const_cmp2: u16;
    __sanitizer_cov_trace_const_cmp4: u32;
    __sanitizer_cov_trace_const_cmp8: u64;
}

/// Called at a `match` on numbers: its cases are found by the counters.
#[unsafe(no_mangle)]
pub extern "C" fn __sanitizer_cov_trace_switch(_value: u64, _cases: *const u64) {}

#[inline]
fn remember(one: u64, other: u64) {
    let place = COMPARISONS.fetch_add(1, Ordering::Relaxed) & (REMEMBERED - 1);
    COMPARED[place][0].store(one, Ordering::Relaxed);
    COMPARED[place][1].store(other, Ordering::Relaxed);
}

/// The counters of a program that was built with instrumentation.
#[derive(Debug)]
pub struct Counters {
    start: *mut u8,
    /// The highest class of each counter so far.
    best: Vec<u8>,
}

impl Counters {
    /// `None` without instrumentation.
    #[must_use]
    pub fn find() -> Option<Self> {
        let (start, stop) = (START.load(Ordering::Relaxed), STOP.load(Ordering::Relaxed));
        let len = (stop as usize).checked_sub(start as usize).filter(|len| *len > 0)?;
        Some(Self { start, best: vec![0; len] })
    }

    /// How many edges there are.
    #[must_use]
    pub fn edges(&self) -> usize {
        self.best.len()
    }

    /// How many of them were ever taken.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.best.iter().filter(|class| **class > 0).count()
    }

    /// Begins anew: everything will be new again.
    pub fn forget(&mut self) {
        self.best.fill(0);
    }

    /// Forgets what was counted and compared before.
    pub fn reset(&mut self) {
        // SAFETY: the counters live as long as the program, and nothing else runs in it now.
        unsafe { std::ptr::write_bytes(self.start, 0, self.best.len()) };
        COMPARISONS.store(0, Ordering::Relaxed);
    }

    /// Whether something was counted since the last reset that never was before; it is known
    /// from now on.
    pub fn is_new(&mut self) -> bool {
        // SAFETY: as above; the bytes are read once, and nobody writes meanwhile.
        let seen = unsafe { std::slice::from_raw_parts(self.start, self.best.len()) };
        let mut is_new = false;
        // Most counters are zero: eight of them are passed over at once.
        let (words, _) = seen.as_chunks::<8>();
        for (word, counts) in words.iter().enumerate() {
            if *counts == [0; 8] {
                continue;
            }
            for (best, count) in self.best[word * 8..].iter_mut().zip(counts) {
                // 1, 2, 3, 4 to 7, 8 and more: how often is told apart roughly.
                let class = [0, 1, 2, 3, 4, 4, 4, 4, 5][usize::from((*count).min(8))];
                if class > *best {
                    *best = class;
                    is_new = true;
                }
            }
        }
        is_new
    }

    /// Operands of comparisons since the last reset that were not equal.
    #[must_use]
    pub fn unequal(&self) -> Vec<(u64, u64)> {
        let count = COMPARISONS.load(Ordering::Relaxed).min(REMEMBERED);
        let pairs = COMPARED.iter().take(count);
        let pairs = pairs.map(|[a, b]| (a.load(Ordering::Relaxed), b.load(Ordering::Relaxed)));
        let different: BTreeSet<_> = pairs.filter(|(a, b)| a != b).collect();
        different.into_iter().collect()
    }
}
