//! Rules of the model as expressions of nf_tables. What cannot be said exactly is refused before
//! anything is sent.

use std::net::IpAddr;

use ipnet::IpNet;
use tartan_core::netfilter::model::{Action, Family, Match, Rule};

use super::comparison::{TCP_FLAGS, has_ports, is_tcp};
use super::uapi::expression::{
    BITWISE_DREG, BITWISE_LEN, BITWISE_MASK, BITWISE_OP, BITWISE_SREG, BITWISE_XOR, CMP_DATA,
    CMP_OP, CMP_SREG, COMPAT_INFO, COMPAT_NAME, COMPAT_REVISION, CT_DREG, CT_KEY, CT_STATE,
    CT_STATUS, EQUAL, IMMEDIATE_DATA, IMMEDIATE_DREG, LOOKUP_SET, LOOKUP_SREG, MASQ_FLAGS,
    MASQ_PORT_MAX, MASQ_PORT_MIN, META_DREG, META_IIFNAME, META_KEY, META_L4PROTO, META_MARK,
    META_OIFNAME, NETWORK_HEADER, PAYLOAD_BASE, PAYLOAD_DREG, PAYLOAD_LEN, PAYLOAD_OFFSET,
    STATE_INVALID, STATUS_DNAT, TRANSPORT_HEADER, UNEQUAL,
};
use super::uapi::{data, nat, rule};
use super::writer::Writer;

/// `IFNAMSIZ`, with the end mark.
const DEVICE_NAME: usize = 16;
/// What `nft` takes for a comment, with the end mark (`NFTNL_UDATA_COMMENT_MAXLEN`).
const COMMENT: usize = 128;
/// `struct xt_comment_info`.
const XT_COMMENT: usize = 256;
const VERDICT: u32 = 0;
const FIRST: u32 = 1;
const SECOND: u32 = 2;

/// Who has to be able to read a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `nft`.
    Native,
    /// `iptables-nft` too, which knows a few expressions only.
    Iptables,
}

/// Writes the expressions and the comment of a rule.
///
/// # Errors
/// What cannot be written, in words.
pub(super) fn rule(to: &mut Writer, family: Family, form: Form, rule: &Rule) -> Result<(), String> {
    comment_is_sound(&rule.comment)?;
    let mut expressions = Writer::default();
    for (index, one) in rule.matches.iter().enumerate() {
        condition(&mut expressions, family, form, one, &rule.matches[..index])?;
    }
    if form == Form::Iptables && !rule.comment.is_empty() {
        xt_comment(&mut expressions, &rule.comment);
    }
    expressions.expression("counter", |_| {});
    action(&mut expressions, form, rule)?;
    let bytes = expressions.finish().ok_or("the rule is too long")?;
    to.nest(rule::EXPRESSIONS, |to| to.append(&bytes));
    if form == Form::Native && !rule.comment.is_empty() {
        to.bytes(rule::USERDATA, &userdata(&rule.comment));
    }
    Ok(())
}

fn comment_is_sound(comment: &str) -> Result<(), String> {
    if comment.len() >= COMMENT || comment.contains('\0') {
        return Err(format!("the comment {comment:?} is longer than {} bytes", COMMENT - 1));
    }
    Ok(())
}

/// Type, length, text with its end mark.
fn userdata(comment: &str) -> Vec<u8> {
    let length = u8::try_from(comment.len() + 1).unwrap_or(u8::MAX);
    let mut bytes = vec![rule::USERDATA_COMMENT, length];
    bytes.extend(comment.as_bytes());
    bytes.push(0);
    bytes
}

fn xt_comment(to: &mut Writer, comment: &str) {
    let mut info = [0; XT_COMMENT];
    info[..comment.len()].copy_from_slice(comment.as_bytes());
    to.expression("match", |to| {
        to.text(COMPAT_NAME, "comment");
        to.number(COMPAT_REVISION, 0);
        to.bytes(COMPAT_INFO, &info);
    });
}

