//! Every rule of [`FormatError`] is broken once, and the error names the rule.

use super::*;
use crate::{CmdSn, DataSn, InitiatorTaskTag, Lun, StatSn};

/// Numbers the variants. The match has no wildcard: a new variant does not compile until it is listed here.
macro_rules! variants {
    ($($variant:ident $fields:tt,)*) => {
        fn name(error: FormatError) -> &'static str {
            match error {
                $(FormatError::$variant $fields => stringify!($variant),)*
            }
        }

        const ALL: &[&str] = &[$(stringify!($variant)),*];
    };
}

variants! {
    UnassignedOpcode(_),
    VendorOpcode(_),
    WrongDirection(_),
    WrongOpcode(_),
    UnexpectedAhs(_),
    UnexpectedData(_),
    ReservedInitiatorTaskTag {},
    ReservedTargetTransferTag {},
    RangeWraps { .. },
    ReservedTaskAttribute(_),
    UnsolicitedDataWithoutWrite {},
    ImmediateDataWithoutWrite(_),
    LengthWithoutDirection(_),
    ImmediateDataTooLong { .. },
    NothingLeftToFollow {},
    ReservedScsiResponse(_),
    OverflowAndUnderflow {},
    BidiOverflowAndUnderflow {},
    CheckConditionWithoutSense {},
    SenseLengthCut {},
    StatusWithoutFinal {},
    StatusNotForDataIn(_),
    NothingDesired {},
    ReservedTaskManagementFunction(_),
    ReservedReferencedTaskTag {},
    TaskReassignNotImmediate {},
    ReservedStage(_),
    LoginInFullFeaturePhase {},
    StageNotForward { .. },
    TransitAndContinue {},
    ReservedSuccessDetail(_),
    FinalAndContinue {},
    NotFinalWithoutTag {},
    ReservedLogoutReason(_),
    ReservedLogoutResponse(_),
    ReservedSnackType(_),
    ReservedSnackTag(_),
    BothNopTags {},
    UnsolicitedNopData(_),
    NopOutNotImmediate {},
    AhsBeyondTotal { .. },
    AhsLength { .. },
    ReservedAhsType(_),
    RepeatedAhs(_),
    MissingBidiReadLength {},
    RejectWithoutHeader(_),
}

/// A header from its first 24 bytes in hex, zeros after them, then single bytes.
fn header(first: &str, patches: &[(usize, u8)]) -> Bhs {
    let mut bhs = [0; BHS_LEN];
    let mut digits = first.chars().filter_map(|c| c.to_digit(16));
    for byte in &mut bhs {
        let (Some(high), Some(low)) = (digits.next(), digits.next()) else { break };
        *byte = (high << 4 | low) as u8;
    }
    for (at, byte) in patches {
        bhs[*at] = *byte;
    }
    bhs
}

fn from_target(first: &str, patches: &[(usize, u8)]) -> FormatError {
    TargetPdu::parse(&header(first, patches)).unwrap_err()
}

fn from_initiator(first: &str, patches: &[(usize, u8)]) -> FormatError {
    InitiatorPdu::parse(&header(first, patches)).unwrap_err()
}

const NO_TAGS: &str = "00000000 00000000 ffffffff ffffffff";

fn command(read: bool, write: bool, total_ahs_length: AhsLength) -> ScsiCommand {
    ScsiCommand {
        immediate: false,
        is_final: true,
        read,
        write,
        attribute: TaskAttribute::Simple,
        priority: 0,
        total_ahs_length,
        data_segment_length: 0,
        lun: Lun::ZERO,
        initiator_task_tag: InitiatorTaskTag(1),
        expected_data_transfer_length: 0,
        cmd_sn: CmdSn(1),
        exp_stat_sn: StatSn(1),
        cdb: [0; 16],
    }
}

fn ahs(read: bool, write: bool, segments: &[u8]) -> FormatError {
    let command = command(read, write, AhsLength::from_bytes(segments.len()).unwrap());
    CommandAhs::parse(&command, segments).unwrap_err()
}

