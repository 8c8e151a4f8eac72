//! Headers, exhaustively: sheets of frames, each the product of a few axes.
//!
//! A decision depends on many fields, but on few of them together. Each [`Sheet`]
//! takes the fields that meet in one part of a decision and goes through every
//! combination of the values that matter, or of all values that there are.
//!
//! | Module | Holds |
//! |---|---|
//! | `draft` | a frame to be, with all that the decision sees besides it |
//! | `whose` | the addresses of the fixture and of this module's own pods, in both families |
//! | `state` | gate, flows and tags that a frame meets |
//! | `pods`, `overlay`, `uplink`, `tunnel` | the sheets, by program |

mod draft;
mod overlay;
mod pods;
mod state;
mod tunnel;
mod uplink;
mod whose;

pub use draft::{Draft, L4, Layer, Tunnel};
pub use state::{Flow, Setting, Tag, memory};
pub use whose::{Family, Whose};

use std::iter;
use std::rc::Rc;

/// Where a frame is met: at a hook, or behind the kernel's own decapsulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Program {
    /// `pod_egress`.
    PodEgress,
    /// `pod_ingress`.
    PodIngress,
    /// `overlay_egress`.
    OverlayEgress,
    /// `overlay_ingress`.
    OverlayIngress,
    /// `uplink_ingress`.
    UplinkIngress,
    /// `uplink_egress`.
    UplinkEgress,
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::PodEgress,
        Self::PodIngress,
        Self::OverlayEgress,
        Self::OverlayIngress,
        Self::UplinkIngress,
        Self::UplinkEgress,
    ];

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::PodEgress => "pod_egress",
            Self::PodIngress => "pod_ingress",
            Self::OverlayEgress => "overlay_egress",
            Self::OverlayIngress => "overlay_ingress",
            Self::UplinkIngress => "uplink_ingress",
            Self::UplinkEgress => "uplink_egress",
        }
    }
}

/// One value of an axis: what it changes in a draft.
type Change = Rc<dyn Fn(&mut Draft)>;

/// One field, or whatever changes together.
pub(crate) struct Axis(Vec<Change>);

/// The axis of these values.
pub(crate) fn axis<T: Copy + 'static>(
    values: impl IntoIterator<Item = T>,
    set: impl Fn(&mut Draft, T) + 'static,
) -> Axis {
    let set = Rc::new(set);
    let change = |value: T| -> Change {
        let set = Rc::clone(&set);
        Rc::new(move |draft| set(draft, value))
    };
    Axis(values.into_iter().map(change).collect())
}

/// A right checksum of an IPv4 header, and one with each single bit the wrong way.
pub(crate) fn wrong_sums(layer: Layer) -> Axis {
    let bits = iter::once(0).chain((0..16).map(|bit| 1 << bit));
    axis(bits, move |draft, wrong| draft.wrong_sum = Some((layer, wrong)))
}

/// Every combination of some axes.
pub struct Sheet {
    /// What it is about.
    pub name: &'static str,
    /// Where its frames are met.
    pub program: Program,
    start: Draft,
    axes: Vec<Axis>,
}

impl Sheet {
    pub(crate) fn new(
        name: &'static str,
        program: Program,
        start: Draft,
        axes: impl Into<Vec<Axis>>,
    ) -> Self {
        Self { name, program, start, axes: axes.into() }
    }

    /// Leaves the frames of one family: the first axis is that of the families.
    pub(crate) fn only(&mut self, family: Family) {
        let is_v4 = family == Family::V4;
        if let Some(Axis(values)) = self.axes.first_mut() {
            values.retain({
                let mut is_first = true;
                move |_| std::mem::replace(&mut is_first, false) == is_v4
            });
        }
    }

    /// How many frames there are.
    #[must_use]
    pub fn cases(&self) -> usize {
        self.axes.iter().map(|axis| axis.0.len()).product()
    }

    /// The frames, the last axis changing fastest.
    pub fn drafts(&self) -> impl Iterator<Item = Draft> {
        (0..self.cases()).map(|number| self.draft(number))
    }

    fn draft(&self, mut number: usize) -> Draft {
        let mut draft = self.start.clone();
        let mut places: Vec<_> = iter::repeat_n(0, self.axes.len()).collect();
        for (place, axis) in places.iter_mut().zip(&self.axes).rev() {
            *place = number % axis.0.len();
            number /= axis.0.len();
        }
        // From the first to the last, for an edit may build upon another.
        for (place, axis) in places.iter().zip(&self.axes) {
            if let Some(change) = axis.0.get(*place) {
                change(&mut draft);
            }
        }
        draft
    }
}

/// All sheets.
#[must_use]
pub fn sheets() -> Vec<Sheet> {
    [pods::sheets(), overlay::sheets(), tunnel::sheets(), uplink::sheets()]
        .into_iter()
        .flatten()
        .collect()
}
