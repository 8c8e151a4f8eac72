//! Valid texts to start from, and words that parsers care about.

/// Words for any place.
pub const DICTIONARY: [&str; 66] = [
    "",
    "null",
    "true",
    "false",
    "\"",
    "\\",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\\u0000",
    "\\ud800",
    "\\u001b[31m",
    "\u{0}",
    "\u{1b}[2J",
    "\r\n",
    "\n",
    "\t",
    "\u{85}",
    "\u{202e}",
    "\u{feff}",
    "\u{17f}",
    "\u{212a}",
    "0.0.0.0",
    "127.0.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "169.254.0.1",
    "10.244.0.0/16",
    "10.244.1.0/24",
    "10.244.1.1/24",
    "10.244.2.0/24",
    "10.244.2.1",
    "10.245.0.0/24",
    "10.244.2.0/25",
    "10.244.0.0/15",
    "0.0.0.0/0",
    "10.244.2.0/33",
    "010.244.2.0/24",
    "172.30.0.11",
    "172.30.0.12",
    "::",
    "::1",
    "::ffff:172.30.0.12",
    "fd00:10:244:2::/64",
    "fd00::/8",
    "ff02::1",
    "fe80::1%eth0",
    "2001:db8::/129",
    "00:00:00:00:00:00",
    "ff:ff:ff:ff:ff:ff",
    "02:00:00:00:00:02",
    "02-00-00-00-00-99",
    "flannel.alpha.coreos.com/",
    "kube-subnet-manager",
    "backend-data",
    "public-ip",
    "podCIDRs",
    "VNI",
    "vtepmac",
    "1970-01-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "2026-02-30T00:00:00Z",
    "$(reboot)",
];

/// Node objects.
pub const NODES: [&str; 5] = [
    r#"{"kind":"Node","metadata":{"name":"bad","uid":"5f4dcc3b-5aa7-65d6-1d83-27deb882cf99","resourceVersion":"1234","creationTimestamp":"2026-03-01T00:00:00Z","labels":{"a":"b"},"annotations":{"flannel.alpha.coreos.com/kube-subnet-manager":"true","flannel.alpha.coreos.com/backend-type":"vxlan","flannel.alpha.coreos.com/backend-data":"{\"VNI\":1,\"VtepMAC\":\"02:00:00:00:00:99\"}","flannel.alpha.coreos.com/public-ip":"172.30.0.99"}},"spec":{"podCIDR":"10.244.9.0/24","podCIDRs":["10.244.9.0/24"]},"status":{"conditions":[]}}"#,
    r#"{"metadata":{"name":"dual.example.org","uid":"u","resourceVersion":"7","creationTimestamp":"2026-03-01T00:00:00Z","annotations":{"flannel.alpha.coreos.com/kube-subnet-manager":"true","flannel.alpha.coreos.com/backend-type":"vxlan","flannel.alpha.coreos.com/backend-data":"{\"VNI\":1,\"VtepMAC\":\"02:00:00:00:00:98\"}","flannel.alpha.coreos.com/backend-v6-data":"{\"VNI\":1,\"VtepMAC\":\"02:00:00:00:06:98\"}","flannel.alpha.coreos.com/public-ip":"172.30.0.98","flannel.alpha.coreos.com/public-ipv6":"fd00:30::98","flannel.alpha.coreos.com/public-ip-overwrite":"203.0.113.9","flannel.alpha.coreos.com/node-public-ip":"203.0.113.8"}},"spec":{"podCIDR":"10.244.8.0/24","podCIDRs":["10.244.8.0/24","fd00:10:244:8::/64"]}}"#,
    r#"{"metadata":{"name":"bare","resourceVersion":"8"}}"#,
    r#"{"metadata":{"name":"taker","uid":"t","resourceVersion":"9","creationTimestamp":"2026-03-02T00:00:00Z","annotations":{"flannel.alpha.coreos.com/kube-subnet-manager":"true","flannel.alpha.coreos.com/backend-type":"vxlan","flannel.alpha.coreos.com/backend-data":"{\"VNI\":1,\"VtepMAC\":\"02:00:00:00:00:02\"}","flannel.alpha.coreos.com/public-ip":"172.30.0.2"}},"spec":{"podCIDRs":["10.244.2.0/24"]}}"#,
    r#"{"metadata":{"name":"other","uid":"o","resourceVersion":"x10","annotations":{"flannel.alpha.coreos.com/kube-subnet-manager":"true","flannel.alpha.coreos.com/backend-type":"host-gw","flannel.alpha.coreos.com/backend-data":"null","flannel.alpha.coreos.com/public-ip":"172.30.0.97"}},"spec":{"podCIDR":"10.244.7.0/24"}}"#,
];

