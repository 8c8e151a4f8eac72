//! Generated packets through the kernel's vxlan and through Tartan: what comes out is equal, or we
//! are stricter, each time for a reason that has a number.
//!
//! The same node exists twice, one after the other, with the same addresses: first under Tartan,
//! then under the kernel's vxlan. `TARTAN_PACKETS` (20,000; 1,000,000 in the long run) and
//! `TARTAN_SEED` choose what is sent; a difference is shown with the packet that makes it.
//!
//! | Module | Holds |
//! |---|---|
//! | `generate` | packets, most of them nearly right |
//! | `ipv6` | all of it for IPv6 in IPv6 |
//! | `model` | what Tartan says about a packet, by the decision functions on the host |
//! | `verdict` | the comparison, and what may differ |

mod generate;
mod ipv6;
mod model;
mod verdict;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use self::generate::{Generated, Generator, MAGIC, Way};
use self::model::Model;
use self::verdict::Comparison;
use crate::cluster::Member;
use crate::counters::Counts;
use crate::frames::{Ipv4, MacBytes, UDP, ethernet, mac};
use crate::hex;
use crate::kernel_vxlan::KernelVxlanNode;
use crate::lab::Lab;
use crate::lease::Lease;
use crate::node::Node;
use crate::pod::{Pod, link_mac};
use crate::process::{Place, eventually};
use crate::scenario::{Entry, Scenario};
use crate::traffic;
use crate::wire::{Outside, Wire};

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("differential::twenty_thousand_packets_as_the_kernels_vxlan", |s| all(s, 20_000))
        .within(120),
    Entry::new("differential::a_million_packets_as_the_kernels_vxlan", |s| all(s, 1_000_000))
        .long()
        .within(3600),
    Entry::new("differential::twenty_thousand_ipv6_packets_as_the_kernels_vxlan", |s| {
        ipv6::all(s, 20_000)
    })
    .within(180)
    .with_tools(),
    Entry::new("differential::a_million_ipv6_packets_as_the_kernels_vxlan", |s| {
        ipv6::all(s, 1_000_000)
    })
    .long()
    .within(3600)
    .with_tools(),
];

/// Packets between two looks at what came out.
const ROUND: usize = 5000;
/// Rounds between two words about how far it is.
const PROGRESS: usize = 20;

/// What came out, by the packet's number.
type Seen = BTreeMap<u32, Vec<u8>>;

fn number(name: &str, default: u64) -> Result<u64> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name}={text} is no number")),
        Err(_) => Ok(default),
    }
}

fn all(scenario: &mut Scenario, packets: u64) -> Result<()> {
    let packets = usize::try_from(number("TARTAN_PACKETS", packets)?)?;
    let seed = number("TARTAN_SEED", 1)?;
    scenario.note(format!("TARTAN_SEED={seed} TARTAN_PACKETS={packets}"));
    let lab = scenario.lab(Wire::Offloaded)?;
    let mut member = Member::new(lab.node()?, 0)?;
    let far = KernelVxlanNode::new(lab.node()?, "10.244.200.0/24".parse()?)?;
    far.publish()?;
    let target = far.pod("t")?;
    let _echo = traffic::echo(&target, None)?;
    far.adopt_leases()?;
    let pod = member.add_pod("a")?;
    eventually("the peer is known", Duration::from_secs(5), || {
        pod.succeeds(&format!("ping -n -c 1 -W 1 {}", target.address()?))
    })?;
    let lease = Lease::all()?.into_iter().find(|lease| lease.name == member.node.name());
    let lease = lease.context("the node has no lease")?;
    let model = Model::new(&lease, far.lease(), pod.address()?)?;
    let mut generator = Generator::new(seed, &Ground::of(&pod, &lease, &far, &target)?);
    let cases: Vec<_> = (0..packets).map(|_| generator.packet()).collect();
    let before = (member.node.drops()?, member.node.paths()?);
    let started = Instant::now();
    let ours = passage(scenario, &pod, far.node(), &cases, target.address()?)?;
    let drops = member.node.drops()?.since(&before.0);
    scenario.note(format!(
        "through Tartan in {:.1} s: {} came out; drops {drops:?}, paths {:?}",
        started.elapsed().as_secs_f64(),
        ours.len(),
        member.node.paths()?.since(&before.1)
    ));
    drop((pod, member));
    let theirs = kernels(scenario, &lab, lease, (&far, &target), &cases)?;
    scenario.note(format!("through the kernel's vxlan: {} came out", theirs.len()));
    compare(scenario, &model, &cases, (&ours, &theirs), &drops)
}

/// The same through the kernel's vxlan, as node1 with this lease.
fn kernels(
    scenario: &Scenario,
    lab: &Lab,
    lease: Lease,
    (far, target): (&KernelVxlanNode, &Pod),
    cases: &[Generated],
) -> Result<Seen> {
    let kernel = KernelVxlanNode::with_vtep(lab.node_again(1)?, lease.subnet, lease.vtep)?;
    kernel.add_peer(far.lease())?;
    far.add_peer(kernel.lease())?;
    let pod = kernel.pod("a")?;
    pod.run(&format!("ping -n -c 1 -W 2 {}", target.address()?))?;
    passage(scenario, &pod, far.node(), cases, target.address()?)
}

