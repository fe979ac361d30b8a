//! Sense data: what a device server says about a failed command (SPC).
//!
//! [`Sense`] holds the parts that matter of either format. [`descriptors`] gives the raw
//! descriptors of descriptor format data.

mod additional;
#[cfg(test)]
mod tests;
mod texts;

use core::fmt;

pub use additional::AdditionalSense;

use crate::bytes::{Fields, Out, bit, cut, need};
use crate::codes::codes;
use crate::error::ParseError;

codes! {
    /// Sense key: the broad kind of a condition.
    ///
    /// ```
    /// use iscsi_scsi::sense::SenseKey;
    /// assert_eq!(SenseKey::new(3), Some(SenseKey::MEDIUM_ERROR));
    /// assert_eq!(SenseKey::MEDIUM_ERROR.label(), "MEDIUM ERROR");
    /// ```
    pub struct SenseKey: 4 bits {
        NO_SENSE = 0x0 => "NO SENSE",
        RECOVERED_ERROR = 0x1 => "RECOVERED ERROR",
        NOT_READY = 0x2 => "NOT READY",
        MEDIUM_ERROR = 0x3 => "MEDIUM ERROR",
        HARDWARE_ERROR = 0x4 => "HARDWARE_ERROR",
        ILLEGAL_REQUEST = 0x5 => "ILLEGAL_REQUEST",
        UNIT_ATTENTION = 0x6 => "UNIT_ATTENTION",
        DATA_PROTECT = 0x7 => "DATA PROTECTION",
        BLANK_CHECK = 0x8 => "BLANK CHECK",
        VENDOR_SPECIFIC = 0x9 => "VENDOR SPECIFIC",
        COPY_ABORTED = 0xa => "COPY ABORTED",
        ABORTED_COMMAND = 0xb => "COMMAND ABORTED",
        /// EQUAL in old versions.
        OBSOLETE = 0xc => "OBSOLETE_ERROR_CODE",
        VOLUME_OVERFLOW = 0xd => "OVERFLOW_COMMAND",
        MISCOMPARE = 0xe => "MISCOMPARE",
        COMPLETED = 0xf => "COMPLETED",
    }
}

/// The sense key specific bytes, by sense key.
///
/// ```
/// use iscsi_scsi::sense::SenseKeySpecific;
/// let half = SenseKeySpecific::Progress(0x8000);
/// assert_eq!(half.percent(), Some(50));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SenseKeySpecific {
    /// With ILLEGAL REQUEST: which field is wrong.
    FieldPointer {
        /// In the CDB, else in the parameter list.
        in_cdb: bool,
        /// Most significant bit of the field, 0 to 7, if told.
        bit: Option<u8>,
        /// Index of the byte.
        byte: u16,
    },
    /// With RECOVERED, HARDWARE and MEDIUM ERROR: how often was tried again.
    RetryCount(u16),
    /// With NO SENSE and NOT READY: progress in 65536ths.
    Progress(u16),
    /// With UNIT ATTENTION: whether conditions were lost.
    UnitAttentionOverflow(bool),
    /// With another sense key: the three bytes.
    Other([u8; 3]),
}

impl SenseKeySpecific {
    /// Decodes the three bytes, `None` without the SKSV bit.
    fn decode(key: SenseKey, bytes: [u8; 3]) -> Option<Self> {
        let [flags, high, low] = bytes;
        if flags & 0x80 == 0 {
            return None;
        }
        let number = u16::from_be_bytes([high, low]);
        Some(match key {
            SenseKey::ILLEGAL_REQUEST => Self::FieldPointer {
                in_cdb: flags & 0x40 != 0,
                bit: (flags & 0x08 != 0).then_some(flags & 0x07),
                byte: number,
            },
            SenseKey::RECOVERED_ERROR | SenseKey::HARDWARE_ERROR | SenseKey::MEDIUM_ERROR => {
                Self::RetryCount(number)
            }
            SenseKey::NO_SENSE | SenseKey::NOT_READY => Self::Progress(number),
            SenseKey::UNIT_ATTENTION => Self::UnitAttentionOverflow(flags & 0x01 != 0),
            _ => Self::Other(bytes),
        })
    }

