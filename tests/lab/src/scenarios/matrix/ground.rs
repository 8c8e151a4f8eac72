//! Two nodes on a wire of one size, and a pod on each.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use crate::control_plane::ControlPlane;
use crate::counters::Counts;
use crate::ipv6::{plug6, pod_address6};
use crate::kube_cluster::KubeMember;
use crate::lab::Lab;
use crate::node::{NET_CONF, Node};
use crate::pod::Pod;
use crate::process::{Place, eventually};
use crate::traffic::{EchoReport, Running, SinkReport};
use crate::wire::Outside;

/// How long an agent may take until its pods reach the other node's.
const SEEN: Duration = Duration::from_secs(20);
/// The least that IPv6 asks of a link (RFC 8200 section 5).
const LEAST6: u16 = 1280;

/// What a net-conf says of the pods' IPv6.
const IPV6: &str = r#""EnableIPv6":true,"IPv6Network":"fd00:10:244::/56","#;

/// A version of the Internet protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

/// What is inside what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pair {
    V4InV4,
    V6InV6,
    V6InV4,
}

impl Pair {
    pub(super) fn outer(self) -> Family {
        match self {
            Self::V4InV4 | Self::V6InV4 => Family::V4,
            Self::V6InV6 => Family::V6,
        }
    }

    pub(super) fn inner(self) -> Family {
        match self {
            Self::V4InV4 => Family::V4,
            Self::V6InV6 | Self::V6InV4 => Family::V6,
        }
    }

    /// Bytes that the tunnel takes: outer IP, UDP, VXLAN and inner Ethernet header.
    fn overhead(self) -> u16 {
        match self.outer() {
            Family::V4 => 20 + 8 + 8 + 14,
            Family::V6 => 40 + 8 + 8 + 14,
        }
    }
}

/// Which addresses the nodes have, and so which pairs there are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Underlay {
    /// Both: each family travels in its own.
    Both,
    /// IPv4 alone: it carries IPv6 as well.
    Ipv4,
}

impl Underlay {
    pub(super) const ALL: &[Self] = &[Self::Both, Self::Ipv4];

    pub(super) fn pairs(self) -> &'static [Pair] {
        match self {
            Self::Both => &[Pair::V4InV4, Pair::V6InV6],
            Self::Ipv4 => &[Pair::V6InV4],
        }
    }

    fn plug(self, node: &Node) -> Result<()> {
        match self {
            Self::Both => plug6(node, node.address()),
            Self::Ipv4 => Ok(()),
        }
    }
}

/// Which way flows between pods take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Fast,
    Stack,
}

impl Way {
    pub(super) const ALL: [Self; 2] = [Self::Fast, Self::Stack];

    fn net_conf(self, with_ipv6: bool) -> String {
        let fast_path = match self {
            Self::Fast => "on",
            Self::Stack => "off",
        };
        let ipv6 = if with_ipv6 { IPV6 } else { "" };
        format!(
            r#"{{"Network":"10.244.0.0/16",{ipv6}"FastPath":"{fast_path}","Backend":{{"Type":"vxlan"}}}}"#
        )
    }
}

/// What links do for the stack: segmentation, merging and checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Offloads {
    On,
    Off,
}

impl Offloads {
    pub(super) const ALL: [Self; 2] = [Self::On, Self::Off];
}

/// Two nodes with a pod each, and servers in the second pod.
pub(super) struct Ground {
    underlay_mtu: u16,
    members: [KubeMember; 2],
    _servers: (Running<EchoReport>, Running<SinkReport>),
}

/// From where to where a block of cells sends.
pub(super) struct Ends<'g> {
    pub(super) pair: Pair,
    pub(super) from: &'g Pod,
    pub(super) to: &'g Pod,
    pub(super) source: IpAddr,
    pub(super) target: IpAddr,
    /// The largest packet of the inner family.
    pub(super) mtu: u16,
}

impl Ends<'_> {
    /// IP header of the inner family.
    pub(super) fn header(&self) -> u16 {
        match self.pair.inner() {
            Family::V4 => 20,
            Family::V6 => 40,
        }
    }
}

