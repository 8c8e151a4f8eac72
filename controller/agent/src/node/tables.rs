//! The kernel's tables, compared with what they shall hold.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::Result;
use ipnet::IpNet;
use nix::net::if_::if_nametoindex;
use nix::time::{ClockId, clock_gettime};
use tartan_common::abi::NodeConfig;
use tartan_core::desired::Desired;
use tartan_core::desired6::Desired6;
use tartan_datapath::{
    Config, DatapathError, Nodes, Nodes6, Peers, Peers6, PodEntry, Pods, Pods6, attach_pod,
    detach_pod, interface_name, pod_is_provisional, pod_pins,
};
use tracing::{info, warn};

use super::difference::{Trust, difference};

/// The tables that the agent writes.
pub(super) struct Tables {
    config: Config,
    peers: Peers,
    nodes: Nodes,
    peers6: Peers6,
    nodes6: Nodes6,
}

/// What had to be changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Changes {
    pub(super) configuration: bool,
    pub(super) added: usize,
    pub(super) removed: usize,
}

impl Tables {
    pub(super) fn open() -> Result<Self, DatapathError> {
        Ok(Self {
            config: Config::open()?,
            peers: Peers::open()?,
            nodes: Nodes::open()?,
            peers6: Peers6::open()?,
            nodes6: Nodes6::open()?,
        })
    }

    /// Brings the tables to the desired state. What is there and right is not written again.
    ///
    /// `known` is what they hold, where that was seen a moment ago: reading the tables of a large
    /// cluster takes longer than changing a few entries. With [`Trust::Memory`] entries that are
    /// there already stay as they are, because the memory may be older than they.
    pub(super) fn apply(
        &mut self,
        desired: &Desired,
        known: Option<&Desired>,
        trust: Trust,
    ) -> Result<Changes, DatapathError> {
        let mut changes = Changes { configuration: self.configure(desired)?, ..Changes::default() };
        let (nodes, peers) = match known {
            Some(known) => {
                (difference(&known.nodes, &desired.nodes), difference(&known.peers, &desired.peers))
            }
            None => (
                difference(&self.nodes.entries()?.into_iter().collect(), &desired.nodes),
                difference(&self.peers.entries()?.into_iter().collect(), &desired.peers),
            ),
        };
        // Another node is the same to us only while we are the same ourselves.
        let trust = if changes.configuration { Trust::Store } else { trust };
        let (nodes, peers) = (nodes.within(trust), peers.within(trust));
        // A subnet that changes hands must not have two senders for a moment.
        for key in &nodes.surplus {
            self.nodes.remove(*key)?;
        }
        for (key, value) in nodes.changes() {
            self.nodes.insert(*key, value)?;
        }
        for (key, value) in peers.changes() {
            self.peers.insert(*key, value)?;
        }
        for key in &peers.surplus {
            self.peers.remove(*key)?;
        }
        changes.added = peers.missing.len() + peers.wrong.len();
        changes.removed = peers.surplus.len();
        self.apply_ipv6(&desired.ipv6, known.map(|known| &known.ipv6), trust, &mut changes)?;
        Ok(changes)
    }

    /// The same for the tables of IPv6, in the same order.
    fn apply_ipv6(
        &mut self,
        desired: &Desired6,
        known: Option<&Desired6>,
        trust: Trust,
        changes: &mut Changes,
    ) -> Result<(), DatapathError> {
        let (nodes, peers) = match known {
            Some(known) => {
                (difference(&known.nodes, &desired.nodes), difference(&known.peers, &desired.peers))
            }
            None => (
                difference(&self.nodes6.entries()?.into_iter().collect(), &desired.nodes),
                difference(&self.peers6.entries()?.into_iter().collect(), &desired.peers),
            ),
        };
        let (nodes, peers) = (nodes.within(trust), peers.within(trust));
        for key in &nodes.surplus {
            self.nodes6.remove(*key)?;
        }
        for (key, value) in nodes.changes() {
            self.nodes6.insert(*key, value)?;
        }
        for (key, value) in peers.changes() {
            self.peers6.insert(*key, value)?;
        }
        for key in &peers.surplus {
            self.peers6.remove(*key)?;
        }
        changes.added += peers.missing.len() + peers.wrong.len();
        changes.removed += peers.surplus.len();
        Ok(())
    }

    fn configure(&mut self, desired: &Desired) -> Result<bool, DatapathError> {
        let current = self.config.get()?;
        let wanted = with_epoch(desired.config, current.as_ref(), monotonic()?);
        self.config.set(&wanted)?;
        // A right that is renewed every few seconds is no change worth a word.
        let renewed = |current| NodeConfig { on_until: wanted.on_until, ..current };
        Ok(current.map(renewed) != Some(wanted))
    }
}

