//! `tartand`, the node agent. Installed as `flanneld` it behaves the same.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use regex::Regex;
use tartan_agent::cli::{Flags, Invocation};
use tartan_agent::host::UplinkChoice;
use tartan_agent::run::run;
use tartan_agent::settings::Settings;
use tartan_agent::store::DirectoryStore;
use tartan_core::NetConf;
use tracing::{error, info, warn};
use tracing_subscriber::filter::LevelFilter;

fn main() -> ExitCode {
    let invocation = match Invocation::of_process() {
        Ok(invocation) => invocation,
        Err(exit) => return exit.report(),
    };
    log_to_stderr(invocation.flags.v);
    match start(invocation) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            error!("{problem:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(invocation: Invocation) -> Result<()> {
    info!(version = env!("CARGO_PKG_VERSION"), node = invocation.node_name, "tartand");
    for warning in &invocation.warnings {
        warn!("{warning}");
    }
    let settings = settings(invocation)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = DirectoryStore::open(&settings.lease_dir)?;
        run(settings, store).await
    })
}

/// flannel's levels: 0 tells of changes, more tells why.
fn log_to_stderr(verbosity: i64) {
    let level = match verbosity {
        ..=0 => LevelFilter::INFO,
        1..=4 => LevelFilter::DEBUG,
        5.. => LevelFilter::TRACE,
    };
    tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_target(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .init();
}

fn settings(invocation: Invocation) -> Result<Settings> {
    let Invocation { flags, lease_dir, node_name, .. } = invocation;
    let path = &flags.net_config_path;
    let text = std::fs::read_to_string(path).with_context(|| {
        format!(
            "failed to read net conf: {}: write it, or name another with --net-config-path",
            path.display()
        )
    })?;
    let loaded = NetConf::parse(&text)
        .with_context(|| format!("error parsing subnet config {}", path.display()))?;
    for warning in &loaded.warnings {
        warn!("{warning}");
    }
    Ok(Settings {
        conf: loaded.conf,
        uplink: uplink_choice(&flags)?,
        subnet_file: flags.subnet_file,
        ip_masq: flags.ip_masq,
        node_name,
        lease_dir,
        replace_programs: flags.replace_programs,
    })
}

fn uplink_choice(flags: &Flags) -> Result<UplinkChoice> {
    let pattern = |text: &String| {
        Regex::new(text).with_context(|| format!("--iface-regex {text:?} is no regular expression"))
    };
    let can_reach = match flags.iface_can_reach {
        Some(std::net::IpAddr::V4(ip)) => Some(ip),
        Some(std::net::IpAddr::V6(ip)) => {
            anyhow::bail!("--iface-can-reach {ip}: only IPv4 is supported; name an IPv4 address")
        }
        None => None,
    };
    Ok(UplinkChoice {
        interfaces: flags.iface.clone(),
        patterns: flags.iface_regex.iter().map(pattern).collect::<Result<_>>()?,
        can_reach,
        public_ip: flags.public_ip,
    })
}
