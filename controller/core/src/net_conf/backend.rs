//! The `Backend` object of `net-conf.json`.

pub use tartan_common::abi::SourceCheck;
use tartan_common::wire::TUNNEL_OVERHEAD;
use tartan_common::{Mtu, Vni};

use super::fields::Fields;
use super::{NetConfError, unknown_key_warnings};
use crate::go_json::{Json, Object};
use crate::lease::{BACKEND_HOST_GW, BACKEND_VXLAN};

/// flannel's UDP port, which is the Linux default and not IANA's 4789.
pub const DEFAULT_PORT: u16 = 8472;
/// flannel's VXLAN network identifier.
const DEFAULT_VNI: u64 = 1;
/// Every backend of flannel that is not built here.
const OTHER_BACKENDS: [&str; 7] =
    ["udp", "ipip", "wireguard", "ipsec", "extension", "alloc", "tencent-vpc"];
/// What to write instead of a backend that is not built here.
const TYPE_FIX: &str = "use \"vxlan\" or \"host-gw\"";
/// Every key of `Backend` that is understood; matched without regard to case. `MacPrefix` and
/// `Name` are for Windows, where flannel reads them; on Linux nobody does.
pub const BACKEND_KEYS: [&str; 10] = [
    "Type",
    "VNI",
    "Port",
    "MTU",
    "GBP",
    "Learning",
    "DirectRouting",
    "SourceCheck",
    "MacPrefix",
    "Name",
];

/// The keys that mean something beside `"Type": "host-gw"`.
const HOST_GW_KEYS: [&str; 3] = ["Type", "MTU", "SourceCheck"];

/// How packets get from node to node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// Through a tunnel; with `DirectRouting` as they are to nodes on the same link.
    Vxlan(VxlanConf),
    /// As they are, to nodes on the same link.
    HostGw(HostGwConf),
}

impl Backend {
    /// The tunnel's settings, if there is one.
    #[must_use]
    pub const fn vxlan(&self) -> Option<&VxlanConf> {
        match self {
            Self::Vxlan(conf) => Some(conf),
            Self::HostGw(_) => None,
        }
    }

    /// The MTU of the link that the configuration wants to be assumed.
    #[must_use]
    pub const fn outer_mtu(&self) -> Option<Mtu> {
        match self {
            Self::Vxlan(conf) => conf.mtu,
            Self::HostGw(conf) => conf.mtu,
        }
    }

    /// Which sources are accepted from other nodes.
    #[must_use]
    pub const fn source_check(&self) -> SourceCheck {
        match self {
            Self::Vxlan(conf) => conf.source_check,
            Self::HostGw(conf) => conf.source_check,
        }
    }

    /// Whether nodes on the same link are sent to without a tunnel.
    #[must_use]
    pub const fn is_direct(&self) -> bool {
        match self {
            Self::Vxlan(conf) => conf.direct_routing,
            Self::HostGw(_) => true,
        }
    }
}

/// The settings of the `host-gw` backend; flannel has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostGwConf {
    /// The link's MTU; `None` means that of the chosen interface.
    pub mtu: Option<Mtu>,
    /// Which sources are accepted from a known node.
    pub source_check: SourceCheck,
}

/// The settings of the `vxlan` backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VxlanConf {
    /// VXLAN network identifier, and the suffix of the device's name.
    pub vni: Vni,
    /// UDP destination port.
    pub port: u16,
    /// The *outer* MTU; `None` means that of the chosen interface.
    pub mtu: Option<Mtu>,
    /// Whether nodes on the same link are reached without a tunnel.
    pub direct_routing: bool,
    /// Which sources are accepted from a known node.
    pub source_check: SourceCheck,
}

pub(super) fn read(top: &Fields<'_>, warnings: &mut Vec<String>) -> Result<Backend, NetConfError> {
    let absent = Object::default();
    let fields = match top.get("Backend") {
        // flannel's documentation says vxlan here and its code says udp, which needs a device of
        // its own and is long discouraged. Nobody who leaves Backend out means udp.
        None => return vxlan(&Fields(&absent), warnings).map(Backend::Vxlan),
        Some(Json::Object(object)) => Fields(object),
        Some(other) => {
            let fix = "write {\"Type\": \"vxlan\"}";
            return Err(NetConfError::invalid("Backend", other, "is not an object", fix));
        }
    };
    match kind(&fields)? {
        Kind::Vxlan => {
            warnings.extend(unknown_key_warnings(fields.0, &BACKEND_KEYS, "Backend."));
            vxlan(&fields, warnings).map(Backend::Vxlan)
        }
        Kind::HostGw => {
            warnings.extend(unknown_key_warnings(fields.0, &HOST_GW_KEYS, "Backend."));
            host_gw(&fields).map(Backend::HostGw)
        }
    }
}

