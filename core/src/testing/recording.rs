//! A session in which every PDU occurs.

use alloc::vec::Vec;

use super::disk::{Disk, Service};
use super::recorder::Recorder;
use super::rig::Rig;
use crate::text::{Digests, Limits};
use crate::wire::{
    AsyncEvent, BHS_LEN, InitiatorPdu, NopInKind, RejectReason, SnackKind, SnackRequest,
    TaskManagementResponseCode, TransferTag,
};
use crate::{Direction, DiscoveryItem, DiscoveryScope, InitiatorTaskTag, Lun, TargetTransferTag};

/// The recording of a session with these digests in which every PDU of RFC 7143 occurs, for those who judge what is on the wire.
///
/// The initiator has no use for a SNACK Request: that one is put into the recording and was never sent.
///
/// ```
/// use iscsi_core::testing::recording;
/// use iscsi_core::text::Digests;
/// let recorder = recording(Digests::CRC32C, Digests::NONE);
/// assert!(recorder.lines().iter().any(|line| line.contains("<- Reject:")));
/// ```
///
/// # Panics
/// If the session does not go as it should.
pub fn recording(header_digest: Digests, data_digest: Digests) -> Recorder {
    let config = Rig::config().header_digest(header_digest).data_digest(data_digest);
    // Immediate data, and an R2T for the rest.
    let limits = Limits { first_burst_length: 1024, ..Limits::DEFAULT };
    let mut rig = Rig::new(config.build().expect("a configuration"), limits, 1);
    rig.recorder = Some(Recorder::new());
    rig.log_in();
    rig.target.service = Some(Service::new(Disk::new(32)));
    let write = rig.write(1, &[0x3c; 3072]);
    rig.run();
    let read = rig.read(0, 8);
    rig.run();
    assert!(rig.outcome(write).is_good() && rig.outcome(read).is_good());
    pings(&mut rig);
    snack(&mut rig);
    message(&mut rig);
    let service = rig.target.service.take();
    targets(&mut rig);
    rejected(&mut rig);
    rig.target.service = service;
    rig.driver.session.logout(rig.clock.now()).expect("it is logged in");
    rig.driver.touch();
    rig.run();
    rig.recorder.expect("it was put there")
}

/// One from each side.
fn pings(rig: &mut Rig) {
    let (connection, session) = rig.driver.ask();
    connection.ping(session);
    rig.run();
    let tag = TransferTag { lun: Lun::ZERO, target_transfer_tag: TargetTransferTag(7) };
    let ping = rig.target.nop_in(NopInKind::Ping(tag));
    rig.send(ping, &[]);
}

fn snack(rig: &mut Rig) {
    let task = InitiatorTaskTag(1);
    let request = SnackRequest {
        kind: SnackKind::Data { initiator_task_tag: task, beg_run: 0, run_length: 1 },
        exp_stat_sn: rig.target.stat_sn,
    };
    let mut bhs = [0; BHS_LEN];
    request.emit(&mut bhs);
    let bytes = rig.target.framer().frame(&bhs, &[], &[]);
    let now = rig.clock.now();
    let recorder = rig.recorder.as_mut().expect("it was put there");
    recorder.header(Direction::Sent, &bhs, now);
    recorder.bytes(Direction::Sent, &bytes, now);
}

/// The list of logical units has changed.
fn message(rig: &mut Rig) {
    let mut data = [0; 20];
    data[1] = 18;
    (data[2], data[4], data[9]) = (0x70, 0x06, 10);
    (data[14], data[15]) = (0x3f, 0x0e);
    let event = rig.target.async_message(AsyncEvent::Scsi { lun: Lun::ZERO });
    rig.send(event, &data);
}

fn targets(rig: &mut Rig) {
    let now = rig.clock.now();
    let (connection, session) = rig.driver.ask();
    connection.send_targets(DiscoveryScope::Session, session, now).expect("nothing else is asked");
    rig.run();
    let (request, _) = rig.target.expect_text();
    let response = rig.target.text_response(&request, None);
    rig.send(response, b"TargetName=iqn.2001-04.com.example:disk\0");
    let items: Vec<_> = core::iter::from_fn(|| rig.driver.poll_discovery(&rig.clock)).collect();
    assert!(matches!(items[..], [DiscoveryItem::Target(_), DiscoveryItem::Done]), "{items:?}");
}

/// A command that is rejected, which the initiator takes back.
fn rejected(rig: &mut Rig) {
    let task = rig.read(0, 1);
    rig.run();
    let (InitiatorPdu::ScsiCommand(_), command) = rig.target.expect() else {
        panic!("no command");
    };
    let reject = rig.target.reject(RejectReason::InvalidPduField);
    rig.send(reject, &command.bhs);
    let abort = rig.target.expect_task_management();
    let answer = rig.target.managed(&abort, TaskManagementResponseCode::TaskDoesNotExist);
    rig.send(answer, &[]);
    assert!(rig.lost(task).is_some());
}
