//! `tartanctl probe`: what the self-test runs in its pods. Not for people.
//!
//! `serve` answers on one port, TCP and UDP alike; `ask` does what it is told in one word of JSON,
//! prints the answers as one line of JSON, and ends. It needs no right at all, and nothing but
//! sockets.

mod arrived;
mod ask;
mod pattern;
mod serve;
mod sizes;
mod socket;
mod tcp;
mod transfer;
mod udp;
pub(crate) mod wire;

use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Subcommand;

/// What a probe does.
#[derive(Debug, Subcommand)]
pub enum Probe {
    /// Answers until it is killed.
    Serve {
        /// The address to answer on; the answers come from it.
        #[arg(long)]
        bind: IpAddr,
        /// The port, of TCP and of UDP.
        #[arg(long)]
        port: u16,
        /// What it calls itself in its answers.
        #[arg(long)]
        name: String,
    },
    /// Does what it is asked, and prints the answers.
    Ask {
        /// A list of questions as JSON.
        questions: String,
    },
}

/// Runs a probe.
///
/// # Errors
/// When the port is taken, or the questions cannot be read.
pub fn run(probe: &Probe) -> Result<ExitCode> {
    match probe {
        Probe::Serve { bind, port, name } => serve::run(*bind, *port, name)?,
        Probe::Ask { questions } => {
            let questions: Vec<wire::Question> = serde_json::from_str(questions)
                .context("not a question of this version: use the tartanctl of the image")?;
            println!("{}", serde_json::to_string(&ask::all(&questions))?);
        }
    }
    Ok(ExitCode::SUCCESS)
}
