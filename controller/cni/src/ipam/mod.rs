//! host-local address management, on disk exactly as the reference plugin,
//! so that both may work in one directory, even at the same time.
//!
//! | In the directory | Is |
//! |---|---|
//! | `lock` | held by flock while anything is written |
//! | `<address>` | `<container id>` CR LF `<interface>`; older ones hold the id alone |
//! | `last_reserved_ip.0`, `.1` | where the round robin of IPv4, of IPv6 stands |
//!
//! Better than the reference in two ways: a reservation appears with its
//! content or not at all (a temporary file and link(2)), and an empty file,
//! which only a crash leaves behind, counts as free.

mod dir;
mod range;

pub use dir::{Locked, Owner, Reservation, Reservations};
pub use range::Range;

use std::net::IpAddr;

use crate::environment::Attachment;

/// Why no address was reserved or released.
#[derive(Debug, thiserror::Error)]
pub enum IpamError {
    /// The subnet is too small to hold a gateway and a pod.
    #[error("invalid range set 0: Network {0} too small to allocate from")]
    TooSmall(ipnet::IpNet),
    /// The attachment has an address already.
    #[error(
        "failed to allocate for range 0: {ip} has been allocated to {container_id}, duplicate allocation is not allowed"
    )]
    Duplicate {
        /// The address it has.
        ip: IpAddr,
        /// The container.
        container_id: String,
    },
    /// The requested address is the pods' next hop.
    #[error("failed to allocate for range 0: requested ip {0} is subnet's gateway")]
    Gateway(IpAddr),
    /// The requested address belongs to somebody.
    #[error(
        "failed to allocate for range 0: requested IP address {ip} is not available in range set {range}"
    )]
    Taken {
        /// The address asked for.
        ip: IpAddr,
        /// The node's addresses.
        range: Range,
    },
    /// Requested addresses that this node cannot give.
    #[error("failed to allocate all requested IPs: {}", join(.0))]
    Unmatched(Vec<IpAddr>),
    /// Every address is taken.
    #[error("failed to allocate for range 0: no IP addresses available in range set: {0}")]
    Exhausted(Range),
    /// The directory could not be used.
    #[error("{action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: String,
        /// What the kernel said.
        source: std::io::Error,
    },
}

impl IpamError {
    /// What an operator can do about it.
    #[must_use]
    pub const fn hint(&self) -> &'static str {
        match self {
            Self::TooSmall(_) => "give the node a subnet of /30 or larger (SubnetLen in net-conf)",
            Self::Duplicate { .. } => {
                "the runtime must DEL this attachment before it ADDs it again"
            }
            Self::Gateway(_) | Self::Taken { .. } => "ask for a free address of the node's subnet",
            Self::Unmatched(_) => "ask for one address of this node's subnet, or for none",
            Self::Exhausted(_) => {
                "remove pods from the node or lease it a larger subnet; files named as addresses in the network's directory below /var/lib/cni/networks are the reservations"
            }
            Self::Io { .. } => "make the directory writable for the plugin and check the disk",
        }
    }
}

fn join(ips: &[IpAddr]) -> String {
    ips.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Reserves one address for an attachment: a requested one, or the next in turn.
///
/// # Errors
///
/// [`IpamError`]; nothing is reserved then.
pub fn reserve(
    store: &Locked,
    range: Range,
    attachment: &Attachment,
    requested: &[IpAddr],
) -> Result<IpAddr, IpamError> {
    let wanted = requested_one(range, requested)?;
    let taken = store.reservations()?;
    refuse_duplicate(range, attachment, &taken)?;
    let draft = store.draft(attachment)?;
    let ip = match wanted {
        Some(ip) if draft.publish(ip)? => ip,
        Some(ip) => return Err(IpamError::Taken { ip, range }),
        None => next_free(range, store.last_reserved(range), &taken, |ip| draft.publish(ip))?
            .ok_or(IpamError::Exhausted(range))?,
    };
    // Only a hint for the next turn: an address is not worth losing for it.
    let _ = store.set_last_reserved(range, ip);
    Ok(ip)
}

/// The one address asked for; asking for more, or for a stranger's, is an error.
fn requested_one(range: Range, requested: &[IpAddr]) -> Result<Option<IpAddr>, IpamError> {
    let mut matched = None;
    let mut unmatched = Vec::new();
    for ip in requested {
        if *ip == range.gateway() {
            return Err(IpamError::Gateway(*ip));
        }
        if range.contains(*ip) && matched.is_none_or(|other| other == *ip) {
            matched = Some(*ip);
        } else {
            unmatched.push(*ip);
        }
    }
    if unmatched.is_empty() { Ok(matched) } else { Err(IpamError::Unmatched(unmatched)) }
}

fn refuse_duplicate(
    range: Range,
    attachment: &Attachment,
    taken: &Reservations,
) -> Result<(), IpamError> {
    let own = taken.of(attachment).find(|ip| range.contains(*ip));
    own.map_or(Ok(()), |ip| {
        Err(IpamError::Duplicate { ip, container_id: attachment.container_id.clone() })
    })
}

/// The first address after `last` that is not known as taken and that `claim` gets.
fn next_free(
    range: Range,
    last: Option<IpAddr>,
    taken: &Reservations,
    mut claim: impl FnMut(IpAddr) -> Result<bool, IpamError>,
) -> Result<Option<IpAddr>, IpamError> {
    for ip in range.after(last).filter(|ip| !taken.holds(*ip)) {
        if claim(ip)? {
            return Ok(Some(ip));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests;
