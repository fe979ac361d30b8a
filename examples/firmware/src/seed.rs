//! Where the numbers come from that should be random.

use board::ethernet::Ethernet;
use iscsi_core::auth::Entropy;

/// Numbers that differ from station to station and from start to start, more or less.
///
/// This board has no generator of random numbers. As long as only the initiator proves who it is, the engine takes nothing from
/// these bytes but the ISID, the first CmdSN and delays, and smoltcp ports and sequence numbers: nothing that has to be secret for CHAP. With
/// mutual CHAP they become the challenge. Then, and in every product, they have to come from the hardware generator of the
/// microcontroller, for each connection anew.
pub(crate) struct Seed(u64);

impl Seed {
    pub(crate) fn new(ethernet: &Ethernet) -> Self {
        let [a, b, c, d, e, f] = ethernet.address();
        let address = u64::from_be_bytes([0, 0, a, b, c, d, e, f]);
        Self(address ^ u64::from(ethernet.counter()) << 32)
    }

    /// SplitMix64.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// For one connection.
    pub(crate) fn entropy(&mut self) -> Entropy {
        let mut bytes = [0; 64];
        for chunk in bytes.chunks_exact_mut(8) {
            chunk.copy_from_slice(&self.next().to_be_bytes());
        }
        Entropy::new(bytes)
    }
}
