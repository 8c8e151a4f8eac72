//! IPv6 pods on a dual-stack cluster: with each other, with the real flannel's, and what they
//! must not say.

mod alone;
mod limited;
mod takeover;
mod translated;

use std::net::{IpAddr, Ipv6Addr};

use anyhow::{Context as _, Result, ensure};

use crate::cluster::{Servers, pairs, reach};
use crate::control_plane::{ControlPlane, Options, User};
use crate::counters::Counts;
use crate::flannel::{FlannelNode, prepare};
use crate::frames::ethernet;
use crate::ipv6;
use crate::kube_cluster::{KubeMember, register};
use crate::lab::Lab;
use crate::node::{NET_CONF, Node};
use crate::pod::Pod;
use crate::process::{Place, eventually};
use crate::scenario::{Entry, Scenario};
use crate::traffic::{self, EchoReport, Running, SinkReport};
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("ipv6::all_pairs_on_an_offloaded_wire", |s| all(s, Wire::Offloaded))
        .within(120)
        .with_tools(),
    Entry::new("ipv6::all_pairs_on_a_framed_wire", |s| all(s, Wire::Framed))
        .within(120)
        .with_tools(),
    Entry::new("ipv6::all_pairs_without_checksum_offload", |s| all(s, Wire::FramedNoChecksums))
        .within(120)
        .with_tools(),
    Entry::new("ipv6::bulk_flows_are_fast", bulk_is_fast).within(90).with_tools(),
    Entry::new("ipv6::a_limit_on_a_pods_link_holds", limited::limits).within(90).with_tools(),
    Entry::new("ipv6::too_big_is_told", too_big).within(90).with_tools(),
    Entry::new("ipv6::beside_flannel", beside_flannel).within(120).with_tools(),
    Entry::new("ipv6::what_pods_must_not_send", refusals).within(90).with_tools(),
    Entry::new("ipv6::pods_come_and_go", lifecycle).within(90).with_tools(),
    Entry::new("ipv6::without_ipv4_all_pairs_on_an_offloaded_wire", |s| {
        alone::all(s, Wire::Offloaded)
    })
    .within(120)
    .with_tools(),
    Entry::new("ipv6::without_ipv4_all_pairs_on_a_framed_wire", |s| alone::all(s, Wire::Framed))
        .within(120)
        .with_tools(),
    Entry::new("ipv6::without_ipv4_all_pairs_without_checksum_offload", |s| {
        alone::all(s, Wire::FramedNoChecksums)
    })
    .within(120)
    .with_tools(),
    Entry::new("ipv6::without_ipv4_beside_flannel", alone::beside_flannel).within(120).with_tools(),
    Entry::new("ipv6::without_ipv4_what_is_deleted_comes_back", alone::repairs)
        .within(120)
        .with_tools(),
    Entry::new("ipv6::taken_over_from_flannel", takeover::both_families).within(120).with_tools(),
    Entry::new("ipv6::a_reused_tuple_is_translated_again", translated::reused_tuples)
        .within(120)
        .with_tools(),
    Entry::new("ipv6::a_thousand_translations_beside_the_fast_path", translated::thousand)
        .within(120)
        .with_tools(),
    Entry::new("ipv6::only_what_leaves_the_pod_network_is_masqueraded", translated::masquerade)
        .within(90)
        .with_tools(),
];

pub(super) const DUAL: &str = r#"{"Network":"10.244.0.0/16","IPv6Network":"fd00:10:244::/56","EnableIPv6":true,"FastPath":"on","Backend":{"Type":"vxlan","VNI":1,"Port":8472}}"#;
/// What flannel reads: it knows no fast path.
const FLANNELS: &str = r#"{"Network":"10.244.0.0/16","IPv6Network":"fd00:10:244::/56","EnableIPv6":true,"EnableNFTables":false,"Backend":{"Type":"vxlan","VNI":1,"Port":8472}}"#;

/// The IPv6 address of a node on the wire.
pub(super) fn address6(node: &Node) -> Ipv6Addr {
    ipv6::address6(node.address())
}

pub(super) fn dual_node(lab: &Lab, net_conf: &str) -> Result<Node> {
    let node = lab.node()?;
    ipv6::plug6(&node, node.address())?;
    node.write(NET_CONF, net_conf)?;
    Ok(node)
}

/// The global IPv6 address of a pod.
pub(super) fn pod6(pod: &Pod) -> Result<IpAddr> {
    ipv6::pod_address6(pod).map(IpAddr::V6)
}

