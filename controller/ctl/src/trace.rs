//! `tartanctl trace`: one marked packet, and every program that it meets.
//!
//! `explain` foretells; this sends the packet, from the very network namespace that has its
//! source address, and tells what the programs of this node did with it. What other nodes did
//! with it they tell when the same command runs there with `--watch`.

mod namespace;
mod probe;
mod record;

use std::io::Write as _;
use std::net::IpAddr;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, ensure};
use aya_log::EbpfLogger;
use clap::Args;
use serde::Serialize;
use tartan_common::NetAddr6;
use tartan_common::marked::{self, Traced};
use tartan_datapath::Logging;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{interval, sleep};

use self::probe::{Probe, Protocol};
use self::record::Event;
use crate::output::{self, Format};

/// How often records are fetched.
const FETCH_EVERY: Duration = Duration::from_millis(20);
/// How long a packet is waited for that was sent here.
const PATIENCE: u64 = 1;

/// What to trace.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where the packet comes from: a pod of this node, or this node.
    source: IpAddr,
    /// Where it goes to.
    destination: IpAddr,
    /// Protocol of the packet.
    #[arg(long, default_value = "icmp")]
    protocol: Protocol,
    /// Destination port; ICMP has none.
    #[arg(long, default_value_t = 80)]
    port: u16,
    /// Number that the packet is known by: IPv4's identification, IPv6's flow label.
    #[arg(long, value_name = "NUMBER", value_parser = parse_mark)]
    mark: Option<u16>,
    /// Send nothing: tell of a packet that another node sends with this mark.
    #[arg(long, requires = "mark")]
    watch: bool,
    /// Stop after this many seconds. Default: 1; with --watch, Ctrl-C.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
}

#[derive(Serialize)]
struct Report {
    source: IpAddr,
    destination: IpAddr,
    mark: u16,
    events: Vec<Event>,
}

pub(crate) fn run(format: Format, options: &Options) -> Result<ExitCode> {
    let Options { source, destination, protocol, port, .. } = *options;
    ensure!(
        source.is_ipv4() == destination.is_ipv4(),
        "{source} and {destination} are not of one family: give two IPv4 or two IPv6 addresses"
    );
    let mark = options.mark.unwrap_or_else(any_mark);
    let probe = Probe { source, destination, protocol, port, mark };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let events = runtime.block_on(follow(format, options, &probe))?;
    conclude(format, options.watch, &probe, events)
}

/// Swaps the programs, sends the packet, and hands on what they tell until the time is up.
async fn follow(format: Format, options: &Options, probe: &Probe) -> Result<Vec<Event>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut logging = Logging::follow(traced(probe))?;
    let (records, heard) = mpsc::channel();
    let mut logger = EbpfLogger::init_with_logger(logging.ebpf(), Records(records))?;
    if options.watch {
        eprintln!("watching for {probe}; Ctrl-C ends it");
    } else {
        probe.send()?;
        eprintln!("sent {probe}");
    }
    let seconds = options.seconds.or((!options.watch).then_some(PATIENCE));
    let end = async {
        match seconds {
            Some(seconds) => sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(end);
    let (mut ticks, mut events) = (interval(FETCH_EVERY), Vec::new());
    loop {
        let is_over = tokio::select! {
            _ = ticks.tick() => false,
            () = &mut end => true,
            _ = terminate.recv() => true,
            _ = interrupt.recv() => true,
        };
        logger.flush();
        take(format, &heard, &mut events);
        if is_over {
            return Ok(events);
        }
    }
}

/// Prints what was heard, if for people, and keeps it.
fn take(format: Format, heard: &Receiver<String>, events: &mut Vec<Event>) {
    for event in heard.try_iter().filter_map(|record| Event::parse(&record)) {
        if format == Format::Text {
            // A reader that went away must not keep us from bringing the programs back.
            let _ = writeln!(std::io::stdout(), "{}", event.line(events.first()));
        }
        events.push(event);
    }
}

fn conclude(format: Format, watch: bool, probe: &Probe, events: Vec<Event>) -> Result<ExitCode> {
    let was_dropped = events.iter().any(Event::is_drop);
    let was_seen = !events.is_empty();
    let went_on = events.iter().any(Event::leaves_node);
    if format == Format::Json {
        let Probe { source, destination, mark, .. } = *probe;
        output::json(&Report { source, destination, mark, events })?;
    } else if !was_seen {
        println!("no program met the packet: {}", if watch { NOT_HERE } else { UNSEEN });
    } else if went_on && !watch {
        println!(
            "it left this node; what the other one did with it, it tells when it is sent again\n  \
             -> there first: tartanctl trace {} {} --watch --mark {}, then here with --mark {2}",
            probe.source, probe.destination, probe.mark
        );
    }
    Ok(if was_seen && !was_dropped { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

const UNSEEN: &str = "its sender's own stack kept it (no route, or a rule), or its veth has no \
                      programs; see `tartanctl status`";
const NOT_HERE: &str = "it did not come to this node, or its sender used another mark";

fn traced(probe: &Probe) -> Traced {
    let tail = |ip| match ip {
        IpAddr::V4(ip) => u32::from(ip),
        IpAddr::V6(ip) => marked::tail(NetAddr6::from(ip)),
    };
    Traced {
        on: 1,
        mark: probe.mark.into(),
        source: tail(probe.source),
        destination: tail(probe.destination),
    }
}

fn parse_mark(text: &str) -> Result<u16> {
    let number = match text.strip_prefix("0x") {
        Some(hex) => u16::from_str_radix(hex, 16),
        None => text.parse(),
    };
    let mark = number.with_context(|| format!("{text:?} is no number from 1 to 65535"))?;
    ensure!(mark != 0, "the kernel replaces a mark of zero: choose one from 1 to 65535");
    Ok(mark)
}

/// A mark that two people who trace at the same time hardly share.
fn any_mark() -> u16 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u16::try_from(now.subsec_micros() % 0xffff).unwrap_or_default() + 1
}

/// Hands the programs' records on.
struct Records(Sender<String>);

impl log::Log for Records {
    fn enabled(&self, _metadata: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        // Who listens no longer needs nothing any more.
        let _ = self.0.send(record.args().to_string());
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_decimal_or_hexadecimal_and_not_zero() {
        assert_eq!(parse_mark("7").unwrap(), 7);
        assert_eq!(parse_mark("0x7a31").unwrap(), 0x7a31);
        for wrong in ["0", "65536", "0xfffff", "x"] {
            assert!(parse_mark(wrong).is_err(), "{wrong}");
        }
        assert_ne!(any_mark(), 0);
    }
}
