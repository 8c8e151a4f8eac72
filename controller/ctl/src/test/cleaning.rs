//! Takes away what the test made.

use std::io::Write;
use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use super::cluster::{Cluster, Collection, Select};
use super::interrupts::Interrupts;
use super::narrator::Narrator;
use super::survey;

/// How long a namespace may take to go away.
const GONE: Duration = Duration::from_secs(90);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(300);

/// Deletes the namespace, waits for its end, and says so. Another interruption ends the waiting.
pub(crate) async fn remove(
    cluster: &impl Cluster,
    namespace: &str,
    narrator: &mut Narrator<impl Write>,
    interrupts: &mut impl Interrupts,
) {
    let start = Instant::now();
    let line = tokio::select! {
        removed = gone(cluster, namespace) => match removed {
            Ok(true) => {
                format!("removed namespace {namespace} ({:.1} s)", start.elapsed().as_secs_f32())
            }
            Ok(false) => format!("namespace {namespace} is still being deleted; {}", see(namespace)),
            Err(error) => format!("LEFT namespace {namespace}: {error:#}; {}", by_hand(namespace)),
        },
        () = interrupts.next() => {
            format!("namespace {namespace} may still be there; {}", by_hand(namespace))
        }
    };
    // Nobody may read any more; the work is done all the same.
    let _ = narrator.say(&line);
}

/// Deletes every namespace of an earlier test.
pub(crate) async fn remove_leftovers(
    cluster: &impl Cluster,
    narrator: &mut Narrator<impl Write>,
    interrupts: &mut impl Interrupts,
) -> Result<()> {
    let found = survey::leftovers(cluster).await?;
    if found.is_empty() {
        narrator.say("no test left a namespace")?;
    }
    for namespace in found {
        remove(cluster, &namespace, narrator, interrupts).await;
    }
    Ok(())
}

/// How to delete a namespace without us.
pub(crate) fn by_hand(namespace: &str) -> String {
    format!("delete it by `kubectl delete namespace {namespace}` or `tartanctl test --cleanup`")
}

fn see(namespace: &str) -> String {
    format!("see `kubectl get namespace {namespace} -o yaml` for what it waits for")
}

/// Whether it is gone in time.
async fn gone(cluster: &impl Cluster, namespace: &str) -> Result<bool> {
    match cluster.delete(&Collection::Namespaces, namespace).await {
        Err(error) if error.is_not_found() => return Ok(true),
        deleted => deleted?,
    }
    let start = Instant::now();
    let own = Select::Fields(format!("metadata.name={namespace}"));
    while !cluster.list(&Collection::Namespaces, &own).await?.is_empty() {
        if start.elapsed() >= GONE {
            return Ok(false);
        }
        sleep(PAUSE).await;
    }
    Ok(true)
}
