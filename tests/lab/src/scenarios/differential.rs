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
//! | `model` | what Tartan says about a packet, by the decision functions on the host |
//! | `verdict` | the comparison, and what may differ |

mod generate;
mod model;
mod verdict;

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use self::generate::{Generated, Generator, MAGIC, Way};
use self::model::Model;
use self::verdict::Comparison;
use crate::cluster::Member;
use crate::counters::Counts;
use crate::frames::{Ipv4, UDP, ethernet, mac};
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
];

/// Packets between two looks at what came out.
const ROUND: usize = 5000;

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
    let ours = Passage { pod: &pod, node: &member.node, far: far.node() };
    let started = Instant::now();
    let ours = ours.all(&cases, target.address()?)?;
    let drops = member.node.drops()?.since(&before.0);
    scenario.note(format!(
        "through Tartan in {:.1} s: {} came out; drops {drops:?}, paths {:?}",
        started.elapsed().as_secs_f64(),
        ours.len(),
        member.node.paths()?.since(&before.1)
    ));
    drop((pod, member));
    let theirs = kernels(&lab, lease, &far, &target, &cases)?;
    scenario.note(format!("through the kernel's vxlan: {} came out", theirs.len()));
    compare(scenario, &model, &cases, (&ours, &theirs), &drops)
}

/// The same through the kernel's vxlan, as node1 with this lease.
fn kernels(
    lab: &Lab,
    lease: Lease,
    far: &KernelVxlanNode,
    target: &Pod,
    cases: &[Generated],
) -> Result<Seen> {
    let kernel = KernelVxlanNode::with_vtep(lab.node_again(1)?, lease.subnet, lease.vtep)?;
    kernel.add_peer(far.lease())?;
    far.add_peer(kernel.lease())?;
    let pod = kernel.pod("a")?;
    pod.run(&format!("ping -n -c 1 -W 2 {}", target.address()?))?;
    let passage = Passage { pod: &pod, node: kernel.node(), far: far.node() };
    passage.all(cases, target.address()?)
}

fn compare(
    scenario: &Scenario,
    model: &Model,
    cases: &[Generated],
    (ours, theirs): (&Seen, &Seen),
    drops: &Counts,
) -> Result<()> {
    let mut comparison = Comparison::default();
    for case in cases {
        let (ours, theirs) = (ours.get(&case.number), theirs.get(&case.number));
        comparison.add(model, case, ours.map(Vec::as_slice), theirs.map(Vec::as_slice));
    }
    scenario.note(&comparison);
    comparison.judge(cases.len(), drops)
}

/// Addresses that packets are made of.
pub(super) struct Ground {
    pod: std::net::Ipv4Addr,
    target: std::net::Ipv4Addr,
    node: std::net::Ipv4Addr,
    far: std::net::Ipv4Addr,
    vtep: crate::frames::MacBytes,
    node_mac: crate::frames::MacBytes,
    far_mac: crate::frames::MacBytes,
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

/// A pod of the node that is looked at, that node, and its peer.
struct Passage<'p> {
    pod: &'p Pod,
    node: &'p Node,
    far: &'p Node,
}

impl Passage<'_> {
    fn all(&self, cases: &[Generated], target: std::net::Ipv4Addr) -> Result<Seen> {
        let mut seen = Seen::new();
        for round in cases.chunks(ROUND) {
            // One flow goes fast, where there is such a thing.
            self.warm_up(target)?;
            seen.extend(self.round(round)?);
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
        let (source, gateway) = (self.pod.mac()?, self.pod.gateway_mac()?);
        let out: Vec<_> = of(Way::Out).map(|case| ethernet(gateway, source, &case.bytes)).collect();
        let into: Vec<_> = of(Way::In).map(|case| case.bytes.clone()).collect();
        let wire = format!("up-{}", self.node.name());
        let mut seen = through(Way::Out, (self.pod, &out), (&Outside, &wire))?;
        seen.extend(through(Way::In, (self.far, &into), (self.pod, "eth0"))?);
        Ok(seen)
    }

    /// Makes the generator's own flow a direct one.
    fn warm_up(&self, target: std::net::Ipv4Addr) -> Result<()> {
        let header = Ipv4::new(self.pod.address()?, target, UDP);
        let packet = header.udp(generate::FAST, traffic::ECHO_PORT, b"warm-up");
        let frame = ethernet(self.pod.gateway_mac()?, self.pod.mac()?, &packet);
        for _ in 0..3 {
            traffic::raw_send(self.pod, "eth0", std::slice::from_ref(&frame), 1)?;
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
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
