//! The Go toolchain: which one runs, and how it is called.

use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use super::group::{Group, Kind, Program};
use crate::workspace::{output_of, tool};

/// The oldest minor version of Go 1 that builds every group.
const OLDEST: u32 = 26;
/// Where `go` is looked for: the path, then where Go's own archive puts it, which sudo's path
/// lacks.
const PROGRAMS: [&str; 2] = ["go", "/usr/local/go/bin/go"];

/// A Go that is new enough.
pub(crate) struct Go {
    program: &'static str,
    /// Its version, like `1.26.8`.
    pub(crate) release: String,
}

impl Go {
    /// Looks for it: an older one on the path does not hide a newer one.
    pub(crate) fn find() -> Result<Self> {
        let mut fault = "Go is not installed".to_owned();
        for program in PROGRAMS {
            let said = output_of(tool(program).arg("version").env("GOTOOLCHAIN", "local"));
            let Some(said) = said else { continue };
            match release(&said) {
                Some(release) if minor(release).is_some_and(|minor| minor >= OLDEST) => {
                    return Ok(Self { program, release: release.to_owned() });
                }
                Some(release) => fault = format!("Go {release} ({program}) is too old"),
                None => fault = format!("`{program} version` names no release: {}", said.trim()),
            }
        }
        bail!("{}", needed(&fault))
    }

    /// What builds a group into `bin`: one `go build` of its commands, then one `go test -c` of
    /// each suite of tests. The executables bear the names of [`Program::executable`].
    pub(crate) fn build(&self, group: &Group, bin: &Path) -> Vec<Command> {
        let (tests, commands): (Vec<_>, Vec<_>) =
            group.programs.iter().partition(|program| program.kind == Kind::Tests);
        let mut builds = Vec::new();
        if !commands.is_empty() {
            let mut build = self.start(group, &["build"]);
            build.arg("-o").arg(bin).args(commands.iter().map(|program| program.package));
            builds.push(build);
        }
        builds.extend(tests.into_iter().map(|program| self.build_tests(group, program, bin)));
        builds
    }

    fn build_tests(&self, group: &Group, program: &Program, bin: &Path) -> Command {
        let mut build = self.start(group, &["test", "-c"]);
        build.arg("-o").arg(bin.join(program.executable())).arg(program.package);
        build
    }

    fn start(&self, group: &Group, words: &[&str]) -> Command {
        let mut command = tool(self.program);
        command.current_dir(group.dir()).args(words).args(group.flags());
        // This very Go, and this module alone.
        command.env("GOTOOLCHAIN", "local").env("GOWORK", "off");
        command.env("CGO_ENABLED", if group.cgo { "1" } else { "0" });
        command
    }
}

/// What is wrong, and what to do about it.
fn needed(fault: &str) -> String {
    format!(
        "{fault}: the lab's Kubernetes and its flannel are built with Go 1.{OLDEST} \
         or later. Install it from https://go.dev/dl (`go` must be on the PATH or in \
         /usr/local/go/bin), then run:\n    cargo xtask tools"
    )
}

fn release(said: &str) -> Option<&str> {
    said.split_whitespace().find_map(|word| {
        word.strip_prefix("go").filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    })
}

/// The minor version of a Go 1.
fn minor(release: &str) -> Option<u32> {
    let rest = release.strip_prefix("1.")?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_release_is_read_from_what_go_says() {
        assert_eq!(release("go version go1.26.8 linux/amd64\n"), Some("1.26.8"));
        assert_eq!(release("go version devel +abc linux/amd64"), None);
    }

    #[test]
    fn a_release_candidate_counts_as_its_release() {
        assert_eq!(minor("1.27rc1"), Some(27));
        assert_eq!(minor("1.9"), Some(9));
    }

    #[test]
    fn a_missing_go_is_answered_with_where_to_get_it() {
        let text = needed("Go is not installed");
        assert!(text.contains("https://go.dev/dl") && text.ends_with("cargo xtask tools"));
    }
}
