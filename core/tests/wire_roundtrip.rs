//! Every meaning survives the wire, and no 48 bytes can harm the reader.

use core::fmt::Debug;

use iscsi_core::wire::*;
use iscsi_core::{CmdSn, DataSn, InitiatorTaskTag, Lun, R2tSn, StatSn, TargetTransferTag};
use proptest::option;
use proptest::prelude::*;

fn number() -> impl Strategy<Value = u32> {
    prop_oneof![any::<u32>(), Just(0), Just(1), Just(0x7fff_ffff), Just(u32::MAX)]
}

fn cmd_sn() -> impl Strategy<Value = CmdSn> {
    number().prop_map(CmdSn)
}

fn stat_sn() -> impl Strategy<Value = StatSn> {
    number().prop_map(StatSn)
}

fn data_sn() -> impl Strategy<Value = DataSn> {
    number().prop_map(DataSn)
}

fn task_tag() -> impl Strategy<Value = InitiatorTaskTag> {
    (0..u32::MAX).prop_map(InitiatorTaskTag)
}

fn lun() -> impl Strategy<Value = Lun> {
    any::<[u8; 8]>().prop_map(Lun::from_bytes)
}

fn length() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), 0..=MAX_DATA_SEGMENT_LENGTH, Just(MAX_DATA_SEGMENT_LENGTH)]
}

/// An offset and a length that do not wrap.
fn range() -> impl Strategy<Value = (u32, u32)> {
    length().prop_flat_map(|length| (0..=u32::MAX - length, Just(length)))
}

fn transfer() -> impl Strategy<Value = TransferTag> {
    (lun(), 0..u32::MAX)
        .prop_map(|(lun, tag)| TransferTag { lun, target_transfer_tag: TargetTransferTag(tag) })
}

fn residual() -> impl Strategy<Value = Residual> {
    prop_oneof![
        Just(Residual::None),
        number().prop_map(Residual::Overflow),
        number().prop_map(Residual::Underflow),
    ]
}

fn isid() -> impl Strategy<Value = Isid> {
    any::<[u8; 6]>().prop_map(Isid::from_bytes)
}

prop_compose! {
    fn nop_out()(
        kind in prop_oneof![
            (any::<bool>(), task_tag()).prop_map(|(immediate, initiator_task_tag)| {
                NopOutKind::Ping { immediate, initiator_task_tag }
            }),
            transfer().prop_map(NopOutKind::PingResponse),
            lun().prop_map(|lun| NopOutKind::Update { lun }),
        ],
        data_segment_length in length(),
        cmd_sn in cmd_sn(),
        exp_stat_sn in stat_sn(),
    ) -> NopOut {
        NopOut { kind, data_segment_length, cmd_sn, exp_stat_sn }
    }
}

prop_compose! {
    fn scsi_command()(
        flags in prop_oneof![
            Just((true, false, false)), // F, R, W
            Just((true, true, false)),
            Just((true, false, true)),
            Just((true, true, true)),
            Just((false, false, true)),
            Just((false, true, true)),
        ],
        data_segment_length in 0..MAX_DATA_SEGMENT_LENGTH,
        more in 1..=u32::MAX - MAX_DATA_SEGMENT_LENGTH,
        immediate: bool,
        attribute in (0u8..5).prop_map(|code| TaskAttribute::from_byte(code).unwrap()),
        priority in 0u8..16,
        total_ahs_length in any::<u8>().prop_map(AhsLength),
        lun in lun(),
        initiator_task_tag in task_tag(),
        cmd_sn in cmd_sn(),
        exp_stat_sn in stat_sn(),
        cdb: [u8; 16],
    ) -> ScsiCommand {
        let (is_final, read, write) = flags;
        let data_segment_length = if write { data_segment_length } else { 0 };
        let expected = if read || write { data_segment_length + more } else { 0 };
        ScsiCommand {
            immediate,
            is_final,
            read,
            write,
            attribute,
            priority,
            total_ahs_length,
            data_segment_length,
            lun,
            initiator_task_tag,
            expected_data_transfer_length: expected,
            cmd_sn,
            exp_stat_sn,
            cdb,
        }
    }
}

