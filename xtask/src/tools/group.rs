//! What is built: one group per Go module of `tests/tools`, so that no group's requirements raise
//! the versions that another one was released with.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::workspace;

/// One module of `tests/tools` and the programs that it builds.
pub(crate) struct Group {
    /// Its folder in `tests/tools`.
    pub(crate) name: &'static str,
    /// The version of what it is there for.
    pub(crate) version: &'static str,
    /// Whether it needs the C compiler.
    pub(crate) cgo: bool,
    pub(crate) tags: &'static str,
    /// Variables that the linker sets, `package.name=value`.
    pub(crate) variables: &'static [(&'static str, &'static str)],
    pub(crate) programs: &'static [Program],
}

/// One executable.
pub(crate) struct Program {
    /// What the lab calls it.
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
}

const fn program(name: &'static str, package: &'static str) -> Program {
    Program { name, package }
}

const PLAIN: Group =
    Group { name: "", version: "", cgo: false, tags: "", variables: &[], programs: &[] };

pub(crate) const GROUPS: [Group; 7] = [
    Group {
        name: "etcd",
        version: "3.6.14",
        programs: &[program("etcd", "go.etcd.io/etcd/server/v3")],
        ..PLAIN
    },
    Group {
        name: "kubernetes",
        version: "1.36.4",
        // What upstream's own build sets.
        tags: "selinux,notest,grpcnotrace",
        variables: &[("gitVersion", "v1.36.4"), ("gitMajor", "1"), ("gitMinor", "36")],
        programs: &[
            program("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
            program("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
            program("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
        ],
        ..PLAIN
    },
    Group {
        name: "flannel",
        version: "0.28.9",
        // Its udp backend is written in C.
        cgo: true,
        programs: &[program("flanneld", "github.com/flannel-io/flannel")],
        ..PLAIN
    },
    // A group of its own: the same module as the other plugins, in the last version that had it.
    Group {
        name: "flannel-cni",
        version: "0.9.1",
        programs: &[program(
            "flannel",
            "github.com/containernetworking/plugins/plugins/meta/flannel",
        )],
        ..PLAIN
    },
    Group {
        name: "cni",
        version: "1.9.1",
        programs: &[
            program("bridge", "github.com/containernetworking/plugins/plugins/main/bridge"),
            program("loopback", "github.com/containernetworking/plugins/plugins/main/loopback"),
            program("host-local", "github.com/containernetworking/plugins/plugins/ipam/host-local"),
            program("portmap", "github.com/containernetworking/plugins/plugins/meta/portmap"),
            program("cnitool", "github.com/containernetworking/cni/cnitool"),
        ],
        ..PLAIN
    },
    // Its command cannot be built from the proxy, but its controller is a package: the launcher is
    // our own.
    Group {
        name: "kube-router",
        version: "1.6.1",
        programs: &[program(
            "kube-router-netpol",
            "example.invalid/tartan/tests/tools/kube-router",
        )],
        ..PLAIN
    },
    Group {
        name: "helm",
        version: "3.22.0",
        programs: &[program("helm", "helm.sh/helm/v3/cmd/helm")],
        ..PLAIN
    },
];

/// Packages of Kubernetes that hold the version which the programs report.
const VERSION_PACKAGES: [&str; 2] =
    ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"];

impl Program {
    /// What `go build` calls it: the last element of the package that is no version.
    pub(crate) fn executable(&self) -> &'static str {
        let version = |word: &str| {
            word.strip_prefix('v').is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
        };
        let mut words = self.package.rsplit('/');
        words.find(|word| !version(word)).unwrap_or(self.package)
    }
}

impl Group {
    /// Its folder.
    pub(crate) fn dir(&self) -> PathBuf {
        workspace::root().join("tests/tools").join(self.name)
    }

    /// The flags of `go build`.
    pub(crate) fn flags(&self) -> Vec<String> {
        let mut linker = vec!["-s -w".to_owned()];
        for package in VERSION_PACKAGES {
            let set = |(name, value): &(&str, &str)| format!("-X {package}.{name}={value}");
            linker.extend(self.variables.iter().map(set));
        }
        let mut flags = ["-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags"]
            .map(str::to_owned)
            .to_vec();
        flags.push(linker.join(" "));
        if !self.tags.is_empty() {
            flags.extend(["-tags".to_owned(), self.tags.to_owned()]);
        }
        flags
    }

    /// `go.mod`, `go.sum` and, where the group has a program of its own, the Go files.
    fn sources(&self) -> Result<Vec<PathBuf>> {
        let dir = self.dir();
        let mut own = Vec::new();
        for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "go") {
                own.push(path);
            }
        }
        own.sort();
        let mut sources = vec![dir.join("go.mod"), dir.join("go.sum")];
        sources.append(&mut own);
        Ok(sources)
    }

    /// The name of its build in the cache: it changes with everything that changes the programs.
    pub(crate) fn key(&self) -> Result<String> {
        let mut text = self.flags().join(" ");
        text += if self.cgo { " cgo" } else { "" };
        text += std::env::consts::ARCH;
        for program in self.programs {
            text += program.package;
        }
        for path in self.sources()? {
            text += &fs::read_to_string(&path)
                .with_context(|| format!("cannot read {}", path.display()))?;
        }
        Ok(format!("{}-{}-{:016x}", self.name, self.version, fnv1a(text.as_bytes())))
    }
}

/// FNV-1a, 64 bits: tells one text from another, and is the same in every release of Rust.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_that_of_its_authors() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_package_that_ends_in_a_version_is_named_by_the_word_before() {
        assert_eq!(program("etcd", "go.etcd.io/etcd/server/v3").executable(), "server");
        assert_eq!(program("x", "example.org/vxlan").executable(), "vxlan");
    }

    #[test]
    fn each_group_requires_the_version_that_it_says() {
        for group in &GROUPS {
            let modules = fs::read_to_string(group.dir().join("go.mod")).unwrap();
            assert!(modules.contains(&format!(" v{}", group.version)), "{}", group.name);
        }
    }

    #[test]
    fn a_launcher_of_our_own_takes_part_in_its_groups_key() {
        let names = |group: &Group| -> Vec<_> {
            let sources = group.sources().unwrap();
            sources.iter().map(|path| path.file_name().unwrap().to_owned()).collect()
        };
        let group = |name| GROUPS.iter().find(|group| group.name == name).unwrap();
        assert_eq!(names(group("kube-router")), ["go.mod", "go.sum", "main.go"]);
        assert_eq!(names(group("etcd")), ["go.mod", "go.sum"]);
    }

    #[test]
    fn two_programs_never_share_a_name() {
        let mut names: Vec<_> =
            GROUPS.iter().flat_map(|group| group.programs).map(|program| program.name).collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
    }
}
