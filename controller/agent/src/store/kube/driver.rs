//! Does what the reflector decides, and tells it what came back.

use std::sync::Arc;
use std::time::Duration;

use tartan_core::reflector::{
    Failure, ListRequest, Next, Page, Version, WatchItem, parse_event, parse_page,
};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::lines::Lines;
use super::request;
use super::shared::Shared;

/// At most so many objects that cannot be read are named per list.
const MOST_NAMED: usize = 5;

/// Mirrors the cluster for ever.
pub(super) async fn run(shared: Arc<Shared>) {
    let mut driver = Driver { shared, watch: None, troubled: false };
    loop {
        driver.step().await;
    }
}

struct Driver {
    shared: Arc<Shared>,
    /// The open watch.
    watch: Option<Lines>,
    /// Whether callers were told of trouble.
    troubled: bool,
}

impl Driver {
    async fn step(&mut self) {
        let now = self.shared.now();
        let next = self.shared.reflector().next(now);
        match next {
            Next::Wait { until } => sleep(until.saturating_sub(now)).await,
            Next::List(request) => self.list(request).await,
            Next::Watch { from } => self.open(from).await,
            Next::Follow { until } => self.follow(until.saturating_sub(now)).await,
        }
    }

    async fn list(&mut self, request: ListRequest) {
        match page(&self.shared, &request).await {
            Ok(page) => {
                warn_of(&page.unreadable);
                self.take(page);
            }
            Err(failure) => self.failed(&failure),
        }
    }

    fn take(&mut self, page: Page) {
        let now = self.shared.now();
        let mut reflector = self.shared.reflector();
        let (generation, was_synced) = (reflector.generation(), reflector.is_synced());
        reflector.page(now, page);
        let changed = reflector.generation() != generation;
        if reflector.is_synced() && !was_synced {
            info!(nodes = reflector.len(), "Node controller sync successful");
        }
        drop(reflector);
        self.went_well(changed);
    }

    async fn open(&mut self, from: Version) {
        let lifetime = self.shared.options.timing.watch_lifetime.as_secs().max(1);
        let seconds = lifetime + self.shared.seed() % lifetime;
        match self.shared.transport.open(request::watch(&from, seconds)).await {
            Ok(body) => {
                self.watch = Some(Lines::new(body));
                self.shared.reflector().watch_opened(self.shared.now());
                self.went_well(false);
            }
            Err(failure) => self.failed(&failure),
        }
    }

    async fn follow(&mut self, patience: Duration) {
        let Some(watch) = &mut self.watch else {
            return self.failed(&Failure::Connection("the watch is gone".to_owned()));
        };
        match timeout(patience, watch.next()).await {
            Err(_) => self.lost(&Failure::Stalled),
            Ok(Err(failure)) => self.lost(&failure),
            Ok(Ok(None)) => {
                debug!("the watch ended in order");
                self.watch = None;
                self.shared.reflector().ended(self.shared.now());
            }
            Ok(Ok(Some(line))) => match parse_event(&line, &self.shared.options.prefix) {
                Ok(item) => self.heard(item),
                Err(error) => self.lost(&Failure::Malformed(error.to_string())),
            },
        }
    }

    fn heard(&mut self, item: WatchItem) {
        if let WatchItem::Failed(failure) = &item {
            let failure = failure.clone();
            return self.lost(&failure);
        }
        if let WatchItem::Unreadable(what) = &item {
            warn!(what, "a change of a Node was skipped");
        }
        let now = self.shared.now();
        let mut reflector = self.shared.reflector();
        let generation = reflector.generation();
        reflector.heard(now, item);
        let changed = reflector.generation() != generation;
        drop(reflector);
        self.went_well(changed);
    }

    /// The watch is over, and not as it should be.
    fn lost(&mut self, failure: &Failure) {
        self.watch = None;
        if !failure.is_an_answer() {
            self.shared.transport.renew();
        }
        self.failed(failure);
    }

    fn failed(&mut self, failure: &Failure) {
        self.watch = None;
        self.shared.reflector().failed(self.shared.now(), failure);
        // That a version is gone is nobody's fault.
        if *failure == Failure::Gone {
            return;
        }
        self.shared.reading.failed(&failure.to_string());
        let is_trouble =
            self.shared.reading.trouble(self.shared.options.timing.trouble_after).is_some();
        if is_trouble && !self.troubled {
            self.troubled = true;
            self.shared.tell_change();
        }
    }

    fn went_well(&mut self, changed: bool) {
        self.shared.reading.succeeded();
        if std::mem::take(&mut self.troubled) || changed {
            self.shared.tell_change();
        }
    }
}

async fn page(shared: &Arc<Shared>, request: &ListRequest) -> Result<Page, Failure> {
    let body = shared.transport.answer(request::list(request)).await?;
    let shared = Arc::clone(shared);
    // Some megabytes: the other tasks need not wait for it.
    let parsed = spawn_blocking(move || parse_page(&body, &shared.options.prefix)).await;
    let page = parsed.map_err(|error| Failure::Malformed(error.to_string()))?;
    page.map_err(|error| Failure::Malformed(error.to_string()))
}

fn warn_of(unreadable: &[String]) {
    for what in unreadable.iter().take(MOST_NAMED) {
        warn!(what, "a Node was skipped");
    }
    if unreadable.len() > MOST_NAMED {
        warn!(more = unreadable.len() - MOST_NAMED, "more Nodes were skipped");
    }
}
