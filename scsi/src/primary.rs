//! Commands of every device type: TEST UNIT READY, REQUEST SENSE, INQUIRY, START STOP UNIT,
//! PREVENT ALLOW MEDIUM REMOVAL (SPC, SBC).

use crate::bytes::{Fields, bit};
use crate::cdb::{Cdb, CdbWriter};
use crate::codes::codes;
use crate::error::CommandError;
use crate::fields::Bits;
use crate::vpd::PageCode;

/// TEST UNIT READY.
///
/// ```
/// use iscsi_scsi::primary::TestUnitReady;
/// assert_eq!(TestUnitReady.cdb().as_bytes(), [0, 0, 0, 0, 0, 0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TestUnitReady;

impl TestUnitReady {
    /// Operation code.
    pub const OPCODE: u8 = 0x00;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        CdbWriter::new(Self::OPCODE).zeros::<5>().no_data()
    }
}

/// REQUEST SENSE.
///
/// ```
/// use iscsi_scsi::primary::RequestSense;
/// let cdb = RequestSense { descriptor: true, allocation_length: 252 }.cdb();
/// assert_eq!(cdb.as_bytes(), [0x03, 0x01, 0, 0, 252, 0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestSense {
    /// DESC: ask for descriptor format.
    pub descriptor: bool,
    /// Bytes the caller has room for; sense data has at most 252.
    pub allocation_length: u8,
}

impl Default for RequestSense {
    fn default() -> Self {
        Self { descriptor: false, allocation_length: 252 }
    }
}

impl RequestSense {
    /// Operation code.
    pub const OPCODE: u8 = 0x03;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        CdbWriter::new(Self::OPCODE)
            .u8(bit(self.descriptor, 0x01))
            .zeros::<2>()
            .u8(self.allocation_length)
            .zeros::<1>()
            .bytes_in(self.allocation_length.into())
    }

    pub(crate) fn parse(f: Fields<'_>) -> Result<Self, CommandError> {
        Ok(Self { descriptor: f.flag(1, 0x01), allocation_length: f.u8(4) })
    }
}

/// INQUIRY: standard data, or one vital product data page.
///
/// ```
/// use iscsi_scsi::{primary::Inquiry, vpd::PageCode};
/// let cdb = Inquiry { page: None, allocation_length: 96 }.cdb();
/// assert_eq!(cdb.as_bytes(), [0x12, 0, 0, 0, 96, 0]);
/// let cdb = Inquiry { page: Some(PageCode::BLOCK_LIMITS), allocation_length: 0x0102 }.cdb();
/// assert_eq!(cdb.as_bytes(), [0x12, 0x01, 0xb0, 1, 2, 0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inquiry {
    /// The vital product data page, or `None` for standard data.
    pub page: Option<PageCode>,
    /// Bytes the caller has room for. Old devices look at the low byte only, so 255 or less is
    /// the safe choice for a first request.
    pub allocation_length: u16,
}

impl Default for Inquiry {
    fn default() -> Self {
        Self { page: None, allocation_length: 96 }
    }
}

impl Inquiry {
    /// Operation code.
    pub const OPCODE: u8 = 0x12;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        CdbWriter::new(Self::OPCODE)
            .u8(bit(self.page.is_some(), 0x01))
            .u8(self.page.map_or(0, PageCode::code))
            .u16(self.allocation_length)
            .zeros::<1>()
            .bytes_in(self.allocation_length.into())
    }

    /// Without EVPD the page code must be 0, and the obsolete CMDDT bit must be 0.
    pub(crate) fn parse(f: Fields<'_>) -> Result<Self, CommandError> {
        if f.flag(1, 0x02) {
            return Err(CommandError::Field { byte: 1, bit: 1 });
        }
        let page = match (f.flag(1, 0x01), f.u8(2)) {
            (true, code) => Some(PageCode::from_bits(code)),
            (false, 0) => None,
            (false, _) => return Err(CommandError::Field { byte: 2, bit: 7 }),
        };
        Ok(Self { page, allocation_length: f.u16(3) })
    }
}

