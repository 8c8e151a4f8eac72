//! What is written stands in the kernel, is listed by other tools, and appears in one moment.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Instant;

use tartan_core::netfilter::model::{Action, Family, Match, Rule};
use tartan_netfilter::NetfilterError;
use tartan_netfilter::nft::{Edit, Nft};

use crate::support::{
    destination, every_kind, iptables, listed, namespace, nft, ours, put, run, source, table,
};

fn appended(rule: &Rule) -> Edit {
    Edit::AppendRule {
        family: Family::Ip,
        table: "filter".into(),
        chain: "FORWARD".into(),
        rule: rule.clone(),
    }
}

#[test]
fn a_table_is_read_back_as_it_was_written() {
    namespace(|| {
        let mut kernel = Nft::open().expect("nf_tables");
        let wanted = table(every_kind(), 3);
        put(&mut kernel, &wanted);
        let found = ours(&mut kernel).expect("there");
        assert!(wanted.says_the_same(&found), "{wanted:#?}\n{found:#?}");
        let rules = &found.chain("postrouting").expect("there").rules;
        assert!(rules.iter().all(|rule| rule.handle.is_some()));
    });
}

#[test]
fn nft_lists_every_kind_of_rule_in_its_own_words() {
    namespace(|| {
        put(&mut Nft::open().expect("nf_tables"), &table(every_kind(), 2));
        let listed = listed();
        for words in [
            "type ipv4_addr",
            "elements = { 192.168.0.0, 192.168.0.1 }",
            "type nat hook postrouting priority srcnat; policy accept;",
            "ip saddr 10.244.0.0/16 ip daddr != 10.244.128.0/17 counter packets 0 bytes 0 \
             masquerade fully-random comment \"tartan masquerade\"",
            "meta l4proto udp counter packets 0 bytes 0 masquerade to :1024-8471 fully-random \
             comment \"tartan\"",
            "ip saddr != 10.1.2.3 counter packets 0 bytes 0 masquerade comment \"tartan \u{fc}\"",
            "iifname != \"eth0\" oifname \"veth*\" counter packets 0 bytes 0 return",
            "meta mark & 0x00004000 == 0x00004000 counter packets 0 bytes 0 jump elsewhere",
            "meta mark != 0x00000007 counter packets 0 bytes 0 goto elsewhere",
            "ip daddr @nodes udp dport 8472 counter packets 0 bytes 0 drop",
            "ct status dnat counter packets 0 bytes 0 accept",
            "ip saddr 10.244.0.0/16 ip daddr 10.244.0.0/16 tcp flags fin,syn,rst ct state invalid \
             counter packets 0 bytes 0 notrack comment \"tartan ends\"",
        ] {
            assert!(listed.contains(words), "{words}\n{listed}");
        }
    });
}

#[test]
fn what_nft_lists_nft_loads_again_to_the_same_table() {
    namespace(|| {
        let mut kernel = Nft::open().expect("nf_tables");
        let mut rules = every_kind();
        rules.retain(|rule| rule.matches != [source("0.0.0.0/0", false)]);
        let wanted = table(rules, 3);
        put(&mut kernel, &wanted);
        nft(&format!("flush ruleset\n{}", listed()));
        let found = ours(&mut kernel).expect("there");
        assert!(wanted.says_the_same(&found), "{wanted:#?}\n{found:#?}");
    });
}

#[test]
fn a_set_of_fifteen_thousand_nodes_is_written_and_read() {
    namespace(|| {
        let mut kernel = Nft::open().expect("nf_tables");
        let wanted = table(every_kind(), 15_000);
        let start = Instant::now();
        put(&mut kernel, &wanted);
        let written = start.elapsed();
        let found = ours(&mut kernel).expect("there");
        println!("written in {written:?}, written and read in {:?}", start.elapsed());
        assert!(wanted.says_the_same(&found));
    });
}

