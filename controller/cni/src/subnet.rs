//! The node's share of the pod network, as `subnet.env` says it.

use std::fs;
use std::net::IpAddr;
use std::path::Path;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use nix::errno::Errno;
use tartan_common::Mtu;
use tartan_core::subnet_env;

use crate::error::{CniError, Code};

/// The smallest IPv4 MTU (RFC 791) and the largest packet.
const MTU: std::ops::RangeInclusive<u32> = 68..=65535;

/// How much longer an IPv6 header is than one of IPv4.
const IPV6_MORE: u32 = 20;

/// What `subnet.env` says. A pod has an address of each family of which the node has a subnet: of
/// one at least.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubnetEnv {
    /// `FLANNEL_NETWORK`: the whole pod network, without duplicates.
    pub networks: Vec<Ipv4Net>,
    /// `FLANNEL_SUBNET`, masked: this node's pods.
    pub subnet: Option<Ipv4Net>,
    /// `FLANNEL_MTU`: bytes a pod may put into a packet.
    pub mtu: u32,
    /// `FLANNEL_IPMASQ`: the agent masquerades.
    pub ip_masq: bool,
    /// `FLANNEL_IPV6_NETWORK`.
    pub networks6: Vec<Ipv6Net>,
    /// `FLANNEL_IPV6_SUBNET`, masked.
    pub subnet6: Option<Ipv6Net>,
    /// Bytes that IPv6 packets lose besides: the file does not say, for flannel's does not.
    ipv6_more: u32,
}

impl SubnetEnv {
    /// Reads the file.
    ///
    /// # Errors
    ///
    /// Code 100, with the texts flannel's users know and what to do about it.
    pub fn load(path: &Path) -> Result<Self, CniError> {
        let shown = path.display();
        let text = fs::read_to_string(path).map_err(|error| {
            refuse(format!(
                "failed to load flannel 'subnet.env' file: open {shown}: {}. Check the flannel pod log for this node.",
                go_text(&error)
            ))
        })?;
        Self::parse(&text, &shown.to_string())
    }

    pub(crate) fn parse(text: &str, path: &str) -> Result<Self, CniError> {
        let file = subnet_env::SubnetEnv::parse(text)
            .map_err(|error| refuse(format!("{path}: {error}")))?;
        let missing = file.missing();
        if !missing.is_empty() {
            return Err(refuse(format!("{path} is missing {}", missing.join(", "))));
        }
        let no = |key| refuse(format!("{path} has no usable {key}"));
        if file.subnet.is_some() && file.networks.is_empty() {
            return Err(no("FLANNEL_NETWORK"));
        }
        if file.subnet.is_none() && !file.networks.is_empty() {
            return Err(no("FLANNEL_SUBNET"));
        }
        Ok(Self {
            subnet: file.subnet.map(|subnet| subnet.trunc()),
            mtu: file.mtu.filter(|mtu| MTU.contains(mtu)).ok_or_else(|| no("FLANNEL_MTU"))?,
            networks: file.networks.iter().map(Ipv4Net::trunc).collect(),
            ip_masq: file.ip_masq.unwrap_or_default(),
            networks6: file.ipv6_networks.iter().map(Ipv6Net::trunc).collect(),
            subnet6: file.ipv6_subnet.map(|subnet| subnet.trunc()),
            ipv6_more: IPV6_MORE,
        })
    }

    /// The same on a node without a tunnel over IPv6: both families have the same room.
    #[must_use]
    pub fn without_ipv6_tunnel(self) -> Self {
        Self { ipv6_more: 0, ..self }
    }

    /// The same without IPv6 where IPv4 goes on alone: the kernel gives no IPv6 address to a link
    /// that takes less than every link has to (RFC 8200, section 5). The agent tells that this
    /// node carries no IPv6.
    #[must_use]
    pub fn without_ipv6_on_narrow_links(self) -> Self {
        if self.subnet.is_none() || self.mtu6() >= u32::from(Mtu::MIN_IPV6) {
            return self;
        }
        Self { networks6: Vec::new(), subnet6: None, ..self }
    }

    /// This node's pods, IPv4 first.
    pub fn subnets(&self) -> impl Iterator<Item = IpNet> {
        let v4 = self.subnet.map(IpNet::V4);
        v4.into_iter().chain(self.subnet6.map(IpNet::V6))
    }

    /// The whole pod network of the family of `subnet`.
    #[must_use]
    pub fn networks_of(&self, subnet: IpNet) -> Vec<IpNet> {
        match subnet {
            IpNet::V4(_) => self.networks.iter().copied().map(IpNet::V4).collect(),
            IpNet::V6(_) => self.networks6.iter().copied().map(IpNet::V6).collect(),
        }
    }

