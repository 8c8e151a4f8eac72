//! flannel's `subnet.env`: how the CNI plugin and others learn of the lease.
//!
//! Written byte for byte as flannel writes it. Read with the tolerance of all
//! its readers together: flannel's CNI plugin (split at the first `=`, unknown
//! keys ignored, networks as comma lists) and dotenv (`export`, quotes,
//! blanks, comments).

use std::io;
use std::path::Path;

use ipnet::{Ipv4Net, Ipv6Net};
use thiserror::Error;

use crate::{PodCidr, atomic_file};

/// Everybody may read it, whatever the umask: flannel's mode.
const MODE: u32 = 0o644;

/// The content of a `subnet.env`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SubnetEnv {
    /// `FLANNEL_NETWORK`, a comma list in rare files; duplicates are dropped.
    pub networks: Vec<Ipv4Net>,
    /// `FLANNEL_SUBNET`: the gateway's address, with the prefix length of the lease.
    pub subnet: Option<Ipv4Net>,
    /// `FLANNEL_IPV6_NETWORK`.
    pub ipv6_networks: Vec<Ipv6Net>,
    /// `FLANNEL_IPV6_SUBNET`.
    pub ipv6_subnet: Option<Ipv6Net>,
    /// `FLANNEL_MTU`: of the pods' devices, in bytes.
    pub mtu: Option<u32>,
    /// `FLANNEL_IPMASQ`: whether the agent masquerades, so that the CNI plugin does not.
    pub ip_masq: Option<bool>,
}

/// A line of a `subnet.env` that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: {key} {problem}: restart the agent, which writes the file anew")]
pub struct SubnetEnvError {
    line: usize,
    key: &'static str,
    problem: String,
}

impl SubnetEnv {
    /// What an IPv4 node writes.
    #[must_use]
    pub fn ipv4(network: Ipv4Net, subnet: PodCidr, mtu: u16, ip_masq: bool) -> Self {
        let gateway = Ipv4Net::new(subnet.gateway(), subnet.prefix_len());
        Self {
            networks: vec![network.trunc()],
            subnet: gateway.ok(),
            mtu: Some(mtu.into()),
            ip_masq: Some(ip_masq),
            ..Self::default()
        }
    }

    /// What a node without IPv4 writes, once its IPv6 lines are added.
    #[must_use]
    pub fn without_ipv4(mtu: u16, ip_masq: bool) -> Self {
        Self { mtu: Some(mtu.into()), ip_masq: Some(ip_masq), ..Self::default() }
    }

    /// Adds the lines of a node that has IPv6.
    pub fn add_ipv6(&mut self, network: Ipv6Net, subnet: Ipv6Net) {
        let first = std::net::Ipv6Addr::from_bits(subnet.network().to_bits() | 1);
        self.ipv6_networks = vec![network.trunc()];
        self.ipv6_subnet = Ipv6Net::new(first, subnet.prefix_len()).ok();
    }

