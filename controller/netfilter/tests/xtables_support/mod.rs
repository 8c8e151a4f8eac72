//! A network namespace for one test, `iptables-legacy` as the observer, and somebody else's rules.

#![expect(clippy::expect_used, reason = "a test's scaffolding fails its test")]

pub(crate) mod rules;

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::thread;

use nix::sched::{CloneFlags, unshare};
use tartan_core::netfilter::model::Family;

/// Runs a test in a fresh network namespace, or says why not.
pub(crate) fn namespace(test: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let outcome = scope.spawn(|| {
            if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
                println!("skipped: a network namespace of its own needs root ({error})");
                return;
            }
            if Command::new("iptables-legacy").arg("--version").output().is_err() {
                println!("skipped: needs iptables-legacy (Debian: iptables)");
                return;
            }
            test();
        });
        if let Err(panic) = outcome.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn program(family: Family, suffix: &str) -> String {
    let six = if family == Family::Ip6 { "6" } else { "" };
    format!("ip{six}tables-legacy{suffix}")
}

/// Runs `iptables-legacy` or its twin with these words.
pub(crate) fn iptables(family: Family, words: &str) {
    let words = words.split(' ');
    let output = Command::new(program(family, "")).args(["-w", "20"]).args(words).output();
    let output = output.expect("iptables-legacy");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What `iptables-legacy-save -c` says of a table, without the remarks.
pub(crate) fn saved(family: Family, table: &str) -> Vec<String> {
    let output = Command::new(program(family, "-save")).args(["-c", "-t", table]).output();
    let text = String::from_utf8(output.expect("iptables-legacy-save").stdout).expect("text");
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

/// Feeds a table to `iptables-legacy-restore -c`.
pub(crate) fn restore(family: Family, text: &str) {
    let mut command = Command::new(program(family, "-restore"));
    let mut child = command.args(["-c", "-w", "20"]).stdin(Stdio::piped()).spawn().expect("run");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("read");
    assert!(child.wait().expect("ended").success(), "{text}");
}

/// Conditions of many kinds, as `iptables` takes them for both families.
const CONDITIONS: [&str; 28] = [
    "-m addrtype --dst-type LOCAL",
    "-m addrtype ! --src-type LOCAL --limit-iface-in",
    "-m conntrack --ctstate RELATED,ESTABLISHED",
    "-m conntrack ! --ctstate INVALID",
    "-m conntrack --ctstate DNAT --ctproto 6",
    "-m connmark --mark 0x1/0xff",
    "-m mark ! --mark 0x4000/0x4000",
    "-p tcp -m tcp --dport 1000:2000",
    "-p tcp -m tcp --sport 22 --tcp-flags SYN,ACK SYN",
    "-p udp -m udp ! --dport 53",
    "-p tcp -m multiport --dports 80,443,8080:8090",
    "-m limit --limit 5/min --limit-burst 9",
    "-m hashlimit --hashlimit-upto 9/sec --hashlimit-mode srcip --hashlimit-name h",
    "-m statistic --mode random --probability 0.25",
    "-m statistic --mode nth --every 3 --packet 1",
    "-m recent --rcheck --seconds 9 --name r",
    "-m physdev --physdev-in eth0",
    "-m mac --mac-source 02:00:00:00:00:01",
    "-m pkttype --pkt-type broadcast",
    "-m length --length 100:200",
    "-m string --string abc --algo bm",
    "-m u32 --u32 0x0=0x0",
    "-m time --timestart 08:00 --timestop 18:00",
    "-m comment --comment \"somebody else's\"",
    "-m connbytes --connbytes 1:9 --connbytes-mode packets --connbytes-dir both",
    "-i eth+ ! -o lo",
    "-m dscp --dscp 0x08",
    "! -p icmp",
];

/// Targets of many kinds for the table `filter`.
const TARGETS: [&str; 10] = [
    "-j ACCEPT",
    "-j DROP",
    "-j RETURN",
    "",
    "-j LOG --log-prefix \"seen \"",
    "-j REJECT",
    "-j NFLOG --nflog-group 3",
    "-j NFQUEUE --queue-num 4",
    "-j CHAIN-1",
    "-g CHAIN-2",
];

/// A table `filter` of somebody else: that many rules of every kind, every one with counters.
pub(crate) fn foreign_filter(rules: usize) -> String {
    let mut text = String::from("*filter\n:INPUT DROP [7:700]\n:FORWARD DROP [3:300]\n");
    text.push_str(":OUTPUT ACCEPT [9:900]\n");
    for chain in 0..4 {
        writeln!(text, ":CHAIN-{chain} - [0:0]").expect("text");
    }
    for rule in 0..rules {
        // Jumps go forwards, so that there is no loop.
        let target = TARGETS[rule % TARGETS.len()];
        let chains = ["INPUT", "FORWARD", "OUTPUT", "CHAIN-0", "CHAIN-3"];
        let condition = CONDITIONS[rule % CONDITIONS.len()];
        let anywhere =
            !["-i ", "-o ", "--mac", "-iface-in"].iter().any(|part| condition.contains(part));
        let chain = if anywhere { chains[rule % chains.len()] } else { "FORWARD" };
        writeln!(text, "[{rule}:{}] -A {chain} {condition} {target}", rule * 64).expect("text");
    }
    text.push_str("[1:2] -A CHAIN-1 -j CHAIN-2\n[5:6] -A FORWARD -g CHAIN-0\nCOMMIT\n");
    text
}

/// Translations and other things of IPv4 that have targets with addresses, ports and sets.
pub(crate) const FOREIGN_NAT: &str = "*nat
:PREROUTING ACCEPT [1:10]
:INPUT ACCEPT [2:20]
:OUTPUT ACCEPT [3:30]
:POSTROUTING ACCEPT [4:40]
:KUBE-MARK-MASQ - [0:0]
:KUBE-SVC-A - [0:0]
[1:2] -A PREROUTING -m set --match-set tartan-test dst,dst -j KUBE-SVC-A
[3:4] -A OUTPUT -p tcp -m tcp --dport 80 -j REDIRECT --to-ports 8080
[5:6] -A POSTROUTING -s 10.0.0.0/8 ! -o eth0 -j MASQUERADE --random
[7:8] -A POSTROUTING -d 192.0.2.0/24 -j SNAT --to-source 192.0.2.1-192.0.2.9 --persistent
[9:10] -A POSTROUTING -d 198.51.100.0/24 -j NETMAP --to 203.0.113.0/24
[11:12] -A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000
[13:14] -A KUBE-SVC-A ! -s 10.244.0.0/16 -p tcp -m comment --comment \"cluster IP\" -j KUBE-MARK-MASQ
[15:16] -A KUBE-SVC-A -p tcp -m statistic --mode random --probability 0.50000000000 -j DNAT --to-destination 10.244.1.2:80
COMMIT
";
