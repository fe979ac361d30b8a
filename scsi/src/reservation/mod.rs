//! Reservations: PERSISTENT RESERVE IN and OUT, RESERVE and RELEASE (SPC, SPC-2).

mod lists;
mod reports;
#[cfg(test)]
mod tests;

use crate::bytes::Fields;
use crate::cdb::{Cdb, CdbWriter};
use crate::codes::codes;
use crate::error::CommandError;

pub use lists::{RegisterAndMove, ReserveParameters};
pub use reports::{
    FullStatus, FullStatusDescriptor, Reservation, ReservationCapabilities, ReservationHeader,
    ReservationKeys,
};

codes! {
    /// Service action of PERSISTENT RESERVE IN.
    ///
    /// ```
    /// use iscsi_scsi::reservation::ReserveInAction;
    /// assert_eq!(ReserveInAction::READ_FULL_STATUS.code(), 3);
    /// ```
    pub struct ReserveInAction: 5 bits {
        READ_KEYS = 0 => "READ KEYS",
        READ_RESERVATION = 1 => "READ RESERVATION",
        REPORT_CAPABILITIES = 2 => "REPORT CAPABILITIES",
        READ_FULL_STATUS = 3 => "READ FULL STATUS",
    }
}

codes! {
    /// Service action of PERSISTENT RESERVE OUT.
    ///
    /// ```
    /// use iscsi_scsi::reservation::ReserveOutAction;
    /// assert_eq!(ReserveOutAction::PREEMPT.code(), 4);
    /// ```
    pub struct ReserveOutAction: 5 bits {
        REGISTER = 0 => "REGISTER",
        RESERVE = 1 => "RESERVE",
        RELEASE = 2 => "RELEASE",
        CLEAR = 3 => "CLEAR",
        PREEMPT = 4 => "PREEMPT",
        PREEMPT_AND_ABORT = 5 => "PREEMPT AND ABORT",
        REGISTER_AND_IGNORE = 6 => "REGISTER AND IGNORE EXISTING KEY",
        REGISTER_AND_MOVE = 7 => "REGISTER AND MOVE",
        REPLACE_LOST = 8 => "REPLACE LOST RESERVATION",
    }
}

codes! {
    /// TYPE of a persistent reservation.
    ///
    /// ```
    /// use iscsi_scsi::reservation::ReservationType;
    /// assert_eq!(ReservationType::WRITE_EXCLUSIVE.label(), "Write Exclusive");
    /// ```
    pub struct ReservationType: 4 bits {
        WRITE_EXCLUSIVE = 1 => "Write Exclusive",
        EXCLUSIVE_ACCESS = 3 => "Exclusive Access",
        WRITE_EXCLUSIVE_REGISTRANTS = 5 => "Write Exclusive, Registrants Only",
        EXCLUSIVE_ACCESS_REGISTRANTS = 6 => "Exclusive Access Registrants Only",
        WRITE_EXCLUSIVE_ALL = 7 => "Write Exclusive, All Registrants",
        EXCLUSIVE_ACCESS_ALL = 8 => "Exclusive Access, All Registrants",
    }
}

codes! {
    /// SCOPE of a persistent reservation.
    ///
    /// ```
    /// use iscsi_scsi::reservation::Scope;
    /// assert_eq!(Scope::default().label(), "LU_SCOPE");
    /// ```
    pub struct Scope: 4 bits {
        LOGICAL_UNIT = 0 => "LU_SCOPE",
    }
}

/// PERSISTENT RESERVE IN.
///
/// ```
/// use iscsi_scsi::reservation::{PersistentReserveIn, ReserveInAction};
/// let action = ReserveInAction::READ_RESERVATION;
/// let cdb = PersistentReserveIn { action, allocation_length: 24 }.cdb();
/// assert_eq!(cdb.as_bytes(), [0x5e, 1, 0, 0, 0, 0, 0, 0, 24, 0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PersistentReserveIn {
    /// Service action.
    pub action: ReserveInAction,
    /// Bytes the caller has room for.
    pub allocation_length: u16,
}