/// Servers on IPv6.
pub(super) struct Servers6 {
    _echo: Running<EchoReport>,
    _sink: Running<SinkReport>,
}

pub(super) fn serve(place: &dyn Place) -> Result<Servers6> {
    Ok(Servers6 {
        _echo: Running::start(place, "echo --bind ::", "")?,
        _sink: Running::start(place, "tcp-sink --bind [::]:7100", "")?,
    })
}

pub(super) struct Ground {
    pub(super) plane: ControlPlane,
    pub(super) ours: Vec<KubeMember>,
    pub(super) pods: Vec<Pod>,
}

impl Ground {
    fn new(lab: &Lab, nodes: usize, pods: usize) -> Result<Self> {
        Self::with_flags(lab, nodes, pods, &[])
    }

    fn with_flags(lab: &Lab, nodes: usize, pods: usize, flags: &[&str]) -> Result<Self> {
        let all = (0..nodes).map(|_| dual_node(lab, DUAL)).collect::<Result<Vec<_>>>()?;
        Self::of(lab, all, pods, flags)
    }

    /// The same of nodes that are prepared.
    pub(super) fn of(lab: &Lab, nodes: Vec<Node>, pods: usize, flags: &[&str]) -> Result<Self> {
        let plane = ControlPlane::start(lab, &Options::dual_stack())?;
        let mut ours = Vec::new();
        let mut all = Vec::new();
        let others = nodes.len() - 1;
        for node in nodes {
            let mut member = KubeMember::without_agent(&plane, node)?;
            member.start_agent(flags)?;
            for name in ["a", "b"].iter().take(pods) {
                all.push(member.add_pod(name)?);
            }
            ours.push(member);
        }
        let ground = Self { plane, ours, pods: all };
        ground.await_peers(others)?;
        Ok(ground)
    }

    /// Until every node knows the IPv6 subnets of this many others.
    pub(super) fn await_peers(&self, others: usize) -> Result<()> {
        for member in &self.ours {
            eventually("IPv6 peers", std::time::Duration::from_secs(10), || {
                let shown =
                    member.node.run("bpftool map dump pinned /sys/fs/bpf/tartan/maps/PEERS6")?;
                let found = shown.matches("vtep_mac").count().max(shown.matches("key:").count());
                Ok(found >= others)
            })?;
        }
        Ok(())
    }

    pub(super) fn counts(&self, of: impl Fn(&Node) -> Result<Counts>) -> Result<Counts> {
        let mut each = self.ours.iter().map(|member| of(&member.node));
        each.try_fold(Counts::default(), |sum, counts| Ok(sum.plus(&counts?)))
    }

    /// Nothing that pods say may have been dropped for want of a place to go.
    pub(super) fn nothing_dropped(&self, scenario: &Scenario) -> Result<()> {
        let drops = self.counts(Node::drops)?;
        scenario.note(format!("drops: {drops:?}; paths: {:?}", self.counts(Node::paths)?));
        ensure!(drops.total() == 0, "dropped: {drops:?}");
        Ok(())
    }
}

fn all(scenario: &mut Scenario, wire: Wire) -> Result<()> {
    let lab = scenario.lab(wire)?;
    let ground = Ground::new(&lab, 3, 2)?;
    let _servers6 = ground.pods.iter().map(|pod| serve(pod)).collect::<Result<Vec<_>>>()?;
    let pods: Vec<&Pod> = ground.pods.iter().collect();
    for (from, to) in pairs(&pods) {
        let ip = pod6(to)?;
        reach(from, ip, 300_000)
            .with_context(|| format!("from {} to {}", from.label(), to.label()))?;
        // Larger than any link: in fragments, through the stack.
        from.run(&format!("ping -n -c 1 -W 2 -s 9000 {ip}"))?;
    }
    hosts(&ground)?;
    ground.nothing_dropped(scenario)
}

/// From every node to every pod, and back.
fn hosts(ground: &Ground) -> Result<()> {
    for member in &ground.ours {
        for pod in &ground.pods {
            reach(&member.node, pod6(pod)?, 100_000)
                .with_context(|| format!("from {} to {}", member.node.label(), pod.label()))?;
            pod.run(&format!("ping -n -c 1 -W 2 {}", address6(&member.node)))?;
        }
    }
    Ok(())
}