codes! {
    /// POWER CONDITION of START STOP UNIT (SBC).
    ///
    /// ```
    /// use iscsi_scsi::primary::PowerCondition;
    /// assert_eq!(PowerCondition::STANDBY.code(), 3);
    /// ```
    pub struct PowerCondition: 4 bits {
        /// The START and LOEJ bits decide.
        START_VALID = 0x0 => "start valid",
        ACTIVE = 0x1 => "active",
        IDLE = 0x2 => "idle",
        STANDBY = 0x3 => "standby",
        LU_CONTROL = 0x7 => "logical unit control",
        FORCE_IDLE = 0xa => "force idle",
        FORCE_STANDBY = 0xb => "force standby",
    }
}

/// START STOP UNIT.
///
/// ```
/// use iscsi_scsi::primary::StartStopUnit;
/// let eject = StartStopUnit { load_eject: true, ..Default::default() }.cdb();
/// assert_eq!(eject.as_bytes(), [0x1b, 0, 0, 0, 0x02, 0]);
/// let start = StartStopUnit { start: true, immediate: true, ..Default::default() }.cdb();
/// assert_eq!(start.as_bytes(), [0x1b, 0x01, 0, 0, 0x01, 0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StartStopUnit {
    /// Return status at once.
    pub immediate: bool,
    /// Power condition; the default lets `start` and `load_eject` decide.
    pub power_condition: PowerCondition,
    /// POWER CONDITION MODIFIER.
    pub modifier: Bits<4>,
    /// Do not write the cache back first.
    pub no_flush: bool,
    /// LOEJ: load the medium if `start`, else eject it.
    pub load_eject: bool,
    /// Start the unit, else stop it.
    pub start: bool,
}

impl StartStopUnit {
    /// Operation code.
    pub const OPCODE: u8 = 0x1b;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        CdbWriter::new(Self::OPCODE)
            .u8(bit(self.immediate, 0x01))
            .zeros::<1>()
            .u8(self.modifier.get())
            .u8(self.power_condition.code() << 4
                | bit(self.no_flush, 0x04)
                | bit(self.load_eject, 0x02)
                | bit(self.start, 0x01))
            .zeros::<1>()
            .no_data()
    }

    pub(crate) fn parse(f: Fields<'_>) -> Result<Self, CommandError> {
        Ok(Self {
            immediate: f.flag(1, 0x01),
            power_condition: PowerCondition::from_bits(f.u8(4) >> 4),
            modifier: Bits::from_bits(f.u8(3)),
            no_flush: f.flag(4, 0x04),
            load_eject: f.flag(4, 0x02),
            start: f.flag(4, 0x01),
        })
    }
}

codes! {
    /// PREVENT field of PREVENT ALLOW MEDIUM REMOVAL.
    ///
    /// ```
    /// use iscsi_scsi::primary::Prevent;
    /// assert_eq!(Prevent::PREVENT.code(), 1);
    /// ```
    pub struct Prevent: 2 bits {
        ALLOW = 0 => "allow removal",
        PREVENT = 1 => "prevent removal",
    }
}

/// PREVENT ALLOW MEDIUM REMOVAL.
///
/// ```
/// use iscsi_scsi::primary::{Prevent, PreventAllowMediumRemoval};
/// let cdb = PreventAllowMediumRemoval { prevent: Prevent::PREVENT }.cdb();
/// assert_eq!(cdb.as_bytes(), [0x1e, 0, 0, 0, 1, 0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PreventAllowMediumRemoval {
    /// Prevent or allow.
    pub prevent: Prevent,
}

impl PreventAllowMediumRemoval {
    /// Operation code.
    pub const OPCODE: u8 = 0x1e;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        CdbWriter::new(Self::OPCODE).zeros::<3>().u8(self.prevent.code()).zeros::<1>().no_data()
    }

    pub(crate) fn parse(f: Fields<'_>) -> Result<Self, CommandError> {
        Ok(Self { prevent: Prevent::from_bits(f.u8(4)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_code_needs_evpd() {
        let parse = |cdb: [u8; 6]| Inquiry::parse(Fields(&cdb));
        assert_eq!(parse([0x12, 0, 0x83, 0, 96, 0]), Err(CommandError::Field { byte: 2, bit: 7 }));
        assert_eq!(parse([0x12, 2, 0, 0, 96, 0]), Err(CommandError::Field { byte: 1, bit: 1 }));
        assert_eq!(
            parse([0x12, 1, 0, 1, 0, 0]),
            Ok(Inquiry { page: Some(PageCode::SUPPORTED_PAGES), allocation_length: 256 })
        );
    }
}
