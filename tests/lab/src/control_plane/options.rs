//! What a scenario may choose about its control plane.

use std::time::Duration;

/// The pod network that the controller manager divides among the nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Network {
    /// IPv4 range, for instance `10.244.0.0/16`; `None` in a cluster of IPv6 alone.
    pub v4: Option<String>,
    /// Prefix length of each node's part of it.
    pub v4_mask: u8,
    /// IPv6 range, for instance `fd00:10:244::/56`.
    pub v6: Option<String>,
    /// Prefix length of each node's part of it.
    pub v6_mask: u8,
}

impl Default for Network {
    /// flannel's own default: `10.244.0.0/16`, a /24 for each node.
    fn default() -> Self {
        Self { v4: Some("10.244.0.0/16".to_owned()), v4_mask: 24, v6: None, v6_mask: 64 }
    }
}

impl Network {
    /// Both families, IPv4 first.
    #[must_use]
    pub fn dual_stack() -> Self {
        Self { v6: Some("fd00:10:244::/56".to_owned()), ..Self::default() }
    }

    /// All ranges, as kube-proxy's `clusterCIDR` lists them.
    #[must_use]
    pub fn ranges(&self) -> String {
        let all = self.v4.iter().chain(&self.v6);
        all.map(String::as_str).collect::<Vec<_>>().join(",")
    }

    /// IPv6 and nothing else.
    #[must_use]
    pub fn ipv6_alone() -> Self {
        Self { v4: None, ..Self::dual_stack() }
    }
}

/// What to start, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// What the controller manager hands out; `None` starts no controller manager.
    pub network: Option<Network>,
    /// How many API servers share the one etcd: 1 or 2.
    pub api_servers: u16,
    /// How often the API server compacts etcd: a watch from an older revision is then gone.
    pub compaction: Duration,
    /// Whether the API server answers watches from memory, as it does by default.
    pub watch_cache: bool,
    /// For how many nodes (`node1` and so on) there are users.
    pub nodes: u16,
    /// Users besides the administrator, the controller manager and the nodes' own.
    pub users: Vec<super::User>,
    /// More flags of the API server.
    pub api_server_flags: Vec<String>,
    /// Whether the nodes have kubelets: then there is all of a control plane, scheduler, service
    /// accounts and every controller; else only what hands out podCIDRs.
    pub kubelets: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            network: Some(Network::default()),
            api_servers: 1,
            compaction: Duration::from_mins(5),
            watch_cache: true,
            nodes: 64,
            users: Vec::new(),
            api_server_flags: Vec::new(),
            kubelets: false,
        }
    }
}

impl Options {
    /// The API server alone: nodes get the podCIDRs that the scenario gives them.
    #[must_use]
    pub fn without_controllers() -> Self {
        Self { network: None, ..Self::default() }
    }

    /// A cluster of both families.
    #[must_use]
    pub fn dual_stack() -> Self {
        Self { network: Some(Network::dual_stack()), ..Self::default() }
    }

    /// A cluster of IPv6 alone, its API server included.
    #[must_use]
    pub fn ipv6_alone() -> Self {
        Self { network: Some(Network::ipv6_alone()), ..Self::default() }
    }

    /// Whether the nodes reach the API server over IPv6.
    #[must_use]
    pub(super) fn is_ipv6_alone(&self) -> bool {
        self.network.as_ref().is_some_and(|network| network.v4.is_none())
    }

    /// With two API servers on one etcd.
    #[must_use]
    pub fn two_api_servers(mut self) -> Self {
        self.api_servers = 2;
        self
    }
}
