//! `tartanctl explain`: what becomes of a packet, without sending one.
//!
//! The answer is that of the functions that the kernel programs are made of, asked about the
//! first packet of a new flow with the tables as they are now. What the gate remembers of single
//! flows, and what the host stack's own rules say, is not looked at.

mod answer;
mod question;
mod scene;

use std::net::Ipv4Addr;
use std::process::ExitCode;

use anyhow::Result;
use clap::Args;
use serde::Serialize;

use self::answer::{Answer, Verdict};
use self::question::{Protocol, Question};
use self::scene::Scene;
use crate::output::{self, Format};

/// What to explain.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Where the packet comes from: a pod of this node, this node, or a pod or node that sends
    /// to this one.
    source: Ipv4Addr,
    /// Where it goes to.
    destination: Ipv4Addr,
    /// Protocol of the packet.
    #[arg(long, default_value = "tcp")]
    protocol: Protocol,
    /// Destination port; ICMP has none.
    #[arg(long, default_value_t = 80)]
    port: u16,
}

#[derive(Serialize)]
struct Report<'a> {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    protocol: Protocol,
    port: u16,
    #[serde(flatten)]
    answer: &'a Answer,
}

pub(crate) fn run(format: Format, options: &Options) -> Result<ExitCode> {
    let Options { source, destination, protocol, port } = *options;
    let question = Question { source, destination, protocol, port };
    let answer = answer::answer(&question, &Scene::of_this_node()?)?;
    match format {
        Format::Json => {
            output::json(&Report { source, destination, protocol, port, answer: &answer })?;
        }
        Format::Text => print(&question, &answer),
    }
    Ok(match answer.verdict {
        Verdict::Fast | Verdict::Stack => ExitCode::SUCCESS,
        Verdict::Dropped => ExitCode::FAILURE,
    })
}

fn print(question: &Question, answer: &Answer) {
    println!("{question}: the first packet of a new flow");
    for (index, step) in answer.steps.iter().enumerate() {
        println!("{:>3}. {step}", index + 1);
    }
    println!("{}: {}, {}", answer.verdict.name(), answer.counter, answer.caption);
    if let Some(remedy) = answer.remedy {
        println!("  -> {remedy}");
    }
}
