//! What a host of the link must not say over IPv6.

use std::net::Ipv6Addr;

use anyhow::{Result, ensure};

use super::ground::{Families, Ground, pod6, wire6};
use crate::ipv6::plug6;
use crate::process::Place as _;
use crate::scenario::Scenario;
use crate::wire::Wire;

/// Pod addresses that nobody on the link has, sent by a host of the link.
pub(super) fn strangers(scenario: &mut Scenario, backend: &str) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let families = Families::Both;
    let ground = Ground::new(&lab, families, &families.net_conf("on", backend), (1, 1))?;
    let (node, pod) = (&ground.ours[0].node, pod6(&ground.pods[0])?);
    let stranger = lab.outsider("stranger")?;
    plug6(&stranger, stranger.address())?;
    let via = wire6(node);
    // By its own address it is a client like any other; and it knows its neighbour from now on.
    stranger.run(&format!("ip -6 route replace {pod}/128 via {via}"))?;
    stranger.run(&format!("ping -n -c 1 -W 2 {pod}"))?;
    let own: Ipv6Addr = pod.to_string().replace("::", "::ff").parse()?;
    for source in ["fd00:10:244:77::7".parse()?, "fd00:10:244:ff::7".parse()?, own] {
        stranger.run(&format!("ip address add {source}/128 dev lo nodad"))?;
        stranger.run(&format!("ip -6 route replace {pod}/128 via {via} src {source}"))?;
        let before = node.drops()?;
        ensure!(!stranger.succeeds(&format!("ping -n -c 2 -i 0.2 -W 1 {pod}"))?, "an answer");
        let added = node.drops()?.since(&before);
        scenario.note(format!("{backend}, {source}: {added:?}"));
        ensure!(added.get("off-link-source") == 2, "{source}: {added:?}");
    }
    Ok(())
}
