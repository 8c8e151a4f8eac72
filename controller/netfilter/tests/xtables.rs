//! The older tables against the real kernel, with `iptables-legacy` as an observer that shares
//! no line with us. Needs root; says so where it is not.

mod xtables_support;

use std::fs::File;
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};
use nix::sched::{CloneFlags, setns};
use tartan_core::netfilter::model::{Action, Family, Hook, Match, Policy, Rule};
use tartan_netfilter::NetfilterError;
use tartan_netfilter::xtables::{self, Edit};
use xtables_support::rules::{BOTH, append, delete, every_kind, put, source};
use xtables_support::{FOREIGN_NAT, foreign_filter, iptables, namespace, restore, saved};

#[test]
fn asking_what_is_there_makes_no_table() {
    namespace(|| {
        for family in BOTH {
            assert_eq!(xtables::tables(family).expect("listed"), Vec::<String>::new());
            let error = xtables::read(family, "nat").expect_err("not there").to_string();
            assert!(error.contains("table nat"), "{error}");
            xtables::stamp(family, "nat").expect_err("not there");
            let rule = Rule::new(vec![], Action::Accept, "");
            let nothing = [delete("FORWARD", rule), Edit::DeleteChain { chain: "X".into() }];
            xtables::edit(family, "nat", &nothing).expect("nothing to do");
            assert_eq!(xtables::tables(family).expect("listed"), Vec::<String>::new());
            iptables(family, "-t mangle -L");
            assert_eq!(xtables::tables(family).expect("listed"), ["mangle"]);
        }
    });
}

#[test]
fn every_kind_of_rule_is_listed_by_iptables_as_it_was_meant() {
    namespace(|| {
        let rules = every_kind(Family::Ip);
        let edits = [
            put("TARTAN-A", rules),
            put("TARTAN-B", vec![]),
            append("POSTROUTING", Rule::new(vec![], Action::Jump("TARTAN-A".into()), "tartan")),
        ];
        xtables::edit(Family::Ip, "nat", &edits).expect("edited");
        let expected = "*nat
:PREROUTING ACCEPT [0:0]
:INPUT ACCEPT [0:0]
:OUTPUT ACCEPT [0:0]
:POSTROUTING ACCEPT [0:0]
:TARTAN-A - [0:0]
:TARTAN-B - [0:0]
[0:0] -A POSTROUTING -m comment --comment tartan -j TARTAN-A
[0:0] -A TARTAN-A -s 10.244.1.0/24 ! -d 10.244.2.0/24 -m comment --comment \"a b\" -j ACCEPT
[0:0] -A TARTAN-A -i eth0 -j RETURN
[0:0] -A TARTAN-A ! -o veth+ -j RETURN
[0:0] -A TARTAN-A -m mark --mark 0x4000/0x4000 -m comment --comment marked -j RETURN
[0:0] -A TARTAN-A -m mark ! --mark 0x4000/0x4000
[0:0] -A TARTAN-A -p tcp -m tcp --dport 80 -j ACCEPT
[0:0] -A TARTAN-A -p udp -m udp --dport 8472 -j ACCEPT
[0:0] -A TARTAN-A -p sctp -m comment --comment counted
[0:0] -A TARTAN-A -m conntrack --ctstate DNAT -j TARTAN-B
[0:0] -A TARTAN-A -g TARTAN-B
[0:0] -A TARTAN-A -j MASQUERADE
[0:0] -A TARTAN-A -m comment --comment tartan -j MASQUERADE --random-fully
[0:0] -A TARTAN-A -p tcp -j MASQUERADE --to-ports 1024-2048 --random-fully
COMMIT";
        assert_eq!(saved(Family::Ip, "nat").join("\n"), expected);
    });
}

#[test]
fn what_was_written_is_read_back_the_same() {
    namespace(|| {
        for family in BOTH {
            let rules = every_kind(family);
            let edits = [put("TARTAN-B", vec![]), put("TARTAN-A", rules.clone())];
            xtables::edit(family, "nat", &edits).expect("edited");
            let table = xtables::read(family, "nat").expect("read");
            let chain = table.chain("TARTAN-A").expect("there");
            assert_eq!(chain.rules, rules);
            assert_eq!(chain.base, None);
            let base = table.chain("POSTROUTING").and_then(|chain| chain.base.clone());
            let base = base.expect("a base chain");
            assert_eq!((base.kind.as_str(), base.hook), ("nat", Hook::Postrouting));
            assert_eq!((base.priority, base.policy), (100, Policy::Accept));
            assert!(saved(family, "nat").join("\n").contains("--to-ports 1024-2048"));
        }
    });
}

