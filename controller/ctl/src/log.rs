//! `tartanctl log`: one line per packet, by what becomes of it.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use aya_log::EbpfLogger;
use clap::Args;
use tartan_common::abi::Counted;
use tartan_common::path::Path;
use tartan_common::reason::Reason;
use tartan_datapath::{Logging, interface_name};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{interval, sleep};

/// How often records are fetched.
const FETCH_EVERY: Duration = Duration::from_millis(50);

/// What to log.
#[derive(Debug, Args)]
pub(crate) struct Selection {
    /// A drop reason, as `tartanctl drops` names it; may be repeated.
    #[arg(long, value_name = "NAME")]
    reason: Vec<String>,
    /// A path, as `tartanctl paths` names it; may be repeated. Busy paths make long logs.
    #[arg(long, value_name = "NAME")]
    path: Vec<String>,
    /// Stop after this many seconds instead of at Ctrl-C.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
}

pub(crate) fn run(selection: &Selection) -> Result<ExitCode> {
    let what = selected(selection)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(follow(&what, selection.seconds))?;
    Ok(ExitCode::SUCCESS)
}

/// No selection at all means every drop.
fn selected(selection: &Selection) -> Result<Vec<Counted>> {
    let mut what = Vec::new();
    for name in &selection.reason {
        let reason = Reason::from_name(name).with_context(|| {
            format!("no reason is called {name:?}: see `tartanctl drops --all`")
        })?;
        what.push(Counted::Reason(reason));
    }
    for name in &selection.path {
        let path = Path::from_name(name)
            .with_context(|| format!("no path is called {name:?}: see `tartanctl paths`"))?;
        what.push(Counted::Path(path));
    }
    if selection.seconds == Some(0) {
        bail!("--seconds 0 would log nothing: leave it out to log until Ctrl-C");
    }
    if what.is_empty() {
        what.extend(Reason::ALL.iter().map(|reason| Counted::Reason(*reason)));
    }
    Ok(what)
}

async fn follow(what: &[Counted], seconds: Option<u64>) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut logging = Logging::start(what)?;
    let mut logger = EbpfLogger::init_with_logger(logging.ebpf(), Printer)?;
    eprintln!("logging; Ctrl-C ends it");
    let mut ticks = interval(FETCH_EVERY);
    let end = async {
        match seconds {
            Some(seconds) => sleep(Duration::from_secs(seconds)).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(end);
    loop {
        tokio::select! {
            _ = ticks.tick() => logger.flush(),
            () = &mut end => break,
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    logger.flush();
    Ok(())
}

/// Turns the programs' records into lines for people.
struct Printer;

impl log::Log for Printer {
    fn enabled(&self, _metadata: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let text = record.args().to_string();
        // A reader that went away (`| head`) must not keep us from bringing the programs back.
        let _ = writeln!(std::io::stdout(), "{}", line(&text).unwrap_or(text));
    }

    fn flush(&self) {}
}

/// A record is `slot ifindex length [source destination protocol]`.
fn line(record: &str) -> Option<String> {
    let mut words = record.split_whitespace();
    let slot: u32 = words.next()?.parse().ok()?;
    let ifindex: u32 = words.next()?.parse().ok()?;
    let length = words.next()?;
    let interface = interface_name(ifindex);
    let interface = interface.unwrap_or_else(|| format!("if{ifindex}"));
    let ends = match (words.next(), words.next(), words.next()) {
        (Some(from), Some(to), Some(protocol)) => {
            format!("  {from} -> {to} {}", protocol_name(protocol))
        }
        _ => String::new(),
    };
    Some(format!("{:18} {interface:15} {length:>5} bytes{ends}", name(slot)?))
}

fn name(slot: u32) -> Option<&'static str> {
    let reasons = Reason::ALL.iter().map(|r| (Counted::Reason(*r).slot(), r.name()));
    let paths = Path::ALL.iter().map(|p| (Counted::Path(*p).slot(), p.name()));
    reasons.chain(paths).find(|(number, _)| *number == slot).map(|(_, name)| name)
}

pub(crate) fn protocol_name(number: &str) -> &str {
    match number {
        "1" => "ICMP",
        "6" => "TCP",
        "17" => "UDP",
        "58" => "ICMPv6",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_becomes_a_line() {
        let slot = Counted::Reason(Reason::SpoofedSource).slot();
        let text = line(&format!("{slot} 1 98 10.244.1.9 10.244.2.2 17")).unwrap();
        assert!(text.starts_with("spoofed-source"), "{text}");
        assert!(text.ends_with("98 bytes  10.244.1.9 -> 10.244.2.2 UDP"), "{text}");
    }

    #[test]
    fn a_record_that_is_none_is_printed_as_it_is() {
        assert_eq!(line("hello"), None);
    }
}
