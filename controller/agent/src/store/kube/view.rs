//! [`View`]: from mirrored Nodes to leases, each Node read once per change.

use std::sync::Arc;

use tartan_core::annotations::{NodeLeases, NodeRecord, to_leases};
use tartan_core::reflector::Reflector;
use tracing::warn;

use crate::store::{Fault, Snapshot};

/// New faults are logged up to this many at a time.
const MOST_LOGGED: usize = 10;

/// The leases of every Node, as of some generation of the mirror.
#[derive(Default)]
pub(super) struct View {
    generation: Option<u64>,
    /// In the order of their names, as the mirror has them.
    nodes: Vec<(Arc<NodeRecord>, NodeLeases)>,
    faults: Vec<Fault>,
}

impl View {
    /// Reads the Nodes that changed.
    pub(super) fn refresh(&mut self, reflector: &Reflector) {
        if self.generation == Some(reflector.generation()) {
            return;
        }
        let mut old = std::mem::take(&mut self.nodes).into_iter().peekable();
        self.nodes.reserve_exact(reflector.len());
        for record in reflector.records() {
            while old.next_if(|(known, _)| known.name < record.name).is_some() {}
            let known = old.next_if(|(known, _)| Arc::ptr_eq(known, record));
            let node = known.unwrap_or_else(|| (Arc::clone(record), to_leases(record)));
            self.nodes.push(node);
        }
        self.generation = Some(reflector.generation());
        let faults = self.nodes.iter().flat_map(|(record, leases)| faults(record, leases));
        let faults: Vec<Fault> = faults.collect();
        self.log_new(&faults);
        self.faults = faults;
    }

    /// All leases.
    pub(super) fn snapshot(&self) -> Snapshot {
        let leases = || self.nodes.iter().map(|(_, leases)| leases);
        let mut snapshot = Snapshot {
            leases: leases().filter_map(|node| node.v4.as_ref().ok()?.clone()).collect(),
            leases6: leases().filter_map(|node| node.v6.as_ref().ok()?.clone()).collect(),
            expired: Vec::new(),
            faults: self.faults.clone(),
        };
        // Stable, on top of the order of the names.
        snapshot.leases.sort_by_key(|lease| lease.subnet);
        snapshot.leases6.sort_by_key(|lease| lease.subnet);
        snapshot
    }

    fn log_new(&self, faults: &[Fault]) {
        let new = || faults.iter().filter(|fault| !self.faults.contains(fault));
        for fault in new().take(MOST_LOGGED) {
            warn!(node = fault.place, what = fault.what, "this Node's lease cannot be used");
        }
        let more = new().count().saturating_sub(MOST_LOGGED);
        if more > 0 {
            warn!(more, "leases of more Nodes cannot be used");
        }
    }
}

fn faults(record: &NodeRecord, leases: &NodeLeases) -> impl Iterator<Item = Fault> {
    let v4 = leases.v4.as_ref().err().map(|fault| format!("IPv4: {fault}"));
    let v6 = leases.v6.as_ref().err().map(|fault| format!("IPv6: {fault}"));
    let place = format!("Node {}", record.name);
    [v4, v6].into_iter().flatten().map(move |what| Fault { place: place.clone(), what })
}
