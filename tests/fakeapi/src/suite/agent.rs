//! The agent's half of a test: a store under way, and a patient observer of what it says.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use tartan_agent::store::kube::{KubeOptions, KubeStore, Timing};
use tartan_agent::store::{
    LeaseRequest, LeaseRequest6, LeaseStore as _, OwnLeases, Snapshot, StoreError,
};
use tartan_common::Vni;
use tartan_core::annotations::{AnnotationPrefix, NodeRecord, to_leases};
use tartan_core::reflector::ReflectorConfig;
use tartan_core::{Lease, Lease6, LeaseBackend, NetConf, VxlanData};
use tokio::time::{Instant, timeout, timeout_at};

use super::api::ApiUnderTest;

/// The node whose agent is tested.
pub const OWN: &str = "own";
/// Its VTEP's MAC address.
pub const OWN_MAC: &str = "0a:58:0a:40:fe:01";
/// Its subnet.
pub const OWN_SUBNET: &str = "10.127.254.0/24";
/// Its address.
pub const OWN_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// How long anything may take that is to come.
const PATIENCE: Duration = Duration::from_secs(20);

const NET_CONF: &str = r#"{"Network":"10.64.0.0/10","SubnetLen":24,"EnableIPv6":true,
    "IPv6Network":"fd00:64::/48","Backend":{"Type":"vxlan"}}"#;

/// A store under way.
pub struct Agent {
    /// The store.
    pub store: KubeStore,
    /// What its node asks for.
    pub request: LeaseRequest,
}

/// The leases of both families.
pub type Leases = (Vec<Lease>, Vec<Lease6>);

/// The configuration of every agent in these tests.
///
/// # Errors
/// Never: it is a constant.
pub fn net_conf() -> Result<NetConf> {
    Ok(NetConf::parse(NET_CONF)?.conf)
}

/// Everything fast, so that a test need not wait for what takes its time in a cluster.
#[must_use]
pub fn quick() -> Timing {
    let reflector = ReflectorConfig {
        page_limit: 2,
        backoff_first: Duration::from_millis(20),
        backoff_longest: Duration::from_millis(300),
        idle_limit: Duration::from_secs(3),
        ..ReflectorConfig::default()
    };
    Timing {
        connect: Duration::from_secs(1),
        request: Duration::from_secs(4),
        trouble_after: Duration::from_millis(500),
        event_spacing: Duration::from_millis(10),
        reflector,
        ..Timing::default()
    }
}

impl Agent {
    /// The agent of [`OWN`], with quick timings.
    ///
    /// # Errors
    /// When the store does not start.
    pub fn start(api: &dyn ApiUnderTest) -> Result<Self> {
        Self::with(api, quick())
    }

    /// The agent of [`OWN`].
    ///
    /// # Errors
    /// When the store does not start.
    pub fn with(api: &dyn ApiUnderTest, timing: Timing) -> Result<Self> {
        let conf = net_conf()?;
        let way = api.way();
        let store = KubeStore::start(KubeOptions {
            api_url: way.url,
            kubeconfig: way.kubeconfig,
            node_name: OWN.to_owned(),
            prefix: AnnotationPrefix::default(),
            network: conf.network(),
            ipv6_network: conf.ipv6_network,
            set_node_network_unavailable: true,
            timing,
        })?;
        let request = LeaseRequest {
            node_name: OWN.to_owned(),
            public_ip: Some(OWN_ADDRESS),
            backend: backend(OWN_MAC)?,
            pool: conf.pool,
            previous: None,
            ipv6: None,
        };
        Ok(Self { store, request })
    }

    /// As a node of both families.
    ///
    /// # Errors
    /// Never: everything is constant.
    pub fn dual_stack(mut self, public_ip: Ipv6Addr, vtep_mac: &str) -> Result<Self> {
        let network = net_conf()?.ipv6_network.context("no IPv6 network")?;
        let backend = backend(vtep_mac)?;
        self.request.ipv6 = Some(LeaseRequest6 { public_ip, backend, network });
        Ok(self)
    }

    /// What the node holds.
    ///
    /// # Errors
    /// What the store says.
    pub async fn hold(&self) -> Result<OwnLeases, StoreError> {
        self.store.hold(&self.request, None).await
    }

    /// Looks again whenever the store says that something changed, until `right` says so.
    ///
    /// # Errors
    /// When it takes too long: what it was about.
    pub async fn until<F>(&self, what: &str, mut right: impl FnMut() -> F) -> Result<()>
    where
        F: Future<Output = bool>,
    {
        let end = Instant::now() + PATIENCE;
        while !right().await {
            if timeout_at(end, self.store.changed()).await.is_err() {
                let (standing, list) = (self.store.standing(), self.store.list().await);
                bail!("{what}: not within {PATIENCE:?} ({standing:?}; {list:?})");
            }
        }
        Ok(())
    }

    /// Waits until the list is as `right` wants it.
    ///
    /// # Errors
    /// When it takes too long: what it was about.
    pub async fn until_list(&self, what: &str, right: impl Fn(&Snapshot) -> bool) -> Result<()> {
        self.until(what, async || self.store.list().await.is_ok_and(|list| right(&list))).await
    }

    /// Waits until the node holds what `right` wants.
    ///
    /// # Errors
    /// When it takes too long: what it was about.
    pub async fn until_held(
        &self,
        what: &str,
        right: impl Fn(&Result<OwnLeases, StoreError>) -> bool,
    ) -> Result<()> {
        self.until(what, async || right(&self.hold().await)).await
    }

    /// Waits until the list is what the server's nodes stand for.
    ///
    /// # Errors
    /// When it takes too long.
    pub async fn until_like(&self, nodes: &[Value]) -> Result<()> {
        let wanted = leases_of(nodes);
        let right = |list: &Snapshot| (&list.leases, &list.leases6) == (&wanted.0, &wanted.1);
        self.until_list("the list is what the server has", right).await
    }

    /// Whether the store says within `time` that something changed.
    pub async fn stirs_within(&self, time: Duration) -> bool {
        timeout(time, self.store.changed()).await.is_ok()
    }

    /// Waits until the store says nothing any more.
    pub async fn settle(&self) {
        while self.stirs_within(Duration::from_millis(300)).await {}
    }
}

/// flannel's backend data with VNI 1.
///
/// # Errors
/// When it is no MAC address.
pub fn backend(vtep_mac: &str) -> Result<LeaseBackend> {
    Ok(LeaseBackend::Vxlan(VxlanData::new(Vni::new(1)?, vtep_mac.parse()?)))
}

/// What Node objects stand for, worked out from the objects alone.
#[must_use]
pub fn leases_of(nodes: &[Value]) -> Leases {
    let prefix = AnnotationPrefix::default();
    let records = nodes.iter().filter_map(|node| {
        NodeRecord::from_json(&node.to_string(), &prefix).ok().map(|seen| seen.record)
    });
    let mut leases = Leases::default();
    let mut records: Vec<_> = records.collect();
    records.sort_by(|left, right| left.name.cmp(&right.name));
    for node in records.iter().map(to_leases) {
        leases.0.extend(node.v4.ok().flatten());
        leases.1.extend(node.v6.ok().flatten());
    }
    leases.0.sort_by_key(|lease| lease.subnet);
    leases.1.sort_by_key(|lease| lease.subnet);
    leases
}
