//! What ADD is going to do, decided before anything is touched.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::Ipv4Net;

use tartan_common::Mac;

use crate::environment::Invocation;
use crate::error::{CniError, Code};
use crate::handover;
use crate::identity::Identity;
use crate::ipam::{IpamError, Range};
use crate::netconf::{NetConf, unsupported};
use crate::patience::Patience;
use crate::result::{Dns, Route};
use crate::subnet::SubnetEnv;

/// A checked wish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// MTU of both ends, in bytes.
    pub mtu: u32,
    /// The pod's next hop.
    pub gateway: Ipv4Addr,
    /// The node's addresses.
    pub range: Range,
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
}

impl Plan {
    /// Reads everything ADD depends on. What the agent is about to write is waited for.
    ///
    /// # Errors
    ///
    /// The first thing that is missing, wrong or not to be had.
    pub fn new(conf: &NetConf, call: &Invocation, patience: Patience) -> Result<Self, CniError> {
        let delegate = conf.delegate()?;
        let request = conf.pod_request(&call.args)?;
        let asked = conf.routes()?;
        let identity = Identity::new(&conf.name, &call.attachment);
        let file = conf.subnet_file()?;
        patience.wait_for(|| file.exists());
        let subnet = SubnetEnv::load(&file)?;
        let gateway = subnet.gateway();
        Ok(Self {
            mtu: delegate.mtu.unwrap_or(subnet.mtu),
            gateway,
            range: Range::new(subnet.subnet)?,
            routes: routes(asked, gateway, delegate.default_gateway, &subnet.networks)?,
            dns: dns(conf)?,
            requested: request.ips,
            mac: request.mac,
            handover: handover::delegate_configuration(conf, &subnet)?,
            host_names: conf.naming()?.host_names(identity, &call.args)?,
            bridge: delegate.bridge,
            qdisc_is_free: conf.qdisc_is_free()?,
        })
    }
}

/// The user's routes, the default route, the pod network; each destination once.
fn routes(
    asked: Vec<Route>,
    gateway: Ipv4Addr,
    default_gateway: bool,
    networks: &[Ipv4Net],
) -> Result<Vec<Route>, CniError> {
    let mut routes = Vec::new();
    for route in asked {
        if let Some(gw) = route.gw.filter(|gw| *gw != gateway) {
            return Err(unsupported("ipam.routes.gw", gw)
                .hint(format!("a pod's only neighbour is {gateway}; leave `gw` out")));
        }
        routes.push(Route { gw: Some(gateway), ..route });
    }
    let default = default_gateway.then_some(Ipv4Net::default());
    for dst in default.iter().chain(networks) {
        if !routes.iter().any(|route| route.dst == *dst) {
            routes.push(Route::via(*dst, gateway));
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
    use super::*;

    const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 244, 1, 1);

    fn net(text: &str) -> Ipv4Net {
        text.parse().expect("a network")
    }

    fn texts(routes: &[Route]) -> Vec<String> {
        routes.iter().map(|route| route.dst.to_string()).collect()
    }

    #[test]
    fn a_pod_gets_the_default_route_and_the_pod_network() {
        let all = routes(vec![], GATEWAY, true, &[net("10.244.0.0/16")]).expect("legal");
        assert_eq!(texts(&all), ["0.0.0.0/0", "10.244.0.0/16"]);
        assert!(all.iter().all(|route| route.gw == Some(GATEWAY)));
    }

    #[test]
    fn a_route_the_user_gave_is_not_added_twice() {
        let mut own = Route::via(net("0.0.0.0/0"), GATEWAY);
        own.gw = None;
        let all = routes(vec![own], GATEWAY, true, &[]).expect("legal");
        assert_eq!(all, [Route::via(net("0.0.0.0/0"), GATEWAY)]);
    }

    #[test]
    fn another_next_hop_is_refused() {
        let own = Route::via(net("192.0.2.0/24"), Ipv4Addr::new(10, 244, 1, 9));
        let error = routes(vec![own], GATEWAY, true, &[]).expect_err("unreachable");
        assert_eq!(error.code, Code::UnsupportedField);
    }
}
