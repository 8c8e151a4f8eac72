//! What others put on a pod's link, and a packet on the fast path would not meet.
//!
//! A redirect into a pod skips what its link sends through: a qdisc that limits it, filters and
//! programs at its egress. A redirect from a pod's packet skips what comes after our own program:
//! filters at the ingress (one of which may lead to a limit elsewhere), and programs behind ours.
//! The kernel's own qdiscs, and those that only hold filters, change nothing by themselves.

use std::collections::BTreeMap;
use std::fmt;
use std::io;

use crate::clsact::is_absence;
use crate::error::DatapathError;
use crate::interface::interface_name;
use crate::link;
use crate::pins;
use crate::pod_hooks::HOOKS;
use crate::tc::{Filter, Qdisc, Side, Tc};
use crate::tcx;

/// The qdisc of an interface that needs none.
const NO_QUEUE: &str = "noqueue";

/// Somebody else's work on a pod's link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// A qdisc of this kind, which everything that goes to the pod has to pass.
    Qdisc(String),
    /// A filter of this kind on what goes to the pod, or comes from it.
    Filter {
        /// Its classifier.
        kind: String,
        /// Whether it is for what comes from the pod.
        from_pod: bool,
    },
    /// A program attached by TCX.
    Program {
        /// Its number.
        id: u32,
        /// Whether it is for what comes from the pod.
        from_pod: bool,
    },
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |from_pod: &bool| if *from_pod { "comes from" } else { "goes to" };
        match self {
            Self::Qdisc(kind) => write!(f, "the qdisc {kind} is on what goes to the pod"),
            Self::Filter { kind, from_pod } => {
                write!(f, "a tc filter ({kind}) is on what {} the pod", of(from_pod))
            }
            Self::Program { id, from_pod } => {
                write!(f, "the TCX program {id} is on what {} the pod", of(from_pod))
            }
        }
    }
}

/// The links of all pods at one moment.
pub struct PodLinks {
    tc: Tc,
    qdiscs: BTreeMap<u32, Vec<Qdisc>>,
}

impl PodLinks {
    /// Asks the kernel for all qdiscs.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn look() -> Result<Self, DatapathError> {
        let failed = |e: io::Error| DatapathError::kernel("cannot list the qdiscs", &e);
        let tc = Tc::open().map_err(failed)?;
        let mut qdiscs: BTreeMap<u32, Vec<Qdisc>> = BTreeMap::new();
        for qdisc in tc.qdiscs().map_err(failed)? {
            qdiscs.entry(qdisc.ifindex).or_default().push(qdisc);
        }
        Ok(Self { tc, qdiscs })
    }

    /// What others put on the host's end of a pod's veth; the first, if there are several.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn stranger(&self, ifindex: u32) -> Result<Option<Stranger>, DatapathError> {
        let qdiscs = self.qdiscs.get(&ifindex).map_or(&[][..], Vec::as_slice);
        let mut roots = qdiscs.iter().filter(|qdisc| qdisc.is_root() && qdisc.kind != NO_QUEUE);
        if let Some(root) = roots.next() {
            return Ok(Some(Stranger::Qdisc(root.kind.clone())));
        }
        let has_sides = qdiscs.iter().any(Qdisc::has_sides);
        for (program, side) in HOOKS {
            let from_pod = side == Side::Ingress;
            if has_sides && let Some(filter) = self.strange_filter(ifindex, side)? {
                return Ok(Some(Stranger::Filter { kind: filter.kind, from_pod }));
            }
            let failed = |e: io::Error| DatapathError::kernel("cannot list a pod's programs", &e);
            let running = tcx::running(ifindex, side).map_err(failed)?;
            if running.is_empty() {
                continue;
            }
            let veth = interface_name(ifindex).unwrap_or_default();
            let ours = link::info(&pins::pod_link_dir(&veth).join(program.as_str()))?;
            let ours = ours.map(|link| link.program_id);
            if let Some(id) = skipped(&running, ours, side) {
                return Ok(Some(Stranger::Program { id, from_pod }));
            }
        }
        Ok(None)
    }

    fn strange_filter(&self, ifindex: u32, side: Side) -> Result<Option<Filter>, DatapathError> {
        let filters = match self.tc.filters(ifindex, side) {
            Ok(filters) => filters,
            // It went away while we looked, or is an `ingress`, which has no other side.
            Err(error) if is_absence(&error) => return Ok(None),
            Err(error) => return Err(DatapathError::kernel("cannot list a pod's filters", &error)),
        };
        let strange = |filter: &Filter| !filter.is_ours() && !filter.is_our_place();
        Ok(filters.into_iter().find(strange))
    }
}

/// The first program of a list, in the order of their running, that a packet on the fast path
/// does not meet. What comes from the pod has met those before ours.
fn skipped(running: &[u32], ours: Option<u32>, side: Side) -> Option<u32> {
    let at = running.iter().position(|id| Some(*id) == ours);
    let behind = match (side, at) {
        (Side::Ingress, Some(at)) => running.get(at + 1..).unwrap_or_default(),
        (Side::Ingress | Side::Egress, _) => running,
    };
    behind.iter().find(|id| Some(**id) != ours).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_from_a_pod_has_met_the_programs_before_ours() {
        assert_eq!(skipped(&[7], Some(7), Side::Ingress), None);
        assert_eq!(skipped(&[5, 7], Some(7), Side::Ingress), None);
        assert_eq!(skipped(&[5, 7, 9], Some(7), Side::Ingress), Some(9));
        // By another way than TCX, ours come last.
        assert_eq!(skipped(&[], None, Side::Ingress), None);
    }

    #[test]
    fn what_goes_to_a_pod_skips_every_program() {
        assert_eq!(skipped(&[7], Some(7), Side::Egress), None);
        assert_eq!(skipped(&[5, 7], Some(7), Side::Egress), Some(5));
        assert_eq!(skipped(&[5], None, Side::Egress), Some(5));
    }
}