impl PersistentReserveIn {
    /// Operation code.
    pub const OPCODE: u8 = 0x5e;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        CdbWriter::new(Self::OPCODE)
            .u8(self.action.code())
            .zeros::<5>()
            .u16(self.allocation_length)
            .zeros::<1>()
            .bytes_in(self.allocation_length.into())
    }

    pub(crate) fn parse(f: Fields<'_>) -> Result<Self, CommandError> {
        Ok(Self { action: ReserveInAction::from_bits(f.u8(1)), allocation_length: f.u16(7) })
    }
}

/// PERSISTENT RESERVE OUT. Its data-out is a [`ReserveParameters`] or a [`RegisterAndMove`].
///
/// ```
/// use iscsi_scsi::reservation::{PersistentReserveOut, ReservationType, ReserveOutAction};
/// let cdb = PersistentReserveOut {
///     action: ReserveOutAction::RESERVE,
///     kind: ReservationType::EXCLUSIVE_ACCESS,
///     ..Default::default()
/// }.cdb();
/// assert_eq!(cdb.as_bytes(), [0x5f, 1, 0x03, 0, 0, 0, 0, 0, 24, 0]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PersistentReserveOut {
    /// Service action.
    pub action: ReserveOutAction,
    /// Scope.
    pub scope: Scope,
    /// Type; actions without a reservation ignore it.
    pub kind: ReservationType,
    /// Bytes of the parameter list; 24 without TransportIDs.
    pub parameter_list_length: u32,
}

impl Default for PersistentReserveOut {
    fn default() -> Self {
        Self {
            action: ReserveOutAction::REGISTER,
            scope: Scope::LOGICAL_UNIT,
            kind: ReservationType::default(),
            parameter_list_length: 24,
        }
    }
}

impl PersistentReserveOut {
    /// Operation code.
    pub const OPCODE: u8 = 0x5f;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        CdbWriter::new(Self::OPCODE)
            .u8(self.action.code())
            .u8(self.scope.code() << 4 | self.kind.code())
            .zeros::<2>()
            .u32(self.parameter_list_length)
            .zeros::<1>()
            .bytes_out(self.parameter_list_length)
    }

    pub(crate) fn parse(f: Fields<'_>) -> Result<Self, CommandError> {
        Ok(Self {
            action: ReserveOutAction::from_bits(f.u8(1)),
            scope: Scope::from_bits(f.u8(2) >> 4),
            kind: ReservationType::from_bits(f.u8(2)),
            parameter_list_length: f.u32(5),
        })
    }
}

macro_rules! plain {
    ($(#[$meta:meta])* $name:ident, $opcode:literal, $zeros:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name;

        impl $name {
            /// Operation code.
            pub const OPCODE: u8 = $opcode;

            /// The CDB.
            pub fn cdb(&self) -> Cdb {
                CdbWriter::new($opcode).zeros::<$zeros>().no_data()
            }

            /// The obsolete third-party and extent bits must be zero.
            pub(crate) fn parse(f: Fields<'_>) -> Result<Self, CommandError> {
                match f.u8(1) & 0x1f {
                    0 => Ok(Self),
                    _ => Err(CommandError::Field { byte: 1, bit: 4 }),
                }
            }
        }
    };
}

plain! {
    /// RESERVE(6) of SPC-2, for the whole unit and this initiator.
    ///
    /// ```
    /// use iscsi_scsi::reservation::Reserve6;
    /// assert_eq!(Reserve6.cdb().as_bytes(), [0x16, 0, 0, 0, 0, 0]);
    /// ```
    Reserve6, 0x16, 5
}
plain! {
    /// RELEASE(6) of SPC-2.
    ///
    /// ```
    /// use iscsi_scsi::reservation::Release6;
    /// assert_eq!(Release6.cdb().as_bytes(), [0x17, 0, 0, 0, 0, 0]);
    /// ```
    Release6, 0x17, 5
}
plain! {
    /// RESERVE(10) of SPC-2, for the whole unit and this initiator.
    ///
    /// ```
    /// use iscsi_scsi::reservation::Reserve10;
    /// assert_eq!(Reserve10.cdb().as_bytes(), [0x56, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    /// ```
    Reserve10, 0x56, 9
}
plain! {
    /// RELEASE(10) of SPC-2.
    ///
    /// ```
    /// use iscsi_scsi::reservation::Release10;
    /// assert_eq!(Release10.cdb().as_bytes(), [0x57, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    /// ```
    Release10, 0x57, 9
}
