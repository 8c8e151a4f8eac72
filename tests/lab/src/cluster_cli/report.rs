//! What `status` says: as data for `-o json`, and what is wrong as sentences.

use serde::{Deserialize, Serialize};

use super::options::Options;
use super::text::span;

/// Everything about a cluster that is up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Report {
    /// What the user asked for.
    pub(super) options: Options,
    /// For how long the cluster has been there.
    pub(super) uptime_seconds: u64,
    /// Process 1 of the lab, by its number on the machine.
    pub(super) lab: u32,
    /// Name and version of what runs.
    pub(super) versions: Vec<(String, String)>,
    /// Programs of the control plane.
    pub(super) control_plane: Vec<Program>,
    /// The nodes, in their order.
    pub(super) nodes: Vec<Node>,
    /// What was broken on purpose.
    pub(super) faults: Vec<InForce>,
    /// What is wrong.
    pub(super) problems: Vec<Problem>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Problem {
    /// In a sentence.
    pub(super) what: String,
    /// The words after the command that show more.
    pub(super) see: Option<String>,
}

impl Problem {
    /// One that needs no second look.
    pub(super) fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), see: None }
    }

    /// With the words that show more.
    pub(super) fn see(mut self, words: impl Into<String>) -> Self {
        self.see = Some(words.into());
        self
    }
}

/// A program that should run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Program {
    /// What the command line calls it.
    pub(super) name: String,
    /// The file name of what is executed.
    pub(super) executable: String,
    /// Its process id in the lab.
    pub(super) pid: Option<u32>,
    /// Whether it runs.
    #[serde(flatten)]
    pub(super) life: Life,
    /// How often it came back.
    pub(super) restarts: u32,
}

/// Whether a program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "state")]
pub(super) enum Life {
    /// For so many seconds.
    Running {
        /// Since its start.
        seconds: u64,
    },
    /// Stopped by SIGSTOP.
    Frozen,
    /// It ran, and does not any more.
    Ended {
        /// Since its end.
        seconds: u64,
    },
    /// It never ran.
    NeverSeen,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Node {
    /// `node1` and so on.
    pub(super) name: String,
    /// Its address on the wire.
    pub(super) address: String,
    /// Whether its machine is on.
    pub(super) on: bool,
    /// What the API server says; `None` when it does not answer or does not know the node.
    pub(super) ready: Option<Condition>,
    /// Its part of the pod network.
    pub(super) pod_cidr: Option<String>,
    /// Its programs.
    pub(super) programs: Vec<Program>,
    /// Its pods.
    pub(super) pods: Vec<Pod>,
}

/// The Ready condition of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Condition {
    /// `True`, `False` or `Unknown`.
    pub(super) status: String,
    /// In one word.
    pub(super) reason: String,
    /// In a sentence.
    pub(super) message: String,
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pod {
    /// Its namespace.
    pub(super) namespace: String,
    /// Its name.
    pub(super) name: String,
    /// `Running` and so on; the reason of what holds it up, if something does.
    pub(super) phase: String,
    /// Its address, if it has one.
    pub(super) ip: Option<String>,
    /// How often its containers came back.
    pub(super) restarts: u64,
    /// What holds it up.
    pub(super) trouble: Option<String>,
}

/// A fault that was made on purpose and lasts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InForce {
    /// What is broken.
    pub(super) what: String,
    /// Until it ends by itself.
    pub(super) seconds_left: Option<u64>,
    /// The words after `fault` that end it.
    pub(super) end: String,
}

/// What is wrong with programs, nodes and pods.
pub(super) fn problems(
    control_plane: &[Program],
    nodes: &[Node],
    api_answers: bool,
) -> Vec<Problem> {
    let mut found: Vec<_> = control_plane.iter().filter_map(|one| one.trouble(None)).collect();
    if !api_answers {
        found.push(Problem::new(
            "the API server does not answer: nothing is known of Node objects and pods",
        ));
    }
    for node in nodes.iter().filter(|node| node.on) {
        found.extend(node.programs.iter().filter_map(|one| one.trouble(Some(&node.name))));
        found.extend(node.trouble(api_answers));
        found.extend(node.pods.iter().filter_map(|pod| pod.trouble_on(&node.name)));
    }
    found
}

