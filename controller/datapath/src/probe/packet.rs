//! A packet to try things on: TCP in VXLAN in IPv4, as short as it can be.

/// Long enough for whatever the kernel wants to be left after the outer headers are off.
const LEN: usize = 128;

/// Ethernet, IPv4, UDP, VXLAN; then Ethernet, IPv4 and zeros.
pub(super) const TUNNEL: [u8; LEN] = {
    let mut frame = [0; LEN];
    ipv4(&mut frame, 12, 17);
    frame[36] = 0x21;
    frame[37] = 0x18;
    frame[42] = 0x08;
    ipv4(&mut frame, 62, 6);
    frame
};

/// An `EtherType` and the head of an IPv4 header behind it.
const fn ipv4(frame: &mut [u8; LEN], at: usize, protocol: u8) {
    frame[at] = 0x08;
    frame[at + 2] = 0x45;
    // The lengths need not be true: no checksum is, either.
    frame[at + 5] = 40;
    frame[at + 10] = 64;
    frame[at + 11] = protocol;
}