fn task_management_function() -> impl Strategy<Value = TaskManagementFunction> {
    use TaskManagementFunction as F;
    prop_oneof![
        (lun(), task_tag(), cmd_sn()).prop_map(|(lun, referenced_task_tag, ref_cmd_sn)| {
            F::AbortTask { lun, referenced_task_tag, ref_cmd_sn }
        }),
        lun().prop_map(|lun| F::AbortTaskSet { lun }),
        lun().prop_map(|lun| F::ClearAca { lun }),
        lun().prop_map(|lun| F::ClearTaskSet { lun }),
        lun().prop_map(|lun| F::LogicalUnitReset { lun }),
        Just(F::TargetWarmReset),
        Just(F::TargetColdReset),
        (task_tag(), data_sn()).prop_map(|(referenced_task_tag, exp_data_sn)| {
            F::TaskReassign { referenced_task_tag, exp_data_sn }
        }),
        (lun(), task_tag(), cmd_sn()).prop_map(|(lun, referenced_task_tag, ref_cmd_sn)| {
            F::QueryTask { lun, referenced_task_tag, ref_cmd_sn }
        }),
        lun().prop_map(|lun| F::QueryTaskSet { lun }),
        Just(F::ItNexusReset),
        lun().prop_map(|lun| F::QueryAsynchronousEvent { lun }),
    ]
}

prop_compose! {
    fn task_management_request()(
        immediate: bool,
        function in task_management_function(),
        initiator_task_tag in task_tag(),
        cmd_sn in cmd_sn(),
        exp_stat_sn in stat_sn(),
    ) -> TaskManagementRequest {
        let must_be = matches!(function, TaskManagementFunction::TaskReassign { .. });
        TaskManagementRequest {
            immediate: immediate || must_be,
            function,
            initiator_task_tag,
            cmd_sn,
            exp_stat_sn,
        }
    }
}

/// CSG, NSG with T, C.
fn stages() -> impl Strategy<Value = (Stage, Option<Stage>, bool)> {
    use Stage::{FullFeaturePhase, LoginOperationalNegotiation, SecurityNegotiation};
    prop_oneof![
        Just((SecurityNegotiation, None, false)),
        Just((SecurityNegotiation, None, true)),
        Just((SecurityNegotiation, Some(LoginOperationalNegotiation), false)),
        Just((SecurityNegotiation, Some(FullFeaturePhase), false)),
        Just((LoginOperationalNegotiation, None, false)),
        Just((LoginOperationalNegotiation, None, true)),
        Just((LoginOperationalNegotiation, Some(FullFeaturePhase), false)),
    ]
}

prop_compose! {
    fn login_request()(
        (current_stage, next_stage, is_continued) in stages(),
        version_max: u8,
        version_min: u8,
        data_segment_length in length(),
        isid in isid(),
        tsih: u16,
        initiator_task_tag in task_tag(),
        cid: u16,
        cmd_sn in cmd_sn(),
        exp_stat_sn in stat_sn(),
    ) -> LoginRequest {
        LoginRequest {
            current_stage,
            next_stage,
            is_continued,
            version_max,
            version_min,
            data_segment_length,
            isid,
            tsih,
            initiator_task_tag,
            cid,
            cmd_sn,
            exp_stat_sn,
        }
    }
}

prop_compose! {
    fn text_request()(
        immediate: bool,
        (is_final, is_continued) in
            prop_oneof![Just((true, false)), Just((false, false)), Just((false, true))],
        transfer in option::of(transfer()),
        data_segment_length in length(),
        initiator_task_tag in task_tag(),
        cmd_sn in cmd_sn(),
        exp_stat_sn in stat_sn(),
    ) -> TextRequest {
        TextRequest {
            immediate,
            is_final,
            is_continued,
            transfer,
            data_segment_length,
            initiator_task_tag,
            cmd_sn,
            exp_stat_sn,
        }
    }
}