    /// flannel's bytes: its order of keys, one line each, no quotes.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        line(&mut text, "FLANNEL_NETWORK", comma_list(&self.networks));
        line(&mut text, "FLANNEL_SUBNET", self.subnet);
        line(&mut text, "FLANNEL_IPV6_NETWORK", comma_list(&self.ipv6_networks));
        line(&mut text, "FLANNEL_IPV6_SUBNET", self.ipv6_subnet);
        line(&mut text, "FLANNEL_MTU", self.mtu);
        line(&mut text, "FLANNEL_IPMASQ", self.ip_masq);
        text
    }

    /// Reads a file's text; keys that are not there are `None` or empty.
    ///
    /// # Errors
    /// [`SubnetEnvError`], naming the line, for a known key whose value cannot be read.
    pub fn parse(text: &str) -> Result<Self, SubnetEnvError> {
        let mut env = Self::default();
        for (index, line) in text.lines().enumerate() {
            env.read_line(line).map_err(|(key, problem)| SubnetEnvError {
                line: index + 1,
                key,
                problem,
            })?;
        }
        Ok(env)
    }

    /// Names of the keys that a CNI plugin cannot do without and that are absent, in flannel's
    /// order: a family's pair counts as absent only if the other family's is absent too.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        let mut missing = Vec::new();
        if self.networks.is_empty() && self.ipv6_networks.is_empty() {
            missing.extend(["FLANNEL_NETWORK", "FLANNEL_IPV6_NETWORK"]);
        }
        if self.subnet.is_none() && self.ipv6_subnet.is_none() {
            missing.extend(["FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET"]);
        }
        if self.mtu.is_none() {
            missing.push("FLANNEL_MTU");
        }
        if self.ip_masq.is_none() {
            missing.push("FLANNEL_IPMASQ");
        }
        missing
    }

    /// The lease that the file speaks of, if it is a usable subnet.
    #[must_use]
    pub fn pod_cidr(&self) -> Option<PodCidr> {
        self.subnet.and_then(|address| PodCidr::around(address).ok())
    }

    /// Puts the file in place, seen whole or not at all, mode 0644.
    ///
    /// # Errors
    /// Whatever the file system says; then the old file is unchanged.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        atomic_file::write(path, self.render().as_bytes(), MODE)
    }

    fn read_line(&mut self, line: &str) -> Result<(), (&'static str, String)> {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        let (key, value) = match line.split_once('=') {
            Some((key, value)) => (key.trim_end(), Some(unquoted(value.trim()))),
            None => (line, None),
        };
        match known_key(key) {
            None => Ok(()),
            Some(key) => {
                let value = value.ok_or((key, "has no value".to_owned()))?;
                self.set(key, value).map_err(|()| (key, format!("has the value {value:?}")))
            }
        }
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), ()> {
        match key {
            "FLANNEL_NETWORK" => self.networks = parse_list(value)?,
            "FLANNEL_SUBNET" => self.subnet = Some(value.parse().map_err(drop)?),
            "FLANNEL_IPV6_NETWORK" => self.ipv6_networks = parse_list(value)?,
            "FLANNEL_IPV6_SUBNET" => self.ipv6_subnet = Some(value.parse().map_err(drop)?),
            "FLANNEL_MTU" => self.mtu = Some(value.parse().map_err(drop)?),
            // The CNI plugin takes nothing but `true` for true.
            _ => self.ip_masq = Some(value == "true"),
        }
        Ok(())
    }
}

/// The subnet that the file at `path` speaks of; `None` if there is no such file or no such line.
///
/// This only says which subnet to ask for again, so any fault counts as "none".
#[must_use]
pub fn previous_subnet(path: &Path) -> Option<PodCidr> {
    SubnetEnv::parse(&std::fs::read_to_string(path).ok()?).ok()?.pod_cidr()
}

const KEYS: [&str; 6] = [
    "FLANNEL_NETWORK",
    "FLANNEL_SUBNET",
    "FLANNEL_IPV6_NETWORK",
    "FLANNEL_IPV6_SUBNET",
    "FLANNEL_MTU",
    "FLANNEL_IPMASQ",
];

fn known_key(key: &str) -> Option<&'static str> {
    KEYS.into_iter().find(|known| *known == key)
}

fn line(text: &mut String, key: &str, value: Option<impl ToString>) {
    if let Some(value) = value {
        text.extend([key, "=", &value.to_string(), "\n"]);
    }
}

fn comma_list<T: ToString>(items: &[T]) -> Option<String> {
    let items: Vec<String> = items.iter().map(ToString::to_string).collect();
    (!items.is_empty()).then(|| items.join(","))
}

fn parse_list<T: std::str::FromStr + PartialEq>(text: &str) -> Result<Vec<T>, ()> {
    let mut items = Vec::new();
    for part in text.split(',') {
        let item = part.trim().parse().map_err(drop)?;
        if !items.contains(&item) {
            items.push(item);
        }
    }
    Ok(items)
}

