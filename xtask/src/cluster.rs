//! `cargo xtask cluster`: builds what a cluster is made of, then lets the lab do the work.

use std::env;
use std::os::unix::process::CommandExt as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Args, Subcommand, ValueEnum};

use crate::tools::Set;
use crate::{images, lab, tools, workspace};

/// Tells the lab what the user types before the action.
const VARIABLE: &str = "TARTAN_CLUSTER_COMMAND";
const COMMAND: &str = "cargo xtask cluster";

/// What to do with a cluster.
#[derive(Subcommand)]
pub(crate) enum Action {
    /// Bring one up: returns when nodes are Ready and all pods talk to each other
    Up(Up),
    /// End it, and remove whatever is left of it
    Down(Words),
    /// How everything is, and what is wrong
    Status(Words),
    /// What the control plane and the nodes' programs write: logs [NODE] [PROGRAM] [-f]
    Logs(Words),
    /// A command on a node, or a shell: exec NODE [--] CMD...
    Exec(Words),
    /// kubectl as administrator; files and standard input are yours
    Kubectl(Words),
    /// Print the administrator's kubeconfig
    Kubeconfig(Words),
    /// Break something, or mend it: fault api|node|kill|start ...
    Fault(Words),
}

/// Words for the lab, `--help` among them.
#[derive(Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Words {
    /// Passed on as they are (`--help` explains them)
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<String>,
}

#[derive(Args)]
pub(crate) struct Up {
    /// How much of a cluster is real
    #[arg(long, value_enum, default_value_t = Tier::L2)]
    tier: Tier,
    /// How many nodes (1 to 20)
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    nodes: u8,
    /// How kube-proxy translates Services [default: iptables]
    #[arg(long, value_parser = ["iptables", "nftables"])]
    proxy: Option<String>,
    /// MTU of the wire between the nodes (1280 to 9000) [default: 1500]
    #[arg(long, value_parser = clap::value_parser!(u16).range(1280..=9000))]
    mtu: Option<u16>,
    /// Who connects the pods: Tartan, or flannel to compare with [default: tartan]
    #[arg(long, value_parser = ["tartan", "flannel"])]
    cni: Option<String>,
    /// Address families of the pods
    #[arg(long, default_value = "ipv4", value_parser = ["ipv4", "dual"])]
    family: String,
    /// Leave CoreDNS out
    #[arg(long)]
    no_dns: bool,
    /// Stay in the foreground: Ctrl-C ends the cluster
    #[arg(long)]
    foreground: bool,
    /// End the cluster as soon as it was checked; the verdict is the exit code
    #[arg(long, conflicts_with = "foreground")]
    exit: bool,
}

/// How much of a cluster is real.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tier {
    /// All of it: a whole control plane, and nodes with containerd, kubelet and kube-proxy
    L2,
    /// etcd, kube-apiserver, kube-controller-manager; nodes without kubelets: tartand and one pod
    L1,
}

/// Runs the action.
pub(crate) fn run(action: &Action) -> Result<ExitCode> {
    match action {
        Action::Up(up) => {
            if workspace::is_root() && up.family != "dual" {
                build(up.tier)?;
            }
            become_the_lab("up", &up.words())
        }
        Action::Down(words) => become_the_lab("down", &words.words),
        Action::Status(words) => become_the_lab("status", &words.words),
        Action::Logs(words) => become_the_lab("logs", &words.words),
        Action::Exec(words) => become_the_lab("exec", &words.words),
        Action::Kubectl(words) => become_the_lab("kubectl", &words.words),
        Action::Kubeconfig(words) => become_the_lab("kubeconfig", &words.words),
        Action::Fault(words) => become_the_lab("fault", &words.words),
    }
}

/// Everything that `up` starts; what is built already costs seconds.
fn build(tier: Tier) -> Result<()> {
    lab::build()?;
    match tier {
        Tier::L1 => tools::run(Set::Daily),
        Tier::L2 => images::run(Set::Cluster),
    }
}

/// The lab takes this process's place: the user's terminal, folder, signals and the exit code are
/// its own.
fn become_the_lab(action: &str, words: &[String]) -> Result<ExitCode> {
    let program = workspace::product("tartan-lab")?;
    if !program.exists() {
        bail!("the lab is not built, so no cluster of it is up; start one: {COMMAND} up");
    }
    if !workspace::is_root() {
        eprintln!("{}", lab::needs_root(&format!("cluster {action} {}", words.join(" ")))?);
        return Ok(ExitCode::FAILURE);
    }
    let mut command = lab::command()?;
    command.env(images::VARIABLE, images::directory()).env(VARIABLE, COMMAND);
    command.current_dir(env::current_dir().context("the current folder is gone")?);
    let error = command.arg("cluster").arg(action).args(words).exec();
    Err(error).with_context(|| format!("cannot start {}", program.display()))
}

impl Up {
    fn words(&self) -> Vec<String> {
        let tier = match self.tier {
            Tier::L1 => "l1",
            Tier::L2 => "l2",
        };
        let mut words = vec![format!("--tier={tier}"), format!("--nodes={}", self.nodes)];
        words.push(format!("--family={}", self.family));
        words.extend(self.proxy.iter().map(|proxy| format!("--proxy={proxy}")));
        words.extend(self.mtu.map(|mtu| format!("--mtu={mtu}")));
        words.extend(self.cni.iter().map(|cni| format!("--cni={cni}")));
        let flags =
            [("--no-dns", self.no_dns), ("--foreground", self.foreground), ("--exit", self.exit)];
        words.extend(flags.iter().filter(|(_, on)| *on).map(|(flag, _)| (*flag).to_owned()));
        words
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(subcommand)]
        action: Action,
    }

    fn parsed(line: &str) -> Action {
        Line::parse_from(["cluster"].into_iter().chain(line.split(' '))).action
    }

    #[test]
    fn the_options_of_up_reach_the_lab_as_they_were_typed() {
        let Action::Up(up) = parsed("up --nodes 5 --proxy nftables --cni flannel --exit") else {
            panic!("not up")
        };
        let expected = [
            "--tier=l2",
            "--nodes=5",
            "--family=ipv4",
            "--proxy=nftables",
            "--cni=flannel",
            "--exit",
        ];
        assert_eq!(up.words(), expected);
    }

    #[test]
    fn the_words_of_kubectl_are_passed_on_untouched() {
        let Action::Kubectl(kubectl) = parsed("kubectl get pods -A --help -o json") else {
            panic!("not kubectl")
        };
        assert_eq!(kubectl.words, ["get", "pods", "-A", "--help", "-o", "json"]);
    }

    #[test]
    fn a_double_dash_of_the_user_reaches_the_lab() {
        let Action::Exec(exec) = parsed("exec node1 -- ls -l") else { panic!("not exec") };
        assert_eq!(exec.words, ["node1", "--", "ls", "-l"]);
    }
}
