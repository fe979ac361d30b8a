//! What initiators send to the target.

use iscsi_core::wire::*;
use iscsi_core::{CmdSn, DataSn, InitiatorTaskTag, Lun, StatSn, TargetTransferTag};
use iscsi_sim::fuzz::LOGIN_FIRST;

use crate::Seeds;

const SMALL_WINDOW: u8 = 4;
const CHAP: u8 = 16;
const UNSOLICITED: u8 = 32;
const NUMBERED: u8 = 64;
const RAW: u8 = 128;

/// CDBs by name, with the expected length of data and whether they are sent.
const COMMANDS: &[(&str, &[u8], u32, bool)] = &[
    ("test-unit-ready", &[0], 0, false),
    ("request-sense", &[0x03, 0, 0, 0, 18], 18, false),
    ("inquiry", &[0x12, 0, 0, 0, 96], 96, false),
    ("inquiry-supported-pages", &[0x12, 1, 0, 0, 64], 64, false),
    ("inquiry-serial-number", &[0x12, 1, 0x80, 0, 64], 64, false),
    ("inquiry-identification", &[0x12, 1, 0x83, 0, 255], 255, false),
    ("inquiry-block-limits", &[0x12, 1, 0xb0, 0, 64], 64, false),
    ("inquiry-unknown-page", &[0x12, 1, 0xee, 0, 64], 64, false),
    ("mode-sense-6", &[0x1a, 0, 0x3f, 0, 192], 192, false),
    ("mode-sense-10", &[0x5a, 0, 0x08, 0, 0, 0, 0, 0, 192], 192, false),
    ("start-stop-unit", &[0x1b, 0, 0, 0, 1], 0, false),
    ("read-capacity-10", &[0x25], 8, false),
    ("read-capacity-16", &[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32], 32, false),
    ("get-lba-status", &[0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 64], 64, false),
    ("read-6", &[0x08, 0, 0, 0, 1], 512, false),
    ("read-10", &[0x28, 0, 0, 0, 0, 1, 0, 0, 2], 1024, false),
    ("read-16", &[0x88, 0, 0, 0, 0, 0, 0, 0, 0, 127, 0, 0, 0, 1], 512, false),
    ("read-beyond-the-end", &[0x28, 0, 0, 0, 0, 127, 0, 0, 2], 1024, false),
    ("read-expects-less", &[0x28, 0, 0, 0, 0, 0, 0, 0, 2], 700, false),
    ("read-expects-more", &[0x28, 0, 0, 0, 0, 0, 0, 0, 1], 4096, false),
    ("write-10", &[0x2a, 0, 0, 0, 0, 1, 0, 0, 1], 512, true),
    ("write-10-large", &[0x2a, 0, 0, 0, 0, 1, 0, 0, 100], 51_200, true),
    ("write-beyond-the-end", &[0x2a, 0, 0, 0, 0, 127, 0, 0, 2], 1024, true),
    ("write-expects-less", &[0x2a, 0, 0, 0, 0, 0, 0, 0, 2], 600, true),
    ("verify-10", &[0x2f, 0, 0, 0, 0, 0, 0, 0, 4], 0, false),
    ("verify-bytes", &[0x2f, 2, 0, 0, 0, 0, 0, 0, 1], 512, true),
    ("synchronize-cache", &[0x35], 0, false),
    ("write-same-10", &[0x41, 0, 0, 0, 0, 0, 0, 0, 8], 512, true),
    ("write-same-16-unmap", &[0x93, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8], 512, true),
    ("unmap", &[0x42, 0, 0, 0, 0, 0, 0, 0, 24], 24, true),
    ("compare-and-write", &[0x89, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], 1024, true),
    ("report-luns", &[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 64], 64, false),
    ("report-opcodes", &[0xa3, 0x0c, 0, 0, 0, 0, 0, 0, 4], 1024, false),
    ("report-target-port-groups", &[0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 0, 64], 64, false),
    ("reserve-6", &[0x16], 0, false),
    ("release-6", &[0x17], 0, false),
    ("persistent-reserve-in-keys", &[0x5e, 0, 0, 0, 0, 0, 0, 0, 64], 64, false),
    ("persistent-reserve-out-register", &[0x5f, 0, 0, 0, 0, 0, 0, 0, 24], 24, true),
    ("persistent-reserve-out-reserve", &[0x5f, 1, 5, 0, 0, 0, 0, 0, 24], 24, true),
    ("prefetch", &[0x34, 0, 0, 0, 0, 0, 0, 0, 8], 0, false),
    ("unknown-opcode", &[0xc7], 0, false),
];

