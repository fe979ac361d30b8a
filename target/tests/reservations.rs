//! RESERVE and RELEASE, PERSISTENT RESERVE IN and OUT (SPC-2, SPC-4).

mod support;

use iscsi_core::wire::{Isid, ScsiStatus};
use iscsi_scsi::Cdb;
use iscsi_scsi::block::{Read10, Write10};
use iscsi_scsi::primary::{Inquiry, TestUnitReady};
use iscsi_scsi::reservation::{
    FullStatus, PersistentReserveIn, PersistentReserveOut, Release6, Reservation,
    ReservationCapabilities, ReservationKeys, ReservationType, Reserve6, ReserveInAction,
    ReserveOutAction, ReserveParameters,
};
use support::*;

/// Three sessions of different initiator ports.
fn three() -> Bench {
    let mut bench = Bench::new(|_| {});
    for n in 0..3 {
        if n > 0 {
            bench.connect();
        }
        bench.login_as(n, INITIATOR, Isid::random(1, n as u16), &["InitialR2T=No"]);
    }
    bench
}

fn out(
    bench: &mut Bench,
    n: usize,
    action: ReserveOutAction,
    kind: ReservationType,
    key: u64,
    action_key: u64,
) -> End {
    let mut list = [0; 24];
    let parameters = ReserveParameters { key, action_key, ..Default::default() };
    parameters.build(&[], &mut list).unwrap();
    let cdb = PersistentReserveOut { action, kind, ..Default::default() }.cdb();
    bench.write(n, &cdb, &list, 512)
}

fn register(bench: &mut Bench, n: usize, key: u64) {
    let action = ReserveOutAction::REGISTER_AND_IGNORE;
    out(bench, n, action, ReservationType::default(), 0, key).assert_good();
}

fn report(bench: &mut Bench, action: ReserveInAction) -> Vec<u8> {
    let cdb = PersistentReserveIn { action, allocation_length: 2000 }.cdb();
    let (mut data, end) = bench.read(2, &cdb);
    assert_eq!(end.status, ScsiStatus::Good);
    data.truncate(end.residual.transferred(2000).unwrap() as usize);
    data
}

fn keys(bench: &mut Bench) -> Vec<u64> {
    let data = report(bench, ReserveInAction::READ_KEYS);
    ReservationKeys::parse(&data).unwrap().keys().collect()
}

fn held(bench: &mut Bench) -> Option<(u64, ReservationType)> {
    let data = report(bench, ReserveInAction::READ_RESERVATION);
    Reservation::parse(&data).unwrap().map(|held| (held.key, held.kind))
}

fn read() -> Cdb {
    Read10 { lba: 0, blocks: 1, ..Default::default() }.cdb()
}

fn may_read(bench: &mut Bench, n: usize) -> bool {
    bench.read(n, &read()).1.status == ScsiStatus::Good
}

fn may_write(bench: &mut Bench, n: usize) -> bool {
    let cdb = Write10 { lba: 0, blocks: 1, ..Default::default() }.cdb();
    match bench.write(n, &cdb, &[0; 512], 512).status {
        ScsiStatus::Good => true,
        ScsiStatus::ReservationConflict => false,
        other => panic!("{other:?}"),
    }
}

#[test]
fn reserve_keeps_others_out() {
    let mut bench = three();
    bench.read(0, &Reserve6.cdb()).1.assert_good();
    for cdb in [read(), TestUnitReady.cdb(), Reserve6.cdb()] {
        assert_eq!(bench.read(1, &cdb).1.status, ScsiStatus::ReservationConflict);
    }
    assert_eq!(bench.read(1, &Inquiry::default().cdb()).1.status, ScsiStatus::Good);
    // Somebody else's RELEASE has no effect.
    bench.read(1, &Release6.cdb()).1.assert_good();
    assert!(!may_read(&mut bench, 1) && may_read(&mut bench, 0));
    bench.read(0, &Release6.cdb()).1.assert_good();
    assert!(may_read(&mut bench, 1));
}

#[test]
fn the_reservation_ends_with_the_session() {
    let mut bench = three();
    bench.read(0, &Reserve6.cdb()).1.assert_good();
    bench.clients[0].connection.received_eof(&mut bench.target);
    assert!(may_read(&mut bench, 1));
}

