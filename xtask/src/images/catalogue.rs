//! The images that are made for tests.
//!
//! Those of Kubernetes' own tests bear upstream's names and tags, because the tests ask for these;
//! what is in them is ours: the programs that the tests start.

use super::recipe::{Part, Recipe};
use crate::tools::Set;

/// A process that forwards signals to its child, so that the pod ends when it is told to.
const FOREVER: &[&str] = &["/bin/catatonit", "--", "/bin/sleep", "infinity"];
const INIT: Part =
    Part::Program { package: "catatonit", from: "usr/bin/catatonit", at: "bin/catatonit" };
const BUSYBOX: Part =
    Part::Program { package: "busybox-static", from: "bin/busybox", at: "bin/busybox" };
const APPLETS: Part = Part::Applets { folder: "bin" };
const TMP: Part = Part::Folder("tmp");

/// Busybox alone, under the names of all its applets.
const SMALL: &[Part] = &[BUSYBOX, APPLETS, INIT, TMP];

const fn small(file: &'static str, name: &'static str, set: Set) -> Recipe {
    Recipe { file, name, set, entrypoint: &[], run: FOREVER, parts: SMALL }
}

/// In the order in which they are made.
pub(crate) const RECIPES: [Recipe; 10] = [
    Recipe {
        file: "pause",
        name: "registry.k8s.io/pause:3.10.2",
        set: Set::Cluster,
        entrypoint: &[],
        run: &["/pause", "-P"],
        parts: &[Part::Program { package: "catatonit", from: "usr/bin/catatonit", at: "pause" }],
    },
    small("toolbox", "tartan.test/toolbox:1", Set::Cluster),
    Recipe {
        file: "coredns",
        name: "registry.k8s.io/coredns/coredns:v1.12.4",
        set: Set::Cluster,
        entrypoint: &[],
        run: &["/coredns"],
        parts: &[Part::Tool { name: "coredns", at: "coredns" }],
    },
    // The agent at upstream's place, and its plugin where the image of the plugin has it: one
    // image is both.
    Recipe {
        file: "flannel",
        name: "tartan.test/flannel:1",
        set: Set::Cluster,
        entrypoint: &[],
        run: &["/opt/bin/flanneld"],
        parts: &[
            Part::Packages(&["iptables", "nftables", "iproute2"]),
            Part::Link { at: "usr/sbin/iptables", to: "xtables-nft-multi" },
            Part::Link { at: "usr/sbin/iptables-save", to: "xtables-nft-multi" },
            Part::Link { at: "usr/sbin/iptables-restore", to: "xtables-nft-multi" },
            Part::Link { at: "usr/sbin/ip6tables", to: "xtables-nft-multi" },
            Part::Link { at: "usr/sbin/ip6tables-save", to: "xtables-nft-multi" },
            Part::Link { at: "usr/sbin/ip6tables-restore", to: "xtables-nft-multi" },
            BUSYBOX,
            APPLETS,
            Part::Tool { name: "flanneld", at: "opt/bin/flanneld" },
            Part::Tool { name: "flannel", at: "flannel" },
            TMP,
        ],
    },
    // The tests want bash for its shell, and neither busybox' nc nor its wget.
    Recipe {
        file: "agnhost",
        name: "registry.k8s.io/e2e-test-images/agnhost:2.63.0",
        set: Set::E2e,
        entrypoint: &["/agnhost"],
        run: &["pause"],
        parts: &[
            Part::Packages(&[
                "bash",
                "coreutils",
                "netcat-openbsd",
                "curl",
                "wget",
                "bind9-dnsutils",
                "iproute2",
                "libc-bin",
            ]),
            Part::Link { at: "bin/sh", to: "bash" },
            Part::Link { at: "bin/nc", to: "nc.openbsd" },
            BUSYBOX,
            APPLETS,
            Part::Tool { name: "agnhost", at: "agnhost" },
            Part::Tool { name: "coredns", at: "coredns" },
            Part::Link { at: "agnhost-2", to: "agnhost" },
            Part::Certificate,
            Part::Folder("uploads"),
            TMP,
        ],
    },
    small("busybox", "registry.k8s.io/e2e-test-images/busybox:1.37.0-1", Set::E2e),
    Recipe {
        file: "glibc-dns",
        name: "registry.k8s.io/e2e-test-images/glibc-dns-testing:2.0.0",
        set: Set::E2e,
        entrypoint: &[],
        run: FOREVER,
        parts: &[
            Part::Packages(&["bash", "coreutils", "bind9-dnsutils", "libc-bin"]),
            Part::Link { at: "bin/sh", to: "bash" },
            BUSYBOX,
            APPLETS,
            INIT,
            TMP,
        ],
    },
    // A server that answers with segments that conntrack calls INVALID.
    Recipe {
        file: "regression-issue-74839",
        name: "registry.k8s.io/e2e-test-images/regression-issue-74839:1.4",
        set: Set::E2e,
        entrypoint: &["/regression-issue-74839"],
        run: &[],
        parts: &[Part::Tool { name: "regression-issue-74839", at: "regression-issue-74839" }, TMP],
    },
    // The tests of the network only want these two to stay.
    small("nginx", "registry.k8s.io/e2e-test-images/nginx:1.15-4", Set::E2e),
    small("nginx-new", "registry.k8s.io/e2e-test-images/nginx:1.27-0", Set::E2e),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_archives_and_no_two_images_share_a_name() {
        for name in [|recipe: &Recipe| recipe.file, |recipe: &Recipe| recipe.name] {
            let mut names = RECIPES.each_ref().map(name).to_vec();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), RECIPES.len());
        }
    }

    #[test]
    fn the_product_keeps_its_own_file() {
        assert!(RECIPES.iter().all(|recipe| recipe.file != super::super::PRODUCT));
    }

    #[test]
    fn what_an_image_runs_has_a_whole_path() {
        for recipe in &RECIPES {
            let program = recipe.entrypoint.iter().chain(recipe.run).next().unwrap();
            assert!(program.starts_with('/'), "{}", recipe.file);
        }
    }
}