    fn encode(self) -> [u8; 3] {
        let (flags, number) = match self {
            Self::FieldPointer { in_cdb, bit: position, byte } => {
                (bit(in_cdb, 0x40) | position.map_or(0, |position| 0x08 | position & 0x07), byte)
            }
            Self::RetryCount(number) | Self::Progress(number) => (0, number),
            Self::UnitAttentionOverflow(overflow) => (bit(overflow, 0x01), 0),
            Self::Other([flags, high, low]) => (flags, u16::from_be_bytes([high, low])),
        };
        let [high, low] = number.to_be_bytes();
        [flags | 0x80, high, low]
    }

    /// Progress in percent, if this is a progress.
    pub const fn percent(self) -> Option<u8> {
        match self {
            // 65535 * 100 / 65536 is 99, so the cast keeps the value.
            Self::Progress(progress) => Some((progress as u32 * 100 / 65536) as u8),
            _ => None,
        }
    }
}

/// Parsed sense data of either format.
///
/// ```
/// use iscsi_scsi::sense::{AdditionalSense, Sense, SenseKey};
///
/// let bytes = [0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x20, 0, 0, 0, 0, 0];
/// let sense = Sense::parse(&bytes)?;
/// assert_eq!(sense.key, SenseKey::ILLEGAL_REQUEST);
/// assert_eq!(sense.additional, AdditionalSense::INVALID_OPERATION_CODE);
///
/// let mut again = [0; 18];
/// assert_eq!(sense.emit_fixed(&mut again), 18);
/// assert_eq!(again, bytes);
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sense {
    /// The condition belongs to an earlier command that had ended with GOOD.
    pub deferred: bool,
    /// Sense key.
    pub key: SenseKey,
    /// Additional sense code and qualifier; 00/00 if the data is too short to tell.
    pub additional: AdditionalSense,
    /// INFORMATION, if valid: an address for medium errors, a residue for ILI.
    pub information: Option<u64>,
    /// COMMAND-SPECIFIC INFORMATION. Fixed format has no valid bit; there, 0 is `None`.
    pub command_specific: Option<u64>,
    /// The sense key specific field, if valid.
    pub sense_key_specific: Option<SenseKeySpecific>,
    /// FIELD REPLACEABLE UNIT CODE, if not 0.
    pub fru: Option<u8>,
    /// FILEMARK, sequential devices.
    pub filemark: bool,
    /// EOM: end of medium.
    pub end_of_medium: bool,
    /// ILI: the block length asked for is not that of the medium.
    pub incorrect_length: bool,
    /// SDAT_OVFL: the device had more to say than fits.
    pub overflow: bool,
}

impl Sense {
    /// The most sense data there can be, in bytes.
    pub const MAX: usize = 252;

    /// A current condition with nothing but its codes.
    pub fn new(key: SenseKey, additional: AdditionalSense) -> Self {
        Self { key, additional, ..Self::default() }
    }

    /// The same with INFORMATION.
    pub fn with_information(self, information: u64) -> Self {
        Self { information: Some(information), ..self }
    }

    /// The same with a sense key specific field.
    pub fn with_sense_key_specific(self, specific: SenseKeySpecific) -> Self {
        Self { sense_key_specific: Some(specific), ..self }
    }

    /// Whether it is a unit attention that says that the unit was powered on or reset (29h/00h to 04h). What was in its volatile write cache
    /// may be lost then. The loss of an I_T nexus (29h/07h) tells nothing of the kind.
    ///
    /// ```
    /// use iscsi_scsi::sense::{AdditionalSense, Sense, SenseKey};
    /// let attention = |additional| Sense::new(SenseKey::UNIT_ATTENTION, additional);
    /// assert!(attention(AdditionalSense::POWER_ON_OCCURRED).is_reset());
    /// assert!(!attention(AdditionalSense::NEXUS_LOSS_OCCURRED).is_reset());
    /// ```
    pub fn is_reset(&self) -> bool {
        !self.deferred && self.key == SenseKey::UNIT_ATTENTION && self.additional.is_reset()
    }

