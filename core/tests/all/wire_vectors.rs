//! One header of each kind by hand, field by field from the offsets of RFC 7143 section 11.
//!
//! Beside each header stands the mask of the bits that mean something in it. That gives two more tests for free: no other bit
//! changes the meaning (F-10, F-11, F-13), and every bit of the mask does.

use core::num::NonZeroU32;

use iscsi_core::wire::*;
use iscsi_core::{CmdSn, DataSn, InitiatorTaskTag, Lun, R2tSn, StatSn, TargetTransferTag};

fn hex(text: &str) -> Bhs {
    let digits: String = text.split_whitespace().collect();
    assert_eq!(digits.len(), 2 * BHS_LEN, "{text}");
    core::array::from_fn(|i| u8::from_str_radix(&digits[2 * i..2 * i + 2], 16).unwrap())
}

/// Parses and emits `header`, then turns its bits over: each one by one, and all reserved ones at once.
fn check(header: &str, mask: &str, expected: impl Into<Pdu>) {
    let expected = expected.into();
    check_each_bit(header, mask, expected);
    assert_eq!(Pdu::parse(&garbage(header, mask)), Ok(expected), "all reserved bits at once");
}

/// `header` with every bit turned over that is not in `mask`.
fn garbage(header: &str, mask: &str) -> Bhs {
    let (bhs, mask) = (hex(header), hex(mask));
    core::array::from_fn(|i| bhs[i] ^ !mask[i])
}

fn check_each_bit(header: &str, mask: &str, expected: Pdu) {
    let (bhs, mask) = (hex(header), hex(mask));
    assert_eq!(Pdu::parse(&bhs), Ok(expected), "parse");
    assert_eq!(expected.emit(), bhs, "emit");
    for bit in 0..BHS_LEN * 8 {
        let (byte, bit) = (bit / 8, 0x80 >> (bit % 8));
        let mut flipped = bhs;
        flipped[byte] ^= bit;
        let means_something = mask[byte] & bit != 0;
        let found = Pdu::parse(&flipped);
        assert_eq!(found != Ok(expected), means_something, "byte {byte} bit {bit:#04x}: {found:?}");
    }
}

/// A PDU of either direction.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Pdu {
    Target(TargetPdu),
    Initiator(InitiatorPdu),
}

impl Pdu {
    fn parse(bhs: &Bhs) -> Result<Self, FormatError> {
        if bhs[0] & 0x20 != 0 {
            TargetPdu::parse(bhs).map(Self::Target)
        } else {
            InitiatorPdu::parse(bhs).map(Self::Initiator)
        }
    }

    fn emit(&self) -> Bhs {
        let mut bhs = [0xa5; BHS_LEN];
        match self {
            Self::Target(pdu) => pdu.emit(&mut bhs),
            Self::Initiator(pdu) => pdu.emit(&mut bhs),
        }
        bhs
    }
}

impl<T: Into<Side>> From<T> for Pdu {
    fn from(pdu: T) -> Self {
        match pdu.into() {
            Side::Target(pdu) => Self::Target(pdu),
            Side::Initiator(pdu) => Self::Initiator(pdu),
        }
    }
}

enum Side {
    Target(TargetPdu),
    Initiator(InitiatorPdu),
}

macro_rules! side {
    ($($side:ident: $($kind:ident)*;)*) => {
        $($(impl From<$kind> for Side {
            fn from(pdu: $kind) -> Self {
                Self::$side(pdu.into())
            }
        })*)*
    };
}

side! {
    Target: AsyncMessage DataIn LoginResponse LogoutResponse NopIn R2t Reject ScsiResponse TaskManagementResponse TextResponse;
    Initiator: DataOut LoginRequest LogoutRequest NopOut ScsiCommand SnackRequest TaskManagementRequest TextRequest;
}

const LUN: Lun = Lun::from_bytes([0x01, 0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x08]);
const ITT: InitiatorTaskTag = InitiatorTaskTag(0x1112_1314);
const TTT: TargetTransferTag = TargetTransferTag(0x2122_2324);
const TRANSFER: TransferTag = TransferTag { lun: LUN, target_transfer_tag: TTT };
const CMD_SN: CmdSn = CmdSn(0x3132_3334);
const EXP_STAT_SN: StatSn = StatSn(0x4142_4344);
const STAT_SN: StatSn = StatSn(0x5152_5354);
const EXP_CMD_SN: CmdSn = CmdSn(0x6162_6364);
const MAX_CMD_SN: CmdSn = CmdSn(0x7172_7374);

