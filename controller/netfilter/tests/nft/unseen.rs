//! What ends or answers a flow that conntrack never saw gets through a host that drops what is
//! INVALID, and no further than the host's other rules allow.

#![expect(clippy::expect_used, reason = "a test's scaffolding fails its test")]

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;

use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::sockopt::ReceiveTimeout;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recv, sendto,
    setsockopt, socket,
};
use nix::sys::time::{TimeVal, TimeValLike};
use tartan_core::netfilter::wanted::{self, Masquerade, Settings};
use tartan_netfilter::nft::Nft;

use crate::support::{listed, namespace, nft, put, run};

const FIN_ACK: u8 = 0x11;
const SYN: u8 = 0x02;
const SYN_ACK: u8 = 0x12;
const RST: u8 = 0x04;
/// A port that a policy of the host forbids.
const FORBIDDEN: u16 = 81;
/// The last segment of a row: conntrack knows it for a new flow.
const LAST: (u16, u8) = (82, SYN);

/// Rules of somebody else, as kube-proxy and a policy engine have them.
const HOST: &str = "table ip host { chain forward { type filter hook forward priority 0;
    ct state invalid counter drop
    ct state established accept
    tcp dport 81 drop
}; }";

fn ip(arguments: &str) {
    run("ip", &arguments.split(' ').collect::<Vec<_>>(), "");
}

fn address(subnet: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 244, subnet, 2)
}

/// A namespace that is linked to this one; its socket speaks bare TCP and keeps it alive.
fn neighbour(subnet: u8) -> OwnedFd {
    let here = File::open("/proc/thread-self/ns/net").expect("opened");
    let path = format!("/proc/{}/fd/{}", std::process::id(), here.as_raw_fd());
    let there = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("a namespace");
        ip(&format!("link add eth0 type veth peer name pod{subnet} netns {path}"));
        ip(&format!("addr add {}/24 dev eth0", address(subnet)));
        ip("link set eth0 up");
        ip(&format!("route add default via 10.244.{subnet}.1"));
        socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Tcp)
            .expect("a socket")
    });
    let bare = there.join().expect("linked");
    ip(&format!("addr add 10.244.{subnet}.1/24 dev pod{subnet}"));
    ip(&format!("link set pod{subnet} up"));
    setsockopt(&bare, ReceiveTimeout, &TimeVal::seconds(20)).expect("set");
    bare
}

/// A segment to a port, without data.
fn segment(port: u16, flags: u8) -> [u8; 20] {
    let mut bytes = [0; 20];
    bytes[..4].copy_from_slice(&[4000_u16.to_be_bytes(), port.to_be_bytes()].concat());
    bytes[4..12].copy_from_slice(&[0, 0, 0, 9, 0, 0, 0, 9]);
    bytes[12..16].copy_from_slice(&[5 << 4, flags, 0x20, 0]);
    let pseudo = [address(1).octets(), address(2).octets(), [0, 6, 0, 20]].concat();
    let words = pseudo.chunks(2).chain(bytes.chunks(2));
    let mut sum: u32 = words.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = !u16::try_from(sum).expect("folded");
    bytes[16..18].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// Sends segments and one more that always arrives; gives those that arrived before it.
fn arrivals(from: &OwnedFd, to: &OwnedFd, segments: &[(u16, u8)]) -> Vec<(u16, u8)> {
    let destination = SockaddrIn::from(SocketAddrV4::new(address(2), 0));
    for (port, flags) in segments.iter().chain([&LAST]) {
        let sent =
            sendto(from.as_raw_fd(), &segment(*port, *flags), &destination, MsgFlags::empty());
        sent.expect("sent");
    }
    let mut arrived = Vec::new();
    loop {
        let mut packet = [0; 100];
        let length = recv(to.as_raw_fd(), &mut packet, MsgFlags::empty()).expect("the last one");
        assert!(length >= 40, "an IPv4 header without options, and TCP's");
        let found = (u16::from_be_bytes([packet[22], packet[23]]), packet[33]);
        if found == LAST {
            return arrived;
        }
        arrived.push(found);
    }
}

fn tartan(skips_conntrack: bool) {
    let settings = Settings { skips_conntrack, tunnel_port: Some(8472), ..Settings::default() };
    let net = |text: &str| text.parse().expect("a network");
    let wanted = Masquerade::new(net("10.244.0.0/16"), net("10.244.1.0/24"), settings);
    put(&mut Nft::open().expect("nf_tables"), &wanted::table(&wanted.expect("fits")));
}

#[test]
fn the_end_of_a_flow_that_conntrack_did_not_see_passes_a_host_that_drops_what_is_invalid() {
    namespace(|| {
        let (from, to) = (neighbour(1), neighbour(2));
        fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("written");
        nft(HOST);
        let ends = [(70, FIN_ACK), (71, SYN_ACK), (72, RST)];
        tartan(false);
        assert_eq!(arrivals(&from, &to, &ends), [], "nobody helps");
        assert!(listed().contains("ct state invalid counter packets 3 "), "{}", listed());
        tartan(true);
        assert_eq!(arrivals(&from, &to, &ends), ends, "all are let go");
        let forbidden = [(FORBIDDEN, FIN_ACK), (FORBIDDEN, RST)];
        assert_eq!(arrivals(&from, &to, &forbidden), [], "the policy still judges");
        tartan(false);
        assert_eq!(arrivals(&from, &to, &ends), [], "none of them is known by now");
    });
}
