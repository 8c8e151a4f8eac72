//! The file by which flannel's plugin releases a pod that this plugin wired.
//!
//! flannel's plugin keeps, for each container, the configuration that it gave to its delegate,
//! and its DEL hands just that to the delegate again. ADD writes the same file: after a return to
//! flannel, the `bridge` plugin then removes the pod's link and `host-local` its reservation, as
//! if the pod had always been theirs. Files that flannel's plugin left are read by DEL for what
//! its delegate set up beyond a link and an address.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tartan_core::atomic_file::temporary_beside;

use crate::error::{CniError, Code};
use crate::netconf::NetConf;
use crate::subnet::SubnetEnv;
use crate::wish;

/// Only root may read what flannel's plugin keeps.
const FILE_MODE: u32 = 0o600;
/// And only root may look into its directory.
const DIRECTORY_MODE: u32 = 0o700;

/// The configuration that flannel's plugin would give to its delegate: JSON with sorted keys.
///
/// # Errors
///
/// Code 6 for wrong types.
pub fn delegate_configuration(conf: &NetConf, subnet: &SubnetEnv) -> Result<String, CniError> {
    let mut delegate = conf.object_as_given("delegate")?;
    let mut default = |key: &str, value: Value| {
        delegate.entry(key).or_insert(value);
    };
    default("type", json!("bridge"));
    default("ipMasq", json!(!subnet.ip_masq));
    default("mtu", json!(subnet.mtu));
    if delegate["type"] == "bridge" {
        delegate.entry("isGateway").or_insert(json!(true));
    }
    delegate.insert("name".to_owned(), json!(conf.name));
    delegate.insert("ipam".to_owned(), Value::Object(ipam(conf, subnet)?));
    if let Some(version) = conf.version_as_given() {
        delegate.insert("cniVersion".to_owned(), json!(version));
    }
    let mut runtime = conf.object_as_given("runtimeConfig")?;
    // flannel's plugin never asks for them.
    runtime.remove(wish::ANNOTATIONS);
    if !runtime.is_empty() {
        delegate.insert("runtimeConfig".to_owned(), Value::Object(runtime));
    }
    Ok(sorted(Value::Object(delegate)).to_string())
}

/// The user's `ipam`, with the node's ranges and the routes to the pod network.
fn ipam(conf: &NetConf, subnet: &SubnetEnv) -> Result<Map<String, Value>, CniError> {
    let mut ipam = conf.object_as_given("ipam")?;
    ipam.entry("type").or_insert(json!("host-local"));
    let ranges: Vec<Value> =
        subnet.subnets().map(|range| json!([{ "subnet": text(&range) }])).collect();
    ipam.insert("ranges".to_owned(), Value::Array(ranges));
    let mut routes = ipam.get("routes").and_then(Value::as_array).cloned().unwrap_or_default();
    let networks = subnet.networks.iter().map(text);
    routes.extend(networks.chain(subnet.networks6.iter().map(text)).map(|net| json!({"dst": net})));
    ipam.insert("routes".to_owned(), Value::Array(routes));
    Ok(ipam)
}

fn text(net: &impl ToString) -> String {
    net.to_string()
}

/// Go sorts the keys of a map; whether `serde_json` does depends on who else is in the build.
fn sorted(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let ordered: BTreeMap<String, Value> =
                map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
            Value::Object(ordered.into_iter().collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(sorted).collect()),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

/// A file that ADD wrote, to be taken back if a later step fails.
#[derive(Debug)]
pub(crate) struct Record {
    path: PathBuf,
    /// A container's other attachment has the same file: flannel's plugin knows one per container.
    is_new: bool,
}

impl Record {
    /// Writes the file; readers find the old or the new content whole.
    pub(crate) fn write(path: PathBuf, content: &str) -> Result<Self, CniError> {
        let is_new = !path.exists();
        replace(&path, content).map_err(|error| {
            CniError::new(Code::Io, format!("write {}: {error}", path.display()))
                .hint("flannel's plugin needs this file to release the pod after a return to it; make the directory writable, or set `dataDir`")
        })?;
        Ok(Self { path, is_new })
    }

    /// Takes it back.
    pub(crate) fn undo(&self) -> io::Result<()> {
        if self.is_new { remove(&self.path) } else { Ok(()) }
    }
}

/// Not synced: what is lost with the node's power is of no use to the pods, which are lost as well.
fn replace(path: &Path, content: &str) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory)?;
    }
    let temporary = temporary_beside(path);
    let written = write_new(&temporary, content).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to report.
        drop(fs::remove_file(&temporary));
    }
    written
}

