//! Pods come and go while the agent, at every change of a peer, looks after the same pods.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};

use crate::cluster::Member;
use crate::lease::Lease;
use crate::paths;
use crate::scenario::{Entry, Scenario};
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[Entry::new(
    "cni_beside_the_agent::every_pod_is_connected_while_peers_come_and_go",
    while_peers_come_and_go,
)];

const PODS: u32 = 60;

fn while_peers_come_and_go(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let member = Member::new(lab.node()?, 0)?;
    let done = AtomicBool::new(false);
    let (cycles, peers) = thread::scope(|scope| {
        let churn = scope.spawn(|| come_and_go(&done));
        let cycles = cycle(&member);
        done.store(true, Ordering::Relaxed);
        (cycles, churn.join())
    });
    let changes = peers.map_err(|_| anyhow!("the peers panicked"))??;
    scenario.note(format!("{PODS} pods beside {changes} changes of a peer"));
    cycles?;
    let log = Path::new(paths::LOGS).join(format!("tartand-{}.log", member.node.name()));
    let log = fs::read_to_string(log)?;
    let alarms: Vec<_> =
        log.lines().filter(|line| line.contains("WARN") || line.contains("ERROR")).collect();
    ensure!(alarms.is_empty(), "false alarms of the agent: {alarms:#?}");
    Ok(())
}

fn cycle(member: &Member) -> Result<()> {
    for number in 0..PODS {
        let pod = member.node.pod(&format!("p{number}"))?;
        let each = || -> Result<()> {
            let added = pod.cni_add()?;
            pod.cni_check(&added)?;
            pod.cni_del()
        };
        each().with_context(|| format!("pod {number}"))?;
        pod.remove()?;
    }
    Ok(())
}

/// A peer that joins and leaves 50 times a second; how often it did.
fn come_and_go(done: &AtomicBool) -> Result<u32> {
    let lease = Lease {
        name: "guest".to_owned(),
        subnet: "10.244.77.0/24".parse()?,
        node: "172.30.0.77".parse()?,
        vtep: "06:00:00:00:00:77".to_owned(),
    };
    let mut changes = 0;
    while !done.load(Ordering::Relaxed) {
        lease.publish()?;
        thread::sleep(Duration::from_millis(10));
        lease.withdraw()?;
        thread::sleep(Duration::from_millis(10));
        changes += 2;
    }
    Ok(changes)
}
