//! Rules of other people are read for what they are, and never for less.

#![expect(clippy::expect_used, reason = "a test's scaffolding fails its test")]

use std::fmt::Write;
use std::time::Instant;

use tartan_core::netfilter::model::{Action, Family, Hook, Policy, Rule, Table};
use tartan_netfilter::nft::Nft;

use crate::support::{every_kind, iptables, listed, namespace, nft, ours, put, run, table};

/// What `nft` is told, and what is read.
const NATIVE: &[(&str, &str)] = &[
    ("ct state established,related accept", "ct state established,related -j ACCEPT"),
    ("ct state invalid drop", "-m conntrack --ctstate INVALID -j DROP"),
    ("ct state != invalid accept", "ct state != invalid -j ACCEPT"),
    ("ct state vmap { established : accept, invalid : drop }", "ct state vmap @__map0"),
    ("meta mark set 0x1", "meta mark set 0x1"),
    (
        "meta mark set meta mark | 0x4000 accept",
        "meta mark set (meta mark & 0xffbfffff ^ 0x00400000) -j ACCEPT",
    ),
    ("ct mark set meta mark", "ct mark set meta mark"),
    (
        "ip saddr 10.0.0.0/8 tcp dport 22 counter accept",
        "-s 10.0.0.0/8 -p tcp --dport 22 -j ACCEPT",
    ),
    ("ip saddr != 10.0.0.0/8 drop", "meta nfproto == ipv4 ! -s 10.0.0.0/8 -j DROP"),
    (
        "ip6 saddr fd00::/8 udp dport 53-54 accept",
        "-s fd00::/8 -p udp th dport >= 53 th dport <= 54 -j ACCEPT",
    ),
    ("ip saddr @s drop", "meta nfproto == ipv4 ip saddr @s -j DROP"),
    (
        "ip daddr . tcp dport { 1.2.3.4 . 80 } accept",
        "meta nfproto == ipv4 -p tcp ip daddr . th dport @__set0 -j ACCEPT",
    ),
    ("tcp flags & (fin|syn|rst) != 0 notrack", "-p tcp ! --tcp-flags 0x07 NONE -j CT --notrack"),
    ("tcp flags & (syn|ack) == syn drop", "-p tcp tcp flags & 0x12 == 0x02 -j DROP"),
    ("limit rate 5/second accept", "limit -j ACCEPT"),
    (r#"log prefix "x" accept"#, "log -j ACCEPT"),
    ("reject", "reject"),
    ("notrack", "-j CT --notrack"),
    ("fib daddr type local jump a", "fib == 0x02000000 -j a"),
    ("meta l4proto != tcp drop", "! -p tcp -j DROP"),
    ("iif lo accept", "meta iif == 0x1 -j ACCEPT"),
    (r#"iifname "veth*" oifname != "eth0" goto a"#, "-i veth+ ! -o eth0 -g a"),
    ("quota 10 mbytes drop", "quota -j DROP"),
    ("ip dscp set cs1", "meta nfproto == ipv4 @nh,0,16 set (@nh,0,16 & 0xff03 ^ 0x0020)"),
    ("tcp option maxseg size set rt mtu", "rt exists byteorder exists exthdr"),
    ("ct status dnat accept", "--ctstate DNAT -j ACCEPT"),
    ("ct status & (snat|dnat) != 0 accept", "ct status snat,dnat -j ACCEPT"),
    ("ct original ip daddr 1.2.3.4 accept", "ct original ip daddr == 0x01020304 -j ACCEPT"),
    ("th dport 80 accept", "th dport == 80 -j ACCEPT"),
    ("numgen random mod 2 0 drop", "numgen == 0x00000000 -j DROP"),
    ("update @s { ip saddr timeout 3s }", "meta nfproto == ipv4 ip saddr exists dynset"),
    ("meta mark & 0x4000 != 0x4000 return", "! --mark 0x4000/0x4000 -j RETURN"),
    (r#"counter comment "nothing""#, ""),
];

/// What `iptables-nft` is told, and what is read.
const COMPATIBLE: &[(&str, &str)] = &[
    ("-m addrtype --dst-type LOCAL -j RETURN", "-m addrtype -j RETURN"),
    ("-m physdev --physdev-in x -j ACCEPT", "-m physdev -j ACCEPT"),
    ("-j LOG", "-j LOG"),
    ("-p tcp --dport 1:3 -j REJECT", "-p tcp th dport 1-3 -j REJECT"),
    ("-m limit --limit 5/s -j ACCEPT", "limit -j ACCEPT"),
    ("-p tcp -j TCPMSS --clamp-mss-to-pmtu", "-p tcp -j TCPMSS"),
    ("-j CONNMARK --save-mark", "-j CONNMARK"),
    ("-m conntrack --ctstate INVALID -j DROP", "-m conntrack --ctstate INVALID -j DROP"),
    ("-m conntrack ! --ctstate INVALID -j DROP", "-m conntrack ! --ctstate INVALID -j DROP"),
    ("-m conntrack --ctstate DNAT -j ACCEPT", "--ctstate DNAT -j ACCEPT"),
    ("-m conntrack ! --ctstate DNAT -j ACCEPT", "-m conntrack ! --ctstate DNAT -j ACCEPT"),
    (
        "-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
        "-m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT",
    ),
    ("-m conntrack --ctstatus ASSURED -j DROP", "-m conntrack --ctstatus ASSURED -j DROP"),
    (
        "-m mark ! --mark 0x4000/0x4000 -j MARK --set-xmark 0x1/0x2",
        "! --mark 0x4000/0x4000 -j MARK",
    ),
    ("! -p tcp -j DROP", "! -p tcp -j DROP"),
    (
        "-p udp -m udp --dport 53 -m comment --comment hello -j ACCEPT",
        "-p udp --dport 53 -j ACCEPT",
    ),
    ("-p udp --sport 53 -j ACCEPT", "-p udp th sport == 53 -j ACCEPT"),
    ("-f -j DROP", "@nh,48,16 & 0x1fff != 0x0000 -j DROP"),
];

/// The same in the table `nat`.
const ADDRESSES: &[(&str, &str)] = &[
    (
        "-p udp -m udp --dport 5 -j MASQUERADE --random-fully --to-ports 1024-2048",
        "-p udp --dport 5 -j MASQUERADE --to-ports 1024-2048 --random-fully",
    ),
    ("-j MASQUERADE", "-j MASQUERADE"),
    ("-j MASQUERADE --random", "-j MASQUERADE (flags 0x4)"),
    ("-j SNAT --to-source 1.2.3.4", "-j SNAT"),
];

fn ruleset() -> Vec<Table> {
    Nft::open().expect("nf_tables").ruleset("tartan").expect("read")
}

fn chain<'a>(tables: &'a [Table], table: &str, chain: &str) -> &'a [Rule] {
    let table = tables.iter().find(|one| one.name == table).expect("the table");
    &table.chain(chain).expect("the chain").rules
}

fn shown(rules: &[Rule]) -> Vec<String> {
    rules.iter().map(|rule| rule.to_string().trim_end().to_owned()).collect()
}

fn expected(pairs: &[(&str, &'static str)]) -> Vec<&'static str> {
    pairs.iter().map(|(_, read)| *read).collect()
}

#[test]
fn rules_of_nft_are_read_for_what_they_are() {
    namespace(|| {
        let rules: Vec<&str> = NATIVE.iter().map(|(told, _)| *told).collect();
        nft(&format!(
            "table inet fw {{ set s {{ type ipv4_addr; timeout 1h; }}
             chain a {{}}
             chain c {{ type filter hook forward priority -10; policy drop; {}
 }}
 }}",
            rules.join("\n")
        ));
        let tables = ruleset();
        assert_eq!(shown(chain(&tables, "fw", "c")), expected(NATIVE));
        assert_eq!(chain(&tables, "fw", "c").last().expect("one").comment, "nothing");
        let base = tables[0].chain("c").and_then(|chain| chain.base.clone()).expect("a base");
        assert_eq!(
            (tables[0].family, base.hook, base.priority, base.policy, base.kind.as_str()),
            (Family::Inet, Hook::Forward, -10, Policy::Drop, "filter")
        );
    });
}

#[test]
fn rules_of_iptables_are_read_for_what_they_are() {
    namespace(|| {
        for (told, _) in COMPATIBLE {
            iptables(&format!("-A FORWARD {told}"));
        }
        for (told, _) in ADDRESSES {
            iptables(&format!("-t nat -A POSTROUTING {told}"));
        }
        let v6 =
            "-t nat -A POSTROUTING -s fd00::/16 -p tcp -j MASQUERADE --random-fully --to-ports 5-6";
        run("ip6tables-nft", &v6.split(' ').collect::<Vec<_>>(), "");
        let tables = ruleset();
        assert_eq!(shown(chain(&tables, "filter", "FORWARD")), expected(COMPATIBLE));
        assert_eq!(shown(chain(&tables, "nat", "POSTROUTING")), expected(ADDRESSES));
        let comments = chain(&tables, "filter", "FORWARD").iter().map(|rule| &rule.comment);
        assert_eq!(comments.filter(|comment| *comment == "hello").count(), 1);
        let sixth = tables.iter().find(|table| table.family == Family::Ip6).expect("there");
        assert_eq!(
            shown(&sixth.chain("POSTROUTING").expect("there").rules),
            ["-p tcp -s fd00::/16 -j MASQUERADE --to-ports 5-6 --random-fully"]
        );
    });
}

#[test]
fn a_change_of_our_table_by_somebody_else_is_seen() {
    for meddling in [
        "add rule ip tartan postrouting accept",
        "insert rule ip tartan postrouting meta mark set 1",
        "add element ip tartan nodes { 9.9.9.9 }",
        "delete element ip tartan nodes { 192.168.0.1 }",
        "add set ip tartan more { type ipv4_addr; }",
        "add chain ip tartan more",
        "add chain ip tartan postrouting { policy drop; }",
        "flush chain ip tartan postrouting",
        "add table ip tartan { flags dormant; }",
        "delete table ip tartan",
    ] {
        namespace(|| {
            let mut kernel = Nft::open().expect("nf_tables");
            let wanted = table(every_kind(), 3);
            put(&mut kernel, &wanted);
            nft(meddling);
            let seen = ours(&mut kernel).is_none_or(|found| !wanted.says_the_same(&found));
            assert!(seen, "{meddling}\n{}", listed());
            put(&mut kernel, &wanted);
            assert!(wanted.says_the_same(&ours(&mut kernel).expect("there")), "{meddling}");
        });
    }
}

/// What kube-proxy in its iptables mode makes of Services with three endpoints each.
fn services(count: usize) -> String {
    let mut text = String::from("*nat\n:KUBE-SERVICES - [0:0]\n:KUBE-MARK-MASQ - [0:0]\n");
    let mut rules = String::from("-A KUBE-MARK-MASQ -j MARK --or-mark 0x4000\n");
    for one in 0..count {
        let (high, low) = (one / 250, one % 250 + 1);
        let _ = writeln!(text, ":KUBE-SVC-{one} - [0:0]");
        let _ = writeln!(
            rules,
            "-A KUBE-SERVICES -d 10.96.{high}.{low}/32 -p tcp -m comment --comment \"ns/s{one}\" \
             -m tcp --dport 80 -j KUBE-SVC-{one}\n\
             -A KUBE-SVC-{one} ! -s 10.244.0.0/16 -d 10.96.{high}.{low}/32 -p tcp -m tcp \
             --dport 80 -j KUBE-MARK-MASQ"
        );
        for end in 0..3 {
            let _ = writeln!(text, ":KUBE-SEP-{one}-{end} - [0:0]");
            let _ = writeln!(
                rules,
                "-A KUBE-SVC-{one} -m comment --comment \"ns/s{one} -> 10.244.{end}.{low}\" \
                 -m statistic --mode random --probability 0.5 -j KUBE-SEP-{one}-{end}\n\
                 -A KUBE-SEP-{one}-{end} -s 10.244.{end}.{low}/32 -j KUBE-MARK-MASQ\n\
                 -A KUBE-SEP-{one}-{end} -p tcp -m tcp -j DNAT --to-destination 10.244.{end}.{low}:80"
            );
        }
    }
    text + &rules + "COMMIT\n"
}

#[test]
fn a_thousand_services_are_read_whole() {
    namespace(|| {
        run("iptables-nft-restore", &[], &services(1_000));
        let mut kernel = Nft::open().expect("nf_tables");
        let start = Instant::now();
        let tables = kernel.ruleset("tartan").expect("read");
        let took = start.elapsed();
        let rules: usize = tables[0].chains.iter().map(|chain| chain.rules.len()).sum();
        println!("{rules} rules in {} chains read in {took:?}", tables[0].chains.len());
        assert_eq!(rules, 11_001);
        let service = shown(chain(&tables, "nat", "KUBE-SVC-999"));
        assert_eq!(
            service[0],
            "-p tcp ! -s 10.244.0.0/16 -d 10.96.3.250/32 --dport 80 -j KUBE-MARK-MASQ"
        );
        assert_eq!(service[1], "-m statistic -j KUBE-SEP-999-0");
        let last = chain(&tables, "nat", "KUBE-SEP-999-2").last().expect("one");
        assert_eq!(last.action, Action::Other("-j DNAT".into()));
    });
}
