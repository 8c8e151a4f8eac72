//! What ADD is going to do, decided before anything is touched.

use std::fs;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use tartan_common::Mac;

use crate::datapath::Datapath;
use crate::environment::Invocation;
use crate::error::{CniError, Code};
use crate::handover;
use crate::identity::Identity;
use crate::ipam::{IpamError, Range};
use crate::netconf::{NetConf, unsupported};
use crate::patience::Patience;
use crate::result::{Dns, Route};
use crate::subnet::{SubnetEnv, gateway};

/// A checked wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// MTU of both ends, in bytes.
    pub mtu: u32,
    /// The node's addresses, one range for each of its families, IPv4 first.
    pub ranges: Vec<Range>,
    /// The pod's routes besides the one to the gateway.
    pub routes: Vec<Route>,
    /// Name resolution, passed through.
    pub dns: Dns,
    /// Addresses asked for.
    pub requested: Vec<IpAddr>,
    /// The container's MAC address, if asked for.
    pub mac: Option<Mac>,
    /// What flannel's plugin will need to release the pod.
    pub handover: String,
    /// Names for the host's end, the first free of which is taken.
    pub host_names: Vec<String>,
    /// The bridge on which flannel's chain would have put the pod.
    pub bridge: String,
    /// Whether no plugin after this one needs the veth's ingress qdisc.
    pub qdisc_is_free: bool,
    /// Whether the pod asks for the host stack.
    pub asks_for_stack: bool,
    /// Whether a plugin after this one will limit the pod's bandwidth.
    pub will_be_shaped: bool,
}

impl Plan {
    /// Reads everything ADD depends on. What the agent is about to write is waited for.
    ///
    /// # Errors
    ///
    /// The first thing that is missing, wrong or not to be had.
    pub fn new(
        conf: &NetConf,
        call: &Invocation,
        patience: Patience,
        datapath: &mut dyn Datapath,
    ) -> Result<Self, CniError> {
        let delegate = conf.delegate()?;
        let request = conf.pod_request(&call.args)?;
        let asked = conf.routes()?;
        let identity = Identity::new(&conf.name, &call.attachment);
        let file = conf.subnet_file()?;
        patience.wait_for(|| file.exists());
        let mut subnet = SubnetEnv::load(&file)?;
        if subnet.subnet6.is_some() && !datapath.tunnels_over_ipv6() {
            subnet = subnet.without_ipv6_tunnel();
        }
        let subnet = subnet.without_ipv6_on_narrow_links();
        let ways = ways(&subnet, delegate.mtu);
        Ok(Self {
            mtu: delegate.mtu.unwrap_or(subnet.link_mtu()),
            ranges: ranges(&subnet)?,
            routes: routes(asked, &ways, delegate.default_gateway)?,
            dns: dns(conf)?,
            requested: request.ips,
            mac: request.mac,
            handover: handover::delegate_configuration(conf, &subnet)?,
            host_names: conf.naming()?.host_names(identity, &call.args)?,
            bridge: delegate.bridge,
            qdisc_is_free: conf.qdisc_is_free()?,
            asks_for_stack: conf.asks_for_stack()?,
            will_be_shaped: conf.will_be_shaped()?,
        })
    }
}

impl Plan {
    /// Whether the pod gets an IPv6 address.
    #[must_use]
    pub fn has_ipv6(&self) -> bool {
        self.ranges.iter().any(|range| range.gateway().is_ipv6())
    }
}

/// The addresses that the node may give to pods, of each of its families.
///
/// # Errors
///
/// For a subnet that is too small.
pub fn ranges(subnet: &SubnetEnv) -> Result<Vec<Range>, IpamError> {
    subnet.subnets().map(Range::new).collect()
}

/// One family's way out of a pod.
struct Way {
    gateway: IpAddr,
    default: IpNet,
    networks: Vec<IpNet>,
    /// Where it differs from the link's.
    mtu: Option<u32>,
}

/// The link's MTU is that of IPv4, where there is IPv4; IPv6 learns its own from the routes.
fn ways(subnet: &SubnetEnv, mtu: Option<u32>) -> Vec<Way> {
    let mtu6 = mtu.unwrap_or(subnet.mtu).min(subnet.mtu6());
    let way = |net: IpNet| Way {
        gateway: gateway(net),
        default: match net {
            IpNet::V4(_) => Ipv4Net::default().into(),
            IpNet::V6(_) => Ipv6Net::default().into(),
        },
        networks: subnet.networks_of(net),
        mtu: net.addr().is_ipv6().then_some(mtu6),
    };
    subnet.subnets().map(way).collect()
}

