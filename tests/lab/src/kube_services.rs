//! Pods, Services and EndpointSlices on the lab's API server, in place of a scheduler, kubelets
//! and the controllers that make EndpointSlices.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::api::Client;

/// The port of every Service, for TCP and for UDP.
pub const SERVICE_PORT: u16 = 80;
/// The port on which every backend answers.
pub const BACKEND_PORT: u16 = 8080;

const PODS: &str = "/api/v1/namespaces/default/pods";
const SERVICES: &str = "/api/v1/namespaces/default/services";
const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices";
/// What each Service offers; ports are called after their protocol.
const PORT_NAMES: [&str; 2] = ["tcp", "udp"];

/// A pod behind a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    /// The name of its Pod object.
    pub pod: String,
    /// Its address; that of its node for a pod in the host's network.
    pub address: IpAddr,
    /// The name of its node.
    pub node: String,
}

/// Which addresses a Service has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reach {
    /// A cluster address.
    #[default]
    Cluster,
    /// A cluster address and a port of every node.
    NodePort,
    /// As [`Reach::NodePort`], which leads to pods of the same node only.
    NodePortLocal,
    /// None: its name stands for the addresses of its pods.
    Headless,
}

/// A Service to be made, for TCP and UDP, of its pods' address family.
#[derive(Debug, Clone, Default)]
pub struct ServiceSpec {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub reach: Reach,
    /// Whether every client stays with one pod.
    pub client_affinity: bool,
    /// Its pods.
    pub backends: Vec<Backend>,
}

/// A Service as the API server has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// Its cluster address, unless it is headless.
    pub cluster_ip: Option<IpAddr>,
    /// The port on every node, TCP first, if it has one.
    pub node_ports: Option<[u16; 2]>,
    /// Where it leads.
    pub endpoints: Vec<IpAddr>,
}

/// An endpoint that kube-proxy shall translate to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Translation {
    /// The Service, in namespace `default`.
    pub service: String,
    /// The name of the Service's port.
    pub port_name: &'static str,
    /// The pod's address.
    pub address: IpAddr,
    /// The pod's port.
    pub port: u16,
}

impl ServiceSpec {
    /// What kube-proxy has to do for it: nothing, if it is headless.
    pub fn translations(&self) -> impl Iterator<Item = Translation> + '_ {
        let all = self.backends.iter().filter(|_| self.reach != Reach::Headless);
        all.flat_map(|backend| {
            PORT_NAMES.map(|port_name| Translation {
                service: self.name.clone(),
                port_name,
                address: backend.address,
                port: BACKEND_PORT,
            })
        })
    }

    fn is_v6(&self) -> bool {
        self.backends.iter().any(|backend| backend.address.is_ipv6())
    }

    fn object(&self) -> Value {
        let node_port = matches!(self.reach, Reach::NodePort | Reach::NodePortLocal);
        let mut spec = json!({
            "type": if node_port { "NodePort" } else { "ClusterIP" },
            "ports": PORT_NAMES.map(|name| json!({
                "name": name,
                "protocol": name.to_uppercase(),
                "port": SERVICE_PORT,
                "targetPort": BACKEND_PORT,
            })),
        });
        match self.reach {
            Reach::Cluster | Reach::NodePort => {}
            Reach::NodePortLocal => spec["externalTrafficPolicy"] = "Local".into(),
            Reach::Headless => spec["clusterIP"] = "None".into(),
        }
        if self.is_v6() {
            spec["ipFamilyPolicy"] = "SingleStack".into();
            spec["ipFamilies"] = json!(["IPv6"]);
        }
        if self.client_affinity {
            spec["sessionAffinity"] = "ClientIP".into();
        }
        json!({ "metadata": { "name": self.name }, "spec": spec })
    }

    fn slice(&self) -> Value {
        let endpoint = |backend: &Backend| {
            json!({
                "addresses": [backend.address],
                "nodeName": backend.node,
                "conditions": { "ready": true, "serving": true, "terminating": false },
                "targetRef": { "kind": "Pod", "namespace": "default", "name": backend.pod },
            })
        };
        json!({
            "metadata": {
                "name": format!("{}-1", self.name),
                "labels": { "kubernetes.io/service-name": self.name },
            },
            "addressType": if self.is_v6() { "IPv6" } else { "IPv4" },
            "endpoints": self.backends.iter().map(endpoint).collect::<Vec<_>>(),
            "ports": PORT_NAMES.map(|name| json!({
                "name": name,
                "protocol": name.to_uppercase(),
                "port": BACKEND_PORT,
            })),
        })
    }
}

