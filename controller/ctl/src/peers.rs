//! `tartanctl peers`.

use std::net::IpAddr;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use serde::Serialize;
use tartan_core::state::{AgentState, PeerState, PeerWay, RefusedState, STATE_FILE};
use tartan_datapath::{Peers, Peers6};

use crate::output::{self, Format};

#[derive(Serialize)]
struct Listing {
    peers: Vec<Row>,
    refused: Vec<RefusedState>,
}

#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    peer: PeerState,
    /// Whether the kernel's table has it: what packets go by.
    programmed: bool,
}

pub(crate) fn run(format: Format) -> Result<ExitCode> {
    let state = read_state()?;
    let (v4, v6) = (Peers::open()?, Peers6::open()?);
    let mut peers = Vec::new();
    for peer in state.peers.into_iter().chain(state.peers6) {
        let key: Option<IpAddr> = peer.subnet.split('/').next().and_then(|ip| ip.parse().ok());
        let programmed = match key {
            Some(IpAddr::V4(key)) => v4.get(key)?.is_some(),
            Some(IpAddr::V6(key)) => v6.get(key)?.is_some(),
            None => false,
        };
        peers.push(Row { peer, programmed });
    }
    let listing = Listing { peers, refused: state.refused };
    match format {
        Format::Json => output::json(&listing)?,
        Format::Text => print(&listing),
    }
    Ok(ExitCode::SUCCESS)
}

/// The agent's last word.
pub(crate) fn read_state() -> Result<AgentState> {
    AgentState::read(Path::new(STATE_FILE))
        .with_context(|| format!("cannot read {STATE_FILE}"))?
        .with_context(|| {
            format!("{STATE_FILE} is missing: tartand has not been ready on this node since it booted; look at its log")
        })
}

fn print(listing: &Listing) {
    if listing.peers.is_empty() {
        println!("No other node has a lease that can be used.");
    } else {
        let rows: Vec<_> = listing.peers.iter().map(row).collect();
        output::table(&["NODE", "SUBNET", "ADDRESS", "VTEP", "WAY", "NEXT HOP", "STATE"], &rows);
    }
    for refused in &listing.refused {
        println!();
        println!("refused: {} of node {}: {}", refused.subnet, refused.node_name, refused.why);
        println!("         -> {}", refused.remedy);
    }
}

fn row(row: &Row) -> Vec<String> {
    let Row { peer, programmed } = row;
    let state = match (peer.mode, programmed) {
        (PeerWay::None, _) => "unreachable",
        (PeerWay::Tunnel | PeerWay::TunnelOverIpv4 | PeerWay::Direct, true) => "ready",
        (PeerWay::Tunnel | PeerWay::TunnelOverIpv4 | PeerWay::Direct, false) => "pending",
    };
    vec![
        peer.node_name.clone(),
        peer.subnet.clone(),
        peer.public_ip.to_string(),
        peer.vtep_mac.clone().unwrap_or_else(|| "-".to_owned()),
        peer.mode.name().to_owned(),
        peer.next_hop.map_or_else(|| "-".to_owned(), |hop| hop.to_string()),
        state.to_owned(),
    ]
}