#[test]
fn registrations_need_the_right_key() {
    let mut bench = three();
    let none = ReservationType::default();
    let action = ReserveOutAction::REGISTER;
    assert_eq!(out(&mut bench, 0, action, none, 5, 6).status, ScsiStatus::ReservationConflict);
    out(&mut bench, 0, action, none, 0, 0x11).assert_good();
    out(&mut bench, 1, action, none, 0, 0x22).assert_good();
    assert_eq!(keys(&mut bench), [0x11, 0x22]);
    assert_eq!(out(&mut bench, 0, action, none, 0, 0x33).status, ScsiStatus::ReservationConflict);
    out(&mut bench, 0, action, none, 0x11, 0x33).assert_good();
    out(&mut bench, 1, action, none, 0x22, 0).assert_good();
    assert_eq!(keys(&mut bench), [0x33]);
    let data = report(&mut bench, ReserveInAction::READ_KEYS);
    assert_eq!(ReservationKeys::parse(&data).unwrap().header.generation, 4);
}

#[test]
fn each_type_lets_the_right_ones_in() {
    // Registered but not the holder; not registered: may they read, may they write?
    let table = [
        (ReservationType::WRITE_EXCLUSIVE, (true, false), (true, false)),
        (ReservationType::EXCLUSIVE_ACCESS, (false, false), (false, false)),
        (ReservationType::WRITE_EXCLUSIVE_REGISTRANTS, (true, true), (true, false)),
        (ReservationType::EXCLUSIVE_ACCESS_REGISTRANTS, (true, true), (false, false)),
        (ReservationType::WRITE_EXCLUSIVE_ALL, (true, true), (true, false)),
        (ReservationType::EXCLUSIVE_ACCESS_ALL, (true, true), (false, false)),
    ];
    for (kind, registered, stranger) in table {
        let mut bench = three();
        register(&mut bench, 0, 1);
        register(&mut bench, 1, 2);
        out(&mut bench, 0, ReserveOutAction::RESERVE, kind, 1, 0).assert_good();
        let all = kind == ReservationType::WRITE_EXCLUSIVE_ALL
            || kind == ReservationType::EXCLUSIVE_ACCESS_ALL;
        assert_eq!(held(&mut bench), Some((if all { 0 } else { 1 }, kind)));
        let mut rights = |n| (may_read(&mut bench, n), may_write(&mut bench, n));
        assert_eq!(rights(0), (true, true), "{kind}");
        assert_eq!(rights(1), registered, "{kind}");
        assert_eq!(rights(2), stranger, "{kind}");
        bench.read(2, &TestUnitReady.cdb()).1.assert_good();
        out(&mut bench, 0, ReserveOutAction::RELEASE, kind, 1, 0).assert_good();
        assert_eq!(held(&mut bench), None);
    }
}

#[test]
fn only_one_can_hold_it() {
    let mut bench = three();
    let kind = ReservationType::WRITE_EXCLUSIVE;
    register(&mut bench, 0, 1);
    register(&mut bench, 1, 2);
    assert_eq!(
        out(&mut bench, 2, ReserveOutAction::RESERVE, kind, 0, 0).status,
        ScsiStatus::ReservationConflict
    );
    out(&mut bench, 0, ReserveOutAction::RESERVE, kind, 1, 0).assert_good();
    out(&mut bench, 0, ReserveOutAction::RESERVE, kind, 1, 0).assert_good();
    assert_eq!(
        out(&mut bench, 1, ReserveOutAction::RESERVE, kind, 2, 0).status,
        ScsiStatus::ReservationConflict
    );
    // A release by somebody else has no effect, one of the wrong type is illegal.
    out(&mut bench, 1, ReserveOutAction::RELEASE, kind, 2, 0).assert_good();
    let wrong = ReservationType::EXCLUSIVE_ACCESS;
    assert_eq!(out(&mut bench, 0, ReserveOutAction::RELEASE, wrong, 1, 0).check(), (5, 0x26, 4));
    assert_eq!(held(&mut bench), Some((1, kind)));
}

#[test]
fn it_outlives_the_session() {
    let mut bench = three();
    register(&mut bench, 0, 1);
    let kind = ReservationType::WRITE_EXCLUSIVE;
    out(&mut bench, 0, ReserveOutAction::RESERVE, kind, 1, 0).assert_good();
    bench.clients[0].connection.received_eof(&mut bench.target);
    assert!(!may_write(&mut bench, 1));
    let n = bench.connect();
    bench.login_as(n, INITIATOR, Isid::random(1, 0), &["InitialR2T=No"]);
    assert!(may_write(&mut bench, n));
}

