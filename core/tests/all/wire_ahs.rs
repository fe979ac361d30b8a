//! Additional Header Segments: hex vectors, limits and hostile input (RFC 7143 section 11.2.2).

use iscsi_core::wire::{
    Ahs, AhsFull, AhsIter, AhsLength, AhsWriter, CommandAhs, FormatError, ScsiCommand,
    TaskAttribute,
};
use iscsi_core::{CmdSn, InitiatorTaskTag, Lun, StatSn};
use proptest::prelude::*;

fn command(cdb: &[u8], bidirectional: bool, total_ahs_length: AhsLength) -> ScsiCommand {
    let mut head = [0; 16];
    let len = cdb.len().min(16);
    head[..len].copy_from_slice(&cdb[..len]);
    ScsiCommand {
        immediate: false,
        is_final: true,
        read: bidirectional,
        write: bidirectional,
        attribute: TaskAttribute::Simple,
        priority: 0,
        total_ahs_length,
        data_segment_length: 0,
        lun: Lun::ZERO,
        initiator_task_tag: InitiatorTaskTag(1),
        expected_data_transfer_length: 0,
        cmd_sn: CmdSn(1),
        exp_stat_sn: StatSn(1),
        cdb: head,
    }
}

#[test]
fn a_cdb_of_32_bytes_and_a_read_length() {
    // W-26, W-27.
    let cdb: Vec<u8> = (0..32).collect();
    let ahs = CommandAhs::new(&cdb, Some(0x0102_0304));
    let mut image = [0xaa; 32];
    assert_eq!(ahs.emit(&mut image), Ok(AhsLength(7)));
    let expected = [
        0, 17, 1, 0, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, // CDB
        0, 5, 2, 0, 1, 2, 3, 4, // read length
        0xaa, 0xaa, 0xaa, 0xaa,
    ];
    assert_eq!(image, expected);

    let command = command(&cdb, true, AhsLength(7));
    assert_eq!(CommandAhs::parse(&command, &image), Ok(ahs));
    let mut joined = [0; 260];
    assert_eq!(ahs.join_cdb(&command, &mut joined), Some(&cdb[..]));
    assert_eq!(ahs.join_cdb(&command, &mut [0; 31]), None);
    assert_eq!(ahs.join_cdb(&command, &mut [0; 15]), None);
}

#[test]
fn a_cdb_of_up_to_16_bytes_needs_none() {
    for len in [0, 6, 10, 16] {
        let ahs = CommandAhs::new(&[9; 16][..len], None);
        assert_eq!(ahs.emit(&mut []), Ok(AhsLength::NONE));
        let command = command(&[9; 16][..len], false, AhsLength::NONE);
        assert_eq!(CommandAhs::parse(&command, &[]), Ok(ahs));
    }
}

#[test]
fn padding_is_zero_on_the_way_out_and_ignored_on_the_way_in() {
    let cdb = [7; 17];
    let mut image = [0xff; 8];
    assert_eq!(CommandAhs::new(&cdb, None).emit(&mut image), Ok(AhsLength(2)));
    assert_eq!(image, [0, 2, 1, 0, 7, 0, 0, 0]);
    image[3] = 0xff;
    image[5..].fill(0xff);
    let parsed = CommandAhs::parse(&command(&cdb, false, AhsLength(2)), &image);
    assert_eq!(parsed, Ok(CommandAhs::new(&cdb, None)));
}

#[test]
fn the_largest_cdb_fills_total_ahs_length() {
    let cdb = [5; 16 + 1016];
    let mut image = [0; 2048];
    assert_eq!(CommandAhs::new(&cdb, None).emit(&mut image), Ok(AhsLength(255)));
    let parsed = CommandAhs::parse(&command(&cdb, false, AhsLength(255)), &image);
    assert_eq!(parsed, Ok(CommandAhs::new(&cdb, None)));
    assert_eq!(CommandAhs::new(&cdb, Some(1)).emit(&mut image), Err(AhsFull));
    assert_eq!(CommandAhs::new(&[5; 16 + 1017], None).emit(&mut image), Err(AhsFull));
}

