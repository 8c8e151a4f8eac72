//! A node of its own: a host namespace, pods, files, and a data path that only remembers.

#![expect(clippy::expect_used, reason = "a test's scaffolding fails its test")]
#![expect(clippy::needless_pass_by_value, reason = "a test reads better with `json!` in place")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use serde_json::{Value, json};
use tartan_cni::datapath::{Datapath, DatapathError};
use tartan_cni::netlink::Rtnl;
use tartan_cni::{Outcome, run};
use tartan_common::abi::PodEntry;
use tempfile::TempDir;

/// Where the stand-in fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    NotReady,
    Insert,
    Attach,
    Panic,
}

/// A data path that remembers.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) pods: BTreeMap<IpAddr, PodEntry>,
    pub(crate) attached: BTreeSet<String>,
    /// Those of `attached` that the agent is to attach lastingly.
    pub(crate) provisional: BTreeSet<String>,
    /// Somebody's qdisc is in the place.
    pub(crate) qdisc_is_taken: bool,
    /// How often programs came to a link that was up already.
    pub(crate) attached_while_up: usize,
    pub(crate) fault: Option<Fault>,
    /// When the agent will have pinned everything.
    pub(crate) ready_at: Option<Instant>,
}

impl Memory {
    fn fail_at(&self, fault: Fault) -> Result<(), DatapathError> {
        match self.fault {
            Some(Fault::NotReady) => Err(DatapathError::NotReady("nothing is pinned".into())),
            Some(other) if other == fault => Err(DatapathError::Failed(format!("{fault:?}"))),
            Some(_) | None => Ok(()),
        }
    }
}

impl Datapath for Memory {
    fn skips_conntrack(&mut self) -> bool {
        true
    }

    fn tunnels_over_ipv6(&mut self) -> bool {
        true
    }

    fn ready(&mut self) -> Result<(), DatapathError> {
        if self.ready_at.is_some_and(|at| Instant::now() < at) {
            return Err(DatapathError::NotReady("nothing is pinned yet".into()));
        }
        self.fail_at(Fault::NotReady)
    }

    fn pod(&mut self, ip: IpAddr) -> Result<Option<PodEntry>, DatapathError> {
        self.fail_at(Fault::NotReady)?;
        Ok(self.pods.get(&ip).copied())
    }

    fn insert_pod(&mut self, ip: IpAddr, entry: PodEntry) -> Result<(), DatapathError> {
        self.fail_at(Fault::Insert)?;
        self.pods.insert(ip, entry);
        Ok(())
    }

    fn remove_pod(&mut self, ip: IpAddr) -> Result<(), DatapathError> {
        self.fail_at(Fault::NotReady)?;
        self.pods.remove(&ip);
        Ok(())
    }

    fn attach(&mut self, host_veth: &str) -> Result<(), DatapathError> {
        let link = Rtnl::open().expect("socket").link(host_veth).expect("asked").expect("there");
        self.attached_while_up += usize::from(link.is_up);
        self.attached.insert(host_veth.to_owned());
        assert_ne!(self.fault, Some(Fault::Panic), "asked to");
        self.fail_at(Fault::Attach)
    }

    fn attach_provisionally(&mut self, host_veth: &str) -> Result<bool, DatapathError> {
        if self.qdisc_is_taken {
            return Ok(false);
        }
        self.provisional.insert(host_veth.to_owned());
        self.attach(host_veth).map(|()| true)
    }

    fn remember_wish(&mut self, _: &str) -> Result<(), DatapathError> {
        Ok(())
    }

    fn detach(&mut self, host_veth: &str) -> Result<(), DatapathError> {
        self.fail_at(Fault::NotReady)?;
        self.attached.remove(host_veth);
        self.provisional.remove(host_veth);
        Ok(())
    }

    fn attached(&mut self, host_veth: &str) -> Result<bool, DatapathError> {
        self.fail_at(Fault::NotReady)?;
        Ok(self.attached.contains(host_veth))
    }
}

/// A node.
pub(crate) struct Lab {
    pub(crate) root: TempDir,
    pub(crate) datapath: Memory,
    /// `CNI_ARGS`.
    pub(crate) args: &'static str,
    /// How long ADD waits for the agent.
    pub(crate) patience: Duration,
    pods: BTreeMap<String, File>,
}

