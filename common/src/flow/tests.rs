//! Keys, hashes and classes of packets.

use super::*;
use crate::wire::ipv4::Ipv4Header;
use crate::wire::ipv6::{self, Ipv6Header};
use crate::wire::{IPV4_LEN, IPV6_LEN};
use proptest::prelude::*;

fn any_tuple() -> impl Strategy<Value = Tuple> {
    any::<([u8; 4], [u8; 4], u16, u16, u8)>().prop_map(|(s, d, sp, dp, protocol)| Tuple {
        source: NetAddr::from_octets(s),
        destination: NetAddr::from_octets(d),
        source_port: sp,
        destination_port: dp,
        protocol,
    })
}

fn any_tuple6() -> impl Strategy<Value = Tuple<NetAddr6>> {
    // Few bits in each half, or two addresses would hardly ever share one.
    any::<([u8; 2], [u8; 2], u8, u8, u8)>().prop_map(|(s, d, sp, dp, protocol)| {
        let address = |[net, host]: [u8; 2]| {
            let mut octets = [0; 16];
            (octets[7], octets[15]) = (net % 3, host % 3);
            NetAddr6::from_octets(octets)
        };
        Tuple {
            source: address(s),
            destination: address(d),
            source_port: u16::from(sp % 3),
            destination_port: u16::from(dp % 3),
            protocol,
        }
    })
}

fn reversed<A: Address>(t: Tuple<A>) -> Tuple<A> {
    Tuple {
        source: t.destination,
        destination: t.source,
        source_port: t.destination_port,
        destination_port: t.source_port,
        protocol: t.protocol,
    }
}

proptest! {
    #[test]
    fn both_directions_share_one_key(t in any_tuple()) {
        let ((key, way), (back_key, back_way)) = (t.key(), reversed(t).key());
        prop_assert_eq!(key, back_key);
        if t != reversed(t) {
            prop_assert_ne!(way, back_way);
        }
    }

    #[test]
    fn both_directions_share_one_key_in_ipv6(t in any_tuple6()) {
        let ((key, way), (back_key, back_way)) = (t.key(), reversed(t).key());
        prop_assert_eq!(key, back_key);
        if t != reversed(t) {
            prop_assert_ne!(way, back_way);
        }
    }

    #[test]
    fn noise_never_panics(noise: std::vec::Vec<u8>) {
        if let Some(b) = noise[..].window::<IPV4_LEN>(14) {
            let _ = classify(&noise[..], &Ipv4Header::parse(b));
        }
        if let Some(b) = noise[..].window::<IPV6_LEN>(14) {
            let _ = classify(&noise[..], &Ipv6Header::parse(b));
        }
    }
}

#[test]
fn hashes_spread_over_ports() {
    let mut buckets = [0_u32; 64];
    for port in 0..6400_u16 {
        let t = Tuple {
            source: NetAddr::from_octets([10, 244, 1, 2]),
            destination: NetAddr::from_octets([10, 244, 2, 2]),
            source_port: 30_000 + port,
            destination_port: 80,
            protocol: 6,
        };
        buckets[(t.hash() >> 26) as usize] += 1;
    }
    assert!(buckets.iter().all(|n| (50..=150).contains(n)), "{buckets:?}");
}

#[test]
fn hashes_spread_over_addresses_of_ipv6() {
    let mut buckets = [0_u32; 64];
    for host in 0..6400_u16 {
        let mut octets = [0xfd, 0, 0, 0x10, 2, 0x44, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
        octets[14..].copy_from_slice(&host.to_be_bytes());
        let t = Tuple {
            source: NetAddr6::from_octets(octets),
            destination: NetAddr6::from_octets([7; 16]),
            source_port: 30_000,
            destination_port: 80,
            protocol: 6,
        };
        buckets[(t.hash() >> 26) as usize] += 1;
    }
    assert!(buckets.iter().all(|n| (50..=150).contains(n)), "{buckets:?}");
}

fn of_packet(next_header: u8, rest: &[u8]) -> Segment<NetAddr6> {
    let mut bytes = [0; IPV6_LEN];
    let header = Ipv6Header {
        first_word: 0x6000_0000,
        payload_length: 0,
        next_header,
        hop_limit: 64,
        source: NetAddr6::from_octets([1; 16]),
        destination: NetAddr6::from_octets([2; 16]),
    };
    header.write(&mut bytes);
    let frame = [&[0; 14][..], &bytes, rest].concat();
    classify(&frame[..], &header)
}

#[test]
fn what_hides_behind_an_extension_header_has_no_flow() {
    let udp = [0x13, 0x88, 0, 53, 0, 8, 0, 0];
    assert_eq!(of_packet(17, &udp).kind, Kind::Of(Phase::Middle));
    for next in 0..=255 {
        let extended = [&[17, 0, 0, 0, 0, 0, 0, 0][..], &udp].concat();
        let is_opaque = of_packet(next, &extended).kind == Kind::Opaque;
        assert!(is_opaque || !ipv6::is_extension(next), "{next}");
    }
}

#[test]
fn an_icmpv6_error_belongs_to_the_flow_that_it_quotes() {
    let mut quote = [0; IPV6_LEN];
    Ipv6Header {
        first_word: 0x6000_0000,
        payload_length: 8,
        next_header: 17,
        hop_limit: 64,
        source: NetAddr6::from_octets([2; 16]),
        destination: NetAddr6::from_octets([1; 16]),
    }
    .write(&mut quote);
    let too_big =
        [&[2, 0, 0, 0, 0, 0, 5, 0][..], &quote, &[0x13, 0x88, 0, 53, 0, 8, 0, 0]].concat();
    let segment = of_packet(58, &too_big);
    assert_eq!(segment.kind, Kind::ErrorAbout);
    assert_eq!((segment.tuple.source_port, segment.tuple.destination_port), (5000, 53));
    assert_eq!(segment.tuple.source, NetAddr6::from_octets([2; 16]));
}
