//! The network configuration on stdin, as the runtime injects it.
//!
//! Everything that only ADD needs is read when ADD asks for it, so that a
//! configuration somebody broke in the meantime does not fail DEL.

use std::net::IpAddr;
use std::path::PathBuf;

use serde_json::{Map, Value};

use tartan_common::Mac;

use crate::delegate::Delegate;
use crate::environment::{Attachment, is_identifier, parse_args};
use crate::error::{CniError, Code};
use crate::json::Object;
use crate::naming::Naming;
use crate::result::{CniResult, Dns, Route};
use crate::version::SpecVersion;
use crate::wish;

const SUBNET_FILE: &str = "/run/flannel/subnet.env";
const SCRATCH_DIR: &str = "/var/lib/cni/flannel";
const IPAM_DIR: &str = "/var/lib/cni/networks";

/// A configuration with a legal name and version.
#[derive(Debug, Clone)]
pub struct NetConf {
    map: Map<String, Value>,
    /// The version of the specification to answer in.
    pub version: SpecVersion,
    /// The network's name; safe as a file name.
    pub name: String,
}

/// What the runtime or the configuration asks for one pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodRequest {
    /// Addresses asked for by `CNI_ARGS`, `args` and `runtimeConfig`.
    pub ips: Vec<IpAddr>,
    /// The container's MAC address, if asked for.
    pub mac: Option<Mac>,
}

/// The `cniVersion` of a request, for errors that come before it is judged.
#[must_use]
pub fn version_text(stdin: &[u8]) -> Option<String> {
    let map: Map<String, Value> = serde_json::from_slice(stdin).ok()?;
    Object::root(&map).string("cniVersion").ok().flatten().map(str::to_owned)
}

impl NetConf {
    /// Decodes stdin.
    ///
    /// # Errors
    ///
    /// Code 6 for what is not such JSON, 7 for the name, 1 for the version.
    pub fn parse(stdin: &[u8]) -> Result<Self, CniError> {
        let map: Map<String, Value> = serde_json::from_slice(stdin).map_err(|error| {
            CniError::new(Code::Decode, format!("error unmarshall network config: {error}"))
                .hint("the network configuration on stdin must be one JSON object")
        })?;
        let root = Object::root(&map);
        let name = checked_name(root.string("name")?)?;
        let version = SpecVersion::parse(root.string("cniVersion")?.unwrap_or_default())?;
        Ok(Self { map, version, name })
    }