fn condition(
    to: &mut Writer,
    family: Family,
    form: Form,
    one: &Match,
    before: &[Match],
) -> Result<(), String> {
    match one {
        Match::Source { net, negated } => address(to, family, *net, [12, 8], *negated)?,
        Match::Destination { net, negated } => address(to, family, *net, [16, 24], *negated)?,
        Match::InDevice { name, negated } => device(to, META_IIFNAME, name, *negated)?,
        Match::OutDevice { name, negated } => device(to, META_OIFNAME, name, *negated)?,
        Match::Mark { value, mask, negated } => {
            load_meta(to, META_MARK);
            if *mask != u32::MAX {
                and(to, &mask.to_ne_bytes());
            }
            compare(to, operator(*negated), &value.to_ne_bytes());
        }
        Match::Protocol(number) => {
            load_meta(to, META_L4PROTO);
            compare(to, EQUAL, &[*number]);
        }
        Match::DestinationPort(port) if has_ports(before) => {
            load_payload(to, TRANSPORT_HEADER, 2, 2);
            compare(to, EQUAL, &port.to_be_bytes());
        }
        Match::DestinationIn(set) if (form, family) == (Form::Native, Family::Ip) => {
            load_payload(to, NETWORK_HEADER, 16, 4);
            to.expression("lookup", |to| {
                to.text(LOOKUP_SET, set);
                to.number(LOOKUP_SREG, FIRST);
            });
        }
        Match::DestinationTranslated if form == Form::Native => any_of(to, CT_STATUS, STATUS_DNAT),
        Match::ConntrackInvalid if form == Form::Native => any_of(to, CT_STATE, STATE_INVALID),
        Match::TcpFlagsAny(mask) if form == Form::Native && is_tcp(before) => {
            load_payload(to, TRANSPORT_HEADER, TCP_FLAGS, 1);
            and(to, &[*mask]);
            compare(to, UNEQUAL, &[0]);
        }
        Match::DestinationIn(_)
        | Match::DestinationPort(_)
        | Match::DestinationTranslated
        | Match::ConntrackInvalid
        | Match::TcpFlagsAny(_)
        | Match::Other(_) => return Err(format!("`{one}` cannot be written here")),
    }
    Ok(())
}

/// `offsets`: where IPv4 and IPv6 have the address.
fn address(
    to: &mut Writer,
    family: Family,
    net: IpNet,
    offsets: [u32; 2],
    negated: bool,
) -> Result<(), String> {
    let net = net.trunc();
    match (family, net.addr(), net.netmask()) {
        (Family::Ip, IpAddr::V4(address), IpAddr::V4(mask)) => {
            let (address, mask) = (address.octets(), mask.octets());
            prefix(to, offsets[0], net.prefix_len(), &address, &mask, negated);
        }
        (Family::Ip6, IpAddr::V6(address), IpAddr::V6(mask)) => {
            let (address, mask) = (address.octets(), mask.octets());
            prefix(to, offsets[1], net.prefix_len(), &address, &mask, negated);
        }
        _ => return Err(format!("{net} has no place in a table of family {family}")),
    }
    Ok(())
}

/// Whole bytes are compared as such, as `nft` and `iptables-nft` do it.
fn prefix(to: &mut Writer, offset: u32, length: u8, address: &[u8], mask: &[u8], negated: bool) {
    let whole = usize::from(length / 8);
    let plain = length > 0 && length.is_multiple_of(8);
    let address = if plain { &address[..whole] } else { address };
    let width = u32::try_from(address.len()).unwrap_or_default();
    load_payload(to, NETWORK_HEADER, offset, width);
    if !plain {
        and(to, mask);
    }
    compare(to, operator(negated), address);
}

/// A whole name is compared with its end mark, the beginning of one without.
fn device(to: &mut Writer, key: u32, name: &str, negated: bool) -> Result<(), String> {
    let (stem, open) = name.strip_suffix('+').map_or((name, false), |stem| (stem, true));
    if stem.is_empty() || stem.len() >= DEVICE_NAME || stem.contains('\0') {
        return Err(format!("{name:?} is not the name of a device"));
    }
    let mut bytes = [0; DEVICE_NAME];
    bytes[..stem.len()].copy_from_slice(stem.as_bytes());
    load_meta(to, key);
    compare(to, operator(negated), if open { &bytes[..stem.len()] } else { &bytes });
    Ok(())
}

