//! What a cluster can be like.

use crate::kube_proxy::ProxyMode;

use super::images::Image;

/// The pod network of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cni {
    /// Tartan, from `deploy/kube-tartan.yml`.
    Tartan,
    /// flannel with its own chain of plugins, as its DaemonSet installs it.
    Flannel,
    /// None: no node gets ready.
    None,
}

/// What to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many nodes.
    pub nodes: u8,
    /// How kube-proxy translates.
    pub proxy: ProxyMode,
    /// The pod network.
    pub cni: Cni,
    /// MTU of the wire between the nodes, in bytes.
    pub mtu: u16,
    /// Whether CoreDNS answers at 10.96.0.10.
    pub dns: bool,
    /// Archives to import on every node besides those that the cluster itself needs.
    pub images: Vec<Image>,
}

impl Default for Options {
    /// Three nodes with Tartan, kube-proxy in iptables mode, DNS.
    fn default() -> Self {
        Self {
            nodes: 3,
            proxy: ProxyMode::Iptables,
            cni: Cni::Tartan,
            mtu: 1500,
            dns: true,
            images: Vec::new(),
        }
    }
}

impl Options {
    /// What every node needs: the archives of these names.
    pub(super) fn all_images(&self) -> Vec<Image> {
        let mut all = vec![Image("pause"), Image("toolbox")];
        match self.cni {
            Cni::Tartan => all.push(Image("tartan")),
            Cni::Flannel => all.push(Image("flannel")),
            Cni::None => {}
        }
        all.extend(self.dns.then_some(Image("coredns")));
        all.extend(
            self.images.iter().copied().filter(|image| !all.contains(image)).collect::<Vec<_>>(),
        );
        all
    }
}
