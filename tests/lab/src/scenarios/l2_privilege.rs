//! The agent's container has exactly the rights that the manifest names.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::l2_traffic::proc_file;
use crate::control_plane::NAMESPACE;
use crate::kubernetes::{Cluster, Options, Steps};
use crate::scenario::{Entry, Scenario};
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] =
    &[Entry::new("l2_privilege::the_agent_has_the_manifests_capabilities", the_manifests)
        .within(200)
        .with_tools()
        .with_kubelets()
        .long()];

/// `CAP_NET_ADMIN`, `CAP_PERFMON` and `CAP_BPF` of `linux/capability.h`.
const RIGHTS: u64 = 1 << 12 | 1 << 38 | 1 << 39;

fn the_manifests(scenario: &mut Scenario) -> Result<()> {
    let options = Options { nodes: 1, dns: false, ..Options::default() };
    let cluster = Cluster::up(scenario.lab(Wire::Framed)?, &options, &mut Steps::new())?;
    let agents = cluster.wait_pods(NAMESPACE, "app=tartan", 1, Duration::from_mins(1))?;
    let agent = agents.first().context("no agent")?;
    let container = agent.container.as_deref().context("no container")?;
    let process = cluster.node(&agent.node)?.process_of(container).context("no process")?;

    let status = proc_file(process, "status")?;
    let field = |name: &str| -> Result<String> {
        let line = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        Ok(line.with_context(|| format!("no {name} in {status}"))?.trim().to_owned())
    };
    ensure!(field("Name")? == "tartand", "process {process} is {}", field("Name")?);
    for set in ["CapPrm", "CapEff", "CapBnd"] {
        let held = u64::from_str_radix(&field(set)?, 16)?;
        scenario.note(format!("{set} {held:016x}"));
        ensure!(held == RIGHTS, "{set} is {held:016x}, not {RIGHTS:016x}");
    }
    ensure!(field("CapAmb")? == "0000000000000000", "ambient: {}", field("CapAmb")?);
    for (name, value) in [("NoNewPrivs", "1"), ("Seccomp", "2")] {
        scenario.note(format!("{name} {}", field(name)?));
        ensure!(field(name)? == value, "{name} is {}, not {value}", field(name)?);
    }
    let mounts = proc_file(process, "mountinfo")?;
    let options = |point: &str| {
        let mut lines = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
        let found = lines.find(|fields| fields.get(4) == Some(&point));
        found.and_then(|fields| fields.get(5).map(|options| (*options).to_owned()))
    };
    for point in ["/", "/proc/sys", "/sys"] {
        let found = options(point).with_context(|| format!("no mount at {point}"))?;
        scenario.note(format!("{point} {found}"));
        ensure!(found.split(',').any(|one| one == "ro"), "{point} is writable: {found}");
    }
    Ok(())
}
