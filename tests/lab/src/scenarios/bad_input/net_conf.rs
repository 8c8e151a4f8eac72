//! Each key of `net-conf.json`, broken.

use anyhow::{Context as _, Result};

use super::agent::refuses;
use crate::node::NET_CONF;
use crate::process::Place as _;
use crate::scenario::Scenario;
use crate::wire::Wire;

/// A broken document and what the error must tell.
type Broken = (&'static str, &'static [&'static str]);

const DOCUMENTS: [Broken; 4] = [
    ("{", &["not valid JSON", "line 1"]),
    ("[]", &["not an object"]),
    ("", &["not valid JSON"]),
    (r#"{"Backend":{"Type":"vxlan"}}"#, &["Network is missing", "10.244.0.0/16"]),
];

/// Keys at the top level.
const KEYS: [Broken; 18] = [
    (r#""Network":"10.244.0.0""#, &["Network", "10.244.0.0", "not an IPv4 network"]),
    (r#""Network":7"#, &["Network = 7", "not a string"]),
    (r#""Network":"127.0.0.0/8""#, &["Network", "loopback"]),
    (r#""Network":"10.244.0.0/30""#, &["Network", "too small"]),
    (r#""SubnetLen":33"#, &["SubnetLen = 33"]),
    (r#""SubnetLen":"24""#, &["SubnetLen", "not an integer"]),
    (r#""SubnetLen":16"#, &["SubnetLen = 16", "four subnets"]),
    (r#""SubnetMin":"10.245.0.0""#, &["SubnetMin", "outside 10.244.0.0/16"]),
    (r#""SubnetMin":"10.244.1.7""#, &["SubnetMin", "not the first address"]),
    (r#""SubnetMin":"10.244.9.0","SubnetMax":"10.244.3.0""#, &["SubnetMin", "above SubnetMax"]),
    (r#""SubnetMax":"10.244.300.0""#, &["SubnetMax", "not an IPv4 address"]),
    (r#""EnableIPv4":false"#, &["EnableIPv4", "no address family"]),
    (r#""EnableIPv4":"yes""#, &["EnableIPv4", "not a boolean"]),
    (r#""EnableIPv6":1"#, &["EnableIPv6 = 1", "not a boolean"]),
    (r#""IPv6Network":"fd00::""#, &["IPv6Network", "not an IPv6 network"]),
    (r#""EnableNFTables":"no""#, &["EnableNFTables", "not a boolean"]),
    (r#""FastPath":"sometimes""#, &["FastPath", "sometimes", "after-accept"]),
    (r#""Backend":"vxlan""#, &["Backend", "not an object"]),
];

/// Keys of the backend.
const BACKEND: [Broken; 12] = [
    (r#""VNI":16777216"#, &["Backend.VNI = 16777216", "out of range"]),
    (r#""VNI":0"#, &["Backend.VNI = 0"]),
    (r#""VNI":"1""#, &["Backend.VNI", "not an integer"]),
    (r#""Port":65536"#, &["Backend.Port = 65536", "out of range"]),
    (r#""Port":-1"#, &["Backend.Port = -1"]),
    (r#""MTU":100"#, &["Backend.MTU = 100", "out of range"]),
    (r#""MTU":70000"#, &["Backend.MTU = 70000"]),
    (r#""GBP":true"#, &["Backend.GBP", "not supported yet"]),
    (r#""Learning":1"#, &["Backend.Learning", "not a boolean"]),
    (r#""DirectRouting":"no""#, &["Backend.DirectRouting", "not a boolean"]),
    (r#""SourceCheck":"none""#, &["Backend.SourceCheck", "strict", "sender"]),
    (r#""Type":"udp""#, &["Backend.Type", "udp", "use \"vxlan\""]),
];

pub(super) fn each_key(scenario: &mut Scenario) -> Result<()> {
    let lab = scenario.lab(Wire::Offloaded)?;
    let node = lab.node()?;
    let network = r#""Network":"10.244.0.0/16""#;
    let mut documents: Vec<(String, &[&str])> =
        DOCUMENTS.iter().map(|(text, words)| ((*text).to_owned(), *words)).collect();
    // Of a key that stands twice the last one counts.
    documents.extend(KEYS.iter().map(|(key, words)| (format!("{{{network},{key}}}"), *words)));
    documents.extend(BACKEND.iter().map(|(key, words)| {
        (format!(r#"{{{network},"Backend":{{"Type":"vxlan",{key}}}}}"#), *words)
    }));
    for (text, words) in &documents {
        node.write(NET_CONF, text)?;
        refuses(&node, &[], words).with_context(|| format!("net-conf {text}"))?;
    }
    scenario.note(format!("{} broken documents", documents.len()));
    node.run(&format!("rm {NET_CONF}"))?;
    refuses(&node, &[], &["failed to read net conf", NET_CONF, "--net-config-path"])
}
