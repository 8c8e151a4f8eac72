//! What is built. Groups share a Go module where their programs were released together; else each
//! has its own, so that no group's requirements raise the versions that another was released with.

use super::group::{Group, Kind, Program, Set};

const fn program(name: &'static str, package: &'static str) -> Program {
    Program { name, package, kind: Kind::Command }
}

const PLAIN: Group = Group {
    name: "",
    module: None,
    set: Set::Daily,
    version: "",
    cgo: false,
    tags: "",
    variables: &[],
    programs: &[],
};

/// What upstream's own build of Kubernetes sets. All groups of its module have it in common, so
/// that they compile no package twice.
const KUBERNETES: Group = Group {
    module: Some("kubernetes"),
    version: "1.36.4",
    tags: "selinux,notest,grpcnotrace",
    variables: &[("gitVersion", "v1.36.4"), ("gitMajor", "1"), ("gitMinor", "36")],
    ..PLAIN
};

/// In the order in which they are built: what the unit tests wait for comes first.
pub(crate) const GROUPS: [Group; 11] = [
    Group {
        name: "helm",
        set: Set::Chart,
        version: "3.22.0",
        programs: &[program("helm", "helm.sh/helm/v3/cmd/helm")],
        ..PLAIN
    },
    Group {
        name: "etcd",
        version: "3.6.14",
        programs: &[program("etcd", "go.etcd.io/etcd/server/v3")],
        ..PLAIN
    },
    Group {
        name: "kubernetes",
        programs: &[
            program("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
            program("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
            program("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
        ],
        ..KUBERNETES
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
        name: "containerd",
        set: Set::Cluster,
        version: "2.3.4",
        // Storage that needs C libraries, and that no test uses.
        tags: "no_btrfs,no_devmapper,no_zfs",
        programs: &[
            program("containerd", "github.com/containerd/containerd/v2/cmd/containerd"),
            program(
                "containerd-shim-runc-v2",
                "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
            ),
            program("ctr", "github.com/containerd/containerd/v2/cmd/ctr"),
        ],
        ..PLAIN
    },
    Group {
        name: "kubelet",
        set: Set::Cluster,
        programs: &[
            program("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
            program("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
            program("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
        ],
        ..KUBERNETES
    },
    Group {
        name: "coredns",
        set: Set::Cluster,
        version: "1.12.4",
        programs: &[program("coredns", "github.com/coredns/coredns")],
        ..PLAIN
    },
    Group {
        name: "e2e",
        set: Set::E2e,
        programs: &[
            program("agnhost", "k8s.io/kubernetes/test/images/agnhost"),
            program("ginkgo", "github.com/onsi/ginkgo/v2/ginkgo"),
            Program { name: "e2e.test", package: "k8s.io/kubernetes/test/e2e", kind: Kind::Tests },
            program(
                "regression-issue-74839",
                "k8s.io/kubernetes/test/images/regression-issue-74839",
            ),
        ],
        ..KUBERNETES
    },
];

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

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

    #[test]
    fn groups_of_one_module_have_keys_of_their_own() {
        let mut keys: Vec<_> = GROUPS.iter().map(|group| group.key().unwrap()).collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), GROUPS.len());
    }
}