prop_compose! {
    fn data_out()(
        is_final: bool,
        transfer in option::of(transfer()),
        (buffer_offset, data_segment_length) in range(),
        initiator_task_tag in task_tag(),
        exp_stat_sn in stat_sn(),
        data_sn in data_sn(),
    ) -> DataOut {
        DataOut {
            is_final,
            transfer,
            data_segment_length,
            initiator_task_tag,
            exp_stat_sn,
            data_sn,
            buffer_offset,
        }
    }
}

prop_compose! {
    fn logout_request()(
        immediate: bool,
        reason in prop_oneof![
            Just(LogoutReason::CloseSession),
            any::<u16>().prop_map(|cid| LogoutReason::CloseConnection { cid }),
            any::<u16>().prop_map(|cid| LogoutReason::RemoveConnectionForRecovery { cid }),
        ],
        initiator_task_tag in task_tag(),
        cmd_sn in cmd_sn(),
        exp_stat_sn in stat_sn(),
    ) -> LogoutRequest {
        LogoutRequest { immediate, reason, initiator_task_tag, cmd_sn, exp_stat_sn }
    }
}

prop_compose! {
    fn snack_request()(
        kind in prop_oneof![
            (task_tag(), number(), number()).prop_map(|(initiator_task_tag, beg_run, run_length)| {
                SnackKind::Data { initiator_task_tag, beg_run, run_length }
            }),
            (stat_sn(), number())
                .prop_map(|(beg_run, run_length)| SnackKind::Status { beg_run, run_length }),
            (transfer(), data_sn())
                .prop_map(|(transfer, beg_run)| SnackKind::DataAck { transfer, beg_run }),
            (task_tag(), 1..u32::MAX).prop_map(|(initiator_task_tag, snack_tag)| {
                SnackKind::ResegmentedData { initiator_task_tag, snack_tag }
            }),
        ],
        exp_stat_sn in stat_sn(),
    ) -> SnackRequest {
        SnackRequest { kind, exp_stat_sn }
    }
}

prop_compose! {
    fn nop_in()(
        (kind, data_segment_length) in prop_oneof![
            (task_tag().prop_map(NopInKind::PingResponse), length()),
            (transfer().prop_map(NopInKind::Ping), Just(0)),
            (Just(NopInKind::Update), Just(0)),
        ],
        stat_sn in stat_sn(),
        exp_cmd_sn in cmd_sn(),
        max_cmd_sn in cmd_sn(),
    ) -> NopIn {
        NopIn { kind, data_segment_length, stat_sn, exp_cmd_sn, max_cmd_sn }
    }
}

prop_compose! {
    fn completion()(
        status in any::<u8>().prop_map(ScsiStatus::from_byte),
        status_qualifier: u16,
        residual in residual(),
        bidi_read_residual in residual(),
        exp_data_sn in data_sn(),
    ) -> Completion {
        Completion { status, status_qualifier, residual, bidi_read_residual, exp_data_sn }
    }
}

prop_compose! {
    fn scsi_response()(
        response in prop_oneof![
            completion().prop_map(ScsiResponseCode::CompletedAtTarget),
            Just(ScsiResponseCode::TargetFailure),
            (0x80..=u8::MAX).prop_map(ScsiResponseCode::Other),
        ],
        data_segment_length in 2..=MAX_DATA_SEGMENT_LENGTH,
        initiator_task_tag in task_tag(),
        snack_tag in option::of(any::<core::num::NonZeroU32>()),
        stat_sn in stat_sn(),
        exp_cmd_sn in cmd_sn(),
        max_cmd_sn in cmd_sn(),
    ) -> ScsiResponse {
        ScsiResponse {
            response,
            data_segment_length,
            initiator_task_tag,
            snack_tag,
            stat_sn,
            exp_cmd_sn,
            max_cmd_sn,
        }
    }
}

