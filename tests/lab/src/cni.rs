//! The container runtime's side of CNI: the node's configuration list, the environment, the
//! plugin's standard input and output.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, bail};
use ipnet::Ipv4Net;
use serde_json::{Value, json};

use crate::node::CONFLIST;
use crate::paths;
use crate::pod::Pod;
use crate::process::Place as _;

/// What ADD printed.
#[derive(Debug, Clone)]
pub struct Attachment {
    /// The result as the plugin gave it.
    pub result: Value,
}

impl Attachment {
    /// The pod's IPv4 address with its prefix length.
    ///
    /// # Errors
    /// When the result has none.
    pub fn address(&self) -> Result<Ipv4Net> {
        let address = self.result["ips"][0]["address"].as_str();
        let address = address.with_context(|| format!("no ips[0].address in {}", self.result))?;
        Ok(address.parse()?)
    }

    /// The name of the pod's link on the node: the interface without a sandbox.
    ///
    /// # Errors
    /// When the result names none.
    pub fn host_link(&self) -> Result<&str> {
        let interfaces = self.result["interfaces"].as_array().map_or(&[][..], Vec::as_slice);
        let on_host = |link: &&Value| link["sandbox"].as_str().is_none_or(str::is_empty);
        let link = interfaces.iter().find(on_host).and_then(|link| link["name"].as_str());
        link.with_context(|| format!("no link of the node in {}", self.result))
    }
}

/// The runtime of one pod's node.
#[derive(Debug)]
pub struct Runtime<'a> {
    pod: &'a Pod,
}

impl<'a> Runtime<'a> {
    pub(crate) fn new(pod: &'a Pod) -> Self {
        Self { pod }
    }

    /// ADD.
    ///
    /// # Errors
    /// When the plugin fails or prints no result.
    pub fn add(&self) -> Result<Attachment> {
        let printed = self.call("ADD", &self.config()?)?;
        let result = serde_json::from_str(&printed).context("ADD printed no JSON")?;
        Ok(Attachment { result })
    }

    /// DEL.
    ///
    /// # Errors
    /// When the plugin fails.
    pub fn del(&self) -> Result<()> {
        self.call("DEL", &self.config()?).map(drop)
    }

    /// CHECK against the result of ADD.
    ///
    /// # Errors
    /// When the plugin says no.
    pub fn check(&self, added: &Attachment) -> Result<()> {
        let mut config = self.config()?;
        config["prevResult"] = added.result.clone();
        self.call("CHECK", &config).map(drop)
    }

    /// The plugin's configuration as the runtime passes it on: one plugin of the node's list with
    /// the list's name and version.
    ///
    /// # Errors
    /// When the node's list cannot be read.
    pub fn config(&self) -> Result<Value> {
        let list: Value = serde_json::from_str(&self.pod.node().read(CONFLIST)?)?;
        let mut plugin = list["plugins"][0].clone();
        if !plugin.is_object() {
            bail!("{CONFLIST} lists no plugin");
        }
        plugin["name"] = list["name"].clone();
        plugin["cniVersion"] = list["cniVersion"].clone();
        Ok(plugin)
    }

    fn call(&self, verb: &str, config: &Value) -> Result<String> {
        let output = self.raw(verb, &config.to_string(), &[])?;
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(stdout);
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        bail!("CNI {verb} of {}: {}: {stdout} {stderr}", self.pod.label(), output.status)
    }

    /// Runs the plugin with any input; `env` overrides the runtime's variables, so that a test
    /// can ask for nonsense. Never fails because the plugin does.
    ///
    /// # Errors
    /// When the plugin is not built or cannot be started.
    pub fn raw(&self, verb: &str, stdin: &str, env: &[(&str, &str)]) -> Result<Output> {
        paths::binary("tartan-cni")?;
        let mut command = self.environment(verb);
        command.envs(env.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().context("cannot start the CNI plugin")?;
        let mut input = child.stdin.take().context("the plugin has no standard input")?;
        // A plugin that refuses early does not read its input.
        let _ = input.write_all(stdin.as_bytes());
        drop(input);
        Ok(child.wait_with_output()?)
    }

    fn environment(&self, verb: &str) -> Command {
        let mut command = self.pod.node().command("/opt/cni/bin/tartan-cni");
        let pod = self.pod.name();
        command
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", self.pod.container_id())
            .env("CNI_NETNS", self.pod.netns())
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", "/opt/cni/bin")
            .env(
                "CNI_ARGS",
                format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod}"),
            );
        command
    }
}

/// The configuration list with this one plugin, for [`Node::write`](crate::node::Node::write).
#[must_use]
pub fn conflist(plugin: &Value) -> String {
    json!({ "name": "cbr0", "cniVersion": "1.0.0", "plugins": [plugin] }).to_string()
}
