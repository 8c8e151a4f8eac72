//! `tartanctl cleanup`: takes everything of ours off the node again.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "netlink's attributes and errors are an open set: what is not asked for is passed over"
)]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use futures_util::TryStreamExt as _;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVxlan, LinkAttribute, LinkInfo, LinkMessage,
};
use serde::Serialize;
use tartan_core::state::{AgentState, LOCK_FILE, STATE_FILE};
use tartan_datapath::leftovers;

use crate::output::{self, Format};

#[derive(Serialize)]
struct Removed {
    dry_run: bool,
    pins: Vec<PathBuf>,
    devices: Vec<String>,
    files: Vec<PathBuf>,
}

pub(crate) fn run(format: Format, dry_run: bool) -> Result<ExitCode> {
    refuse_while_running()?;
    let mut removed = Removed { dry_run, pins: leftovers()?, devices: Vec::new(), files: files() };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    removed.devices = runtime.block_on(devices(overlay_name().as_deref(), dry_run))?;
    if !dry_run {
        tartan_datapath::cleanup()?;
        for file in &removed.files {
            fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))?;
        }
    }
    match format {
        Format::Json => output::json(&removed)?,
        Format::Text => print(&removed),
    }
    Ok(ExitCode::SUCCESS)
}

fn refuse_while_running() -> Result<()> {
    let held = File::open(LOCK_FILE).is_ok_and(|file| file.try_lock().is_err());
    if held {
        bail!("tartand runs on this node and would repair everything at once: stop it first");
    }
    Ok(())
}

fn overlay_name() -> Option<String> {
    let state = AgentState::read(Path::new(STATE_FILE)).ok()??;
    Some(state.overlay.name)
}

/// Files that say that the node is ready; leases and addresses are not ours alone to forget.
fn files() -> Vec<PathBuf> {
    let ours = [STATE_FILE, LOCK_FILE].map(PathBuf::from);
    let mut files: Vec<_> = ours.into_iter().filter(|path| path.exists()).collect();
    let subnet_env = PathBuf::from("/run/flannel/subnet.env");
    if !files.is_empty() && subnet_env.exists() {
        files.push(subnet_env);
    }
    files
}

/// Overlay devices of ours: of the name that the agent used, in collect-metadata mode.
async fn devices(name: Option<&str>, dry_run: bool) -> Result<Vec<String>> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    tokio::spawn(connection);
    let links: Vec<_> = handle.link().get().execute().try_collect().await?;
    let mut removed = Vec::new();
    for link in links.iter().filter(|link| is_ours(link, name)) {
        if !dry_run {
            handle.link().del(link.header.index).execute().await?;
        }
        removed.extend(link_name(link));
    }
    Ok(removed)
}

fn is_ours(link: &LinkMessage, name: Option<&str>) -> bool {
    if name.is_none() || link_name(link).as_deref() != name {
        return false;
    }
    link.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => {
            infos.contains(&LinkInfo::Kind(InfoKind::Vxlan)) && infos.iter().any(is_external)
        }
        _ => false,
    })
}

fn is_external(info: &LinkInfo) -> bool {
    matches!(info, LinkInfo::Data(InfoData::Vxlan(settings))
        if settings.contains(&InfoVxlan::CollectMetadata(true)))
}

fn link_name(link: &LinkMessage) -> Option<String> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })
}

fn print(removed: &Removed) {
    let Removed { dry_run, pins, devices, files } = removed;
    let verb = if *dry_run { "would remove" } else { "removed" };
    for pin in pins {
        println!("{verb} pin {}", pin.display());
    }
    for device in devices {
        println!("{verb} device {device} with its addresses and route");
    }
    for file in files {
        println!("{verb} file {}", file.display());
    }
    if pins.is_empty() && devices.is_empty() && files.is_empty() {
        println!("Nothing of Tartan's is on this node.");
    }
}
