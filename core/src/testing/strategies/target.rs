//! What a target sends.

use proptest::option;
use proptest::prelude::*;

use super::initiator::stages;
use super::parts::*;
use crate::R2tSn;
use crate::wire::*;

/// Any PDU of a target.
pub fn target_pdu() -> impl Strategy<Value = TargetPdu> {
    prop_oneof![
        nop_in().prop_map(TargetPdu::from),
        scsi_response().prop_map(TargetPdu::from),
        task_management_response().prop_map(TargetPdu::from),
        login_response().prop_map(TargetPdu::from),
        text_response().prop_map(TargetPdu::from),
        data_in().prop_map(TargetPdu::from),
        logout_response().prop_map(TargetPdu::from),
        r2t().prop_map(TargetPdu::from),
        async_message().prop_map(TargetPdu::from),
        reject().prop_map(TargetPdu::from),
    ]
}

prop_compose! {
    /// NOP-In (RFC 7143 section 11.19).
    pub fn nop_in()(
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
    /// SCSI Response (section 11.4), with room for SenseLength.
    pub fn scsi_response()(
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
    /// Task Management Function Response (section 11.6).
    pub fn task_management_response()(
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
    /// Login Response (section 11.13).
    pub fn login_response()(
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
    /// Text Response (section 11.11).
    pub fn text_response()(
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
    /// SCSI Data-In (section 11.7).
    pub fn data_in()(
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
    /// Logout Response (section 11.15).
    pub fn logout_response()(
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
    /// Ready To Transfer (section 11.8).
    pub fn r2t()(
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
    /// Asynchronous Message (section 11.9).
    pub fn async_message()(
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
    /// Reject (section 11.17).
    pub fn reject()(
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
