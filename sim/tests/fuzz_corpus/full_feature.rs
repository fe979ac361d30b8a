//! What targets answer to the five commands of the target `full_feature`.

use iscsi_core::testing::fuzz::full_feature_scene;
use iscsi_core::testing::{Rig, ScriptedTarget};
use iscsi_core::wire::*;
use iscsi_core::{DataSn, Lun, TargetTransferTag};

use crate::Seeds;

const HEADER_DIGEST: u8 = 1;
const DATA_DIGEST: u8 = 2;
const SOLICITED: u8 = 4;
const LEVEL_1: u8 = 8;
const ASKING: u8 = 16;
const LOGOUT: u8 = 32;
const NUMBERED: u8 = 64;
const RAW: u8 = 128;

/// The bits that change what the initiator sends, and not only how it is framed.
const SCENE: u8 = SOLICITED | LEVEL_1 | ASKING | LOGOUT;

/// The commands in their order: two reads, a write, none, a read.
type Commands = [ScsiCommand; 5];

type Play = fn(&mut ScriptedTarget, &Commands);

const PING: TransferTag = TransferTag { lun: Lun::ZERO, target_transfer_tag: TargetTransferTag(9) };

/// Status, residual, sense: what a response may say.
fn respond(
    target: &mut ScriptedTarget,
    command: &ScsiCommand,
    completion: Completion,
    data: &[u8],
) {
    let response = target.response(command, completion);
    target.send(response, data);
}

fn status(status: ScsiStatus) -> Completion {
    Completion { status, ..Completion::GOOD }
}

fn last(target: &mut ScriptedTarget, command: &ScsiCommand, data_sn: u32, at: u32, len: usize) {
    let pdu = target.last_data_in(command, data_sn, at);
    target.send(pdu, &vec![0xa7; len]);
}

fn more(target: &mut ScriptedTarget, command: &ScsiCommand, data_sn: u32, at: u32, len: usize) {
    let pdu = target.data_in(command, data_sn, at);
    target.send(pdu, &vec![0x7a; len]);
}

/// Everything goes well.
fn all(target: &mut ScriptedTarget, c: &Commands) {
    last(target, &c[0], 0, 0, 1000);
    let r2t = target.r2t(&c[2], 0, 512, 2488);
    target.send(r2t, &[]);
    respond(target, &c[3], Completion::GOOD, &[]);
    last(target, &c[4], 0, 0, 5);
    respond(target, &c[2], Completion::GOOD, &[]);
}

fn text(target: &mut ScriptedTarget, request: &TextRequest, more: bool, text: &[u8]) {
    let transfer = more.then_some(PING);
    let response = target.text_response(request, transfer);
    target.send(response, text);
}

