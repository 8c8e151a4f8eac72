//! Two nodes of ours and one of the real flannel, with one and the same configuration.

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::Signal;

use super::ground::{Families, Ground, SEEN, peers6, pod6, subnet6, wire6};
use super::{HOST_GW, serve};
use crate::cluster::{pairs, reach};
use crate::flannel::FlannelNode;
use crate::kube_cluster::{KubeMember, published};
use crate::node::{CONFLIST, Node};
use crate::pod::Pod;
use crate::process::{Place as _, eventually};
use crate::scenario::Scenario;
use crate::traffic;
use crate::wire::Wire;

const SUBNET_ENV: &str = "/run/flannel/subnet.env";
const OURS: &str = r#"{"name":"cbr0","cniVersion":"1.0.0","plugins":[{"type":"tartan-cni"}]}"#;

pub(super) fn run(scenario: &mut Scenario, families: Families, backend: &str) -> Result<()> {
    let lab = scenario.lab(Wire::Framed)?;
    let net_conf = families.net_conf("on", backend);
    let mut ground = Ground::new(&lab, families, &net_conf, (2, 2))?;
    let (theirs, alien) = families.flannels(&lab, &ground.plane, &net_conf)?;
    ground.await_peers(2)?;
    let far = theirs.node();
    for member in &ground.ours {
        let wanted = format!("{} via {} dev eth0", subnet6(member)?, wire6(&member.node));
        eventually(&format!("flannel has the route {wanted}"), SEEN, || {
            Ok(far.run("ip -6 route show")?.contains(&wanted))
        })?;
    }
    ground.pods.push(alien);
    let before = ground.sum(Node::paths)?;
    let _servers = ground.pods.iter().map(|pod| serve(pod)).collect::<Result<Vec<_>>>()?;
    let pods: Vec<&Pod> = ground.pods.iter().collect();
    for (from, to) in pairs(&pods) {
        reach(from, pod6(to)?, 200_000)
            .with_context(|| format!("from {} to {}", from.label(), to.label()))?;
    }
    ground.nothing_is_wrong(scenario)?;
    let added = ground.sum(Node::paths)?.since(&before);
    let tunnel = added.get("pod-remote-fast") + added.get("uplink-pod-fast");
    let direct = added.get("pod-direct-fast").min(added.get("link-pod-fast"));
    ensure!(direct > 100 && tunnel == 0, "{added:?}");
    alike(scenario, &ground, &theirs)
}

/// Annotations and subnet.env say the same of both kinds of nodes.
fn alike(scenario: &Scenario, ground: &Ground, theirs: &FlannelNode) -> Result<()> {
    let admin = ground.plane.admin();
    let flannels = published(admin, theirs.node().name())?;
    for member in &ground.ours {
        let mine = published(admin, member.node.name())?;
        scenario.note(format!("{mine:?} beside {flannels:?}"));
        ensure!(mine.keys().eq(flannels.keys()), "{mine:?} beside {flannels:?}");
        for key in ["backend-type", "kube-subnet-manager"] {
            ensure!(mine.get(key) == flannels.get(key), "{key}: {mine:?} beside {flannels:?}");
        }
        if mine.get("backend-type").is_some_and(|kind| kind == "host-gw") {
            ensure!(mine.get("backend-v6-data") == flannels.get("backend-v6-data"), "{mine:?}");
        }
    }
    let mtu = |node: &Node| -> Result<Option<String>> {
        let text = node.read(SUBNET_ENV)?;
        Ok(text.lines().find(|line| line.starts_with("FLANNEL_MTU=")).map(str::to_owned))
    };
    let (mine, flannels) = (mtu(&ground.ours[0].node)?, mtu(theirs.node())?);
    ensure!(mine.is_some() && mine == flannels, "{mine:?} beside {flannels:?}");
    Ok(())
}

/// A node of flannel's becomes ours without a change of its configuration, while its pods talk.
pub(super) fn taken_over(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let families = Families::Both;
    let plane = families.plane(&lab)?;
    let net_conf = families.net_conf("on", HOST_GW);
    let (mut theirs, old) = families.flannels(&lab, &plane, &net_conf)?;
    let (_far, other) = families.flannels(&lab, &plane, &net_conf)?;
    let node = theirs.node().clone();
    let _servers = serve(&other)?;
    answers(&old, &other)?;
    let probe = traffic::udp_probe(&old, &[pod6(&other)?], 500, 8.0)?;
    theirs.stop(Signal::SIGTERM)?;
    node.write(CONFLIST, OURS)?;
    let mut member = KubeMember::registered(&plane, node.clone())?;
    member.start_agent(&["--ip-masq"])?;
    let new = member.add_pod("b")?;
    let reports = probe.finish()?;
    scenario.note(format!("while the agents change: {reports:?}"));
    ensure!(reports.iter().all(|report| report.lost == 0 && report.refused == 0), "{reports:?}");
    for pod in [&old, &new] {
        answers(pod, &other)?;
        answers(&other, pod)?;
    }
    reach(&new, pod6(&other)?, 1_000_000)?;
    let routes = node.run("ip -6 route show")?;
    scenario.note(&routes);
    ensure!(routes.matches(" via fd30::").count() >= 2 && routes.contains("proto 84"), "{routes}");
    let state = member.state()?;
    ensure!(peers6(&state).iter().all(|peer| peer["mode"] == "direct"), "{state}");
    ensure!(state["problems"].as_array().is_some_and(Vec::is_empty), "{}", state["problems"]);
    let drops = node.drops()?;
    ensure!(drops.total() == 0, "{drops:?}");
    Ok(())
}

fn answers(from: &Pod, to: &Pod) -> Result<()> {
    let ip = pod6(to)?;
    eventually(&format!("{ip} answers"), SEEN, || from.succeeds(&format!("ping -n -c 1 -W 1 {ip}")))
}