#[test]
fn what_iptables_wrote_is_understood_or_named() {
    namespace(|| {
        let family = Family::Ip;
        iptables(family, "-P FORWARD DROP");
        iptables(family, "-N A");
        for words in [
            "-A FORWARD -f -j ACCEPT",
            "-A FORWARD ! -p tcp -g A",
            "-A FORWARD -p udp --dport 1:9",
            "-A FORWARD -s 10.0.0.1/255.0.255.0 -j LOG",
            "-A FORWARD -m addrtype --dst-type LOCAL ! --src-type UNICAST,BLACKHOLE -j QUEUE",
            "-A FORWARD -m conntrack --ctstate INVALID,NEW -m limit --limit 1/sec -j REJECT",
            "-A FORWARD ! -i eth+ ! -s 10.0.0.0/8 -m comment --comment one -m comment --comment two",
        ] {
            iptables(family, words);
        }
        let table = xtables::read(family, "filter").expect("read");
        let chain = table.chain("FORWARD").expect("there");
        assert_eq!(chain.base.as_ref().expect("a base chain").policy, Policy::Drop);
        let lines: Vec<String> = chain.rules.iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            [
                "-f -j ACCEPT",
                "! -p tcp -g A",
                "-p udp -m udp --dport 1:9 ",
                "-s 10.0.0.0/255.0.255.0 -j LOG",
                "-m addrtype ! --src-type UNICAST,BLACKHOLE --dst-type LOCAL -j QUEUE",
                "-m conntrack --ctstate INVALID,NEW -m limit -j REJECT",
                "! -s 10.0.0.0/8 ! -i eth+ -m comment --comment \"two\" ",
            ]
        );
        assert_eq!(chain.rules.last().expect("there").comment, "one");
    });
}

#[test]
fn foreign_rules_stay_as_they_are_counters_included() {
    namespace(|| {
        for family in BOTH {
            let text = foreign_filter(600);
            let text =
                if family == Family::Ip6 { text.replace("! -p icmp", "! -p 58") } else { text };
            restore(family, &text);
            let before = saved(family, "filter");
            let rule = |index| Rule::new(vec![source(family, index)], Action::Accept, "tartan");
            let edits = [
                put("AAA", vec![rule(1), Rule::new(vec![], Action::Jump("CHAIN-1".into()), "x")]),
                put("CHAIN-22", vec![rule(2)]),
                append("FORWARD", Rule::new(vec![], Action::Jump("AAA".into()), "tartan")),
                append("CHAIN-3", rule(3)),
            ];
            xtables::edit(family, "filter", &edits).expect("edited");
            let after = saved(family, "filter");
            let ours = |line: &&String| {
                line.contains("AAA") || line.contains("CHAIN-22") || line.contains("tartan")
            };
            assert_eq!(after.iter().filter(ours).count(), 7, "{after:#?}");
            let foreign: Vec<String> = after.iter().filter(|line| !ours(line)).cloned().collect();
            assert_eq!(foreign, before);
            assert_eq!(xtables::read(family, "filter").expect("read").chains.len(), 3 + 4 + 2);

            let back = [
                delete("FORWARD", Rule::new(vec![], Action::Jump("AAA".into()), "tartan")),
                Edit::DeleteChain { chain: "AAA".into() },
                Edit::DeleteChain { chain: "CHAIN-22".into() },
                delete("CHAIN-3", rule(3)),
            ];
            xtables::edit(family, "filter", &back).expect("edited");
            assert_eq!(saved(family, "filter"), before);
        }
    });
}

#[test]
fn foreign_translations_and_sets_stay_as_they_are() {
    namespace(|| {
        let set = ["create", "tartan-test", "hash:ip,port"];
        let made = std::process::Command::new("ipset").args(set).status();
        if !made.is_ok_and(|status| status.success()) {
            println!("skipped: needs ipset");
            return;
        }
        restore(Family::Ip, FOREIGN_NAT);
        let before = saved(Family::Ip, "nat");
        assert_eq!(before.join("\n"), FOREIGN_NAT.trim_end());
        let jump = || Rule::new(vec![], Action::Jump("LA".into()), "tartan");
        let edits = [put("LA", every_kind(Family::Ip)), put("TARTAN-B", vec![])];
        xtables::edit(Family::Ip, "nat", &edits).expect("edited");
        xtables::edit(Family::Ip, "nat", &[append("POSTROUTING", jump())]).expect("edited");
        let after = saved(Family::Ip, "nat");
        assert_eq!(after.len(), before.len() + 2 + 1 + every_kind(Family::Ip).len());
        let ours = |line: &&String| line.contains("LA") || line.contains("TARTAN-B");
        assert!(after.iter().filter(|line| !ours(line)).eq(&before), "{after:#?}");
        let gone = |chain: &str| Edit::DeleteChain { chain: chain.into() };
        let edits = [gone("LA"), gone("TARTAN-B"), delete("POSTROUTING", jump())];
        xtables::edit(Family::Ip, "nat", &edits).expect("edited");
        assert_eq!(saved(Family::Ip, "nat"), before);
    });
}