/// What flows may do under one mode, one set of rules and one right they must not keep under
/// another: each begins a new epoch. The renewal of a right that lasts does not.
fn with_epoch(wanted: NodeConfig, current: Option<&NodeConfig>, now: Duration) -> NodeConfig {
    let epoch = match current {
        Some(current) if keeps_rights(&wanted, current, now) => current.epoch,
        Some(current) => current.epoch.wrapping_add(1),
        None => 1,
    };
    NodeConfig { epoch, ..wanted }
}

fn keeps_rights(wanted: &NodeConfig, current: &NodeConfig, now: Duration) -> bool {
    // A right that ends while we write has ended: the programs saw it end.
    let soon = now.saturating_add(Duration::from_secs(1)).as_nanos();
    wanted.fast_path == current.fast_path
        && wanted.rules == current.rules
        && !current.is_over(u64::try_from(soon).unwrap_or(u64::MAX))
}

/// The programs' clock.
fn monotonic() -> Result<Duration, DatapathError> {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from).map_err(|errno| {
        DatapathError::Kernel { what: "cannot read the clock".to_owned(), cause: errno.to_string() }
    })
}

/// How long a pod is left to the CNI plugin that is making it.
pub(super) const MAKING: Duration = Duration::from_secs(3);

/// The pods that the agent knows, and since when.
#[derive(Debug, Default)]
pub(super) struct KnownPods {
    /// Whether the pods are known by their IPv6 addresses: they have no others.
    by_v6: bool,
    entries: BTreeMap<(IpAddr, u32), Instant>,
    /// Interfaces with programs of ours and no entry.
    orphans: BTreeMap<String, Instant>,
    /// Whether pods are left whose lasting links are to be attached.
    provisional: bool,
}

/// Lasting links are attached to so many new pods in one pass: each takes about 25 ms, and peers
/// that change must not wait for all of them.
const ADOPTED_AT_ONCE: usize = 8;
/// How long until the next.
const ADOPT_AGAIN: Duration = Duration::from_millis(100);

/// The table by which every pod of this node is known: that of its first family.
enum Table {
    V4(Pods),
    V6(Pods6),
}

impl Table {
    fn entries(&self) -> Result<Vec<(IpAddr, PodEntry)>, DatapathError> {
        Ok(match self {
            Self::V4(pods) => plain(pods.entries()?),
            Self::V6(pods) => plain(pods.entries()?),
        })
    }

    fn remove_stale(&mut self, address: IpAddr, pod: &PodEntry) -> Result<bool, DatapathError> {
        match (self, address) {
            (Self::V4(pods), IpAddr::V4(address)) => pods.remove_stale(address, pod),
            (Self::V6(pods), IpAddr::V6(address)) => pods.remove_stale(address, pod),
            (Self::V4(_), IpAddr::V6(_)) | (Self::V6(_), IpAddr::V4(_)) => Ok(false),
        }
    }
}

fn plain<A: Into<IpAddr>>(entries: Vec<(A, PodEntry)>) -> Vec<(IpAddr, PodEntry)> {
    entries.into_iter().map(|(address, pod)| (address.into(), pod)).collect()
}

impl KnownPods {
    /// Says of which family the node's first subnet is.
    pub(super) fn are_of(&mut self, subnet: &IpNet) {
        self.by_v6 = subnet.addr().is_ipv6();
    }

    fn table(&self) -> Result<Table, DatapathError> {
        Ok(if self.by_v6 { Table::V6(Pods6::open()?) } else { Table::V4(Pods::open()?) })
    }

    /// Brings every pod's programs in order and forgets pods whose veth is gone.
    /// Returns the pods that are left, address and interface, without those
    /// that the plugin may still be making. Where the overlay device was made just now, they are
    /// among them too: the old device took the routes of every pod with it.
    pub(super) fn repair(&mut self, device_is_new: bool) -> Result<Vec<(IpAddr, u32)>> {
        for (veth, alive) in pod_pins()? {
            if !alive {
                detach_pod(&veth)?;
                info!(veth, "removed the links of a pod that is gone");
            }
        }
        let mut pods = self.table()?;
        let entries = pods.entries()?;
        self.remember(&entries);
        let mut left = Vec::new();
        let mut adoptions = self.adoptions();
        self.provisional = false;
        for (address, pod) in entries {
            let Some(veth) = interface_name(pod.ifindex) else {
                if pods.remove_stale(address, &pod)? {
                    info!(%address, "forgot a pod whose interface is gone");
                }
                continue;
            };
            let is_whole = if self.is_settled(address, pod.ifindex) {
                let is_new = pod_is_provisional(&veth);
                let may_wait = is_new && adoptions == 0;
                self.provisional |= may_wait;
                adoptions = adoptions.saturating_sub(usize::from(is_new));
                may_wait || attached(address, pod.ifindex, &veth)
            } else {
                device_is_new
            };
            if is_whole {
                left.push((address, pod.ifindex));
            }
        }
        Ok(left)
    }

