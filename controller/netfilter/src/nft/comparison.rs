//! A comparison of nf_tables as a condition of the model.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use tartan_core::netfilter::model::{Family, Match};

use super::registers::Value;
use super::text;
use super::uapi::expression::{
    EQUAL, META_IIFNAME, META_L4PROTO, META_MARK, META_OIFNAME, NETWORK_HEADER, STATE_INVALID,
    STATUS_DNAT, TRANSPORT_HEADER, UNEQUAL,
};

const TCP: u8 = 6;
/// Where TCP's header has its flags.
pub(super) const TCP_FLAGS: u32 = 13;
/// Transports whose header begins with two ports: TCP, UDP, DCCP, SCTP, UDP-Lite.
const WITH_PORTS: [u8; 5] = [6, 17, 33, 132, 136];

/// What is known of the packet where a comparison stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surroundings<'a> {
    /// The network protocol: [`Family::Ip`], [`Family::Ip6`] or `None`.
    pub(super) network: Option<Family>,
    /// The conditions before it.
    pub(super) matches: &'a [Match],
}

/// The condition that `left` stands in relation `operator` (`enum nft_cmp_ops`) to `right`.
pub(super) fn condition(near: Surroundings, left: &Value, operator: u32, right: &[u8]) -> Match {
    let negated = operator == UNEQUAL;
    let modelled =
        if operator == EQUAL || negated { equality(near, left, negated, right) } else { None };
    modelled.unwrap_or_else(|| Match::Other(text::comparison(left, operator, right)))
}

fn equality(near: Surroundings, left: &Value, negated: bool, right: &[u8]) -> Option<Match> {
    match (left.source(), left.mask()) {
        (Value::Payload { base: NETWORK_HEADER, offset: 9, len: 1 }, None)
            if near.network == Some(Family::Ip) =>
        {
            protocol(right, negated)
        }
        (Value::Payload { base: NETWORK_HEADER, offset, len }, mask) => {
            let enough = right.len() <= usize::try_from(*len).ok()?;
            enough.then(|| address(near.network?, *offset, mask, right, negated))?
        }
        (Value::Payload { base: TRANSPORT_HEADER, offset: 2, len: 2 }, None) if !negated => {
            let port = u16::from_be_bytes(right.try_into().ok()?);
            has_ports(near.matches).then_some(Match::DestinationPort(port))
        }
        (Value::Meta(META_L4PROTO), None) => protocol(right, negated),
        (Value::Meta(META_IIFNAME), None) => {
            Some(Match::InDevice { name: device(right)?, negated })
        }
        (Value::Meta(META_OIFNAME), None) => {
            Some(Match::OutDevice { name: device(right)?, negated })
        }
        (Value::Meta(META_MARK), mask) => {
            let mask = mask.map_or(Some(u32::MAX), native)?;
            Some(Match::Mark { value: native(right)?, mask, negated })
        }
        (Value::Payload { base: TRANSPORT_HEADER, offset: TCP_FLAGS, len: 1 }, Some([mask]))
            if negated && right == [0] && is_tcp(near.matches) =>
        {
            Some(Match::TcpFlagsAny(*mask))
        }
        (source, Some(mask)) if source.is_state() => {
            let invalid = negated && native(mask)? == STATE_INVALID && native(right)? == 0;
            invalid.then_some(Match::ConntrackInvalid)
        }
        (source, Some(mask)) if source.is_status() => {
            translated(native(mask)?, native(right)?, negated)
        }
        _ => None,
    }
}

fn protocol(right: &[u8], negated: bool) -> Option<Match> {
    match right {
        [number] if negated => Some(Match::Other(format!("! {}", Match::Protocol(*number)))),
        [number] => Some(Match::Protocol(*number)),
        _ => None,
    }
}

/// `ct status & dnat != 0`, or `== dnat`.
fn translated(mask: u32, right: u32, negated: bool) -> Option<Match> {
    let set = (mask, right, negated);
    (set == (STATUS_DNAT, 0, true) || set == (STATUS_DNAT, STATUS_DNAT, false))
        .then_some(Match::DestinationTranslated)
}

/// A source or destination network; the comparison may look at its first bytes only.
fn address(
    family: Family,
    offset: u32,
    mask: Option<&[u8]>,
    right: &[u8],
    negated: bool,
) -> Option<Match> {
    let (width, source, destination) = match family {
        Family::Ip => (4, 12, 16),
        Family::Ip6 => (16, 8, 24),
        Family::Inet | Family::Arp | Family::Bridge | Family::Netdev | Family::Other(_) => {
            return None;
        }
    };
    if right.is_empty() || right.len() > width || mask.is_some_and(|it| it.len() != right.len()) {
        return None;
    }
    let prefix = match mask {
        Some(mask) => prefix_length(mask)?,
        None => u8::try_from(right.len() * 8).ok()?,
    };
    let net = network(width, right, prefix)?;
    match offset {
        at if at == source => Some(Match::Source { net, negated }),
        at if at == destination => Some(Match::Destination { net, negated }),
        _ => None,
    }
}

/// `None` when host bits are set: such a comparison never holds.
fn network(width: usize, bytes: &[u8], prefix: u8) -> Option<IpNet> {
    let mut whole = [0; 16];
    whole[..bytes.len()].copy_from_slice(bytes);
    let address = match width {
        4 => IpAddr::from(Ipv4Addr::from(*whole.first_chunk::<4>()?)),
        _ => IpAddr::from(Ipv6Addr::from(whole)),
    };
    let net = IpNet::new(address, prefix).ok()?;
    (net.trunc() == net).then_some(net)
}

/// `None` for a mask with a hole.
fn prefix_length(mask: &[u8]) -> Option<u8> {
    let ones: u32 = mask.iter().map(|byte| byte.count_ones()).sum();
    let leading = mask.iter().take_while(|byte| **byte == 0xff).count() * 8
        + mask
            .iter()
            .find(|byte| **byte != 0xff)
            .map_or(0, |byte| usize::try_from(byte.leading_ones()).unwrap_or(0));
    (usize::try_from(ones).ok()? == leading).then(|| u8::try_from(leading).ok())?
}

/// A device's name as compared: without its end mark it is the beginning of a name.
fn device(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|byte| *byte == 0);
    let name = std::str::from_utf8(&bytes[..end.unwrap_or(bytes.len())]).ok()?;
    let whole = end.is_some();
    if name.is_empty() || (whole && name.ends_with('+')) {
        return None;
    }
    Some(if whole { name.to_owned() } else { format!("{name}+") })
}

/// Marks and status bits are in the host's order.
fn native(bytes: &[u8]) -> Option<u32> {
    bytes.try_into().ok().map(u32::from_ne_bytes)
}

pub(super) fn is_tcp(matches: &[Match]) -> bool {
    matches.contains(&Match::Protocol(TCP))
}

pub(super) fn has_ports(matches: &[Match]) -> bool {
    matches.iter().any(|one| matches!(one, Match::Protocol(it) if WITH_PORTS.contains(it)))
}
