//! `tartand`, the node agent. Installed as `flanneld` it behaves the same.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use regex::Regex;
use tartan_agent::cli::{Flags, Invocation, NodeName, StoreChoice};
use tartan_agent::health::{Health, serve};
use tartan_agent::host::UplinkChoice;
use tartan_agent::run::Life;
use tartan_agent::settings::{CniConf, Rules, Settings};
use tartan_agent::store::kube::{self, KubeOptions, Timing};
use tartan_agent::store::{DirectoryStore, KubeStore};
use tartan_core::NetConf;
use tartan_core::annotations::AnnotationPrefix;
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
    info!(version = env!("CARGO_PKG_VERSION"), "tartand");
    info!("CLI flags config: {{{}}}", invocation.given);
    for warning in &invocation.warnings {
        warn!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(live(invocation))
}

async fn live(invocation: Invocation) -> Result<()> {
    let mut life = Life::begin()?;
    let health = Health::default();
    let Invocation { flags, store, node_name, .. } = invocation;
    // A configuration that cannot be used is told before anything waits.
    let (conf, uplink) = (net_conf(&flags.net_config_path)?, uplink_choice(&flags)?);
    let options = kube_options(&flags, &conf);
    let settings = |node_name| settings(&flags, conf, uplink, node_name);
    if flags.healthz_port != 0 {
        serve(SocketAddr::new(flags.healthz_ip, flags.healthz_port), health.clone()).await?;
    }
    match store {
        StoreChoice::Directory(dir) => {
            let NodeName::Known(name) = node_name else { bail!("the node's name is not known") };
            let store = DirectoryStore::open(&dir)?;
            life.run(Settings { last_known_file: None, ..settings(name) }, store, health).await
        }
        StoreChoice::Kube => {
            let options = options?;
            let Some(name) = life.unless_stopped(name_of(node_name, &options)).await else {
                return Ok(());
            };
            let name = name?;
            info!(node = name, "leases are in the Kubernetes API");
            let store = KubeStore::start(KubeOptions { node_name: name.clone(), ..options })?;
            life.run(settings(name), store, health).await
        }
    }
}

fn kube_options(flags: &Flags, conf: &NetConf) -> Result<KubeOptions> {
    Ok(KubeOptions {
        api_url: flags.kube_api_url.clone(),
        kubeconfig: flags.kubeconfig_file.clone(),
        node_name: String::new(),
        prefix: flags.kube_annotation_prefix.parse::<AnnotationPrefix>()?,
        network: conf.network(),
        ipv6_network: conf.ipv6_network,
        set_node_network_unavailable: flags.set_node_network_unavailable,
        timing: Timing::default(),
    })
}

async fn name_of(node: NodeName, options: &KubeOptions) -> Result<String> {
    match node {
        NodeName::Known(name) => Ok(name),
        NodeName::OfPod { namespace, pod } => {
            Ok(kube::node_name_of_pod(options, &namespace, &pod).await?)
        }
    }
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

fn net_conf(path: &Path) -> Result<NetConf> {
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
    Ok(loaded.conf)
}

fn settings(flags: &Flags, conf: NetConf, uplink: UplinkChoice, node_name: String) -> Settings {
    let cni_conf = flags.cni_conf_source.clone().zip(flags.cni_conf_file.clone());
    Settings {
        conf,
        uplink,
        subnet_file: flags.subnet_file.clone(),
        rules: Rules {
            ip_masq: flags.ip_masq,
            random_fully: !flags.ip_masq_fully_random_disable,
            accept_forwarded: flags.iptables_forward_rules,
        },
        blackhole_route: flags.ip_blackhole_route,
        node_name,
        last_known_file: Some(flags.last_known_file.clone()),
        cni_conf: cni_conf.map(|(source, target)| CniConf { source, target }),
        replace_programs: flags.replace_programs,
        xdp_interfaces: flags.xdp_iface.clone(),
    }
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
        public_ipv6: flags.public_ipv6,
        ipv6_alone: false,
    })
}
