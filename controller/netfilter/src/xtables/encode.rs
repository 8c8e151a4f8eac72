//! A rule as an entry of the kernel. What cannot be written is refused, with its reason.

use tartan_core::netfilter::model::{Action, Match, Rule};

use super::blob::{Entry, Lead};
use super::bytes::put;
use super::decode::{masquerade_flags, masquerade_places};
use super::extension::{self, COMMENT};
use super::header;
use super::layout::{
    CHAIN_NAME, ERROR, ERROR_TARGET, EXTENSION, EXTENSION_NAME_LENGTH, Layout, verdict,
};
use crate::NetfilterError;

/// Protocols with ports: TCP, UDP, DCCP, SCTP.
const WITH_PORTS: [u8; 4] = [6, 17, 33, 132];

/// The error of what cannot be written.
pub(super) fn unwritable(what: String, why: impl Into<String>) -> NetfilterError {
    NetfilterError::Unwritable { what, why: why.into() }
}

/// A rule.
pub(super) fn rule(layout: &Layout, rule: &Rule) -> Result<Entry, NetfilterError> {
    try_rule(layout, rule).map_err(|why| unwritable(format!("write the rule `{rule}`"), why))
}

fn try_rule(layout: &Layout, rule: &Rule) -> Result<Entry, String> {
    let mut fixed = vec![0; layout.entry];
    let mut matches = Vec::new();
    let mut protocol = None;
    for one in &rule.matches {
        if let Some(bytes) = beyond_header(one, protocol)? {
            matches.extend(bytes);
            continue;
        }
        check_once(one, &rule.matches)?;
        header::encode(layout, &mut fixed, one)?;
        if let Match::Protocol(number) = one {
            protocol = Some(*number);
        }
    }
    matches.extend(comment(&rule.comment)?);
    let (target, lead) = target(layout, &rule.action, protocol)?;
    if matches!(rule.action, Action::Goto(_)) {
        let flags = fixed.get(layout.flags).copied().unwrap_or_default() | layout.goto;
        put(&mut fixed, layout.flags, &[flags]);
    }
    entry(layout, fixed, &matches, &target, lead)
}

fn check_once(one: &Match, all: &[Match]) -> Result<(), String> {
    let kind = std::mem::discriminant(one);
    if all.iter().filter(|other| std::mem::discriminant(*other) == kind).count() > 1 {
        return Err(format!("`{one}` is not the only one of its kind"));
    }
    Ok(())
}

/// A match of its own; nothing for a part of the header.
fn beyond_header(one: &Match, protocol: Option<u8>) -> Result<Option<Vec<u8>>, String> {
    match one {
        Match::Mark { value, mask, negated } => {
            Ok(Some(extension::encode_mark(*value, *mask, *negated)))
        }
        Match::DestinationPort(port) => protocol
            .and_then(|protocol| extension::encode_port(protocol, *port))
            .map(Some)
            .ok_or_else(|| "a port stands behind the protocol TCP or UDP".into()),
        Match::DestinationTranslated => Ok(Some(extension::encode_translated())),
        Match::DestinationIn(set) => Err(format!("xtables have no set {set} of their own")),
        Match::ConntrackInvalid | Match::TcpFlagsAny(_) => {
            Err(format!("`{one}` is written for nf_tables alone"))
        }
        Match::Other(text) => Err(format!("`{text}` was only read, not understood")),
        Match::Source { .. }
        | Match::Destination { .. }
        | Match::InDevice { .. }
        | Match::OutDevice { .. }
        | Match::Protocol(_) => Ok(None),
    }
}

fn comment(text: &str) -> Result<Vec<u8>, String> {
    if text.len() >= COMMENT || text.contains(['\0', '\n']) {
        return Err(format!("its comment is not one line of at most {} bytes", COMMENT - 1));
    }
    Ok(if text.is_empty() { Vec::new() } else { extension::encode_comment(text) })
}

