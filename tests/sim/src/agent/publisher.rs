//! [`Publisher`]: keeps the own Node's annotations as they should be, one patch at a time.

use tartan_core::annotations::{
    AnnotationPrefix, Key, NodeRecord, Publication, difference, merge_patch, wanted,
};

use crate::Ms;
use crate::mutant::Mutant;

/// The pause after a patch: its effect comes back with the watch, or it is sent again.
const AGAIN_AFTER: Ms = 1000;

/// What was sent and not answered yet.
#[derive(Debug, Default)]
pub struct Publisher {
    in_flight: Option<u64>,
    not_before: Ms,
    sent_once: bool,
}

impl Publisher {
    /// The patch that has to be sent now, if any: the Node's name and the body.
    pub fn patch(
        &mut self,
        now: Ms,
        record: &NodeRecord,
        publication: &Publication,
        mutant: Option<Mutant>,
    ) -> Option<String> {
        let mut missing = difference(record, wanted(publication, record));
        let is_done = mutant == Some(Mutant::PublishOnce) && self.sent_once;
        if missing.is_empty() || self.in_flight.is_some() || now < self.not_before || is_done {
            return None;
        }
        if mutant == Some(Mutant::TouchUserKeys) {
            let address = publication.public_ip.map(|ip| ip.to_string());
            missing.push((Key::PublicIpOverwrite, address.unwrap_or_default()));
        }
        self.sent_once = true;
        Some(merge_patch(&AnnotationPrefix::default(), &missing))
    }

    /// The patch was sent under this number.
    pub fn sent(&mut self, id: u64) {
        self.in_flight = Some(id);
    }

    /// The patch was answered, or it is not known what became of it.
    pub fn answered(&mut self, now: Ms, id: u64) {
        if self.in_flight == Some(id) {
            self.in_flight = None;
            self.not_before = now + AGAIN_AFTER;
        }
    }
}