#[test]
fn elements_come_and_go_without_a_new_table() {
    namespace(|| {
        let mut kernel = Nft::open().expect("nf_tables");
        put(&mut kernel, &table(vec![], 3));
        let change = |add: &[u8], remove: &[u8]| Edit::Elements {
            family: Family::Ip,
            table: "tartan".into(),
            set: "nodes".into(),
            add: add.iter().map(|last| [192, 168, 0, *last].into()).collect(),
            remove: remove.iter().map(|last| [192, 168, 0, *last].into()).collect(),
        };
        kernel.apply(&[change(&[9, 2], &[1])]).expect("changed");
        let elements = &ours(&mut kernel).expect("there").sets[0].elements;
        assert_eq!(elements.iter().map(|it| it.octets()[3]).collect::<Vec<_>>(), [0, 2, 9]);
        let refused = kernel.apply(&[change(&[7], &[77])]).expect_err("not there");
        assert!(refused.to_string().contains("remove from set nodes in ip tartan"), "{refused}");
        assert_eq!(ours(&mut kernel).expect("there").sets[0].elements.len(), 3);
    });
}

#[test]
fn iptables_lists_and_deletes_an_appended_rule_as_its_own() {
    namespace(|| {
        let mut kernel = Nft::open().expect("nf_tables");
        iptables("-P FORWARD DROP");
        iptables("-A FORWARD -p icmp -j ACCEPT");
        let rules = [
            Rule::new(vec![source("10.244.0.0/16", false)], Action::Accept, "tartan forward"),
            Rule::new(vec![destination("10.244.0.0/15", true)], Action::Accept, "tartan forward"),
            Rule::new(
                vec![
                    Match::InDevice { name: "eth0".into(), negated: false },
                    Match::OutDevice { name: "veth+".into(), negated: true },
                    Match::Mark { value: 1, mask: 1, negated: false },
                    Match::Protocol(6),
                    Match::DestinationPort(80),
                ],
                Action::Return,
                "",
            ),
        ];
        kernel.apply(&rules.each_ref().map(appended)).expect("appended");
        let lines = [
            "-A FORWARD -s 10.244.0.0/16 -m comment --comment \"tartan forward\" -j ACCEPT",
            "-A FORWARD ! -d 10.244.0.0/15 -m comment --comment \"tartan forward\" -j ACCEPT",
            "-A FORWARD -i eth0 ! -o veth+ -p tcp -m mark --mark 0x1/0x1 -m tcp --dport 80 \
             -j RETURN",
        ];
        let listed = iptables("-S FORWARD");
        let expected =
            format!("-P FORWARD DROP\n-A FORWARD -p icmp -j ACCEPT\n{}\n", lines.join("\n"));
        assert_eq!(listed, expected);
        let tables = kernel.ruleset("tartan").expect("read");
        let forward = tables[0].chain("FORWARD").expect("there");
        assert!(forward.rules[1..].iter().zip(&rules).all(|(a, b)| a.says_the_same(b)));
        let by_words = ["-D", "FORWARD", "-s", "10.244.0.0/16", "-m", "comment", "--comment"];
        run("iptables-nft", &[&by_words[..], &["tartan forward", "-j", "ACCEPT"]].concat(), "");
        iptables(
            "-D FORWARD -i eth0 ! -o veth+ -p tcp -m mark --mark 0x1/0x1 --dport 80 -j RETURN",
        );
        iptables("-D FORWARD 2");
        assert_eq!(iptables("-S FORWARD"), "-P FORWARD DROP\n-A FORWARD -p icmp -j ACCEPT\n");
    });
}

#[test]
fn a_refused_transaction_names_its_step_and_changes_nothing() {
    namespace(|| {
        let mut kernel = Nft::open().expect("nf_tables");
        put(&mut kernel, &table(every_kind(), 3));
        let (before, generation) = (listed(), kernel.generation().expect("read"));
        let lost = Rule::new(vec![], Action::Jump("nowhere".into()), "");
        let mut broken = table(vec![], 1);
        broken.chains[1].rules.push(lost);
        let refused = kernel.apply(&[Edit::PutTable(broken)]).expect_err("no such chain");
        assert!(
            matches!(&refused, NetfilterError::Refused { what, .. }
            if what == "append the rule `-j nowhere` to ip tartan postrouting"),
            "{refused}"
        );
        let elsewhere = appended(&Rule::new(vec![], Action::Accept, ""));
        let removal = Edit::RemoveTable { family: Family::Ip, name: "tartan".into() };
        kernel.apply(&[removal, elsewhere]).expect_err("no such table");
        assert_eq!((listed(), kernel.generation().expect("read")), (before, generation));
    });
}