fn task_management_response_code() -> impl Strategy<Value = TaskManagementResponseCode> {
    use TaskManagementResponseCode as R;
    prop_oneof![
        Just(R::FunctionComplete),
        Just(R::TaskDoesNotExist),
        Just(R::LunDoesNotExist),
        Just(R::TaskStillAllegiant),
        Just(R::ReassignmentNotSupported),
        Just(R::FunctionNotSupported),
        Just(R::AuthorizationFailed),
        any::<[u8; 3]>().prop_map(|additional_response_information| {
            R::FunctionSucceeded { additional_response_information }
        }),
        Just(R::FunctionRejected),
        (8u8..255).prop_map(R::Other),
    ]
}

prop_compose! {
    fn task_management_response()(
        response in task_management_response_code(),
        initiator_task_tag in task_tag(),
        stat_sn in stat_sn(),
        exp_cmd_sn in cmd_sn(),
        max_cmd_sn in cmd_sn(),
    ) -> TaskManagementResponse {
        TaskManagementResponse { response, initiator_task_tag, stat_sn, exp_cmd_sn, max_cmd_sn }
    }
}

prop_compose! {
    fn login_progress()(
        (current_stage, next_stage, is_continued) in stages(),
        stat_sn in stat_sn(),
        exp_cmd_sn in cmd_sn(),
        max_cmd_sn in cmd_sn(),
    ) -> LoginProgress {
        LoginProgress { current_stage, next_stage, is_continued, stat_sn, exp_cmd_sn, max_cmd_sn }
    }
}

prop_compose! {
    fn login_response()(
        outcome in prop_oneof![
            login_progress().prop_map(LoginOutcome::Proceed),
            (1..=u8::MAX, any::<u8>())
                .prop_map(|(class, detail)| LoginOutcome::Refused(LoginStatus { class, detail })),
        ],
        version_max: u8,
        version_active: u8,
        data_segment_length in length(),
        isid in isid(),
        tsih: u16,
        initiator_task_tag in task_tag(),
    ) -> LoginResponse {
        LoginResponse {
            outcome,
            version_max,
            version_active,
            data_segment_length,
            isid,
            tsih,
            initiator_task_tag,
        }
    }
}

prop_compose! {
    fn text_response()(
        (transfer, is_continued) in prop_oneof![
            Just((None, false)),
            (transfer().prop_map(Some), any::<bool>()),
        ],
        data_segment_length in length(),
        initiator_task_tag in task_tag(),
        stat_sn in stat_sn(),
        exp_cmd_sn in cmd_sn(),
        max_cmd_sn in cmd_sn(),
    ) -> TextResponse {
        TextResponse {
            transfer,
            is_continued,
            data_segment_length,
            initiator_task_tag,
            stat_sn,
            exp_cmd_sn,
            max_cmd_sn,
        }
    }
}

prop_compose! {
    fn data_in_status()(
        code in prop::sample::select(&[0x00u8, 0x04, 0x10, 0x14][..]),
        residual in residual(),
        stat_sn in stat_sn(),
    ) -> DataInStatus {
        DataInStatus { status: ScsiStatus::from_byte(code), residual, stat_sn }
    }
}

prop_compose! {
    fn data_in()(
        is_final: bool,
        acknowledge in option::of(transfer()),
        status in option::of(data_in_status()),
        (buffer_offset, data_segment_length) in range(),
        initiator_task_tag in task_tag(),
        exp_cmd_sn in cmd_sn(),
        max_cmd_sn in cmd_sn(),
        data_sn in data_sn(),
    ) -> DataIn {
        DataIn {
            is_final: is_final || status.is_some(),
            acknowledge,
            status,
            data_segment_length,
            initiator_task_tag,
            exp_cmd_sn,
            max_cmd_sn,
            data_sn,
            buffer_offset,
        }
    }
}

prop_compose! {
    fn logout_response()(
        response in (0u8..4).prop_map(|code| LogoutResponseCode::from_byte(code).unwrap()),
        initiator_task_tag in task_tag(),
        stat_sn in stat_sn(),
        exp_cmd_sn in cmd_sn(),
        max_cmd_sn in cmd_sn(),
        time2wait: u16,
        time2retain: u16,
    ) -> LogoutResponse {
        LogoutResponse {
            response,
            initiator_task_tag,
            stat_sn,
            exp_cmd_sn,
            max_cmd_sn,
            time2wait,
            time2retain,
        }
    }
}

