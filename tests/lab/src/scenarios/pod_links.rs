//! What others put on a pod's link is not bypassed: limits and filters see every packet, of flows
//! that the fast path had before, too. And a pod may ask for the host stack.

use std::net::IpAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use crate::cluster::{Member, talk};
use crate::counters::Counts;
use crate::node::Node;
use crate::pod::Pod;
use crate::process::{Place as _, checked, eventually};
use crate::scenario::{Entry, Scenario};
use crate::scenarios::fast_share::cluster;
use crate::traffic;
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("pod_links::a_limit_is_never_bypassed", limits).within(90),
    Entry::new("pod_links::a_filter_is_never_bypassed", filters).within(60),
    Entry::new("pod_links::a_pod_may_ask_for_the_host_stack", wishes).within(60),
    Entry::new("pod_links::a_limit_that_is_announced_needs_no_agent", announced).within(60),
    Entry::new("pod_links::a_pod_with_another_mac_address_is_reached", tuned).within(60),
];

const ON: &str =
    r#"{"Network":"10.244.0.0/16","FastPath":"on","Backend":{"Type":"vxlan","VNI":1,"Port":8472}}"#;
const FAST: [&str; 3] = ["pod-local-fast", "pod-remote-fast", "uplink-pod-fast"];
/// How soon the agent knows of a change that the kernel tells of.
const SOON: Duration = Duration::from_secs(3);
/// How soon it finds what nobody tells of.
const NEXT_LOOK: Duration = Duration::from_secs(15);

/// What `tartanctl status` says of the pods that are off the fast path: interface and reason.
pub(super) fn slow_pods(node: &Node) -> Result<Vec<(String, String)>> {
    let output = node.product("tartanctl")?.args(["status", "-o", "json"]).output()?;
    let status: Value = serde_json::from_slice(&output.stdout)?;
    let pods = status["agent"]["slow_pods"].as_array().cloned().unwrap_or_default();
    let text = |pod: &Value, key: &str| pod[key].as_str().unwrap_or_default().to_owned();
    Ok(pods.iter().map(|pod| (text(pod, "interface"), text(pod, "why"))).collect())
}

/// Waits until a pod's link is among them with this word in the reason; without a word, until it
/// is not.
pub(super) fn await_reason(node: &Node, link: &str, word: Option<&str>) -> Result<()> {
    let patience = if word.is_some() { SOON } else { NEXT_LOOK };
    eventually(&format!("the reason for {link} is {word:?}"), patience, || {
        let found = slow_pods(node)?.into_iter().find(|(interface, _)| interface == link);
        Ok(match (found, word) {
            (Some((_, why)), Some(word)) => why.contains(word),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        })
    })
}

/// Bytes and packets that a root qdisc of this kind let pass.
pub(super) fn passed(node: &Node, link: &str, kind: &str) -> Result<(u64, u64)> {
    let shown: Value =
        serde_json::from_str(&node.run(&format!("tc -s -j qdisc show dev {link}"))?)?;
    let all = shown.as_array().context("tc shows no list")?;
    let root = all.iter().find(|one| one["kind"] == kind && one["root"] == true);
    let root = root.with_context(|| format!("{link} has no {kind}: {shown}"))?;
    let count = |key: &str| root[key].as_u64().with_context(|| format!("no {key}: {root}"));
    Ok((count("bytes")?, count("packets")?))
}

/// Limits what goes to a pod and what comes from it, as the plugin `bandwidth` does: the one on
/// the host's end itself, the other on a device that a filter redirects to.
pub(super) fn limit(node: &Node, link: &str) -> Result<()> {
    let tbf = "root tbf rate 2mbit burst 32kb latency 100ms";
    node.shell(&format!(
        "tc qdisc add dev {link} {tbf} && ip link add limit0 type ifb && ip link set limit0 up && \
         tc qdisc add dev limit0 {tbf} && tc qdisc add dev {link} ingress && \
         tc filter add dev {link} parent ffff: protocol all u32 match u32 0 0 \
         action mirred egress redirect dev limit0"
    ))
    .map(drop)
}

fn unlimit(node: &Node, link: &str) -> Result<()> {
    node.shell(&format!(
        "tc qdisc del dev {link} root; tc qdisc del dev {link} ingress; ip link del limit0"
    ))
    .map(drop)
}

fn fast(counts: &Counts) -> u64 {
    FAST.iter().map(|name| counts.get(name)).sum()
}

fn limits(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let cluster = cluster(&lab, 2, 2, ON)?;
    let [one, two] = &cluster.members[..] else { anyhow::bail!("not two nodes") };
    let (node, limited) = (&one.node, &one.pods[0]);
    let others = [&one.pods[1], &two.pods[0]];
    let _servers = cluster.servers()?;
    for other in others {
        fast_both_ways(node, limited, other)?;
    }
    // Flows that the fast path has, and that go on across the change.
    let to: Vec<IpAddr> = vec![others[0].address()?.into(), others[1].address()?.into()];
    let probe = traffic::udp_probe(limited, &to, 100, 8.0)?;
    let link = limited.host_link()?;
    limit(node, &link)?;
    await_reason(node, &link, Some("the qdisc tbf"))?;
    established_obey(scenario, node, &link)?;
    let report = probe.finish()?;
    ensure!(report.iter().all(|one| one.received > 0), "{report:?}");
    for other in others {
        new_ones_obey(scenario, node, &link, limited, other)?;
    }
    let told = explained(node, limited, others[1])?;
    ensure!(told.contains("the qdisc tbf") && told.contains(&link), "explain says {told}");
    unlimit(node, &link)?;
    await_reason(node, &link, None)?;
    for other in others {
        fast_both_ways(node, limited, other)?;
    }
    checked(node.product("tartanctl")?.arg("status")).map(drop)
}