/// Any of these bits of what conntrack knows.
fn any_of(to: &mut Writer, key: u32, bits: u32) {
    to.expression("ct", |to| {
        to.number(CT_DREG, FIRST);
        to.number(CT_KEY, key);
    });
    and(to, &bits.to_ne_bytes());
    compare(to, UNEQUAL, &[0; 4]);
}

fn load_meta(to: &mut Writer, key: u32) {
    to.expression("meta", |to| {
        to.number(META_DREG, FIRST);
        to.number(META_KEY, key);
    });
}

fn load_payload(to: &mut Writer, base: u32, offset: u32, length: u32) {
    to.expression("payload", |to| {
        to.number(PAYLOAD_DREG, FIRST);
        to.number(PAYLOAD_BASE, base);
        to.number(PAYLOAD_OFFSET, offset);
        to.number(PAYLOAD_LEN, length);
    });
}

fn and(to: &mut Writer, mask: &[u8]) {
    to.expression("bitwise", |to| {
        to.number(BITWISE_SREG, FIRST);
        to.number(BITWISE_DREG, FIRST);
        to.number(BITWISE_OP, 0);
        to.number(BITWISE_LEN, u32::try_from(mask.len()).unwrap_or_default());
        to.value(BITWISE_MASK, mask);
        to.value(BITWISE_XOR, &vec![0; mask.len()]);
    });
}

fn compare(to: &mut Writer, operator: u32, value: &[u8]) {
    to.expression("cmp", |to| {
        to.number(CMP_SREG, FIRST);
        to.number(CMP_OP, operator);
        to.value(CMP_DATA, value);
    });
}

fn operator(negated: bool) -> u32 {
    if negated { UNEQUAL } else { EQUAL }
}

fn action(to: &mut Writer, form: Form, rule: &Rule) -> Result<(), String> {
    match &rule.action {
        Action::Continue => {}
        Action::Accept => verdict(to, data::ACCEPT, None),
        Action::Drop => verdict(to, data::DROP, None),
        Action::Return => verdict(to, data::RETURN, None),
        Action::Jump(chain) => verdict(to, data::JUMP, Some(chain)),
        Action::Goto(chain) => verdict(to, data::GOTO, Some(chain)),
        Action::Masquerade { random_fully, ports }
            if form == Form::Native && (ports.is_none() || has_ports(&rule.matches)) =>
        {
            masquerade(to, *random_fully, *ports);
        }
        Action::NoTrack if form == Form::Native => to.expression("notrack", |_| {}),
        other @ (Action::Masquerade { .. } | Action::NoTrack | Action::Other(_)) => {
            return Err(format!("`{other}` cannot be written here"));
        }
    }
    Ok(())
}

fn verdict(to: &mut Writer, code: i32, chain: Option<&str>) {
    to.expression("immediate", |to| {
        to.number(IMMEDIATE_DREG, VERDICT);
        to.nest(IMMEDIATE_DATA, |to| {
            to.nest(data::VERDICT, |to| {
                to.number(data::CODE, code.cast_unsigned());
                if let Some(chain) = chain {
                    to.text(data::CHAIN, chain);
                }
            });
        });
    });
}

fn masquerade(to: &mut Writer, random_fully: bool, ports: Option<(u16, u16)>) {
    let mut flags = if random_fully { nat::PROTO_RANDOM_FULLY } else { 0 };
    if let Some((first, last)) = ports {
        flags |= nat::PROTO_SPECIFIED;
        constant(to, FIRST, &first.to_be_bytes());
        constant(to, SECOND, &last.to_be_bytes());
    }
    to.expression("masq", |to| {
        if flags != 0 {
            to.number(MASQ_FLAGS, flags);
        }
        if ports.is_some() {
            to.number(MASQ_PORT_MIN, FIRST);
            to.number(MASQ_PORT_MAX, SECOND);
        }
    });
}

fn constant(to: &mut Writer, register: u32, value: &[u8]) {
    to.expression("immediate", |to| {
        to.number(IMMEDIATE_DREG, register);
        to.value(IMMEDIATE_DATA, value);
    });
}
