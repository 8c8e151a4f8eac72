//! IPv6 that netfilter translates, as kube-proxy and `--ip-masq` have it: translated flows work
//! beside direct ones, conntrack calls nothing invalid, and pods see each other's own addresses.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use anyhow::{Context as _, Result, ensure};

use super::{Ground, pod6, serve};
use crate::ipv6::{self, GATEWAY6};
use crate::node::Node;
use crate::pod::Pod;
use crate::process::Place;
use crate::scenario::Scenario;
use crate::traffic::{ECHO_PORT, ExchangeReport, InquireReport, Running};
use crate::wire::{Outside, Wire};

const VIRTUAL: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 10);
const PORT: u16 = 80;
/// Where witnesses answer.
const WITNESS: u16 = 7500;

/// Two nodes, two pods each, that translate the virtual address to `node1/b` and `node2/a`.
struct Translated {
    ground: Ground,
    _servers: Vec<super::Servers6>,
}

impl Translated {
    fn new(scenario: &mut Scenario) -> Result<Self> {
        let lab = scenario.lab(Wire::Offloaded)?;
        ipv6::plug_outside6()?;
        let ground = Ground::with_flags(&lab, 2, 2, &["--ip-masq"])?;
        let servers = ground.pods.iter().map(|pod| serve(pod)).collect::<Result<_>>()?;
        let this = Self { ground, _servers: servers };
        let [local, remote] = this.backends();
        let backends = [pod6(local)?, pod6(remote)?];
        this.ground.ours.iter().try_for_each(|member| translate(&member.node, backends))?;
        Ok(this)
    }

    fn backends(&self) -> [&Pod; 2] {
        [&self.ground.pods[1], &self.ground.pods[2]]
    }

    fn client(&self) -> &Pod {
        &self.ground.pods[0]
    }

    /// Conntrack called nothing invalid, and the rule that would tell saw packets.
    fn nothing_invalid(&self, scenario: &Scenario) -> Result<()> {
        for member in &self.ground.ours {
            let rules = member.node.run("ip6tables -w -nvxL FORWARD")?;
            let packets = |word: &str| -> Result<u64> {
                let rule = rules.lines().find(|line| line.contains(word));
                let count = rule.and_then(|line| line.split_whitespace().next());
                Ok(count.with_context(|| format!("no rule {word}: {rules}"))?.parse()?)
            };
            let (invalid, others) = (packets("INVALID")?, packets("ESTABLISHED")?);
            scenario.note(format!("{}: {invalid} invalid, {others} not", member.node.name()));
            ensure!(invalid == 0 && others > 0, "{rules}");
        }
        Ok(())
    }
}

fn translate(node: &Node, [local, remote]: [IpAddr; 2]) -> Result<()> {
    for chain in ["PREROUTING", "OUTPUT"] {
        for protocol in ["tcp", "udp"] {
            let rule =
                format!("ip6tables -w -t nat -A {chain} -d {VIRTUAL} -p {protocol} --dport {PORT}");
            let half = "-m statistic --mode nth --every 2 --packet 0";
            let to = |backend| SocketAddr::new(backend, ECHO_PORT);
            node.run(&format!("{rule} {half} -j DNAT --to-destination {}", to(local)))?;
            node.run(&format!("{rule} -j DNAT --to-destination {}", to(remote)))?;
        }
    }
    for state in ["INVALID -j DROP", "NEW,ESTABLISHED -j ACCEPT"] {
        node.run(&format!("ip6tables -w -A FORWARD -m conntrack --ctstate {state}"))?;
    }
    Ok(())
}

fn exchange(place: &dyn Place, to: SocketAddr, udp: bool, count: u64) -> Result<()> {
    let over = if udp { "--udp" } else { "" };
    let line = format!("exchange --to {to} {over} --count {count}");
    let report: ExchangeReport = Running::start(place, &line, "")?.finish()?;
    let good = report.failed == 0 && report.good == count;
    ensure!(good, "{} to {to}, udp {udp}, of {count}: {report:?}", place.label());
    Ok(())
}

