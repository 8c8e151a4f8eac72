//! The answer to ADD, and its shapes through the versions of the specification.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Map, Value, json};

use crate::error::{CniError, Code};
use crate::json::Object;
use crate::version::SpecVersion;

/// What was made for an attachment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CniResult {
    /// Host side first, without a sandbox; then the container's.
    pub interfaces: Vec<Interface>,
    /// The addresses, each tied to an interface.
    pub ips: Vec<IpConfig>,
    /// The container's routes.
    pub routes: Vec<Route>,
    /// Name resolution, passed through.
    pub dns: Dns,
}

/// A link.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its MAC address as text; empty when unknown.
    pub mac: String,
    /// Its MTU in bytes.
    pub mtu: Option<u32>,
    /// The path of its network namespace; empty on the host.
    pub sandbox: String,
}

/// An address of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpConfig {
    /// The address with its prefix length.
    pub address: IpNet,
    /// The next hop for everything else.
    pub gateway: Option<IpAddr>,
    /// Index into [`CniResult::interfaces`].
    pub interface: Option<u32>,
}

/// A route of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Where to.
    pub dst: IpNet,
    /// The next hop.
    pub gw: Option<IpAddr>,
    /// Largest packet in bytes.
    pub mtu: Option<u32>,
    /// TCP segment size announced to the peer, in bytes.
    pub advmss: Option<u32>,
    /// Metric; the lowest wins.
    pub priority: Option<u32>,
    /// Routing table.
    pub table: Option<u32>,
}

impl Route {
    /// A route without options.
    #[must_use]
    pub const fn via(dst: IpNet, gw: IpAddr) -> Self {
        Self { dst, gw: Some(gw), mtu: None, advmss: None, priority: None, table: None }
    }

    /// Reads `{dst, gw, mtu, advmss, priority, table}`.
    ///
    /// # Errors
    ///
    /// Code 6 for wrong types, code 2 for what is no address.
    pub fn parse(object: &Object<'_>) -> Result<Self, CniError> {
        let dst = object.string("dst")?.unwrap_or_default();
        Ok(Self {
            dst: address(object, "dst", dst).map(|net: IpNet| net.trunc())?,
            gw: object.string("gw")?.map(|gw| address(object, "gw", gw)).transpose()?,
            mtu: object.number("mtu")?,
            advmss: object.number("advmss")?,
            priority: object.number("priority")?,
            table: object.number("table")?,
        })
    }

    fn to_json(&self) -> Value {
        let numbers = [
            ("mtu", self.mtu),
            ("advmss", self.advmss),
            ("priority", self.priority),
            ("table", self.table),
        ];
        let mut object = Map::new();
        object.insert("dst".into(), json!(self.dst.to_string()));
        insert(&mut object, "gw", self.gw.map(|gw| gw.to_string()));
        for (key, number) in numbers {
            insert(&mut object, key, number);
        }
        Value::Object(object)
    }
}

fn address<T: std::str::FromStr>(
    object: &Object<'_>,
    key: &str,
    text: &str,
) -> Result<T, CniError> {
    let refuse = |_| {
        let path = object.path_of(key);
        CniError::new(Code::UnsupportedField, format!("unsupported field {path}: {text:?}"))
            .hint("write an address or a network, or remove the entry")
    };
    text.parse().map_err(refuse)
}

/// Name resolution of the container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Dns {
    /// Addresses of the servers.
    pub nameservers: Vec<String>,
    /// The local domain; empty when unset.
    pub domain: String,
    /// Search list.
    pub search: Vec<String>,
    /// Resolver options.
    pub options: Vec<String>,
}

impl Dns {
    /// Reads `{nameservers, domain, search, options}`.
    ///
    /// # Errors
    ///
    /// Code 6 for wrong types.
    pub fn parse(object: &Object<'_>) -> Result<Self, CniError> {
        let strings = |key| -> Result<Vec<String>, CniError> {
            Ok(object.strings(key)?.into_iter().map(str::to_owned).collect())
        };
        Ok(Self {
            nameservers: strings("nameservers")?,
            domain: object.string("domain")?.unwrap_or_default().to_owned(),
            search: strings("search")?,
            options: strings("options")?,
        })
    }

    /// The settings of a `resolv.conf`; lines nobody knows are skipped, as in host-local.
    #[must_use]
    pub fn from_resolv_conf(text: &str) -> Self {
        let mut dns = Self::default();
        for line in text.lines() {
            let mut words = line.split_whitespace().map(str::to_owned);
            match words.next().as_deref() {
                Some("nameserver") => dns.nameservers.extend(words.next()),
                Some("domain") => dns.domain = words.next().unwrap_or_default(),
                Some("search") => dns.search.extend(words),
                Some("options") => dns.options.extend(words),
                _ => {}
            }
        }
        dns
    }

