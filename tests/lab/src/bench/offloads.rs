//! Whether every uplink has the offloads that its kind of wire means.

use anyhow::Result;

use super::contender::Contender;
use super::premises::Premise;
use super::wires::WireKind;
use crate::process::Place;
use crate::wire::Outside;

/// Feature, what a framed wire has, what an offloaded one has. Checksums are offloaded on both, as
/// by every network card.
const NODES_END: [(&str, bool, bool); 4] = [
    ("tcp-segmentation-offload", false, true),
    ("generic-segmentation-offload", false, true),
    ("generic-receive-offload", true, false),
    ("tx-checksumming", true, true),
];
const WIRES_END: [(&str, bool, bool); 3] = [
    ("tcp-segmentation-offload", false, true),
    ("generic-segmentation-offload", false, true),
    ("generic-receive-offload", false, false),
];

/// Asks both ends of every node's uplink.
pub(super) fn check(wire: WireKind, contenders: &[Contender]) -> Result<Premise> {
    let mut wrong = Vec::new();
    for node in contenders.iter().flat_map(|contender| &contender.nodes) {
        wrong.extend(differences(wire, node, "eth0", &NODES_END)?);
        let up = format!("up-{}", node.name());
        wrong.extend(differences(wire, &Outside, &up, &WIRES_END)?);
    }
    let found = if wrong.is_empty() { wanted(wire) } else { wrong.join("; ") };
    let what = format!("{}: offloads of every uplink", wire.name());
    Ok(Premise { what, found, holds: wrong.is_empty() })
}

fn wanted(wire: WireKind) -> String {
    let list = NODES_END.map(|(feature, framed, offloaded)| {
        let on = wire.of(framed, offloaded);
        format!("{feature} {}", if on { "on" } else { "off" })
    });
    list.join(", ")
}

fn differences(
    wire: WireKind,
    place: &dyn Place,
    link: &str,
    wanted: &[(&str, bool, bool)],
) -> Result<Vec<String>> {
    let shown = place.run(&format!("ethtool -k {link}"))?;
    let wrong = wanted.iter().filter_map(|(feature, framed, offloaded)| {
        let is = state(&shown, feature);
        let good = is == Some(wire.of(*framed, *offloaded));
        let word = is.map_or("missing", |on| if on { "on" } else { "off" });
        (!good).then(|| format!("{} of {} {link} is {word}", feature, place.label()))
    });
    Ok(wrong.collect())
}

fn state(shown: &str, feature: &str) -> Option<bool> {
    let value =
        shown.lines().find_map(|line| line.trim().strip_prefix(feature)?.strip_prefix(':'))?;
    Some(value.trim().starts_with("on"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_is_found_by_its_whole_name() {
        let shown = "Features for eth0:\ntx-checksumming: on\n\ttx-checksum-ipv4: off [fixed]\n\
                     generic-receive-offload: off\n";
        assert_eq!(state(shown, "tx-checksumming"), Some(true));
        assert_eq!(state(shown, "generic-receive-offload"), Some(false));
        assert_eq!(state(shown, "generic-receive"), None);
    }
}
