//! Bytes that no honest initiator sends: they may end the connection, never the program.

mod support;

use core::time::Duration;

use iscsi_core::wire::{BHS_LEN, Bhs, LoginRequest, Stage};
use iscsi_scsi::primary::TestUnitReady;
use iscsi_target::Quirks;
use proptest::collection::vec;
use proptest::prelude::*;
use support::*;

/// Opcodes that an initiator may send, and some that it may not.
fn opcode() -> impl Strategy<Value = u8> {
    prop_oneof![
        8 => prop::sample::select(vec![0x00, 0x40, 0x01, 0x41, 0x02, 0x42, 0x04, 0x44, 0x05, 0x06, 0x46, 0x10]),
        1 => any::<u8>(),
    ]
}

/// A header that looks right here and there, so that it gets further than noise.
fn header() -> impl Strategy<Value = Bhs> {
    (opcode(), any::<[u8; BHS_LEN]>(), any::<[bool; 10]>(), any::<u8>()).prop_map(
        |(opcode, mut bhs, like, small)| {
            bhs[0] = opcode;
            bhs[4] = if like[0] { 0 } else { bhs[4] & 7 };
            bhs[5..7].fill(0);
            if like[1] {
                bhs[7] = 0;
            }
            if like[2] {
                bhs[1] |= 0x80;
            }
            if like[3] {
                // A LUN that is there.
                bhs[8..16].fill(0);
            }
            if like[4] {
                bhs[16..20].copy_from_slice(&u32::from(small % 4).to_be_bytes());
            }
            if like[5] {
                bhs[20..24].fill(0xff);
            }
            if like[6] {
                bhs[20..24].copy_from_slice(&u32::from(small).to_be_bytes());
            }
            if like[7] {
                // Around the numbers that the target expects.
                bhs[24..28].copy_from_slice(
                    &0xffff_fffe_u32.wrapping_add(u32::from(small % 8)).to_be_bytes(),
                );
            }
            if like[8] {
                let cdbs = [0x28, 0x2a, 0x12, 0x89, 0x41, 0x42, 0x5f, 0x2f, 0x1a, 0x55, 0xa0, 0x93];
                bhs[32] = cdbs[usize::from(small) % cdbs.len()];
                bhs[34..37].fill(0);
                bhs[39] = 0;
            }
            if like[9] {
                bhs[36..44].fill(0);
            }
            bhs
        },
    )
}

fn pdu() -> impl Strategy<Value = (Bhs, Vec<u8>, Vec<u8>)> {
    (header(), vec(any::<u8>(), 0..256)).prop_map(|(bhs, data)| {
        let ahs = vec![data.first().copied().unwrap_or(0); usize::from(bhs[4]) * 4];
        let len = usize::from(bhs[7]).min(data.len());
        let mut bhs = bhs;
        bhs[7] = len as u8;
        (bhs, ahs, data[..len].to_vec())
    })
}

/// The connection still keeps its promises: it shows the same bytes twice, and says what it waits for.
fn check(bench: &mut Bench) {
    let Bench { target, clients, now } = bench;
    for client in clients {
        let mut look = || {
            let mut runs: [&[u8]; 32] = [&[]; 32];
            let shown = client.connection.poll_transmit(target, &mut runs, *now);
            runs[..shown].concat()
        };
        let first = look();
        assert_eq!(first, look());
        let wants = client.connection.wants();
        assert!(client.connection.is_closed() || wants.read || wants.write);
    }
}