fn write_new(path: &Path, content: &str) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).mode(FILE_MODE).open(path)?;
    io::Write::write_all(&mut file, content.as_bytes())
}

/// Removes a container's file; what is gone is no error.
pub(crate) fn remove(file: &Path) -> io::Result<()> {
    match fs::remove_file(file) {
        Err(error) if !is_absence(&error) => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Whether a delegate of flannel's plugin made masquerade rules for this one pod.
pub(crate) fn pod_was_masqueraded(file: &Path) -> bool {
    let content = fs::read(file).unwrap_or_default();
    let conf: Value = serde_json::from_slice(&content).unwrap_or_default();
    conf["ipMasq"] == true
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENV: &str = "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";

    fn rendered(conf: &str, env: &str) -> String {
        let conf = NetConf::parse(conf.as_bytes()).expect("legal");
        let env = SubnetEnv::parse(env, "subnet.env").expect("complete");
        delegate_configuration(&conf, &env).expect("rendered")
    }

    #[test]
    fn the_stock_configuration_gives_flannels_bytes() {
        let conf = r#"{"cniVersion":"0.3.1","name":"cbr0","type":"flannel","delegate":{"hairpinMode":true,"isDefaultGateway":true}}"#;
        assert_eq!(
            rendered(conf, ENV),
            r#"{"cniVersion":"0.3.1","hairpinMode":true,"ipMasq":false,"ipam":{"ranges":[[{"subnet":"10.244.1.0/24"}]],"routes":[{"dst":"10.244.0.0/16"}],"type":"host-local"},"isDefaultGateway":true,"isGateway":true,"mtu":1450,"name":"cbr0","type":"bridge"}"#
        );
    }

    #[test]
    fn what_the_user_set_stays_and_both_families_are_named() {
        let conf = r#"{"name":"n","delegate":{"mtu":1400,"ipMasq":false,"isGateway":false},"ipam":{"dataDir":"/d","routes":[{"dst":"192.0.2.0/24"}],"ranges":"lost"},"runtimeConfig":{"mac":"02:00:00:00:00:01"}}"#;
        let env = format!(
            "{}FLANNEL_IPV6_NETWORK=fd00::/48\nFLANNEL_IPV6_SUBNET=fd00:0:0:1::1/64\n",
            ENV.replace("=true", "=false")
        );
        assert_eq!(
            rendered(conf, &env),
            r#"{"ipMasq":false,"ipam":{"dataDir":"/d","ranges":[[{"subnet":"10.244.1.0/24"}],[{"subnet":"fd00:0:0:1::/64"}]],"routes":[{"dst":"192.0.2.0/24"},{"dst":"10.244.0.0/16"},{"dst":"fd00::/48"}],"type":"host-local"},"isGateway":false,"mtu":1400,"name":"n","runtimeConfig":{"mac":"02:00:00:00:00:01"},"type":"bridge"}"#
        );
    }

    #[test]
    fn without_the_agents_masquerade_the_delegate_has_its_own() {
        let text = rendered(r#"{"name":"n"}"#, &ENV.replace("=true", "=false"));
        assert!(text.contains(r#""ipMasq":true"#), "{text}");
    }

    #[test]
    fn a_record_is_private_and_goes_with_its_undo() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("flannel/c1");
        let record = Record::write(path.clone(), "{}").expect("written");
        let mode = |path: &Path| {
            use std::os::unix::fs::PermissionsExt as _;
            fs::metadata(path).expect("there").permissions().mode() & 0o7777
        };
        assert_eq!((mode(&path), mode(&root.path().join("flannel"))), (0o600, 0o700));
        record.undo().expect("undone");
        assert!(!path.exists());
    }

    #[test]
    fn the_file_of_another_attachment_outlives_an_undo() {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join("c1");
        fs::write(&path, "first").expect("written");
        Record::write(path.clone(), "second").expect("written").undo().expect("undone");
        assert!(path.exists());
    }
}
