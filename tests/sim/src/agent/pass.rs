//! One pass: from the mirror and the memory to the kernel's tables.

use tartan_common::{Vni, abi};
use tartan_core::annotations::{
    Networks, Own, OwnFault, Publication, own_leases, to_leases, wishes,
};
use tartan_core::conflict::{self, Observer, Peer};
use tartan_core::desired::{Desired, desired};
use tartan_core::{LastKnown, Lease, LeaseBackend, NetConf, VxlanData};

use super::{Host, Process};
use crate::mutant::Mutant;
use crate::{Ms, NETWORK, VNI};

/// The memory file is written no more often.
const FILE_EVERY: Ms = 5000;

/// What a pass came to.
#[derive(Debug)]
pub struct Outcome {
    /// What the tables should hold; `None` while the node holds nothing.
    pub desired: Option<(Desired, Vec<Peer>)>,
    /// The patch of the own Node that has to be sent.
    pub patch: Option<String>,
}

/// Why the store gave nothing.
enum Refused {
    /// It has not answered yet.
    Silent,
    /// It answered that the node holds nothing.
    Objects,
}

impl Process {
    /// One pass. The tables are for the caller to write.
    pub fn pass(
        &mut self,
        host: &mut Host,
        conf: &NetConf,
        now: Ms,
        mutant: Option<Mutant>,
    ) -> Outcome {
        let generation = Some(self.mirror.generation());
        let is_new = self.passed != generation;
        self.passed = generation;
        if self.mirror.is_synced()
            && let Some(record) = self.mirror.get(&host.name)
        {
            self.wishes = wishes(record);
        }
        let publication = self.publication(host);
        let own = self.hold(host, &publication, mutant);
        let patch = self.publish(host, now, mutant);
        if is_new {
            self.list();
        }
        let Some(own) = own else {
            return Outcome { desired: None, patch };
        };
        host.device = own.vtep_mac().or(host.device);
        if !(mutant == Some(Mutant::HoldTheMemoryBack) && self.objection) {
            self.memorise(host, &own, now);
        }
        let peers = self.peers(&own, mutant);
        let facts = host.facts(own.vtep_mac().unwrap_or(self.new_mac), &peers);
        let desired = desired(conf, Some(&own), &peers, &facts, abi::FastPath::On);
        Outcome { desired: Some((desired, peers)), patch }
    }

    fn publication(&self, host: &Host) -> Publication {
        let held = self.held.as_ref().and_then(Lease::vtep_mac);
        let mac = host.device.or(held).or(self.wishes.vtep_mac).unwrap_or(self.new_mac);
        let public_ip = self.wishes.public_ip.unwrap_or(host.address);
        Publication {
            public_ip: Some(public_ip),
            backend: LeaseBackend::Vxlan(VxlanData { vni: Some(vni()), vtep_mac: mac }),
            ipv6: None,
        }
    }

    fn publish(&mut self, host: &Host, now: Ms, mutant: Option<Mutant>) -> Option<String> {
        let (record, publication) = (self.mirror.get(&host.name)?, self.publication.as_ref()?);
        self.publisher.patch(now, record, publication, mutant)
    }

    fn hold(
        &mut self,
        host: &mut Host,
        publication: &Publication,
        mutant: Option<Mutant>,
    ) -> Option<Lease> {
        match self.ask(host, publication) {
            Ok(own) => {
                self.objection = false;
                self.publication = Some(publication.clone());
                self.held = own.v4;
            }
            Err(Refused::Silent) => self.hold_on(publication),
            Err(Refused::Objects) => {
                self.objection = true;
                if mutant == Some(Mutant::LetGoWithoutNode) {
                    self.held = None;
                    host.tables = super::host::Tables::default();
                }
                self.hold_on(publication);
            }
        }
        self.held.clone()
    }

    fn hold_on(&mut self, publication: &Publication) {
        if let Some(held) = &mut self.held {
            held.backend = publication.backend.clone();
        }
    }

    fn ask(&self, host: &Host, publication: &Publication) -> Result<Own, Refused> {
        if !self.mirror.is_synced() {
            return Err(Refused::Silent);
        }
        let record = self.mirror.get(&host.name).ok_or(Refused::Objects)?;
        own_leases(record, publication, networks()).map_err(|_: OwnFault| Refused::Objects)
    }

    fn list(&mut self) {
        if self.mirror.is_synced() {
            let leases = self.mirror.records().filter_map(|record| to_leases(record).v4.ok()?);
            self.snapshot = Some(leases.collect());
        }
    }

    fn memorise(&mut self, host: &mut Host, own: &Lease, now: Ms) {
        // While the store objects, nothing new is noted; what was noted before is still written.
        if let Some(leases) = self.snapshot.clone().filter(|_| !self.objection) {
            self.note_leases(host, own, leases);
        }
        let memory = &mut self.memory;
        let is_due = memory.tried_at.is_none_or(|at| now >= at + FILE_EVERY);
        if is_due && let Some(known) = memory.pending.take() {
            memory.tried_at = Some(now);
            host.last_known = serde_json::to_string(&known).ok();
            memory.written = Some(known);
        }
    }

    fn note_leases(&mut self, host: &Host, own: &Lease, leases: Vec<Lease>) {
        let known = LastKnown {
            node_name: host.name.clone(),
            wished_ip: self.wishes.public_ip,
            wished_ipv6: None,
            own: Some(own.clone()),
            own6: None,
            leases,
            leases6: Vec::new(),
        };
        let memory = &mut self.memory;
        memory.pending = (memory.written.as_ref() != Some(&known)).then_some(known);
    }

    fn peers(&self, own: &Lease, mutant: Option<Mutant>) -> Vec<Peer> {
        let mut own = own.clone();
        let mut leases = self.snapshot.clone().unwrap_or_default();
        if mutant == Some(Mutant::ForgetOwnSubnet)
            && let Ok(other) = "10.244.255.0/24".parse()
        {
            own.subnet = other;
        }
        if mutant == Some(Mutant::YoungestClaimWins) {
            for lease in &mut leases {
                let age = u64::from(u32::MAX) - lease.claimed_at.unix_seconds().min(1 << 31);
                lease.claimed_at = tartan_core::Timestamp::from_unix_seconds(age);
            }
        }
        conflict::peers(Observer { own: &own, network: NETWORK, vni: Some(vni()) }, &leases).usable
    }

    /// When the next pass is due if nothing happens.
    #[must_use]
    pub fn next_look(&self, now: Ms) -> Ms {
        let file = self.memory.pending.as_ref().and(self.memory.tried_at).map(|at| at + FILE_EVERY);
        file.map_or(now + 10_000, |due| due.clamp(now + 1, now + 10_000))
    }
}

fn networks() -> Networks {
    Networks { v4: Some(NETWORK), v6: None }
}

fn vni() -> Vni {
    Vni::new(u64::from(VNI)).unwrap_or_else(|_| unreachable!("1 is a VNI"))
}
