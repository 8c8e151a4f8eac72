//! `cargo xtask manifest`: `deploy/kube-tartan.yml` is the chart, rendered with its defaults.
//!
//! There is one source, the chart, so that who applies the manifest and who installs the chart
//! run the same. `--check` compares and changes nothing.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::workspace::{has_program, root, tool};

const CHART: &str = "deploy/chart/kube-tartan";
const MANIFEST: &str = "deploy/kube-tartan.yml";
const HEAD: &str = "\
# The pod network of a Kubernetes cluster (1.30 or later): kubectl apply -f kube-tartan.yml
# docs/KUBERNETES.md tells what each object is for. Where the cluster CIDR is not 10.244.0.0/16,
# change `Network` in the ConfigMap first. Made from the chart by `cargo xtask manifest`.
";

/// Options of `cargo xtask manifest`.
#[derive(Args)]
pub(crate) struct Options {
    /// Only compare the committed manifest with the chart
    #[arg(long)]
    check: bool,
}

/// Writes the manifest, or compares it.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    let Some(helm) = helm() else {
        if options.check {
            println!("SKIP no helm; `cargo xtask tools` builds it");
            return Ok(ExitCode::SUCCESS);
        }
        bail!("no helm: build it with `cargo xtask tools`, or put one on the path");
    };
    let rendered = render(&helm)?;
    let path = root().join(MANIFEST);
    if !options.check {
        fs::write(&path, rendered).with_context(|| format!("cannot write {MANIFEST}"))?;
        println!("manifest: {MANIFEST} is the chart's");
        return Ok(ExitCode::SUCCESS);
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    match difference(&committed, &rendered) {
        None => Ok(ExitCode::SUCCESS),
        Some(found) => {
            bail!("{MANIFEST} is not what the chart renders: {found}. Run `cargo xtask manifest`")
        }
    }
}

/// helm as the tests have it, or as the user does.
fn helm() -> Option<PathBuf> {
    let named = |variable: &str| env::var_os(variable).filter(|value| !value.is_empty());
    let user = named("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(env::home_dir()?.join(".cache")))
        .map(|cache| cache.join("tartan"));
    let cache = named("TARTAN_CACHE").map(PathBuf::from).or(user);
    let tools = named("TARTAN_TOOLS").map(PathBuf::from);
    let built = tools.into_iter().chain(cache.map(|cache| cache.join("tools/bin")));
    let found = built.map(|dir| dir.join("helm")).find(|path| path.is_file());
    found.or_else(|| has_program("helm").then(|| PathBuf::from("helm")))
}

fn render(helm: &Path) -> Result<String> {
    let printed = template(helm, &["--set=createNamespace=true"])?;
    Ok(tidy(&printed))
}

/// What `helm template` prints for these arguments.
fn template(helm: &Path, arguments: &[&str]) -> Result<String> {
    let mut command: Command = tool(&helm.to_string_lossy());
    command
        .args(["template", "kube-tartan", CHART, "--namespace=kube-tartan"])
        .args(["--kube-version=v1.30.0"])
        .args(arguments);
    let output = command.output().with_context(|| format!("cannot start {}", helm.display()))?;
    if !output.status.success() {
        bail!("helm refuses the chart: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// Without helm's own lines, which name the files of the chart.
fn tidy(printed: &str) -> String {
    let lines = printed.lines().filter(|line| !line.starts_with("# Source: "));
    let mut text = HEAD.to_owned();
    for line in lines.map(str::trim_end) {
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// The first line that differs.
fn difference(committed: &str, rendered: &str) -> Option<String> {
    if committed == rendered {
        return None;
    }
    let mut theirs = rendered.lines();
    for (number, line) in committed.lines().enumerate() {
        let other = theirs.next().unwrap_or("(nothing)");
        if line != other {
            return Some(format!("line {} is {line:?}, the chart says {other:?}", number + 1));
        }
    }
    Some("it ends too early".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The reason why a test cannot run, said once.
    fn helm_or_skip() -> Option<PathBuf> {
        let found = helm();
        if found.is_none() {
            println!("SKIP no helm; `cargo xtask tools` builds it");
        }
        found
    }

    #[test]
    fn the_committed_manifest_is_the_rendered_chart() {
        let Some(helm) = helm_or_skip() else { return };
        let committed = fs::read_to_string(root().join(MANIFEST)).unwrap();
        assert_eq!(difference(&committed, &render(&helm).unwrap()), None);
    }

    #[test]
    fn what_tartan_cannot_honour_is_refused_by_name() {
        let Some(helm) = helm_or_skip() else { return };
        for (value, word) in [
            ("flannel.backend=wireguard", "vxlan"),
            ("flannel.psk=abc", "Remove the value"),
            ("flannel.GBP=true", "group policy"),
            ("flannel.flannel_cni.image.tag=v1", "flannel.image"),
            ("netpol.enabled=true", "policy engine"),
            ("podCidr=", "cluster CIDR"),
            ("podCidr=10.244.0.0", "podCidr"),
            ("flannel.vni=16777216", "vni"),
            ("flannel.args={--healthz-port=1}", "flannel.healthz.port"),
            ("flannel.typo=1", "typo"),
        ] {
            let error = template(&helm, &[&format!("--set={value}")]).expect_err(value).to_string();
            assert!(error.contains(word), "{value}: {error}");
        }
    }

    #[test]
    fn flannels_values_reach_the_objects() {
        let Some(helm) = helm_or_skip() else { return };
        let values = "podCidrv6=fd00:10:244::/56,flannel.mtu=9000,flannel.vni=7,flannel.backendPort=4789,\
             flannel.directRouting=true,flannel.cniBinDir=/usr/libexec/cni,flannel.cniNames={flannel}";
        let text = template(&helm, &[&format!("--set={values}")]).unwrap();
        for expected in [
            "\"EnableIPv6\": true",
            "\"IPv6Network\": \"fd00:10:244::/56\"",
            "\"MTU\": 9000",
            "\"VNI\": 7",
            "\"Port\": 4789",
            "\"DirectRouting\": true",
            "path: /usr/libexec/cni",
            "- --name=flannel",
        ] {
            assert!(text.contains(expected), "no {expected} in {text}");
        }
    }

    #[test]
    fn values_can_take_away_probes_and_the_conflist() {
        let Some(helm) = helm_or_skip() else { return };
        let values = "--set=flannel.healthz.port=0,flannel.skipCNIConfigInstallation=true";
        let text = template(&helm, &[values]).unwrap();
        for absent in ["livenessProbe", "--healthz-port", "--cni-conf-file", "/etc/cni/net.d"] {
            assert!(!text.contains(absent), "{absent} in {text}");
        }
    }

    #[test]
    fn the_policy_follows_the_annotations_prefix() {
        let Some(helm) = helm_or_skip() else { return };
        let prefix = |given: &str| {
            let values = format!("--set=flannel.args={{--kube-annotation-prefix={given}}}");
            let text = template(&helm, &[&values]).unwrap();
            let end = text.find("\" + key").unwrap();
            text[..end].rsplit('"').next().unwrap().to_owned()
        };
        assert_eq!(prefix("example.org"), "example.org/");
        assert_eq!(prefix("example.org/net"), "example.org/net-");
    }

    #[test]
    fn a_difference_is_named_by_its_line() {
        assert_eq!(difference("a\nb\n", "a\nb\n"), None);
        assert!(difference("a\nb\n", "a\nc\n").unwrap().starts_with("line 2 "));
        assert!(difference("a\n", "a\nb\n").is_some());
    }
}
