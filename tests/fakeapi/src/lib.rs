//! A Kubernetes API server for tests: as much of it as a pod network's agent needs, with the real
//! one's semantics, and with everything that goes wrong between an agent and its server on order.
//!
//! | module | contents |
//! |---|---|
//! | [`cluster`] | the store in the hands of a test |
//! | [`server`] | one listening server: refuse, fall silent, cut, come back |
//! | [`fault`] | what goes wrong with requests and watches |
//! | [`view`] | servers that lag behind |
//! | [`node`] | node objects as kubelets make them |
//! | [`status`] | `Status` objects |
//!
//! It knows nodes (list in pages, watch with bookmarks, get, create, delete, merge and strategic
//! patches of the object and of its status), pods and events. It authenticates nobody. That it
//! behaves as the real server does is not a claim but a test: one suite runs against both.

mod answer;
pub mod cluster;
mod etcd;
mod events;
pub mod fault;
mod list;
pub mod node;
mod options;
pub mod patch;
mod registry;
mod route;
pub mod server;
mod service;
mod shared;
pub mod status;
pub mod suite;
pub mod view;
mod watch;
mod watching;

pub use cluster::Cluster;
pub use fault::{Fault, Verb};
pub use node::NodeSpec;
pub use server::{Mode, Server};
pub use service::Seen;
pub use shared::Timings;
pub use view::Lag;
