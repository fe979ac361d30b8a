//! The code tables of RFC 7143 section 11 and RFC 7144, number by number.

use iscsi_core::wire::*;
use iscsi_core::{CmdSn, DataSn, InitiatorTaskTag, Lun, StatSn};

#[test]
fn scsi_statuses_have_the_codes_of_sam() {
    for (code, text) in [
        (0x00, "GOOD"),
        (0x02, "CHECK CONDITION"),
        (0x04, "CONDITION MET"),
        (0x08, "BUSY"),
        (0x10, "INTERMEDIATE"),
        (0x14, "INTERMEDIATE-CONDITION MET"),
        (0x18, "RESERVATION CONFLICT"),
        (0x22, "COMMAND TERMINATED"),
        (0x28, "TASK SET FULL"),
        (0x30, "ACA ACTIVE"),
        (0x40, "TASK ABORTED"),
        (0x41, "0x41"),
    ] {
        let status = ScsiStatus::from_byte(code);
        assert_eq!((status.to_byte(), status.to_string().as_str()), (code, text));
        assert_eq!(status.fits_data_in(), [0x00, 0x04, 0x10, 0x14].contains(&code), "{text}");
    }
}

#[test]
fn reject_reasons_have_the_codes_of_the_rfc() {
    use RejectReason as R;
    for (code, reason, may_resend) in [
        (0x01, R::Other(0x01), false),
        (0x02, R::DataDigestError, true),
        (0x03, R::SnackReject, true),
        (0x04, R::ProtocolError, false),
        (0x05, R::CommandNotSupported, false),
        (0x06, R::ImmediateCommandReject, true),
        (0x07, R::TaskInProgress, false),
        (0x08, R::InvalidDataAck, false),
        (0x09, R::InvalidPduField, false),
        (0x0a, R::LongOperationReject, true),
        (0x0b, R::NegotiationReset, false),
        (0x0c, R::WaitingForLogout, false),
        (0x0d, R::Other(0x0d), false),
    ] {
        assert_eq!(R::from_byte(code), reason);
        assert_eq!((reason.to_byte(), reason.may_resend()), (code, may_resend));
    }
}

#[test]
fn task_attributes_have_the_codes_of_the_rfc() {
    use TaskAttribute::{Aca, HeadOfQueue, Ordered, Simple, Untagged};
    let all = [Untagged, Simple, Ordered, HeadOfQueue, Aca];
    assert_eq!(all.map(TaskAttribute::to_byte), [0, 1, 2, 3, 4]);
    assert_eq!(TaskAttribute::from_byte(5), None);
}

#[test]
fn login_statuses_have_the_codes_of_the_rfc() {
    for (class, detail, text) in [
        (0, 0x00, "Success (0x0000)"),
        (1, 0x01, "Target moved temporarily (0x0101)"),
        (1, 0x02, "Target moved permanently (0x0102)"),
        (2, 0x00, "Initiator error (0x0200)"),
        (2, 0x01, "Authentication failure (0x0201)"),
        (2, 0x02, "Authorization failure (0x0202)"),
        (2, 0x03, "Not found (0x0203)"),
        (2, 0x04, "Target removed (0x0204)"),
        (2, 0x05, "Unsupported version (0x0205)"),
        (2, 0x06, "Too many connections (0x0206)"),
        (2, 0x07, "Missing parameter (0x0207)"),
        (2, 0x08, "Can't include in session (0x0208)"),
        (2, 0x09, "Session type not supported (0x0209)"),
        (2, 0x0a, "Session does not exist (0x020a)"),
        (2, 0x0b, "Invalid during login (0x020b)"),
        (3, 0x00, "Target error (0x0300)"),
        (3, 0x01, "Service unavailable (0x0301)"),
        (3, 0x02, "Out of resources (0x0302)"),
        (1, 0x03, "Redirection (0x0103)"),
        (2, 0x0c, "Initiator error (0x020c)"),
        (0x0f, 0x10, "Unknown class (0x0f10)"),
    ] {
        assert_eq!(LoginStatus { class, detail }.to_string(), text);
    }
}

