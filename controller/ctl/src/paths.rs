//! `tartanctl paths`.

use std::process::ExitCode;

use anyhow::Result;
use serde::Serialize;
use tartan_common::abi::Counted;
use tartan_common::event::Event;
use tartan_common::path::Path;
use tartan_datapath::Counters;

use crate::output::{self, Format};

#[derive(Serialize)]
struct Paths {
    paths: Vec<Line>,
    events: Vec<Line>,
}

#[derive(Serialize)]
struct Line {
    name: &'static str,
    packets: u64,
    bytes: u64,
    caption: &'static str,
}

pub(crate) fn run(format: Format) -> Result<ExitCode> {
    let counters = Counters::open()?;
    let mut paths = Vec::new();
    for path in Path::ALL {
        paths.push(line(&counters, Counted::Path(*path), path.name(), path.caption())?);
    }
    let mut events = Vec::new();
    for event in Event::ALL {
        events.push(line(&counters, Counted::Event(*event), event.name(), event.caption())?);
    }
    let paths = Paths { paths, events };
    match format {
        Format::Json => output::json(&paths)?,
        Format::Text => print(&paths),
    }
    Ok(ExitCode::SUCCESS)
}

fn line(
    counters: &Counters,
    what: Counted,
    name: &'static str,
    caption: &'static str,
) -> Result<Line> {
    let tally = counters.get(what)?;
    Ok(Line { name, packets: tally.packets, bytes: tally.bytes, caption })
}

fn print(paths: &Paths) {
    let rows: Vec<_> = paths
        .paths
        .iter()
        .map(|l| vec![l.name.to_owned(), l.packets.to_string(), l.bytes.to_string()])
        .collect();
    output::table(&["PATH", "PACKETS", "BYTES"], &rows);
    let happened: Vec<_> = paths
        .events
        .iter()
        .filter(|l| l.packets > 0)
        .map(|l| vec![l.name.to_owned(), l.packets.to_string(), l.caption.to_owned()])
        .collect();
    if !happened.is_empty() {
        println!();
        output::table(&["EVENT", "TIMES", ""], &happened);
    }
}