/// A transfer in each direction goes fast at this node.
fn fast_both_ways(node: &Node, pod: &Pod, other: &Pod) -> Result<()> {
    for (from, to) in [(pod, other), (other, pod)] {
        let before = node.paths()?;
        let sent = traffic::tcp_bytes(from, to.address()?.into(), 2_000_000)?;
        let added = node.paths()?.since(&before);
        ensure!(sent.intact && fast(&added) > 30, "not fast: {added:?}");
    }
    Ok(())
}

/// The probes that run are answered through both limits, and nothing at the node goes fast.
fn established_obey(scenario: &Scenario, node: &Node, link: &str) -> Result<()> {
    let look = || -> Result<_> {
        Ok((node.paths()?, passed(node, link, "tbf")?.1, passed(node, "limit0", "tbf")?.1))
    };
    let before = look()?;
    std::thread::sleep(Duration::from_secs(2));
    let now = look()?;
    let (added, to_pod, from_pod) = (now.0.since(&before.0), now.1 - before.1, now.2 - before.2);
    scenario.note(format!("under way: {to_pod} to the pod, {from_pod} from it, {added:?}"));
    ensure!(fast(&added) == 0, "a limit is bypassed: {added:?}");
    ensure!(to_pod > 100 && from_pod > 100, "{to_pod} to and {from_pod} from the pod, of some 400");
    Ok(())
}

/// Every byte of new connections passes the limit of its direction.
fn new_ones_obey(
    scenario: &Scenario,
    node: &Node,
    link: &str,
    pod: &Pod,
    other: &Pod,
) -> Result<()> {
    const BYTES: u64 = 200_000;
    let before = node.paths()?;
    for (from, to, limit) in [(other, pod, link), (pod, other, "limit0")] {
        let (bytes, _) = passed(node, limit, "tbf")?;
        let sent = traffic::tcp_bytes(from, to.address()?.into(), BYTES)?;
        let counted = passed(node, limit, "tbf")?.0 - bytes;
        scenario.note(format!("{} to {}: {counted} bytes at the limit", from.label(), to.label()));
        ensure!(sent.intact && counted >= BYTES, "{counted} of {BYTES} bytes passed the limit");
    }
    let added = node.paths()?.since(&before);
    ensure!(fast(&added) == 0, "a limit is bypassed: {added:?}");
    Ok(())
}

fn explained(node: &Node, from: &Pod, to: &Pod) -> Result<String> {
    let (from, to) = (from.address()?.to_string(), to.address()?.to_string());
    checked(node.product("tartanctl")?.args(["explain", &from, &to]))
}

/// A filter on either side takes the pod off the fast path; a qdisc that only holds filters, and
/// our own filters in one, do not.
fn filters(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let cluster = cluster(&lab, 1, 2, ON)?;
    let [one] = &cluster.members[..] else { anyhow::bail!("not one node") };
    let (node, pod, other) = (&one.node, &one.pods[0], &one.pods[1]);
    let _servers = cluster.servers()?;
    let link = pod.host_link()?;
    node.shell(&format!(
        "tc qdisc show dev {link} | grep clsact || tc qdisc add dev {link} clsact"
    ))?;
    fast_both_ways(node, pod, other)?;
    for (side, word) in [("ingress", "comes from the pod"), ("egress", "goes to the pod")] {
        let filter = format!("filter add dev {link} {side} pref 9 protocol ip u32 match u32 0 0");
        node.run(&format!("tc {filter} classid 1:1"))?;
        await_reason(node, &link, Some(word))?;
        let before = node.paths()?;
        talk(other, pod, 1_000_000)?;
        talk(pod, other, 1_000_000)?;
        let added = node.paths()?.since(&before);
        scenario.note(format!("{side}: {added:?}"));
        ensure!(fast(&added) == 0, "a filter is bypassed: {added:?}");
        node.run(&format!("tc filter del dev {link} {side} pref 9"))?;
        await_reason(node, &link, None)?;
        fast_both_ways(node, pod, other)?;
    }
    Ok(())
}

/// ADD with this `runtimeConfig`, and what the plugin printed.
fn add(pod: &Pod, runtime: &Value) -> Result<(bool, String)> {
    let mut config = pod.runtime().config()?;
    config["runtimeConfig"] = runtime.clone();
    let output = pod.runtime().raw("ADD", &config.to_string(), &[])?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        let result: Value = serde_json::from_str(&printed)?;
        let address = result["ips"][0]["address"].as_str().context("no address")?;
        let address: ipnet::Ipv4Net = address.parse()?;
        pod.set_address(address.addr());
    }
    Ok((output.status.success(), printed))
}

