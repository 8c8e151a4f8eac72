//! Three nodes, a stranger on the wire, and what a forger knows of them.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::cluster::{Cluster, Member};
use crate::counters::Counts;
use crate::forge::TunnelFrame;
use crate::frames::{self, Ipv4, MacBytes, UDP};
use crate::lab::{Lab, Outsider};
use crate::lease::Lease;
use crate::pod::{Pod, link_mac};
use crate::process::{Place, eventually};
use crate::scenario::Scenario;
use crate::traffic;

/// What every forged packet carries, so that a capture knows it.
pub(in crate::scenarios) const MARK: &[u8] = b"forged for the refusal test, 32B";
/// Where forged datagrams want to go: the port of the sinks.
pub(in crate::scenarios) const PORT: u16 = 7200;

/// A node as a forger sees it.
#[derive(Debug, Clone)]
pub(in crate::scenarios) struct Mark {
    /// Its address on the wire.
    pub(in crate::scenarios) address: Ipv4Addr,
    /// Its MAC on the wire.
    pub(in crate::scenarios) mac: MacBytes,
    /// The MAC of its overlay device.
    pub(in crate::scenarios) vtep: MacBytes,
    /// The address of its overlay device, the first of its subnet.
    pub(in crate::scenarios) vtep_address: Ipv4Addr,
    /// The address of its first pod.
    pub(in crate::scenarios) pod: Ipv4Addr,
}

/// The lab of these scenarios.
pub(in crate::scenarios) struct Ground {
    /// The node that is to refuse (two pods), a known sender, and a third node.
    pub(in crate::scenarios) cluster: Cluster,
    /// No node at all.
    pub(in crate::scenarios) stranger: Outsider,
    /// The nodes as a forger sees them.
    pub(in crate::scenarios) marks: [Mark; 3],
    _lab: Lab,
}

impl Ground {
    /// Nodes that all know each other, with this net-conf or the lab's.
    pub(in crate::scenarios) fn new(lab: Lab, net_conf: Option<&str>) -> Result<Self> {
        let mut members = Vec::new();
        for pods in [2, 1, 1] {
            let node = lab.node()?;
            if let Some(text) = net_conf {
                node.write(crate::node::NET_CONF, text)?;
            }
            members.push(Member::new(node, pods)?);
        }
        let stranger = lab.outsider("stranger")?;
        let cluster = Cluster { members };
        for (from, to) in cluster.pairs() {
            let ping = format!("ping -n -c 1 -W 1 {}", to.address()?);
            eventually("the nodes know each other", Duration::from_secs(10), || {
                from.succeeds(&ping)
            })?;
        }
        let marks = marks(&cluster)?;
        Ok(Self { cluster, stranger, marks, _lab: lab })
    }

    /// The node that is to refuse.
    pub(in crate::scenarios) fn target(&self) -> &Member {
        &self.cluster.members[0]
    }

    /// The known sender.
    pub(in crate::scenarios) fn sender(&self) -> &Member {
        &self.cluster.members[1]
    }

    /// A pod of the target, by number.
    pub(in crate::scenarios) fn pod(&self, number: usize) -> &Pod {
        &self.target().pods[number]
    }

    /// The packet that the known sender's pod sends to the target's first pod.
    pub(in crate::scenarios) fn inner(&self) -> Ipv4 {
        Ipv4::new(self.marks[1].pod, self.marks[0].pod, UDP)
    }

    /// A frame from the known sender to the target, around this packet with the mark in it.
    pub(in crate::scenarios) fn frame(&self, inner: &Ipv4) -> TunnelFrame {
        self.between(1, 0, inner)
    }

    /// A frame from one node to another, by number.
    pub(in crate::scenarios) fn between(
        &self,
        from: usize,
        to: usize,
        inner: &Ipv4,
    ) -> TunnelFrame {
        let (from, to) = (&self.marks[from], &self.marks[to]);
        let packet = inner.udp(PORT, PORT, MARK);
        TunnelFrame::new((from.address, from.mac), (to.address, to.mac), to.vtep, packet)
    }

    /// Sends the frames, over and over, `count` in all, and proves that the target refused each
    /// for exactly this reason.
    pub(in crate::scenarios) fn refused(
        &self,
        scenario: &Scenario,
        case: &Case,
        count: usize,
    ) -> Result<()> {
        let place: &dyn Place = match case.from {
            From::Stranger => &self.stranger,
            From::Sender => &self.sender().node,
            From::Pod => self.pod(0),
        };
        ensure!(!case.frames.is_empty(), "{}: no frames", case.name);
        let frames: Vec<_> = case.frames.iter().cycle().take(count).cloned().collect();
        let node = &self.target().node;
        let before = node.drops()?;
        let sent = traffic::raw_send(place, "eth0", &frames, 1)?;
        ensure!(sent.sent == count as u64 && sent.refused == 0, "{}: {sent:?}", case.name);
        // The last ones may still be on their way.
        let _ = eventually("all are counted", Duration::from_secs(1), || {
            Ok(node.drops()?.since(&before).total() >= count as u64)
        });
        let added = node.drops()?.since(&before);
        exactly(&added, case.reason, count as u64).with_context(|| case.name)?;
        scenario.note(format!("{count} refused as {}: {}", case.reason, case.name));
        Ok(())
    }
}

/// Only this reason counts, and exactly so often.
pub(in crate::scenarios) fn exactly(added: &Counts, reason: &str, count: u64) -> Result<()> {
    let only = added.get(reason) == count && added.total() == count;
    ensure!(only, "wanted {reason}: {count}, counted {added:?}");
    Ok(())
}

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::scenarios) enum From {
    /// A host on the wire that is no node.
    Stranger,
    /// A known node.
    Sender,
    /// The first pod of the target.
    Pod,
}

/// One kind of forgery.
#[derive(Debug)]
pub(in crate::scenarios) struct Case {
    /// What is wrong.
    pub(in crate::scenarios) name: &'static str,
    /// The reason that must be counted.
    pub(in crate::scenarios) reason: &'static str,
    /// Who sends.
    pub(in crate::scenarios) from: From,
    /// Variants.
    pub(in crate::scenarios) frames: Vec<Vec<u8>>,
}

fn marks(cluster: &Cluster) -> Result<[Mark; 3]> {
    let leases = Lease::all()?;
    let marks = cluster.members.iter().map(|member| {
        let lease = leases.iter().find(|lease| lease.name == member.node.name());
        let lease = lease.with_context(|| format!("no lease of {}", member.node.name()))?;
        Ok(Mark {
            address: member.node.address(),
            mac: link_mac(&member.node, "eth0")?,
            vtep: frames::mac(&lease.vtep)?,
            vtep_address: lease.subnet.network(),
            pod: member.pods[0].address()?,
        })
    });
    let marks = marks.collect::<Result<Vec<_>>>()?;
    marks.try_into().ok().context("not three nodes")
}
