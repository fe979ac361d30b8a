//! A finished command descriptor block with its data phase.

use core::fmt;

use crate::error::CdbError;

/// Which way the data of a command goes.
///
/// ```
/// use iscsi_scsi::{Direction, block::Read16};
/// assert_eq!(Read16::default().cdb().direction(), Direction::In);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// No data phase.
    #[default]
    None,
    /// From the device server to the application client.
    In,
    /// From the application client to the device server.
    Out,
}

/// How much data a command moves, as far as its CDB tells.
///
/// ```
/// use iscsi_scsi::DataLength;
/// assert_eq!(DataLength::Blocks(8).bytes(512), 4096);
/// assert_eq!(DataLength::Bytes(36).bytes(512), 36);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataLength {
    /// An allocation length or a parameter list length.
    Bytes(u32),
    /// Logical blocks. The caller knows the block length, and whether protection information adds
    /// to it.
    Blocks(u64),
}

impl DataLength {
    /// Length in bytes for blocks of `block_length` bytes (protection information included if the
    /// command transfers it). Saturates.
    pub const fn bytes(self, block_length: u32) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes as u64,
            Self::Blocks(blocks) => blocks.saturating_mul(block_length as u64),
        }
    }
}

impl Default for DataLength {
    fn default() -> Self {
        Self::Bytes(0)
    }
}

/// A command descriptor block of up to 32 bytes, with the direction and length of its data.
///
/// Made by the `cdb()` method of a command, or from raw bytes.
///
/// ```
/// use iscsi_scsi::{Cdb, DataLength, Direction, block::Read10};
///
/// let cdb = Read10 { lba: 0x0102_0304, blocks: 8, ..Default::default() }.cdb();
/// assert_eq!(cdb.as_bytes(), [0x28, 0, 1, 2, 3, 4, 0, 0, 8, 0]);
/// assert_eq!(cdb.data_length(), DataLength::Blocks(8));
///
/// let vendor = Cdb::from_bytes(&[0xc0, 0, 0, 0, 16, 0], Direction::In, DataLength::Bytes(16))?;
/// assert_eq!(vendor.opcode(), 0xc0);
/// # Ok::<(), iscsi_scsi::CdbError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Cdb {
    bytes: [u8; Self::MAX],
    len: u8,
    direction: Direction,
    data_length: DataLength,
}

impl Cdb {
    /// The longest CDB this type holds, in bytes.
    pub const MAX: usize = 32;

    /// A CDB from bytes that this crate does not interpret.
    ///
    /// # Errors
    /// [`CdbError::RawLength`] if `bytes` is empty or longer than [`Cdb::MAX`].
    pub fn from_bytes(
        bytes: &[u8],
        direction: Direction,
        data_length: DataLength,
    ) -> Result<Self, CdbError> {
        let got = bytes.len();
        let mut inline = [0; Self::MAX];
        let len = u8::try_from(got).ok().filter(|&len| len != 0);
        let (Some(len), Some(space)) = (len, inline.get_mut(..got)) else {
            return Err(CdbError::RawLength { got });
        };
        space.copy_from_slice(bytes);
        Ok(Self { bytes: inline, len, direction, data_length })
    }

    /// The bytes: 6, 10, 12, 16 or 32 for the commands of this crate.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The first 16 bytes, zero padded: what the CDB field of an iSCSI header holds.
    pub fn first_16(&self) -> [u8; 16] {
        *self.bytes.first_chunk().unwrap_or(&[0; 16])
    }

    /// The bytes after the first 16, if any: what an extended CDB header segment holds.
    pub fn after_16(&self) -> &[u8] {
        self.as_bytes().get(16..).unwrap_or_default()
    }

    /// Byte 0.
    pub fn opcode(&self) -> u8 {
        let [opcode, ..] = self.bytes;
        opcode
    }

    /// The direction of the data phase.
    pub const fn direction(&self) -> Direction {
        self.direction
    }

    /// The length of the data phase.
    pub const fn data_length(&self) -> DataLength {
        self.data_length
    }

    /// The expected data transfer length in bytes, see [`DataLength::bytes`].
    pub const fn expected_bytes(&self, block_length: u32) -> u64 {
        self.data_length.bytes(block_length)
    }
}

impl fmt::Debug for Cdb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cdb")
            .field("bytes", &format_args!("{self}"))
            .field("direction", &self.direction)
            .field("data_length", &self.data_length)
            .finish()
    }
}

