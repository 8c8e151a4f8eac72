//! Every shape of packet in every pair of families, on wires of every size, with offloads and
//! without, by the fast path and by the host stack.
//!
//! The end is a table, so that a reader sees each cell: `ok`, `FAILED`, or `n/a` with its reason
//! below. Beside what a cell itself asks for, no host may count a bad checksum that was not sent
//! on purpose, and without offloads every checksum on the wire is computed again, outer and inner.
//!
//! | Module | Holds |
//! |---|---|
//! | `ground` | two nodes on a wire of one size, their pods, and offloads |
//! | `shapes` | what is sent, and what must come of it |
//! | `too_big` | packets larger than the path: told, learned, and through |
//! | `sctp` | packets of a protocol that the kernel need not know |
//! | `sums` | the checksums that hosts count as bad, and those on the wire |
//! | `table` | the cells |

mod ground;
mod sctp;
mod shapes;
mod sums;
mod table;
mod too_big;

use anyhow::{Result, ensure};

use self::ground::{Ground, Offloads, Underlay, Way};
use self::shapes::{Outcome, Shape};
use self::sums::{Tally, Watch};
use self::table::{Row, Table};
use crate::control_plane::{ControlPlane, Options};
use crate::lab::Lab;
use crate::scenario::{Entry, Scenario};
use crate::wire::Wire;

pub(super) static SCENARIOS: &[Entry] = &[
    Entry::new("matrix::every_shape_on_small_and_usual_wires", |s| all(s, &[1280, 1500]))
        .within(240)
        .with_tools(),
    Entry::new("matrix::every_shape_on_wires_of_every_size", |s| all(s, &[1280, 1450, 1500, 9000]))
        .long()
        .within(600)
        .with_tools(),
];

fn all(scenario: &mut Scenario, mtus: &[u16]) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let mut table = Table::default();
    let plane = ControlPlane::start(&lab, &Options::dual_stack())?;
    for underlay in Underlay::ALL {
        for mtu in mtus {
            for way in Way::ALL {
                on_one_wire(scenario, (&lab, &plane, *underlay), (*mtu, way), &mut table)?;
            }
        }
    }
    scenario.note(&table);
    table.judge()
}

/// All pairs of families between two new nodes.
fn on_one_wire(
    scenario: &Scenario,
    (lab, plane, underlay): (&Lab, &ControlPlane, Underlay),
    (mtu, way): (u16, Way),
    table: &mut Table,
) -> Result<()> {
    let ground = Ground::new(lab, plane, underlay, mtu, way)?;
    for pair in underlay.pairs() {
        for offloads in Offloads::ALL {
            let mut row = Row::new(mtu, *pair, way, offloads);
            match ground.obstacle(*pair) {
                Some(reason) => row.all(&Outcome::NotApplicable(reason)),
                None => block(&ground, &mut row)?,
            }
            scenario.note(&row);
            table.rows.push(row);
        }
    }
    let drops = ground.drops()?;
    ensure!(drops.total() == 0, "MTU {mtu}, {way:?}: dropped {drops:?}");
    Ok(())
}

/// Every shape in one pair of families, with offloads or without.
fn block(ground: &Ground, row: &mut Row) -> Result<()> {
    ground.set_offloads(row.offloads)?;
    let ends = ground.ends(row.pair)?;
    let before = (Tally::of(ground)?, ground.paths()?);
    let watch = Watch::start(ground)?;
    let mut wanted = 0;
    for shape in Shape::ALL {
        let outcome = shape.run(&ends, &mut wanted).unwrap_or_else(Outcome::failed);
        row.set(*shape, outcome);
    }
    let wire = watch.stop()?;
    row.wire(&wire);
    row.bad_sums(Tally::of(ground)?.since(&before.0), wanted);
    row.paths(&ground.paths()?.since(&before.1));
    Ok(())
}