/// Runs a test in a fresh host namespace, or says why not.
pub(crate) fn namespaces(test: impl FnOnce(Lab) + Send) {
    thread::scope(|scope| {
        let outcome = scope.spawn(|| {
            if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
                println!("skipped: a network namespace of its own needs root ({error})");
                return;
            }
            test(Lab::new());
        });
        if let Err(panic) = outcome.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

/// Runs code inside a namespace.
pub(crate) fn in_namespace<T: Send>(netns: &File, code: impl FnOnce() -> T + Send) -> T {
    let inside = || {
        setns(netns, CloneFlags::CLONE_NEWNET).expect("a namespace");
        code()
    };
    thread::scope(|scope| scope.spawn(inside).join().expect("no panic"))
}

fn new_namespace() -> File {
    let make = || {
        unshare(CloneFlags::CLONE_NEWNET).expect("root");
        File::open("/proc/thread-self/ns/net").expect("a namespace")
    };
    thread::spawn(make).join().expect("no panic")
}

impl Lab {
    fn new() -> Self {
        let lab = Self {
            root: TempDir::new().expect("a directory"),
            datapath: Memory::default(),
            args: "",
            patience: Duration::ZERO,
            pods: BTreeMap::new(),
        };
        let env = "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n";
        fs::write(lab.subnet_file(), env).expect("written");
        lab.ip("link set lo up");
        lab.ip("address add 10.244.1.1/32 dev lo");
        lab
    }

    pub(crate) fn ip(&self, words: &str) {
        let status = Command::new("ip").args(words.split(' ')).status().expect("iproute2");
        assert!(status.success(), "ip {words} in {}", self.root.path().display());
    }

    pub(crate) fn subnet_file(&self) -> PathBuf {
        self.root.path().join("subnet.env")
    }

    pub(crate) fn ipam_dir(&self) -> PathBuf {
        self.root.path().join("networks/cbr0")
    }

    pub(crate) fn ipam(&self) -> Value {
        json!({ "dataDir": self.root.path().join("networks") })
    }

    /// Keeps the lab's own directory in a configuration's `ipam`.
    pub(crate) fn merge_ipam(&self, mut conf: Value) -> Value {
        conf["ipam"]["dataDir"] = self.ipam()["dataDir"].clone();
        conf
    }

    pub(crate) fn pod(&mut self, id: &str) -> &File {
        self.pods.entry(id.to_owned()).or_insert_with(new_namespace)
    }

    pub(crate) fn pod_path(&mut self, id: &str) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.pod(id).as_raw_fd())
    }

    pub(crate) fn drop_pod(&mut self, id: &str) {
        self.pods.remove(id);
    }

    fn conf(&self, extra: &Value) -> Value {
        let mut conf = json!({
            "cniVersion": "1.1.0", "name": "cbr0", "type": "tartan-cni",
            "subnetFile": self.subnet_file(), "ipam": self.ipam(),
            "dataDir": self.root.path().join("scratch"),
        });
        for (key, value) in extra.as_object().expect("an object") {
            conf[key] = value.clone();
        }
        conf
    }

    pub(crate) fn call_in(&mut self, verb: &str, id: &str, netns: &Path, extra: &Value) -> Outcome {
        let args = self.args;
        let lookup = |name: &str| match name {
            "CNI_COMMAND" => Some(verb.to_owned()),
            "CNI_CONTAINERID" => Some(id.to_owned()),
            "CNI_IFNAME" if !id.is_empty() => Some("eth0".to_owned()),
            "CNI_ARGS" => Some(args.to_owned()),
            "CNI_NETNS" => Some(netns.display().to_string()),
            _ => None,
        };
        let stdin = self.conf(extra).to_string();
        run(lookup, &mut stdin.as_bytes(), &mut self.datapath, self.patience)
    }

    pub(crate) fn call(&mut self, verb: &str, id: &str, extra: Value) -> Outcome {
        let is_gone = verb == "DEL" && !self.pods.contains_key(id);
        let netns = if id.is_empty() || is_gone { String::new() } else { self.pod_path(id) };
        self.call_in(verb, id, Path::new(&netns), &extra)
    }

    pub(crate) fn ok(&mut self, verb: &str, id: &str, extra: Value) -> Value {
        let outcome = self.call(verb, id, extra);
        assert!(outcome.success && outcome.stderr.is_empty(), "{outcome:?}");
        serde_json::from_str(&outcome.stdout).expect("JSON")
    }

    pub(crate) fn quiet(&mut self, verb: &str, id: &str, extra: Value) {
        let outcome = self.call(verb, id, extra);
        assert_eq!(outcome, Outcome { success: true, ..Outcome::default() });
    }

    pub(crate) fn quiet_in(&mut self, verb: &str, id: &str, netns: &Path, extra: Value) {
        let outcome = self.call_in(verb, id, netns, &extra);
        assert_eq!(outcome, Outcome { success: true, ..Outcome::default() });
    }

    pub(crate) fn error(&mut self, verb: &str, id: &str, extra: Value) -> Value {
        let outcome = self.call(verb, id, extra);
        assert!(!outcome.success, "{outcome:?}");
        serde_json::from_str(&outcome.stdout).expect("JSON")
    }

    /// Names of the host's links.
    pub(crate) fn links() -> Vec<String> {
        let output = Command::new("ip").args(["-j", "link"]).output().expect("iproute2");
        let links: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
        links.iter().filter_map(|link| link["ifname"].as_str().map(str::to_owned)).collect()
    }

    pub(crate) fn reservations(&self) -> Vec<String> {
        let entries = fs::read_dir(self.ipam_dir()).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> =
            names.filter(|name| name.parse::<IpAddr>().is_ok() || name.starts_with('.')).collect();
        names.sort();
        names
    }

    /// Everything an attachment may leave behind on the host.
    pub(crate) fn traces(&self) -> String {
        let routes = Command::new("ip").args(["route"]).output().expect("iproute2").stdout;
        format!(
            "{:?} {:?} {:?} {:?} {}",
            Self::links(),
            self.reservations(),
            self.datapath.pods,
            self.datapath.attached,
            String::from_utf8_lossy(&routes)
        )
    }
}