/// The names of plays that need nothing but the commands.
const PLAYS: &[(&str, u8, Play)] = &[
    ("all-good", 0, all),
    ("all-good-solicited", SOLICITED, |t, c| {
        let r2t = t.r2t(&c[2], 0, 0, 3000);
        t.send(r2t, &[]);
        respond(t, &c[2], Completion::GOOD, &[]);
        last(t, &c[0], 0, 0, 1000);
    }),
    ("all-good-header-digest", HEADER_DIGEST, all),
    ("all-good-data-digest", DATA_DIGEST, all),
    ("all-good-both-digests", HEADER_DIGEST | DATA_DIGEST, all),
    ("all-good-level-1", LEVEL_1, all),
    ("data-in-with-status", 0, |t, c| last(t, &c[0], 0, 0, 1000)),
    ("data-in-in-pieces", 0, |t, c| {
        more(t, &c[0], 0, 0, 333);
        more(t, &c[0], 1, 333, 333);
        last(t, &c[0], 2, 666, 334);
    }),
    ("data-in-then-response", 0, |t, c| {
        more(t, &c[0], 0, 0, 1000);
        respond(t, &c[0], Completion { exp_data_sn: DataSn(1), ..Completion::GOOD }, &[]);
    }),
    ("data-in-interleaved", 0, |t, c| {
        more(t, &c[0], 0, 0, 500);
        more(t, &c[1], 0, 0, 900);
        last(t, &c[4], 0, 0, 5);
        last(t, &c[0], 1, 500, 500);
    }),
    ("data-in-beyond-the-task", 0, |t, c| last(t, &c[0], 0, 1, 1000)),
    ("data-in-at-the-last-offset", 0, |t, c| last(t, &c[0], 0, u32::MAX - 4, 5)),
    ("data-in-for-a-write", 0, |t, c| last(t, &c[2], 0, 0, 8)),
    ("data-in-for-no-data", 0, |t, c| last(t, &c[3], 0, 0, 8)),
    ("data-in-unknown-task", 0, |t, c| {
        let mut pdu = t.last_data_in(&c[0], 0, 0);
        pdu.initiator_task_tag.0 ^= 0x5555_0000;
        t.send(pdu, &[1; 8]);
    }),
    ("data-in-number-skipped", 0, |t, c| more(t, &c[0], 1, 0, 8)),
    ("data-in-number-repeated", 0, |t, c| {
        more(t, &c[0], 0, 0, 8);
        more(t, &c[0], 0, 8, 8);
    }),
    ("data-in-hole", 0, |t, c| {
        more(t, &c[0], 0, 0, 8);
        more(t, &c[0], 1, 16, 8);
    }),
    ("data-in-underflow", 0, |t, c| {
        let mut pdu = t.last_data_in(&c[0], 0, 0);
        let residual = Residual::Underflow(900);
        pdu.status = pdu.status.map(|status| DataInStatus { residual, ..status });
        t.send(pdu, &[1; 100]);
    }),
    ("data-in-overflow", 0, |t, c| {
        let mut pdu = t.last_data_in(&c[0], 0, 0);
        let residual = Residual::Overflow(24);
        pdu.status = pdu.status.map(|status| DataInStatus { residual, ..status });
        t.send(pdu, &[1; 1000]);
    }),
    ("data-in-empty", 0, |t, c| last(t, &c[4], 0, 0, 0)),
    ("data-in-missing-at-good", 0, |t, c| last(t, &c[0], 0, 0, 10)),
    ("data-in-acknowledge-at-level-1", LEVEL_1, |t, c| {
        let mut pdu = t.data_in(&c[0], 0, 0);
        (pdu.is_final, pdu.acknowledge) = (true, Some(PING));
        t.send(pdu, &[1; 500]);
        last(t, &c[0], 1, 500, 500);
    }),
    ("data-in-acknowledge-at-level-0", 0, |t, c| {
        let mut pdu = t.data_in(&c[0], 0, 0);
        (pdu.is_final, pdu.acknowledge) = (true, Some(PING));
        t.send(pdu, &[1; 500]);
    }),
    ("data-in-gap-at-level-1", LEVEL_1, |t, c| {
        more(t, &c[0], 0, 0, 100);
        more(t, &c[0], 2, 200, 100);
        more(t, &c[0], 1, 100, 100);
        last(t, &c[0], 3, 300, 700);
    }),
    ("data-in-gap-never-filled-at-level-1", LEVEL_1, |t, c| {
        more(t, &c[0], 1, 100, 100);
        last(t, &c[0], 2, 200, 800);
    }),
    ("stat-sn-gap-at-level-1", LEVEL_1, |t, c| {
        t.take_stat_sn();
        respond(t, &c[3], Completion::GOOD, &[]);
    }),
    ("r2t", 0, |t, c| {
        let pdu = t.r2t(&c[2], 0, 512, 2488);
        t.send(pdu, &[]);
    }),
    ("r2t-in-pieces", SOLICITED, |t, c| {
        for n in 0..3 {
            let pdu = t.r2t(&c[2], n, n * 1000, 1000);
            t.send(pdu, &[]);
        }
        respond(t, &c[2], Completion::GOOD, &[]);
    }),
    ("r2t-twice-the-same", SOLICITED, |t, c| {
        for _ in 0..2 {
            let pdu = t.r2t(&c[2], 0, 0, 1000);
            t.send(pdu, &[]);
        }
    }),
    ("r2t-too-many", SOLICITED, |t, c| {
        for n in 0..9 {
            let pdu = t.r2t(&c[2], n, n * 100, 100);
            t.send(pdu, &[]);
        }
    }),
    ("r2t-beyond-the-task", 0, |t, c| {
        let pdu = t.r2t(&c[2], 0, 2999, 2);
        t.send(pdu, &[]);
    }),
    ("r2t-for-a-read", 0, |t, c| {
        let pdu = t.r2t(&c[0], 0, 0, 512);
        t.send(pdu, &[]);
    }),
    ("r2t-gap-at-level-1", LEVEL_1 | SOLICITED, |t, c| {
        let pdu = t.r2t(&c[2], 1, 1000, 1000);
        t.send(pdu, &[]);
        let pdu = t.r2t(&c[2], 0, 0, 1000);
        t.send(pdu, &[]);
    }),
    ("response-good", 0, |t, c| respond(t, &c[3], Completion::GOOD, &[])),
    ("response-check-condition", 0, |t, c| {
        let sense = [0, 18, 0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0];
        respond(t, &c[3], status(ScsiStatus::CheckCondition), &sense);
    }),
    ("response-sense-longer-than-said", 0, |t, c| {
        respond(t, &c[3], status(ScsiStatus::CheckCondition), &[0, 200, 0x72, 1, 2]);
    }),
    ("response-sense-of-300-bytes", 0, |t, c| {
        let sense = [&[1, 0x2a][..], &[0x72; 298]].concat();
        respond(t, &c[3], status(ScsiStatus::CheckCondition), &sense);
    }),
    ("response-sense-of-one-byte", 0, |t, c| {
        respond(t, &c[3], status(ScsiStatus::CheckCondition), &[0]);
    }),
    ("response-busy", 0, |t, c| respond(t, &c[1], status(ScsiStatus::Busy), &[])),
    ("response-task-set-full", 0, |t, c| respond(t, &c[2], status(ScsiStatus::TaskSetFull), &[])),
    ("response-to-a-write-in-transfer", SOLICITED, |t, c| {
        let pdu = t.r2t(&c[2], 0, 0, 3000);
        t.send(pdu, &[]);
        respond(t, &c[2], status(ScsiStatus::ReservationConflict), &[]);
    }),
    ("response-twice", 0, |t, c| {
        respond(t, &c[3], Completion::GOOD, &[]);
        respond(t, &c[3], Completion::GOOD, &[]);
    }),
    ("response-before-data", 0, |t, c| {
        respond(t, &c[0], Completion::GOOD, &[]);
        last(t, &c[0], 0, 0, 1000);
    }),
    ("response-exp-data-sn-too-high", 0, |t, c| {
        respond(t, &c[0], Completion { exp_data_sn: DataSn(3), ..Completion::GOOD }, &[]);
    }),
    ("response-target-failure", 0, |t, c| {
        let mut pdu = t.response(&c[3], Completion::GOOD);
        pdu.response = ScsiResponseCode::TargetFailure;
        t.send(pdu, &[]);
    }),
    ("response-residual-too-large", 0, |t, c| {
        let residual = Residual::Underflow(u32::MAX);
        respond(t, &c[0], Completion { residual, ..Completion::GOOD }, &[]);
    }),
    ("ping", 0, |t, _| {
        let pdu = t.nop_in(NopInKind::Ping(PING));
        t.send(pdu, &[]);
    }),
    ("pings", 0, |t, _| {
        for _ in 0..5 {
            let pdu = t.nop_in(NopInKind::Ping(PING));
            t.send(pdu, &[]);
        }
    }),
    ("ping-response-to-nothing", 0, |t, c| {
        let pdu = t.nop_in(NopInKind::PingResponse(c[0].initiator_task_tag));
        t.send(pdu, &[1; 9]);
    }),
    ("update", 0, |t, _| {
        let pdu = t.nop_in(NopInKind::Update);
        t.send(pdu, &[]);
    }),
    ("window-closes", 0, |t, _| {
        t.window = 0;
        let pdu = t.nop_in(NopInKind::Update);
        t.send(pdu, &[]);
    }),
    ("window-goes-back", 0, |t, _| {
        t.exp_cmd_sn = t.exp_cmd_sn.minus(20);
        let pdu = t.nop_in(NopInKind::Update);
        t.send(pdu, &[]);
    }),
    ("async-message-scsi", 0, |t, _| {
        let pdu = t.async_message(AsyncEvent::Scsi { lun: Lun::ZERO });
        t.send(pdu, &[0, 3, 0x70, 0, 6]);
    }),
    ("async-message-sense-too-short", 0, |t, _| {
        let pdu = t.async_message(AsyncEvent::Scsi { lun: Lun::ZERO });
        t.send(pdu, &[0, 100, 0x70]);
    }),
    ("async-message-logout-requested", 0, |t, _| {
        let pdu = t.async_message(AsyncEvent::LogoutRequested { seconds: 3 });
        t.send(pdu, &[]);
    }),
    ("async-message-connection-dropped", 0, |t, _| {
        let event = AsyncEvent::ConnectionDropped { cid: 0, time2wait: 1, time2retain: 2 };
        let pdu = t.async_message(event);
        t.send(pdu, &[]);
    }),
    ("async-message-session-dropped", 0, |t, _| {
        let pdu = t.async_message(AsyncEvent::SessionDropped { time2wait: 1, time2retain: 2 });
        t.send(pdu, &[]);
    }),
    ("async-message-negotiation-requested", 0, |t, _| {
        let pdu = t.async_message(AsyncEvent::NegotiationRequested { seconds: 3 });
        t.send(pdu, &[]);
    }),
    ("async-message-tasks-terminated", 0, |t, _| {
        let pdu = t.async_message(AsyncEvent::TasksTerminated { lun: Lun::ZERO });
        t.send(pdu, &[]);
    }),
    ("login-response-after-the-login", 0, |t, _| {
        let mut bhs = [0; BHS_LEN];
        (bhs[0], bhs[1], bhs[15]) = (0x23, 0x87, 1);
        t.send_header(&bhs, &[]);
    }),
    ("initiators-opcode", 0, |t, _| {
        let mut bhs = [0; BHS_LEN];
        (bhs[0], bhs[1]) = (0x01, 0x80);
        t.send_header(&bhs, &[]);
    }),
    ("vendors-opcode", 0, |t, _| {
        let mut bhs = [0; BHS_LEN];
        (bhs[0], bhs[1]) = (0x3c, 0x80);
        t.send_header(&bhs, &[]);
    }),
    ("task-management-response-to-nothing", 0, |t, c| {
        let mut bhs = [0; BHS_LEN];
        (bhs[0], bhs[1]) = (0x22, 0x80);
        bhs[16..20].copy_from_slice(&c[0].initiator_task_tag.0.to_be_bytes());
        t.send_header(&bhs, &[]);
    }),
    ("snack-rejected-at-level-1", LEVEL_1, |t, c| {
        more(t, &c[0], 1, 100, 100);
        // As the initiator's SNACK Request looks.
        let mut bhs = [0; BHS_LEN];
        (bhs[0], bhs[1], bhs[47]) = (0x10, 0x80, 1);
        bhs[16..20].copy_from_slice(&c[0].initiator_task_tag.0.to_be_bytes());
        bhs[20..24].fill(0xff);
        let pdu = t.reject(RejectReason::SnackReject);
        t.send(pdu, &bhs);
    }),
];

