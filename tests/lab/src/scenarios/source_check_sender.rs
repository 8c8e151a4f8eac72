//! `Backend.SourceCheck` "sender": a known node may send on behalf of anybody, and nothing else
//! changes.

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::refusals::ground::{Ground, MARK, PORT};
use super::refusals::witness::Witnesses;
use super::refusals::{pods, wire};
use crate::frames::Ipv4;
use crate::scenario::{Entry, Scenario};
use crate::traffic;
use crate::wire::{GATEWAY, Wire};

pub(super) static SCENARIOS: &[Entry] = &[Entry::new(
    "source_check_sender::loosens_the_inner_source_and_nothing_else",
    loosens_one_thing,
)
.within(120)];

const NET_CONF: &str = r#"{"Network":"10.244.0.0/16",
    "Backend":{"Type":"vxlan","VNI":1,"Port":8472,"SourceCheck":"sender"}}"#;
/// Frames of each kind.
const COUNT: usize = 200;

fn loosens_one_thing(scenario: &mut Scenario) -> Result<()> {
    let ground = Ground::new(scenario.lab(Wire::Offloaded)?, Some(NET_CONF))?;
    foreign_sources_arrive(&ground)?;
    none_is_refused(&ground)?;
    let witnesses = Witnesses::start(&ground)?;
    let others = wire::cases(&ground).into_iter().filter(|case| case.reason != "foreign-source");
    for case in others.chain(pods::cases(&ground)?) {
        ground.refused(scenario, &case, COUNT)?;
    }
    thread::sleep(Duration::from_millis(200));
    witnesses.heard_nothing()
}

/// Sources that the kernel has nothing against: a gateway's networks, another node and its pods.
fn foreign_sources_arrive(ground: &Ground) -> Result<()> {
    let third = &ground.marks[2];
    for source in [Ipv4Addr::new(192, 0, 2, 1), GATEWAY, third.address, third.pod] {
        let frame = ground.frame(&Ipv4 { source, ..ground.inner() }).build();
        let sink = traffic::udp_sink(ground.pod(0), None)?;
        traffic::raw_send(&ground.sender().node, "eth0", &[frame], COUNT as u64)?;
        thread::sleep(Duration::from_millis(100));
        let received = sink.stop()?.received;
        ensure!(received == COUNT as u64, "{received} of {COUNT} from {source} arrived");
    }
    Ok(())
}

/// Of all foreign sources, martians included, which are the kernel's to drop.
fn none_is_refused(ground: &Ground) -> Result<()> {
    let before = ground.target().node.drops()?;
    let mut frames = wire::foreign_source(ground).frames;
    let unspecific = Ipv4 { source: ground.marks[1].address, ..ground.inner() };
    frames.push(ground.frame(&unspecific).build());
    ensure!(frames.iter().all(|frame| frame.len() == 64 + 28 + MARK.len()), "not to {PORT}");
    traffic::raw_send(&ground.sender().node, "eth0", &frames, 10)?;
    thread::sleep(Duration::from_millis(200));
    let refused = ground.target().node.drops()?.since(&before);
    ensure!(refused.total() == 0, "refused: {refused:?}");
    Ok(())
}