prop_compose! {
    fn r2t()(
        TransferTag { lun, target_transfer_tag } in transfer(),
        initiator_task_tag in task_tag(),
        stat_sn in stat_sn(),
        exp_cmd_sn in cmd_sn(),
        max_cmd_sn in cmd_sn(),
        r2t_sn in number().prop_map(R2tSn),
        (buffer_offset, desired_data_transfer_length) in
            (1..=u32::MAX).prop_flat_map(|length| (0..=u32::MAX - length, Just(length))),
    ) -> R2t {
        R2t {
            lun,
            initiator_task_tag,
            target_transfer_tag,
            stat_sn,
            exp_cmd_sn,
            max_cmd_sn,
            r2t_sn,
            buffer_offset,
            desired_data_transfer_length,
        }
    }
}

fn async_event() -> impl Strategy<Value = AsyncEvent> {
    prop_oneof![
        lun().prop_map(|lun| AsyncEvent::Scsi { lun }),
        any::<u16>().prop_map(|seconds| AsyncEvent::LogoutRequested { seconds }),
        any::<[u16; 3]>().prop_map(|[cid, time2wait, time2retain]| {
            AsyncEvent::ConnectionDropped { cid, time2wait, time2retain }
        }),
        any::<[u16; 2]>().prop_map(|[time2wait, time2retain]| {
            AsyncEvent::SessionDropped { time2wait, time2retain }
        }),
        any::<u16>().prop_map(|seconds| AsyncEvent::NegotiationRequested { seconds }),
        lun().prop_map(|lun| AsyncEvent::TasksTerminated { lun }),
        (248..=u8::MAX, any::<u8>(), any::<[u16; 3]>()).prop_map(|(event, vcode, parameters)| {
            AsyncEvent::Vendor { event, vcode, parameters }
        }),
        (6u8..248).prop_map(AsyncEvent::Unassigned),
    ]
}

prop_compose! {
    fn async_message()(
        event in async_event(),
        data_segment_length in length().prop_filter("no room for SenseLength", |len| *len != 1),
        stat_sn in stat_sn(),
        exp_cmd_sn in cmd_sn(),
        max_cmd_sn in cmd_sn(),
    ) -> AsyncMessage {
        AsyncMessage { event, data_segment_length, stat_sn, exp_cmd_sn, max_cmd_sn }
    }
}

prop_compose! {
    fn reject()(
        reason in any::<u8>().prop_map(RejectReason::from_byte),
        data_segment_length in 48..=MAX_DATA_SEGMENT_LENGTH,
        stat_sn in stat_sn(),
        exp_cmd_sn in cmd_sn(),
        max_cmd_sn in cmd_sn(),
        data_sn in data_sn(),
    ) -> Reject {
        Reject { reason, data_segment_length, stat_sn, exp_cmd_sn, max_cmd_sn, data_sn }
    }
}

/// `emit` leaves nothing of what was there before, `parse` finds the meaning, and through the enum too.
macro_rules! round_trips {
    ($($name:ident: $kind:ident in $pdu:ident;)*) => {
        proptest! {
            $(#[test]
            fn $name(pdu in super::$name()) {
                let (mut zeros, mut ones) = ([0; BHS_LEN], [0xff; BHS_LEN]);
                pdu.emit(&mut zeros);
                pdu.emit(&mut ones);
                prop_assert_eq!(zeros, ones);
                prop_assert_eq!($kind::parse(&zeros), Ok(pdu));
                prop_assert_eq!($pdu::parse(&zeros), Ok($pdu::$kind(pdu)));
                let mut again = [0xa5; BHS_LEN];
                $pdu::from(pdu).emit(&mut again);
                prop_assert_eq!(again, zeros);
                prop_assert_eq!(Opcode::of(&zeros), Some($pdu::from(pdu).opcode()));
            })*
        }
    };
}

mod round_trip {
    use super::*;