/// The initiator after it has sent what `how` says, and the commands.
fn scene(how: u8) -> (Rig, Commands) {
    let (mut rig, _) = full_feature_scene(how & SCENE, 0);
    let commands = [(); 5].map(|()| {
        loop {
            if let (InitiatorPdu::ScsiCommand(command), _) = rig.target.expect() {
                break command;
            }
        }
    });
    (rig, commands)
}

pub(crate) fn seeds() -> Seeds {
    let mut seeds = Seeds::new();
    let mut add = |name: &str, how: u8, run: u8, bytes: &[u8]| {
        seeds.push((name.to_owned(), [&[how, run], bytes].concat()));
    };
    for (name, how, play) in PLAYS {
        let (mut rig, commands) = scene(*how);
        play(&mut rig.target, &commands);
        // What is sent with a wrong StatSN must keep it.
        let numbered = if name.contains("stat-sn") { 0 } else { NUMBERED };
        add(name, how | numbered, 0, &rig.target.take_output());
    }
    for reason in 1..=12u8 {
        let (mut rig, commands) = scene(0);
        let mut pdu = rig.target.reject(RejectReason::InvalidPduField);
        pdu.reason = RejectReason::from_byte(reason);
        let mut bhs = [0; BHS_LEN];
        commands[0].emit(&mut bhs);
        rig.target.send(pdu, &bhs);
        add(&format!("reject-{reason}"), NUMBERED, 0, &rig.target.take_output());
    }
    asked(&mut add);
    let (mut rig, commands) = scene(0);
    all(&mut rig.target, &commands);
    let stream = rig.target.take_output();
    add("all-good-scattered", NUMBERED, 97, &stream);
    add("all-good-raw", RAW, 0, &stream);
    add("cut-within-data", RAW, 0, &stream[..700]);
    add("cut-within-a-header", RAW, 0, &stream[..20]);
    add("raw-with-header-digest-expected", RAW | HEADER_DIGEST, 0, &stream);
    let mut longest = stream;
    longest[5..8].fill(0xff);
    add("raw-longest-length", RAW, 0, &longest);
    seeds
}