    /// Parses fixed or descriptor format data of any length. What is not there is `None`.
    ///
    /// # Errors
    /// [`ParseError::Short`] if even the sense key is missing, [`ParseError::Format`] for a
    /// response code other than 70h to 73h.
    pub fn parse(data: &[u8]) -> Result<Self, ParseError> {
        need(data, 1)?;
        match Fields(data).u8(0) & 0x7f {
            0x70 | 0x71 => Self::parse_fixed(data),
            0x72 | 0x73 => Self::parse_descriptor(data),
            got => Err(ParseError::Format { got }),
        }
    }

    fn parse_fixed(data: &[u8]) -> Result<Self, ParseError> {
        need(data, 3)?;
        // The additional length bounds the fields, once it was received.
        let full = data.get(7).map_or(7, |&additional| usize::from(additional) + 8);
        let data = cut(data, full);
        let f = Fields(data);
        let key = SenseKey::from_bits(f.u8(2));
        let command_specific = u64::from(f.u32(8));
        Ok(Self {
            deferred: f.flag(0, 0x01),
            key,
            additional: AdditionalSense { asc: f.u8(12), ascq: f.u8(13) },
            information: (f.flag(0, 0x80) && data.len() >= 7).then(|| f.u32(3).into()),
            command_specific: (command_specific != 0).then_some(command_specific),
            sense_key_specific: SenseKeySpecific::decode(key, f.array(15)),
            fru: (f.u8(14) != 0).then(|| f.u8(14)),
            filemark: f.flag(2, 0x80),
            end_of_medium: f.flag(2, 0x40),
            incorrect_length: f.flag(2, 0x20),
            overflow: f.flag(2, 0x10),
        })
    }

    fn parse_descriptor(data: &[u8]) -> Result<Self, ParseError> {
        need(data, 2)?;
        let f = Fields(data);
        let mut sense = Self {
            deferred: f.flag(0, 0x01),
            key: SenseKey::from_bits(f.u8(1)),
            additional: AdditionalSense { asc: f.u8(2), ascq: f.u8(3) },
            overflow: f.flag(4, 0x80),
            ..Self::default()
        };
        for descriptor in descriptors(data) {
            let f = Fields(descriptor.data);
            let whole = descriptor.data.len() >= 10;
            match descriptor.kind {
                0x00 if whole && f.flag(0, 0x80) => sense.information = Some(f.u64(2)),
                0x01 if whole => sense.command_specific = Some(f.u64(2)),
                0x02 => {
                    sense.sense_key_specific = SenseKeySpecific::decode(sense.key, f.array(2));
                }
                0x03 => sense.fru = (f.u8(1) != 0).then(|| f.u8(1)),
                0x04 => {
                    sense.filemark = f.flag(1, 0x80);
                    sense.end_of_medium = f.flag(1, 0x40);
                    sense.incorrect_length |= f.flag(1, 0x20);
                }
                0x05 => sense.incorrect_length |= f.flag(1, 0x20),
                // Direct-access block device: all of the above in one.
                0x0d if descriptor.data.len() >= 22 => {
                    sense.information = f.flag(0, 0x80).then(|| f.u64(6)).or(sense.information);
                    sense.incorrect_length |= f.flag(0, 0x20);
                    sense.sense_key_specific = SenseKeySpecific::decode(sense.key, f.array(2))
                        .or(sense.sense_key_specific);
                    sense.fru = (f.u8(5) != 0).then(|| f.u8(5)).or(sense.fru);
                    sense.command_specific =
                        Some(f.u64(14)).filter(|&value| value != 0).or(sense.command_specific);
                }
                _ => {}
            }
        }
        Ok(sense)
    }

    /// Writes fixed format data of 18 bytes, truncated to the buffer, and returns 18.
    ///
    /// INFORMATION and COMMAND-SPECIFIC INFORMATION have 32 bits here: a larger value is left out,
    /// and VALID with it.
    pub fn emit_fixed(&self, out: &mut [u8]) -> usize {
        let small = |value: Option<u64>| value.and_then(|value| u32::try_from(value).ok());
        let information = small(self.information);
        Out::new(out)
            .u8(0x70 | bit(self.deferred, 0x01) | bit(information.is_some(), 0x80))
            .zeros(1)
            .u8(self.key.code()
                | bit(self.filemark, 0x80)
                | bit(self.end_of_medium, 0x40)
                | bit(self.incorrect_length, 0x20)
                | bit(self.overflow, 0x10))
            .u32(information.unwrap_or(0))
            .u8(10)
            .u32(small(self.command_specific).unwrap_or(0))
            .u8(self.additional.asc)
            .u8(self.additional.ascq)
            .u8(self.fru.unwrap_or(0))
            .bytes(&self.sense_key_specific.map_or([0; 3], SenseKeySpecific::encode))
            .len()
    }