#[test]
fn task_management_functions_have_the_codes_of_the_rfcs() {
    use TaskManagementFunction as F;
    let (lun, tag) = (Lun::ZERO, InitiatorTaskTag(1));
    for (code, function, name) in [
        (1, F::AbortTask { lun, referenced_task_tag: tag, ref_cmd_sn: CmdSn(0) }, "ABORT TASK"),
        (2, F::AbortTaskSet { lun }, "ABORT TASK SET"),
        (3, F::ClearAca { lun }, "CLEAR ACA"),
        (4, F::ClearTaskSet { lun }, "CLEAR TASK SET"),
        (5, F::LogicalUnitReset { lun }, "LOGICAL UNIT RESET"),
        (6, F::TargetWarmReset, "TARGET WARM RESET"),
        (7, F::TargetColdReset, "TARGET COLD RESET"),
        (8, F::TaskReassign { referenced_task_tag: tag, exp_data_sn: DataSn(0) }, "TASK REASSIGN"),
        (9, F::QueryTask { lun, referenced_task_tag: tag, ref_cmd_sn: CmdSn(0) }, "QUERY TASK"),
        (10, F::QueryTaskSet { lun }, "QUERY TASK SET"),
        (11, F::ItNexusReset, "I_T NEXUS RESET"),
        (12, F::QueryAsynchronousEvent { lun }, "QUERY ASYNCHRONOUS EVENT"),
    ] {
        assert_eq!((function.to_byte(), function.to_string().as_str()), (code, name));
    }
}

#[test]
fn task_management_responses_have_the_codes_of_the_rfcs() {
    use TaskManagementResponseCode as Code;
    let information = Code::FunctionSucceeded { additional_response_information: [1, 2, 3] };
    for (code, response, text) in [
        (0, Code::FunctionComplete, "Function complete"),
        (1, Code::TaskDoesNotExist, "Task does not exist"),
        (2, Code::LunDoesNotExist, "LUN does not exist"),
        (3, Code::TaskStillAllegiant, "Task still allegiant"),
        (4, Code::ReassignmentNotSupported, "Task allegiance reassignment not supported"),
        (5, Code::FunctionNotSupported, "Task management function not supported"),
        (6, Code::AuthorizationFailed, "Function authorization failed"),
        (7, information, "Function succeeded"),
        (8, Code::Other(8), "unassigned response 8"),
        (254, Code::Other(254), "unassigned response 254"),
        (255, Code::FunctionRejected, "Function rejected"),
    ] {
        assert_eq!((response.to_byte(), response.to_string().as_str()), (code, text));
    }
}

#[test]
fn logout_reasons_have_the_codes_of_the_rfc() {
    use LogoutReason as Reason;
    for (code, reason, cid, text) in [
        (0, Reason::CloseSession, None, "Close the session"),
        (1, Reason::CloseConnection { cid: 3 }, Some(3), "Close the connection"),
        (
            2,
            Reason::RemoveConnectionForRecovery { cid: 4 },
            Some(4),
            "Remove the connection for recovery",
        ),
    ] {
        assert_eq!((reason.to_byte(), reason.cid()), (code, cid));
        assert_eq!(reason.to_string(), text);
    }
}

#[test]
fn isids_have_the_types_of_the_rfc() {
    // RFC 7143 section 11.12.5: T in the two highest bits.
    for (bytes, format, text) in [
        (
            [0x3f, 0xff, 0xfe, 1, 2, 3],
            IsidFormat::Oui { oui: 0x3f_fffe, qualifier: 0x01_0203 },
            "3ffffe010203",
        ),
        (
            [0x40, 1, 2, 3, 4, 5],
            IsidFormat::EnterpriseNumber { number: 0x01_0203, qualifier: 0x0405 },
            "400102030405",
        ),
        (
            [0x80, 1, 2, 3, 4, 5],
            IsidFormat::Random { random: 0x01_0203, qualifier: 0x0405 },
            "800102030405",
        ),
        ([0xc0, 1, 2, 3, 4, 5], IsidFormat::Reserved, "c00102030405"),
    ] {
        let isid = Isid::from_bytes(bytes);
        assert_eq!((isid.format(), isid.to_string().as_str()), (format, text));
    }
}

#[test]
fn a_login_is_done_when_it_goes_to_the_full_feature_phase() {
    let mut progress = LoginProgress {
        current_stage: Stage::SecurityNegotiation,
        next_stage: None,
        is_continued: false,
        stat_sn: StatSn(0),
        exp_cmd_sn: CmdSn(0),
        max_cmd_sn: CmdSn(0),
    };
    assert!(!progress.is_done());
    progress.next_stage = Some(Stage::LoginOperationalNegotiation);
    assert!(!progress.is_done());
    progress.next_stage = Some(Stage::FullFeaturePhase);
    assert!(progress.is_done());
}