enum Kind {
    Vxlan,
    HostGw,
}

fn kind(fields: &Fields<'_>) -> Result<Kind, NetConfError> {
    let key = "Backend.Type";
    let fix = "write \"Type\": \"vxlan\" or \"Type\": \"host-gw\"";
    let missing = NetConfError::Missing { key, fix };
    let given = fields.text(key)?.ok_or(missing)?;
    let kind = given.to_lowercase();
    match kind.as_str() {
        BACKEND_VXLAN => return Ok(Kind::Vxlan),
        BACKEND_HOST_GW => return Ok(Kind::HostGw),
        _ => {}
    }
    let known = OTHER_BACKENDS.contains(&kind.as_str());
    let problem = if known { "is not supported yet" } else { "is not a known backend" };
    Err(NetConfError::invalid(key, &Json::Text(given.to_owned()), problem, TYPE_FIX))
}

fn host_gw(fields: &Fields<'_>) -> Result<HostGwConf, NetConfError> {
    Ok(HostGwConf { mtu: mtu(fields, Mtu::MIN.into())?, source_check: source_check(fields)? })
}

fn vxlan(fields: &Fields<'_>, warnings: &mut Vec<String>) -> Result<VxlanConf, NetConfError> {
    refuse_group_policy(fields)?;
    if fields.flag("Backend.Learning")?.unwrap_or(false) {
        let text = "Backend.Learning = true has no effect: peers come from leases only";
        warnings.push(format!("net-conf: {text}, remove the key"));
    }
    Ok(VxlanConf {
        vni: vni(fields)?,
        port: port(fields)?,
        mtu: mtu(fields, u64::from(Mtu::MIN) + TUNNEL_OVERHEAD as u64)?,
        direct_routing: fields.flag("Backend.DirectRouting")?.unwrap_or(false),
        source_check: source_check(fields)?,
    })
}

/// A group policy identifier changes the bytes on the wire, and peers drop unknown VXLAN flags.
fn refuse_group_policy(fields: &Fields<'_>) -> Result<(), NetConfError> {
    let key = "Backend.GBP";
    if !fields.flag(key)?.unwrap_or(false) {
        return Ok(());
    }
    Err(NetConfError::invalid(key, &"true", "is not supported yet", "remove the key"))
}

fn vni(fields: &Fields<'_>) -> Result<Vni, NetConfError> {
    let key = "Backend.VNI";
    let number = fields.number(key, 1..=Vni::MAX.into(), false)?.unwrap_or(DEFAULT_VNI);
    Vni::new(number)
        .map_err(|error| NetConfError::invalid(key, &number, error.to_string(), "use 1"))
}

fn port(fields: &Fields<'_>) -> Result<u16, NetConfError> {
    let key = "Backend.Port";
    let number = fields.number(key, 1..=u16::MAX.into(), true)?;
    Ok(number.and_then(|number| number.try_into().ok()).unwrap_or(DEFAULT_PORT))
}

fn mtu(fields: &Fields<'_>, least: u64) -> Result<Option<Mtu>, NetConfError> {
    let key = "Backend.MTU";
    let checked = |number| {
        Mtu::new(number)
            .map_err(|error| NetConfError::invalid(key, &number, error.to_string(), "use 1500"))
    };
    fields.number(key, least..=Mtu::MAX.into(), true)?.map(checked).transpose()
}

fn source_check(fields: &Fields<'_>) -> Result<SourceCheck, NetConfError> {
    let key = "Backend.SourceCheck";
    let fix = "use \"strict\" or \"sender\"";
    let given = fields.text(key)?.unwrap_or_default();
    match given.to_lowercase().as_str() {
        "" | "strict" => Ok(SourceCheck::Strict),
        "sender" => Ok(SourceCheck::Sender),
        _ => Err(NetConfError::invalid(key, &Json::Text(given.to_owned()), "is not known", fix)),
    }
}