fn annotated(value: &str) -> Value {
    json!({ "io.kubernetes.cri.pod-annotations": { "tartan.dev/fast-path": value } })
}

fn wishes(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let mut cluster = cluster(&lab, 1, 2, ON)?;
    let one = &mut cluster.members[0];
    let node = one.node.clone();
    let (asking, willing) = (node.pod("asking")?, node.pod("willing")?);
    let links = node.run("ip -o link show")?.lines().count();
    let (worked, told) = add(&asking, &annotated("never"))?;
    ensure!(!worked && told.contains("tartan.dev/fast-path"), "a wrong value: {told}");
    ensure!(told.contains("\\\"off\\\""), "it does not say what to do: {told}");
    ensure!(node.run("ip -o link show")?.lines().count() == links, "something is left");
    for (pod, value) in [(&asking, "off"), (&willing, "auto")] {
        let (worked, told) = add(pod, &annotated(value))?;
        ensure!(worked, "{value}: {told}");
    }
    one.pods.extend([asking.clone(), willing.clone()]);
    let _servers = cluster.servers()?;
    let one = &cluster.members[0];
    let other = &one.pods[0];
    obeys(scenario, one, &asking, other)?;
    fast_both_ways(&node, &willing, other)?;
    // The wish outlives the entry.
    node.shell("rm /sys/fs/bpf/tartan/maps/PODS")?;
    eventually("the pods' entries are back", Duration::from_secs(20), || {
        let told = explained(&node, other, &asking);
        Ok(told.is_ok_and(|told| told.contains("annotation")))
    })?;
    obeys(scenario, one, &asking, other)?;
    asking.cni_del()?;
    await_reason(&node, &asking.container_id(), None)
}

/// Nothing goes fast from or to a pod that asks for the stack, and everybody says why.
fn obeys(scenario: &Scenario, one: &Member, asking: &Pod, other: &Pod) -> Result<()> {
    let (node, link) = (&one.node, asking.host_link()?);
    await_reason(node, &link, Some("annotation"))?;
    let before = node.paths()?;
    talk(asking, other, 1_000_000)?;
    talk(other, asking, 1_000_000)?;
    let added = node.paths()?.since(&before);
    scenario.note(format!("{added:?}"));
    ensure!(fast(&added) == 0, "a wish is not heeded: {added:?}");
    let told = explained(node, other, asking)?;
    ensure!(told.contains("annotation"), "explain says {told}");
    Ok(())
}

/// A runtime tells of a limit before the plugin puts it there: the pod is slow from its first
/// packet, whatever the agent does.
fn announced(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let mut cluster = cluster(&lab, 1, 1, ON)?;
    let one = &mut cluster.members[0];
    let node = one.node.clone();
    one.stop_agent(nix::sys::signal::Signal::SIGKILL)?;
    let pod = node.pod("limited")?;
    let (worked, told) = add(&pod, &json!({ "bandwidth": { "ingressRate": 2_000_000 } }))?;
    ensure!(worked, "{told}");
    one.pods.push(pod.clone());
    let _servers = cluster.servers()?;
    let other = cluster.members[0].pods[0].clone();
    let link = pod.host_link()?;
    limit(&node, &link)?;
    new_ones_obey(scenario, &node, &link, &pod, &other)?;
    // An agent that comes later finds the limit; and nothing, when it is gone.
    cluster.members[0].restart_agent(&[])?;
    await_reason(&node, &link, Some("the qdisc tbf"))?;
    unlimit(&node, &link)?;
    await_reason(&node, &link, None)?;
    fast_both_ways(&node, &pod, &other)
}

/// `tuning` changes the MAC address and the MTU of the pod's end, right after our ADD. Nothing
/// tells the host: it has to ask.
fn tuned(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let mut cluster = cluster(&lab, 2, 1, ON)?;
    let pod = cluster.members[0].node.pod("tuned")?;
    let mut added = pod.cni_add()?;
    pod.run("ip link set eth0 address 02:00:00:12:34:56 mtu 1280")?;
    cluster.members[0].pods.push(pod.clone());
    let _servers = cluster.servers()?;
    let node = cluster.members[0].node.clone();
    // Five seconds until the kernel doubts the old address, three to find out.
    eventually("the node reaches the pod", Duration::from_secs(15), || {
        node.succeeds(&format!("ping -n -c 1 -W 1 {}", pod.address()?))
    })?;
    for other in cluster.pods().filter(|other| other.name() != pod.name()) {
        talk(other, &pod, 2_000_000)?;
        talk(&pod, other, 2_000_000)?;
        fast_both_ways(&node, &pod, other)?;
    }
    // What the runtime keeps is what the last plugin of the chain answered.
    let mac = json!("02:00:00:12:34:56");
    let interfaces = added.result["interfaces"].as_array_mut().context("no interfaces")?;
    interfaces.iter_mut().filter(|one| one["sandbox"].is_string()).for_each(|one| {
        one["mac"] = mac.clone();
    });
    pod.cni_check(&added)
}
