//! The comparison of what came out on either side.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Result, ensure};
use tartan_common::reason::Reason;

use super::generate::{Generated, Way, number_of};
use crate::checksums::{self, Sum};
use crate::counters::Counts;
use crate::forge::TUNNEL_PORT;
use crate::hex;

/// What is compared, and what may differ.
pub(super) struct Rules {
    /// Bytes of an encapsulated frame that its sender chooses.
    free: &'static [std::ops::Range<usize>],
}

/// The outer identification and the sum over it, the UDP source port (flow entropy, RFC 7348
/// section 5) and the UDP checksum (zero or right, RFC 7348 section 4.1).
pub(super) const IPV4: Rules = Rules { free: &[18..20, 24..26, 34..36, 40..42] };
/// The flow label (flow entropy as well, RFC 6438), the UDP source port, and the UDP checksum,
/// which is over it.
pub(super) const IPV6: Rules = Rules { free: &[15..18, 54..56, 60..62] };
/// So many differences are shown of each sort.
const SHOWN: usize = 2;
/// So large a part of the packets must come out on both sides: the others compare nothing.
const LEAST: f64 = 0.4;

/// Where we let through what the kernel's vxlan drops.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Laxer {
    /// The UDP checksum of a tunnel packet need not be verified (RFC 7348 section 4.1); the pods'
    /// own checksums are.
    OuterUdpChecksum,
    /// What lies behind the end that an inner IPv6 header names stays on the frame, as padding
    /// does on any Ethernet; who reads the packet does not see it.
    Padding,
}

/// What became of the packets, by kind.
pub(super) struct Comparison {
    rules: &'static Rules,
    equal: [u64; 2],
    neither: u64,
    /// Only the kernel's vxlan let them through: by reason.
    stricter: BTreeMap<&'static str, u64>,
    /// Only we let them through: by what is wrong with them.
    laxer: BTreeMap<Laxer, u64>,
    /// What may not be, by what was changed, with an example.
    wrong: BTreeMap<String, (u64, String)>,
}

impl Comparison {
    /// Nothing compared yet.
    pub(super) fn of(rules: &'static Rules) -> Self {
        let (stricter, laxer, wrong) = Default::default();
        Self { rules, equal: [0; 2], neither: 0, stricter, laxer, wrong }
    }

    /// Compares one packet; `reason` is the model's for dropping it.
    pub(super) fn add(
        &mut self,
        reason: impl FnOnce() -> Option<Reason>,
        case: &Generated,
        ours: Option<&[u8]>,
        theirs: Option<&[u8]>,
    ) {
        match (ours, theirs) {
            (None, None) => self.neither += 1,
            (Some(mine), Some(kernels)) => {
                let fixed = |frame| fixed(self.rules, case.way, frame);
                let (mine, kernels) = (fixed(mine), fixed(kernels));
                if mine == kernels {
                    self.equal[usize::from(case.way == Way::In)] += 1;
                } else if case.way == Way::In && unpadded(&mine) == unpadded(&kernels) {
                    *self.laxer.entry(Laxer::Padding).or_default() += 1;
                } else {
                    self.wrong("other bytes", case, &[&mine, &kernels]);
                }
            }
            (None, Some(kernels)) => match reason() {
                Some(reason) => *self.stricter.entry(reason.name()).or_default() += 1,
                None => self.wrong("lost without a reason", case, &[kernels]),
            },
            (Some(mine), None) => match laxer(case, mine) {
                Some(fault) => *self.laxer.entry(fault).or_default() += 1,
                None => self.wrong("more than the kernel delivers", case, &[mine]),
            },
        }
    }

    fn wrong(&mut self, kind: &str, case: &Generated, seen: &[&[u8]]) {
        let name = format!("{kind} ({:?}): {}", case.way, case.what);
        let (count, example) = self.wrong.entry(name).or_default();
        *count += 1;
        if example.is_empty() {
            let seen: Vec<_> = seen.iter().map(|bytes| hex::encode(bytes)).collect();
            let sent = hex::encode(&case.bytes);
            *example = format!(
                "number {}\n  sent {sent}\n  seen {}",
                case.number,
                seen.join("\n  kernel ")
            );
        }
    }

    /// Whether everything is as it must be.
    pub(super) fn judge(&self, packets: usize, drops: &Counts) -> Result<()> {
        let sorts = ["other", "lost", "more"];
        let of =
            |sort| self.wrong.iter().filter(move |(name, _)| name.starts_with(sort)).take(SHOWN);
        let shown: Vec<_> = sorts.into_iter().flat_map(of).collect();
        ensure!(self.wrong.is_empty(), "{} kinds of differences: {shown:#?}", self.wrong.len());
        for (reason, count) in &self.stricter {
            // What did not come out was sent twice.
            ensure!(drops.get(reason) >= 2 * count, "{reason}: {count} are missing, {drops:?}");
        }
        let [out, into] = self.equal;
        #[expect(clippy::cast_precision_loss, reason = "a share")]
        let share = (out + into) as f64 / packets as f64;
        ensure!(share >= LEAST, "only {:.0} % came out on both sides", share * 100.0);
        Ok(())
    }
}

/// What may be compared: of a frame on the wire all but what the sender chooses, of one in a pod
/// the packet, for the way into a pod has other stations.
fn fixed(rules: &Rules, way: Way, frame: &[u8]) -> Vec<u8> {
    match way {
        Way::In => frame.get(14..).unwrap_or_default().to_vec(),
        Way::Out => {
            let mut frame = frame.to_vec();
            for range in rules.free {
                if let Some(bytes) = frame.get_mut(range.clone()) {
                    bytes.fill(0);
                }
            }
            frame
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [out, into] = self.equal;
        let Self { neither, stricter, laxer, wrong, .. } = self;
        write!(
            f,
            "equal: {out} out, {into} in; on neither side: {neither}; stricter: {stricter:?}"
        )?;
        write!(f, "; laxer: {laxer:?}")?;
        let sum: u64 = wrong.values().map(|(count, _)| count).sum();
        write!(f, "; different: {sum}")?;
        for (name, (count, _)) in wrong.iter().take(40) {
            write!(f, "\n  {count:6} {name}")?;
        }
        Ok(())
    }
}

/// An IPv6 packet up to its end by its own word; others as they are.
fn unpadded(packet: &[u8]) -> &[u8] {
    match packet {
        [first, _, _, _, high, low, ..] if first >> 4 == 6 => {
            let end = 40 + usize::from(u16::from_be_bytes([*high, *low]));
            packet.get(..end).unwrap_or(packet)
        }
        _ => packet,
    }
}

/// A tunnel packet whose UDP checksum is there, and wrong; or one that ends before its number.
fn laxer(case: &Generated, mine: &[u8]) -> Option<Laxer> {
    if case.way == Way::Out {
        return None;
    }
    if number_of(unpadded(mine.get(14..)?)).is_none() {
        return Some(Laxer::Padding);
    }
    let sums = checksums::tunnel(&case.bytes, TUNNEL_PORT)?;
    (sums.outer[1] == Sum::Wrong).then_some(Laxer::OuterUdpChecksum)
}
