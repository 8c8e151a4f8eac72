//! flannel's `net-conf.json`, checked.
//!
//! The document is read with Go's rules (see `go_json`) and flannel's
//! defaults, so that every file flannel takes is taken, with the same meaning
//! or a sentence that says why not. Unlike flannel in Kubernetes mode, every
//! key is checked: a value that could not work is refused at start instead of
//! failing later in silence. Tartan's own keys are `FastPath`,
//! `NonMasqueradeCIDRs` and `Backend.SourceCheck`; flannel ignores them.

mod backend;
mod error;
mod fields;
mod pool;
#[cfg(test)]
mod tests;

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use tartan_common::abi::FlowEntries;

pub use self::backend::{BACKEND_KEYS, Backend, DEFAULT_PORT, HostGwConf, SourceCheck, VxlanConf};
pub use self::error::NetConfError;
use self::fields::Fields;
pub use self::pool::SubnetPool;
use crate::PodCidr;
use crate::go_json::{Json, Object};

/// Every key of the top level that is understood; matched without regard to case.
pub const KEYS: [&str; 15] = [
    "Network",
    "IPv6Network",
    "EnableIPv4",
    "EnableIPv6",
    "EnableNFTables",
    "SubnetLen",
    "SubnetMin",
    "SubnetMax",
    "IPv6SubnetLen",
    "IPv6SubnetMin",
    "IPv6SubnetMax",
    "Backend",
    "FastPath",
    "FlowTableEntries",
    "NonMasqueradeCIDRs",
];

/// More of an unknown key is not repeated.
const LONGEST_KEY: usize = 60;

/// Which flows may skip the host's stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FastPath {
    /// Every flow that the stack has nothing to do to.
    On,
    /// Only flows that the stack accepted in both directions first.
    AfterAccept,
    /// None.
    Off,
    /// `On` while every rule in the host's netfilter is known to be harmless, else `AfterAccept`.
    #[default]
    Auto,
}

/// The configuration of the pod network; every value in it has been checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetConf {
    /// The IPv4 pod network and the subnets that nodes may take of it; `None` in a cluster of IPv6
    /// alone.
    pub pool: Option<SubnetPool>,
    /// Whether firewall rules are to be written with nftables rather than iptables.
    pub enable_nftables: bool,
    /// Which flows may skip the host's stack.
    pub fast_path: FastPath,
    /// How many flows the fast path remembers.
    pub flow_entries: FlowEntries,
    /// Where pods keep their own address, besides the pod network: of both families, host bits
    /// zero, in the order in which they were written, none twice.
    pub non_masquerade: Vec<IpNet>,
    /// The IPv6 pod network, where the family is on: carried where it has a tunnel and its nodes
    /// have IPv6 addresses. Without `pool` it is there.
    pub ipv6_network: Option<Ipv6Net>,
    /// How packets get from node to node.
    pub backend: Backend,
}

/// A configuration, and what its author should know about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The configuration.
    pub conf: NetConf,
    /// One line each: keys that are ignored or have no effect.
    pub warnings: Vec<String>,
}

impl NetConf {
    /// Reads the text of a `net-conf.json`.
    ///
    /// # Errors
    /// [`NetConfError`]: the first fault, in one line with its key, its value and the fix.
    pub fn parse(text: &str) -> Result<Loaded, NetConfError> {
        let document: Json = serde_json::from_str(text)?;
        let Json::Object(object) = document else {
            return Err(NetConfError::NotAnObject(document.type_name()));
        };
        let mut warnings = unknown_key_warnings(&object, &KEYS, "");
        let conf = read(&Fields(&object), &mut warnings)?;
        Ok(Loaded { conf, warnings })
    }

    /// The IPv4 pod network of the whole cluster, where it has one.
    #[must_use]
    pub fn network(&self) -> Option<Ipv4Net> {
        self.pool.as_ref().map(SubnetPool::network)
    }

    /// The pod network of each family, IPv4 first.
    pub fn networks(&self) -> impl Iterator<Item = IpNet> {
        let v4 = self.network().map(IpNet::V4);
        v4.into_iter().chain(self.ipv6_network.map(IpNet::V6))
    }
}

impl FromStr for FastPath {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.to_lowercase().as_str() {
            "on" => Ok(Self::On),
            "after-accept" => Ok(Self::AfterAccept),
            "off" => Ok(Self::Off),
            "auto" => Ok(Self::Auto),
            _ => Err(()),
        }
    }
}

/// As `net-conf.json` spells it.
impl fmt::Display for FastPath {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::On => "on",
            Self::AfterAccept => "after-accept",
            Self::Off => "off",
            Self::Auto => "auto",
        })
    }
}

fn read(fields: &Fields<'_>, warnings: &mut Vec<String>) -> Result<NetConf, NetConfError> {
    let (is_v4, ipv6_network) = families(fields)?;
    let enable_nftables = fields.flag("EnableNFTables")?.unwrap_or(false);
    if enable_nftables {
        let text = "EnableNFTables = true has no effect: rules are nf_tables' wherever the kernel \
                    has them";
        warnings.push(format!("net-conf: {text}"));
    }
    Ok(NetConf {
        pool: ipv4_pool(fields, is_v4)?,
        enable_nftables,
        fast_path: fast_path(fields)?,
        flow_entries: flow_entries(fields)?,
        non_masquerade: non_masquerade(fields)?,
        ipv6_network,
        backend: backend::read(fields, warnings)?,
    })
}

