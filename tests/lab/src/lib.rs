//! The laboratory: nodes, pods and a wire in namespaces of one machine, shared by the demo, the
//! tests and the benchmarks so that they cannot drift apart.
//!
//! A run starts with [`sandbox::Sandbox`], which executes this program again in fresh namespaces;
//! there [`lab::Lab`] makes the wire, [`lab::Lab::node`] nodes, [`node::Node::pod`] pods. Anything
//! in which a program can run is a [`process::Place`]. Traffic between places comes from
//! [`traffic`]. When the run ends, in whatever way, the kernel removes all of it.
//!
//! The kernel, its namespaces, links, BPF and vxlan are real, and so are the product's binaries,
//! which are found beside this program.

pub mod agent;
pub mod api;
pub mod bench;
pub mod cgroups;
pub mod checksums;
pub mod cluster;
pub mod cluster_cli;
pub mod cni;
pub mod control_plane;
pub mod counters;
pub mod demo;
pub mod e2e;
mod files;
pub mod flannel;
pub mod forge;
pub mod frames;
pub mod frames6;
pub mod ghost;
pub mod go_tools;
pub mod health;
pub mod hex;
pub mod holder;
pub mod ipv6;
pub mod kernel_drops;
pub mod kernel_tables;
pub mod kernel_vxlan;
pub mod kube_cluster;
pub mod kube_proxy;
pub mod kube_services;
pub mod kubernetes;
pub mod lab;
pub mod lease;
pub mod leftovers;
pub mod netfilter_rules;
pub mod network_policy;
pub mod node;
pub mod paths;
pub mod pod;
pub mod process;
pub mod runner;
pub mod sandbox;
pub mod scenario;
pub mod scenarios;
mod space;
pub mod tools;
pub mod trace;
pub mod traffic;
pub mod usage;
pub mod wire;
