//! The lab's own pods: a shell with small tools and a web server that says its name.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::Result;

use super::cluster::Cluster;
use super::images::TOOLBOX;
use super::places::PodView;

/// The port of the web server.
const PORT: u16 = 8080;

impl Cluster {
    /// One toolbox pod per node, called after its node (`PREFIX-node1`), with the label
    /// `app=PREFIX`. Each serves its own name by HTTP on port 8080. Waits until all are ready.
    ///
    /// # Errors
    /// When one does not get ready within 60 s.
    pub fn toolboxes(&self, prefix: &str) -> Result<Vec<PodView>> {
        let mut text = String::new();
        for node in &self.nodes {
            let name = format!("{prefix}-{}", node.name());
            writeln!(text, "---\n{}", toolbox(&name, prefix, node.name()))?;
        }
        self.apply(&text)?;
        let label = format!("app={prefix}");
        self.wait_pods("default", &label, self.nodes.len(), Duration::from_mins(1))
    }
}

/// The manifest of one toolbox pod.
fn toolbox(name: &str, app: &str, node: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata:
  name: {name}
  labels:
    app: {app}
spec:
  nodeSelector:
    kubernetes.io/hostname: {node}
  terminationGracePeriodSeconds: 1
  containers:
    - name: toolbox
      image: {TOOLBOX}
      imagePullPolicy: Never
      command: [sh, -c, \"echo {name} > /tmp/index.html; exec httpd -f -p {PORT} -h /tmp\"]
      readinessProbe:
        tcpSocket:
          port: {PORT}
        periodSeconds: 1
"
    )
}
