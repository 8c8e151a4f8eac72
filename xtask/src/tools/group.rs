//! A group: programs of one Go module of `tests/tools` that are built together, and the name of
//! their build in the cache.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::workspace;

/// What is needed for what. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Set {
    /// The unit tests, which render the chart.
    Chart,
    /// The daily tests: a control plane, flannel, CNI plugins.
    Daily,
    /// A cluster of kubelets.
    Cluster,
    /// Kubernetes' own tests of one.
    E2e,
}

/// What is built together.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    /// Its module's folder in `tests/tools`, where that is not its name.
    pub(crate) module: Option<&'static str>,
    /// What it is first needed for.
    pub(crate) set: Set,
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
    pub(crate) kind: Kind,
}

/// How a package becomes a program.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It is one.
    Command,
    /// It holds tests, which become one.
    Tests,
}

/// Packages of Kubernetes that hold the version which the programs report.
const VERSION_PACKAGES: [&str; 2] =
    ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"];

impl Program {
    /// What `go build` calls it: the last element of the package that is no version. Tests have
    /// the ending that Go gives them.
    pub(crate) fn executable(&self) -> String {
        let version = |word: &str| {
            word.strip_prefix('v').is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit()))
        };
        let mut words = self.package.rsplit('/');
        let word = words.find(|word| !version(word)).unwrap_or(self.package);
        match self.kind {
            Kind::Command => word.to_owned(),
            Kind::Tests => format!("{word}.test"),
        }
    }
}

impl Group {
    /// The folder of its module.
    pub(crate) fn dir(&self) -> PathBuf {
        workspace::root().join("tests/tools").join(self.module.unwrap_or(self.name))
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
    pub(super) fn sources(&self) -> Result<Vec<PathBuf>> {
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
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
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
        let named = |package, kind| Program { name: "x", package, kind }.executable();
        assert_eq!(named("go.etcd.io/etcd/server/v3", Kind::Command), "server");
        assert_eq!(named("example.org/vxlan", Kind::Command), "vxlan");
        assert_eq!(named("example.org/test/e2e", Kind::Tests), "e2e.test");
    }

    #[test]
    fn each_set_includes_the_ones_before_it() {
        assert!([Set::Chart, Set::Daily, Set::Cluster, Set::E2e].is_sorted());
    }
}
