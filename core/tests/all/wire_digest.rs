//! CRC32C against the vectors of RFC 7143 appendix A.4 and against a bit-by-bit computation.

use iscsi_core::digest::{Crc32c, crc32c, to_wire};
use proptest::prelude::*;

/// A SCSI Command PDU with a READ (10), from RFC 7143 appendix A.4.
const READ_10: [u8; 48] = [
    0x01, 0xc0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // 0
    0x14, 0, 0, 0, 0, 0, 0x04, 0, 0, 0, 0, 0x14, 0, 0, 0, 0x18, // 16
    0x28, 0, 0, 0, 0, 0, 0, 0, 0x02, 0, 0, 0, 0, 0, 0, 0, // 32
];

/// The definition: one bit at a time, least significant first.
fn bit_by_bit(bytes: &[u8]) -> u32 {
    let mut register = u32::MAX;
    for byte in bytes {
        register ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = register & 1;
            register >>= 1;
            if carry != 0 {
                register ^= 0x82f6_3b78;
            }
        }
    }
    !register
}

#[test]
fn the_vectors_of_the_rfc() {
    let ascending: [u8; 32] = core::array::from_fn(|i| i as u8);
    let descending: [u8; 32] = core::array::from_fn(|i| 31 - i as u8);
    for (bytes, value, wire) in [
        (&[0; 32][..], 0x8a91_36aa, [0xaa, 0x36, 0x91, 0x8a]),
        (&[0xff; 32], 0x62a8_ab43, [0x43, 0xab, 0xa8, 0x62]),
        (&ascending, 0x46dd_794e, [0x4e, 0x79, 0xdd, 0x46]),
        (&descending, 0x113f_db5c, [0x5c, 0xdb, 0x3f, 0x11]),
        (&READ_10, 0xd996_3a56, [0x56, 0x3a, 0x96, 0xd9]),
        (b"123456789", 0xe306_9283, [0x83, 0x92, 0x06, 0xe3]),
        (b"", 0, [0; 4]),
    ] {
        assert_eq!(crc32c(bytes), value, "{bytes:02x?}");
        assert_eq!(to_wire(crc32c(bytes)), wire, "{bytes:02x?}");
    }
}

#[test]
fn data_with_its_own_digest_leave_the_residue() {
    let mut crc = Crc32c::new();
    crc.update(&READ_10);
    let digest = to_wire(crc.clone().finish());
    crc.update(&digest);
    assert_eq!(crc.finish(), 0x4867_4bc7);
}

#[test]
fn every_flipped_bit_is_found() {
    // G-11.
    let digest = crc32c(&READ_10);
    for bit in 0..READ_10.len() * 8 {
        let mut flipped = READ_10;
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_ne!(crc32c(&flipped), digest, "bit {bit}");
    }
}

proptest! {
    #[test]
    fn pieces_make_the_whole(
        bytes in proptest::collection::vec(any::<u8>(), 0..600),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.sort_unstable();
        let mut crc = Crc32c::default();
        let mut from = 0;
        for to in cuts.into_iter().chain([bytes.len()]) {
            crc.update(&bytes[from..to]);
            from = to;
        }
        prop_assert_eq!(crc.finish(), bit_by_bit(&bytes));
    }
}