/// Whether IPv4 is on, and the IPv6 network, if that family is.
fn families(fields: &Fields<'_>) -> Result<(bool, Option<Ipv6Net>), NetConfError> {
    let ipv4 = fields.flag("EnableIPv4")?.unwrap_or(true);
    let ipv6 = fields.flag("EnableIPv6")?.unwrap_or(false);
    if !ipv4 && !ipv6 {
        let (problem, fix) = ("leaves no address family", "set EnableIPv6 and IPv6Network");
        return Err(NetConfError::invalid("EnableIPv4", &"false", problem, fix));
    }
    // Checked even where it is switched off: a fault must not wait for the day it is used.
    let network = ipv6_network(fields)?;
    if !ipv6 {
        return Ok((ipv4, None));
    }
    let fix = "write it like \"2001:cafe:42::/56\", or remove EnableIPv6";
    let network = network.ok_or(NetConfError::Missing { key: "IPv6Network", fix })?;
    Ok((ipv4, Some(network)))
}

/// Where IPv4 is off, its keys may be absent; those that are there are checked all the same.
fn ipv4_pool(fields: &Fields<'_>, is_on: bool) -> Result<Option<SubnetPool>, NetConfError> {
    let is_there = fields.text("Network")?.is_some_and(|text| !text.is_empty());
    let pool = if is_on || is_there { Some(pool(fields)?) } else { None };
    Ok(pool.filter(|_| is_on))
}

fn ipv6_network(fields: &Fields<'_>) -> Result<Option<Ipv6Net>, NetConfError> {
    let key = "IPv6Network";
    let Some(text) = fields.text(key)?.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let invalid = |_| {
        let fix = "write it like \"2001:cafe:42::/56\"";
        NetConfError::invalid(key, &Json::Text(text.to_owned()), "is not an IPv6 network", fix)
    };
    text.parse::<Ipv6Net>().map(|network| Some(network.trunc())).map_err(invalid)
}

fn pool(fields: &Fields<'_>) -> Result<SubnetPool, NetConfError> {
    let longest = u64::from(PodCidr::MAX_PREFIX_LEN);
    let shortest = u64::from(PodCidr::MIN_PREFIX_LEN);
    // Zero is Go's way to say that the key is absent.
    let len = fields.number("SubnetLen", shortest..=longest, true)?;
    let len = len.and_then(|len| u8::try_from(len).ok());
    let is_set = |address: &Ipv4Addr| !address.is_unspecified();
    let min = fields.address("SubnetMin")?.filter(is_set);
    let max = fields.address("SubnetMax")?.filter(is_set);
    SubnetPool::new(network(fields)?, len, min, max)
}

fn network(fields: &Fields<'_>) -> Result<Ipv4Net, NetConfError> {
    let fix = "write it like \"10.244.0.0/16\"";
    let key = "Network";
    let text = fields.text(key)?.ok_or(NetConfError::Missing { key, fix })?;
    let invalid =
        |_| NetConfError::invalid(key, &Json::Text(text.to_owned()), "is not an IPv4 network", fix);
    text.parse().map_err(invalid)
}

fn fast_path(fields: &Fields<'_>) -> Result<FastPath, NetConfError> {
    let key = "FastPath";
    let Some(text) = fields.text(key)? else {
        return Ok(FastPath::default());
    };
    let fix = "use \"on\", \"after-accept\", \"off\" or \"auto\"";
    let invalid =
        |()| NetConfError::invalid(key, &Json::Text(text.to_owned()), "is not known", fix);
    text.parse().map_err(invalid)
}

fn flow_entries(fields: &Fields<'_>) -> Result<FlowEntries, NetConfError> {
    let range = u64::from(FlowEntries::MIN)..=u64::from(FlowEntries::MAX);
    let entries = fields.number("FlowTableEntries", range, true)?;
    Ok(entries.and_then(|entries| FlowEntries::new(entries).ok()).unwrap_or_default())
}

/// Host bits are masked off, as in `Network`.
fn non_masquerade(fields: &Fields<'_>) -> Result<Vec<IpNet>, NetConfError> {
    let key = "NonMasqueradeCIDRs";
    let fix = "write them like [\"192.168.0.0/16\", \"fd00::/8\"]";
    let mut networks = Vec::new();
    for item in fields.list(key, fix)? {
        let invalid = || NetConfError::invalid(key, item, "is not a network", fix);
        let Json::Text(text) = item else {
            return Err(invalid());
        };
        let network = text.parse::<IpNet>().map_err(|_| invalid())?.trunc();
        if !networks.contains(&network) {
            networks.push(network);
        }
    }
    Ok(networks)
}

/// flannel ignores unknown keys in silence, and a misspelt key with them.
fn unknown_key_warnings(object: &Object, known: &[&str], prefix: &str) -> Vec<String> {
    let warning = |key: &str| {
        // A key is anybody's text: it must fit on a line of the log.
        let key: String = key.escape_debug().take(LONGEST_KEY).collect();
        format!("net-conf: {prefix}{key} is not a known key and is ignored")
    };
    object.unknown_keys(known).into_iter().map(warning).collect()
}
