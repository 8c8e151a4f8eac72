//! A limit on a pod's link holds for its IPv6 packets, too.

use anyhow::{Result, ensure};

use super::{Ground, pod6, serve};
use crate::process::Place as _;
use crate::scenario::Scenario;
use crate::scenarios::pod_links::{await_reason, limit, passed};
use crate::traffic;
use crate::wire::Wire;

const BYTES: u64 = 200_000;

pub(super) fn limits(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let ground = Ground::new(&lab, 2, 2)?;
    let [limited, near, far, _] = &ground.pods[..] else { anyhow::bail!("not four pods") };
    let _servers6 = [serve(limited)?, serve(near)?, serve(far)?];
    let (node, link) = (limited.node(), limited.host_link()?);
    let before = node.paths()?;
    for other in [near, far] {
        ensure!(traffic::tcp_bytes(limited, pod6(other)?, BYTES)?.intact, "before the limit");
    }
    let added = node.paths()?.since(&before);
    ensure!(added.get("pod-local-fast") > 0 && added.get("pod-remote-fast") > 0, "{added:?}");
    limit(node, &link)?;
    await_reason(node, &link, Some("the qdisc tbf"))?;
    let before = node.paths()?;
    for other in [near, far] {
        for (from, to, at) in [(other, limited, link.as_str()), (limited, other, "limit0")] {
            let (bytes, _) = passed(node, at, "tbf")?;
            ensure!(traffic::tcp_bytes(from, pod6(to)?, BYTES)?.intact, "to {}", to.label());
            let counted = passed(node, at, "tbf")?.0 - bytes;
            scenario.note(format!("{} to {}: {counted} bytes", from.label(), to.label()));
            ensure!(counted >= BYTES, "{counted} of {BYTES} bytes passed the limit");
        }
    }
    let added = node.paths()?.since(&before);
    let fast = ["pod-local-fast", "pod-remote-fast", "uplink-pod-fast"];
    ensure!(fast.iter().all(|path| added.get(path) == 0), "a limit is bypassed: {added:?}");
    Ok(())
}
