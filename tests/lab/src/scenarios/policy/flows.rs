//! New flows between two pods, and whether they get through.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};

use crate::pod::Pod;
use crate::process::{Place as _, eventually};
use crate::tools::knock::KnockReport;
use crate::traffic::{ECHO_PORT, Running, Transport};

/// How long netfilter's new mind may take to show. What is measured is printed.
pub(super) const LIMIT: Duration = Duration::from_secs(10);

/// From where to where, over which transport.
#[derive(Debug, Clone)]
pub(super) struct Way {
    pub(super) name: String,
    pub(super) from: Pod,
    pub(super) to: Pod,
    pub(super) over: Transport,
}

impl Way {
    /// Both transports from one pod to another.
    pub(super) fn both(name: &str, from: &Pod, to: &Pod) -> [Self; 2] {
        [Transport::Tcp, Transport::Udp].map(|over| Self {
            name: format!("{name} {over:?}"),
            from: from.clone(),
            to: to.clone(),
            over,
        })
    }

    fn line(&self, more: &str) -> Result<String> {
        let to = SocketAddr::new(self.to.address()?.into(), ECHO_PORT);
        let over = match self.over {
            Transport::Tcp => "",
            Transport::Udp => "--udp",
        };
        Ok(format!("knock --to {to} {over} {more}"))
    }

    /// Tries `count` flows, from this source port if it is not zero.
    pub(super) fn try_some(&self, count: u64, port: u16) -> Result<KnockReport> {
        let line = self.line(&format!("--count {count} --from-port {port} --pause 5"))?;
        Running::start(&self.from, &line, "")?.finish()
    }

    /// Whether a new flow gets its answer.
    pub(super) fn is_open(&self) -> Result<bool> {
        Ok(self.try_some(1, 0)?.answered == 1)
    }

    /// Whether a flow of this source port gets its answer.
    pub(super) fn is_open_from(&self, port: u16) -> Result<bool> {
        Ok(self.try_some(1, port)?.answered == 1)
    }

    /// Tries new flows until it is told to stop.
    pub(super) fn keep_trying(&self) -> Result<Running<KnockReport>> {
        Running::start(&self.from, &self.line("--pause 10")?, "")
    }
}

/// Waits until new flows get through on all ways.
pub(super) fn all_open(ways: &[Way]) -> Result<()> {
    ways.iter().try_for_each(|way| {
        eventually(&format!("{} is open", way.name), LIMIT, || way.is_open())
            .with_context(|| format!("{} to {}", way.from.label(), way.to.label()))
    })
}

/// Waits until new flows are denied on all ways.
pub(super) fn all_denied(ways: &[Way]) -> Result<()> {
    ways.iter().try_for_each(|way| {
        eventually(&format!("{} is denied", way.name), LIMIT, || Ok(!way.is_open()?))
            .with_context(|| format!("{} to {}", way.from.label(), way.to.label()))
    })
}

/// New flows on several ways, one after another, while something changes.
pub(super) struct Watched<'a> {
    ways: &'a [Way],
    running: Vec<Running<KnockReport>>,
}

impl<'a> Watched<'a> {
    pub(super) fn start(ways: &'a [Way]) -> Result<Self> {
        let running = ways.iter().map(Way::keep_trying).collect::<Result<_>>()?;
        Ok(Self { ways, running })
    }

    /// Waits for denial everywhere; for each way, how long after `since` the last flow began that
    /// got through.
    pub(super) fn until_denied(self, since: SystemTime) -> Result<Vec<(String, u64)>> {
        all_denied(self.ways)?;
        let since = since.duration_since(SystemTime::UNIX_EPOCH)?.as_millis();
        let since = u64::try_from(since)?;
        let mut lags = Vec::new();
        for (way, running) in self.ways.iter().zip(self.running) {
            let report = running.stop()?;
            ensure!(report.answered > 0, "{}: nothing got through before: {report:?}", way.name);
            ensure!(report.denied > 0, "{}: nothing was denied: {report:?}", way.name);
            lags.push((way.name.clone(), report.last_answered_ms.saturating_sub(since)));
        }
        Ok(lags)
    }
}
