//! `tartanctl cleanup`: takes everything of ours off the node again.
//!
//! A device that was flannel's stays with what flannel gave it. A flannel that
//! runs again by then (its start brings back its routes and entries) goes on
//! without losing a packet.

mod overlay;
mod routes;
mod rules;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use tartan_core::last_known::LAST_KNOWN_FILE;
use tartan_core::state::{AgentState, LOCK_FILE, STATE_FILE};
use tartan_datapath::{NodeHook, detach_node_hook, leftovers};

use self::overlay::Overlay;
use crate::output::{self, Format};

#[derive(Default, Serialize)]
struct Removed {
    dry_run: bool,
    pins: Vec<PathBuf>,
    devices: Vec<String>,
    /// Rules of ours in the packet filter, and blackhole routes.
    rules: Vec<String>,
    /// What was taken off devices that stay.
    cleared: Vec<String>,
    files: Vec<PathBuf>,
}

pub(crate) fn run(format: Format, dry_run: bool) -> Result<ExitCode> {
    refuse_while_running()?;
    let state = AgentState::read(Path::new(STATE_FILE)).ok().flatten();
    let mut removed = Removed { dry_run, pins: leftovers()?, ..Removed::default() };
    if !dry_run {
        // The guard goes first: without the uplink's hook it would refuse what the kernel delivers.
        detach_node_hook(NodeHook::OverlayIngress)?;
        tartan_datapath::cleanup()?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stays = runtime.block_on(remove_overlay(state.as_ref(), &mut removed))?;
    removed.rules = rules::remove(dry_run)?;
    removed.rules.extend(runtime.block_on(routes::remove(dry_run))?);
    removed.rules.extend(runtime.block_on(routes::remove_gateway(state.as_ref(), dry_run))?);
    removed.files = files(stays);
    if !dry_run {
        for file in &removed.files {
            fs::remove_file(file).with_context(|| format!("cannot remove {}", file.display()))?;
        }
        // What somebody else put beside it keeps the directory.
        let _ = Path::new(LAST_KNOWN_FILE).parent().map(fs::remove_dir);
    }
    match format {
        Format::Json => output::json(&removed)?,
        Format::Text => print(&removed),
    }
    Ok(ExitCode::SUCCESS)
}

/// Says whether a device of flannel's stays.
async fn remove_overlay(state: Option<&AgentState>, removed: &mut Removed) -> Result<bool> {
    let Some(overlay) = Overlay::find(state).await? else {
        return Ok(false);
    };
    if !overlay.is_ours {
        let cleared = overlay.clear(removed.dry_run).await?;
        removed.cleared =
            cleared.iter().map(|what| format!("{what} from {}", overlay.name)).collect();
        return Ok(true);
    }
    if !removed.dry_run {
        overlay.delete().await?;
    }
    removed.devices.push(overlay.name);
    Ok(false)
}

fn refuse_while_running() -> Result<()> {
    let held = File::open(LOCK_FILE).is_ok_and(|file| file.try_lock().is_err());
    if held {
        bail!("tartand runs on this node and would repair everything at once: stop it first");
    }
    Ok(())
}

/// Files that say that the node is ready, and what the agent remembers of the cluster: it would be
/// wrong by the time it is read again. Leases and addresses are not ours alone to forget. Beside a device of flannel's, `subnet.env` is flannel's as well.
fn files(flannel_stays: bool) -> Vec<PathBuf> {
    let ours = [STATE_FILE, LOCK_FILE, LAST_KNOWN_FILE].map(PathBuf::from);
    let mut files: Vec<_> = ours.into_iter().filter(|path| path.exists()).collect();
    let subnet_env = PathBuf::from("/run/flannel/subnet.env");
    if !files.is_empty() && !flannel_stays && subnet_env.exists() {
        files.push(subnet_env);
    }
    files
}

fn print(removed: &Removed) {
    let Removed { dry_run, pins, devices, rules, cleared, files } = removed;
    let verb = if *dry_run { "would remove" } else { "removed" };
    for pin in pins {
        println!("{verb} pin {}", pin.display());
    }
    for device in devices {
        println!("{verb} device {device} with its addresses and route");
    }
    for rule in rules {
        println!("{verb} {rule}");
    }
    for what in cleared {
        println!("{verb} {what}, which was flannel's and stays");
    }
    for file in files {
        println!("{verb} file {}", file.display());
    }
    if [pins.len(), devices.len(), rules.len(), cleared.len(), files.len()] == [0; 5] {
        println!("Nothing of Tartan's is on this node.");
    }
}
