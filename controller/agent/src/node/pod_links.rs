//! Pods that must not skip the host stack: others put a limit, a filter or a program on their
//! links, or they ask for it.
//!
//! A redirect would bypass what is on a pod's link. So the agent looks whenever the kernel tells
//! of a change there, and at every link now and then, and writes what it finds into the pod's
//! entries, where the programs read it with each packet: flows that are under way obey at once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Instant;

use tartan_core::state::SlowPodState;
use tartan_datapath::{
    DatapathError, PodEntry, PodLinks, Pods, Pods6, Stranger, interface_name, pod_wishes_stack,
};
use tracing::info;

use super::tables::MAKING;
use super::{LOOK_EVERY, Node};
use crate::host::{Changed, ChangedLinks, LinkEvents};
use crate::store::LeaseStore;

/// Why a pod with the wish is slow.
const ASKED: &str = "it asks for that: its annotation tartan.dev/fast-path is \"off\"";
/// Why a pod is slow whose link was not looked at yet.
const TOLD: &str = "others put a limit, a filter or a program on its link, or are about to";

/// What the agent knows of its pods' links.
#[derive(Debug, Default)]
pub(super) struct LinkWatch {
    changed: ChangedLinks,
    /// When every link was looked at.
    looked_at: Option<Instant>,
    /// Since when each link of a pod is known, by its index.
    known: BTreeMap<u32, Instant>,
    /// What others put on which link.
    strangers: BTreeMap<u32, String>,
}

/// What a look found.
#[derive(Debug, Default)]
pub(super) struct SlowPods {
    pods: Vec<SlowPodState>,
    /// Why it is not known what is on the pods' links.
    trouble: Option<String>,
}

impl SlowPods {
    /// Adds it to the state file's content.
    pub(super) fn report(self, state: &mut tartan_core::state::AgentState) {
        state.slow_pods = self.pods;
        state.problems.extend(self.trouble);
    }
}

impl<S: LeaseStore> Node<S> {
    /// Starts listening for what others put on links.
    #[must_use]
    pub fn link_events(&self) -> LinkEvents {
        LinkEvents::listen(self.links.changed.clone())
    }
}

/// The pods of this node by both their addresses.
struct Entries {
    v4: (Pods, Vec<(Ipv4Addr, PodEntry)>),
    v6: (Pods6, Vec<(Ipv6Addr, PodEntry)>),
}

