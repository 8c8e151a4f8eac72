//! Who holds which subnet, and how its packets are to be addressed.

use std::fmt;
use std::net::Ipv4Addr;

use serde::Serialize;
use tartan_common::{Mac, Vni};
use thiserror::Error;

use crate::go_json::{Json, Object};
use crate::{PodCidr, Timestamp};

/// flannel's name of the backend that tunnels.
pub const BACKEND_VXLAN: &str = "vxlan";
/// flannel's name of the backend that routes by way of the nodes themselves.
pub const BACKEND_HOST_GW: &str = "host-gw";
/// What flannel publishes as the data of a backend that has none.
const NO_DATA: &str = "null";

/// A node's right to a subnet, as its node published it.
///
/// What a lease says about others' nodes is checked by [`crate::conflict`], not here: a fault in
/// one lease must not hide the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The node's pods.
    pub subnet: PodCidr,
    /// Where tunnel packets for the subnet are sent.
    pub public_ip: Ipv4Addr,
    /// The node's name.
    pub node_name: String,
    /// How the node wants to be reached.
    pub backend: LeaseBackend,
    /// When the node took the subnet; of two overlapping claims, the older one holds.
    pub claimed_at: Timestamp,
    /// When the node last said that it is there; `None` is a lease that never expires.
    pub renewed_at: Option<Timestamp>,
}

/// flannel's `backend-type` with what belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaseBackend {
    /// A VXLAN tunnel.
    Vxlan(VxlanData),
    /// No tunnel: the node itself is the gateway to its pods.
    HostGw,
    /// Any other type, by its name: kept to be named, never used.
    Other(String),
}

/// flannel's `backend-data` of a vxlan node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VxlanData {
    /// The node's VNI; `None` where it published none, as some nodes do.
    pub vni: Option<Vni>,
    /// The address that inner frames for the node carry.
    pub vtep_mac: Mac,
}

/// A `backend-data` text that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BackendDataError {
    /// Not a JSON object.
    #[error("backend data is not a JSON object: publish {{\"VNI\":1,\"VtepMAC\":\"<address>\"}}")]
    NotAnObject,
    /// No usable `VtepMAC`.
    #[error(
        "VtepMAC = {0} is not the Ethernet address of a station: restart the agent of that node"
    )]
    VtepMac(String),
    /// A `VNI` that is no VNI.
    #[error("VNI = {0} is out of range: use 1..={max}", max = Vni::MAX)]
    Vni(String),
}

impl Lease {
    /// The address that inner frames for the node carry, if it is a vxlan node.
    #[must_use]
    pub fn vtep_mac(&self) -> Option<Mac> {
        self.backend.vtep_mac()
    }

    /// Whether the two say the same apart from their times.
    #[must_use]
    pub fn same_data(&self, other: &Self) -> bool {
        self.subnet == other.subnet
            && self.public_ip == other.public_ip
            && self.node_name == other.node_name
            && self.backend == other.backend
    }
}

impl LeaseBackend {
    /// The address that inner frames for the node carry, if it is a vxlan node.
    #[must_use]
    pub fn vtep_mac(&self) -> Option<Mac> {
        match self {
            Self::Vxlan(data) => Some(data.vtep_mac),
            Self::HostGw | Self::Other(_) => None,
        }
    }

    /// flannel's `backend-type`.
    #[must_use]
    pub fn type_name(&self) -> &str {
        match self {
            Self::Vxlan(_) => BACKEND_VXLAN,
            Self::HostGw => BACKEND_HOST_GW,
            Self::Other(name) => name,
        }
    }

    /// flannel's `backend-data`, byte for byte; empty for a backend of which nothing is known.
    #[must_use]
    pub fn data(&self) -> String {
        match self {
            Self::Vxlan(data) => data.to_json(),
            Self::HostGw => NO_DATA.to_owned(),
            Self::Other(_) => String::new(),
        }
    }

    /// The backend of this `backend-type` and `backend-data`.
    ///
    /// # Errors
    /// [`BackendDataError`], where the type needs data and these are none.
    pub fn read(type_name: &str, data: &str) -> Result<Self, BackendDataError> {
        match type_name {
            BACKEND_VXLAN => VxlanData::from_json(data).map(Self::Vxlan),
            BACKEND_HOST_GW => Ok(Self::HostGw),
            other => Ok(Self::Other(other.to_owned())),
        }
    }
}

/// What flannel writes: this key order and no blanks, because its restart code reads
/// the address back by splitting the text.
#[derive(Serialize)]
struct Published {
    #[serde(rename = "VNI")]
    vni: u32,
    #[serde(rename = "VtepMAC")]
    vtep_mac: String,
}

