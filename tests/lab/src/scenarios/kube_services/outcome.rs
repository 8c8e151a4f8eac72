//! What became of one row on one side: who answered, having seen which source.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result};

use super::flows::{Answer, Flow, Target};
use super::host::{Host, Source};
use super::side::{HOST_PORT, Side};
use crate::control_plane::ControlPlane;
use crate::kube_services::{BACKEND_PORT, SERVICE_PORT};
use crate::traffic::{InquireReport, Running};

/// How long nobody must answer, in milliseconds.
const SILENCE: u64 = 500;

/// Seen by the servers, and by the client.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Outcome {
    /// Questions with an answer.
    pub(super) good: u64,
    /// Questions without.
    pub(super) failed: u64,
    /// The first failure in words.
    pub(super) why: Option<String>,
    /// Who answered.
    pub(super) servers: BTreeSet<String>,
    /// Which sources they saw.
    pub(super) sources: BTreeSet<Source>,
}

impl Flow {
    /// Runs the row.
    pub(super) fn run(&self, side: &Side, plane: &ControlPlane) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        let addresses = self.addresses(side, plane)?;
        let each = self.count() / addresses.len().max(1) as u64;
        for to in addresses {
            let report = self.ask(side, to, each)?;
            outcome.add(report, side, self.from)?;
        }
        Ok(outcome)
    }

    fn ask(&self, side: &Side, to: SocketAddr, count: u64) -> Result<InquireReport> {
        let udp = if self.udp { " --udp" } else { "" };
        let patience = match self.answer {
            Answer::Nobody => format!(" --patience-ms {SILENCE}"),
            Answer::By(_) | Answer::Both | Answer::OneOf => String::new(),
        };
        let line = format!("inquire --to {to} --count {count}{udp}{patience}");
        Running::start(self.from.place(side)?, &line, "")?.finish()
    }

    fn addresses(&self, side: &Side, plane: &ControlPlane) -> Result<Vec<SocketAddr>> {
        let at = |address: IpAddr, port: u16| SocketAddr::new(address, port);
        Ok(match self.to {
            Target::Cluster(name) => {
                let address = side.service(name)?.cluster_ip.context("no cluster address")?;
                vec![at(address, SERVICE_PORT)]
            }
            Target::NodePort(name, node) => {
                let ports = side.service(name)?.node_ports.context("no node port")?;
                vec![at(node.address(side)?, ports[usize::from(self.udp)])]
            }
            Target::HostPort => vec![at(Host::Node1.address(side)?, HOST_PORT)],
            Target::Headless => {
                let addresses = plane.admin().endpoint_addresses(&side.full_name("headless"))?;
                addresses.into_iter().map(|address| at(address, BACKEND_PORT)).collect()
            }
            Target::Direct(Host::Outside) => {
                vec![at(Host::Outside.address(side)?, side.outside_port())]
            }
            Target::Direct(host) => vec![at(host.address(side)?, BACKEND_PORT)],
        })
    }

    /// What is wrong with an outcome by itself.
    pub(super) fn fault(&self, outcome: &Outcome) -> Option<String> {
        let names: Vec<_> = outcome.servers.iter().map(String::as_str).collect();
        let right = match self.answer {
            Answer::By(host) => names == [host.name()],
            Answer::Both => names == ["far", "near"],
            Answer::OneOf => names.len() == 1,
            Answer::Nobody => return (outcome.good > 0).then(|| format!("answered: {outcome:?}")),
        };
        if outcome.failed > 0 {
            let why = outcome.why.as_deref().unwrap_or("no reason");
            return Some(format!("{} good, then failures: {why}", outcome.good));
        }
        (!right).then(|| format!("answered by {names:?}"))
    }

    /// Where it is from, where it goes, in a line of the log.
    pub(super) fn title(&self) -> String {
        format!("{}: {}", self.kind, self.path)
    }
}

impl Outcome {
    fn add(&mut self, report: InquireReport, side: &Side, from: Host) -> Result<()> {
        for (testimony, count) in report.answers {
            self.good += count;
            self.servers.insert(testimony.server);
            self.sources.insert(Source::of(side, from, testimony.source)?);
        }
        self.failed += report.failed;
        self.why = self.why.take().or(report.first_failure);
        Ok(())
    }

    /// The sources in words.
    pub(super) fn sources(&self) -> String {
        if self.sources.is_empty() {
            return "nobody answers".to_owned();
        }
        self.sources.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }

    /// Whether the servers saw what they see under flannel.
    pub(super) fn is_as(&self, flannel: &Self, flow: &Flow) -> bool {
        self.sources == flannel.sources
            || (flow.keeps_the_client && self.sources == BTreeSet::from([Source::Own]))
    }
}
