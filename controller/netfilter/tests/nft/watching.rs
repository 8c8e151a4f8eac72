//! Changes by anybody are told.

#![expect(clippy::expect_used, reason = "a test's scaffolding fails its test")]

use std::time::Duration;

use tartan_netfilter::nft::{Nft, NftEvents};
use tokio::time::timeout;

use crate::support::{every_kind, iptables, listed, namespace, nft, put, table};

/// Runs a future where the sockets are in the namespace of the test.
fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build().expect("a runtime").block_on(test);
}

async fn told(events: &mut NftEvents) -> bool {
    timeout(Duration::from_secs(5), events.changed()).await.is_ok()
}

/// Whether nothing more is told; a pause that is only ever too short.
async fn quiet(events: &mut NftEvents) -> bool {
    timeout(Duration::from_millis(50), events.changed()).await.is_err()
}

#[test]
fn every_change_of_the_rules_wakes_a_listener_once() {
    namespace(|| {
        run(async {
            let mut kernel = Nft::open().expect("nf_tables");
            put(&mut kernel, &table(every_kind(), 2_000));
            let mut events = NftEvents::listen().expect("nf_tables");
            assert!(quiet(&mut events).await, "nothing has happened yet");
            put(&mut kernel, &table(every_kind(), 2_000));
            assert!(told(&mut events).await && quiet(&mut events).await);
            iptables("-A FORWARD -j ACCEPT");
            assert!(told(&mut events).await && quiet(&mut events).await);
            nft("flush ruleset");
            assert!(told(&mut events).await && quiet(&mut events).await);
        });
    });
}

#[test]
fn reading_is_no_change() {
    namespace(|| {
        run(async {
            let mut kernel = Nft::open().expect("nf_tables");
            put(&mut kernel, &table(every_kind(), 3));
            let mut events = NftEvents::listen().expect("nf_tables");
            let generation = kernel.generation().expect("read");
            kernel.ruleset("tartan").expect("read");
            listed();
            assert!(quiet(&mut events).await);
            assert_eq!(kernel.generation().expect("read"), generation);
        });
    });
}

#[test]
fn lost_events_and_a_dropped_future_lose_no_change() {
    namespace(|| {
        run(async {
            let mut kernel = Nft::open().expect("nf_tables");
            let mut events = NftEvents::listen().expect("nf_tables");
            for _ in 0..30 {
                put(&mut kernel, &table(every_kind(), 3_000));
            }
            assert!(told(&mut events).await && quiet(&mut events).await);
            put(&mut kernel, &table(every_kind(), 3));
            for _ in 0..3 {
                tokio::select! {
                    biased;
                    () = std::future::ready(()) => {}
                    () = events.changed() => panic!("the other branch is first"),
                }
            }
            assert!(told(&mut events).await);
        });
    });
}
