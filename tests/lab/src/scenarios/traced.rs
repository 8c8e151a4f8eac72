//! `tartanctl trace`: what it tells of one packet is what happened to it.

use std::net::Ipv4Addr;
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::cluster::{Cluster, Member};
use crate::node::Node;
use crate::process::{captured, eventually};
use crate::scenario::{Entry, Scenario};
use crate::traffic;
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("traced::a_packet_is_followed_from_node_to_node", across),
    Entry::new("traced::a_drop_and_a_stranger_are_told", drops),
];

/// The mark of the packet that two nodes tell of.
const MARK: &str = "0x7a31";

/// What `tartanctl trace` told: its programs with what each decided, and whether it ended well.
struct Told {
    steps: Vec<(String, Option<String>)>,
    success: bool,
    stderr: String,
}

impl Told {
    fn read(output: &std::process::Output) -> Result<Self> {
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let report: Value =
            serde_json::from_slice(&output.stdout).with_context(|| stderr.clone())?;
        let mut steps: Vec<(String, Option<String>)> = Vec::new();
        for event in report["events"].as_array().context("no events")? {
            match (event["program"].as_str(), event["counter"].as_str()) {
                (Some(program), _) => steps.push((program.to_owned(), None)),
                (None, Some(counter)) => {
                    steps.last_mut().context("a fate before a program")?.1 =
                        Some(counter.to_owned());
                }
                (None, None) => {}
            }
        }
        Ok(Self { steps, success: output.status.success(), stderr })
    }

    fn is(&self, expected: &[(&str, Option<&str>)]) -> bool {
        self.steps.len() == expected.len()
            && self.steps.iter().zip(expected).all(|((program, fate), (wanted, decided))| {
                program == wanted && fate.as_deref() == *decided
            })
    }
}

fn trace(node: &Node, line: &str) -> Result<Told> {
    let words = format!("trace {line} -o json");
    Told::read(&captured(node.product("tartanctl")?.args(words.split(' ')))?)
}

/// Starts to watch on a node, and comes back when its programs are the ones that tell.
fn watch(member: &Member, line: &str) -> Result<Child> {
    let before = traffic::hooks(&member.node, "eth0")?;
    let words = format!("trace {line} --watch --mark {MARK} --seconds 4 -o json");
    let mut command = member.node.product("tartanctl")?;
    let piped = command.args(words.split(' ')).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = piped.spawn()?;
    eventually("the programs are swapped", Duration::from_secs(3), || {
        Ok(traffic::hooks(&member.node, "eth0")? != before)
    })?;
    // The uplink's come first, the pods' last.
    std::thread::sleep(Duration::from_millis(300));
    Ok(child)
}

fn across(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let cluster = Cluster::new(&lab, 2, 2)?;
    let _servers = cluster.servers()?;
    let (here, there) = (&cluster.members[0], &cluster.members[1]);
    let (from, to) = (here.pods[0].address()?, there.pods[0].address()?);
    let before = traffic::hooks(&here.node, "eth0")?;
    // Shares no end with the traced packets: among thousands, one has their mark by chance.
    let beside = there.pods[1].address()?;
    let probe = traffic::udp_probe(&here.pods[1], &[beside.into()], 1000, 6.0)?;

    let watching = watch(there, &format!("{from} {to}"))?;
    let sent = trace(&here.node, &format!("{from} {to} --protocol tcp --mark {MARK}"))?;
    scenario.note(format!("sent: {:?}", sent.steps));
    ensure!(sent.success, "{}", sent.stderr);
    ensure!(sent.is(&[("pod_egress", Some("pod-remote-fast"))]), "{:?}", sent.steps);
    let arrived = Told::read(&watching.wait_with_output()?)?;
    scenario.note(format!("arrived: {:?}", arrived.steps));
    ensure!(arrived.success, "{}", arrived.stderr);
    ensure!(arrived.is(&[("uplink_ingress", Some("uplink-pod-fast"))]), "{:?}", arrived.steps);

    // The stack's way has a program at each of its ends.
    let slow = trace(&here.node, &format!("{from} {to} --protocol udp --port 9"))?;
    let expected =
        [("pod_egress", Some("pod-to-stack")), ("overlay_egress", Some("overlay-encap"))];
    ensure!(slow.is(&expected), "{:?}", slow.steps);
    let hosts = trace(&here.node, &format!("{} {to}", here.node.address()))?;
    ensure!(hosts.is(&[("overlay_egress", Some("overlay-encap"))]), "{:?}", hosts.steps);

    for report in probe.finish()? {
        ensure!(report.lost == 0, "packets were lost while programs were swapped: {report:?}");
    }
    let after = traffic::hooks(&here.node, "eth0")?;
    ensure!(before == after, "other programs than before: {before:?}, {after:?}");
    Ok(())
}

fn drops(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let cluster = Cluster::new(&lab, 2, 1)?;
    let here = &cluster.members[0];
    let from = here.pods[0].address()?;
    // Another subnet of the pod network, which no node of two leases.
    let nowhere = Ipv4Addr::from_bits(u32::from(from) ^ 0xf000);
    let told = trace(&here.node, &format!("{from} {nowhere}"))?;
    ensure!(!told.success, "a dropped packet ended well");
    ensure!(told.steps.last().is_some_and(|(_, fate)| fate.as_deref() == Some("no-peer")));

    let text = captured(here.node.product("tartanctl")?.args([
        "trace",
        &from.to_string(),
        &nowhere.to_string(),
    ]))?;
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    scenario.note(text.clone());
    ensure!(text.contains("pod_egress on ") && text.contains("->"), "{text}");

    let alien =
        captured(here.node.product("tartanctl")?.args(["trace", "192.0.2.1", "192.0.2.2"]))?;
    let said = String::from_utf8_lossy(&alien.stderr).into_owned();
    ensure!(!alien.status.success() && said.contains("run this on the node of"), "{said}");
    Ok(())
}
