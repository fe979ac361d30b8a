//! Headers of both directions.

use alloc::string::ToString;

use super::input::Input;
use crate::wire::{
    AhsIter, BHS_LEN, Bhs, CommandAhs, InitiatorPdu, Pretty, TargetPdu, data_segment_length,
};

/// Headers with their additional segments, one PDU after the other: they print, and what can be read survives being written.
///
/// # Panics
/// If a meaning does not survive.
pub fn wire(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    while let Some(pdu) = input.pdu() {
        assert!(!Pretty::new(&pdu.bhs).to_string().contains('\n'));
        let count = AhsIter::new(pdu.ahs).count();
        assert!(count <= pdu.ahs.len() + 1, "more segments than bytes");
        target(&pdu.bhs);
        initiator(&pdu.bhs, pdu.ahs);
    }
}

fn target(bhs: &Bhs) {
    let Ok(pdu) = TargetPdu::parse(bhs) else { return };
    let mut written = [0xa5; BHS_LEN];
    pdu.emit(&mut written);
    assert_eq!(TargetPdu::parse(&written), Ok(pdu), "{}", Pretty::new(bhs));
    same(bhs, &written);
    let mut again = [0x5a; BHS_LEN];
    pdu.emit(&mut again);
    assert_eq!(written, again, "bytes are left as they were");
    // The other direction does not take it.
    assert!(InitiatorPdu::parse(bhs).is_err());
}

fn initiator(bhs: &Bhs, ahs: &[u8]) {
    let Ok(pdu) = InitiatorPdu::parse(bhs) else { return };
    let mut written = [0xa5; BHS_LEN];
    pdu.emit(&mut written);
    assert_eq!(InitiatorPdu::parse(&written), Ok(pdu), "{}", Pretty::new(bhs));
    same(bhs, &written);
    let mut again = [0x5a; BHS_LEN];
    pdu.emit(&mut again);
    assert_eq!(written, again, "bytes are left as they were");
    assert!(TargetPdu::parse(bhs).is_err());
    let InitiatorPdu::ScsiCommand(command) = pdu else { return };
    let Ok(parsed) = CommandAhs::parse(&command, ahs) else { return };
    let mut cdb = [0; 260];
    if let Some(cdb) = parsed.join_cdb(&command, &mut cdb) {
        assert_eq!(cdb.get(..16), Some(&command.cdb[..]));
        let ours = CommandAhs::new(cdb, parsed.bidi_read_expected_data_transfer_length);
        let mut area = [0; 1024];
        let len = ours.emit(&mut area).expect("room for any additional header").bytes();
        let again = CommandAhs::parse(&command, &area[..len]);
        assert_eq!(again, Ok(ours));
    }
}

/// What every kind keeps: opcode, I, the length of the data, the task.
fn same(read: &Bhs, written: &Bhs) {
    assert_eq!(read[0] & 0x3f, written[0] & 0x3f);
    assert_eq!(data_segment_length(read), data_segment_length(written), "{}", Pretty::new(read));
}