#[test]
fn every_rule_is_found() {
    use FormatError as E;
    let no_tags = |first: &str| std::format!("{first} {NO_TAGS}");
    let broken = [
        // Opcodes (F-07, F-08, F-09, F-18).
        (from_target("27", &[]), E::UnassignedOpcode(0x27)),
        (from_target("30", &[]), E::UnassignedOpcode(0x30)),
        (from_target("33", &[]), E::UnassignedOpcode(0x33)),
        (from_initiator("07", &[]), E::UnassignedOpcode(0x07)),
        (from_target("3c", &[]), E::VendorOpcode(0x3c)),
        (from_target("3e", &[]), E::VendorOpcode(0x3e)),
        (from_initiator("5c", &[]), E::VendorOpcode(0x1c)),
        (from_target("00", &[]), E::WrongDirection(0x00)),
        (from_target("10", &[]), E::WrongDirection(0x10)),
        (from_initiator("3f", &[]), E::WrongDirection(0x3f)),
        (DataIn::parse(&header("21", &[])).unwrap_err(), E::WrongOpcode(0x21)),
        // Lengths (F-03, F-04).
        (from_target("25800000 01000000", &[]), E::UnexpectedAhs(1)),
        (from_target("31800000 ff000000", &[]), E::UnexpectedAhs(255)),
        (from_initiator("05800000 02000000", &[]), E::UnexpectedAhs(2)),
        (from_target("31800000 00ffffff", &[]), E::UnexpectedData(0xff_ffff)),
        (from_target("22800000 00ffffff", &[]), E::UnexpectedData(0xff_ffff)),
        (from_target("26800000 00ffffff", &[]), E::UnexpectedData(0xff_ffff)),
        (from_initiator("02850000 00000001", &[]), E::UnexpectedData(1)),
        (from_initiator("06800000 00000001", &[]), E::UnexpectedData(1)),
        (from_initiator("10800000 00000001", &[]), E::UnexpectedData(1)),
        // Tags.
        (from_target(&no_tags("21800000 00000000"), &[]), E::ReservedInitiatorTaskTag),
        (from_target(&no_tags("25800000 00000000"), &[]), E::ReservedInitiatorTaskTag),
        (
            from_initiator("01800000 00000000 00000000 00000000 ffffffff", &[]),
            E::ReservedInitiatorTaskTag,
        ),
        (from_initiator(&no_tags("43810000 00000000"), &[]), E::ReservedInitiatorTaskTag),
        (
            from_target("31800000 00000000 00000000 00000000 00000001 ffffffff", &[(47, 1)]),
            E::ReservedTargetTransferTag,
        ),
        (from_initiator(&no_tags("10820000 00000000"), &[]), E::ReservedTargetTransferTag),
        // Ranges (D-07, W-12).
        (
            from_target("25800000 00000200", &[(40, 0xff), (41, 0xff), (42, 0xfe)]),
            E::RangeWraps { offset: 0xffff_fe00, length: 512 },
        ),
        (
            from_initiator("05800000 00000100", &[(40, 0xff), (41, 0xff), (42, 0xff)]),
            E::RangeWraps { offset: 0xffff_ff00, length: 256 },
        ),
        (
            from_target("31800000", &[(40, 0x80), (44, 0x80)]),
            E::RangeWraps { offset: 0x8000_0000, length: 0x8000_0000 },
        ),
        // SCSI Command.
        (from_initiator("01850000", &[]), E::ReservedTaskAttribute(5)),
        (from_initiator("01010000", &[]), E::UnsolicitedDataWithoutWrite),
        (from_initiator("01c10000 00000200", &[(22, 2)]), E::ImmediateDataWithoutWrite(512)),
        (from_initiator("01810000", &[(22, 2)]), E::LengthWithoutDirection(512)),
        (
            from_initiator("01a10000 00000201", &[(22, 2)]),
            E::ImmediateDataTooLong { immediate: 513, expected: 512 },
        ),
        (from_initiator("01210000 00000200", &[(22, 2)]), E::NothingLeftToFollow),
        // SCSI Response and Data-In (R-03, R-04, R-07, R-08, D-03, D-04, D-24).
        (from_target("21800200", &[]), E::ReservedScsiResponse(0x02)),
        (from_target("21807f00", &[]), E::ReservedScsiResponse(0x7f)),
        (from_target("21860000", &[]), E::OverflowAndUnderflow),
        (from_target("25870000", &[]), E::OverflowAndUnderflow),
        (from_target("21980000", &[]), E::BidiOverflowAndUnderflow),
        (from_target("21800002", &[]), E::CheckConditionWithoutSense),
        (from_target("21800002 00000001", &[]), E::SenseLengthCut),
        (from_target("32800000 00000001", &[]), E::SenseLengthCut),
        (from_target("25010000", &[]), E::StatusWithoutFinal),
        (from_target("25810002", &[]), E::StatusNotForDataIn(0x02)),
        (from_target("25810008", &[]), E::StatusNotForDataIn(0x08)),
        // R2T (W-10).
        (from_target("31800000", &[]), E::NothingDesired),
        // Task management.
        (from_initiator("02800000", &[]), E::ReservedTaskManagementFunction(0)),
        (from_initiator("428d0000", &[]), E::ReservedTaskManagementFunction(13)),
        (
            from_initiator("42810000 00000000 00000000 00000000 00000001 ffffffff", &[]),
            E::ReservedReferencedTaskTag,
        ),
        (
            from_initiator("42880000 00000000 00000000 00000000 00000001 ffffffff", &[]),
            E::ReservedReferencedTaskTag,
        ),
        (from_initiator("02880000", &[]), E::TaskReassignNotImmediate),
        // Login (L-06, L-09, L-10, L-45).
        (from_target("23080000", &[]), E::ReservedStage(2)),
        (from_target("23860000", &[]), E::ReservedStage(2)),
        (from_initiator("43880000", &[]), E::ReservedStage(2)),
        (from_initiator("430c0000", &[]), E::LoginInFullFeaturePhase),
        (from_target("23840000", &[]), E::StageNotForward { current: 1, next: 0 }),
        (from_target("23850000", &[]), E::StageNotForward { current: 1, next: 1 }),
        (from_target("23c70000", &[]), E::TransitAndContinue),
        (from_initiator("43c70000", &[]), E::TransitAndContinue),
        (from_target("23870000", &[(37, 7)]), E::ReservedSuccessDetail(7)),
        // Text.
        (from_target("24c00000", &[]), E::FinalAndContinue),
        (from_initiator("04c00000", &[]), E::FinalAndContinue),
        (
            from_target("24000000 00000000 00000000 00000000 00000001 ffffffff", &[]),
            E::NotFinalWithoutTag,
        ),
        // Logout, SNACK.
        (from_initiator("06830000", &[]), E::ReservedLogoutReason(3)),
        (from_target("26800400", &[]), E::ReservedLogoutResponse(4)),
        (from_initiator("10840000", &[]), E::ReservedSnackType(4)),
        (from_initiator("10830000", &[]), E::ReservedSnackTag(0)),
        (
            from_initiator("10830000 00000000 00000000 00000000 00000001 ffffffff", &[]),
            E::ReservedSnackTag(0xffff_ffff),
        ),
        // NOP (N-03, N-04).
        (from_target("20800000", &[]), E::BothNopTags),
        (from_initiator("40800000", &[]), E::BothNopTags),
        (from_target(&no_tags("20800000 00000004"), &[]), E::UnsolicitedNopData(4)),
        (from_target(&no_tags("20800000 00000004"), &[(23, 0)]), E::UnsolicitedNopData(4)),
        (from_initiator(&no_tags("00800000 00000000"), &[]), E::NopOutNotImmediate),
        // AHS (F-06).
        (ahs(true, false, &[0, 9, 1, 0]), E::AhsBeyondTotal { segment: 12, left: 4 }),
        (ahs(true, false, &[0, 1, 1, 0]), E::AhsLength { ahs_type: 1, length: 1 }),
        (ahs(true, true, &[0, 1, 2, 0]), E::AhsLength { ahs_type: 2, length: 1 }),
        (ahs(true, false, &[0, 1, 0xff, 0]), E::ReservedAhsType(0x3f)),
        (ahs(false, false, &[0, 2, 1, 0, 9, 0, 0, 0, 0, 2, 1, 0, 9, 0, 0, 0]), E::RepeatedAhs(1)),
        (ahs(true, true, &[0, 5, 2, 0, 0, 0, 0, 1, 0, 5, 2, 0, 0, 0, 0, 1]), E::RepeatedAhs(2)),
        (ahs(true, true, &[]), E::MissingBidiReadLength),
        // Reject (J-08).
        (from_target("3f800900", &[]), E::RejectWithoutHeader(0)),
        (from_target("3f800900 0000002f", &[]), E::RejectWithoutHeader(47)),
    ];
    for (found, expected) in &broken {
        assert_eq!(found, expected);
        assert!(found.section().starts_with("11.") || found.section() == "7.7", "{found:?}");
        assert!(!std::format!("{found}").is_empty());
    }
    for rule in ALL {
        assert!(broken.iter().any(|(found, _)| name(*found) == *rule), "{rule} is not broken here");
    }
}