/// What an API server sends.
pub const ANSWERS: [&str; 7] = [
    r#"{"kind":"NodeList","apiVersion":"v1","metadata":{"resourceVersion":"77","continue":"abc","remainingItemCount":3},"items":[{"metadata":{"name":"a","uid":"1","resourceVersion":"5"},"spec":{"podCIDR":"10.244.1.0/24"}},{"metadata":{"name":"b","uid":"2","resourceVersion":"6"}}]}"#,
    r#"{"metadata":{"resourceVersion":"77"},"items":null}"#,
    r#"{"type":"ADDED","object":{"metadata":{"name":"a","uid":"1","resourceVersion":"5"},"spec":{"podCIDR":"10.244.1.0/24"}}}"#,
    r#"{"type":"DELETED","object":{"metadata":{"name":"a","uid":"1","resourceVersion":"6"}}}"#,
    r#"{"type":"BOOKMARK","object":{"kind":"Node","metadata":{"resourceVersion":"78"}}}"#,
    r#"{"type":"ERROR","object":{"kind":"Status","status":"Failure","code":410,"reason":"Expired","message":"too old resource version: 1 (2)"}}"#,
    r#"{"kind":"Status","status":"Failure","code":429,"reason":"TooManyRequests","message":"wait","details":{"retryAfterSeconds":5}}"#,
];

/// Values of single annotations, and subnets.
pub const VALUES: [&str; 9] = [
    r#"{"VNI":1,"VtepMAC":"02:00:00:00:00:99"}"#,
    r#"{"vtepmac":"02-00-00-00-00-99","More":[1,{"a":null}]}"#,
    r#"{"VNI":2,"VNI":1,"vni":null,"VtepMAC":"x","VTEPMAC":"02:00:00:00:00:99"}"#,
    "172.30.0.99",
    "fd00:30::99",
    "10.244.9.0/24",
    "fd00:10:244:9::/64",
    "true",
    "null",
];

/// `--kube-annotation-prefix`.
pub const PREFIXES: [&str; 3] =
    ["flannel.alpha.coreos.com", "flannel.alpha.coreos.com/", "org.com/net-"];

/// `net-conf.json`.
pub const NET_CONFS: [&str; 4] = [
    r#"{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}"#,
    r#"{"Network":"10.0.0.0/8","SubnetLen":20,"SubnetMin":"10.10.0.0","SubnetMax":"10.99.0.0","EnableNFTables":false,"Backend":{"Type":"vxlan","VNI":100,"Port":8473,"MTU":1400,"GBP":false,"Learning":false,"DirectRouting":false,"SourceCheck":"sender"},"FastPath":"after-accept"}"#,
    r#"{"network":"10.244.0.0/16","EnableIPv4":true,"EnableIPv6":true,"IPv6Network":"2001:cafe:42::/56","IPv6SubnetLen":64,"Backend":{"type":"vxlan","vni":1}}"#,
    r#"{"Network":"10.244.0.0/16","Backend":{"Type":"host-gw"}}"#,
];

/// `subnet.env`.
pub const SUBNET_ENVS: [&str; 3] = [
    "FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\n",
    "FLANNEL_NETWORK=10.244.0.0/16,10.245.0.0/16\nFLANNEL_SUBNET=10.244.1.1/24\nFLANNEL_IPV6_NETWORK=2001:cafe:42::/56\nFLANNEL_IPV6_SUBNET=2001:cafe:42::1/64\nFLANNEL_MTU=1430\nFLANNEL_IPMASQ=false\n",
    "export FLANNEL_SUBNET=\"10.244.1.1/24\"\n# a comment\nOTHER=1\n",
];

/// `last-known.json`.
pub const LAST_KNOWNS: [&str; 2] = [
    r#"{"node_name":"node1","wished_ip":"203.0.113.1","wished_ipv6":null,"own":{"node":"node1","subnet":"10.244.1.0/24","public_ip":"172.30.0.11","backend_type":"vxlan","backend_data":"{\"VNI\":1,\"VtepMAC\":\"c6:d2:32:6f:8f:44\"}","claimed_at":"2026-01-01T00:00:00Z"},"own6":null,"leases":[{"node":"node2","subnet":"10.244.2.0/24","public_ip":"172.30.0.12","backend_type":"vxlan","backend_data":"{\"VNI\":1,\"VtepMAC\":\"c6:d2:32:6f:8f:45\"}","claimed_at":"2026-01-01T00:00:00Z","renewed_at":"2026-01-02T00:00:00Z"},{"node":"node3","subnet":"10.244.3.0/24","public_ip":"172.30.0.13","backend_type":"host-gw","claimed_at":"2026-01-01T00:00:00Z"}],"leases6":[{"node":"node2","subnet":"fd00:10:244:2::/64","public_ip":"fd00:30::12","backend_type":"vxlan","backend_data":"{\"VNI\":1,\"VtepMAC\":\"c6:d2:32:6f:8f:46\"}","claimed_at":"2026-01-01T00:00:00Z"}]}"#,
    r#"{"node_name":"n","own":{"node":"n","subnet":"10.244.1.0/24","public_ip":"172.30.0.11","backend_type":"vxlan","claimed_at":"2026-01-01T00:00:00Z"},"leases":[]}"#,
];