/// All packets through a pod's node, whatever carries them there.
fn passage(
    scenario: &Scenario,
    pod: &Pod,
    far: &Node,
    cases: &[Generated],
    target: Ipv4Addr,
) -> Result<Seen> {
    let (station, gateway) = (pod.mac()?, pod.gateway_mac()?);
    let header = Ipv4::new(pod.address()?, target, UDP);
    let warm_up = header.udp(generate::FAST, traffic::ECHO_PORT, b"warm-up");
    let lane = Lane { frame: ethernet, station, gateway };
    Passage { pod, node: pod.node(), far, lane, warm_up }.all(scenario, cases)
}

fn compare(
    scenario: &Scenario,
    model: &Model,
    cases: &[Generated],
    (ours, theirs): (&Seen, &Seen),
    drops: &Counts,
) -> Result<()> {
    let mut comparison = Comparison::of(&verdict::IPV4);
    for case in cases {
        let (ours, theirs) = (ours.get(&case.number), theirs.get(&case.number));
        comparison.add(
            || model.reason(case),
            case,
            ours.map(Vec::as_slice),
            theirs.map(Vec::as_slice),
        );
    }
    scenario.note(&comparison);
    comparison.judge(cases.len(), drops)
}

/// Addresses that packets are made of.
pub(super) struct Ground {
    pod: Ipv4Addr,
    target: Ipv4Addr,
    node: Ipv4Addr,
    far: Ipv4Addr,
    vtep: MacBytes,
    node_mac: MacBytes,
    far_mac: MacBytes,
}

impl Ground {
    fn of(pod: &Pod, lease: &Lease, far: &KernelVxlanNode, target: &Pod) -> Result<Self> {
        Ok(Self {
            pod: pod.address()?,
            target: target.address()?,
            node: lease.node,
            far: far.node().address(),
            vtep: mac(&lease.vtep)?,
            node_mac: link_mac(pod.node(), "eth0")?,
            far_mac: link_mac(far.node(), "eth0")?,
        })
    }
}

/// How a pod's packets become frames.
struct Lane {
    /// From the destination's address, the source's, and a packet.
    frame: fn(MacBytes, MacBytes, &[u8]) -> Vec<u8>,
    station: MacBytes,
    gateway: MacBytes,
}

/// A pod of the node that is looked at, that node, and its peer.
struct Passage<'p> {
    pod: &'p Pod,
    node: &'p Node,
    far: &'p Node,
    lane: Lane,
    /// A packet of the generator's own flow.
    warm_up: Vec<u8>,
}

impl Passage<'_> {
    fn all(&self, scenario: &Scenario, cases: &[Generated]) -> Result<Seen> {
        let mut seen = Seen::new();
        for (number, round) in cases.chunks(ROUND).enumerate() {
            // One flow goes fast, where there is such a thing.
            self.warm_up()?;
            seen.extend(self.round(round)?);
            if (number + 1).is_multiple_of(PROGRESS) {
                scenario.note(format!("{} of {} packets", (number + 1) * ROUND, cases.len()));
            }
        }
        Ok(seen)
    }

    /// Sends all, and once more what did not come out: a full queue is no verdict.
    fn round(&self, cases: &[Generated]) -> Result<Seen> {
        let mut seen = self.pass(&cases.iter().collect::<Vec<_>>())?;
        let missing: Vec<_> = cases.iter().filter(|it| !seen.contains_key(&it.number)).collect();
        for (number, frame) in self.pass(&missing)? {
            seen.entry(number).or_insert(frame);
        }
        Ok(seen)
    }

    fn pass(&self, cases: &[&Generated]) -> Result<Seen> {
        let of = |way: Way| cases.iter().filter(move |case| case.way == way);
        let out: Vec<_> = of(Way::Out).map(|case| self.lane.sent(&case.bytes)).collect();
        let into: Vec<_> = of(Way::In).map(|case| case.bytes.clone()).collect();
        let wire = format!("up-{}", self.node.name());
        let mut seen = through(Way::Out, (self.pod, &out), (&Outside, &wire))?;
        seen.extend(through(Way::In, (self.far, &into), (self.pod, "eth0"))?);
        Ok(seen)
    }

    /// Makes the generator's own flow a direct one.
    fn warm_up(&self) -> Result<()> {
        let frame = self.lane.sent(&self.warm_up);
        for _ in 0..3 {
            traffic::raw_send(self.pod, "eth0", std::slice::from_ref(&frame), 1)?;
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

impl Lane {
    fn sent(&self, packet: &[u8]) -> Vec<u8> {
        (self.frame)(self.gateway, self.station, packet)
    }
}

/// Sends frames from one place's `eth0`, and captures what comes in at another place.
fn through(
    way: Way,
    (from, frames): (&dyn Place, &[Vec<u8>]),
    (to, link): (&dyn Place, &str),
) -> Result<Seen> {
    let capture = traffic::sniff(to, link, &format!("--contains {}", hex::encode(MAGIC)))?;
    let sent = traffic::raw_send(from, "eth0", frames, 1)?;
    // A few are larger than the link takes, on either side.
    ensure!(sent.refused * 50 <= sent.sent + sent.refused, "not sent: {sent:?}");
    thread::sleep(Duration::from_millis(150));
    let mut seen = Seen::new();
    for frame in capture.stop()?.frames.into_iter().filter(|frame| !frame.outgoing) {
        let number = generate::number_of(&frame.bytes).filter(|number| Way::of(*number) == way);
        if let Some(number) = number {
            // Later ones are errors about it, which quote it.
            seen.entry(number).or_insert(frame.bytes);
        }
    }
    Ok(seen)
}
