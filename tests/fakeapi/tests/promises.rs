//! The store keeps its promises against the scripted server; a scenario of the lab holds it to
//! the same ones against the real one.

use std::time::{Duration, Instant};

use tartan_fakeapi::Timings;
use tartan_fakeapi::suite::store::promises;
use tartan_fakeapi::suite::{Fake, wire};

fn timings() -> Timings {
    Timings { freshness_wait: Duration::from_millis(50), ..Timings::default() }
}

#[tokio::test]
async fn the_store_keeps_its_promises() {
    let mut broken = Vec::new();
    for promise in promises() {
        let start = Instant::now();
        let fake = Fake::start(timings()).await.unwrap();
        if let Err(error) = promise.test(&fake).await {
            broken.push(format!("{error:#}"));
        }
        println!("{:5.2} s {}", start.elapsed().as_secs_f64(), promise.name);
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[tokio::test]
async fn the_scripted_server_answers_as_the_real_one_does() {
    let fake = Fake::start(timings()).await.unwrap();
    let answers = wire::record(&fake).await.unwrap();
    for (number, (ours, theirs)) in answers.lines().zip(wire::RECORD.lines()).enumerate() {
        assert_eq!(ours, theirs, "line {} of wire.txt", number + 1);
    }
    assert_eq!(answers.lines().count(), wire::RECORD.lines().count());
}
