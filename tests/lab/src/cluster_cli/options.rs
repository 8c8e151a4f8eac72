//! What a user may choose about a cluster, and which choices do not go together.

use anyhow::{Result, bail};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// How much of a cluster is real.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// All of it: a whole control plane, and nodes with containerd, kubelet and kube-proxy
    #[default]
    L2,
    /// etcd, kube-apiserver, kube-controller-manager; nodes without kubelets: tartand and one pod
    L1,
}

/// How kube-proxy translates Services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proxy {
    /// By iptables, kube-proxy's default
    #[default]
    Iptables,
    /// By nftables
    Nftables,
}

/// Who connects the pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Cni {
    /// Tartan, installed from deploy/ as a user installs it
    #[default]
    Tartan,
    /// flannel with its own DaemonSet and chain of plugins, to compare with
    Flannel,
}

/// Address families of the pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4 alone
    #[default]
    Ipv4,
    /// IPv4 and IPv6: refused until Tartan carries IPv6
    Dual,
}

/// Flags of `tartan-lab cluster up` that say what cluster it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize)]
pub struct Options {
    /// How much of a cluster is real
    #[arg(long, value_enum, default_value_t)]
    pub tier: Tier,
    /// How many nodes (1 to 20)
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    pub nodes: u8,
    /// How kube-proxy translates Services [default: iptables]
    #[arg(long, value_enum, hide_default_value = true)]
    pub proxy: Option<Proxy>,
    /// MTU of the wire between the nodes (1280 to 9000) [default: 1500]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1280..=9000))]
    pub mtu: Option<u16>,
    /// Who connects the pods [default: tartan]
    #[arg(long, value_enum, hide_default_value = true)]
    pub cni: Option<Cni>,
    /// Address families of the pods
    #[arg(long, value_enum, default_value_t)]
    pub family: Family,
    /// Leave CoreDNS out
    #[arg(long)]
    pub no_dns: bool,
}

impl Options {
    /// Refuses what cannot be had, before anything is made.
    ///
    /// # Errors
    /// What cannot be had, and what to type instead.
    pub fn check(&self) -> Result<()> {
        if self.family == Family::Dual {
            bail!(
                "--family dual cannot be had yet: Tartan publishes IPv6 leases but does not carry \
                 IPv6 packets. Leave it out for an IPv4 cluster"
            );
        }
        let needs_kubelets = [
            ("--proxy", self.proxy.is_some(), "runs no kube-proxy"),
            ("--mtu", self.mtu.is_some(), "has a wire of 1500 bytes"),
            ("--cni", self.cni.is_some(), "runs tartand without a container"),
            ("--no-dns", self.no_dns, "runs no CoreDNS"),
        ];
        match needs_kubelets.into_iter().find(|(_, given, _)| *given) {
            Some((flag, _, why)) if self.tier == Tier::L1 => {
                bail!("{flag} does not go with --tier l1, which {why}; leave one of them out")
            }
            Some(_) | None => Ok(()),
        }
    }

    /// How kube-proxy translates.
    #[must_use]
    pub fn proxy(&self) -> Proxy {
        self.proxy.unwrap_or_default()
    }

    /// MTU of the wire, in bytes.
    #[must_use]
    pub fn mtu(&self) -> u16 {
        self.mtu.unwrap_or(1500)
    }

    /// Who connects the pods.
    #[must_use]
    pub fn cni(&self) -> Cni {
        self.cni.unwrap_or_default()
    }

    /// `3 nodes, tier l2, cni tartan, proxy iptables`: what a user recognises the cluster by.
    #[must_use]
    pub fn summary(&self) -> String {
        let nodes =
            if self.nodes == 1 { "1 node".to_owned() } else { format!("{} nodes", self.nodes) };
        match self.tier {
            Tier::L1 => format!("{nodes} without kubelets (tier l1), tartan"),
            Tier::L2 => format!(
                "{nodes}, {}, kube-proxy in {} mode, MTU {}",
                word(&self.cni()),
                word(&self.proxy()),
                self.mtu()
            ),
        }
    }

    /// The flags that give these options again.
    #[must_use]
    pub fn words(&self) -> Vec<String> {
        let mut words = vec![
            format!("--tier={}", word(&self.tier)),
            format!("--nodes={}", self.nodes),
            format!("--family={}", word(&self.family)),
        ];
        words.extend(self.proxy.map(|proxy| format!("--proxy={}", word(&proxy))));
        words.extend(self.mtu.map(|mtu| format!("--mtu={mtu}")));
        words.extend(self.cni.map(|cni| format!("--cni={}", word(&cni))));
        words.extend(self.no_dns.then(|| "--no-dns".to_owned()));
        words
    }
}

/// A value as the command line has it.
pub(super) fn word(value: &impl ValueEnum) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn parsed(words: &[&str]) -> Options {
        Line::try_parse_from([&["up"], words].concat()).unwrap().options
    }

    #[test]
    fn options_survive_their_own_words() {
        let lines: [&[&str]; 3] = [
            &[],
            &["--tier", "l1", "--nodes", "5"],
            &["--proxy", "nftables", "--mtu", "1400", "--cni", "flannel", "--no-dns"],
        ];
        for line in lines {
            let options = parsed(line);
            let words = options.words();
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            assert_eq!(parsed(&words), options);
        }
    }

    #[test]
    fn two_families_are_refused_with_a_reason() {
        let error = parsed(&["--family", "dual"]).check().unwrap_err().to_string();
        assert!(error.contains("does not carry IPv6"), "{error}");
    }

    #[test]
    fn what_needs_kubelets_is_refused_without_them() {
        for flag in [&["--proxy", "nftables"][..], &["--mtu", "1400"], &["--cni", "tartan"]] {
            assert!(parsed(flag).check().is_ok());
            let words = [&["--tier", "l1"], flag].concat();
            let error = parsed(&words).check().unwrap_err().to_string();
            assert!(error.starts_with(flag[0]), "{error}");
        }
    }

    #[test]
    fn twenty_one_nodes_are_too_many() {
        assert!(Line::try_parse_from(["up", "--nodes", "21"]).is_err());
    }
}
