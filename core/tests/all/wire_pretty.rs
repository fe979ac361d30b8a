//! What headers look like to people.

use iscsi_core::wire::{BHS_LEN, Bhs, Pretty};

fn header(bytes: &[(usize, u8)]) -> Bhs {
    let mut bhs = [0; BHS_LEN];
    for (at, byte) in bytes {
        bhs[*at] = *byte;
    }
    bhs
}

#[test]
fn every_kind_has_its_name() {
    for (opcode, name) in [
        (0x00, "NOP-Out: "),
        (0x01, "SCSI Command: "),
        (0x02, "Task Management Function Request: "),
        (0x03, "Login Request: "),
        (0x04, "Text Request: "),
        (0x05, "SCSI Data-Out: "),
        (0x06, "Logout Request: "),
        (0x10, "SNACK Request: "),
        (0x20, "NOP-In: "),
        (0x21, "SCSI Response: "),
        (0x22, "Task Management Function Response: "),
        (0x23, "Login Response: "),
        (0x24, "Text Response: "),
        (0x25, "SCSI Data-In: "),
        (0x26, "Logout Response: "),
        (0x31, "Ready To Transfer: "),
        (0x32, "Asynchronous Message: "),
        (0x3f, "Reject: "),
        (0x27, "unassigned opcode 0x27: "),
        (0x1d, "vendor opcode 0x1d: "),
    ] {
        let line = Pretty::new(&header(&[(0, opcode)])).to_string();
        assert!(line.starts_with(name), "{line}");
    }
}

#[test]
fn codes_come_with_their_names() {
    for (bytes, text) in [
        (&[(0, 0x01), (1, 0x03)][..], " attribute=3 (Head of queue)"),
        (&[(0, 0x02), (1, 0x85)], " function=5 (LOGICAL UNIT RESET)"),
        (&[(0, 0x06), (1, 0x81)], " reason=1 (Close the connection)"),
        (&[(0, 0x10), (1, 0x82)], " kind=2 (DataACK)"),
        (&[(0, 0x21), (2, 1)], " response=1 (Target failure)"),
        (&[(0, 0x21), (3, 0x28)], " status=0x28 (TASK SET FULL)"),
        (&[(0, 0x22), (2, 255)], " response=255 (Function rejected)"),
        (&[(0, 0x23), (1, 0x87)], " current_stage=1 (LoginOperationalNegotiation)"),
        (&[(0, 0x23), (36, 2), (37, 1)], " status=Authentication failure (0x0201)"),
        (&[(0, 0x26), (2, 2)], " response=2 (Connection recovery is not supported)"),
        (&[(0, 0x32), (36, 3)], " async_event=3 (Session dropped)"),
        (&[(0, 0x3f), (2, 0x09)], " reason=0x09 (Invalid PDU field)"),
    ] {
        let line = Pretty::new(&header(bytes)).to_string();
        assert!(line.contains(text), "{line}");
    }
}

#[test]
fn reserved_codes_are_printed_as_numbers() {
    for (bytes, text) in [
        (&[(0, 0x01), (1, 0x07)][..], " attribute=7 priority=0"),
        (&[(0, 0x23), (1, 0x08)], " current_stage=2 next_stage=0"),
        (&[(0, 0x3f), (2, 0x55)], " reason=0x55 initiator_task_tag=0x0"),
        (&[(0, 0x32), (36, 99)], " async_event=99 async_vcode=0"),
    ] {
        let line = Pretty::new(&header(bytes)).to_string();
        assert!(line.contains(text), "{line}");
    }
}

#[test]
fn a_whole_command() {
    let bytes = [(0, 0x41), (1, 0xc1), (7, 4), (9, 2), (19, 7), (22, 2), (32, 0x28), (40, 1)];
    assert_eq!(
        Pretty::new(&header(&bytes)).to_string(),
        "SCSI Command: total_ahs_length=0 data_segment_length=4 immediate=1 is_final=1 read=1 \
         write=0 attribute=1 (Simple) priority=0 lun=2 initiator_task_tag=0x7 \
         expected_data_transfer_length=512 cmd_sn=0x0 exp_stat_sn=0x0 \
         cdb=28000000000000000100000000000000"
    );
}