/// Answers to what the initiator asks beside its commands.
fn asked(add: &mut impl FnMut(&str, u8, u8, &[u8])) {
    let asking = || {
        let (mut rig, commands) = scene(ASKING);
        let (mut request, mut managements) = (None, Vec::new());
        while let Some((pdu, _)) = rig.target.inbox.pop_front() {
            match pdu {
                InitiatorPdu::TextRequest(text) => request = Some(text),
                InitiatorPdu::TaskManagementRequest(management) => managements.push(management),
                _ => {}
            }
        }
        (rig, commands, request.unwrap(), managements)
    };
    let targets = b"TargetName=iqn.2001-04.com.example:a\0TargetAddress=192.0.2.1:3260,1\0";
    for (name, answers) in [
        ("whole", vec![(false, &targets[..])]),
        ("in-pieces", vec![(true, &targets[..20]), (false, &targets[20..])]),
        ("empty", vec![(false, &[][..])]),
        ("without-end", vec![(true, &targets[..]); 4]),
        ("garbage", vec![(false, &[0xff; 40][..])]),
    ] {
        let (mut rig, _, request, _) = asking();
        for (goes_on, answer) in answers {
            text(&mut rig.target, &request, goes_on, answer);
        }
        add(&format!("text-response-{name}"), ASKING | NUMBERED, 0, &rig.target.take_output());
    }
    use TaskManagementResponseCode as Code;
    for (name, code) in [
        ("complete", Code::FunctionComplete),
        ("no-such-task", Code::TaskDoesNotExist),
        ("no-such-lun", Code::LunDoesNotExist),
        ("not-supported", Code::FunctionNotSupported),
        ("rejected", Code::FunctionRejected),
        ("unknown", Code::Other(99)),
    ] {
        let (mut rig, commands, _, managements) = asking();
        for request in &managements {
            let response = rig.target.managed(request, code);
            rig.target.send(response, &[]);
        }
        // Too late for a task that was reset.
        last(&mut rig.target, &commands[0], 0, 0, 1000);
        let name = format!("task-management-response-{name}");
        add(&name, ASKING | NUMBERED, 0, &rig.target.take_output());
    }
    let (mut rig, commands) = scene(LOGOUT);
    for command in &commands {
        respond(&mut rig.target, command, status(ScsiStatus::Busy), &[]);
    }
    add("logout-after-the-tasks", LOGOUT | NUMBERED, 0, &rig.target.take_output());
}