impl Entries {
    /// Nothing where the maps are not made yet.
    fn open() -> Result<Option<Self>, DatapathError> {
        let opened = Pods::open().and_then(|pods| Ok((pods, Pods6::open()?)));
        let (pods, pods6) = match opened {
            Ok(both) => both,
            Err(DatapathError::NotSetUp(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let (v4, v6) = (pods.entries()?, pods6.entries()?);
        Ok(Some(Self { v4: (pods, v4), v6: (pods6, v6) }))
    }

    fn all(&self) -> impl Iterator<Item = (IpAddr, &PodEntry)> {
        let v4 = self.v4.1.iter().map(|(ip, pod)| (IpAddr::from(*ip), pod));
        v4.chain(self.v6.1.iter().map(|(ip, pod)| (IpAddr::from(*ip), pod)))
    }

    fn links(&self) -> BTreeSet<u32> {
        self.all().map(|(_, pod)| pod.ifindex).collect()
    }

    /// Writes what was found on a link into the entries of its pod; says whether that is news.
    fn write(&mut self, ifindex: u32, is_strange: bool) -> Result<bool, DatapathError> {
        let mut is_news = false;
        for (address, pod) in self.v4.1.iter_mut().filter(|(_, pod)| pod.ifindex == ifindex) {
            let new = pod.with_stranger(is_strange);
            if new != *pod && self.v4.0.replace(*address, pod, &new)? {
                (*pod, is_news) = (new, true);
            }
        }
        for (address, pod) in self.v6.1.iter_mut().filter(|(_, pod)| pod.ifindex == ifindex) {
            let new = pod.with_stranger(is_strange);
            if new != *pod && self.v6.0.replace(*address, pod, &new)? {
                (*pod, is_news) = (new, true);
            }
        }
        Ok(is_news)
    }
}

/// An entry that is made anew, with what the programs have to know.
pub(super) fn flagged(pod: PodEntry) -> Result<PodEntry, DatapathError> {
    let has_stranger = PodLinks::look()?.stranger(pod.ifindex)?.is_some();
    let asks = interface_name(pod.ifindex).is_some_and(|veth| pod_wishes_stack(&veth));
    Ok(PodEntry { flags: PodEntry::flags_of(asks, has_stranger), ..pod })
}

impl LinkWatch {
    /// Looks where something may have changed, and tells the programs. What cannot be looked at
    /// stays as it is, and is looked at again with the next pass.
    pub(super) fn heed(&mut self) -> SlowPods {
        match self.look() {
            Ok(pods) => SlowPods { pods, trouble: None },
            Err(error) => {
                self.changed.note_any();
                let trouble = format!(
                    "what others put on the pods' links is not known, and may be bypassed: \
                     {error}; set FastPath \"off\" if pods have limits"
                );
                SlowPods { pods: Vec::new(), trouble: Some(trouble) }
            }
        }
    }

    fn look(&mut self) -> Result<Vec<SlowPodState>, DatapathError> {
        let Some(mut entries) = Entries::open()? else { return Ok(Vec::new()) };
        let links = entries.links();
        self.remember(&links);
        let due = self.due(links);
        if !due.is_empty() {
            let kernel = PodLinks::look()?;
            for ifindex in due {
                self.settle(ifindex, kernel.stranger(ifindex)?, &mut entries)?;
            }
        }
        Ok(entries.all().filter_map(|(address, pod)| self.state(address, pod)).collect())
    }

    fn remember(&mut self, links: &BTreeSet<u32>) {
        let now = Instant::now();
        self.known.retain(|link, _| links.contains(link));
        self.strangers.retain(|link, _| links.contains(link));
        for link in links {
            self.known.entry(*link).or_insert(now);
        }
    }

    /// The links to look at: those that the kernel told of, and all of them now and then, for
    /// it tells nothing of programs.
    fn due(&mut self, links: BTreeSet<u32>) -> BTreeSet<u32> {
        let recent = self.looked_at.is_some_and(|at| at.elapsed() < LOOK_EVERY);
        match self.changed.take() {
            Changed::These(changed) if recent => &changed & &links,
            Changed::These(_) | Changed::Any => {
                self.looked_at = Some(Instant::now());
                links
            }
        }
    }

    fn settle(
        &mut self,
        ifindex: u32,
        found: Option<Stranger>,
        entries: &mut Entries,
    ) -> Result<(), DatapathError> {
        let is_new = self.known.get(&ifindex).is_none_or(|since| since.elapsed() < MAKING);
        match &found {
            // The plugin that limits a new pod comes after ours, which said that it will; and ours
            // attaches its programs before it pins them.
            None | Some(Stranger::Program { .. }) if is_new => return Ok(()),
            None
            | Some(Stranger::Qdisc(_) | Stranger::Filter { .. } | Stranger::Program { .. }) => {}
        }
        let found = found.map(|stranger| stranger.to_string());
        if entries.write(ifindex, found.is_some())? {
            let link = interface_name(ifindex).unwrap_or_default();
            if let Some(why) = &found {
                info!(link, why, "a pod takes the host stack from now on");
            } else {
                info!(link, "a pod may take the fast path again");
            }
        }
        match found {
            Some(why) => self.strangers.insert(ifindex, why),
            None => self.strangers.remove(&ifindex),
        };
        Ok(())
    }

    fn state(&self, address: IpAddr, pod: &PodEntry) -> Option<SlowPodState> {
        if pod.may_be_fast() {
            return None;
        }
        let stranger = pod.has_stranger().then(|| self.strangers.get(&pod.ifindex));
        let stranger = stranger.map(|found| found.map_or(TOLD, String::as_str).to_owned());
        let asked = pod.asks_for_stack().then(|| ASKED.to_owned());
        let reasons: Vec<_> = stranger.into_iter().chain(asked).collect();
        let interface = interface_name(pod.ifindex).unwrap_or_default();
        Some(SlowPodState { address, interface, why: reasons.join("; ") })
    }
}
