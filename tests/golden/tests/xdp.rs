//! The XDP program: in the kernel what the host says, and with `uplink_ingress` behind it just what
//! becomes of a packet without it.

#![expect(clippy::unwrap_used, reason = "a test: a failure is a panic")]

use aya::maps::{Array, HashMap, PerCpuArray};
use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use nix::unistd::geteuid;
use tartan_common::Mac;
use tartan_common::abi::{
    Abi, CONFIG_SLOT_PADDING, ConfigSlot, Counted, NodeConfig, NodeEntry, Tally, XdpStage,
};
use tartan_common::hook::{Meta, UplinkXdp, uplink_xdp};
use tartan_common::wire::ethernet::{ETHERTYPE_IPV4, EthernetHeader};
use tartan_common::wire::{ETH_LEN, IPV4_LEN, OUTER_LEN, ipv4};
use tartan_golden::fixture::{Memory, config};
use tartan_golden::{Case, Hook, Verdict, cases, run};

/// `enum xdp_action`.
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;

/// Where every case of the uplink's hook meets XDP first.
fn with_xdp(stage: XdpStage) -> NodeConfig {
    NodeConfig { xdp: stage as u32, ..config() }
}

/// What the program does to a frame, by the host's build of the decision.
fn on_the_host(frame: &[u8], config: &NodeConfig) -> (UplinkXdp, Vec<u8>) {
    let len = u32::try_from(frame.len()).unwrap();
    let plan = uplink_xdp(frame, len, config, &Memory::new());
    let mut out = frame.to_vec();
    match plan {
        UplinkXdp::Pass | UplinkXdp::Drop(_) => {}
        UplinkXdp::Disown => out[6..12].fill(0),
        UplinkXdp::Decapsulate(tos, destination) => {
            out.drain(ETH_LEN..OUTER_LEN);
            let source = config.vtep_mac;
            let header = EthernetHeader { destination, source, ethertype: ETHERTYPE_IPV4 };
            header.write(out.first_chunk_mut().unwrap());
            if let Some(tos) = tos {
                let ip: &mut [u8; IPV4_LEN] = out[ETH_LEN..].first_chunk_mut().unwrap();
                ipv4::set_tos(ip, tos);
            }
        }
    }
    (plan, out)
}

fn meta(frame: &[u8]) -> Meta {
    let len = u32::try_from(frame.len()).unwrap();
    Meta { len, gso_size: 0, ifindex: 1, tag: 0, in_vlan: false, for_us: true }
}

/// What becomes of a frame at `uplink_ingress`, and the frame then.
fn at_tc(case: &Case, frame: &[u8], config: &NodeConfig) -> (Verdict, Vec<u8>) {
    let memory = Memory::new();
    case.prepare(config, &memory);
    let mut out = frame.to_vec();
    let verdict = run(Hook::UplinkIngress, &mut out, &meta(frame), config, &memory, 0);
    (verdict, out)
}

/// The same for both ways of one frame.
fn compare(case: &Case, frame: &[u8]) -> UplinkXdp {
    let (without_xdp, on) = (config(), with_xdp(XdpStage::On));
    let (plan, bare) = on_the_host(frame, &on);
    let expected = at_tc(case, frame, &without_xdp);
    match plan {
        UplinkXdp::Drop(reason) => assert_eq!(expected.0, Verdict::Drop(reason), "{}", case.name),
        UplinkXdp::Decapsulate(..) => {
            assert_eq!(at_tc(case, &bare, &on), expected, "{}: {frame:02x?}", case.name);
        }
        UplinkXdp::Pass => assert_eq!(at_tc(case, &bare, &on), expected, "{}", case.name),
        UplinkXdp::Disown => {}
    }
    plan
}

/// Cases of the uplink's hook, and mutations of them.
fn frames(mutations: usize) -> Vec<(Case, Vec<u8>)> {
    let met = |case: &Case| case.hook == Hook::UplinkIngress && case.gso_size == 0;
    let table: Vec<_> = cases().into_iter().filter(met).collect();
    let mut all: Vec<_> = table.iter().map(|case| (case.clone(), case.frame.clone())).collect();
    // A linear congruential generator (Numerical Recipes): the same frames in every run.
    let mut seed = 7_u32;
    let mut random = move || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        usize::try_from(seed >> 8).unwrap()
    };
    for _ in 0..mutations {
        let case = &table[random() % table.len()];
        let mut frame = case.frame.clone();
        let at = random() % frame.len();
        frame[at] ^= u8::try_from(random() % 255).unwrap() + 1;
        if random() % 4 == 0 {
            frame.truncate((random() % frame.len()).max(ETH_LEN));
        }
        all.push((case.clone(), frame));
    }
    all
}

