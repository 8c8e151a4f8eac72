//! `tartanctl drops`.

use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use tartan_common::abi::Counted;
use tartan_common::reason::Reason;
use tartan_datapath::Counters;

use crate::output::{self, Format};

#[derive(Serialize)]
struct Drops {
    drops: Vec<Drop>,
}

#[derive(Serialize)]
struct Drop {
    number: u8,
    reason: &'static str,
    packets: u64,
    bytes: u64,
    caption: &'static str,
    remedy: &'static str,
}

pub(crate) fn run(format: Format, all: bool) -> Result<ExitCode> {
    let drops = collect(&Counters::open()?, all || format == Format::Json)?;
    match format {
        Format::Json => output::json(&Drops { drops })?,
        Format::Text => print(&drops),
    }
    Ok(ExitCode::SUCCESS)
}

fn collect(counters: &Counters, all: bool) -> Result<Vec<Drop>> {
    let mut drops = Vec::new();
    for reason in Reason::ALL {
        let tally = counters.get(Counted::Reason(*reason))?;
        if all || tally.packets > 0 {
            drops.push(Drop {
                number: reason.number(),
                reason: reason.name(),
                packets: tally.packets,
                bytes: tally.bytes,
                caption: reason.caption(),
                remedy: reason.remedy(),
            });
        }
    }
    Ok(drops)
}

fn print(drops: &[Drop]) {
    if drops.is_empty() {
        println!("No packet was dropped since the node booted.");
        return;
    }
    for drop in drops {
        println!("{:>12}  {}", drop.packets, drop.reason);
        println!("{:14}{}", "", drop.caption);
        println!("{:14}-> {}", "", drop.remedy);
    }
}