#[test]
fn what_cannot_be_said_exactly_is_not_sent() {
    namespace(|| {
        let mut kernel = Nft::open().expect("nf_tables");
        let generation = kernel.generation().expect("read");
        let unsaid = [
            Rule::new(vec![Match::Other("-m set".into())], Action::Accept, ""),
            Rule::new(vec![Match::DestinationPort(80)], Action::Accept, ""),
            Rule::new(vec![Match::Protocol(17), Match::TcpFlagsAny(7)], Action::Accept, ""),
            Rule::new(vec![source("fd00::/64", false)], Action::Accept, ""),
            Rule::new(vec![], Action::Other("-j LOG".into()), ""),
            Rule::new(vec![], Action::Accept, "x".repeat(128)),
            Rule::new(vec![], Action::Accept, "a\0b"),
            Rule::new(
                vec![Match::InDevice { name: "sixteen-is-a-lot".into(), negated: false }],
                Action::Accept,
                "",
            ),
        ];
        for rule in unsaid {
            let error = kernel.apply(&[Edit::PutTable(table(vec![rule], 1))]).expect_err("unsaid");
            assert!(matches!(error, NetfilterError::Unwritable { .. }), "{error}");
        }
        assert_eq!(kernel.generation().expect("read"), generation);
    });
}

#[test]
fn a_table_is_replaced_in_one_moment() {
    namespace(|| {
        let variants = [table(every_kind(), 40), table(every_kind().split_off(5), 900)];
        put(&mut Nft::open().expect("nf_tables"), &variants[0]);
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut kernel = Nft::open().expect("nf_tables");
                for round in 1..300 {
                    put(&mut kernel, &variants[round % 2]);
                }
                over.store(true, Ordering::Relaxed);
            });
            let mut kernel = Nft::open().expect("nf_tables");
            let mut seen = [0, 0];
            while !over.load(Ordering::Relaxed) {
                let found = match kernel.ruleset("tartan") {
                    Ok(tables) => tables,
                    Err(NetfilterError::Busy(_)) => continue,
                    Err(error) => panic!("{error}"),
                };
                assert_eq!(found.len(), 1, "never none, never two");
                let which = variants.iter().position(|variant| variant.says_the_same(&found[0]));
                seen[which.unwrap_or_else(|| panic!("a mixture: {found:#?}"))] += 1;
            }
            println!("seen {seen:?}");
            assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
        });
    });
}

#[test]
fn tables_and_chains_are_removed_whether_or_not_they_are_there() {
    namespace(|| {
        let mut kernel = Nft::open().expect("nf_tables");
        let gone = Edit::RemoveTable { family: Family::Ip6, name: "tartan".into() };
        kernel.apply(std::slice::from_ref(&gone)).expect("nothing to do");
        nft("table ip6 tartan { chain a { accept; }; chain b { jump a; }; }");
        kernel.apply(&[gone]).expect("removed");
        assert_eq!(listed(), "");
        nft("table ip old { chain a { accept; }; chain b { drop; }; }");
        let tables = kernel.ruleset("tartan").expect("read");
        let handle = tables[0].chains[1].rules[0].handle.expect("read from the kernel");
        let (family, table) = (Family::Ip, String::from("old"));
        kernel
            .apply(&[
                Edit::DeleteChain { family, table: table.clone(), chain: "a".into() },
                Edit::DeleteRule { family, table, chain: "b".into(), handle },
            ])
            .expect("removed");
        assert_eq!(listed(), "table ip old {\n\tchain b {\n\t}\n}\n");
    });
}
