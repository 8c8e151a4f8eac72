//! Flows that are there before a policy comes, and are still there when it has gone into force.

use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, ensure};

use super::cast::Cast;
use crate::pod::Pod;
use crate::scenario::Scenario;
use crate::traffic::{self, ECHO_PORT, ProbeReport, RrReport, Running};

/// Longer than two time slots of the gate: a flow that went fast has met the stack again.
const SECONDS: f64 = 12.0;

/// From both clients and both friends of a cast to its server.
pub(super) struct UnderWay {
    side: &'static str,
    clients: Vec<Running<RrReport>>,
    friends: Vec<Running<RrReport>>,
    datagrams: Vec<Running<Vec<ProbeReport>>>,
}

impl UnderWay {
    pub(super) fn start(cast: &Cast) -> Result<Self> {
        let server: IpAddr = cast.server.address()?.into();
        let connections = |pods: &[Pod; 2], what: &str| -> Result<Vec<_>> {
            let to = SocketAddr::new(server, ECHO_PORT);
            let line = format!("rr --to {to} --seconds {SECONDS} {what}");
            pods.iter().map(|pod| Running::start(pod, &line, "")).collect()
        };
        let probe = |pod: &Pod| traffic::udp_probe(pod, &[server], 200, SECONDS);
        Ok(Self {
            side: cast.name,
            clients: connections(&cast.clients, "--pause-us 20000")?,
            friends: connections(&cast.friends, "--size 16384 --pause-us 5000")?,
            datagrams: cast.friends.iter().map(probe).collect::<Result<_>>()?,
        })
    }

    /// Nothing allowed was lost, reset or held up; for each client, whether a connection that the
    /// policy would not let it open goes on.
    pub(super) fn finish(self, scenario: &Scenario) -> Result<Vec<bool>> {
        let side = self.side;
        for running in self.friends {
            let report = running.finish().with_context(|| format!("{side}, allowed TCP"))?;
            scenario.note(format!("{side}, allowed TCP: {report:?}"));
            ensure!(report.round_trips > 100, "{side}, allowed TCP: {report:?}");
        }
        for running in self.datagrams {
            let reports = running.finish()?;
            scenario.note(format!("{side}, allowed UDP: {reports:?}"));
            let whole = reports.iter().all(|report| report.lost + report.refused == 0);
            ensure!(whole, "{side}, allowed UDP: {reports:?}");
        }
        let mut goes_on = Vec::new();
        for running in self.clients {
            let outcome = running.finish();
            scenario.note(format!("{side}, established before the policy: {outcome:?}"));
            goes_on.push(outcome.is_ok_and(|report| report.round_trips > 100));
        }
        Ok(goes_on)
    }
}