impl VxlanData {
    /// The data of a node whose VNI is known.
    #[must_use]
    pub fn new(vni: Vni, vtep_mac: Mac) -> Self {
        Self { vni: Some(vni), vtep_mac }
    }

    /// flannel's text, byte for byte: `{"VNI":1,"VtepMAC":"aa:bb:cc:dd:ee:ff"}`.
    #[must_use]
    pub fn to_json(&self) -> String {
        let vni = self.vni.map_or(0, Vni::get);
        format!(r#"{{"VNI":{vni},"VtepMAC":"{}"}}"#, self.vtep_mac)
    }

    /// Reads flannel's text; keys in any case, further members ignored, the VNI optional.
    ///
    /// # Errors
    /// [`BackendDataError`], naming the member.
    pub fn from_json(text: &str) -> Result<Self, BackendDataError> {
        match serde_json::from_str(text) {
            Ok(Json::Object(object)) => Self::from_object(&object),
            Ok(_) | Err(_) => Err(BackendDataError::NotAnObject),
        }
    }

    fn from_object(object: &Object) -> Result<Self, BackendDataError> {
        let vni = match object.field("VNI") {
            None | Some(Json::Unsigned(0)) => None,
            Some(Json::Unsigned(number)) => {
                Some(Vni::new(*number).map_err(|_| out_of_range(number))?)
            }
            Some(other) => return Err(out_of_range(other)),
        };
        match object.field("VtepMAC") {
            Some(Json::Text(text)) => Ok(Self { vni, vtep_mac: station(text)? }),
            Some(other) => Err(BackendDataError::VtepMac(other.to_string())),
            None => Err(BackendDataError::VtepMac("(absent)".to_owned())),
        }
    }
}

impl Serialize for VxlanData {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let vni = self.vni.map_or(0, Vni::get);
        Published { vni, vtep_mac: self.vtep_mac.to_string() }.serialize(serializer)
    }
}

fn out_of_range(number: &dyn fmt::Display) -> BackendDataError {
    BackendDataError::Vni(number.to_string())
}

/// The kernel drops inner frames that carry no address of a station.
fn station(text: &str) -> Result<Mac, BackendDataError> {
    let mac = text.replace('-', ":").parse::<Mac>().ok().filter(|mac| mac.is_station());
    mac.ok_or_else(|| BackendDataError::VtepMac(Json::Text(text.to_owned()).to_string()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn backend_data_is_printed_as_flannel_prints_it() {
        let data = VxlanData::new(Vni::new(1).unwrap(), "c6:d2:32:6f:8f:44".parse().unwrap());
        let text = r#"{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}"#;
        assert_eq!(data.to_json(), text);
        assert_eq!(serde_json::to_string(&data).unwrap(), text);
        assert_eq!(VxlanData::from_json(text), Ok(data));
    }

    #[test]
    fn a_sample_node_with_nothing_but_an_address_is_read() {
        let data =
            VxlanData::from_json(r#"{"vtepmac": "C6-D2-32-6F-8F-44", "More": [1]}"#).unwrap();
        assert_eq!((data.vni, data.vtep_mac.to_string().as_str()), (None, "c6:d2:32:6f:8f:44"));
    }

    #[test]
    fn data_that_would_lose_packets_is_refused() {
        for (text, wanted) in [
            ("null", "backend data is not a JSON object"),
            (r#"{"VNI":1}"#, "VtepMAC = (absent) is not"),
            (
                r#"{"VNI":1,"VtepMAC":"01:00:5e:00:00:01"}"#,
                "VtepMAC = \"01:00:5e:00:00:01\" is not",
            ),
            (
                r#"{"VNI":1,"VtepMAC":"00:00:00:00:00:00"}"#,
                "VtepMAC = \"00:00:00:00:00:00\" is not",
            ),
            (r#"{"VNI":16777216,"VtepMAC":"c6:d2:32:6f:8f:44"}"#, "VNI = 16777216 is out of range"),
            (r#"{"VNI":"1","VtepMAC":"c6:d2:32:6f:8f:44"}"#, "VNI = \"1\" is out of range"),
        ] {
            let error = VxlanData::from_json(text).unwrap_err().to_string();
            assert!(error.starts_with(wanted), "{error}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_is_the_identity(vni in 1..=u64::from(Vni::MAX), bytes: [u8; 6]) {
            let data = VxlanData::new(Vni::new(vni).unwrap(), Mac::local(bytes));
            prop_assert_eq!(VxlanData::from_json(&data.to_json()), Ok(data));
            prop_assert_eq!(serde_json::to_string(&data).unwrap(), data.to_json());
        }

        #[test]
        fn noise_is_refused_without_a_panic(text in ".{0,60}") {
            drop(VxlanData::from_json(&text));
        }
    }
}