impl Ground {
    pub(super) fn new(
        lab: &Lab,
        plane: &ControlPlane,
        underlay: Underlay,
        mtu: u16,
        way: Way,
    ) -> Result<Self> {
        let nodes: [Node; 2] = lab.nodes()?;
        let fits = underlay.pairs().iter().all(|pair| inside(mtu, *pair).is_some());
        let [one, two] = nodes.map(|node| -> Result<KubeMember> {
            resize(&node, mtu)?;
            underlay.plug(&node)?;
            let mut member = KubeMember::without_agent(plane, node)?;
            if !fits {
                refuses_ipv6(&mut member, way)?;
            }
            member.node.write(NET_CONF, &way.net_conf(fits))?;
            member.start_agent(&[])?;
            member.add_pod("a").context("the pod")?;
            Ok(member)
        });
        let members = [one?, two?];
        let to = &members[1].pods[0];
        let echo = Running::start(to, "echo --bind ::", "")?;
        let servers = (echo, Running::start(to, "tcp-sink --bind [::]:7100", "")?);
        let this = Self { underlay_mtu: mtu, members, _servers: servers };
        for pair in underlay.pairs() {
            if inside(mtu, *pair).is_some() {
                this.await_answer(*pair)?;
            }
        }
        Ok(this)
    }

    fn await_answer(&self, pair: Pair) -> Result<()> {
        let ends = self.ends(pair)?;
        eventually(&format!("{pair:?} answers"), SEEN, || {
            ends.from.succeeds(&format!("ping -n -c 1 -W 1 {}", ends.target))
        })
    }

    pub(super) fn nodes(&self) -> [&Node; 2] {
        self.members.each_ref().map(|member| &member.node)
    }

    pub(super) fn pods(&self) -> [&Pod; 2] {
        self.members.each_ref().map(|member| &member.pods[0])
    }

    /// Why there can be no such packets here.
    pub(super) fn obstacle(&self, pair: Pair) -> Option<String> {
        let left = self.underlay_mtu - pair.overhead();
        let why = format!("{left} bytes are left inside, and IPv6 asks for {LEAST6} (RFC 8200)");
        inside(self.underlay_mtu, pair).is_none().then_some(why)
    }

    pub(super) fn ends(&self, pair: Pair) -> Result<Ends<'_>> {
        let [from, to] = self.pods();
        let address = |pod: &Pod| -> Result<IpAddr> {
            Ok(match pair.inner() {
                Family::V4 => pod.address()?.into(),
                Family::V6 => pod_address6(pod)?.into(),
            })
        };
        let mtu = inside(self.underlay_mtu, pair).context("no room for such packets")?;
        Ok(Ends { pair, from, to, source: address(from)?, target: address(to)?, mtu })
    }

    /// Switches what every link does: both ends of the uplinks and of the pods' links, and the
    /// overlay device.
    pub(super) fn set_offloads(&self, offloads: Offloads) -> Result<()> {
        let value = match offloads {
            Offloads::On => "on",
            Offloads::Off => "off",
        };
        let words = ["tx", "rx", "sg", "tso", "gso", "gro"].map(|word| format!("{word} {value}"));
        let switch = |place: &dyn Place, link: &str| -> Result<()> {
            place.run(&format!("ethtool -K {link} {}", words.join(" "))).map(drop)
        };
        for member in &self.members {
            let (node, pod) = (&member.node, &member.pods[0]);
            switch(&Outside, &format!("up-{}", node.name()))?;
            switch(node, "eth0")?;
            switch(node, "flannel.1")?;
            switch(node, &pod.host_link()?)?;
            switch(pod, "eth0")?;
        }
        Ok(())
    }

    pub(super) fn paths(&self) -> Result<Counts> {
        let [one, two] = self.nodes();
        Ok(one.paths()?.plus(&two.paths()?))
    }

    pub(super) fn drops(&self) -> Result<Counts> {
        let [one, two] = self.nodes();
        Ok(one.drops()?.plus(&two.drops()?))
    }
}

/// Gives both ends of a node's uplink this MTU.
fn resize(node: &Node, mtu: u16) -> Result<()> {
    Outside.run(&format!("ip link set up-{} mtu {mtu}", node.name()))?;
    node.run(&format!("ip link set eth0 mtu {mtu}")).map(drop)
}

/// The largest inner packet; `None` where the inner family cannot live with it.
fn inside(underlay: u16, pair: Pair) -> Option<u16> {
    let left = underlay - pair.overhead();
    match pair.inner() {
        Family::V4 => Some(left),
        Family::V6 => (left >= LEAST6).then_some(left),
    }
}

/// An agent that is to carry IPv6 where it cannot says so, and why.
fn refuses_ipv6(member: &mut KubeMember, way: Way) -> Result<()> {
    member.node.write(NET_CONF, &way.net_conf(true))?;
    member.start_agent(&[])?;
    let problems = member.state()?["problems"].to_string();
    ensure!(problems.contains("too small"), "no word of the MTU: {problems}");
    member.stop_agent(Signal::SIGTERM)
}
