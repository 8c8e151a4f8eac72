//! The conditions in an entry's fixed part: addresses, devices, protocol.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use tartan_core::netfilter::model::{Family, Match};

use super::bytes::{array, put, u8_at, u16_at};
use super::layout::{DEVICE_NAME, Layout, inversion};

/// One of the two addresses, or of the two devices.
#[derive(Debug, Clone, Copy)]
enum Side {
    First,
    Second,
}

/// What an entry's fixed part asks for.
pub(super) fn decode(layout: &Layout, bytes: &[u8]) -> Vec<Match> {
    let inverted = u8_at(bytes, layout.inversions).unwrap_or_default();
    let mut matches = Vec::new();
    matches.extend(address(layout, bytes, Side::First, inverted & inversion::SOURCE != 0));
    matches.extend(address(layout, bytes, Side::Second, inverted & inversion::DESTINATION != 0));
    matches.extend(device(layout, bytes, Side::First, inverted & inversion::IN_DEVICE != 0));
    matches.extend(device(layout, bytes, Side::Second, inverted & inversion::OUT_DEVICE != 0));
    matches.extend(protocol(layout, bytes, inverted & inversion::PROTOCOL != 0));
    matches.extend(flags(layout, bytes, inverted));
    matches
}

fn not(negated: bool) -> &'static str {
    if negated { "! " } else { "" }
}

fn ip_at(layout: &Layout, bytes: &[u8], index: usize) -> IpAddr {
    let at = index * layout.address;
    if layout.family == Family::Ip {
        Ipv4Addr::from(array::<4>(bytes, at).unwrap_or_default()).into()
    } else {
        Ipv6Addr::from(array::<16>(bytes, at).unwrap_or_default()).into()
    }
}

fn address(layout: &Layout, bytes: &[u8], side: Side, negated: bool) -> Option<Match> {
    let (index, letter) = match side {
        Side::First => (0, 's'),
        Side::Second => (1, 'd'),
    };
    let (address, mask) = (ip_at(layout, bytes, index), ip_at(layout, bytes, index + 2));
    if address.is_unspecified() && mask.is_unspecified() && !negated {
        return None;
    }
    let net = IpNet::with_netmask(address, mask).ok().filter(|net| net.trunc() == *net);
    Some(match (net, side) {
        (Some(net), Side::First) => Match::Source { net, negated },
        (Some(net), Side::Second) => Match::Destination { net, negated },
        (None, _) => Match::Other(format!("{}-{letter} {address}/{mask}", not(negated))),
    })
}

fn device(layout: &Layout, bytes: &[u8], side: Side, negated: bool) -> Option<Match> {
    let (index, letter) = match side {
        Side::First => (0, 'i'),
        Side::Second => (1, 'o'),
    };
    let field = |index: usize| {
        array::<DEVICE_NAME>(bytes, layout.devices + index * DEVICE_NAME).unwrap_or_default()
    };
    let (name, mask) = (field(index), field(index + 2));
    if mask == [0; DEVICE_NAME] && !negated {
        return None;
    }
    Some(match (device_name(name, mask), side) {
        (Some(name), Side::First) => Match::InDevice { name, negated },
        (Some(name), Side::Second) => Match::OutDevice { name, negated },
        (None, _) => Match::Other(format!("{}-{letter} {name:02x?}/{mask:02x?}", not(negated))),
    })
}

/// A name under a mask, where `iptables` could say it.
fn device_name(name: [u8; DEVICE_NAME], mask: [u8; DEVICE_NAME]) -> Option<String> {
    let length = mask.iter().take_while(|byte| **byte == 0xff).count();
    if mask.iter().skip(length).any(|byte| *byte != 0) {
        return None;
    }
    let name = std::str::from_utf8(name.get(..length)?).ok()?;
    match name.strip_suffix('\0') {
        Some(whole) if !whole.is_empty() && !whole.contains('\0') && !whole.ends_with('+') => {
            Some(whole.to_owned())
        }
        None if !name.contains('\0') && length < DEVICE_NAME => Some(format!("{name}+")),
        Some(_) | None => None,
    }
}

fn protocol(layout: &Layout, bytes: &[u8], negated: bool) -> Option<Match> {
    let number = u16_at(bytes, layout.protocol).unwrap_or_default();
    let flags = u8_at(bytes, layout.flags).unwrap_or_default();
    let looked_at = match layout.with_protocol {
        0 => number != 0,
        flag => flags & flag != 0,
    };
    if !looked_at {
        return None;
    }
    Some(match u8::try_from(number) {
        Ok(number) if !negated => Match::Protocol(number),
        Ok(number) => Match::Other(format!("! {}", Match::Protocol(number))),
        Err(_) => Match::Other(format!("{}-p {number}", not(negated))),
    })
}

