//! Names and addresses of a veth that follow from whom it belongs to.
//!
//! Because they follow from the attachment alone, DEL finds a host veth and
//! its pins when the container, its namespace and every other trace are gone,
//! and recognises a stranger's interface of the same name by its MAC address.

use tartan_common::Mac;

use crate::environment::Attachment;

/// How many names an attachment tries before it gives up.
const CANDIDATES: u64 = 3;

/// What an attachment's interfaces are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity(u64);

impl Identity {
    /// The identity of an attachment in a network.
    #[must_use]
    pub fn new(network: &str, attachment: &Attachment) -> Self {
        let Attachment { container_id, ifname } = attachment;
        // A byte that none of the parts can hold keeps ("a", "bc") and ("ab", "c") apart.
        Self(fnv1a([network, container_id, ifname].join("\0").as_bytes()))
    }

    /// Names for the host's end, the first free of which is taken: `veth` and 8 hex digits.
    pub fn host_names(self) -> impl Iterator<Item = String> {
        (0..CANDIDATES).map(move |n| format!("veth{:08x}", mix(self.0 ^ n) & 0xffff_ffff))
    }

    /// The MAC address of the host's end.
    #[must_use]
    pub fn host_mac(self) -> Mac {
        self.mac(0x0068_6f73_7400)
    }

    /// The MAC address of the container's end, unless one was asked for.
    #[must_use]
    pub fn pod_mac(self) -> Mac {
        self.mac(0x0070_6f64_0000)
    }

    fn mac(self, purpose: u64) -> Mac {
        let bytes = mix(self.0 ^ purpose).to_be_bytes();
        let [random @ .., _, _] = bytes;
        Mac::local(random)
    }
}

/// FNV-1a of 64 bits: never changes with a compiler or a library.
fn fnv1a(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// The finalizer of SplitMix64: spreads every bit over all others.
fn mix(seed: u64) -> u64 {
    let a = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let b = (a ^ (a >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let c = (b ^ (b >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    c ^ (c >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn identity(id: &str) -> Identity {
        let attachment = Attachment { container_id: id.into(), ifname: "eth0".into() };
        Identity::new("cbr0", &attachment)
    }

    #[test]
    fn names_never_change_between_releases() {
        let names: Vec<String> = identity("c1").host_names().collect();
        assert_eq!(names, ["veth58dfa2e3", "veth5c7e43ee", "vethde609460"]);
        assert_eq!(identity("c1").host_mac().to_string(), "a2:d7:c6:6d:23:f3");
    }

    #[test]
    fn ten_thousand_attachments_share_no_mac() {
        let macs: HashSet<[u8; 6]> = (0..10_000)
            .flat_map(|n| {
                let identity = identity(&n.to_string());
                [identity.host_mac().0, identity.pod_mac().0]
            })
            .collect();
        assert_eq!(macs.len(), 20_000);
        assert!(macs.iter().all(|mac| mac[0] & 3 >= 2));
    }

    #[test]
    fn names_fit_the_kernel() {
        assert!(identity("x").host_names().all(|name| name.len() == 12));
    }
}