#[test]
fn with_xdp_in_front_every_packet_ends_as_without() {
    let (mut decapsulated, mut dropped) = (0, 0);
    for (case, frame) in frames(20_000) {
        match compare(&case, &frame) {
            UplinkXdp::Decapsulate(..) => decapsulated += 1,
            UplinkXdp::Drop(_) => dropped += 1,
            UplinkXdp::Pass | UplinkXdp::Disown => {}
        }
    }
    assert!(decapsulated > 500 && dropped > 4500, "{decapsulated} and {dropped}");
}

#[test]
fn nobody_else_may_carry_the_sign() {
    let inner = frames(0).into_iter().find_map(|(_, frame)| {
        let (plan, bare) = on_the_host(&frame, &with_xdp(XdpStage::On));
        let is_a_pods = bare.get(26..28) == Some(&[10, 244]);
        (is_a_pods && matches!(plan, UplinkXdp::Decapsulate(..))).then_some(bare)
    });
    let forged = inner.unwrap();
    for stage in [XdpStage::On, XdpStage::Leaving] {
        let (plan, out) = on_the_host(&forged, &with_xdp(stage));
        assert_eq!(plan, UplinkXdp::Disown, "{stage:?}");
        assert_eq!(EthernetHeader::parse(out.first_chunk().unwrap()).source, Mac::default());
    }
    // Where no XDP program is trusted the sign means nothing.
    let mut unsigned = forged.clone();
    unsigned[6..12].fill(0);
    let judged = |frame: &[u8]| {
        let mut out = frame.to_vec();
        let verdict =
            run(Hook::UplinkIngress, &mut out, &meta(frame), &config(), &Memory::new(), 0);
        (verdict, out[ETH_LEN..].to_vec())
    };
    assert_eq!(judged(&forged), judged(&unsigned));
}

#[test]
fn the_kernel_does_what_the_host_says() {
    if !geteuid().is_root() {
        println!("SKIP the kernel's test runs need root: run `sudo -E cargo xtask test`");
        return;
    }
    let mut ebpf = EbpfLoader::new().load(tartan_datapath::object()).unwrap();
    program(&mut ebpf).load().unwrap();
    let mut nodes: HashMap<_, [u8; 4], <NodeEntry as Abi>::Bytes> =
        HashMap::try_from(ebpf.map_mut("NODES").unwrap()).unwrap();
    for (address, entry) in &Memory::new().nodes {
        nodes.insert(address.octets(), entry.to_bytes(), 0).unwrap();
    }
    for stage in [XdpStage::On, XdpStage::Leaving, XdpStage::Off] {
        let config = with_xdp(stage);
        configure(&mut ebpf, &config);
        for (case, frame) in frames(5_000) {
            let (plan, expected) = on_the_host(&frame, &config);
            let before = drops(&ebpf, plan);
            let (code, out) = run_in_kernel(&mut ebpf, &frame);
            if matches!(plan, UplinkXdp::Drop(_)) {
                assert_eq!((code, drops(&ebpf, plan)), (XDP_DROP, before + 1), "{}", case.name);
            } else {
                assert_eq!((code, out), (XDP_PASS, expected), "{}: {plan:?}", case.name);
            }
        }
    }
}

fn program(ebpf: &mut Ebpf) -> &mut Xdp {
    ebpf.program_mut("uplink_xdp").unwrap().try_into().unwrap()
}

fn configure(ebpf: &mut Ebpf, config: &NodeConfig) {
    let mut map: Array<_, <NodeConfig as Abi>::Bytes> =
        Array::try_from(ebpf.map_mut("CONFIG").unwrap()).unwrap();
    map.set(1, config.to_bytes(), 0).unwrap();
    let slot = ConfigSlot { active: 1, unused: [0; CONFIG_SLOT_PADDING] };
    map.set(0, slot.to_bytes(), 0).unwrap();
}

fn run_in_kernel(ebpf: &mut Ebpf, frame: &[u8]) -> (u32, Vec<u8>) {
    let mut out = vec![0; frame.len()];
    let options = TestRunOptions {
        data_in: Some(frame),
        data_out: Some(&mut out),
        ..TestRunOptions::default()
    };
    let result = program(ebpf).test_run(options).unwrap();
    out.truncate(usize::try_from(result.data_size_out).unwrap());
    (result.return_value, out)
}

/// How often the program dropped for this plan's reason.
fn drops(ebpf: &Ebpf, plan: UplinkXdp) -> u64 {
    let UplinkXdp::Drop(reason) = plan else { return 0 };
    let map: PerCpuArray<_, <Tally as Abi>::Bytes> =
        PerCpuArray::try_from(ebpf.map("COUNTERS").unwrap()).unwrap();
    let slot = Counted::Reason(reason).slot();
    map.get(&slot, 0).unwrap().iter().map(|one| Tally::from_bytes(one).packets).sum()
}