/// The same client ports to the same servers, directly and through the virtual address in turn.
pub(super) fn reused_tuples(scenario: &mut Scenario) -> Result<()> {
    let this = Translated::new(scenario)?;
    let client = this.client();
    client.sysctl("net.ipv4.ip_local_port_range", "\"40000 40015\"")?;
    // Closed connections would block their ports for a minute.
    client.sysctl("net.ipv4.tcp_max_tw_buckets", "0")?;
    for round in 0..20 {
        for backend in this.backends() {
            let direct = SocketAddr::new(pod6(backend)?, ECHO_PORT);
            for udp in [false, true] {
                for to in [direct, SocketAddr::new(VIRTUAL.into(), PORT)] {
                    exchange(client, to, udp, 20).with_context(|| format!("round {round}"))?;
                }
            }
        }
    }
    scenario.note(format!("{:?}", this.ground.ours[0].node.paths()?));
    this.nothing_invalid(scenario)
}

/// Every exchange through the virtual address is answered, from a pod and from a node, while direct
/// ones of the same client to the same servers go fast.
pub(super) fn thousand(scenario: &mut Scenario) -> Result<()> {
    let this = Translated::new(scenario)?;
    let node = &this.ground.ours[0].node;
    let service = SocketAddr::new(VIRTUAL.into(), PORT);
    for udp in [false, true] {
        exchange(this.client(), service, udp, 1000)?;
        exchange(node, service, udp, 200)?;
        for (backend, fast) in
            this.backends().into_iter().zip(["pod-local-fast", "pod-remote-fast"])
        {
            let before = node.paths()?;
            exchange(this.client(), SocketAddr::new(pod6(backend)?, ECHO_PORT), udp, 1000)?;
            let added = node.paths()?.since(&before);
            scenario.note(format!("udp {udp}: {added:?}"));
            // One packet of a UDP exchange is the client's, and its first ones of each tuple are slow.
            ensure!(udp || added.get(fast) > 2000, "direct flows were slow: {added:?}");
        }
    }
    this.nothing_invalid(scenario)
}

/// Who asks whom, and under which address it is seen.
pub(super) fn masquerade(scenario: &mut Scenario) -> Result<()> {
    let this = Translated::new(scenario)?;
    let [client, near, far, _] = &this.ground.pods[..] else { anyhow::bail!("not four pods") };
    let nodes = [0, 1].map(|index: usize| super::address6(&this.ground.ours[index].node));
    let own = pod6(client)?;
    let outside = IpAddr::V6(GATEWAY6);
    let _witnesses = [
        witness(near, pod6(near)?)?,
        witness(far, pod6(far)?)?,
        witness(&this.ground.ours[0].node, nodes[0].into())?,
        witness(&this.ground.ours[1].node, nodes[1].into())?,
        witness(&Outside, outside)?,
    ];
    for (to, seen_as) in [
        (pod6(near)?, own),
        (pod6(far)?, own),
        (nodes[0].into(), own),
        (nodes[1].into(), nodes[0].into()),
        (outside, nodes[0].into()),
    ] {
        for over in ["", " --udp"] {
            let line = format!("inquire --to {} --count 5{over}", SocketAddr::new(to, WITNESS));
            let report: InquireReport = Running::start(client, &line, "")?.finish()?;
            let seen: BTreeSet<_> = report.answers.iter().map(|(one, _)| one.source).collect();
            scenario.note(format!("{own} asks {to}{over}: seen as {seen:?}"));
            ensure!(report.failed == 0, "{to}{over}: {report:?}");
            ensure!(seen == BTreeSet::from([seen_as]), "{to}{over}: seen as {seen:?}");
        }
    }
    Ok(())
}

fn witness(place: &dyn Place, address: IpAddr) -> Result<Running<()>> {
    let bind = SocketAddr::new(address, WITNESS);
    Running::start(place, &format!("witness --name it --bind {bind}"), "")
}