fn command(cdb: &[u8], expected: u32, write: bool) -> ScsiCommand {
    let mut whole = [0; 16];
    whole[..cdb.len()].copy_from_slice(cdb);
    ScsiCommand {
        immediate: false,
        is_final: true,
        read: !write && expected > 0,
        write,
        attribute: TaskAttribute::Simple,
        priority: 0,
        total_ahs_length: AhsLength::NONE,
        data_segment_length: 0,
        lun: Lun::ZERO,
        initiator_task_tag: InitiatorTaskTag(1),
        expected_data_transfer_length: expected,
        cmd_sn: CmdSn(0xffff_fffe),
        exp_stat_sn: StatSn(1),
        cdb: whole,
    }
}

fn pdu(pdu: impl Into<InitiatorPdu>, data: &[u8]) -> Vec<u8> {
    let mut bhs = [0; BHS_LEN];
    pdu.into().emit(&mut bhs);
    bhs[5..8].copy_from_slice(&(data.len() as u32).to_be_bytes()[1..]);
    let mut bytes = [&bhs[..], data].concat();
    bytes.resize(bytes.len() + padding(data.len()), 0);
    bytes
}

fn data_out(
    len: usize,
    at: u32,
    data_sn: u32,
    transfer: Option<TransferTag>,
    is_final: bool,
) -> Vec<u8> {
    let out = DataOut {
        is_final,
        transfer,
        data_segment_length: 0,
        initiator_task_tag: InitiatorTaskTag(1),
        exp_stat_sn: StatSn(1),
        data_sn: DataSn(data_sn),
        buffer_offset: at,
    };
    pdu(out, &vec![0x3c; len])
}

pub(crate) fn seeds() -> Seeds {
    let mut seeds = Seeds::new();
    let mut add = |name: &str, how: u8, chunk: u8, pdus: &[Vec<u8>]| {
        seeds.push((name.to_owned(), [&[how, chunk][..], &pdus.concat()].concat()));
    };
    // The first command is told that the disk was switched on.
    let attention = pdu(
        ScsiCommand { initiator_task_tag: InitiatorTaskTag(2), ..command(&[0], 0, false) },
        &[],
    );
    for (name, cdb, expected, write) in COMMANDS {
        let command = command(cdb, *expected, *write);
        let data = vec![0; if *write { (*expected).min(1024) as usize } else { 0 }];
        add(&format!("command-{name}"), NUMBERED, 255, &[attention.clone(), pdu(command, &data)]);
    }
    let write = command(&[0x2a, 0, 0, 0, 0, 1, 0, 0, 4], 2048, true);
    let waits = [attention.clone(), pdu(write, &[])];
    // The tag that the target gives to its first R2T is found by whoever fuzzes; these are close.
    for tag in 0..4 {
        let transfer =
            Some(TransferTag { lun: Lun::ZERO, target_transfer_tag: TargetTransferTag(tag) });
        let pdus = [&waits[..], &[data_out(2048, 0, 0, transfer, true)]].concat();
        add(&format!("data-out-solicited-{tag}"), NUMBERED, 100, &pdus);
    }
    let unsolicited = pdu(ScsiCommand { is_final: false, ..write }, &[]);
    let with = |outs: &[Vec<u8>]| [&[attention.clone(), unsolicited.clone()][..], outs].concat();
    for (name, outs) in [
        (
            "unsolicited",
            vec![data_out(1024, 0, 0, None, false), data_out(1024, 1024, 1, None, true)],
        ),
        ("unsolicited-never-final", vec![data_out(512, 0, 0, None, false)]),
        ("unsolicited-hole", vec![data_out(512, 512, 0, None, true)]),
        ("unsolicited-beyond-the-task", vec![data_out(512, 2000, 0, None, true)]),
        ("unsolicited-number-skipped", vec![data_out(512, 0, 1, None, true)]),
        ("unsolicited-at-the-last-offset", vec![data_out(512, u32::MAX, 0, None, true)]),
    ] {
        add(&format!("data-out-{name}"), NUMBERED | UNSOLICITED, 100, &with(&outs));
    }
    add("data-out-without-a-command", NUMBERED, 100, &[data_out(512, 0, 0, None, true)]);
    controls(&mut add, &attention);
    logins(&mut add);
    let many: Vec<_> = (0..8).map(|_| attention.clone()).collect();
    add("commands-beyond-the-window", SMALL_WINDOW, 255, &many);
    add("commands-with-the-same-tag", NUMBERED, 255, &many);
    for digests in 1..=3 {
        add(&format!("digests-{digests}"), NUMBERED | digests, 7, &waits);
    }
    add("raw-garbage", RAW, 9, &[vec![0x41; 200]]);
    add(
        "raw-longest-length",
        RAW,
        9,
        &[[&[1, 0x80, 0, 0, 0, 255, 255, 255][..], &[0; 60]].concat()],
    );
    add("raw-garbage-before-the-login", RAW | LOGIN_FIRST, 1, &[vec![0x43; 100]]);
    seeds
}

