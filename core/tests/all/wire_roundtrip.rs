//! Every meaning survives the wire, and no 48 bytes can harm the reader.
#![cfg(feature = "proptest")]

use core::fmt::Debug;

use iscsi_core::digest::DigestKind;
use iscsi_core::testing::Framer;
use iscsi_core::testing::strategies::*;
use iscsi_core::wire::*;
use proptest::prelude::*;

/// `emit` leaves nothing of what was there before, `parse` finds the meaning, and through the enum too.
macro_rules! round_trips {
    ($($name:ident: $kind:ident in $pdu:ident;)*) => {
        proptest! {
            $(#[test]
            fn $name(pdu in strategies::$name()) {
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
    use iscsi_core::testing::strategies;

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

/// A PDU with all that belongs to it is cut out of a stream as it was put in, wherever the stream is cut; its header means the same; and a bit
/// that turns over under a digest is seen.
fn travels(
    whole: &Whole,
    cut: usize,
    flip: usize,
    emit: impl Fn(&Bhs) -> Option<Bhs>,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(emit(&whole.bhs), Some(whole.bhs));
    let bytes = whole.to_bytes();
    let mut framer = Framer::new(whole.header_digest, whole.data_digest);
    let (first, second) = bytes.split_at(cut % bytes.len());
    framer.push(first);
    prop_assert!(framer.next().is_none());
    framer.push(second);
    let pdu = framer.next().expect("it is whole");
    prop_assert_eq!(framer.pending(), 0);
    prop_assert_eq!((pdu.bhs, &pdu.ahs, &pdu.data), (whole.bhs, &whole.ahs, &whole.data));
    prop_assert!(pdu.digests_match && pdu.padding.iter().all(|byte| *byte == 0));
    let is_login =
        matches!(Opcode::of(&pdu.bhs), Some(Opcode::LoginRequest | Opcode::LoginResponse));
    let behind = BHS_LEN + whole.ahs.len() + 4;
    if whole.data_digest == DigestKind::Crc32c && !whole.data.is_empty() && !is_login {
        let start = if whole.header_digest == DigestKind::Crc32c { behind } else { behind - 4 };
        let mut damaged = bytes;
        let bit = flip % ((damaged.len() - start) * 8);
        damaged[start + bit / 8] ^= 1 << (bit % 8);
        framer.push(&damaged);
        prop_assert!(!framer.next().expect("it is framed").digests_match);
    }
    Ok(())
}

macro_rules! whole_pdus {
    ($($name:ident: $whole:ident, $pdu:ident;)*) => {
        proptest! {
            $(#[test]
            fn $name(whole in $whole(strategies::$name()), cut: usize, flip: usize) {
                travels(&whole, cut, flip, |bhs| {
                    let mut again = [0; BHS_LEN];
                    $pdu::parse(bhs).ok()?.emit(&mut again);
                    Some(again)
                })?;
            })*
        }
    };
}

mod whole {
    use iscsi_core::testing::strategies;

    use super::*;

    whole_pdus! {
        nop_out: whole_initiator_pdu, InitiatorPdu;
        scsi_command: whole_initiator_pdu, InitiatorPdu;
        task_management_request: whole_initiator_pdu, InitiatorPdu;
        login_request: whole_initiator_pdu, InitiatorPdu;
        text_request: whole_initiator_pdu, InitiatorPdu;
        data_out: whole_initiator_pdu, InitiatorPdu;
        logout_request: whole_initiator_pdu, InitiatorPdu;
        snack_request: whole_initiator_pdu, InitiatorPdu;
        nop_in: whole_target_pdu, TargetPdu;
        scsi_response: whole_target_pdu, TargetPdu;
        task_management_response: whole_target_pdu, TargetPdu;
        login_response: whole_target_pdu, TargetPdu;
        text_response: whole_target_pdu, TargetPdu;
        data_in: whole_target_pdu, TargetPdu;
        logout_response: whole_target_pdu, TargetPdu;
        r2t: whole_target_pdu, TargetPdu;
        async_message: whole_target_pdu, TargetPdu;
        reject: whole_target_pdu, TargetPdu;
    }
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
    fn any_header_is_refused_or_understood(bhs in any_header()) {
        let from_target = same_after_emit(&bhs, TargetPdu::parse, TargetPdu::emit)?;
        let from_initiator = same_after_emit(&bhs, InitiatorPdu::parse, InitiatorPdu::emit)?;
        prop_assert!(!(from_target && from_initiator));
    }

    #[test]
    fn any_header_prints_in_one_line(bhs in any_header()) {
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