fn bulk_is_fast(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Framed)?;
    let ground = Ground::new(&lab, 2, 2)?;
    let [a, b, far, _] = &ground.pods[..] else { anyhow::bail!("not four pods") };
    let _servers6 = [serve(b)?, serve(far)?];
    for (to, out) in [(b, "pod-local-fast"), (far, "pod-remote-fast")] {
        let before = ground.counts(Node::paths)?;
        let sent = traffic::tcp_bytes(a, pod6(to)?, 50_000_000)?;
        ensure!(sent.intact, "{sent:?}");
        let added = ground.counts(Node::paths)?.since(&before);
        scenario.note(format!("to {}: {added:?}", to.label()));
        let slow: u64 = ["pod-to-stack", "uplink-to-stack", "uplink-to-device"]
            .iter()
            .map(|name| added.get(name))
            .sum();
        ensure!(added.get(out) > 100 && added.get(out) >= 99 * slow, "{added:?}");
    }
    Ok(())
}

/// A pod that believes its link's MTU is told the tunnel's.
fn too_big(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Framed)?;
    let ground = Ground::new(&lab, 2, 1)?;
    let [a, b] = &ground.pods[..] else { anyhow::bail!("not two pods") };
    let ip = pod6(b)?;
    let routes = a.run("ip -6 route show")?;
    ensure!(routes.contains("default") && routes.contains("mtu 1430"), "{routes}");
    // 1430 bytes in all: what fits exactly.
    a.run(&format!("ping -n -c 1 -W 2 -M do -s 1382 {ip}"))?;
    let gateway = routes.split_whitespace().skip_while(|word| *word != "via").nth(1);
    let gateway = gateway.with_context(|| format!("no gateway: {routes}"))?;
    a.run(&format!("ip -6 route add {ip}/128 via {gateway} dev eth0"))?;
    let refused = a.succeeds(&format!("ping -n -c 1 -W 2 -M do -s 1383 {ip}"))?;
    ensure!(!refused, "1431 bytes went through");
    let learned = a.run(&format!("ip -6 route get {ip}"))?;
    scenario.note(&learned);
    ensure!(learned.contains("mtu 1430"), "{learned}");
    let _servers = serve(b)?;
    reach(a, ip, 1_000_000)?;
    ground.nothing_dropped(scenario)
}

/// The kernel's vxlan over IPv6, as the real flannel sets it up, on the other side.
fn beside_flannel(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Framed)?;
    let ground = Ground::new(&lab, 2, 1)?;
    let far = dual_node(&lab, FLANNELS)?;
    far.sysctl("net.ipv6.conf.all.forwarding", "1")?;
    prepare(&far)?;
    far.write(NET_CONF, FLANNELS)?;
    register(&ground.plane, &far)?;
    let kubeconfig = ground.plane.kubeconfig(&User::agent(far.name()))?;
    let theirs = FlannelNode::start_prepared(&far, &kubeconfig)?;
    ground.await_peers(2)?;
    let alien = theirs.add_pod("a")?;
    // flannel gives its pods 1450 bytes, which a tunnel over IPv6 does not carry on this wire.
    alien.run("ip link set eth0 mtu 1430")?;
    let _alien = serve(&alien)?;
    // flannel's bridge looks for duplicates of its addresses before it uses them.
    let ip = pod6(&alien)?;
    let first = &ground.pods[0];
    eventually("flannel's pod answers", std::time::Duration::from_secs(20), || {
        first.succeeds(&format!("ping -n -c 1 -W 1 {ip}"))
    })
    .with_context(|| told(&ground, &far, &alien))?;
    for pod in &ground.pods {
        let _servers = serve(pod)?;
        reach(pod, pod6(&alien)?, 1_000_000).context("to flannel's pod")?;
        reach(&alien, pod6(pod)?, 1_000_000).context("from flannel's pod")?;
    }
    let state = ground.ours[0].state()?;
    ensure!(state["problems"].as_array().is_some_and(Vec::is_empty), "{}", state["problems"]);
    ground.nothing_dropped(scenario)
}

/// What both sides say about a packet that does not arrive.
fn told(ground: &Ground, far: &Node, alien: &Pod) -> String {
    let ours = &ground.ours[0].node;
    let shown = [
        ours.shell("ip -6 neigh show; ip -6 route"),
        far.shell("ip -6 neigh; ip -6 route; ip -6 address; bridge fdb show dev flannel-v6.1"),
        far.shell("ip6tables-save -c; nstat -az | grep -i ip6 | grep -v ' 0  '"),
        alien.shell("ip -6 address; ip -6 route; ip -6 neigh"),
    ];
    let counts = format!("{:?}\n{:?}", ours.paths(), ours.drops());
    shown.into_iter().fold(counts, |all, one| format!("{all}\n{one:?}"))
}