/// The value without quotes, or without the comment that follows it, as dotenv reads it.
fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        let inner = value.strip_prefix(quote).and_then(|rest| rest.split_once(quote));
        if let Some((inner, _)) = inner {
            return inner;
        }
    }
    value.split(" #").next().unwrap_or(value).trim_end()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use proptest::prelude::*;

    use super::*;

    fn stock() -> SubnetEnv {
        let subnet = "10.244.1.0/24".parse().unwrap();
        SubnetEnv::ipv4("10.244.0.0/16".parse().unwrap(), subnet, 1450, true)
    }

    const STOCK: &str = "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\n\
                         FLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";

    #[test]
    fn the_bytes_are_flannels() {
        assert_eq!(stock().render(), STOCK);
        let both = SubnetEnv {
            ipv6_networks: vec!["2001:cafe:42::/56".parse().unwrap()],
            ipv6_subnet: "2001:cafe:42::1/64".parse().ok(),
            ..stock()
        };
        let lines: Vec<String> = both.render().lines().map(str::to_owned).collect();
        assert_eq!(lines[2], "FLANNEL_IPV6_NETWORK=2001:cafe:42::/56");
        assert_eq!(lines[3], "FLANNEL_IPV6_SUBNET=2001:cafe:42::1/64");
        assert_eq!((lines.len(), lines[4].as_str()), (6, "FLANNEL_MTU=1450"));
    }

    #[test]
    fn everything_any_reader_tolerates_is_tolerated() {
        let text = "# by hand\n\nexport FLANNEL_NETWORK = '10.244.0.0/16,10.244.0.0/16'\r\n\
                    FLANNEL_SUBNET=\"10.244.1.1/24\" # the lease\nSOMETHING=else\njunk\n\
                    FLANNEL_MTU=1450 # bytes\nFLANNEL_IPMASQ=true\n";
        assert_eq!(SubnetEnv::parse(text), Ok(stock()));
    }

    #[test]
    fn only_true_is_true() {
        for text in ["TRUE", "1", "yes", ""] {
            let env = SubnetEnv::parse(&format!("FLANNEL_IPMASQ={text}")).unwrap();
            assert_eq!(env.ip_masq, Some(false));
        }
    }

    #[test]
    fn a_known_key_without_a_usable_value_is_an_error_with_its_line() {
        let error = SubnetEnv::parse("A=1\nFLANNEL_MTU=many").unwrap_err().to_string();
        let rest = "restart the agent, which writes the file anew";
        assert_eq!(error, format!("line 2: FLANNEL_MTU has the value \"many\": {rest}"));
        let error = SubnetEnv::parse("FLANNEL_SUBNET").unwrap_err().to_string();
        assert_eq!(error, format!("line 1: FLANNEL_SUBNET has no value: {rest}"));
    }

    #[test]
    fn what_is_missing_is_listed_in_flannels_order() {
        let env = SubnetEnv::parse("FLANNEL_IPV6_NETWORK=2001:db8::/56\n").unwrap();
        let wanted = ["FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET", "FLANNEL_MTU", "FLANNEL_IPMASQ"];
        assert_eq!(env.missing(), wanted);
        assert!(stock().missing().is_empty());
    }

    #[test]
    fn the_written_file_names_the_previous_subnet_and_is_readable_by_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/flannel/subnet.env");
        assert_eq!(previous_subnet(&path), None);
        stock().write(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), STOCK);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(previous_subnet(&path), "10.244.1.0/24".parse().ok());
    }

    proptest! {
        #[test]
        fn rendering_and_parsing_is_the_identity(
            bits: u32, len in 8_u8..=30, mtu: u16, ip_masq: bool,
        ) {
            let net = Ipv4Net::new(bits.into(), len).unwrap();
            let env = SubnetEnv::ipv4(net, PodCidr::around(net).unwrap(), mtu, ip_masq);
            prop_assert_eq!(SubnetEnv::parse(&env.render()), Ok(env));
        }

        #[test]
        fn noise_never_panics(text in "(FLANNEL_(NETWORK|SUBNET|MTU)=?[0-9./,'\"]{0,20}\n?){0,4}") {
            drop(SubnetEnv::parse(&text));
        }
    }
}