#[test]
fn counters_that_packets_made_survive_an_edit() {
    namespace(|| {
        let counts = || -> Vec<String> {
            let lines = saved(Family::Ip, "filter");
            lines.into_iter().filter(|line| line.contains("-j ACCEPT")).collect()
        };
        assert!(
            std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status().is_ok()
        );
        iptables(Family::Ip, "-A OUTPUT -p udp -j ACCEPT");
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("bound");
        for _ in 0..5 {
            socket.send_to(&[0; 72], socket.local_addr().expect("bound")).expect("sent");
        }
        assert_eq!(counts(), ["[5:500] -A OUTPUT -p udp -j ACCEPT"]);
        xtables::edit(Family::Ip, "filter", &[put("TARTAN", vec![])]).expect("edited");
        assert_eq!(counts(), ["[5:500] -A OUTPUT -p udp -j ACCEPT"]);
        socket.send_to(&[0; 72], socket.local_addr().expect("bound")).expect("sent");
        assert_eq!(counts(), ["[6:600] -A OUTPUT -p udp -j ACCEPT"]);
    });
}

#[test]
fn what_cannot_be_written_changes_nothing() {
    namespace(|| {
        let fine = || append("FORWARD", Rule::new(vec![], Action::Accept, "fine"));
        let with = |one: Match| append("FORWARD", Rule::new(vec![one], Action::Accept, ""));
        let goes = |action: Action| append("FORWARD", Rule::new(vec![], action, ""));
        let refused = |edit: Edit| {
            let error = xtables::edit(Family::Ip, "filter", &[fine(), edit.clone()]);
            let error = error.expect_err("refused");
            assert!(matches!(error, NetfilterError::Unwritable { .. }), "{edit:?}: {error}");
        };
        refused(with(Match::DestinationIn("nodes".into())));
        refused(with(Match::Other("-m set".into())));
        refused(with(Match::DestinationPort(80)));
        refused(with(Match::ConntrackInvalid));
        refused(with(Match::TcpFlagsAny(7)));
        refused(goes(Action::NoTrack));
        refused(with(source(Family::Ip6, 1)));
        refused(with(Match::InDevice { name: "a".repeat(16), negated: false }));
        refused(goes(Action::Other("-j LOG".into())));
        refused(goes(Action::Masquerade { random_fully: false, ports: Some((1, 2)) }));
        refused(append("FORWARD", Rule::new(vec![], Action::Accept, "x".repeat(256))));
        refused(put("a chain", vec![]));
        refused(put(&"x".repeat(29), vec![]));
        assert_eq!(xtables::tables(Family::Ip).expect("listed"), Vec::<String>::new());

        iptables(Family::Ip, "-A FORWARD -s 10.0.0.0/8 -j DROP");
        let before = saved(Family::Ip, "filter");
        refused(goes(Action::Jump("NOWHERE".into())));
        refused(put("FORWARD", vec![]));
        refused(Edit::DeleteChain { chain: "FORWARD".into() });
        refused(append("NOWHERE", Rule::new(vec![], Action::Accept, "")));
        // The kernel's own refusals: masquerading outside of `nat`, and a loop.
        for action in
            [Action::Masquerade { random_fully: false, ports: None }, Action::Jump("L".into())]
        {
            let chain = put("L", vec![Rule::new(vec![], action, "")]);
            let edits = [chain, goes(Action::Jump("L".into()))];
            let error = xtables::edit(Family::Ip, "filter", &edits).expect_err("refused");
            assert!(matches!(error, NetfilterError::Refused { .. }), "{error}");
        }
        assert_eq!(saved(Family::Ip, "filter"), before);
    });
}

