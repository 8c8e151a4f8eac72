//! The few kernel settings that the data path depends on.

use std::fs;

use super::Host;

const DEFAULT_TTL: u8 = 64;
const DEFAULT_PORTS: (u16, u16) = (32_768, 60_999);

impl Host {
    /// `net.ipv4.ip_default_ttl`.
    #[must_use]
    pub fn default_ttl() -> u8 {
        read("net/ipv4/ip_default_ttl").and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_TTL)
    }

    /// `net.ipv6.conf.default.hop_limit`.
    #[must_use]
    pub fn default_hop_limit() -> u8 {
        let text = read("net/ipv6/conf/default/hop_limit");
        text.and_then(|text| text.parse().ok()).unwrap_or(DEFAULT_TTL)
    }

    /// `net.ipv6.conf.LINK.accept_ra`; `None` without IPv6.
    pub(super) fn accept_ra(link: &str) -> Option<u8> {
        // A link's name may have a dot, a path's part may not have a slash.
        read(&format!("net/ipv6/conf/{link}/accept_ra"))?.parse().ok()
    }

    /// `net.ipv4.ip_local_port_range`: the kernel draws outer source ports from it.
    #[must_use]
    pub fn port_range() -> (u16, u16) {
        let parse = |text: String| {
            let mut numbers = text.split_whitespace().map(str::parse);
            Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
        };
        read("net/ipv4/ip_local_port_range").and_then(parse).unwrap_or(DEFAULT_PORTS)
    }

    /// Lets conntrack accept TCP packets outside the window that it knows:
    /// in `after-accept` it does not see all of a flow, and kube-proxy drops
    /// what it calls INVALID. Says why not, if it could not.
    ///
    /// # Errors
    /// What the file system said.
    pub fn let_conntrack_be_liberal() -> Result<(), String> {
        const KEY: &str = "net/netfilter/nf_conntrack_tcp_be_liberal";
        match read(KEY).as_deref() {
            // No conntrack in this kernel or namespace: nothing to be liberal.
            None | Some("1") => Ok(()),
            Some(_) => fs::write(format!("/proc/sys/{KEY}"), "1").map_err(|error| {
                let key = KEY.replace('/', ".");
                format!("cannot set {key}: {error}; the CNI plugin does with the first pod, or set it on the host")
            }),
        }
    }
}

fn read(key: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/sys/{key}")).ok()?;
    Some(text.trim().to_owned())
}