/// Flags that are none of the above: fragments, the traffic class, what later kernels add, and
/// inversions of nothing.
fn flags(layout: &Layout, bytes: &[u8], inverted: u8) -> Vec<Match> {
    let flags = u8_at(bytes, layout.flags).unwrap_or_default();
    let mut rest = flags & !(layout.goto | layout.with_protocol);
    let mut inverted = inverted & !inversion::EXPLAINED;
    let mut matches = Vec::new();
    let mut take = |flag: u8, inversion: u8, text: &str| {
        if rest & flag != 0 {
            matches.push(Match::Other(format!("{}{text}", not(inverted & inversion != 0))));
            (rest, inverted) = (rest & !flag, inverted & !inversion);
        }
    };
    match layout.traffic_class.and_then(|at| u8_at(bytes, at)) {
        Some(class) => take(0x02, inversion::TYPE_OF_SERVICE, &format!("--tos {class:#x}")),
        None => take(0x01, inversion::FRAGMENT, "-f"),
    }
    if rest != 0 || inverted != 0 {
        matches.push(Match::Other(format!("flags {rest:#x}, inverted {inverted:#x}")));
    }
    matches
}

/// Writes a condition into an entry's fixed part; what is wrong with it otherwise.
pub(super) fn encode(layout: &Layout, bytes: &mut [u8], one: &Match) -> Result<(), String> {
    match one {
        Match::Source { net, negated } => {
            invert(layout, bytes, inversion::SOURCE, *negated);
            put_address(layout, bytes, Side::First, *net)
        }
        Match::Destination { net, negated } => {
            invert(layout, bytes, inversion::DESTINATION, *negated);
            put_address(layout, bytes, Side::Second, *net)
        }
        Match::InDevice { name, negated } => {
            invert(layout, bytes, inversion::IN_DEVICE, *negated);
            put_device(layout, bytes, Side::First, name)
        }
        Match::OutDevice { name, negated } => {
            invert(layout, bytes, inversion::OUT_DEVICE, *negated);
            put_device(layout, bytes, Side::Second, name)
        }
        Match::Protocol(number) => put_protocol(layout, bytes, *number),
        Match::Mark { .. }
        | Match::DestinationPort(_)
        | Match::DestinationTranslated
        | Match::ConntrackInvalid
        | Match::TcpFlagsAny(_)
        | Match::DestinationIn(_)
        | Match::Other(_) => Err("it is no part of the header".into()),
    }
}

fn invert(layout: &Layout, bytes: &mut [u8], bit: u8, negated: bool) {
    if negated {
        set(bytes, layout.inversions, bit);
    }
}

fn set(bytes: &mut [u8], at: usize, bit: u8) {
    let old = u8_at(bytes, at).unwrap_or_default();
    put(bytes, at, &[old | bit]);
}

fn put_address(layout: &Layout, bytes: &mut [u8], side: Side, net: IpNet) -> Result<(), String> {
    let at = layout.address * usize::from(matches!(side, Side::Second));
    let mut write = |address: &[u8], mask: &[u8]| {
        put(bytes, at, address);
        put(bytes, at + 2 * layout.address, mask);
    };
    match (layout.family, net) {
        (Family::Ip, IpNet::V4(net)) => write(&net.network().octets(), &net.netmask().octets()),
        (Family::Ip6, IpNet::V6(net)) => write(&net.network().octets(), &net.netmask().octets()),
        (family, _) => return Err(format!("{net} is no network of the family {family}")),
    }
    Ok(())
}

fn put_device(layout: &Layout, bytes: &mut [u8], side: Side, name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() >= DEVICE_NAME || name.contains(['\0', '/', ' ']) {
        return Err(format!("{name:?} is no name of a device"));
    }
    let at = layout.devices + DEVICE_NAME * usize::from(matches!(side, Side::Second));
    put(bytes, at, name.as_bytes());
    // With the closing zero, unless anything may follow.
    let compared = if name.ends_with('+') { name.len() - 1 } else { name.len() + 1 };
    put(bytes, at + 2 * DEVICE_NAME, &vec![0xff; compared]);
    Ok(())
}

fn put_protocol(layout: &Layout, bytes: &mut [u8], number: u8) -> Result<(), String> {
    if number == 0 {
        return Err("protocol 0 stands for any".into());
    }
    put(bytes, layout.protocol, &u16::from(number).to_ne_bytes());
    set(bytes, layout.flags, layout.with_protocol);
    Ok(())
}
