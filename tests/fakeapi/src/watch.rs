//! Where a watch starts: at a revision that is still remembered, or with everything that is there.

use std::time::Duration;

use hyper::body::Bytes;
use tokio::time::Instant;

use crate::fault::{Fault, Faults};
use crate::options::Options;
use crate::registry::Resource;
use crate::status::Failure;
use crate::view::View;
use crate::watching::{Scope, Timetable, Watching};

/// Starts a watch.
pub(crate) async fn watch(
    mut view: View,
    resource: Resource,
    namespace: &str,
    options: &Options,
    (faults, fault): (&Faults, Option<Fault>),
) -> Result<Watching, Failure> {
    let scope = Scope { resource, prefix: resource.prefix(namespace), name: options.name.clone() };
    let initial = options.initial_events || matches!(options.revision, None | Some(0));
    let at = start(&mut view, options).await?;
    let objects = if initial { everything(&view, &scope, at)? } else { Vec::new() };
    let seconds = options.timeout_seconds.filter(|seconds| *seconds > 0);
    let limit = view.shared.timings().watch_ends;
    let timetable = Timetable {
        bookmarks: options.bookmarks,
        ends_at: Instant::now() + seconds.map_or(limit, Duration::from_secs),
    };
    let mut watching = Watching::new(view, scope, at, &timetable, faults.strikes());
    watching.begin_with(objects, options.initial_events);
    watching.meets(fault);
    Ok(watching)
}

/// The revision after which the watch tells what happens.
async fn start(view: &mut View, options: &Options) -> Result<u64, Failure> {
    match options.revision {
        Some(0) => Ok(view.seen()),
        Some(revision) if !options.initial_events => Ok(revision),
        asked => {
            // A consistent start: the newest revision, once this server has seen it.
            let wanted = asked.unwrap_or_else(|| view.shared.etcd().revision());
            if view.until_seen(wanted).await {
                Ok(view.seen())
            } else {
                Err(Failure::too_large(wanted, view.seen()))
            }
        }
    }
}

fn everything(view: &View, scope: &Scope, at: u64) -> Result<Vec<Bytes>, Failure> {
    let etcd = view.shared.etcd();
    let expired = || Failure::too_old(at, etcd.oldest());
    if let Some(name) = &scope.name {
        return Ok(etcd.get(&format!("{}{name}", scope.prefix), at).into_iter().collect());
    }
    etcd.range(&scope.prefix, "", at, None).map(|range| range.values).map_err(|_| expired())
}