#[test]
fn the_length_of_all_segments_is_whole_words_up_to_1020_bytes() {
    // RFC 7143 section 11.2.1.5: TotalAHSLength is one byte and counts words.
    assert_eq!(AhsLength::from_bytes(0), Some(AhsLength::NONE));
    assert_eq!(AhsLength::from_bytes(1020), Some(AhsLength(255)));
    for bytes in [1, 2, 3, 1019, 1021, 1024, 2048] {
        assert_eq!(AhsLength::from_bytes(bytes), None, "{bytes}");
    }
    assert_eq!(AhsFull.to_string(), "no room for another AHS");
}

#[test]
fn only_a_bidirectional_command_needs_a_read_length() {
    // RFC 7143 section 11.2.2.4.
    for (read, write) in [(false, false), (true, false), (false, true), (true, true)] {
        let command = ScsiCommand { read, write, ..command(&[0; 16], false, AhsLength::NONE) };
        let expected = if read && write {
            Err(FormatError::MissingBidiReadLength)
        } else {
            Ok(CommandAhs::default())
        };
        assert_eq!(CommandAhs::parse(&command, &[]), expected);
    }
}

#[test]
fn fewer_bytes_than_announced() {
    // F-05.
    let command = command(&[], false, AhsLength(255));
    let error = FormatError::AhsBeyondTotal { segment: 1020, left: 4 };
    assert_eq!(CommandAhs::parse(&command, &[0, 1, 1, 0]), Err(error));
}

#[test]
fn a_cut_segment_and_an_unknown_one() {
    let mut segments = AhsIter::new(&[0, 2, 0x45, 7, 8, 0, 0, 0, 0, 1]);
    // AHSLength 2: two bytes of content, padded to 8 in all.
    assert_eq!(segments.next(), Some(Ok(Ahs::Unknown { ahs_type: 5, content: &[7, 8] })));
    let cut = FormatError::AhsBeyondTotal { segment: 4, left: 2 };
    assert_eq!(segments.next(), Some(Err(cut)));
    assert_eq!(segments.next(), None);
    // The content is there, but its padding is not.
    let mut segments = AhsIter::new(&[0, 2, 5, 7, 8]);
    let cut = FormatError::AhsBeyondTotal { segment: 8, left: 5 };
    assert_eq!(segments.next(), Some(Err(cut)));
}

#[test]
fn the_writer_leaves_no_trace_of_what_does_not_fit() {
    let mut out = [0xaa; 15];
    let mut writer = AhsWriter::new(&mut out);
    assert_eq!(writer.extended_cdb(&[1, 2, 3]), Ok(()));
    assert_eq!(writer.bidi_read_length(1), Err(AhsFull));
    assert_eq!(writer.finish(), AhsLength(2));
    assert_eq!(out[8..], [0xaa; 7]);
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        cdb in proptest::collection::vec(any::<u8>(), 17..=260),
        read_length: Option<u32>,
    ) {
        let ahs = CommandAhs::new(&cdb, read_length);
        let mut image = [0; 1020];
        let length = ahs.emit(&mut image).unwrap();
        let command = command(&cdb, read_length.is_some(), length);
        prop_assert_eq!(CommandAhs::parse(&command, &image), Ok(ahs));
        let mut joined = [0; 260];
        prop_assert_eq!(ahs.join_cdb(&command, &mut joined), Some(&cdb[..]));
    }

    #[test]
    fn any_bytes_are_walked_once(bytes in proptest::collection::vec(any::<u8>(), 0..1024)) {
        // F-06: the walk ends, and never reads more than there is.
        let mut content_bytes = 0;
        for segment in AhsIter::new(&bytes) {
            content_bytes += match segment {
                Ok(Ahs::ExtendedCdb(rest)) => rest.len(),
                Ok(Ahs::BidiReadLength(_)) => 4,
                Ok(Ahs::Unknown { content, .. }) => content.len(),
                Err(_) => 0,
            };
        }
        prop_assert!(content_bytes <= bytes.len());
    }
}
