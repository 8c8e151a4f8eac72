//! Two nodes of ours and one of the real flannel, none of them with a tunnel between them.

use anyhow::{Context as _, Result, ensure};

use super::SEEN;
use crate::cluster::{Servers, pairs, talk};
use crate::control_plane::{ControlPlane, Options, User};
use crate::flannel::{FlannelNode, prepare};
use crate::kube_cluster::{KubeMember, published, register};
use crate::node::NET_CONF;
use crate::process::{Place as _, eventually};
use crate::scenario::Scenario;
use crate::wire::Wire;

/// With this backend type, and `DirectRouting` where the backend has a tunnel.
pub(super) fn run(scenario: &mut Scenario, kind: &str, direct_routing: bool) -> Result<()> {
    let lab = scenario.lab(Wire::Framed)?;
    let net_conf = net_conf(kind, direct_routing);
    let plane = ControlPlane::start(&lab, &Options::default())?;
    let mut ours = Vec::new();
    for _ in 0..2 {
        let node = lab.node()?;
        node.write(NET_CONF, &net_conf)?;
        ours.push(KubeMember::new(&plane, node)?);
    }
    let far = lab.node()?;
    register(&plane, &far)?;
    prepare(&far)?;
    far.write(NET_CONF, &net_conf)?;
    let theirs = FlannelNode::start_prepared(&far, &plane.kubeconfig(&User::agent(far.name()))?)?;
    let mut pods = Vec::new();
    for member in &mut ours {
        pods.extend([member.add_pod("a")?, member.add_pod("b")?]);
    }
    pods.extend([theirs.add_pod("a")?, theirs.add_pod("b")?]);
    let _servers = pods.iter().map(Servers::start).collect::<Result<Vec<_>>>()?;
    for member in &ours {
        let subnet = plane.admin().wait_pod_cidr(member.node.name())?;
        let wanted = format!("{subnet} via {} dev eth0", member.node.address());
        eventually(&format!("flannel has the route {wanted}"), SEEN, || {
            Ok(far.run("ip route show")?.contains(&wanted))
        })?;
    }
    let all: Vec<_> = pods.iter().collect();
    for (from, to) in pairs(&all) {
        talk(from, to, 200_000)?;
    }
    for member in &ours {
        let mine = published(plane.admin(), member.node.name())?;
        ensure!(mine.get("backend-type").map(String::as_str) == Some(kind), "{mine:?}");
        if kind == "host-gw" {
            ensure!(mine.get("backend-data").map(String::as_str) == Some("null"), "{mine:?}");
        }
        let drops = member.node.drops()?;
        ensure!(drops.total() == 0, "{}: {drops:?}", member.node.name());
        let paths = member.node.paths()?;
        scenario.note(format!("{}: {paths:?}", member.node.name()));
        let direct = paths.get("pod-direct-fast").min(paths.get("link-pod-fast"));
        let tunnel = paths.get("pod-remote-fast") + paths.get("uplink-pod-fast");
        ensure!(direct > 50 && tunnel == 0, "{paths:?}");
    }
    same_files(&ours, &theirs)
}

fn net_conf(kind: &str, direct_routing: bool) -> String {
    let more = if direct_routing { r#","DirectRouting":true"# } else { "" };
    format!(
        r#"{{"Network":"10.244.0.0/16","FastPath":"on","EnableNFTables":false,"Backend":{{"Type":"{kind}"{more}}}}}"#
    )
}

/// Ours and flannel's subnet.env have the same MTU.
fn same_files(ours: &[KubeMember], theirs: &FlannelNode) -> Result<()> {
    let mtu = |text: String| {
        text.lines().find(|line| line.starts_with("FLANNEL_MTU=")).map(str::to_owned)
    };
    let wanted =
        mtu(theirs.node().read("/run/flannel/subnet.env")?).context("flannel has no MTU")?;
    for member in ours {
        let found = mtu(member.node.read("/run/flannel/subnet.env")?);
        ensure!(found.as_deref() == Some(&wanted), "{found:?}, and flannel has {wanted}");
    }
    Ok(())
}
