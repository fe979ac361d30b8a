extern crate alloc;
use alloc::vec::Vec;

use super::*;
use crate::Bits;

fn all_pages() -> [PageData<'static>; 6] {
    [
        PageData::Caching(CachingPage {
            ic: true,
            wce: true,
            read_retention_priority: Bits::from_bits(3),
            write_retention_priority: Bits::from_bits(12),
            max_prefetch_ceiling: 0xffff,
            dra: true,
            cache_segments: 20,
            cache_segment_size: 0x1234,
            ..Default::default()
        }),
        PageData::Control(ControlPage {
            tst: Bits::from_bits(1),
            d_sense: true,
            queue_algorithm: Bits::from_bits(1),
            qerr: Bits::from_bits(3),
            ua_intlck: Bits::from_bits(2),
            swp: true,
            tas: true,
            autoload: Bits::from_bits(5),
            busy_timeout: 0xffff,
            self_test_time: 77,
            ..Default::default()
        }),
        PageData::DisconnectReconnect(DisconnectReconnectPage {
            max_burst_size: 0x0102,
            emdp: true,
            fair_arbitration: Bits::from_bits(5),
            dtdc: Bits::from_bits(3),
            first_burst_size: 0x0304,
            ..Default::default()
        }),
        PageData::PowerCondition(PowerConditionPage {
            pm_bg_precedence: Bits::from_bits(1),
            idle_a: true,
            standby_y: true,
            idle_a_timer: 1,
            standby_z_timer: 2,
            idle_b_timer: 3,
            idle_c_timer: 4,
            standby_y_timer: 5,
            ccf_idle: Bits::from_bits(1),
            ccf_standby: Bits::from_bits(2),
            ccf_stopped: Bits::from_bits(3),
            ..Default::default()
        }),
        PageData::InformationalExceptions(InformationalExceptionsPage {
            dexcpt: true,
            mrie: Bits::from_bits(6),
            interval_timer: 0x0102_0304,
            report_count: 9,
            ..Default::default()
        }),
        PageData::Other(RawPage {
            code: ModePageCode::CONTROL,
            subpage: Some(1),
            body: &[1, 2, 3],
        }),
    ]
}

#[test]
fn both_forms_round_trip() {
    let parameters = ModeParameters {
        medium_type: 0,
        write_protect: true,
        dpo_fua: true,
        block_descriptor: Some(BlockDescriptor { blocks: 0x1000, block_length: 512 }),
    };
    let pages = all_pages();
    let mut data = [0; 256];
    let len6 = parameters.emit_sense6(&pages, &mut data);
    assert_eq!(ModeData::full_size6(&data), Some(len6));
    let parsed6 = ModeData::parse6(&data[..len6]).unwrap();
    let mut data = [0; 256];
    let len10 = parameters.emit_sense10(&pages, &mut data);
    assert_eq!(len10, len6 + 4);
    assert_eq!(ModeData::full_size10(&data), Some(len10));
    let parsed10 = ModeData::parse10(&data[..len10]).unwrap();
    for parsed in [parsed6, parsed10] {
        assert!(parsed.write_protect() && parsed.dpo_fua());
        assert_eq!(parsed.block_descriptor, parameters.block_descriptor);
        assert_eq!(parsed.pages().map(|page| page.data()).collect::<Vec<_>>(), pages);
    }
}

#[test]
fn caching_page_by_hand() {
    let data = [
        31, 0, 0x10, 8, // header: DPOFUA, one block descriptor
        0xff, 0xff, 0xff, 0xff, 0, 0, 0x10, 0, // more blocks than fit, 4096
        0x88, 0x12, 0x14, 0, 0xff, 0xff, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x20, 8, 0, 0, 0, 0, 0, 0,
    ];
    let parsed = ModeData::parse6(&data).unwrap();
    assert_eq!(
        parsed.block_descriptor,
        Some(BlockDescriptor { blocks: 0xffff_ffff, block_length: 4096 })
    );
    let page = parsed.page(ModePageCode::CACHING).unwrap();
    assert!(page.saveable);
    let expected = CachingPage {
        disc: true,
        wce: true,
        disable_prefetch_transfer_length: 0xffff,
        max_prefetch: 0xffff,
        max_prefetch_ceiling: 0xffff,
        dra: true,
        cache_segments: 8,
        ..Default::default()
    };
    assert_eq!(page.data(), PageData::Caching(expected));
    assert_eq!(parsed.page(ModePageCode::CONTROL), None);
}

#[test]
fn long_block_descriptor() {
    let mut data = [0; 24];
    data[..8].copy_from_slice(&[0, 22, 0, 0, 1, 0, 0, 16]);
    data[11] = 1; // blocks, bits 32 to 39
    data[22] = 2; // block length 512
    let parsed = ModeData::parse10(&data).unwrap();
    assert_eq!(
        parsed.block_descriptor,
        Some(BlockDescriptor { blocks: 1 << 32, block_length: 512 })
    );
}

#[test]
fn select_lists() {
    let parameters = ModeParameters { write_protect: true, dpo_fua: true, ..Default::default() };
    let mut list = [0xee; 16];
    let page = PageData::Control(ControlPage { swp: true, ..Default::default() });
    assert_eq!(parameters.build_select6(&[page], &mut list), Ok(16));
    assert_eq!(list, [0, 0, 0, 0, 0x0a, 0x0a, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0]);
    let parsed = ModeData::parse_list6(&list).unwrap();
    assert_eq!(parsed.pages().next().unwrap().data(), page);
    assert_eq!(
        parameters.build_select6(&[page], &mut [0; 15]),
        Err(BuildError::BufferTooSmall { needed: 16, got: 15 })
    );
    let big =
        PageData::Other(RawPage { code: ModePageCode::CONTROL, subpage: Some(1), body: &[0; 300] });
    assert_eq!(
        parameters.build_select6(&[big], &mut [0; 400]),
        Err(BuildError::TooLong { len: 308, max: 255 })
    );
}

#[test]
fn hostile_lengths() {
    // Block descriptor length beyond the data; page length beyond the data; half a page header.
    for data in [
        &[255, 0, 0, 255, 1, 2, 3][..],
        &[255, 0, 0, 0, 0x08, 255, 1, 2],
        &[255, 0, 0, 0, 0x48, 1, 0xff],
        &[3, 0, 0, 0, 0x08, 0],
    ] {
        let parsed = ModeData::parse6(data).unwrap();
        assert_eq!(parsed.pages().count(), 0, "{data:x?}");
        assert_eq!(parsed.block_descriptor, None);
    }
    assert_eq!(ModeData::parse6(&[0; 3]), Err(ParseError::Short { needed: 4, got: 3 }));
}