#[test]
fn scsi_command() {
    check(
        "41e3d000 05000102 0102030405060708 11121314 81828384 31323334 41424344
         7f0102030405060708090a0b0c0d0e0f",
        "7fe7f000 ffffffff ffffffffffffffff ffffffff ffffffff ffffffff ffffffff
         ffffffffffffffffffffffffffffffff",
        ScsiCommand {
            immediate: true,
            is_final: true,
            read: true,
            write: true,
            attribute: TaskAttribute::HeadOfQueue,
            priority: 13,
            total_ahs_length: AhsLength(5),
            data_segment_length: 258,
            lun: LUN,
            initiator_task_tag: ITT,
            expected_data_transfer_length: 0x8182_8384,
            cmd_sn: CMD_SN,
            exp_stat_sn: EXP_STAT_SN,
            cdb: [0x7f, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
        },
    );
}

#[test]
fn read_10_of_the_rfc() {
    let bhs = hex("01c00000 00000000 00000000 00000000 14000000 00000400 00000014 00000018
                   28000000 00000000 02000000 00000000");
    let command = ScsiCommand::parse(&bhs).unwrap();
    assert!(command.read && !command.write && command.is_final && !command.immediate);
    assert_eq!(command.attribute, TaskAttribute::Untagged);
    assert_eq!(command.initiator_task_tag, InitiatorTaskTag(0x1400_0000));
    assert_eq!(command.expected_data_transfer_length, 1024);
    assert_eq!((command.cmd_sn, command.exp_stat_sn), (CmdSn(20), StatSn(24)));
    assert_eq!(command.cdb, [0x28, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
    let mut emitted = [0xff; BHS_LEN];
    command.emit(&mut emitted);
    assert_eq!(emitted, bhs);
}

#[test]
fn scsi_response() {
    let response = ScsiResponse {
        response: ScsiResponseCode::CompletedAtTarget(Completion {
            status: ScsiStatus::Busy,
            status_qualifier: 0xc001,
            residual: Residual::Underflow(0xb1b2_b3b4),
            bidi_read_residual: Residual::Overflow(0xa1a2_a3a4),
            exp_data_sn: DataSn(0x9192_9394),
        }),
        data_segment_length: 0x14,
        initiator_task_tag: ITT,
        snack_tag: NonZeroU32::new(0x8182_8384),
        stat_sn: STAT_SN,
        exp_cmd_sn: EXP_CMD_SN,
        max_cmd_sn: MAX_CMD_SN,
    };
    check(
        "21920008 00000014 c001000000000000 11121314 81828384 51525354 61626364
         71727374 91929394 a1a2a3a4 b1b2b3b4",
        "3f1effff ffffffff ffff000000000000 ffffffff ffffffff ffffffff ffffffff
         ffffffff ffffffff ffffffff ffffffff",
        response,
    );
    check(
        "21800100 00000014 0000000000000000 11121314 81828384 51525354 61626364
         71727374 00000000 00000000 00000000",
        "3f00ff00 ffffffff 0000000000000000 ffffffff ffffffff ffffffff ffffffff
         ffffffff 00000000 00000000 00000000",
        ScsiResponse { response: ScsiResponseCode::TargetFailure, ..response },
    );
}

#[test]
fn task_management_request() {
    let request = TaskManagementRequest {
        immediate: true,
        function: TaskManagementFunction::AbortTask {
            lun: LUN,
            referenced_task_tag: InitiatorTaskTag(0x2122_2324),
            ref_cmd_sn: CmdSn(0x8182_8384),
        },
        initiator_task_tag: ITT,
        cmd_sn: CMD_SN,
        exp_stat_sn: EXP_STAT_SN,
    };
    check(
        "42810000 00000000 0102030405060708 11121314 21222324 31323334 41424344
         81828384 00000000 0000000000000000",
        "7f7f0000 ffffffff ffffffffffffffff ffffffff ffffffff ffffffff ffffffff
         ffffffff 00000000 0000000000000000",
        request,
    );
    check(
        "42880000 00000000 0000000000000000 11121314 21222324 31323334 41424344
         00000000 81828384 0000000000000000",
        "7f7f0000 ffffffff 0000000000000000 ffffffff ffffffff ffffffff ffffffff
         00000000 ffffffff 0000000000000000",
        TaskManagementRequest {
            function: TaskManagementFunction::TaskReassign {
                referenced_task_tag: InitiatorTaskTag(0x2122_2324),
                exp_data_sn: DataSn(0x8182_8384),
            },
            ..request
        },
    );
    check(
        "02850000 00000000 0102030405060708 11121314 ffffffff 31323334 41424344
         00000000 00000000 0000000000000000",
        "7f7f0000 ffffffff ffffffffffffffff ffffffff 00000000 ffffffff ffffffff
         00000000 00000000 0000000000000000",
        TaskManagementRequest {
            immediate: false,
            function: TaskManagementFunction::LogicalUnitReset { lun: LUN },
            ..request
        },
    );
    check(
        "02870000 00000000 0000000000000000 11121314 ffffffff 31323334 41424344
         00000000 00000000 0000000000000000",
        "7f7f0000 ffffffff 0000000000000000 ffffffff 00000000 ffffffff ffffffff
         00000000 00000000 0000000000000000",
        TaskManagementRequest {
            immediate: false,
            function: TaskManagementFunction::TargetColdReset,
            ..request
        },
    );
}

#[test]
fn task_management_response() {
    let response = TaskManagementResponse {
        response: TaskManagementResponseCode::FunctionSucceeded {
            additional_response_information: [0x81, 0x82, 0x83],
        },
        initiator_task_tag: ITT,
        stat_sn: STAT_SN,
        exp_cmd_sn: EXP_CMD_SN,
        max_cmd_sn: MAX_CMD_SN,
    };
    check(
        "22800700 00000000 8182830000000000 11121314 00000000 51525354 61626364
         71727374 00000000 00000000 00000000",
        "3f00ff00 ffffffff ffffff0000000000 ffffffff 00000000 ffffffff ffffffff
         ffffffff 00000000 00000000 00000000",
        response,
    );
    check(
        "2280ff00 00000000 0000000000000000 11121314 00000000 51525354 61626364
         71727374 00000000 00000000 00000000",
        "3f00ff00 ffffffff 0000000000000000 ffffffff 00000000 ffffffff ffffffff
         ffffffff 00000000 00000000 00000000",
        TaskManagementResponse {
            response: TaskManagementResponseCode::FunctionRejected,
            ..response
        },
    );
}

#[test]
fn login_request() {
    let request = LoginRequest {
        current_stage: Stage::SecurityNegotiation,
        next_stage: Some(Stage::LoginOperationalNegotiation),
        is_continued: false,
        version_max: 3,
        version_min: 2,
        data_segment_length: 0x100,
        isid: Isid::from_bytes([0x80, 0x81, 0x82, 0x83, 0x84, 0x85]),
        tsih: 0x8687,
        initiator_task_tag: ITT,
        cid: 0x9192,
        cmd_sn: CMD_SN,
        exp_stat_sn: EXP_STAT_SN,
    };
    check(
        "43810302 00000100 8081828384858687 11121314 91920000 31323334 41424344
         00000000 00000000 0000000000000000",
        "3fcfffff ffffffff ffffffffffffffff ffffffff ffff0000 ffffffff ffffffff
         00000000 00000000 0000000000000000",
        request,
    );
    check(
        "43440302 00000100 8081828384858687 11121314 91920000 31323334 41424344
         00000000 00000000 0000000000000000",
        "3fccffff ffffffff ffffffffffffffff ffffffff ffff0000 ffffffff ffffffff
         00000000 00000000 0000000000000000",
        LoginRequest {
            current_stage: Stage::LoginOperationalNegotiation,
            next_stage: None,
            is_continued: true,
            ..request
        },
    );
}

#[test]
fn login_response() {
    let response = LoginResponse {
        outcome: LoginOutcome::Proceed(LoginProgress {
            current_stage: Stage::LoginOperationalNegotiation,
            next_stage: Some(Stage::FullFeaturePhase),
            is_continued: false,
            stat_sn: STAT_SN,
            exp_cmd_sn: EXP_CMD_SN,
            max_cmd_sn: MAX_CMD_SN,
        }),
        version_max: 3,
        version_active: 2,
        data_segment_length: 0x100,
        isid: Isid::from_bytes([0x80, 0x81, 0x82, 0x83, 0x84, 0x85]),
        tsih: 0x8687,
        initiator_task_tag: ITT,
    };
    check(
        "23870302 00000100 8081828384858687 11121314 00000000 51525354 61626364
         71727374 00000000 0000000000000000",
        "3fcfffff ffffffff ffffffffffffffff ffffffff 00000000 ffffffff ffffffff
         ffffffff ffff0000 0000000000000000",
        response,
    );
    check(
        "23000302 00000100 8081828384858687 11121314 00000000 00000000 00000000
         00000000 01020000 0000000000000000",
        "3f00ffff ffffffff ffffffffffffffff ffffffff 00000000 00000000 00000000
         00000000 ffff0000 0000000000000000",
        LoginResponse {
            outcome: LoginOutcome::Refused(LoginStatus::TARGET_MOVED_PERMANENTLY),
            ..response
        },
    );
}

#[test]
fn text_request() {
    let request = TextRequest {
        immediate: true,
        is_final: true,
        is_continued: false,
        transfer: Some(TRANSFER),
        data_segment_length: 0x010203,
        initiator_task_tag: ITT,
        cmd_sn: CMD_SN,
        exp_stat_sn: EXP_STAT_SN,
    };
    check(
        "44800000 00010203 0102030405060708 11121314 21222324 31323334 41424344
         00000000 00000000 0000000000000000",
        "7fc00000 ffffffff ffffffffffffffff ffffffff ffffffff ffffffff ffffffff
         00000000 00000000 0000000000000000",
        request,
    );
    check(
        "04400000 00010203 0000000000000000 11121314 ffffffff 31323334 41424344
         00000000 00000000 0000000000000000",
        "7fc00000 ffffffff 0000000000000000 ffffffff ffffffff ffffffff ffffffff
         00000000 00000000 0000000000000000",
        TextRequest {
            immediate: false,
            is_final: false,
            is_continued: true,
            transfer: None,
            ..request
        },
    );
}

#[test]
fn text_response() {
    let response = TextResponse {
        transfer: Some(TRANSFER),
        is_continued: true,
        data_segment_length: 0x010203,
        initiator_task_tag: ITT,
        stat_sn: STAT_SN,
        exp_cmd_sn: EXP_CMD_SN,
        max_cmd_sn: MAX_CMD_SN,
    };
    check(
        "24400000 00010203 0102030405060708 11121314 21222324 51525354 61626364
         71727374 00000000 00000000 00000000",
        "3fc00000 ffffffff ffffffffffffffff ffffffff ffffffff ffffffff ffffffff
         ffffffff 00000000 00000000 00000000",
        response,
    );
    // a tag beside F means nothing.
    check(
        "24800000 00010203 0000000000000000 11121314 ffffffff 51525354 61626364
         71727374 00000000 00000000 00000000",
        "3fc00000 ffffffff 0000000000000000 ffffffff 00000000 ffffffff ffffffff
         ffffffff 00000000 00000000 00000000",
        TextResponse { transfer: None, is_continued: false, ..response },
    );
}

#[test]
fn data_out() {
    let data_out = DataOut {
        is_final: true,
        transfer: Some(TRANSFER),
        data_segment_length: 0x010203,
        initiator_task_tag: ITT,
        exp_stat_sn: EXP_STAT_SN,
        data_sn: DataSn(0x8182_8384),
        buffer_offset: 0x9192_9394,
    };
    check(
        "05800000 00010203 0102030405060708 11121314 21222324 00000000 41424344
         00000000 81828384 91929394 00000000",
        "3f800000 ffffffff ffffffffffffffff ffffffff ffffffff 00000000 ffffffff
         00000000 ffffffff ffffffff 00000000",
        data_out,
    );
    check(
        "05000000 00010203 0000000000000000 11121314 ffffffff 00000000 41424344
         00000000 81828384 91929394 00000000",
        "3f800000 ffffffff 0000000000000000 ffffffff ffffffff 00000000 ffffffff
         00000000 ffffffff ffffffff 00000000",
        DataOut { is_final: false, transfer: None, ..data_out },
    );
}

#[test]
fn data_in() {
    let data_in = DataIn {
        is_final: true,
        acknowledge: Some(TRANSFER),
        status: Some(DataInStatus {
            status: ScsiStatus::ConditionMet,
            residual: Residual::Overflow(0xa1a2_a3a4),
            stat_sn: STAT_SN,
        }),
        data_segment_length: 0x010203,
        initiator_task_tag: ITT,
        exp_cmd_sn: EXP_CMD_SN,
        max_cmd_sn: MAX_CMD_SN,
        data_sn: DataSn(0x8182_8384),
        buffer_offset: 0x9192_9394,
    };
    check(
        "25c50004 00010203 0102030405060708 11121314 21222324 51525354 61626364
         71727374 81828384 91929394 a1a2a3a4",
        "3fc700ff ffffffff ffffffffffffffff ffffffff ffffffff ffffffff ffffffff
         ffffffff ffffffff ffffffff ffffffff",
        data_in,
    );
    // D-26: without A the LUN and the tag mean nothing; without S the status means nothing.
    let header = "25800000 00010203 0000000000000000 11121314 ffffffff 00000000 61626364
                  71727374 81828384 91929394 00000000";
    let expected = DataIn { acknowledge: None, status: None, ..data_in }.into();
    // A alone changes nothing, because there is no tag.
    let without_a = "3f810000 ffffffff 0000000000000000 ffffffff 00000000 00000000 ffffffff
                     ffffffff ffffffff ffffffff 00000000";
    check_each_bit(header, without_a, expected);
    let with_a = "3fc10000 ffffffff 0000000000000000 ffffffff 00000000 00000000 ffffffff
                  ffffffff ffffffff ffffffff 00000000";
    assert_eq!(Pdu::parse(&garbage(header, with_a)), Ok(expected));
}

#[test]
fn logout_request() {
    let request = LogoutRequest {
        immediate: true,
        reason: LogoutReason::RemoveConnectionForRecovery { cid: 0x8182 },
        initiator_task_tag: ITT,
        cmd_sn: CMD_SN,
        exp_stat_sn: EXP_STAT_SN,
    };
    check(
        "46820000 00000000 0000000000000000 11121314 81820000 31323334 41424344
         00000000 00000000 0000000000000000",
        "7f7f0000 ffffffff 0000000000000000 ffffffff ffff0000 ffffffff ffffffff
         00000000 00000000 0000000000000000",
        request,
    );
    check(
        "06800000 00000000 0000000000000000 11121314 00000000 31323334 41424344
         00000000 00000000 0000000000000000",
        "7f7f0000 ffffffff 0000000000000000 ffffffff 00000000 ffffffff ffffffff
         00000000 00000000 0000000000000000",
        LogoutRequest { immediate: false, reason: LogoutReason::CloseSession, ..request },
    );
}

#[test]
fn logout_response() {
    check(
        "26800300 00000000 0000000000000000 11121314 00000000 51525354 61626364
         71727374 00000000 81828384 00000000",
        "3f00ff00 ffffffff 0000000000000000 ffffffff 00000000 ffffffff ffffffff
         ffffffff 00000000 ffffffff 00000000",
        LogoutResponse {
            response: LogoutResponseCode::CleanupFailed,
            initiator_task_tag: ITT,
            stat_sn: STAT_SN,
            exp_cmd_sn: EXP_CMD_SN,
            max_cmd_sn: MAX_CMD_SN,
            time2wait: 0x8182,
            time2retain: 0x8384,
        },
    );
}

#[test]
fn snack_request() {
    let snack = |kind| SnackRequest { kind, exp_stat_sn: EXP_STAT_SN };
    check(
        "10800000 00000000 0000000000000000 11121314 ffffffff 00000000 41424344
         00000000 00000000 81828384 91929394",
        "3f0f0000 ffffffff 0000000000000000 ffffffff 00000000 00000000 ffffffff
         00000000 00000000 ffffffff ffffffff",
        snack(SnackKind::Data {
            initiator_task_tag: ITT,
            beg_run: 0x8182_8384,
            run_length: 0x9192_9394,
        }),
    );
    check(
        "10810000 00000000 0000000000000000 ffffffff ffffffff 00000000 41424344
         00000000 00000000 81828384 91929394",
        "3f0f0000 ffffffff 0000000000000000 00000000 00000000 00000000 ffffffff
         00000000 00000000 ffffffff ffffffff",
        snack(SnackKind::Status { beg_run: StatSn(0x8182_8384), run_length: 0x9192_9394 }),
    );
    check(
        "10820000 00000000 0102030405060708 ffffffff 21222324 00000000 41424344
         00000000 00000000 81828384 00000000",
        "3f0f0000 ffffffff ffffffffffffffff 00000000 ffffffff 00000000 ffffffff
         00000000 00000000 ffffffff 00000000",
        snack(SnackKind::DataAck { transfer: TRANSFER, beg_run: DataSn(0x8182_8384) }),
    );
    check(
        "10830000 00000000 0000000000000000 11121314 21222324 00000000 41424344
         00000000 00000000 00000000 00000000",
        "3f0f0000 ffffffff 0000000000000000 ffffffff ffffffff 00000000 ffffffff
         00000000 00000000 00000000 00000000",
        snack(SnackKind::ResegmentedData { initiator_task_tag: ITT, snack_tag: 0x2122_2324 }),
    );
}

#[test]
fn r2t() {
    check(
        "31800000 00000000 0102030405060708 11121314 21222324 51525354 61626364
         71727374 81828384 11929394 21a2a3a4",
        "3f000000 ffffffff ffffffffffffffff ffffffff ffffffff ffffffff ffffffff
         ffffffff ffffffff ffffffff ffffffff",
        R2t {
            lun: LUN,
            initiator_task_tag: ITT,
            target_transfer_tag: TTT,
            stat_sn: STAT_SN,
            exp_cmd_sn: EXP_CMD_SN,
            max_cmd_sn: MAX_CMD_SN,
            r2t_sn: R2tSn(0x8182_8384),
            buffer_offset: 0x1192_9394,
            desired_data_transfer_length: 0x21a2_a3a4,
        },
    );
}

#[test]
fn async_message() {
    let message = |event| AsyncMessage {
        event,
        data_segment_length: 0x14,
        stat_sn: STAT_SN,
        exp_cmd_sn: EXP_CMD_SN,
        max_cmd_sn: MAX_CMD_SN,
    };
    let lun = |event: u8| {
        (
            format!(
                "32800000 00000014 0102030405060708 ffffffff 00000000 51525354 61626364
                 71727374 {event:02x}000000 00000000 00000000"
            ),
            "3f000000 ffffffff ffffffffffffffff 00000000 00000000 ffffffff ffffffff
             ffffffff ff000000 00000000 00000000",
        )
    };
    let parameters = |event: u8, values: &str, mask: &str| {
        (
            format!(
                "32800000 00000014 0000000000000000 ffffffff 00000000 51525354 61626364
                 71727374 {event:02x} {values} 00000000"
            ),
            format!(
                "3f000000 ffffffff 0000000000000000 00000000 00000000 ffffffff ffffffff
                 ffffffff ff {mask} 00000000"
            ),
        )
    };
    let (header, mask) = lun(0);
    check(&header, mask, message(AsyncEvent::Scsi { lun: LUN }));
    let (header, mask) = lun(5);
    check(&header, mask, message(AsyncEvent::TasksTerminated { lun: LUN }));
    let (header, mask) = parameters(1, "00 0000 0000 8182", "00 0000 0000 ffff");
    check(&header, &mask, message(AsyncEvent::LogoutRequested { seconds: 0x8182 }));
    let (header, mask) = parameters(2, "00 8182 8384 8586", "00 ffff ffff ffff");
    let event =
        AsyncEvent::ConnectionDropped { cid: 0x8182, time2wait: 0x8384, time2retain: 0x8586 };
    check(&header, &mask, message(event));
    let (header, mask) = parameters(3, "00 0000 8384 8586", "00 0000 ffff ffff");
    let event = AsyncEvent::SessionDropped { time2wait: 0x8384, time2retain: 0x8586 };
    check(&header, &mask, message(event));
    let (header, mask) = parameters(4, "00 0000 0000 8182", "00 0000 0000 ffff");
    check(&header, &mask, message(AsyncEvent::NegotiationRequested { seconds: 0x8182 }));
    let (header, mask) = parameters(255, "99 8182 8384 8586", "ff ffff ffff ffff");
    let event =
        AsyncEvent::Vendor { event: 255, vcode: 0x99, parameters: [0x8182, 0x8384, 0x8586] };
    check(&header, &mask, message(event));
    let (header, mask) = parameters(247, "00 0000 0000 0000", "00 0000 0000 0000");
    check(&header, &mask, message(AsyncEvent::Unassigned(247)));
}

#[test]
fn reject() {
    check(
        "3f800400 00000030 0000000000000000 ffffffff 00000000 51525354 61626364
         71727374 81828384 00000000 00000000",
        "3f00ff00 ffffffff 0000000000000000 00000000 00000000 ffffffff ffffffff
         ffffffff ffffffff 00000000 00000000",
        Reject {
            reason: RejectReason::ProtocolError,
            data_segment_length: 48,
            stat_sn: STAT_SN,
            exp_cmd_sn: EXP_CMD_SN,
            max_cmd_sn: MAX_CMD_SN,
            data_sn: DataSn(0x8182_8384),
        },
    );
}

#[test]
fn nop_out() {
    let nop = |kind| NopOut {
        kind,
        data_segment_length: 0x010203,
        cmd_sn: CMD_SN,
        exp_stat_sn: EXP_STAT_SN,
    };
    check(
        "00800000 00010203 0000000000000000 11121314 ffffffff 31323334 41424344
         00000000 00000000 0000000000000000",
        "7f000000 ffffffff 0000000000000000 ffffffff ffffffff ffffffff ffffffff
         00000000 00000000 0000000000000000",
        nop(NopOutKind::Ping { immediate: false, initiator_task_tag: ITT }),
    );
    check(
        "40800000 00010203 0102030405060708 ffffffff 21222324 31323334 41424344
         00000000 00000000 0000000000000000",
        "7f000000 ffffffff ffffffffffffffff ffffffff ffffffff ffffffff ffffffff
         00000000 00000000 0000000000000000",
        nop(NopOutKind::PingResponse(TRANSFER)),
    );
    check(
        "40800000 00010203 0102030405060708 ffffffff ffffffff 31323334 41424344
         00000000 00000000 0000000000000000",
        "7f000000 ffffffff ffffffffffffffff ffffffff ffffffff ffffffff ffffffff
         00000000 00000000 0000000000000000",
        nop(NopOutKind::Update { lun: LUN }),
    );
}

#[test]
fn nop_in() {
    let nop = |kind, data_segment_length| NopIn {
        kind,
        data_segment_length,
        stat_sn: STAT_SN,
        exp_cmd_sn: EXP_CMD_SN,
        max_cmd_sn: MAX_CMD_SN,
    };
    check(
        "20800000 00010203 0000000000000000 11121314 ffffffff 51525354 61626364
         71727374 00000000 00000000 00000000",
        "3f000000 ffffffff 0000000000000000 ffffffff ffffffff ffffffff ffffffff
         ffffffff 00000000 00000000 00000000",
        nop(NopInKind::PingResponse(ITT), 0x010203),
    );
    check(
        "20800000 00000000 0102030405060708 ffffffff 21222324 51525354 61626364
         71727374 00000000 00000000 00000000",
        "3f000000 ffffffff ffffffffffffffff ffffffff ffffffff ffffffff ffffffff
         ffffffff 00000000 00000000 00000000",
        nop(NopInKind::Ping(TRANSFER), 0),
    );
    check(
        "20800000 00000000 0000000000000000 ffffffff ffffffff 51525354 61626364
         71727374 00000000 00000000 00000000",
        "3f000000 ffffffff 0000000000000000 ffffffff ffffffff ffffffff ffffffff
         ffffffff 00000000 00000000 00000000",
        nop(NopInKind::Update, 0),
    );
}