impl Client {
    /// Makes a Pod object that runs on its node and is ready, as scheduler and kubelet would say.
    ///
    /// # Errors
    /// When the server refuses it.
    pub fn publish_pod(&self, pod: &Backend, host_network: bool) -> Result<()> {
        let object = json!({
            "metadata": { "name": pod.pod, "labels": { "app": pod.pod } },
            "spec": {
                "nodeName": pod.node,
                "hostNetwork": host_network,
                "containers": [{ "name": "main", "image": "none" }],
            },
        });
        self.create(PODS, &object)?;
        let status = json!({ "status": {
            "phase": "Running",
            "podIP": pod.address,
            "podIPs": [{ "ip": pod.address }],
            "conditions": [{ "type": "Ready", "status": "True" }],
        }});
        self.patch(&format!("{PODS}/{}/status", pod.pod), &status).map(drop)
    }

    /// Makes a Service and its EndpointSlice.
    ///
    /// # Errors
    /// When the server refuses one of them, or gives the Service no address.
    pub fn publish_service(&self, spec: &ServiceSpec) -> Result<Service> {
        let made = self.create(SERVICES, &spec.object())?;
        self.create(SLICES, &spec.slice())?;
        read_service(&made, spec).with_context(|| format!("the API server made {made}"))
    }

    /// The addresses behind a Service's name when it is headless: those of its EndpointSlices, as
    /// the cluster's DNS has them.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn endpoint_addresses(&self, service: &str) -> Result<Vec<IpAddr>> {
        let selector = format!("kubernetes.io%2Fservice-name%3D{service}");
        let slices = self.list(&format!("{SLICES}?labelSelector={selector}"))?;
        let endpoints = slices.iter().filter_map(|slice| slice["endpoints"].as_array()).flatten();
        let first = |endpoint: &Value| Some(endpoint["addresses"][0].as_str()?.parse());
        Ok(endpoints.filter_map(first).collect::<Result<_, _>>()?)
    }
}

fn read_service(made: &Value, spec: &ServiceSpec) -> Result<Service> {
    let port = |index: usize| {
        let port = made["spec"]["ports"][index]["nodePort"].as_u64().context("no node port")?;
        Ok::<_, anyhow::Error>(u16::try_from(port)?)
    };
    let node_ports = match spec.reach {
        Reach::Cluster | Reach::Headless => None,
        Reach::NodePort | Reach::NodePortLocal => Some([port(0)?, port(1)?]),
    };
    let cluster_ip = match spec.reach {
        Reach::Headless => None,
        Reach::Cluster | Reach::NodePort | Reach::NodePortLocal => {
            Some(made["spec"]["clusterIP"].as_str().context("no cluster address")?.parse()?)
        }
    };
    let endpoints = spec.backends.iter().map(|backend| backend.address).collect();
    Ok(Service { cluster_ip, node_ports, endpoints })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(reach: Reach, address: &str) -> ServiceSpec {
        let backend =
            Backend { pod: "b".into(), address: address.parse().unwrap(), node: "node2".into() };
        ServiceSpec { name: "web".into(), reach, client_affinity: false, backends: vec![backend] }
    }

    #[test]
    fn a_headless_service_asks_nothing_of_kube_proxy() {
        assert_eq!(spec(Reach::Headless, "10.244.1.2").translations().count(), 0);
        assert_eq!(spec(Reach::Cluster, "10.244.1.2").translations().count(), 2);
        assert_eq!(spec(Reach::Headless, "10.244.1.2").object()["spec"]["clusterIP"], "None");
    }

    #[test]
    fn an_endpoint_knows_its_node() {
        let slice = spec(Reach::Cluster, "10.244.1.2").slice();
        assert_eq!(slice["endpoints"][0]["nodeName"], "node2");
        assert_eq!(slice["metadata"]["labels"]["kubernetes.io/service-name"], "web");
    }

    #[test]
    fn a_service_is_of_its_pods_family() {
        let spec = spec(Reach::Cluster, "fd00:10:244::2");
        assert_eq!(spec.object()["spec"]["ipFamilies"], json!(["IPv6"]));
        assert_eq!(spec.slice()["addressType"], "IPv6");
    }
}
