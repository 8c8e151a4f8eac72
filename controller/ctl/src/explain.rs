//! `tartanctl explain`: what becomes of a packet, without sending one.
//!
//! The answer is that of the functions that the kernel programs are made of, asked about the
//! first packet of a new flow with the tables as they are now. What the gate remembers of single
//! flows, and what the host stack's own rules say, is not looked at.

mod answer;
mod ipv6;
mod question;
mod scene;

use std::fmt::Display;
use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use serde::Serialize;

use self::answer::{Answer, Verdict};
use self::ipv6::Question6;
use self::question::{Protocol, Question};
use self::scene::Scene;
use crate::output::{self, Format};

/// What to explain.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where the packet comes from: a pod of this node, this node, or a pod or node that sends
    /// to this one.
    source: IpAddr,
    /// Where it goes to: an address of the same family.
    destination: IpAddr,
    /// Protocol of the packet.
    #[arg(long, default_value = "tcp")]
    protocol: Protocol,
    /// Destination port; ICMP has none.
    #[arg(long, default_value_t = 80)]
    port: u16,
}

#[derive(Serialize)]
struct Report<'a> {
    source: IpAddr,
    destination: IpAddr,
    protocol: Protocol,
    port: u16,
    #[serde(flatten)]
    answer: &'a Answer,
}

pub(crate) fn run(format: Format, options: &Options) -> Result<ExitCode> {
    let Options { source, destination, protocol, port } = *options;
    let scene = Scene::of_this_node()?;
    let answer = match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            answer::answer(&Question { source, destination, protocol, port }, &scene)?
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            ipv6::answer6(&Question6 { source, destination, protocol, port }, &scene)?
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => {
            bail!("{source} and {destination} are of two families: name two addresses of one")
        }
    };
    match format {
        Format::Json => {
            output::json(&Report { source, destination, protocol, port, answer: &answer })?;
        }
        Format::Text => print(&question::shown(source, destination, protocol, port), &answer),
    }
    Ok(match answer.verdict {
        Verdict::Fast | Verdict::Stack => ExitCode::SUCCESS,
        Verdict::Dropped => ExitCode::FAILURE,
    })
}

fn print(question: &impl Display, answer: &Answer) {
    println!("{question}: the first packet of a new flow");
    for (index, step) in answer.steps.iter().enumerate() {
        println!("{:>3}. {step}", index + 1);
    }
    println!("{}: {}, {}", answer.verdict.name(), answer.counter, answer.caption);
    if let Some(remedy) = answer.remedy {
        println!("  -> {remedy}");
    }
}
