//! The Basic Header Segment: what is common to all PDUs (RFC 7143 section 11.2.1).

use super::error::FormatError;
use super::field::{Field, codes};
use crate::digest::DigestKind;
use crate::{InitiatorTaskTag, Lun, TargetTransferTag};

/// Bytes of a Basic Header Segment.
pub const BHS_LEN: usize = 48;

/// A Basic Header Segment as it travels.
pub type Bhs = [u8; BHS_LEN];

/// The longest data segment that a header can announce, in bytes: the field has 24 bits.
pub const MAX_DATA_SEGMENT_LENGTH: u32 = 0xff_ffff;

/// The longest sequence of Additional Header Segments that a header can announce, in bytes.
pub const MAX_TOTAL_AHS_LENGTH: usize = 255 * 4;

codes! { closed
    /// An assigned opcode of either direction (RFC 7143 section 11.2.1.2).
    ///
    /// The vendor's opcodes (0x1c to 0x1e and 0x3c to 0x3e) are not among them: see [`Opcode::is_vendor`].
    ///
    /// ```
    /// use iscsi_core::wire::Opcode;
    /// assert_eq!(Opcode::from_byte(0x03), Some(Opcode::LoginRequest));
    /// assert_eq!(Opcode::from_byte(0x27), None);
    /// assert!(Opcode::R2t.is_target() && !Opcode::DataOut.is_target());
    /// ```
    Opcode {
        /// NOP-Out, from the initiator.
        NopOut = 0x00, "NOP-Out";
        /// SCSI Command, from the initiator.
        ScsiCommand = 0x01, "SCSI Command";
        /// Task Management Function Request, from the initiator.
        TaskManagementRequest = 0x02, "Task Management Function Request";
        /// Login Request, from the initiator.
        LoginRequest = 0x03, "Login Request";
        /// Text Request, from the initiator.
        TextRequest = 0x04, "Text Request";
        /// SCSI Data-Out, from the initiator.
        DataOut = 0x05, "SCSI Data-Out";
        /// Logout Request, from the initiator.
        LogoutRequest = 0x06, "Logout Request";
        /// SNACK Request, from the initiator.
        SnackRequest = 0x10, "SNACK Request";
        /// NOP-In, from the target.
        NopIn = 0x20, "NOP-In";
        /// SCSI Response, from the target.
        ScsiResponse = 0x21, "SCSI Response";
        /// Task Management Function Response, from the target.
        TaskManagementResponse = 0x22, "Task Management Function Response";
        /// Login Response, from the target.
        LoginResponse = 0x23, "Login Response";
        /// Text Response, from the target.
        TextResponse = 0x24, "Text Response";
        /// SCSI Data-In, from the target.
        DataIn = 0x25, "SCSI Data-In";
        /// Logout Response, from the target.
        LogoutResponse = 0x26, "Logout Response";
        /// Ready To Transfer, from the target.
        R2t = 0x31, "Ready To Transfer";
        /// Asynchronous Message, from the target.
        AsyncMessage = 0x32, "Asynchronous Message";
        /// Reject, from the target.
        Reject = 0x3f, "Reject";
    }
}

impl Opcode {
    /// The bits of byte 0 that hold the opcode; the others are the I bit and a reserved one.
    pub const MASK: u8 = 0x3f;

    /// The opcode of a header, `None` if it is unassigned or the vendor's.
    #[inline]
    pub const fn of(bhs: &Bhs) -> Option<Self> {
        Self::from_byte(bhs[0] & Self::MASK)
    }

    /// Whether the target sends it.
    #[inline]
    pub const fn is_target(self) -> bool {
        self.to_byte() & 0x20 != 0
    }

    /// Whether `opcode` is left to vendors.
    #[inline]
    pub const fn is_vendor(opcode: u8) -> bool {
        matches!(opcode, 0x1c..=0x1e | 0x3c..=0x3e)
    }
}

/// TotalAHSLength in bytes: a multiple of 4 up to [`MAX_TOTAL_AHS_LENGTH`] (RFC 7143 section 11.2.1.5).
#[inline]
pub const fn total_ahs_length(bhs: &Bhs) -> usize {
    bhs[4] as usize * 4
}

/// DataSegmentLength in bytes, without padding (RFC 7143 section 11.2.1.6).
#[inline]
pub const fn data_segment_length(bhs: &Bhs) -> u32 {
    u32::from_be_bytes([0, bhs[5], bhs[6], bhs[7]])
}

