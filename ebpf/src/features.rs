//! What this kernel has: read-only data that the loader fills in before the verifier looks, so
//! that what is missing is dead code, which the verifier takes out.

use aya_ebpf::Global;
pub(crate) use tartan_common::features::Feature;
use tartan_common::features::Features;

#[unsafe(no_mangle)]
static FEATURES: Global<u32> = Global::new(Features::ALL.bits());

/// Whether this kernel has the feature.
#[inline(always)]
pub(crate) fn has(feature: Feature) -> bool {
    Features::from_bits(FEATURES.load()).has(feature)
}