/// The bytes in hexadecimal, separated by spaces.
impl fmt::Display for Cdb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.as_bytes().iter().enumerate() {
            if index != 0 {
                f.write_str(" ")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// Length in bytes of the CDB that starts with this operation code, by its group code. `None` for
/// the variable length, reserved and vendor specific groups.
///
/// ```
/// use iscsi_scsi::cdb_length;
/// assert_eq!(cdb_length(0x12), Some(6));
/// assert_eq!(cdb_length(0x28), Some(10));
/// assert_eq!(cdb_length(0x88), Some(16));
/// assert_eq!(cdb_length(0xa0), Some(12));
/// assert_eq!(cdb_length(0x7f), None);
/// ```
pub const fn cdb_length(opcode: u8) -> Option<usize> {
    match opcode >> 5 {
        0 => Some(6),
        1 | 2 => Some(10),
        4 => Some(16),
        5 => Some(12),
        _ => None,
    }
}

/// Writes a CDB field by field, in the order of the standard's tables.
pub(crate) struct CdbWriter {
    bytes: [u8; Cdb::MAX],
    len: u8,
}

impl CdbWriter {
    pub(crate) fn new(opcode: u8) -> Self {
        Self { bytes: [0; Cdb::MAX], len: 0 }.u8(opcode)
    }

    pub(crate) fn array<const N: usize>(mut self, value: [u8; N]) -> Self {
        for byte in value {
            if let Some(slot) = self.bytes.get_mut(usize::from(self.len)) {
                *slot = byte;
                self.len += 1;
            }
        }
        self
    }

    pub(crate) fn u8(self, value: u8) -> Self {
        self.array([value])
    }

    pub(crate) fn u16(self, value: u16) -> Self {
        self.array(value.to_be_bytes())
    }

    pub(crate) fn u24(self, value: u32) -> Self {
        let [_, a, b, c] = value.to_be_bytes();
        self.array([a, b, c])
    }

    pub(crate) fn u32(self, value: u32) -> Self {
        self.array(value.to_be_bytes())
    }

    pub(crate) fn u64(self, value: u64) -> Self {
        self.array(value.to_be_bytes())
    }

    /// Reserved bytes, or the CONTROL byte at the end.
    pub(crate) fn zeros<const N: usize>(self) -> Self {
        self.array([0; N])
    }

    pub(crate) fn no_data(self) -> Cdb {
        self.finish(Direction::None, DataLength::Bytes(0))
    }

    pub(crate) fn bytes_in(self, allocation_length: u32) -> Cdb {
        self.finish(Direction::In, DataLength::Bytes(allocation_length))
    }

    /// No data phase if the parameter list is empty.
    pub(crate) fn bytes_out(self, list_length: u32) -> Cdb {
        let direction = if list_length == 0 { Direction::None } else { Direction::Out };
        self.finish(direction, DataLength::Bytes(list_length))
    }

    pub(crate) fn blocks(self, direction: Direction, blocks: u64) -> Cdb {
        self.finish(direction, DataLength::Blocks(blocks))
    }

    fn finish(self, direction: Direction, data_length: DataLength) -> Cdb {
        debug_assert!(matches!(self.len, 6 | 10 | 12 | 16 | 32));
        Cdb { bytes: self.bytes, len: self.len, direction, data_length }
    }
}

#[cfg(test)]
mod tests {
    extern crate alloc;
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn raw_bytes_are_bounded() {
        let raw = |len| Cdb::from_bytes(&[0xaa; 300][..len], Direction::None, DataLength::Bytes(0));
        assert_eq!(raw(0), Err(CdbError::RawLength { got: 0 }));
        assert_eq!(raw(33), Err(CdbError::RawLength { got: 33 }));
        assert_eq!(raw(257), Err(CdbError::RawLength { got: 257 }), "not taken modulo 256");
        let full = raw(32).unwrap();
        assert_eq!(full.as_bytes(), [0xaa; 32]);
        assert_eq!(full.after_16(), [0xaa; 16]);
        let six = raw(6).unwrap();
        assert_eq!(six.first_16()[..8], [0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0xaa, 0, 0]);
        assert_eq!(six.after_16(), []);
        assert_eq!(six.to_string(), "aa aa aa aa aa aa");
    }
}
