//! The flags of each program. What is not named here has its upstream default.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::API_PORT;
use super::identity::TOKENS;
use super::options::{Network, Options};
use super::pki::{
    ACCOUNT_KEY, ACCOUNT_PUBLIC_KEY, API_CERTIFICATE, API_KEY, CA_CERTIFICATE, KUBELET_CERTIFICATE,
    KUBELET_KEY,
};
use crate::ipv6::GATEWAY6;
use crate::wire::GATEWAY;

const ETCD_PEER: &str = "http://127.0.0.1:2380";
const ISSUER: &str = "https://kubernetes.default.svc";
/// What hands out podCIDRs, and what watches over conditions and taints of nodes. No kubelet
/// renews a lease: the nodes must stay ready without one.
const IDLE_NODES: &str = "--controllers=node-ipam-controller,node-lifecycle-controller \
                          --node-monitor-grace-period=3600s --node-startup-grace-period=3600s";
/// One of them makes its directory of plugins wherever that is.
const ALL_CONTROLLERS: &str = "--controllers=* --flex-volume-plugin-dir=/mnt/control/volumeplugins";
/// Nobody publishes the API server as a Service, and pods need no account.
const WITHOUT_KUBELETS: &str =
    "--endpoint-reconciler-type=none --disable-admission-plugins=ServiceAccount";

/// Where the API server with this index reaches etcd: an address of its own, so that a test can cut
/// off one of them, however often it connects again.
#[must_use]
pub fn etcd_address(index: u16) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, 1 + u8::try_from(index).unwrap_or(u8::MAX - 1))
}

fn etcd_url(index: u16) -> String {
    format!("http://{}:2379", etcd_address(index))
}

pub(super) fn etcd(api_servers: u16) -> Vec<String> {
    let clients = (0..api_servers).map(etcd_url).collect::<Vec<_>>().join(",");
    words(&format!(
        "--name lab --data-dir /mnt/control/etcd --log-level warn --unsafe-no-fsync \
         --listen-client-urls {clients} --advertise-client-urls {clients} \
         --listen-peer-urls {ETCD_PEER} --initial-advertise-peer-urls {ETCD_PEER} \
         --initial-cluster lab={ETCD_PEER} --quota-backend-bytes 4294967296"
    ))
}

pub(super) fn api_server(index: u16, options: &Options) -> Vec<String> {
    let Options { compaction, watch_cache, .. } = options;
    let (etcd, port) = (etcd_url(index), API_PORT + index);
    let (any, advertised): (IpAddr, IpAddr) = if options.is_ipv6_alone() {
        (Ipv6Addr::UNSPECIFIED.into(), GATEWAY6.into())
    } else {
        (Ipv4Addr::UNSPECIFIED.into(), GATEWAY.into())
    };
    let mut flags = words(&format!(
        "--etcd-servers={etcd} --etcd-compaction-interval={}s --watch-cache={watch_cache} \
         --bind-address={any} --advertise-address={advertised} --secure-port={port} \
         --tls-cert-file={API_CERTIFICATE} --tls-private-key-file={API_KEY} \
         --client-ca-file={CA_CERTIFICATE} --token-auth-file={TOKENS} \
         --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
         --service-account-issuer={ISSUER} --api-audiences={ISSUER} \
         --service-account-key-file={ACCOUNT_PUBLIC_KEY} \
         --service-account-signing-key-file={ACCOUNT_KEY} \
         --service-cluster-ip-range={} --allow-privileged=true --event-ttl=10m",
        compaction.as_secs(),
        services(options.network.as_ref()),
    ));
    flags.extend(if options.kubelets { kubelets() } else { words(WITHOUT_KUBELETS) });
    flags.extend(options.api_server_flags.iter().cloned());
    flags
}

/// The API server's way to the kubelets. It takes their own certificates as they are.
fn kubelets() -> Vec<String> {
    words(&format!(
        "--kubelet-client-certificate={KUBELET_CERTIFICATE} --kubelet-client-key={KUBELET_KEY} \
         --kubelet-preferred-address-types=InternalIP"
    ))
}

pub(super) fn scheduler(kubeconfig: &str) -> Vec<String> {
    words(&format!("--kubeconfig={kubeconfig} --leader-elect=false --secure-port=0"))
}

pub(super) fn controller_manager(
    options: &Options,
    network: &Network,
    kubeconfig: &str,
) -> Vec<String> {
    let (v4, v6) = (network.v4_mask, network.v6_mask);
    let masks = match (&network.v4, &network.v6) {
        (_, None) => format!("--node-cidr-mask-size={v4}"),
        (None, Some(_)) => format!("--node-cidr-mask-size={v6}"),
        (Some(_), Some(_)) => {
            format!("--node-cidr-mask-size-ipv4={v4} --node-cidr-mask-size-ipv6={v6}")
        }
    };
    let ranges = network.ranges();
    let which = if options.kubelets { ALL_CONTROLLERS } else { IDLE_NODES };
    words(&format!(
        "--kubeconfig={kubeconfig} --secure-port=0 --leader-elect=false \
         --use-service-account-credentials=false --service-account-private-key-file={ACCOUNT_KEY} \
         --root-ca-file={CA_CERTIFICATE} {which} \
         --allocate-node-cidrs=true --cluster-cidr={ranges} {masks} \
         --service-cluster-ip-range={}",
        services(Some(network)),
    ))
}

/// The range of Services: both families in a dual-stack cluster.
fn services(network: Option<&Network>) -> &'static str {
    match network {
        Some(Network { v4: Some(_), v6: Some(_), .. }) => "10.96.0.0/16,fd00:10:96::/112",
        Some(Network { v4: None, v6: Some(_), .. }) => "fd00:10:96::/112",
        Some(Network { v6: None, .. }) | None => "10.96.0.0/16",
    }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}