    fn root(&self) -> Object<'_> {
        Object::root(&self.map)
    }

    /// Where `subnet.env` is.
    ///
    /// # Errors
    ///
    /// Code 6 for a wrong type.
    pub fn subnet_file(&self) -> Result<PathBuf, CniError> {
        Ok(self.root().string("subnetFile")?.unwrap_or(SUBNET_FILE).into())
    }

    /// The file that flannel's plugin keeps for a container, and [`crate::handover`] as well.
    #[must_use]
    pub fn scratch_file(&self, container_id: &str) -> PathBuf {
        let dir = self.root().string("dataDir").ok().flatten().unwrap_or(SCRATCH_DIR);
        PathBuf::from(dir).join(container_id)
    }

    /// An object of the configuration, unread; an absent one is empty.
    ///
    /// # Errors
    ///
    /// Code 6 for any other type.
    pub fn object_as_given(&self, key: &str) -> Result<Map<String, Value>, CniError> {
        Ok(self.root().object_or_empty(key)?.as_given().clone())
    }

    /// `cniVersion` as it was written, if it was.
    #[must_use]
    pub fn version_as_given(&self) -> Option<&str> {
        self.root().string("cniVersion").ok().flatten()
    }

    /// The directory of this network's reservations; the default if `dataDir` is not usable.
    #[must_use]
    pub fn ipam_dir(&self) -> PathBuf {
        let ipam = self.root().object("ipam").ok().flatten();
        let dir = ipam.and_then(|ipam| ipam.string("dataDir").ok().flatten());
        PathBuf::from(dir.unwrap_or(IPAM_DIR)).join(&self.name)
    }

    /// What `delegate` asks for.
    ///
    /// # Errors
    ///
    /// Code 2 for what a point-to-point veth cannot do, 6 and 7 for wrong values.
    pub fn delegate(&self) -> Result<Delegate, CniError> {
        let is_flannel = self.root().string("type")? == Some("flannel");
        Delegate::parse(&self.root().object_or_empty("delegate")?, is_flannel)
    }

    /// What the host's end of a pod's veth is to be called.
    ///
    /// # Errors
    ///
    /// Code 6 for a wrong type, 7 for a wrong value.
    pub fn naming(&self) -> Result<Naming, CniError> {
        let root = self.root();
        Naming::parse(root.string("hostVethNaming")?, root.string("hostVethPrefix")?)
    }

    /// The routes of `ipam.routes`, after a check that `ipam` asks for host-local.
    ///
    /// # Errors
    ///
    /// Code 2 for another IPAM plugin, 6 for wrong types.
    pub fn routes(&self) -> Result<Vec<Route>, CniError> {
        let ipam = self.root().object_or_empty("ipam")?;
        let kind = ipam.string("type")?.unwrap_or("host-local");
        if kind != "host-local" {
            return Err(unsupported("ipam.type", kind)
                .hint("remove `ipam.type`: this plugin has host-local built in"));
        }
        ipam.objects("routes")?.iter().map(Route::parse).collect()
    }

    /// The file that `ipam.resolvConf` names.
    ///
    /// # Errors
    ///
    /// Code 6 for a wrong type.
    pub fn resolv_conf(&self) -> Result<Option<PathBuf>, CniError> {
        Ok(self.root().object_or_empty("ipam")?.string("resolvConf")?.map(PathBuf::from))
    }

    /// The configuration's own `dns`.
    ///
    /// # Errors
    ///
    /// Code 6 for wrong types.
    pub fn dns(&self) -> Result<Dns, CniError> {
        Dns::parse(&self.root().object_or_empty("dns")?)
    }

    /// What is asked for this pod: `runtimeConfig` before `args.cni` before `CNI_ARGS`.
    ///
    /// # Errors
    ///
    /// Code 4 for broken `CNI_ARGS`, 2 for `runtimeConfig.ipRanges`, 6 for wrong types.
    pub fn pod_request(&self, cni_args: &str) -> Result<PodRequest, CniError> {
        let args = parse_args(cni_args)?;
        let legacy = self.root().object_or_empty("args")?.object_or_empty("cni")?;
        let runtime = self.root().object_or_empty("runtimeConfig")?;
        if !runtime.array("ipRanges")?.is_empty() {
            return Err(unsupported("runtimeConfig.ipRanges", "not empty").hint(
                "pods get addresses of the node's own subnet; drop the ipRanges capability",
            ));
        }
        let from_args = args.get("IP").map(String::as_str).filter(|ip| !ip.is_empty());
        let mut texts: Vec<&str> = from_args.into_iter().collect();
        texts.extend(legacy.strings("ips")?);
        texts.extend(runtime.strings("ips")?);
        let mac = runtime.string("mac")?.or(legacy.string("mac")?);
        let mac = mac.or_else(|| args.get("MAC").map(String::as_str));
        Ok(PodRequest {
            ips: texts.into_iter().map(parse_ip).collect::<Result<_, _>>()?,
            mac: mac.filter(|mac| !mac.is_empty()).map(parse_mac).transpose()?,
        })
    }

    /// Whether no plugin after this one will shape the pod: the runtime was asked to tell
    /// (`capabilities.bandwidth`) and tells of no limit. The plugin `bandwidth` makes an `ingress`
    /// qdisc and fails where another one is in its place.
    ///
    /// # Errors
    ///
    /// Code 6 for wrong types.
    pub fn qdisc_is_free(&self) -> Result<bool, CniError> {
        let capabilities = self.root().object_or_empty("capabilities")?;
        let asked = capabilities.boolean("bandwidth")?.unwrap_or(false);
        let told = self.root().object_or_empty("runtimeConfig")?.has("bandwidth");
        Ok(asked && !told)
    }

    /// Whether the runtime tells of a limit on the pod's bandwidth: a plugin after this one will
    /// put it on the veth.
    ///
    /// # Errors
    ///
    /// Code 6 for wrong types.
    pub fn will_be_shaped(&self) -> Result<bool, CniError> {
        Ok(self.root().object_or_empty("runtimeConfig")?.get("bandwidth").is_some())
    }

    /// Whether the pod asks for the host stack, whatever the node's fast path may do.
    ///
    /// # Errors
    ///
    /// Code 7 for a value that is not known, 6 for wrong types.
    pub fn asks_for_stack(&self) -> Result<bool, CniError> {
        wish::asks_for_stack(&self.root().object_or_empty("runtimeConfig")?)
    }

    /// The result of an earlier ADD.
    ///
    /// # Errors
    ///
    /// Code 6 for wrong types.
    pub fn prev_result(&self) -> Result<Option<CniResult>, CniError> {
        self.root().object("prevResult")?.as_ref().map(CniResult::parse).transpose()
    }

    /// The attachments GC must keep; `None` when the key is absent, which is not an empty list.
    ///
    /// # Errors
    ///
    /// Code 6 for wrong types.
    pub fn valid_attachments(&self) -> Result<Option<Vec<Attachment>>, CniError> {
        let root = self.root();
        let keys = ["cni.dev/valid-attachments", "cni.dev/attachments"];
        let Some(key) = keys.into_iter().find(|key| root.has(key)) else { return Ok(None) };
        root.objects(key)?.iter().map(parse_attachment).collect::<Result<_, _>>().map(Some)
    }
}