/// Pings, task management, text, SNACK, logout.
fn controls(add: &mut impl FnMut(&str, u8, u8, &[Vec<u8>]), attention: &[u8]) {
    let (cmd_sn, exp_stat_sn, initiator_task_tag) = (CmdSn(0), StatSn(1), InitiatorTaskTag(3));
    let lun = Lun::ZERO;
    let transfer = TransferTag { lun, target_transfer_tag: TargetTransferTag(5) };
    for (name, kind, data) in [
        ("ping", NopOutKind::Ping { immediate: false, initiator_task_tag }, &b"hello"[..]),
        ("ping-immediate", NopOutKind::Ping { immediate: true, initiator_task_tag }, &[]),
        ("ping-response-to-nothing", NopOutKind::PingResponse(transfer), &[]),
        ("update", NopOutKind::Update { lun }, &[]),
    ] {
        let nop = NopOut { kind, data_segment_length: 0, cmd_sn, exp_stat_sn };
        add(&format!("nop-out-{name}"), NUMBERED, 50, &[pdu(nop, data)]);
    }
    use TaskManagementFunction as F;
    let (referenced_task_tag, ref_cmd_sn) = (InitiatorTaskTag(1), CmdSn(0xffff_ffff));
    let waits = pdu(command(&[0x2a, 0, 0, 0, 0, 1, 0, 0, 4], 2048, true), &[]);
    for (name, function) in [
        ("abort-task", F::AbortTask { lun, referenced_task_tag, ref_cmd_sn }),
        ("abort-task-set", F::AbortTaskSet { lun }),
        ("clear-aca", F::ClearAca { lun }),
        ("clear-task-set", F::ClearTaskSet { lun }),
        ("logical-unit-reset", F::LogicalUnitReset { lun }),
        ("target-warm-reset", F::TargetWarmReset),
        ("target-cold-reset", F::TargetColdReset),
        ("task-reassign", F::TaskReassign { referenced_task_tag, exp_data_sn: DataSn(0) }),
        ("query-task", F::QueryTask { lun, referenced_task_tag, ref_cmd_sn }),
    ] {
        let request = TaskManagementRequest {
            immediate: true,
            function,
            initiator_task_tag,
            cmd_sn,
            exp_stat_sn,
        };
        let pdus = [attention.to_vec(), waits.clone(), pdu(request, &[])];
        add(&format!("task-management-{name}"), NUMBERED, 60, &pdus);
    }
    let request = |is_continued: bool, transfer| TextRequest {
        immediate: false,
        is_final: !is_continued,
        is_continued,
        transfer,
        data_segment_length: 0,
        initiator_task_tag,
        cmd_sn,
        exp_stat_sn,
    };
    let all = b"SendTargets=All\0";
    add("text-send-targets-all", NUMBERED, 60, &[pdu(request(false, None), all)]);
    add("text-send-targets-empty", NUMBERED, 60, &[pdu(request(false, None), b"SendTargets=\0")]);
    let pieces = [pdu(request(true, None), &all[..5]), pdu(request(false, None), &all[5..])];
    add("text-continued", NUMBERED, 60, &pieces);
    let keys = b"MaxRecvDataSegmentLength=4096\0X-com.example.a=1\0MaxBurstLength=512\0";
    add("text-negotiates", NUMBERED, 60, &[pdu(request(false, None), keys)]);
    add("text-for-more-of-nothing", NUMBERED, 60, &[pdu(request(false, Some(transfer)), &[])]);
    for (name, kind) in [
        ("data", SnackKind::Data { initiator_task_tag, beg_run: 0, run_length: 0 }),
        ("status", SnackKind::Status { beg_run: StatSn(1), run_length: 1 }),
        ("data-ack", SnackKind::DataAck { transfer, beg_run: DataSn(1) }),
        ("resegmented", SnackKind::ResegmentedData { initiator_task_tag, snack_tag: 1 }),
    ] {
        add(
            &format!("snack-{name}"),
            NUMBERED,
            60,
            &[pdu(SnackRequest { kind, exp_stat_sn }, &[])],
        );
    }
    for (name, reason) in [
        ("session", LogoutReason::CloseSession),
        ("connection", LogoutReason::CloseConnection { cid: 1 }),
        ("unknown-connection", LogoutReason::CloseConnection { cid: 7 }),
        ("recovery", LogoutReason::RemoveConnectionForRecovery { cid: 1 }),
    ] {
        let immediate = false;
        let logout = LogoutRequest { immediate, reason, initiator_task_tag, cmd_sn, exp_stat_sn };
        add(&format!("logout-{name}"), NUMBERED, 60, &[pdu(logout, &[]), attention.to_vec()]);
    }
}