    fn to_json(&self) -> Value {
        let mut object = Map::new();
        let some = |list: &Vec<String>| (!list.is_empty()).then(|| list.clone());
        insert(&mut object, "nameservers", some(&self.nameservers));
        insert(&mut object, "domain", (!self.domain.is_empty()).then(|| self.domain.clone()));
        insert(&mut object, "search", some(&self.search));
        insert(&mut object, "options", some(&self.options));
        Value::Object(object)
    }
}

impl CniResult {
    /// The result as a configuration of `version` expects it.
    #[must_use]
    pub fn to_json(&self, version: SpecVersion) -> Value {
        let mut object = Map::new();
        object.insert("cniVersion".into(), json!(version.as_str()));
        if version < SpecVersion::V0_3_0 {
            for (key, is_v4) in [("ip4", true), ("ip6", false)] {
                let of_family = self.ips.iter().find(|ip| ip.address.addr().is_ipv4() == is_v4);
                insert(&mut object, key, of_family.map(|ip| self.old_json(ip)));
            }
        } else {
            let interfaces: Vec<Value> =
                self.interfaces.iter().map(|link| link.to_json(version)).collect();
            let ips: Vec<Value> = self.ips.iter().map(|ip| ip.to_json(version)).collect();
            object.insert("interfaces".into(), interfaces.into());
            object.insert("ips".into(), ips.into());
            object.insert("routes".into(), routes_json(self.routes.iter()));
        }
        object.insert("dns".into(), self.dns.to_json());
        Value::Object(object)
    }

    /// The one address of a family of versions before 0.3.0, with its routes inside.
    fn old_json(&self, ip: &IpConfig) -> Value {
        let mut object = Map::new();
        object.insert("ip".into(), json!(ip.address.to_string()));
        insert(&mut object, "gateway", ip.gateway.map(|gw| gw.to_string()));
        let is_v4 = ip.address.addr().is_ipv4();
        let of_family = self.routes.iter().filter(|route| route.dst.addr().is_ipv4() == is_v4);
        object.insert("routes".into(), routes_json(of_family));
        Value::Object(object)
    }

    /// Reads a `prevResult` of version 0.3.0 or later; what is no address is left out.
    ///
    /// # Errors
    ///
    /// Code 6 for wrong types.
    pub fn parse(object: &Object<'_>) -> Result<Self, CniError> {
        let interfaces = object.objects("interfaces")?;
        let ips = object.objects("ips")?;
        let routes = object.objects("routes")?;
        Ok(Self {
            interfaces: interfaces.iter().map(Interface::parse).collect::<Result<_, _>>()?,
            ips: ips
                .iter()
                .filter_map(|ip| IpConfig::parse(ip).transpose())
                .collect::<Result<_, _>>()?,
            routes: routes.iter().filter_map(|route| Route::parse(route).ok()).collect(),
            dns: Dns::parse(&object.object_or_empty("dns")?)?,
        })
    }
}

impl Interface {
    fn parse(object: &Object<'_>) -> Result<Self, CniError> {
        let text = |key| object.string(key).map(|text| text.unwrap_or_default().to_owned());
        Ok(Self {
            name: text("name")?,
            mac: text("mac")?,
            mtu: object.number("mtu")?,
            sandbox: text("sandbox")?,
        })
    }

    fn to_json(&self, version: SpecVersion) -> Value {
        let text = |text: &String| (!text.is_empty()).then(|| text.clone());
        let mut object = Map::new();
        object.insert("name".into(), json!(self.name));
        insert(&mut object, "mac", text(&self.mac));
        insert(&mut object, "mtu", self.mtu.filter(|_| version >= SpecVersion::V1_1_0));
        insert(&mut object, "sandbox", text(&self.sandbox));
        Value::Object(object)
    }
}

impl IpConfig {
    /// `None` for what is no address.
    fn parse(object: &Object<'_>) -> Result<Option<Self>, CniError> {
        let address = object.string("address")?.and_then(|text| text.parse().ok());
        let gateway = object.string("gateway")?.and_then(|text| text.parse().ok());
        let interface = object.number("interface")?;
        Ok(address.map(|address| Self { address, gateway, interface }))
    }

    fn to_json(&self, version: SpecVersion) -> Value {
        let mut object = Map::new();
        let family = if self.address.addr().is_ipv4() { "4" } else { "6" };
        insert(&mut object, "version", (version < SpecVersion::V1_0_0).then_some(family));
        object.insert("address".into(), json!(self.address.to_string()));
        insert(&mut object, "gateway", self.gateway.map(|gw| gw.to_string()));
        insert(&mut object, "interface", self.interface);
        Value::Object(object)
    }
}

fn routes_json<'a>(routes: impl Iterator<Item = &'a Route>) -> Value {
    routes.map(Route::to_json).collect::<Vec<_>>().into()
}

fn insert(object: &mut Map<String, Value>, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        object.insert(key.to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests;
