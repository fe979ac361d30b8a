//! Data from a peer: random bytes, all ones, and every prefix of valid data never panic, and no
//! iterator yields more than the bytes at hand can hold.

use iscsi_scsi::Lun;
use iscsi_scsi::inquiry::{Peripheral, StandardInquiry};
use iscsi_scsi::report_luns::ReportLunsData;
use iscsi_scsi::sense::{AdditionalSense, Sense, SenseKey, SenseKeySpecific};
use iscsi_scsi::testing::read_all;
use iscsi_scsi::vpd::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn random_bytes(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        read_all(&data);
    }

    /// Small lengths in the length fields reach deeper than random ones.
    #[test]
    fn small_bytes(data in proptest::collection::vec(0_u8..40, 0..300)) {
        read_all(&data);
    }

    /// A sense key survives both formats, with any codes.
    #[test]
    fn sense_round_trip(
        key in 0_u8..16, asc: u8, ascq: u8, deferred: bool, information: u32, fru: u8,
        specific in 1_u32.., byte: u16, ili: bool,
    ) {
        let sense = Sense {
            deferred,
            information: Some(information.into()),
            command_specific: Some(specific.into()),
            sense_key_specific: match key {
                5 => Some(SenseKeySpecific::FieldPointer { in_cdb: true, bit: Some(3), byte }),
                1 | 3 | 4 => Some(SenseKeySpecific::RetryCount(byte)),
                0 | 2 => Some(SenseKeySpecific::Progress(byte)),
                _ => None,
            },
            fru: (fru != 0).then_some(fru),
            incorrect_length: ili,
            ..Sense::new(SenseKey::new(key).unwrap(), AdditionalSense { asc, ascq })
        };
        let mut data = [0xee; 252];
        let len = sense.emit_fixed(&mut data);
        prop_assert_eq!(Sense::parse(&data[..len]), Ok(sense));
        let len = sense.emit_descriptor(&mut data);
        prop_assert_eq!(Sense::parse(&data[..len]), Ok(sense));
    }

    #[test]
    fn limits_round_trip(
        wsnz: bool, a: u8, b: u16, c: u32, d: u32, e: u32, f: u64, alignment in 0_u32..0x8000_0000,
    ) {
        let limits = BlockLimits {
            wsnz,
            max_compare_and_write_length: a,
            optimal_transfer_granularity: b,
            max_transfer_length: c,
            optimal_transfer_length: d,
            max_prefetch_length: e,
            max_unmap_lba_count: c ^ d,
            max_unmap_descriptor_count: d ^ e,
            optimal_unmap_granularity: e ^ c,
            unmap_granularity_alignment: wsnz.then_some(alignment),
            max_write_same_length: f,
            max_atomic_transfer_length: !c,
            atomic_alignment: !d,
            atomic_transfer_length_granularity: !e,
            max_atomic_transfer_length_with_boundary: c.rotate_left(1),
            max_atomic_boundary: d.rotate_left(1),
        };
        let mut page = [0; 64];
        prop_assert_eq!(limits.emit(Peripheral::DISK, &mut page), 64);
        prop_assert_eq!(BlockLimits::parse(&page), Ok(limits));
    }

    #[test]
    fn characteristics_round_trip(rate: u16, a in 0_u8..4, b in 0_u8..16, fuab: bool) {
        let page = BlockCharacteristics {
            rotation_rate: rate,
            product_type: b,
            wabereq: a,
            wacereq: 3 - a,
            form_factor: b,
            zoned: a,
            fuab,
            vbuls: !fuab,
        };
        let mut data = [0; 64];
        page.emit(Peripheral::DISK, &mut data);
        prop_assert_eq!(BlockCharacteristics::parse(&data), Ok(page));
    }
}

#[test]
fn all_ones_and_all_zeros() {
    for len in 0..300 {
        read_all(&vec![0xff; len]);
        read_all(&vec![0x00; len]);
    }
}

#[test]
fn every_prefix_of_valid_data() {
    let mut samples = Vec::new();
    iscsi_scsi::testing::samples(|_, data| samples.push(data.to_vec()));
    for data in samples {
        for len in 0..=data.len() {
            read_all(&data[..len]);
        }
        // And every single byte at its largest.
        for at in 0..data.len() {
            let mut damaged = data.clone();
            damaged[at] = 0xff;
            read_all(&damaged);
        }
    }
}

/// An emitter writes the same bytes into a short buffer, and says the same size.
#[test]
fn emitters_truncate() {
    let inquiry = StandardInquiry { version_descriptors: [VD; 8], ..Default::default() };
    let mut whole = [0; 96];
    assert_eq!(inquiry.emit(&mut whole), 96);
    for len in 0..96 {
        let mut part = vec![0; len];
        assert_eq!(inquiry.emit(&mut part), 96);
        assert_eq!(part, whole[..len]);
    }
    assert_eq!(ReportLunsData::emit([Lun::ZERO; 4], &mut []), 40);
    assert_eq!(SupportedPages::emit(Peripheral::DISK, [PageCode::BLOCK_LIMITS], &mut []), 5);
}

const VD: iscsi_scsi::inquiry::VersionDescriptor = iscsi_scsi::inquiry::VersionDescriptor::ISCSI;