    round_trips! {
        nop_out: NopOut in InitiatorPdu;
        scsi_command: ScsiCommand in InitiatorPdu;
        task_management_request: TaskManagementRequest in InitiatorPdu;
        login_request: LoginRequest in InitiatorPdu;
        text_request: TextRequest in InitiatorPdu;
        data_out: DataOut in InitiatorPdu;
        logout_request: LogoutRequest in InitiatorPdu;
        snack_request: SnackRequest in InitiatorPdu;
        nop_in: NopIn in TargetPdu;
        scsi_response: ScsiResponse in TargetPdu;
        task_management_response: TaskManagementResponse in TargetPdu;
        login_response: LoginResponse in TargetPdu;
        text_response: TextResponse in TargetPdu;
        data_in: DataIn in TargetPdu;
        logout_response: LogoutResponse in TargetPdu;
        r2t: R2t in TargetPdu;
        async_message: AsyncMessage in TargetPdu;
        reject: Reject in TargetPdu;
    }
}

/// Any 48 bytes, with an assigned opcode, no AHS, a short data segment, and valid or reserved tags more often than by chance.
fn some_header() -> impl Strategy<Value = Bhs> {
    let opcode = prop_oneof![
        1 => any::<u8>(),
        9 => prop::sample::select(
            &[0u8, 1, 2, 3, 4, 5, 6, 0x10, 0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x31, 0x32, 0x3f][..],
        ),
    ];
    let ahs = prop_oneof![1 => any::<u8>(), 9 => Just(0)];
    let data = prop_oneof![length(), Just(0), Just(48)];
    let reserved = any::<[bool; 2]>();
    (any::<([u8; 32], [u8; 16])>(), opcode, ahs, data, reserved).prop_map(
        |((first, last), opcode, ahs, data, [no_task, no_transfer])| {
            let mut bhs = [0; BHS_LEN];
            bhs[..32].copy_from_slice(&first);
            bhs[32..].copy_from_slice(&last);
            bhs[0] = bhs[0] & 0xc0 | opcode;
            bhs[4..8].copy_from_slice(&data.to_be_bytes());
            bhs[4] = ahs;
            if no_task {
                bhs[16..20].fill(0xff);
            }
            if no_transfer {
                bhs[20..24].fill(0xff);
            }
            bhs
        },
    )
}

/// What parses means the same after emit and parse.
fn same_after_emit<T: Copy + PartialEq + Debug>(
    bhs: &Bhs,
    parse: fn(&Bhs) -> Result<T, FormatError>,
    emit: fn(&T, &mut Bhs),
) -> Result<bool, TestCaseError> {
    let Ok(pdu) = parse(bhs) else { return Ok(false) };
    let mut emitted = [0xa5; BHS_LEN];
    emit(&pdu, &mut emitted);
    prop_assert_eq!(parse(&emitted), Ok(pdu));
    prop_assert_eq!(total_ahs_length(&emitted), total_ahs_length(bhs));
    prop_assert_eq!(data_segment_length(&emitted), data_segment_length(bhs));
    Ok(true)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn any_header_is_refused_or_understood(bhs in some_header()) {
        let from_target = same_after_emit(&bhs, TargetPdu::parse, TargetPdu::emit)?;
        let from_initiator = same_after_emit(&bhs, InitiatorPdu::parse, InitiatorPdu::emit)?;
        prop_assert!(!(from_target && from_initiator));
    }

    #[test]
    fn any_header_prints_in_one_line(bhs in some_header()) {
        let line = Pretty::new(&bhs).to_string();
        prop_assert!(!line.contains('\n'));
        let lengths = format!("total_ahs_length={} data_segment_length={}",
            total_ahs_length(&bhs), data_segment_length(&bhs));
        prop_assert!(line.contains(&lengths), "{}", line);
    }
}

#[test]
fn all_zeros_and_all_ones_are_refused_as_target_pdus() {
    assert_eq!(TargetPdu::parse(&[0; BHS_LEN]), Err(FormatError::WrongDirection(0))); // F-18
    assert_eq!(TargetPdu::parse(&[0xff; BHS_LEN]), Err(FormatError::UnexpectedAhs(255)));
}
