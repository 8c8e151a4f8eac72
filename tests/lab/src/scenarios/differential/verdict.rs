//! The comparison of what came out on either side.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Result, ensure};

use super::generate::{Generated, Way};
use super::model::Model;
use crate::counters::Counts;
use crate::hex;

/// Bytes of an encapsulated frame that its sender chooses: the outer identification and the sum
/// over it, the UDP source port (flow entropy, RFC 7348 section 5) and the UDP checksum (zero or
/// right, RFC 7348 section 4.1).
const FREE: [std::ops::Range<usize>; 4] = [18..20, 24..26, 34..36, 40..42];
/// So many differences are shown of each sort.
const SHOWN: usize = 2;
/// So large a part of the packets must come out on both sides: the others compare nothing.
const LEAST: f64 = 0.4;

/// Where we let through what the kernel's vxlan drops.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Laxer {
    /// The UDP checksum of a tunnel packet need not be verified (RFC 7348 section 4.1); the pods'
    /// own checksums are.
    OuterUdpChecksum,
}

/// What became of the packets, by kind.
#[derive(Default)]
pub(super) struct Comparison {
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
    /// Compares one packet.
    pub(super) fn add(
        &mut self,
        model: &Model,
        case: &Generated,
        ours: Option<&[u8]>,
        theirs: Option<&[u8]>,
    ) {
        match (ours, theirs) {
            (None, None) => self.neither += 1,
            (Some(mine), Some(kernels)) => {
                let (mine, kernels) = (fixed(case.way, mine), fixed(case.way, kernels));
                if mine == kernels {
                    self.equal[usize::from(case.way == Way::In)] += 1;
                } else {
                    self.wrong("other bytes", case, &[&mine, &kernels]);
                }
            }
            (None, Some(kernels)) => match model.reason(case) {
                Some(reason) => *self.stricter.entry(reason.name()).or_default() += 1,
                None => self.wrong("lost without a reason", case, &[kernels]),
            },
            (Some(mine), None) => match laxer(case) {
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
fn fixed(way: Way, frame: &[u8]) -> Vec<u8> {
    match way {
        Way::In => frame.get(14..).unwrap_or_default().to_vec(),
        Way::Out => {
            let mut frame = frame.to_vec();
            for range in FREE {
                if let Some(bytes) = frame.get_mut(range) {
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

/// What is wrong with a packet that only we let through, if that is on the list.
fn laxer(case: &Generated) -> Option<Laxer> {
    let udp = case.bytes.get(40..42).filter(|_| case.way == Way::In)?;
    (udp != [0, 0]).then_some(Laxer::OuterUdpChecksum)
}
