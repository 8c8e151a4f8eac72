//! The `Backend` object of `net-conf.json`.

pub use tartan_common::abi::SourceCheck;
use tartan_common::wire::TUNNEL_OVERHEAD;
use tartan_common::{Mtu, Vni};

use super::fields::Fields;
use super::{NetConfError, unknown_key_warnings};
use crate::go_json::{Json, Object};

/// flannel's UDP port, which is the Linux default and not IANA's 4789.
pub const DEFAULT_PORT: u16 = 8472;
/// flannel's VXLAN network identifier.
const DEFAULT_VNI: u64 = 1;
/// Every backend of flannel that is not built here.
const OTHER_BACKENDS: [&str; 8] =
    ["host-gw", "udp", "ipip", "wireguard", "ipsec", "extension", "alloc", "tencent-vpc"];
/// `MacPrefix` and `Name` are for Windows, where flannel reads them; on Linux nobody does.
/// Every key of `Backend` that is understood; matched without regard to case.
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

pub(super) fn read(
    top: &Fields<'_>,
    warnings: &mut Vec<String>,
) -> Result<VxlanConf, NetConfError> {
    let absent = Object::default();
    let fields = match top.get("Backend") {
        // flannel's documentation says vxlan here and its code says udp, which needs a device of
        // its own and is long discouraged. Nobody who leaves Backend out means udp.
        None => return vxlan(&Fields(&absent), warnings),
        Some(Json::Object(object)) => Fields(object),
        Some(other) => {
            let fix = "write {\"Type\": \"vxlan\"}";
            return Err(NetConfError::invalid("Backend", other, "is not an object", fix));
        }
    };
    check_type(&fields)?;
    warnings.extend(unknown_key_warnings(fields.0, &BACKEND_KEYS, "Backend."));
    vxlan(&fields, warnings)
}

fn check_type(fields: &Fields<'_>) -> Result<(), NetConfError> {
    let key = "Backend.Type";
    let missing = NetConfError::Missing { key, fix: "write \"Type\": \"vxlan\"" };
    let given = fields.text(key)?.ok_or(missing)?;
    let kind = given.to_lowercase();
    if kind == "vxlan" {
        return Ok(());
    }
    let known = OTHER_BACKENDS.contains(&kind.as_str());
    let problem = if known { "is not supported yet" } else { "is not a known backend" };
    Err(NetConfError::invalid(key, &Json::Text(given.to_owned()), problem, "use \"vxlan\""))
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
        mtu: mtu(fields)?,
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

fn mtu(fields: &Fields<'_>) -> Result<Option<Mtu>, NetConfError> {
    let key = "Backend.MTU";
    let least = u64::from(Mtu::MIN) + TUNNEL_OVERHEAD as u64;
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
