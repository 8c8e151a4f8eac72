//! Tuples that were in use before a policy comes. The fast path knows them, and must not remember
//! what the policy has changed.

use anyhow::{Result, ensure};

use super::cast::Cast;
use super::flows::{LIMIT, Way, all_denied};
use super::observe::fast_packets;
use crate::process::{Place as _, eventually};
use crate::scenario::Scenario;
use crate::traffic::Transport;

/// The flows' source port.
pub(super) const PORT: u16 = 50_000;

/// Uses the tuples until the fast path of our nodes carries them.
pub(super) fn make_known(cast: &Cast, is_ours: bool) -> Result<()> {
    let packets = || if is_ours { fast_packets(&cast.nodes()) } else { Ok(0) };
    let before = packets()?;
    for way in cast.denied_ways() {
        let report = way.try_some(50, PORT)?;
        ensure!(report.denied == 0, "{}: {report:?}", way.name);
    }
    let fast = packets()? - before;
    ensure!(!is_ours || fast > 100, "only {fast} packets went fast");
    Ok(())
}

/// A TCP connection of a known tuple is a new flow; a UDP flow is one once conntrack has forgotten
/// it. For each way of UDP, whether it goes on until then.
pub(super) fn denied_though_known(scenario: &Scenario, cast: &Cast) -> Result<Vec<bool>> {
    let ways = cast.denied_ways().into_iter();
    let (udp, tcp): (Vec<_>, Vec<_>) = ways.partition(|way| way.over == Transport::Udp);
    tcp.iter().try_for_each(is_denied)?;
    let goes_on = udp.iter().map(|way| way.is_open_from(PORT)).collect::<Result<Vec<_>>>()?;
    scenario.note(format!("{}: a UDP flow that conntrack knows goes on: {goes_on:?}", cast.name));
    for node in cast.nodes() {
        // It fails where there was nothing to delete.
        node.succeeds(&format!("conntrack -D -p udp --orig-port-src {PORT}"))?;
    }
    udp.iter().try_for_each(is_denied)?;
    all_denied(&udp)?;
    Ok(goes_on)
}

fn is_denied(way: &Way) -> Result<()> {
    let what = format!("{} from a known port is denied", way.name);
    eventually(&what, LIMIT, || Ok(!way.is_open_from(PORT)?))
}
