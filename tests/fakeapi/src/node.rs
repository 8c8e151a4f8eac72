//! Node objects as kubelets make them: about 20 KiB each, nearly all of it of no interest to a
//! pod network, so that memory and parsing are measured honestly.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde_json::{Value, json};

/// The most images that a kubelet reports.
const IMAGES: usize = 50;

/// A node object to be created.
#[derive(Debug, Clone)]
pub struct NodeSpec {
    /// `metadata.name`.
    pub name: String,
    /// `spec.podCIDRs`; none is a node that still waits for its subnet.
    pub pod_cidrs: Vec<String>,
    /// Its `InternalIP`s.
    pub addresses: Vec<IpAddr>,
    /// Annotations beside those of every node.
    pub annotations: Vec<(String, String)>,
    /// How many images its kubelet reports: most of the object's size.
    pub images: usize,
}

impl NodeSpec {
    /// A node without a subnet, without annotations.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let (pod_cidrs, addresses, annotations) = (Vec::new(), Vec::new(), Vec::new());
        Self { name: name.into(), pod_cidrs, addresses, annotations, images: IMAGES }
    }

    /// Node number `index` of a large cluster, in 10.0.0.0/8 with subnets of 24 bits in
    /// 10.64.0.0/10, as a running vxlan node of flannel's kind.
    #[must_use]
    pub fn numbered(index: u32) -> Self {
        let address = Ipv4Addr::from(0x0a00_0000 + 1 + index);
        Self::new(node_name(index))
            .with_cidr(subnet(index).as_str())
            .with_address(address.into())
            .published(address, &vtep_mac(index))
    }

    /// With one more subnet.
    #[must_use]
    pub fn with_cidr(mut self, cidr: &str) -> Self {
        self.pod_cidrs.push(cidr.to_owned());
        self
    }

    /// With one more address.
    #[must_use]
    pub fn with_address(mut self, address: IpAddr) -> Self {
        self.addresses.push(address);
        self
    }

    /// With one more annotation.
    #[must_use]
    pub fn with_annotation(mut self, key: &str, value: &str) -> Self {
        self.annotations.push((key.to_owned(), value.to_owned()));
        self
    }

    /// With what flannel's agent publishes for IPv4.
    #[must_use]
    pub fn published(self, public_ip: Ipv4Addr, vtep_mac: &str) -> Self {
        self.with_annotation(&flannel("backend-data"), &backend_data(vtep_mac))
            .with_annotation(&flannel("backend-type"), "vxlan")
            .with_annotation(&flannel("kube-subnet-manager"), "true")
            .with_annotation(&flannel("public-ip"), &public_ip.to_string())
    }

    /// With what flannel's agent publishes for IPv6, beside IPv4.
    #[must_use]
    pub fn published6(self, public_ip: Ipv6Addr, vtep_mac: &str) -> Self {
        self.with_annotation(&flannel("backend-v6-data"), &backend_data(vtep_mac))
            .with_annotation(&flannel("public-ipv6"), &public_ip.to_string())
    }

    /// The object to be sent in a POST.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut node = json!({
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": self.metadata(),
            "spec": {},
            "status": self.status(),
        });
        if let Some(first) = self.pod_cidrs.first() {
            node["spec"] = json!({ "podCIDR": first, "podCIDRs": self.pod_cidrs });
        }
        node
    }

    fn metadata(&self) -> Value {
        let mut annotations = json!({
            "node.alpha.kubernetes.io/ttl": "0",
            "volumes.kubernetes.io/controller-managed-attach-detach": "true",
        });
        for (key, value) in &self.annotations {
            annotations[key] = json!(value);
        }
        json!({
            "name": self.name,
            "annotations": annotations,
            "labels": {
                "beta.kubernetes.io/arch": "amd64",
                "beta.kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "kubernetes.io/hostname": self.name,
                "kubernetes.io/os": "linux",
                "node.kubernetes.io/instance-type": "m7i.large",
                "topology.kubernetes.io/region": "region-1",
                "topology.kubernetes.io/zone": "region-1a",
            },
        })
    }

    fn status(&self) -> Value {
        let hostname = json!({ "type": "Hostname", "address": self.name });
        let internal = |ip: &IpAddr| json!({ "type": "InternalIP", "address": ip.to_string() });
        let addresses: Vec<_> =
            self.addresses.iter().map(internal).chain(std::iter::once(hostname)).collect();
        let resources = json!({ "cpu": "8", "ephemeral-storage": "101430960Ki",
            "hugepages-1Gi": "0", "hugepages-2Mi": "0", "memory": "32623744Ki", "pods": "110" });
        json!({
            "addresses": addresses,
            "allocatable": resources,
            "capacity": resources,
            "conditions": conditions("2026-01-01T00:00:00Z"),
            "daemonEndpoints": { "kubeletEndpoint": { "Port": 10250 } },
            "images": (0..self.images).map(image).collect::<Vec<_>>(),
            "nodeInfo": node_info(),
        })
    }
}