fn parse_attachment(object: &Object<'_>) -> Result<Attachment, CniError> {
    let text = |key| object.string(key).map(|text| text.unwrap_or_default().to_owned());
    Ok(Attachment { container_id: text("containerID")?, ifname: text("ifname")? })
}

fn checked_name(name: Option<&str>) -> Result<String, CniError> {
    let refuse = |msg| CniError::new(Code::InvalidConfig, msg);
    let name = name.ok_or_else(|| {
        refuse("missing network name").hint("set `name` in the network configuration")
    })?;
    if is_identifier(name) {
        return Ok(name.to_owned());
    }
    Err(refuse("invalid characters found in network name")
        .hint(format!("`name` is {name:?}; use letters, digits, `_`, `.` and `-`")))
}

/// An address with or without a prefix length, which the node's subnet replaces.
fn parse_ip(text: &str) -> Result<IpAddr, CniError> {
    let bare = text.split_once('/').map_or(text, |(address, _)| address);
    bare.trim().parse().map(|ip: IpAddr| ip.to_canonical()).map_err(|_| {
        CniError::new(Code::InvalidConfig, format!("invalid IP address {text:?} requested"))
            .hint("correct IP in CNI_ARGS, `args.cni.ips` or `runtimeConfig.ips`")
    })
}

fn parse_mac(text: &str) -> Result<Mac, CniError> {
    text.parse().ok().filter(|mac: &Mac| mac.is_station()).ok_or_else(|| {
        CniError::new(Code::InvalidConfig, format!("invalid MAC address {text:?} requested"))
            .hint("use a unicast address such as c2:11:22:33:44:55")
    })
}

