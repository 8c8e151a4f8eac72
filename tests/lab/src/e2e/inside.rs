//! One cluster and its tests, in the lab's process 1.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::files::Folder;
use super::ginkgo;
use super::options::{Inside, Network, Part, Suite};
use super::results::{Run, SuiteRun};
use crate::counters::Counts;
use crate::holder;
use crate::kubernetes::{Cluster, Image, Options, Steps};
use crate::lab::Lab;
use crate::node::Node;
use crate::scenario::{SKIPPED, is_skip, show_logs};
use crate::wire::Wire;

/// Runs one part; the exit code says whether the tests ran, not how they ended.
///
/// # Errors
/// When a file cannot be written or the cluster does not come up; the logs are shown then.
pub fn run(Inside { part, folder }: &Inside) -> Result<u8> {
    let mut files = Folder::inherited(*folder)?.open(part)?;
    holder::prepare_lab()?;
    let ran = bring_up(part).and_then(|(cluster, mut run)| {
        for (suite, log) in &files.logs {
            run.suites.push(one_suite(part, &cluster, *suite, log)?);
        }
        files.write_results(&run)
    });
    match ran {
        Err(error) if is_skip(&error) => {
            println!("SKIP Kubernetes' own tests. {error:#}");
            Ok(SKIPPED)
        }
        Err(error) => {
            show_logs();
            Err(error)
        }
        Ok(()) => Ok(0),
    }
}

fn bring_up(part: &Part) -> Result<(Cluster, Run)> {
    let options = Options {
        proxy: part.proxy.mode(),
        cni: part.cni.cni(),
        images: Image::E2E.to_vec(),
        ..Options::default()
    };
    let mut steps = Steps::new();
    let cluster = Cluster::up(Lab::new(Wire::Framed)?, &options, &mut steps)?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease");
    let run = Run {
        network: part.cni,
        proxy: part.proxy,
        nodes: cluster.nodes.len(),
        kernel: release.context("the kernel does not say its release")?.trim().to_owned(),
        bring_up_seconds: steps.elapsed().as_secs_f64(),
        suites: Vec::new(),
    };
    Ok((cluster, run))
}

fn one_suite(part: &Part, cluster: &Cluster, suite: Suite, log: &fs::File) -> Result<SuiteRun> {
    let before = counted(part, cluster)?;
    let start = Instant::now();
    let title = format!("{}: {}", part.title(), suite.name());
    let found = ginkgo::run(cluster, &title, &part.choice(suite), log)?;
    let seconds = start.elapsed().as_secs_f64();
    let after = counted(part, cluster)?;
    let [paths, drops] = [after[0].since(&before[0]), after[1].since(&before[1])].map(|counts| {
        counts.iter().map(|(name, packets)| (name.to_owned(), packets)).collect::<BTreeMap<_, _>>()
    });
    Ok(SuiteRun { suite, chosen: found.chosen, seconds, specs: found.specs, paths, drops })
}

/// The agents' counters of packets per path and per reason, over all nodes; none with flannel.
fn counted(part: &Part, cluster: &Cluster) -> Result<[Counts; 2]> {
    let mut sums = [Counts::default(), Counts::default()];
    match part.cni {
        Network::Flannel => return Ok(sums),
        Network::Tartan => {}
    }
    for node in &cluster.nodes {
        let all: [fn(&Node) -> Result<Counts>; 2] = [Node::paths, Node::drops];
        for (sum, read) in sums.iter_mut().zip(all) {
            *sum = std::mem::take(sum).plus(&read(node.node())?);
        }
    }
    Ok(sums)
}
