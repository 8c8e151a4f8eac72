//! flanneld's command lines keep their meaning, and every other one is told off in one line.

use std::collections::BTreeMap;

use super::effect::EFFECTS;
use super::*;

const DIR: &str = "--lease-dir=/leases";

fn read_with(args: &[&str], env: &[(&str, &str)]) -> Result<Invocation, Exit> {
    let env: BTreeMap<&str, &str> = env.iter().copied().collect();
    let lookup = |name: &str| env.get(name).map(|value| (*value).to_owned());
    Invocation::read(args.iter().map(OsString::from), &lookup, &OsString::from("host-a"))
}

fn read(args: &[&str]) -> Invocation {
    read_with(args, &[]).unwrap()
}

fn refusal(args: &[&str]) -> String {
    let exit = read_with(args, &[]).unwrap_err();
    assert_eq!(exit.code, 2, "{}", exit.text);
    assert!(!exit.text.contains('\n'), "{}", exit.text);
    exit.text
}

#[test]
fn defaults_are_flannelds() {
    let invocation = read(&[DIR]);
    let flags = &invocation.flags;
    assert_eq!(flags.net_config_path, PathBuf::from("/etc/kube-flannel/net-conf.json"));
    assert_eq!(flags.subnet_file, PathBuf::from("/run/flannel/subnet.env"));
    assert!(!flags.ip_masq && flags.iptables_forward_rules && flags.set_node_network_unavailable);
    assert_eq!((flags.healthz_port, flags.iptables_resync, flags.v), (0, 5, 0));
    assert_eq!((flags.iface.len(), flags.public_ip), (0, None));
    assert_eq!(flags.subnet_lease_renew_margin, 60);
    assert_eq!(invocation.store, StoreChoice::Directory("/leases".into()));
    assert_eq!(invocation.node_name, NodeName::Known("host-a".to_owned()));
    assert!(invocation.warnings.is_empty());
}

#[test]
fn one_dash_two_dashes_and_both_kinds_of_values_are_the_same() {
    for args in [["-iface=eth0", "-v=4"], ["--iface=eth0", "--v=0x4"]] {
        let flags = read(&[&[DIR], args.as_slice()].concat()).flags;
        assert_eq!((flags.iface, flags.v), (vec!["eth0".to_owned()], 4));
    }
    let flags = read(&["-lease-dir", "/x", "-iface", "eth0", "--iface", "-odd", "-v", "2"]).flags;
    assert_eq!(flags.iface, ["eth0", "-odd"]);
    assert_eq!((flags.lease_dir, flags.v), (Some(PathBuf::from("/x")), 2));
}

#[test]
fn booleans_take_a_value_behind_the_equals_sign_only() {
    for (word, wanted) in [("--ip-masq", true), ("-ip-masq=t", true), ("--ip-masq=0", false)] {
        assert_eq!(read(&[DIR, word]).flags.ip_masq, wanted, "{word}");
    }
    assert_eq!(
        refusal(&[DIR, "--ip-masq", "false"]),
        "tartand: \"false\" is not a flag: write --name=value, or see --help"
    );
    assert_eq!(
        refusal(&[DIR, "--ip-masq=yes"]),
        "tartand: invalid value 'yes' for '--ip-masq <BOOL>': not a boolean: use true or false"
    );
}

#[test]
fn the_last_of_several_scalars_wins_and_lists_grow() {
    let args = [DIR, "--v=1", "--v=2", "--ip-masq", "--ip-masq=false", "--iface=a", "--iface=b"];
    let flags = read(&args).flags;
    assert_eq!((flags.v, flags.ip_masq), (2, false));
    assert_eq!(flags.iface, ["a", "b"]);
}

#[test]
fn a_bad_flag_is_one_line_and_exit_code_two() {
    assert_eq!(refusal(&["--nope"]), "tartand: --nope: it is not a known flag: see --help");
    assert!(refusal(&["--etcd-endpoints=http://x"]).contains("etcd, flannel's default"));
    assert_eq!(refusal(&[DIR, "--v"]), "tartand: --v has no value: write --v=value");
    for args in [
        [DIR, "--healthz-port=65536"],
        [DIR, "--subnet-lease-renew-margin=1440"],
        [DIR, "--public-ip=2001:db8::1"],
        [DIR, "--"],
        [DIR, "word"],
        [DIR, "---v=1"],
        [DIR, "-"],
    ] {
        assert!(refusal(&args).starts_with("tartand: "), "{args:?}");
    }
}

#[test]
fn without_a_store_the_agent_says_which_flag_to_use() {
    assert!(refusal(&[]).contains("use --kube-subnet-mgr in a Kubernetes cluster, or --lease-dir"));
    assert!(refusal(&["--ip-masq", "--kube-subnet-mgr", DIR]).contains("exclude each other"));
    read(&[DIR, "--kube-subnet-mgr=false"]);
}