#[test]
fn the_offending_value_is_named() {
    for (error, text) in [
        (FormatError::UnexpectedAhs(5), "TotalAHSLength is 5 in a PDU that has no AHS"),
        (
            FormatError::RangeWraps { offset: 7, length: 9 },
            "Buffer Offset 7 plus length 9 exceeds 32 bits",
        ),
        (FormatError::StatusNotForDataIn(2), "status 0x02 is not allowed in Data-In"),
        (
            FormatError::StageNotForward { current: 1, next: 0 },
            "login stage 0 does not come after stage 1",
        ),
        (FormatError::ReservedSnackTag(0), "SNACK Tag 0x0 is reserved"),
        (FormatError::AhsLength { ahs_type: 2, length: 9 }, "AHSLength 9 does not fit AHSType 2"),
    ] {
        assert_eq!(std::format!("{error}"), text);
    }
}

#[test]
fn a_failed_login_has_no_stages() {
    // L-28: T, C, CSG and NSG are reserved when Status-Class is not 0.
    let bhs = header("23ff0000", &[(36, 2), (37, 1)]);
    let response = LoginResponse::parse(&bhs).unwrap();
    assert_eq!(response.outcome, LoginOutcome::Refused(LoginStatus::AUTHENTICATION_FAILURE));
}

