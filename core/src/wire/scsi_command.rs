//! SCSI Command, opcode 0x01 (RFC 7143 section 11.3).

use super::bhs::{self, Bhs, FINAL, IMMEDIATE, Opcode, flag};
use super::error::FormatError;
use super::field::{Field, codes, view};
use crate::{CmdSn, InitiatorTaskTag, Lun, StatSn};

view! {
    /// The fields of a SCSI Command (RFC 7143 section 11.3).
    ///
    /// ```
    /// use iscsi_core::wire::{BHS_LEN, ScsiCommandView};
    /// let mut bhs = [0; BHS_LEN];
    /// bhs[1] = 0x07; // a reserved attribute
    /// assert_eq!(ScsiCommandView::new(&bhs).attribute(), 7);
    /// ```
    ScsiCommandView {
        /// I: not numbered, for delivery at once.
        immediate: bool = 0 & 0x40;
        /// F: no unsolicited Data-Out follow.
        is_final: bool = 1 & 0x80;
        /// R: data are expected from the target.
        read: bool = 1 & 0x40;
        /// W: data are expected by the target.
        write: bool = 1 & 0x20;
        /// ATTR, the code of a [`TaskAttribute`].
        attribute: u8 as TaskAttribute = 1 & 0x07;
        /// PRI, 0 to 15 (RFC 7144 section 5.1).
        priority: u8 = 2 & 0xf0;
        /// The logical unit.
        lun: Lun = 8;
        /// The tag of the new task.
        initiator_task_tag: InitiatorTaskTag = 16;
        /// Bytes that the command will move; the write half of a bidirectional command.
        expected_data_transfer_length: u32 = 20;
        /// The number of this command.
        cmd_sn: CmdSn = 24;
        /// The next StatSN that the initiator expects.
        exp_stat_sn: StatSn = 28;
        /// The first 16 bytes of the CDB.
        cdb: [u8; 16] = 32;
    }
}

codes! { closed
    /// The order of a task among the others of its logical unit (RFC 7143 section 11.3.1, SAM-5).
    ///
    /// ```
    /// use iscsi_core::wire::TaskAttribute;
    /// assert_eq!(TaskAttribute::Simple.to_byte(), 1);
    /// assert_eq!(TaskAttribute::from_byte(5), None);
    /// ```
    TaskAttribute {
        /// No attribute given.
        Untagged = 0, "Untagged";
        /// May run in any order with other simple tasks.
        Simple = 1, "Simple";
        /// Runs after all older tasks.
        Ordered = 2, "Ordered";
        /// Runs before all others.
        HeadOfQueue = 3, "Head of queue";
        /// Runs while an auto contingent allegiance stands.
        Aca = 4, "ACA";
    }
}

/// The length of all Additional Header Segments of a command, in words of four bytes (RFC 7143 section 11.2.1.5).
///
/// ```
/// use iscsi_core::wire::AhsLength;
/// assert_eq!(AhsLength::from_bytes(20), Some(AhsLength(5)));
/// assert_eq!(AhsLength::from_bytes(21), None);
/// assert_eq!(AhsLength(255).bytes(), 1020);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct AhsLength(pub u8);

impl AhsLength {
    /// No Additional Header Segment.
    pub const NONE: Self = Self(0);

    /// `None` unless `bytes` is a multiple of 4 up to 1020.
    pub const fn from_bytes(bytes: usize) -> Option<Self> {
        if bytes.is_multiple_of(4) && bytes <= bhs::MAX_TOTAL_AHS_LENGTH {
            Some(Self((bytes / 4) as u8))
        } else {
            None
        }
    }

    /// The length in bytes.
    #[inline]
    pub const fn bytes(self) -> usize {
        self.0 as usize * 4
    }
}