/// The name of node number `index`.
#[must_use]
pub fn node_name(index: u32) -> String {
    format!("node-{index:05}")
}

/// The subnet of node number `index`.
#[must_use]
pub fn subnet(index: u32) -> String {
    format!("{}/24", Ipv4Addr::from(0x0a40_0000 + (index << 8)))
}

/// The VTEP MAC address of node number `index`.
#[must_use]
pub fn vtep_mac(index: u32) -> String {
    let [a, b, c, d] = index.to_be_bytes();
    format!("0a:58:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// flannel's name of an annotation.
#[must_use]
pub fn flannel(name: &str) -> String {
    format!("flannel.alpha.coreos.com/{name}")
}

/// flannel's backend data of a node with VNI 1.
#[must_use]
pub fn backend_data(vtep_mac: &str) -> String {
    format!(r#"{{"VNI":1,"VtepMAC":"{vtep_mac}"}}"#)
}

/// What a kubelet sends every few minutes and changes nothing.
#[must_use]
pub fn heartbeat(at: &str) -> Value {
    json!({ "status": { "conditions": conditions(at) } })
}

fn conditions(heartbeat: &str) -> Value {
    let condition = |kind: &str, status: &str, reason: &str, message: &str| {
        json!({ "type": kind, "status": status, "reason": reason, "message": message,
            "lastHeartbeatTime": heartbeat, "lastTransitionTime": "2026-01-01T00:00:00Z" })
    };
    json!([
        condition("MemoryPressure", "False", "KubeletHasSufficientMemory", "enough memory"),
        condition("DiskPressure", "False", "KubeletHasNoDiskPressure", "enough disk"),
        condition("PIDPressure", "False", "KubeletHasSufficientPID", "enough process ids"),
        condition("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
    ])
}

fn image(index: usize) -> Value {
    let mut digest = String::new();
    for part in 0..8 {
        let word = (index * 8 + part + 1).wrapping_mul(2_654_435_761) & 0xffff_ffff;
        // Writing into a String cannot fail.
        let _ = write!(digest, "{word:08x}");
    }
    let name = format!("registry.example.internal/platform/team-{}/component-{index}", index % 7);
    json!({
        "names": [format!("{name}@sha256:{digest}"), format!("{name}:v1.{index}.0")],
        "sizeBytes": 20_000_000 + index * 1_234_567,
    })
}

fn node_info() -> Value {
    json!({
        "architecture": "amd64",
        "bootID": "5f0d3c1e-3c0a-4d5c-9a44-0f6f6a0a1b2c",
        "containerRuntimeVersion": "containerd://2.3.4",
        "kernelVersion": "6.18.0-1-amd64",
        "kubeProxyVersion": "",
        "kubeletVersion": "v1.36.4",
        "machineID": "8f3b1a2c4d5e6f708192a3b4c5d6e7f8",
        "operatingSystem": "linux",
        "osImage": "Debian GNU/Linux 13 (trixie)",
        "systemUUID": "8f3b1a2c-4d5e-6f70-8192-a3b4c5d6e7f8",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_as_large_as_a_kubelet_makes_it() {
        let size = NodeSpec::numbered(14_999).to_json().to_string().len();
        assert!((12_000..24_000).contains(&size), "{size}");
    }

    #[test]
    fn numbered_nodes_do_not_share_a_subnet() {
        assert_eq!((subnet(0), subnet(1)), ("10.64.0.0/24".into(), "10.64.1.0/24".into()));
        assert_eq!(subnet(14_999), "10.122.151.0/24");
        assert_eq!(vtep_mac(258), "0a:58:00:00:01:02");
    }
}