/// The user's routes, the default route, the pod network; each destination once.
fn routes(asked: Vec<Route>, ways: &[Way], default_gateway: bool) -> Result<Vec<Route>, CniError> {
    let mut routes = Vec::new();
    for route in asked {
        let is_v4 = route.dst.addr().is_ipv4();
        let Some(way) = ways.iter().find(|way| way.gateway.is_ipv4() == is_v4) else {
            return Err(unsupported("ipam.routes.dst", route.dst)
                .hint("this node has no subnet of that family; remove the entry, or enable it"));
        };
        if let Some(gw) = route.gw.filter(|gw| *gw != way.gateway) {
            return Err(unsupported("ipam.routes.gw", gw)
                .hint(format!("a pod's only neighbour is {}; leave `gw` out", way.gateway)));
        }
        let mtu = route.mtu.or(way.mtu);
        routes.push(Route { gw: Some(way.gateway), mtu, ..route });
    }
    for way in ways {
        let default = default_gateway.then_some(way.default);
        for dst in default.iter().chain(&way.networks) {
            if !routes.iter().any(|route| route.dst == *dst) {
                routes.push(Route { mtu: way.mtu, ..Route::via(*dst, way.gateway) });
            }
        }
    }
    Ok(routes)
}

/// The configuration's `dns` or, where it is empty, that of `ipam.resolvConf`.
fn dns(conf: &NetConf) -> Result<Dns, CniError> {
    let own = conf.dns()?;
    let Some(path) = conf.resolv_conf()?.filter(|_| own == Dns::default()) else {
        return Ok(own);
    };
    let text = fs::read_to_string(&path).map_err(|error| {
        CniError::new(Code::InvalidConfig, format!("open {}: {error}", path.display()))
            .hint("correct `ipam.resolvConf`")
    })?;
    Ok(Dns::from_resolv_conf(&text))
}

impl From<IpamError> for CniError {
    fn from(error: IpamError) -> Self {
        let code =
            if matches!(error, IpamError::TooSmall(_)) { Code::InvalidConfig } else { Code::Ipam };
        Self::new(code, error.to_string()).hint(error.hint())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 244, 1, 1));

    fn net(text: &str) -> IpNet {
        text.parse().expect("a network")
    }

    fn way(networks: &[&str]) -> [Way; 1] {
        let networks = networks.iter().map(|text| net(text)).collect();
        [Way { gateway: GATEWAY, default: net("0.0.0.0/0"), networks, mtu: None }]
    }

    fn texts(routes: &[Route]) -> Vec<String> {
        routes.iter().map(|route| route.dst.to_string()).collect()
    }

    #[test]
    fn a_pod_gets_the_default_route_and_the_pod_network() {
        let all = routes(vec![], &way(&["10.244.0.0/16"]), true).expect("legal");
        assert_eq!(texts(&all), ["0.0.0.0/0", "10.244.0.0/16"]);
        assert!(all.iter().all(|route| route.gw == Some(GATEWAY)));
    }

    #[test]
    fn a_route_the_user_gave_is_not_added_twice() {
        let mut own = Route::via(net("0.0.0.0/0"), GATEWAY);
        own.gw = None;
        let all = routes(vec![own], &way(&[]), true).expect("legal");
        assert_eq!(all, [Route::via(net("0.0.0.0/0"), GATEWAY)]);
    }

    #[test]
    fn another_next_hop_is_refused() {
        let own = Route::via(net("192.0.2.0/24"), "10.244.1.9".parse().expect("an address"));
        let error = routes(vec![own], &way(&[]), true).expect_err("unreachable");
        assert_eq!(error.code, Code::UnsupportedField);
    }

    #[test]
    fn ipv6_has_its_own_way_with_what_a_tunnel_over_ipv6_leaves() {
        let text = "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\n\
                    FLANNEL_IPV6_NETWORK=fd00:10:244::/56\nFLANNEL_IPV6_SUBNET=fd00:10:244:1::1/64\n\
                    FLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";
        let subnet = SubnetEnv::parse(text, "f").expect("complete");
        let all = routes(vec![], &ways(&subnet, None), true).expect("legal");
        assert_eq!(texts(&all), ["0.0.0.0/0", "10.244.0.0/16", "::/0", "fd00:10:244::/56"]);
        let mtus: Vec<_> = all.iter().map(|route| route.mtu).collect();
        assert_eq!(mtus, [None, None, Some(1430), Some(1430)]);
        let gateways = ranges(&subnet).expect("large enough");
        let gateways: Vec<_> = gateways.iter().map(|one| one.gateway().to_string()).collect();
        assert_eq!(gateways, ["10.244.1.1", "fd00:10:244:1::1"]);
    }

    #[test]
    fn a_route_of_a_family_that_the_node_lacks_is_refused() {
        let own = Route::via(net("2001:db8::/32"), "fd00::1".parse().expect("an address"));
        let error = routes(vec![own], &way(&[]), true).expect_err("no IPv6");
        assert_eq!(error.code, Code::UnsupportedField);
    }
}