/// How many zero bytes follow `len` bytes to reach a multiple of 4 (RFC 7143 section 11.1).
#[inline]
pub const fn padding(len: usize) -> usize {
    len.wrapping_neg() & 3
}

/// What follows a header on the wire, in this order, in bytes (RFC 7143 section 11.2).
///
/// ```
/// use iscsi_core::digest::DigestKind;
/// use iscsi_core::wire::{BHS_LEN, PduLengths};
///
/// let mut bhs = [0; BHS_LEN];
/// bhs[7] = 5; // DataSegmentLength
/// let lengths = PduLengths::new(&bhs, DigestKind::Crc32c, DigestKind::Crc32c);
/// assert_eq!((lengths.data, lengths.padding, lengths.data_digest), (5, 3, 4));
/// assert_eq!(lengths.total(), 4 + 5 + 3 + 4);
/// bhs[7] = 0; // an empty data segment has no digest
/// assert_eq!(PduLengths::new(&bhs, DigestKind::None, DigestKind::Crc32c).total(), 0);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PduLengths {
    /// All Additional Header Segments with their padding.
    pub ahs: usize,
    /// The digest over header and Additional Header Segments.
    pub header_digest: usize,
    /// The data segment without padding.
    pub data: usize,
    /// The bytes that fill the data segment up to a multiple of 4.
    pub padding: usize,
    /// The digest over data segment and padding; 0 if the data segment is empty.
    pub data_digest: usize,
}

impl PduLengths {
    /// What `bhs` announces on a connection with these digests. In the Login Phase both are [`DigestKind::None`].
    #[inline]
    pub const fn new(bhs: &Bhs, header_digest: DigestKind, data_digest: DigestKind) -> Self {
        let data = data_segment_length(bhs) as usize;
        Self {
            ahs: total_ahs_length(bhs),
            header_digest: header_digest.len(),
            data,
            padding: padding(data),
            data_digest: if data == 0 { 0 } else { data_digest.len() },
        }
    }

    /// Bytes between the header and the data segment.
    #[inline]
    pub const fn before_data(&self) -> usize {
        self.ahs + self.header_digest
    }

    /// Bytes between the data segment and the next PDU.
    #[inline]
    pub const fn after_data(&self) -> usize {
        self.padding + self.data_digest
    }

    /// Bytes between the header and the next PDU: at most 16,778,244.
    #[inline]
    pub const fn total(&self) -> usize {
        self.before_data() + self.data + self.after_data()
    }
}

/// A Target Transfer Tag with the LUN that always travels beside it (RFC 7143 section 11.7.4).
///
/// The initiator echoes both: in the Data-Out PDUs that answer an R2T, in the NOP-Out that answers a ping, in the Text Request
/// that continues an exchange, in the SNACK that acknowledges data.
///
/// ```
/// use iscsi_core::wire::TransferTag;
/// use iscsi_core::{Lun, TargetTransferTag};
///
/// let transfer = TransferTag { lun: Lun::ZERO, target_transfer_tag: TargetTransferTag(9) };
/// assert!(!transfer.target_transfer_tag.is_reserved());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TransferTag {
    /// The logical unit, as the target gave it.
    pub lun: Lun,
    /// The tag, never [`TargetTransferTag::RESERVED`].
    pub target_transfer_tag: TargetTransferTag,
}

impl TransferTag {
    /// Reads LUN and tag from where every PDU has them; `None` if the tag is reserved (the LUN is then reserved too).
    #[inline]
    pub(super) fn get(bhs: &Bhs) -> Option<Self> {
        let target_transfer_tag = TargetTransferTag::get::<20>(bhs);
        if target_transfer_tag.is_reserved() {
            return None;
        }
        Some(Self { lun: Lun::get::<8>(bhs), target_transfer_tag })
    }

    /// Writes LUN and tag, or a zero LUN and the reserved tag.
    #[inline]
    pub(super) fn put(transfer: Option<Self>, bhs: &mut Bhs) {
        let (lun, tag) = match transfer {
            Some(transfer) => (transfer.lun, transfer.target_transfer_tag),
            None => (Lun::ZERO, TargetTransferTag::RESERVED),
        };
        lun.put::<8>(bhs);
        tag.put::<20>(bhs);
    }
}

/// Checks that a header is of kind `opcode` and announces no Additional Header Segment.
#[inline]
pub(super) fn expect_kind(bhs: &Bhs, opcode: Opcode) -> Result<(), FormatError> {
    expect_opcode(bhs, opcode)?;
    if bhs[4] != 0 {
        return Err(FormatError::UnexpectedAhs(bhs[4]));
    }
    Ok(())
}