#[test]
fn a_chain_that_is_right_already_is_left_alone() {
    namespace(|| {
        let rules = || {
            vec![Rule::new(
                vec![Match::Mark { value: 1, mask: 1, negated: false }],
                Action::Return,
                "x",
            )]
        };
        let edits = [put("TARTAN", rules())];
        xtables::edit(Family::Ip, "filter", &edits).expect("edited");
        let stamp = xtables::stamp(Family::Ip, "filter").expect("there");
        assert_eq!(xtables::stamp(Family::Ip, "filter").expect("there"), stamp);
        iptables(Family::Ip, "-A OUTPUT -j TARTAN");
        iptables(
            Family::Ip,
            "-R TARTAN 1 -m mark --mark 1/1 -m comment --comment x -j RETURN -c 4 8",
        );
        xtables::edit(Family::Ip, "filter", &edits).expect("edited");
        assert!(saved(Family::Ip, "filter").iter().any(|line| line.starts_with("[4:8] -A TARTAN")));
        assert_ne!(xtables::stamp(Family::Ip, "filter").expect("there"), stamp);
        let changed = [put("TARTAN", vec![])];
        xtables::edit(Family::Ip, "filter", &changed).expect("edited");
        assert_eq!(
            xtables::read(Family::Ip, "filter")
                .expect("read")
                .chain("TARTAN")
                .map(|chain| chain.rules.len()),
            Some(0)
        );
    });
}

#[test]
fn edits_at_the_same_time_lose_nothing() {
    namespace(|| {
        iptables(Family::Ip, "-L");
        let netns = File::open("/proc/thread-self/ns/net").expect("a namespace");
        thread::scope(|scope| {
            for worker in 0..4_u8 {
                let netns = &netns;
                scope.spawn(move || {
                    setns(netns, CloneFlags::CLONE_NEWNET).expect("root");
                    for turn in 0..10_u8 {
                        let rule = Rule::new(
                            vec![source(Family::Ip, worker * 10 + turn)],
                            Action::Accept,
                            "",
                        );
                        if worker % 2 == 0 {
                            xtables::edit(Family::Ip, "filter", &[append("FORWARD", rule)])
                                .expect("edited");
                        } else {
                            iptables(Family::Ip, &format!("-A FORWARD {rule}"));
                        }
                    }
                });
            }
        });
        let table = xtables::read(Family::Ip, "filter").expect("read");
        assert_eq!(table.chain("FORWARD").map(|chain| chain.rules.len()), Some(40));
    });
}

#[test]
fn an_edit_waits_while_iptables_holds_its_lock() {
    namespace(|| {
        iptables(Family::Ip, "-L");
        let netns = File::open("/proc/thread-self/ns/net").expect("a namespace");
        let file = File::options().create(true).append(true).open("/run/xtables.lock");
        let lock = Flock::lock(file.expect("the lock's file"), FlockArg::LockExclusive);
        let lock = lock.expect("some time free");
        let edit = thread::spawn(move || {
            setns(netns, CloneFlags::CLONE_NEWNET).expect("root");
            xtables::edit(Family::Ip, "filter", &[put("TARTAN", vec![])])
        });
        // An edit of a small table takes a millisecond.
        thread::sleep(Duration::from_millis(200));
        assert!(!edit.is_finished());
        assert!(!saved(Family::Ip, "filter").iter().any(|line| line.contains("TARTAN")));
        drop(lock);
        edit.join().expect("no panic").expect("edited");
        assert!(saved(Family::Ip, "filter").iter().any(|line| line.contains("TARTAN")));
    });
}

#[test]
fn ten_thousand_rules_are_read_and_edited() {
    namespace(|| {
        restore(Family::Ip, &foreign_filter(10_000));
        let before = saved(Family::Ip, "filter");
        let start = Instant::now();
        let table = xtables::read(Family::Ip, "filter").expect("read");
        let read = start.elapsed();
        assert_eq!(table.chains.iter().map(|chain| chain.rules.len()).sum::<usize>(), 10_002);
        let rule = || Rule::new(vec![source(Family::Ip, 1)], Action::Accept, "tartan forward");
        let start = Instant::now();
        xtables::edit(Family::Ip, "filter", &[append("FORWARD", rule())]).expect("edited");
        let edited = start.elapsed();
        let start = Instant::now();
        xtables::stamp(Family::Ip, "filter").expect("there");
        println!("10,000 rules: read {read:?}, edited {edited:?}, stamp {:?}", start.elapsed());
        xtables::edit(Family::Ip, "filter", &[delete("FORWARD", rule())]).expect("edited");
        assert_eq!(saved(Family::Ip, "filter"), before);
    });
}