fn logins(add: &mut impl FnMut(&str, u8, u8, &[Vec<u8>])) {
    use Stage::{FullFeaturePhase, LoginOperationalNegotiation, SecurityNegotiation};
    let request = |current_stage, next_stage, is_continued, text: &str| {
        let request = LoginRequest {
            current_stage,
            next_stage,
            is_continued,
            version_max: 0,
            version_min: 0,
            data_segment_length: 0,
            isid: Isid::random(0x12_3456, 1),
            tsih: 0,
            initiator_task_tag: InitiatorTaskTag(0),
            cid: 1,
            cmd_sn: CmdSn(1),
            exp_stat_sn: StatSn(0),
        };
        pdu(request, text.as_bytes())
    };
    let names = "InitiatorName=iqn.2001-04.com.example:i\0TargetName=iqn.2001-04.com.example:t\0";
    let operational = |text: &str| {
        request(
            LoginOperationalNegotiation,
            Some(FullFeaturePhase),
            false,
            &format!("{names}{text}"),
        )
    };
    let security = |text: &str| request(SecurityNegotiation, None, false, text);
    add("login-operational", LOGIN_FIRST, 60, &[operational("")]);
    add(
        "login-digests",
        LOGIN_FIRST,
        60,
        &[operational("HeaderDigest=CRC32C\0DataDigest=CRC32C\0")],
    );
    let first = security(&format!("{names}AuthMethod=None\0"));
    let last =
        request(LoginOperationalNegotiation, Some(FullFeaturePhase), false, "MaxBurstLength=512\0");
    add("login-two-stages", LOGIN_FIRST, 60, &[first, last.clone()]);
    let discovery = "InitiatorName=iqn.2001-04.com.example:i\0SessionType=Discovery\0";
    let discovery = request(LoginOperationalNegotiation, Some(FullFeaturePhase), false, discovery);
    add("login-discovery", LOGIN_FIRST, 60, &[discovery]);
    let cut = request(LoginOperationalNegotiation, None, true, &names[..30]);
    let rest = request(LoginOperationalNegotiation, Some(FullFeaturePhase), false, &names[30..]);
    add("login-continued", LOGIN_FIRST, 60, &[cut.clone(), rest]);
    add("login-continued-without-end", LOGIN_FIRST, 60, &vec![cut; 20]);
    add("login-without-names", LOGIN_FIRST, 60, &[last]);
    add(
        "login-unknown-target",
        LOGIN_FIRST,
        60,
        &[request(
            LoginOperationalNegotiation,
            Some(FullFeaturePhase),
            false,
            "InitiatorName=iqn.2001-04.com.example:i\0TargetName=iqn.2001-04.com.example:x\0",
        )],
    );
    add("login-command-first", LOGIN_FIRST, 60, &[pdu(command(&[0], 0, false), &[])]);
    let offer = security(&format!("{names}AuthMethod=CHAP,None\0"));
    let algorithm = security("CHAP_A=7,5\0");
    let response = security("CHAP_N=user\0CHAP_R=0x00112233445566778899aabbccddeeff\0");
    add("login-chap", LOGIN_FIRST | CHAP, 60, &[offer.clone(), algorithm, response]);
    add("login-chap-response-first", LOGIN_FIRST | CHAP, 60, &[offer, security("CHAP_R=0x00\0")]);
    add("login-chap-skipped", LOGIN_FIRST | CHAP, 60, &[operational("")]);
    add(
        "login-chap-none-offered",
        LOGIN_FIRST | CHAP,
        60,
        &[security(&format!("{names}AuthMethod=None\0"))],
    );
    let bad = "HeaderDigest=MD5\0MaxBurstLength=1\0InitialR2T=Maybe\0OFMarkInt=1~0\0X=\0";
    add("login-bad-values", LOGIN_FIRST, 60, &[operational(bad)]);
}