fn feed(bench: &mut Bench, pdus: &[(Bhs, Vec<u8>, Vec<u8>)]) {
    for (bhs, ahs, data) in pdus {
        bench.send_raw(0, bhs, ahs, data);
        check(bench);
        while bench.poll(0).is_some() {}
    }
    // Time ends whatever is left hanging.
    for _ in 0..10 {
        bench.advance(Duration::from_secs(5));
        while bench.poll(0).is_some() {}
    }
    check(bench);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn noise_after_the_login(
        pdus in vec(pdu(), 1..40),
        digests in any::<bool>(),
        chunk in 1_usize..200,
        window in prop::option::of(0_u16..6),
    ) {
        let mut bench = Bench::new(|_| {});
        bench.client(0).chunk = chunk;
        *bench.target.quirks_mut() = Quirks { window, ..Quirks::default() };
        let keys: &[&str] = if digests { &["HeaderDigest=CRC32C", "DataDigest=CRC32C", "InitialR2T=No"] } else { &["InitialR2T=Yes", "MaxOutstandingR2T=3"] };
        bench.login(0, keys);
        feed(&mut bench, &pdus);
        // Somebody else is served as if nothing had happened.
        *bench.target.quirks_mut() = Quirks::default();
        let n = bench.connect();
        bench.login_as(n, "iqn.2001-04.com.example:other", ISID, &[]);
        for _ in 0..20 {
            let (_, end) = bench.read(n, &TestUnitReady.cdb());
            if end.status == iscsi_core::wire::ScsiStatus::Good {
                break;
            }
        }
    }

    #[test]
    fn noise_before_the_login(bytes in vec(any::<u8>(), 0..400), chunk in 1_usize..60) {
        let mut bench = Bench::new(|_| {});
        bench.client(0).chunk = chunk;
        bench.feed(0, &bytes);
        check(&mut bench);
        while bench.poll(0).is_some() {}
        bench.advance(Duration::from_secs(60));
        while bench.poll(0).is_some() {}
        bench.advance(Duration::from_secs(60));
        prop_assert!(bench.clients[0].connection.is_closed());
    }

    #[test]
    fn login_text_of_any_kind(
        texts in vec(vec(prop_oneof![
            Just(format!("InitiatorName={INITIATOR}\0")),
            Just(format!("TargetName={TARGET}\0")),
            Just("SessionType=Discovery\0".to_string()),
            Just("AuthMethod=CHAP,None\0".to_string()),
            Just("CHAP_A=5,7\0".to_string()),
            Just("CHAP_N=user\0CHAP_R=0x00112233445566778899aabbccddeeff\0".to_string()),
            Just("CHAP_I=1\0CHAP_C=0b==\0".to_string()),
            Just("HeaderDigest=CRC32C,None\0MaxBurstLength=0x10000\0".to_string()),
            "[A-Z][A-Za-z0-9.]{0,70}=[ -~]{0,300}\0",
            "\\PC{0,20}",
        ], 0..6), 1..8),
        flags in vec(any::<u8>(), 8),
        auth in any::<bool>(),
    ) {
        let mut bench = Bench::new(|config| {
            if auth {
                let secret = iscsi_core::auth::Secret::new("a long enough secret").unwrap();
                config.auth = Some(iscsi_core::auth::Chap::new("user", secret).unwrap());
            }
        });
        for (text, flags) in texts.iter().zip(&flags) {
            let text = text.concat();
            let stage = if flags & 1 == 0 { Stage::SecurityNegotiation } else { Stage::LoginOperationalNegotiation };
            let next_stage = (flags & 6 == 0).then_some(Stage::FullFeaturePhase);
            let request = LoginRequest {
                next_stage,
                is_continued: next_stage.is_none() && flags & 8 != 0,
                data_segment_length: text.len() as u32,
                ..bench.login_request(0, stage)
            };
            bench.send(0, request, text.as_bytes());
            while bench.poll(0).is_some() {}
        }
        if auth {
            prop_assert_eq!(bench.target.sessions().filter(|it| it.session_type == iscsi_core::text::SessionType::Normal).count(), 0);
        }
        check(&mut bench);
    }
}

#[test]
fn a_scratch_may_be_read_in_any_pieces() {
    // `recv_space` and `received` instead of `receive`: what a runtime without a scratch does.
    for step in [1, 2, 7, 100, 100_000] {
        let mut bench = Bench::new(|_| {});
        bench.login(0, &["DataDigest=CRC32C", "InitialR2T=No"]);
        let data = pattern(2048, 3);
        let cdb = iscsi_scsi::block::Write10 { lba: 1, blocks: 4, ..Default::default() }.cdb();
        let command =
            iscsi_core::wire::ScsiCommand { data_segment_length: 2048, ..bench.command(0, &cdb) };
        let mut bhs = [0; BHS_LEN];
        iscsi_core::wire::InitiatorPdu::from(command).emit(&mut bhs);
        let mut bytes = bhs.to_vec();
        bytes.extend_from_slice(&data);
        bytes.extend(iscsi_core::digest::to_wire(iscsi_core::digest::crc32c(&data)));
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let Bench { target, clients, now } = &mut bench;
            let connection = &mut clients[0].connection;
            let space = connection.recv_space(target);
            let n = space.len().min(step).min(rest.len());
            assert!(n > 0);
            space[..n].copy_from_slice(&rest[..n]);
            rest = &rest[n..];
            connection.received(n, target, *now);
        }
        bench.finish_write(0, &command, &data, 512).assert_good();
        let read = iscsi_scsi::block::Read10 { lba: 1, blocks: 4, ..Default::default() }.cdb();
        assert_eq!(bench.read(0, &read).0, data);
    }
}