    /// Bytes that the link takes: what a pod's widest family may put into a packet.
    #[must_use]
    pub const fn link_mtu(&self) -> u32 {
        if self.subnet.is_some() { self.mtu } else { self.mtu6() }
    }

    /// Bytes that a pod may put into an IPv6 packet: a tunnel over IPv6 takes twenty more.
    #[must_use]
    pub const fn mtu6(&self) -> u32 {
        self.mtu.saturating_sub(self.ipv6_more)
    }
}

/// The pods' next hop: the subnet's first address.
#[must_use]
pub fn gateway(subnet: IpNet) -> IpAddr {
    match subnet.network() {
        IpAddr::V4(first) => IpAddr::V4((first.to_bits() | 1).into()),
        IpAddr::V6(first) => IpAddr::V6((first.to_bits() | 1).into()),
    }
}

/// The reference's wording of the two errors people meet.
fn go_text(error: &std::io::Error) -> String {
    match error.raw_os_error() {
        Some(code) if code == Errno::ENOENT as i32 => "no such file or directory".to_owned(),
        Some(code) if code == Errno::EACCES as i32 => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

fn refuse(msg: String) -> CniError {
    CniError::new(Code::SubnetFile, msg).hint(
        "tartand writes this file once the node holds a lease: it has not run since boot, or has no lease yet; start tartand or read its log",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "FLANNEL_NETWORK=10.244.0.0/16,10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";

    #[test]
    fn a_narrow_link_has_ipv4_alone() {
        let ipv6 = "FLANNEL_IPV6_NETWORK=fd00::/48\nFLANNEL_IPV6_SUBNET=fd00:0:0:1::1/64\n";
        let families = |mtu: u32, text: &str| {
            let text = text.replace("1450", &mtu.to_string());
            let env = SubnetEnv::parse(&text, "f").expect("complete");
            env.without_ipv6_on_narrow_links().subnets().count()
        };
        let both = format!("{GOOD}{ipv6}");
        assert_eq!((families(1300, &both), families(1299, &both)), (2, 1));
        let alone = format!("{ipv6}FLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n");
        assert_eq!(families(1200, &alone), 1);
    }

    #[test]
    fn the_gateway_form_of_the_subnet_is_masked() {
        let env = SubnetEnv::parse(GOOD, "f").expect("complete");
        assert_eq!(env.subnet.map(|net| net.to_string()).as_deref(), Some("10.244.1.0/24"));
        assert_eq!(gateway(IpNet::V4(env.subnet.expect("there"))).to_string(), "10.244.1.1");
        assert_eq!(env.networks.len(), 1);
        assert_eq!(env.mtu, 1450);
    }

    #[test]
    fn bare_words_comments_and_foreign_keys_are_tolerated() {
        let text = format!("# made by hand\nbare\n{GOOD}OTHER=1\nFLANNEL_IPV6_SUBNET=fd00::/64\n");
        assert!(SubnetEnv::parse(&text, "f").is_ok());
    }

    #[test]
    fn what_is_missing_is_listed() {
        let error = SubnetEnv::parse("FLANNEL_SUBNET=10.244.1.1/24", "f").expect_err("incomplete");
        assert_eq!(
            error.msg,
            "f is missing FLANNEL_NETWORK, FLANNEL_IPV6_NETWORK, FLANNEL_MTU, FLANNEL_IPMASQ"
        );
        assert_eq!(error.code, Code::SubnetFile);
    }

    #[test]
    fn a_node_may_have_ipv6_alone() {
        let text = "FLANNEL_IPV6_NETWORK=fd00::/48\nFLANNEL_IPV6_SUBNET=fd00::/64\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true";
        let env = SubnetEnv::parse(text, "f").expect("complete");
        assert_eq!((env.subnet, env.link_mtu(), env.subnets().count()), (None, 1430, 1));
        assert_eq!(env.without_ipv6_tunnel().link_mtu(), 1450);
        let half = format!("{text}\nFLANNEL_NETWORK=10.244.0.0/16");
        let error = SubnetEnv::parse(&half, "f").expect_err("half of IPv4");
        assert!(error.msg.contains("FLANNEL_SUBNET"), "{}", error.msg);
    }

    #[test]
    fn an_absurd_mtu_is_refused() {
        let error = SubnetEnv::parse(&GOOD.replace("1450", "70000"), "f").expect_err("too large");
        assert!(error.msg.contains("FLANNEL_MTU"), "{}", error.msg);
    }

    #[test]
    fn a_missing_file_is_reported_in_the_words_people_search_for() {
        let error = SubnetEnv::load(Path::new("/nonexistent/subnet.env")).expect_err("absent");
        assert_eq!(
            error.msg,
            "failed to load flannel 'subnet.env' file: open /nonexistent/subnet.env: no such file or directory. Check the flannel pod log for this node."
        );
        assert!(error.details.contains("start tartand"), "{}", error.details);
    }
}