/// An IPv6 packet in a frame from a pod to the host's end of its link.
fn said(pod: &Pod, source: Ipv6Addr, to: Ipv6Addr, next: u8, payload: &[u8]) -> Result<Vec<u8>> {
    let mut packet = vec![0x60, 0, 0, 0, 0, u8::try_from(payload.len())?, next, 255];
    packet.extend(source.octets());
    packet.extend(to.octets());
    packet.extend(payload);
    let mut frame = ethernet(pod.gateway_mac()?, pod.mac()?, &packet);
    frame[12..14].copy_from_slice(&[0x86, 0xdd]);
    Ok(frame)
}

fn refusals(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let ground = Ground::new(&lab, 2, 1)?;
    let [pod, victim] = &ground.pods[..] else { anyhow::bail!("not two pods") };
    let (IpAddr::V6(own), IpAddr::V6(other)) = (pod6(pod)?, pod6(victim)?) else {
        anyhow::bail!("not IPv6")
    };
    let link: Ipv6Addr = "fe80::bad".parse()?;
    let nodes: Ipv6Addr = "ff02::1".parse()?;
    let peer = address6(&ground.ours[1].node);
    let udp = |port: u16| {
        let [high, low] = port.to_be_bytes();
        [0x13, 0x88, high, low, 0, 8, 0, 0]
    };
    let advertisement = [134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    for (reason, frame) in [
        ("spoofed-source", said(pod, other, peer, 17, &udp(53))?),
        ("spoofed-source", said(pod, link, other, 17, &udp(53))?),
        ("rogue-router", said(pod, link, nodes, 58, &advertisement)?),
        ("rogue-router", said(pod, own, nodes, 58, &advertisement)?),
        ("pod-speaks-tunnel", said(pod, own, peer, 17, &udp(8472))?),
    ] {
        let before = pod.node().drops()?;
        traffic::raw_send(pod, "eth0", &[frame], 1)?;
        eventually(reason, std::time::Duration::from_secs(5), || {
            Ok(pod.node().drops()?.since(&before).get(reason) == 1)
        })?;
        scenario.note(format!("refused: {reason}"));
    }
    // Neighbour discovery goes on: the pod forgets its gateway and finds it again.
    let routes = pod.run("ip -6 route show default")?;
    let gateway = routes.split_whitespace().skip_while(|word| *word != "via").nth(1);
    let gateway = gateway.context("no default route")?;
    pod.run(&format!("ip -6 neigh del {gateway} dev eth0"))?;
    pod.run(&format!("ping -n -c 1 -W 2 {other}")).context("after the gateway was forgotten")?;
    let found = pod.run("ip -6 neigh show")?;
    ensure!(found.contains(gateway) && !found.contains("PERMANENT"), "{found}");
    Ok(())
}

/// ADD, CHECK and DEL of both families; what somebody deletes comes back.
fn lifecycle(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let mut ground = Ground::new(&lab, 2, 1)?;
    let pod = ground.ours[0].node.pod("late")?;
    let added = pod.cni_add()?;
    pod.cni_check(&added)?;
    let ip = pod6(&pod)?;
    let far = &ground.pods[1];
    // A node whose link-local address is still being probed asks for no neighbour on the underlay
    // (RFC 4862 section 5.4), and the first packet may wait in vain.
    eventually("the new pod is reached", std::time::Duration::from_secs(5), || {
        far.succeeds(&format!("ping -n -c 1 -W 1 {ip}"))
    })?;
    let node = ground.ours[0].node.clone();
    scenario.note(node.run("ip -6 route show table main")?);
    node.run(&format!("ip -6 route del {ip}/128"))?;
    node.run("ip -6 route del fd00:10:244::/56")?;
    eventually("the routes are back", std::time::Duration::from_secs(20), || {
        far.succeeds(&format!("ping -n -c 1 -W 1 {ip}"))
    })?;
    pod.cni_check(&added)?;
    pod.cni_del()?;
    let left = node.run("ip -6 route show table main")?;
    ensure!(!left.contains(&ip.to_string()), "{left}");
    let files = node.run("ls /var/lib/cni/networks/cbr0")?;
    ensure!(!files.contains(&ip.to_string()), "{files}");
    let _servers = Servers::start(&ground.pods[0])?;
    ground.ours[0].pods.clear();
    Ok(())
}