/// Checks that a header is of kind `opcode`.
#[inline]
pub(super) fn expect_opcode(bhs: &Bhs, opcode: Opcode) -> Result<(), FormatError> {
    if bhs[0] & Opcode::MASK != opcode.to_byte() {
        return Err(FormatError::WrongOpcode(bhs[0] & Opcode::MASK));
    }
    Ok(())
}

/// Checks that a header announces no data segment.
#[inline]
pub(super) fn expect_no_data(bhs: &Bhs) -> Result<(), FormatError> {
    match data_segment_length(bhs) {
        0 => Ok(()),
        len => Err(FormatError::UnexpectedData(len)),
    }
}

/// Reads the Initiator Task Tag of a kind that belongs to a task.
#[inline]
pub(super) fn task_tag(bhs: &Bhs) -> Result<InitiatorTaskTag, FormatError> {
    optional_task_tag(bhs).ok_or(FormatError::ReservedInitiatorTaskTag)
}

/// Reads the Initiator Task Tag of a kind that may belong to no task.
#[inline]
pub(super) fn optional_task_tag(bhs: &Bhs) -> Option<InitiatorTaskTag> {
    let tag = InitiatorTaskTag::get::<16>(bhs);
    if tag.is_reserved() { None } else { Some(tag) }
}

/// Starts a header: zeros, byte 0, byte 1, and the length of the data segment.
#[inline]
pub(super) fn start(bhs: &mut Bhs, byte0: u8, byte1: u8, data_segment_length: u32) {
    debug_assert!(data_segment_length <= MAX_DATA_SEGMENT_LENGTH);
    *bhs = [0; BHS_LEN];
    bhs[0] = byte0;
    bhs[1] = byte1;
    (data_segment_length & MAX_DATA_SEGMENT_LENGTH).put::<4>(bhs);
}

/// `mask` if the flag is set.
#[inline]
pub(super) const fn flag(set: bool, mask: u8) -> u8 {
    if set { mask } else { 0 }
}

/// The I bit of byte 0 (RFC 7143 section 11.2.1.1).
pub(super) const IMMEDIATE: u8 = 0x40;

/// The F bit of byte 1 (RFC 7143 section 11.2.1.3).
pub(super) const FINAL: u8 = 0x80;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_fills_words() {
        let paddings = [0, 1, 2, 3, 4, 5, 16_777_215].map(padding);
        assert_eq!(paddings, [0, 3, 2, 1, 0, 3, 1]);
    }

    #[test]
    fn digests_add_four_bytes_each_and_none_to_an_empty_segment() {
        // G-05, G-06, G-09.
        use DigestKind::{Crc32c, None};
        for (data, header_digest, data_digest, total) in [
            (0, None, None, 0),
            (0, Crc32c, Crc32c, 4),
            (0, None, Crc32c, 0),
            (1, None, None, 4),
            (2, Crc32c, None, 8),
            (3, None, Crc32c, 8),
            (4, Crc32c, Crc32c, 12),
        ] {
            let mut bhs = [0; BHS_LEN];
            bhs[7] = data;
            let lengths = PduLengths::new(&bhs, header_digest, data_digest);
            assert_eq!(lengths.total(), total, "{lengths:?}");
        }
    }

    #[test]
    fn the_longest_pdu() {
        let lengths = PduLengths::new(&[0xff; BHS_LEN], DigestKind::Crc32c, DigestKind::Crc32c);
        assert_eq!((lengths.ahs, lengths.data), (MAX_TOTAL_AHS_LENGTH, 0xff_ffff));
        assert_eq!((lengths.before_data(), lengths.after_data()), (1024, 5));
        assert_eq!(lengths.total(), 16_778_244);
    }

    #[test]
    fn opcodes_know_their_side() {
        for byte in 0..=Opcode::MASK {
            if let Some(opcode) = Opcode::from_byte(byte) {
                assert_eq!(opcode.to_byte(), byte);
                assert_eq!(opcode.is_target(), byte >= 0x20);
                assert!(!Opcode::is_vendor(byte));
            }
        }
        let assigned = (0..=255).filter(|byte| Opcode::from_byte(*byte).is_some()).count();
        let vendor = (0..=255).filter(|byte| Opcode::is_vendor(*byte)).count();
        assert_eq!((assigned, vendor), (18, 6));
    }
}