/// Code 2, naming the key and its value.
pub(crate) fn unsupported(key: &str, value: impl std::fmt::Display) -> CniError {
    CniError::new(
        Code::UnsupportedField,
        format!("unsupported field in network configuration: {key}: {value}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conf(text: &str) -> NetConf {
        NetConf::parse(text.as_bytes()).expect("a legal configuration")
    }

    fn refusal(text: &str) -> CniError {
        NetConf::parse(text.as_bytes()).expect_err("must be refused")
    }

    #[test]
    fn broken_json_names_and_versions_have_the_reference_codes() {
        assert_eq!(refusal("{").code, Code::Decode);
        assert!(refusal("[]").msg.starts_with("error unmarshall network config: "));
        assert_eq!(refusal("{}").msg, "missing network name");
        assert_eq!(refusal(r#"{"name":"a/b"}"#).msg, "invalid characters found in network name");
        assert_eq!(refusal(r#"{"name":"a","cniVersion":"9"}"#).code, Code::IncompatibleVersion);
        assert_eq!(refusal(r#"{"name":7}"#).code, Code::Decode);
    }

    #[test]
    fn defaults_are_flannels() {
        let conf = conf(r#"{"name":"cbr0","type":"flannel"}"#);
        assert_eq!(conf.subnet_file(), Ok("/run/flannel/subnet.env".into()));
        assert_eq!(conf.ipam_dir(), PathBuf::from("/var/lib/cni/networks/cbr0"));
        assert_eq!(conf.version, SpecVersion::V0_1_0);
    }

    #[test]
    fn paths_are_found_in_any_case_and_null_is_unset() {
        let conf = conf(r#"{"Name":"n","SUBNETFILE":"/s","ipam":{"datadir":"/d"},"dataDir":null}"#);
        assert_eq!(conf.subnet_file(), Ok("/s".into()));
        assert_eq!(conf.ipam_dir(), PathBuf::from("/d/n"));
    }

    #[test]
    fn a_broken_ipam_does_not_keep_del_from_its_directory() {
        let conf = conf(r#"{"name":"n","ipam":"nonsense"}"#);
        assert_eq!(conf.ipam_dir(), PathBuf::from("/var/lib/cni/networks/n"));
        assert!(conf.routes().is_err());
    }

    #[test]
    fn the_qdisc_is_free_only_where_the_runtime_would_have_told() {
        let is_free = |more: &str| conf(&format!(r#"{{"name":"n"{more}}}"#)).qdisc_is_free();
        assert_eq!(is_free(""), Ok(false));
        assert_eq!(is_free(r#","capabilities":{"bandwidth":false}"#), Ok(false));
        assert_eq!(is_free(r#","capabilities":{"bandwidth":true}"#), Ok(true));
        let shaped = r#","capabilities":{"bandwidth":true},"runtimeConfig":{"bandwidth":{}}"#;
        assert_eq!(is_free(shaped), Ok(false));
        assert!(is_free(r#","capabilities":7"#).is_err());
    }

    #[test]
    fn a_foreign_ipam_is_refused_by_name() {
        let error =
            conf(r#"{"name":"n","ipam":{"type":"whereabouts"}}"#).routes().expect_err("foreign");
        assert_eq!(error.code, Code::UnsupportedField);
        assert!(error.msg.contains("ipam.type: whereabouts"), "{}", error.msg);
    }

    #[test]
    fn requested_addresses_come_from_all_three_places() {
        let conf = conf(
            r#"{"name":"n","args":{"cni":{"ips":["10.0.0.2"]}},"runtimeConfig":{"IPs":["10.0.0.3/24"],"mac":"c2:11:22:33:44:55"}}"#,
        );
        let request = conf.pod_request("IP=10.0.0.1;MAC=02:00:00:00:00:01").expect("legal");
        let texts: Vec<String> = request.ips.iter().map(ToString::to_string).collect();
        assert_eq!(texts, ["10.0.0.1", "10.0.0.2", "10.0.0.3"]);
        assert_eq!(request.mac.map(|mac| mac.to_string()).as_deref(), Some("c2:11:22:33:44:55"));
    }

    #[test]
    fn a_mac_that_no_interface_may_have_is_refused() {
        for mac in ["01:00:5e:00:00:01", "00:00:00:00:00:00", "c2:11"] {
            let conf = conf(&format!(r#"{{"name":"n","runtimeConfig":{{"mac":"{mac}"}}}}"#));
            assert_eq!(conf.pod_request("").expect_err(mac).code, Code::InvalidConfig);
        }
    }

    #[test]
    fn an_absent_gc_list_is_not_an_empty_one() {
        assert_eq!(conf(r#"{"name":"n"}"#).valid_attachments(), Ok(None));
        let null = conf(r#"{"name":"n","cni.dev/valid-attachments":null}"#);
        assert_eq!(null.valid_attachments(), Ok(Some(vec![])));
        let one =
            conf(r#"{"name":"n","cni.dev/attachments":[{"containerID":"c","ifname":"eth0"}]}"#);
        assert_eq!(one.valid_attachments().expect("legal").expect("present").len(), 1);
    }
}