#[test]
fn preempting_takes_it_over_and_tells() {
    let mut bench = three();
    let kind = ReservationType::WRITE_EXCLUSIVE;
    register(&mut bench, 0, 1);
    register(&mut bench, 1, 2);
    out(&mut bench, 0, ReserveOutAction::RESERVE, kind, 1, 0).assert_good();
    let take = ReservationType::EXCLUSIVE_ACCESS;
    out(&mut bench, 1, ReserveOutAction::PREEMPT, take, 2, 1).assert_good();
    assert_eq!(held(&mut bench), Some((2, take)));
    assert_eq!(keys(&mut bench), [2]);
    assert_eq!(bench.read(0, &TestUnitReady.cdb()).1.check(), (6, 0x2a, 5));
    assert!(!may_read(&mut bench, 0));
    // A key that nobody has.
    assert_eq!(
        out(&mut bench, 1, ReserveOutAction::PREEMPT, take, 2, 9).status,
        ScsiStatus::ReservationConflict
    );
}

#[test]
fn preempt_and_abort_leaves_the_own_tasks_alone() {
    let mut bench = three();
    register(&mut bench, 0, 1);
    register(&mut bench, 1, 2);
    let kind = ReservationType::WRITE_EXCLUSIVE;
    out(&mut bench, 1, ReserveOutAction::PREEMPT_AND_ABORT, kind, 2, 1).assert_good();
    assert_eq!(keys(&mut bench), [2]);
    assert!(may_write(&mut bench, 1));
}

#[test]
fn clearing_ends_everything() {
    let mut bench = three();
    register(&mut bench, 0, 1);
    register(&mut bench, 1, 2);
    out(&mut bench, 1, ReserveOutAction::RESERVE, ReservationType::EXCLUSIVE_ACCESS, 2, 0)
        .assert_good();
    out(&mut bench, 0, ReserveOutAction::CLEAR, ReservationType::default(), 1, 0).assert_good();
    assert_eq!((keys(&mut bench), held(&mut bench)), (vec![], None));
    assert_eq!(bench.read(1, &TestUnitReady.cdb()).1.check(), (6, 0x2a, 3));
}

#[test]
fn the_last_registrant_takes_the_reservation_along() {
    let mut bench = three();
    let kind = ReservationType::WRITE_EXCLUSIVE_REGISTRANTS;
    register(&mut bench, 0, 1);
    register(&mut bench, 1, 2);
    out(&mut bench, 0, ReserveOutAction::RESERVE, kind, 1, 0).assert_good();
    register(&mut bench, 0, 0);
    assert_eq!(held(&mut bench), None);
    // RESERVATIONS RELEASED for those who are still registered.
    assert_eq!(bench.read(1, &TestUnitReady.cdb()).1.check(), (6, 0x2a, 4));
}

#[test]
fn full_status_names_the_ports() {
    let mut bench = three();
    register(&mut bench, 0, 1);
    register(&mut bench, 1, 2);
    out(&mut bench, 1, ReserveOutAction::RESERVE, ReservationType::WRITE_EXCLUSIVE, 2, 0)
        .assert_good();
    let data = report(&mut bench, ReserveInAction::READ_FULL_STATUS);
    let status = FullStatus::parse(&data).unwrap();
    let all: Vec<_> = status
        .registrations()
        .map(|it| (it.key, it.holder.is_some(), it.port.iscsi_name().unwrap()))
        .collect();
    assert_eq!(all, [(1, false, INITIATOR.as_bytes()), (2, true, INITIATOR.as_bytes())]);
    let data = report(&mut bench, ReserveInAction::REPORT_CAPABILITIES);
    let capabilities = ReservationCapabilities::parse(&data).unwrap();
    assert!(capabilities.tmv && capabilities.allows(ReservationType::EXCLUSIVE_ACCESS_ALL));
}

#[test]
fn parameter_lists_of_the_wrong_length_are_refused() {
    let mut bench = three();
    let action = ReserveOutAction::REGISTER;
    let cdb =
        PersistentReserveOut { action, parameter_list_length: 20, ..Default::default() }.cdb();
    assert_eq!(bench.write(0, &cdb, &[0; 20], 512).check(), (5, 0x1a, 0));
}