    /// Interfaces of pods that have lost their entry.
    ///
    /// One that has just been seen may be a pod that is leaving. Waiting costs nothing
    /// where the whole map was taken away: until its entry is back, a pod's links run
    /// the programs that still hold the old map.
    pub(super) fn orphans(&mut self) -> Result<Vec<String>> {
        let entries = self.table()?.entries()?;
        let known: BTreeSet<_> = entries.iter().map(|(_, pod)| pod.ifindex).collect();
        let now = Instant::now();
        let mut orphans = BTreeMap::new();
        for (veth, _) in pod_pins()?.into_iter().filter(|(_, alive)| *alive) {
            if if_nametoindex(veth.as_str()).is_ok_and(|index| !known.contains(&index)) {
                let since = self.orphans.get(&veth).copied().unwrap_or(now);
                orphans.insert(veth, since);
            }
        }
        self.orphans = orphans;
        let lasting = self.orphans.iter().filter(|(_, since)| since.elapsed() >= MAKING);
        Ok(lasting.map(|(veth, _)| veth.clone()).collect())
    }

    fn remember(&mut self, entries: &[(IpAddr, PodEntry)]) {
        let now = Instant::now();
        let present: BTreeSet<_> = entries.iter().map(|(ip, pod)| (*ip, pod.ifindex)).collect();
        self.entries.retain(|pod, _| present.contains(pod));
        for pod in present {
            self.entries.entry(pod).or_insert(now);
        }
    }

    /// How many new pods get their lasting links in this pass. None while others are being made:
    /// attaching holds the lock that they wait for.
    fn adoptions(&self) -> usize {
        if self.any_in_the_making() { 0 } else { ADOPTED_AT_ONCE }
    }

    /// When pods want to be looked at again, if they do.
    pub(super) fn due_in(&self) -> Option<Duration> {
        if self.any_in_the_making() {
            return Some(MAKING);
        }
        self.provisional.then_some(ADOPT_AGAIN)
    }

    /// Whether the plugin may still be making one.
    fn any_in_the_making(&self) -> bool {
        self.entries.values().chain(self.orphans.values()).any(|since| since.elapsed() < MAKING)
    }

    fn is_settled(&self, address: IpAddr, ifindex: u32) -> bool {
        self.entries.get(&(address, ifindex)).is_some_and(|since| since.elapsed() >= MAKING)
    }
}

/// One pod that cannot be repaired must not keep the others waiting.
fn attached(address: IpAddr, ifindex: u32, veth: &str) -> bool {
    match attach_pod(veth) {
        Ok(()) => true,
        // It left while we looked: the next pass forgets it.
        Err(_) if interface_name(ifindex).is_none() => false,
        Err(error) => {
            warn!(%address, veth, %error, "cannot repair the programs of a pod");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tartan_common::abi::{Abi as _, FastPath};

    /// A configuration of epoch 7.
    fn config(fast_path: FastPath, on_until: u32, rules: u32) -> NodeConfig {
        let zero = [0; size_of::<NodeConfig>()];
        let fast_path = fast_path as u32;
        NodeConfig { epoch: 7, fast_path, on_until, rules, ..NodeConfig::from_bytes(&zero) }
    }

    fn epoch_after(wanted: NodeConfig, current: Option<NodeConfig>, second: u64) -> u32 {
        let wanted = NodeConfig { epoch: 0, ..wanted };
        with_epoch(wanted, current.as_ref(), Duration::from_secs(second)).epoch
    }

    #[test]
    fn a_renewed_right_stays_in_its_epoch() {
        let current = config(FastPath::On, 100, 1);
        assert_eq!(epoch_after(config(FastPath::On, 130, 1), Some(current), 80), 7);
        assert_eq!(epoch_after(config(FastPath::On, 0, 1), Some(current), 80), 7);
    }

    #[test]
    fn a_right_that_ran_out_is_not_revived() {
        let current = config(FastPath::On, 100, 1);
        for second in [99, 100, 5000] {
            assert_eq!(epoch_after(config(FastPath::On, 6000, 1), Some(current), second), 8);
        }
        let never_on = config(FastPath::AfterAccept, 100, 1);
        assert_eq!(epoch_after(config(FastPath::AfterAccept, 0, 1), Some(never_on), 5000), 7);
    }

    #[test]
    fn other_modes_and_other_rules_begin_an_epoch() {
        let current = config(FastPath::On, 0, 1);
        assert_eq!(epoch_after(current, Some(current), 5000), 7);
        assert_eq!(epoch_after(config(FastPath::On, 0, 2), Some(current), 1), 8);
        assert_eq!(epoch_after(config(FastPath::AfterAccept, 0, 1), Some(current), 1), 8);
        assert_eq!(epoch_after(current, None, 1), 1);
    }
}
