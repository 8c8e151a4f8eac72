//! Which tests run on which cluster.

use std::os::fd::RawFd;
use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::kube_proxy::ProxyMode;
use crate::kubernetes::Cni;

/// What every conformant cluster must do.
const CONFORMANCE: Choice =
    Choice { focus: r"\[sig-network\].*\[Conformance\]", skip: r"\[Serial\]" };
/// What else a pod network takes part in. Left out: tests that need a cloud, the Internet, another
/// address family, a right to break the cluster, or a policy engine.
const MORE: Choice = Choice {
    focus: r"\[sig-network\]",
    skip: r"Feature|Federation|Disruptive|Serial|Slow|LoadBalancer|GCE|Netpol|NetworkPolicy|Internet|PerformanceDNS|SCTP|DualStack|\[Conformance\]|KubeProxyDaemonSet",
};

/// Regular expressions over the names of tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) focus: &'static str,
    pub(super) skip: &'static str,
}

/// Flags of `tartan-lab e2e`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How kube-proxy translates Services
    #[arg(long, value_enum, default_value = "both")]
    proxy: Proxies,
    /// Who connects the pods
    #[arg(long, value_enum, default_value = "tartan")]
    cni: Networks,
    /// Only tests of the network whose names match this regular expression, conformance or not
    #[arg(long, value_name = "REGEX")]
    focus: Option<String>,
    /// Add the tests of the network that are not for conformance
    #[arg(long)]
    more: bool,
    /// Where logs and results go
    #[arg(long, value_name = "DIR", default_value = "/tmp/tartan-e2e")]
    pub(super) output: PathBuf,
    /// Write the results to this file as a document; for runs that leave nothing out
    #[arg(long, value_name = "FILE", conflicts_with = "focus")]
    pub(super) document: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Proxies {
    Iptables,
    Nftables,
    Both,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Networks {
    Tartan,
    Flannel,
    Both,
}

/// A pod network with a manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Network {
    /// Ours.
    Tartan,
    /// Upstream's, to compare with.
    Flannel,
}

/// A mode of kube-proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Proxy {
    /// Rules of iptables.
    Iptables,
    /// Rules of `nf_tables`.
    Nftables,
}

/// What the process that makes one cluster is told.
#[derive(Debug, clap::Args)]
pub struct Inside {
    #[command(flatten)]
    pub(super) part: Part,
    /// The open folder for what it writes: it cannot open one by itself that others see.
    #[arg(long)]
    pub(super) folder: RawFd,
}

/// The tests of one cluster.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub(super) struct Part {
    #[arg(long, value_enum)]
    pub(super) cni: Network,
    #[arg(long, value_enum)]
    pub(super) proxy: Proxy,
    #[arg(long)]
    pub(super) focus: Option<String>,
    #[arg(long)]
    pub(super) more: bool,
}

/// Tests that one start of ginkgo runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Suite {
    /// Those for conformance.
    Conformance,
    /// Other ones of the network.
    More,
    /// What the user asked for.
    Chosen,
}

impl Suite {
    /// As documents and file names have it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Conformance => "conformance",
            Self::More => "more",
            Self::Chosen => "chosen",
        }
    }
}

impl Network {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tartan => "tartan",
            Self::Flannel => "flannel",
        }
    }

    pub(super) fn cni(self) -> Cni {
        match self {
            Self::Tartan => Cni::Tartan,
            Self::Flannel => Cni::Flannel,
        }
    }
}

impl Proxy {
    pub(super) fn mode(self) -> ProxyMode {
        match self {
            Self::Iptables => ProxyMode::Iptables,
            Self::Nftables => ProxyMode::Nftables,
        }
    }

    pub(super) fn name(self) -> &'static str {
        self.mode().name()
    }
}

impl Args {
    /// One cluster after the other.
    pub(super) fn parts(&self) -> Vec<Part> {
        let networks: &[_] = match self.cni {
            Networks::Tartan => &[Network::Tartan],
            Networks::Flannel => &[Network::Flannel],
            Networks::Both => &[Network::Tartan, Network::Flannel],
        };
        let proxies: &[_] = match self.proxy {
            Proxies::Iptables => &[Proxy::Iptables],
            Proxies::Nftables => &[Proxy::Nftables],
            Proxies::Both => &[Proxy::Iptables, Proxy::Nftables],
        };
        let part = |cni: &Network, proxy: &Proxy| Part {
            cni: *cni,
            proxy: *proxy,
            focus: self.focus.clone(),
            more: self.more,
        };
        networks.iter().flat_map(|cni| proxies.iter().map(move |proxy| part(cni, proxy))).collect()
    }
}

impl Part {
    pub(super) fn title(&self) -> String {
        format!("{}, kube-proxy in {} mode", self.cni.name(), self.proxy.name())
    }

    /// The flags that give this part again.
    pub(super) fn words(&self) -> Vec<String> {
        let mut words =
            vec![format!("--cni={}", self.cni.name()), format!("--proxy={}", self.proxy.name())];
        words.extend(self.focus.as_ref().map(|focus| format!("--focus={focus}")));
        words.extend(self.more.then(|| "--more".to_owned()));
        words
    }

    pub(super) fn suites(&self) -> Vec<Suite> {
        match (&self.focus, self.more) {
            (Some(_), _) => vec![Suite::Chosen],
            (None, true) => vec![Suite::Conformance, Suite::More],
            (None, false) => vec![Suite::Conformance],
        }
    }

    /// The regular expressions of a suite: what to run, what to leave out.
    pub(super) fn choice(&self, suite: Suite) -> (String, String) {
        let owned = |choice: Choice| (choice.focus.to_owned(), choice.skip.to_owned());
        match suite {
            Suite::Conformance => owned(CONFORMANCE),
            Suite::More => owned(MORE),
            Suite::Chosen => {
                let focus = self.focus.as_deref().unwrap_or_default();
                (format!(r"\[sig-network\].*({focus})"), CONFORMANCE.skip.to_owned())
            }
        }
    }

    /// How its files' names begin.
    pub(super) fn name(&self) -> String {
        format!("{}-{}", self.cni.name(), self.proxy.name())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct All {
        #[command(flatten)]
        args: Args,
    }

    #[derive(Parser)]
    struct One {
        #[command(flatten)]
        part: Part,
    }

    fn parts(words: &[&str]) -> Vec<Part> {
        All::try_parse_from([&["e2e"], words].concat()).unwrap().args.parts()
    }

    #[test]
    fn both_networks_in_both_modes_are_four_clusters() {
        assert_eq!(parts(&["--cni", "both"]).len(), 4);
        assert_eq!(parts(&["--proxy", "nftables"]).len(), 1);
    }

    #[test]
    fn a_part_survives_its_own_words() {
        for part in parts(&["--more", "--cni=both"]).into_iter().chain(parts(&["--focus=a b|c"])) {
            let words = [vec!["e2e".to_owned()], part.words()].concat();
            assert_eq!(One::try_parse_from(words).unwrap().part, part);
        }
    }

    #[test]
    fn a_document_of_a_choice_is_refused() {
        let words = ["e2e", "--document", "x.md", "--focus", "DNS"];
        assert!(All::try_parse_from(words).is_err());
    }
}
