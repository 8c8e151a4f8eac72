//! Two hundred sequences of writes and faults over HTTP. One that fails names its seed:
//! `TARTAN_SEED=17 cargo test -p tartan-fakeapi --test seeded`.

use std::env;

use futures_util::stream::{self, StreamExt as _};
use tartan_fakeapi::suite::chaos;
use tokio::runtime::Handle;
use tokio::time::{Duration, Instant, sleep};

const SEEDS: u64 = 200;
/// Most of a sequence is waiting.
const AT_A_TIME: usize = 16;

/// All of them, or the one that is asked for.
fn seeds() -> Vec<u64> {
    let one = env::var("TARTAN_SEED").ok().and_then(|text| text.parse().ok());
    one.map_or_else(|| (0..SEEDS).collect(), |seed| vec![seed])
}

#[tokio::test]
async fn every_sequence_ends_with_what_the_server_has_and_leaves_no_task() {
    let (before, start) = (Handle::current().metrics().num_alive_tasks(), Instant::now());
    let runs = stream::iter(seeds()).map(chaos::run).buffer_unordered(AT_A_TIME);
    let failures: Vec<String> = runs
        .filter_map(|outcome| async { outcome.err().map(|error| format!("{error:#}")) })
        .collect()
        .await;
    println!("{} sequences in {:?}", seeds().len(), start.elapsed());
    assert!(failures.is_empty(), "{}: {}", failures.len(), failures.join("\n"));
    let end = Instant::now() + Duration::from_secs(5);
    while Handle::current().metrics().num_alive_tasks() > before {
        assert!(
            Instant::now() < end,
            "{} tasks are left",
            Handle::current().metrics().num_alive_tasks()
        );
        sleep(Duration::from_millis(20)).await;
    }
}
