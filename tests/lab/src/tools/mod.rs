//! Traffic tools: hidden subcommands of `tartan-lab`, so that they run in any namespace without
//! another program.
//!
//! Each prints `ready` once it listens or is connected, then, when it ends, one line of JSON.
//! Servers and captures end with SIGTERM.

pub(crate) mod bulk;
pub(crate) mod closed_port;
pub(crate) mod confined;
pub(crate) mod crr;
pub(crate) mod echo;
pub(crate) mod exchange;
pub(crate) mod flood;
pub(crate) mod hooks;
pub(crate) mod inquire;
pub(crate) mod knock;
pub(crate) mod load;
pub(crate) mod load_sink;
pub(crate) mod mirror;
mod net;
pub(crate) mod probe;
pub(crate) mod raw;
pub(crate) mod rr;
pub(crate) mod seen;
mod setup;
pub(crate) mod sniff;
pub(crate) mod sums;
pub(crate) mod volley;
pub(crate) mod witness;

use anyhow::Result;
use clap::Subcommand;
use serde::Serialize;

/// One traffic tool.
#[derive(Debug, Subcommand)]
pub enum Tool {
    /// Answers every UDP datagram and TCP byte with itself.
    Echo(echo::Args),
    /// Sends UDP at a fixed rate to echo servers and accounts for every datagram.
    UdpProbe(probe::Args),
    /// Receives TCP streams; counts and checks.
    TcpSink(bulk::SinkArgs),
    /// Sends one TCP stream.
    TcpSend(bulk::SendArgs),
    /// Round trips over one connection to an echo server.
    Rr(rr::Args),
    /// Connect, one round trip, close.
    Crr(crr::Args),
    /// Question and answer, each over a socket of its own.
    Exchange(exchange::Args),
    /// Says who it is and who asked.
    Witness(witness::Args),
    /// Asks witnesses, each question over a socket of its own.
    Inquire(inquire::Args),
    /// Tells every client by which address it is seen.
    Mirror(mirror::Args),
    /// Asks a mirror, each time over a socket of its own.
    Seen(seen::Args),
    /// Runs a program under a filter of system calls.
    Confined(confined::Args),
    /// Opens new flows and says when the last one got through.
    Knock(knock::Args),
    /// Sends UDP until its server has gone.
    ClosedPort(closed_port::Args),
    /// Sends UDP as fast as it can.
    UdpFlood(flood::FloodArgs),
    /// Counts UDP datagrams.
    UdpSink(flood::SinkArgs),
    /// Loads the network for the benchmark.
    Load(load::Args),
    /// Counts the datagrams of a load.
    LoadSink(load_sink::Args),
    /// Sends frames given in hexadecimal, one a line, on standard input.
    RawSend(raw::Args),
    /// Captures frames.
    Sniff(sniff::Args),
    /// Looks at the checksums of the tunnel packets that cross an interface.
    Sums(sums::Args),
    /// Sends UDP datagrams of one shape to an echo server and compares every byte.
    Volley(volley::Args),
    /// Lists the BPF programs at an interface's TCX hooks.
    Hooks(hooks::Args),
}

/// Runs one tool to its end.
///
/// # Errors
/// When a socket refuses; what the tool could not achieve otherwise is in its report.
pub fn run(tool: Tool) -> Result<()> {
    setup::stop_on_sigterm()?;
    match tool {
        Tool::Echo(args) => print(&echo::run(&args)?),
        Tool::UdpProbe(args) => print(&probe::run(&args)?),
        Tool::TcpSink(args) => print(&bulk::sink(&args)?),
        Tool::TcpSend(args) => print(&bulk::send(&args)?),
        Tool::Rr(args) => print(&rr::run(&args)?),
        Tool::Crr(args) => print(&crr::run(&args)?),
        Tool::Exchange(args) => print(&exchange::run(&args)?),
        Tool::Witness(args) => print(&witness::run(&args)?),
        Tool::Inquire(args) => print(&inquire::run(&args)?),
        Tool::Mirror(args) => mirror::run(&args),
        Tool::Seen(args) => print(&seen::run(&args)?),
        Tool::Confined(args) => confined::run(&args),
        Tool::Knock(args) => print(&knock::run(&args)?),
        Tool::ClosedPort(args) => print(&closed_port::run(&args)?),
        Tool::UdpFlood(args) => print(&flood::flood(&args)?),
        Tool::UdpSink(args) => print(&flood::sink(&args)?),
        Tool::Load(args) => print(&load::run(&args)?),
        Tool::LoadSink(args) => print(&load_sink::run(&args)?),
        Tool::RawSend(args) => print(&raw::run(&args)?),
        Tool::Sniff(args) => print(&sniff::run(&args)?),
        Tool::Sums(args) => print(&sums::run(&args)?),
        Tool::Volley(args) => print(&volley::run(&args)?),
        Tool::Hooks(args) => print(&hooks::run(&args)?),
    }
}

fn print(report: &impl Serialize) -> Result<()> {
    println!("{}", serde_json::to_string(report)?);
    Ok(())
}