fn target(
    layout: &Layout,
    action: &Action,
    protocol: Option<u8>,
) -> Result<(Vec<u8>, Lead), String> {
    let lead = match action {
        Action::Continue => Lead::Next,
        Action::Accept => Lead::Verdict(verdict::ACCEPT),
        Action::Drop => Lead::Verdict(verdict::DROP),
        Action::Return => Lead::Verdict(verdict::RETURN),
        Action::Jump(chain) | Action::Goto(chain) => Lead::Chain(chain.clone()),
        Action::Masquerade { random_fully, ports } => {
            let target = masquerade(layout, *random_fully, *ports, protocol)?;
            return Ok((target, Lead::Target));
        }
        Action::NoTrack => return Err("xtables let go of nothing behind conntrack".into()),
        Action::Other(text) => return Err(format!("`{text}` was only read, not understood")),
    };
    Ok((standard(&lead), lead))
}

fn standard(lead: &Lead) -> Vec<u8> {
    let number = match lead {
        Lead::Verdict(number) => *number,
        // Known when all entries have their places.
        Lead::Target | Lead::Next | Lead::Chain(_) => 0,
    };
    extension::encode("", 0, &number.to_ne_bytes())
}

fn masquerade(
    layout: &Layout,
    random_fully: bool,
    ports: Option<(u16, u16)>,
    protocol: Option<u8>,
) -> Result<Vec<u8>, String> {
    let (flags_at, ports_at) = masquerade_places(layout);
    let mut data = vec![0; ports_at + 4];
    if flags_at != 0 {
        put(&mut data, 0, &1_u32.to_ne_bytes());
    }
    put(&mut data, flags_at, &masquerade_flags(random_fully, ports.is_some()).to_ne_bytes());
    if let Some((first, last)) = ports {
        if !protocol.is_some_and(|protocol| WITH_PORTS.contains(&protocol)) || first > last {
            return Err("its ports need a protocol that has ports, and ascend".into());
        }
        put(&mut data, ports_at, &first.to_be_bytes());
        put(&mut data, ports_at + 2, &last.to_be_bytes());
    }
    Ok(extension::encode("MASQUERADE", 0, &data))
}

/// An entry out of its parts.
fn entry(
    layout: &Layout,
    mut bytes: Vec<u8>,
    matches: &[u8],
    target: &[u8],
    lead: Lead,
) -> Result<Entry, String> {
    let target_at = bytes.len() + matches.len();
    let offset = |at: usize| u16::try_from(at).map_err(|_| String::from("it is too long"));
    put(&mut bytes, layout.target, &offset(target_at)?.to_ne_bytes());
    put(&mut bytes, layout.next, &offset(target_at + target.len())?.to_ne_bytes());
    bytes.extend_from_slice(matches);
    bytes.extend_from_slice(target);
    Ok(Entry { bytes, lead, origin: None })
}

/// What a new user chain begins with, and what it ends with.
pub(super) fn chain_ends(layout: &Layout, name: &str) -> Result<(Entry, Entry), NetfilterError> {
    check_chain_name(name)?;
    let mut text = vec![0; ERROR_TARGET - EXTENSION];
    put(&mut text, 0, name.as_bytes());
    let head = extension::encode(ERROR, 0, &text);
    let back = Lead::Verdict(verdict::RETURN);
    let make = |target: &[u8], lead: Lead| {
        let made = entry(layout, vec![0; layout.entry], &[], target, lead);
        made.map_err(|why| unwritable(format!("write chain {name}"), why))
    };
    Ok((make(&head, Lead::Target)?, make(&standard(&back), back)?))
}

/// Refuses what `iptables` would not take as a chain's name.
pub(super) fn check_chain_name(name: &str) -> Result<(), NetfilterError> {
    let odd = |letter: char| letter.is_whitespace() || letter.is_control();
    let reserved = ["ACCEPT", "DROP", "RETURN", "QUEUE", ERROR].contains(&name);
    if name.is_empty()
        || name.len() >= EXTENSION_NAME_LENGTH.min(CHAIN_NAME)
        || name.starts_with(['-', '!'])
        || name.contains(odd)
        || reserved
    {
        let limit = EXTENSION_NAME_LENGTH - 1;
        let why = format!("a name has at most {limit} characters, none of them a blank");
        return Err(unwritable(format!("call a chain {name:?}"), why));
    }
    Ok(())
}