#[test]
fn the_environment_fills_in_what_the_command_line_leaves_open() {
    let env = [
        ("FLANNELD_LEASE_DIR", "/from-env"),
        ("FLANNELD_IFACE", "eth0,eth1"),
        ("FLANNELD_V", "3"),
        ("FLANNELD_IP_MASQ", "true"),
        ("FLANNELD_SUBNET_FILE", ""),
        ("FLANNELD_VERSION", "true"),
        ("NODE_NAME", "node-7"),
    ];
    let invocation = read_with(&["--v=1"], &env).unwrap();
    let flags = &invocation.flags;
    assert_eq!((flags.v, flags.ip_masq), (1, true));
    assert_eq!(flags.iface, ["eth0,eth1"]);
    assert_eq!(flags.subnet_file, PathBuf::from("/run/flannel/subnet.env"));
    assert_eq!(invocation.store, StoreChoice::Directory("/from-env".into()));
    assert_eq!(invocation.node_name, NodeName::Known("node-7".to_owned()));
    assert!(invocation.warnings.is_empty(), "{:?}", invocation.warnings);
}

#[test]
fn a_bad_value_in_the_environment_is_reported_and_the_default_stays() {
    let invocation = read_with(&[DIR], &[("FLANNELD_HEALTHZ_PORT", "many")]).unwrap();
    assert_eq!(invocation.flags.healthz_port, 0);
    let start = "Failed to set flag --healthz-port from FLANNELD_HEALTHZ_PORT, the default stays: ";
    assert!(invocation.warnings[0].starts_with(start), "{:?}", invocation.warnings);
}

#[test]
fn an_empty_value_counts_as_none() {
    let invocation = read(&[DIR, "--public-ip=", "--iface=", "-subnet-file", ""]);
    assert_eq!((invocation.flags.public_ip, invocation.flags.iface.len()), (None, 0));
    assert_eq!(invocation.flags.subnet_file, PathBuf::from("/run/flannel/subnet.env"));
}

#[test]
fn what_has_no_effect_is_said_once_for_each_flag() {
    let args = [
        DIR,
        "--iptables-resync=9",
        "--etcd-password=secret",
        "--vmodule=a=1",
        "-log_backtrace_at=a:1",
        "--iptables-forward-rules=false",
    ];
    let warnings = read(&args).warnings;
    assert_eq!(warnings.len(), 4, "{warnings:?}");
    assert_eq!(warnings[1], "--etcd-password: ignored: etcd is not built in");
}

#[test]
fn a_password_is_never_printed() {
    let invocation = read(&[DIR, "--etcd-password=secret"]);
    assert!(!format!("{invocation:?}").contains("secret"));
    assert_eq!(invocation.given, "lease-dir=/leases etcd-password=...");
}

#[test]
fn in_kubernetes_the_node_is_named_by_the_downward_api() {
    let kube = ["--kube-subnet-mgr"];
    let named = |env: &[(&str, &str)]| read_with(&kube, env).map(|all| all.node_name);
    assert_eq!(named(&[("NODE_NAME", "n1"), ("POD_NAME", "p")]), Ok(NodeName::Known("n1".into())));
    let pod = NodeName::OfPod { namespace: "kube-tartan".into(), pod: "p".into() };
    assert_eq!(named(&[("POD_NAME", "p"), ("POD_NAMESPACE", "kube-tartan")]), Ok(pod));
    assert!(named(&[("POD_NAME", "p")]).unwrap_err().text.contains("set NODE_NAME"));
}

#[test]
fn the_cni_configuration_needs_a_source_and_a_place() {
    assert!(refusal(&[DIR, "--cni-conf-source=/a"]).ends_with("give both or none"));
    read(&[DIR, "--cni-conf-source=/a", "--cni-conf-file=/b"]);
}

#[test]
fn version_and_help_go_to_standard_output() {
    for args in [["--version"].as_slice(), &["-version", "--kube-subnet-mgr"]] {
        let exit = read_with(args, &[]).unwrap_err();
        assert_eq!(exit.code, 0);
        assert_eq!(exit.text, format!("tartand {}", env!("CARGO_PKG_VERSION")));
    }
    for word in ["-h", "--help", "-help"] {
        let exit = read_with(&[word], &[]).unwrap_err();
        assert!(exit.code == 0 && exit.text.contains("--lease-dir"), "{}", exit.text);
    }
}

#[test]
fn a_node_needs_a_name_that_can_be_written_down() {
    let named =
        |name: &str| Invocation::read([OsString::from(DIR)], &|_| None, &OsString::from(name));
    for name in ["", "two words", "naïve", &"x".repeat(254)] {
        assert!(named(name).unwrap_err().text.ends_with("set NODE_NAME to a DNS name"), "{name}");
    }
}

#[test]
fn every_flag_says_what_it_does_in_this_version() {
    let command = Flags::command();
    let mut flags: Vec<&str> = command.get_arguments().filter_map(|arg| arg.get_long()).collect();
    flags.push("help");
    assert_eq!(flags, EFFECTS.map(|(flag, _)| flag));
}

#[test]
fn the_page_has_a_row_for_every_flag() {
    let page = markdown();
    let row = "| `--healthz-port=PORT` | `FLANNELD_HEALTHZ_PORT` | `0` | Port of the health \
               listener, 0 for none | works |";
    assert!(page.lines().any(|line| line == row), "{page}");
    assert_eq!(page.lines().filter(|line| line.starts_with("| `--")).count(), EFFECTS.len() - 1);
    assert!(page.contains("; repeatable |"));
}
