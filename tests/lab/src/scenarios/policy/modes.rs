//! What each mode of the fast path means for a rule that denies: `on` asks netfilter only where it
//! must, the others let it decide.

use anyhow::{Result, ensure};

use super::cast::Cast;
use super::flows::{all_denied, all_open};
use super::known::{self, denied_though_known, make_known};
use super::observe::status_says;
use crate::cluster::Member;
use crate::node::NET_CONF;
use crate::process::Place as _;
use crate::scenario::Scenario;
use crate::traffic::Transport;
use crate::wire::Wire;

pub(super) fn run(scenario: &mut Scenario, mode: &str) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let member = || -> Result<Member> {
        let node = lab.node()?;
        let net_conf = format!(
            r#"{{"Network":"10.244.0.0/16","FastPath":"{mode}","Backend":{{"Type":"vxlan"}}}}"#
        );
        node.write(NET_CONF, &net_conf)?;
        Member::new(node, 0)
    };
    let mut members = [member()?, member()?];
    let cast = Cast::new("tartan", |node, pod| members[node].add_pod(pod))?;
    let ways = cast.denied_ways();
    all_open(&ways)?;
    make_known(&cast, mode != "off")?;
    for node in cast.nodes() {
        node.run(&format!("iptables -w -I FORWARD -d {} -j DROP", cast.server.address()?))?;
    }
    if mode != "on" {
        all_denied(&ways)?;
        denied_though_known(scenario, &cast)?;
        return Ok(());
    }
    scenario.note("a rule drops everything for the server");
    status_says(&cast.nodes(), &["on (configured: on)", "net-conf says so"])?;
    for way in &ways {
        // A TCP flow is direct from its first packet. A UDP flow has to be seen in both directions
        // first, which the rule prevents: only one that was there before goes past it.
        let opens = way.is_open()?;
        let was_there = way.is_open_from(known::PORT)?;
        scenario.note(format!("{}: new flow passes: {opens}, known: {was_there}", way.name));
        ensure!(opens == (way.over == Transport::Tcp), "{}: new flow passes: {opens}", way.name);
    }
    Ok(())
}