/// A SCSI Command (RFC 7143 section 11.3).
///
/// ```
/// use iscsi_core::wire::{AhsLength, BHS_LEN, ScsiCommand, TaskAttribute};
/// use iscsi_core::{CmdSn, InitiatorTaskTag, Lun, StatSn};
///
/// let mut cdb = [0; 16]; // TEST UNIT READY
/// let command = ScsiCommand {
///     immediate: false,
///     is_final: true,
///     read: false,
///     write: false,
///     attribute: TaskAttribute::Simple,
///     priority: 0,
///     total_ahs_length: AhsLength::NONE,
///     data_segment_length: 0,
///     lun: Lun::ZERO,
///     initiator_task_tag: InitiatorTaskTag(1),
///     expected_data_transfer_length: 0,
///     cmd_sn: CmdSn(2),
///     exp_stat_sn: StatSn(3),
///     cdb,
/// };
/// let mut bhs = [0; BHS_LEN];
/// command.emit(&mut bhs);
/// assert_eq!(ScsiCommand::parse(&bhs), Ok(command));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScsiCommand {
    /// I: not numbered, for delivery at once.
    pub immediate: bool,
    /// F: no unsolicited Data-Out follow. Without it `write` is set.
    pub is_final: bool,
    /// R: data are expected from the target.
    pub read: bool,
    /// W: data are expected by the target. With `read` the command is bidirectional.
    pub write: bool,
    /// ATTR.
    pub attribute: TaskAttribute,
    /// PRI, 0 to 15; other than 0 only if iSCSIProtocolLevel is 2 or more (RFC 7144 section 5.1). Higher bits are not sent.
    pub priority: u8,
    /// What stands between this header and the immediate data.
    pub total_ahs_length: AhsLength,
    /// Bytes of immediate data, without padding, up to `expected_data_transfer_length`.
    pub data_segment_length: u32,
    /// The logical unit.
    pub lun: Lun,
    /// The tag of the new task.
    pub initiator_task_tag: InitiatorTaskTag,
    /// Bytes that the command will move; the write half of a bidirectional command.
    pub expected_data_transfer_length: u32,
    /// The number of this command, or the next one if `immediate`.
    pub cmd_sn: CmdSn,
    /// The next StatSN that the initiator expects.
    pub exp_stat_sn: StatSn,
    /// The first 16 bytes of the CDB, zeros after a shorter one.
    pub cdb: [u8; 16],
}

impl ScsiCommand {
    /// Reads a header.
    ///
    /// # Errors
    ///
    /// The opcode or the tag is wrong, the attribute is a reserved one, or F, W, R, and the two lengths contradict each other.
    #[inline]
    pub fn parse(bhs: &Bhs) -> Result<Self, FormatError> {
        bhs::expect_opcode(bhs, Opcode::ScsiCommand)?;
        let view = ScsiCommandView::new(bhs);
        let (is_final, read, write) = (view.is_final(), view.read(), view.write());
        let immediate_data = view.data_segment_length();
        let expected = view.expected_data_transfer_length();
        if !write {
            if !is_final {
                return Err(FormatError::UnsolicitedDataWithoutWrite);
            }
            if immediate_data != 0 {
                return Err(FormatError::ImmediateDataWithoutWrite(immediate_data));
            }
            if !read && expected != 0 {
                return Err(FormatError::LengthWithoutDirection(expected));
            }
        }
        if immediate_data > expected {
            return Err(FormatError::ImmediateDataTooLong { immediate: immediate_data, expected });
        }
        if !is_final && immediate_data == expected {
            return Err(FormatError::NothingLeftToFollow);
        }
        let Some(attribute) = TaskAttribute::from_byte(view.attribute()) else {
            return Err(FormatError::ReservedTaskAttribute(view.attribute()));
        };
        Ok(Self {
            immediate: view.immediate(),
            is_final,
            read,
            write,
            attribute,
            priority: view.priority(),
            total_ahs_length: AhsLength(bhs[4]),
            data_segment_length: immediate_data,
            lun: view.lun(),
            initiator_task_tag: bhs::task_tag(bhs)?,
            expected_data_transfer_length: expected,
            cmd_sn: view.cmd_sn(),
            exp_stat_sn: view.exp_stat_sn(),
            cdb: view.cdb(),
        })
    }

    /// Writes all 48 bytes.
    #[inline]
    pub fn emit(&self, bhs: &mut Bhs) {
        let flags = flag(self.is_final, FINAL) | flag(self.read, 0x40) | flag(self.write, 0x20);
        bhs::start(
            bhs,
            Opcode::ScsiCommand.to_byte() | flag(self.immediate, IMMEDIATE),
            flags | self.attribute.to_byte(),
            self.data_segment_length,
        );
        bhs[2] = self.priority << 4;
        bhs[4] = self.total_ahs_length.0;
        self.lun.put::<8>(bhs);
        self.initiator_task_tag.put::<16>(bhs);
        self.expected_data_transfer_length.put::<20>(bhs);
        self.cmd_sn.put::<24>(bhs);
        self.exp_stat_sn.put::<28>(bhs);
        self.cdb.put::<32>(bhs);
    }
}
