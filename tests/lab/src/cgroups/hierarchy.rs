//! Which version 1 hierarchies there are, and where this process is in each.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// One hierarchy of control groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hierarchy {
    /// As `mount -t cgroup -o` takes them: `memory`, `cpu,cpuacct`, `name=systemd`.
    pub(super) options: String,
    /// The directory of this process's own group.
    pub(super) own: PathBuf,
}

impl Hierarchy {
    /// Those that are mounted here.
    pub(super) fn all() -> Result<Vec<Self>> {
        let own = fs::read_to_string("/proc/self/cgroup").context("no /proc/self/cgroup")?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").context("no mountinfo")?;
        Ok(parse(&own, &mounts))
    }
}

fn parse(own: &str, mounts: &str) -> Vec<Hierarchy> {
    let entries = own.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        Some((fields.next()?, fields.next()?))
    });
    // Version 2 names no controller.
    entries
        .filter(|(options, _)| !options.is_empty())
        .filter_map(|(options, path)| {
            let own = mounts.lines().rev().find_map(|line| directory(line, options, path))?;
            Some(Hierarchy { options: options.to_owned(), own })
        })
        .collect()
}

/// Where `path` of the hierarchy with these options is, if this mount shows it (proc(5)).
fn directory(mount: &str, options: &str, path: &str) -> Option<PathBuf> {
    let (here, kind) = mount.split_once(" - ")?;
    let mut kind = kind.split(' ');
    let (name, _source, has) = (kind.next()?, kind.next()?, kind.next()?);
    let has = |option| has.split(',').any(|one| one == option);
    if name != "cgroup" || !options.split(',').all(has) {
        return None;
    }
    let mut here = here.split(' ').skip(3);
    let (root, point) = (here.next()?, here.next()?);
    Some(Path::new(point).join(Path::new(path).strip_prefix(root).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "30 25 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                          31 30 0:27 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
                          32 30 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                          33 30 0:29 /box /sys/fs/cgroup/systemd rw - cgroup x rw,name=systemd\n\
                          34 30 0:30 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn each_hierarchy_has_the_directory_of_this_process() {
        let own = "4:memory:/a/b\n3:name=systemd:/box/c\n2:cpuset:/\n1:cpu:/\n0::/x\n";
        let found: Vec<_> = parse(own, MOUNTS)
            .into_iter()
            .map(|one| format!("{} {}", one.options, one.own.display()))
            .collect();
        assert_eq!(
            found,
            [
                "memory /sys/fs/cgroup/memory/a/b",
                "name=systemd /sys/fs/cgroup/systemd/c",
                "cpu /sys/fs/cgroup/cpu/",
            ]
        );
    }

    #[test]
    fn a_machine_with_version_2_only_has_none() {
        assert_eq!(parse("0::/user.slice\n", MOUNTS), []);
    }
}