    /// Writes descriptor format data, truncated to the buffer, and returns the full size: 8 bytes
    /// and a descriptor for each part that is there.
    pub fn emit_descriptor(&self, out: &mut [u8]) -> usize {
        let mut out = Out::new(out);
        out.u8(0x72 | bit(self.deferred, 0x01))
            .u8(self.key.code())
            .u8(self.additional.asc)
            .u8(self.additional.ascq)
            .u8(bit(self.overflow, 0x80))
            .zeros(3);
        if let Some(information) = self.information {
            out.bytes(&[0x00, 0x0a, 0x80, 0]).u64(information);
        }
        if let Some(specific) = self.command_specific {
            out.bytes(&[0x01, 0x0a, 0, 0]).u64(specific);
        }
        if let Some(specific) = self.sense_key_specific {
            out.bytes(&[0x02, 0x06, 0, 0]).bytes(&specific.encode()).zeros(1);
        }
        if let Some(fru) = self.fru {
            out.bytes(&[0x03, 0x02, 0, fru]);
        }
        if self.filemark || self.end_of_medium {
            let flags = bit(self.filemark, 0x80)
                | bit(self.end_of_medium, 0x40)
                | bit(self.incorrect_length, 0x20);
            out.bytes(&[0x04, 0x02, 0, flags]);
        } else if self.incorrect_length {
            out.bytes(&[0x05, 0x02, 0, 0x20]);
        }
        // At most 44 bytes of descriptors.
        let additional = u8::try_from(out.len() - 8).unwrap_or(u8::MAX);
        out.patch(7, &[additional]);
        out.len()
    }
}

/// For a log line: `sense key 0x5 ILLEGAL_REQUEST, 20/00 invalid command operation code`.
impl fmt::Display for Sense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.deferred {
            f.write_str("deferred ")?;
        }
        write!(f, "sense key {:#x} {}, {}", self.key.code(), self.key, self.additional)?;
        if let Some(information) = self.information {
            write!(f, ", information {information:#x}")?;
        }
        match self.sense_key_specific {
            Some(SenseKeySpecific::FieldPointer { in_cdb, bit, byte }) => {
                let place = if in_cdb { "CDB" } else { "parameter list" };
                write!(f, ", {place} byte {byte}")?;
                bit.map_or(Ok(()), |bit| write!(f, " bit {bit}"))
            }
            Some(specific) => match specific.percent() {
                Some(percent) => write!(f, ", {percent}% done"),
                None => Ok(()),
            },
            None => Ok(()),
        }
    }
}

/// One descriptor of descriptor format sense data.
///
/// ```
/// use iscsi_scsi::sense::descriptors;
/// let data = [0x72, 3, 0x11, 0, 0, 0, 0, 4, 0x03, 0x02, 0, 7];
/// let fru = descriptors(&data).next().unwrap();
/// assert_eq!((fru.kind, fru.data), (3, &[0, 7][..]));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenseDescriptor<'a> {
    /// Descriptor type.
    pub kind: u8,
    /// The bytes after type and length.
    pub data: &'a [u8],
}

/// The descriptors of sense data, none for fixed format data. A descriptor that is cut off ends
/// the iteration.
pub fn descriptors(data: &[u8]) -> impl Iterator<Item = SenseDescriptor<'_>> + Clone {
    let f = Fields(data);
    let descriptor_format = matches!(f.u8(0) & 0x7f, 0x72 | 0x73);
    let length = if descriptor_format { usize::from(f.u8(7)) } else { 0 };
    let mut rest = f.slice(8, length);
    core::iter::from_fn(move || {
        let (&[kind, length], after) = rest.split_first_chunk()?;
        let (data, after) = after.split_at_checked(length.into())?;
        rest = after;
        Some(SenseDescriptor { kind, data })
    })
}