#[test]
fn a_failed_command_has_no_status() {
    // with Response 0x01 all of these fields are undefined.
    let bhs = header("219e0102 00000000", &[(36, 9), (40, 9), (44, 9)]);
    let response = ScsiResponse::parse(&bhs).unwrap();
    assert_eq!(response.response, ScsiResponseCode::TargetFailure);
}

#[test]
fn residual_flags_without_status_are_ignored() {
    let data_in = DataIn::parse(&header("25860000", &[(47, 1)])).unwrap();
    assert_eq!(data_in.status, None);
    let no_flags = ScsiResponse::parse(&header("21800000", &[(47, 9)])).unwrap();
    let ScsiResponseCode::CompletedAtTarget(completion) = no_flags.response else { panic!() };
    assert_eq!(completion.residual, Residual::None);
}

#[test]
fn an_a_bit_without_a_tag_asks_for_nothing() {
    // D-21.
    let bhs = header("25c00000 00000000 11111111 11111111 00000001 ffffffff", &[]);
    assert_eq!(DataIn::parse(&bhs).unwrap().acknowledge, None);
}

#[test]
fn unknown_codes_that_must_be_delivered_are() {
    let response = TaskManagementResponse::parse(&header("22800800", &[])).unwrap(); // T-06
    assert_eq!(response.response, TaskManagementResponseCode::Other(8));
    let message = AsyncMessage::parse(&header("32800000", &[(36, 6), (43, 1)])).unwrap(); // E-11
    assert_eq!(message.event, AsyncEvent::Unassigned(6));
    let reject = Reject::parse(&header("3f805500 00000030", &[])).unwrap(); // J-07
    assert_eq!(reject.reason, RejectReason::Other(0x55));
    let response = ScsiResponse::parse(&header("21808099", &[])).unwrap();
    assert_eq!(response.response, ScsiResponseCode::Other(0x80));
    let response = LoginResponse::parse(&header("23000000", &[(36, 0x0f), (37, 3)])).unwrap();
    assert_eq!(response.outcome.status(), LoginStatus { class: 0x0f, detail: 3 }); // L-22
}

#[test]
fn a_zero_length_data_in_is_legal() {
    // D-11.
    let data_in = DataIn::parse(&header("25800000", &[])).unwrap();
    assert_eq!((data_in.data_segment_length, data_in.data_sn), (0, DataSn(0)));
}