impl Program {
    /// What is wrong with it, if anything is.
    fn trouble(&self, node: Option<&str>) -> Option<Problem> {
        let place = node.map(|node| format!("{node}: ")).unwrap_or_default();
        let how = match self.life {
            Life::Running { .. } => return None,
            Life::Frozen => "is frozen (SIGSTOP)".to_owned(),
            Life::Ended { seconds } => format!("ended {} ago", span(seconds)),
            Life::NeverSeen => "does not run".to_owned(),
        };
        let logs: Vec<_> = ["logs"].into_iter().chain(node).chain([self.name.as_str()]).collect();
        let what = format!("{place}{} {how}", self.executable);
        Some(Problem::new(what).see(logs.join(" ")))
    }
}

impl Node {
    fn trouble(&self, api_answers: bool) -> Option<Problem> {
        let name = &self.name;
        match &self.ready {
            Some(ready) if ready.status == "True" => None,
            Some(Condition { reason, message, .. }) => Some(
                Problem::new(format!("{name} is not Ready: {reason}: {message}"))
                    .see(format!("kubectl describe node {name}")),
            ),
            None if api_answers => Some(
                Problem::new(format!("{name} has no Node object: nobody registered it"))
                    .see(format!("logs {name}")),
            ),
            None => None,
        }
    }
}

impl Pod {
    fn trouble_on(&self, node: &str) -> Option<Problem> {
        let problem = self.trouble()?;
        Some(Problem { what: format!("{node}: {}", problem.what), ..problem })
    }

    /// What is wrong with it, if anything is.
    pub(super) fn trouble(&self) -> Option<Problem> {
        let Self { namespace, name, phase, trouble, .. } = self;
        let trouble = trouble.as_ref()?;
        Some(
            Problem::new(format!("pod {namespace}/{name} is {phase}: {trouble}"))
                .see(format!("kubectl -n {namespace} describe pod {name}")),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(life: Life) -> Program {
        Program {
            name: "agent".to_owned(),
            executable: "tartand".to_owned(),
            pid: None,
            life,
            restarts: 0,
        }
    }

    fn node(ready: Option<(&str, &str)>) -> Node {
        let condition = |(status, reason): (&str, &str)| Condition {
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: "cni plugin not initialized".to_owned(),
        };
        Node {
            name: "node2".to_owned(),
            address: "172.30.0.12".to_owned(),
            on: true,
            ready: ready.map(condition),
            pod_cidr: None,
            programs: Vec::new(),
            pods: Vec::new(),
        }
    }

    #[test]
    fn a_cluster_in_order_has_no_problem() {
        let running = program(Life::Running { seconds: 3 });
        let ready = node(Some(("True", "KubeletReady")));
        assert_eq!(problems(&[running], &[ready], true), []);
    }

    #[test]
    fn a_program_that_ended_is_named_with_its_node_and_where_to_look() {
        let mut node = node(Some(("True", "KubeletReady")));
        node.programs.push(program(Life::Ended { seconds: 7 }));
        let expected = Problem::new("node2: tartand ended 7 s ago").see("logs node2 agent");
        assert_eq!(problems(&[], &[node], true), [expected]);
    }

    #[test]
    fn a_node_that_is_not_ready_says_why() {
        let found = problems(&[], &[node(Some(("False", "KubeletNotReady")))], true);
        let what = "node2 is not Ready: KubeletNotReady: cni plugin not initialized";
        assert_eq!(found[0].what, what);
    }

    #[test]
    fn a_node_that_is_off_is_no_problem_but_a_fault() {
        let mut node = node(None);
        node.on = false;
        assert_eq!(problems(&[], &[node], true), []);
    }

    #[test]
    fn a_silent_api_server_is_said_once_and_not_for_each_node() {
        let found = problems(&[], &[node(None), node(None)], false);
        assert_eq!(found.len(), 1);
    }

    #[test]
    fn a_report_survives_json() {
        let report = program(Life::Ended { seconds: 1 });
        let text = serde_json::to_string(&report).unwrap();
        assert!(text.contains(r#""state":"ended""#), "{text}");
        assert_eq!(serde_json::from_str::<Program>(&text).unwrap(), report);
    }
}
