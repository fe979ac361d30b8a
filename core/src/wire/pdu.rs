//! Any PDU of one direction, told apart by its opcode.

use super::bhs::{Bhs, Opcode};
use super::error::FormatError;
use super::{
    AsyncMessage, DataIn, DataOut, LoginRequest, LoginResponse, LogoutRequest, LogoutResponse,
    NopIn, NopOut, R2t, Reject, ScsiCommand, ScsiResponse, SnackRequest, TaskManagementRequest,
    TaskManagementResponse, TextRequest, TextResponse,
};

macro_rules! pdus {
    ($(#[$doc:meta])* $name:ident { $($(#[$kind_doc:meta])* $kind:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $name {
            $($(#[$kind_doc])* $kind($kind),)*
        }

        impl $name {
            /// Reads a header of any kind that this side sends. Reserved bits and fields are ignored.
            ///
            /// # Errors
            ///
            /// The opcode is not one of this side's, or what the kind's own `parse` finds.
            #[inline]
            pub fn parse(bhs: &Bhs) -> Result<Self, FormatError> {
                match Opcode::of(bhs) {
                    $(Some(Opcode::$kind) => $kind::parse(bhs).map(Self::$kind),)*
                    found => Err(foreign(bhs, found)),
                }
            }

            /// Which kind it is.
            #[inline]
            pub const fn opcode(&self) -> Opcode {
                match self {
                    $(Self::$kind(_) => Opcode::$kind,)*
                }
            }

            /// Writes all 48 bytes.
            #[inline]
            pub fn emit(&self, bhs: &mut Bhs) {
                match self {
                    $(Self::$kind(pdu) => pdu.emit(bhs),)*
                }
            }
        }

        $(
            impl From<$kind> for $name {
                fn from(pdu: $kind) -> Self {
                    Self::$kind(pdu)
                }
            }
        )*
    };
}

pdus! {
    /// A PDU that a target sends (RFC 7143 section 11.2.1.2).
    ///
    /// ```
    /// use iscsi_core::wire::{BHS_LEN, FormatError, NopInKind, TargetPdu};
    ///
    /// let mut bhs = [0; BHS_LEN];
    /// bhs[0] = 0x20;
    /// bhs[16..24].fill(0xff);
    /// let Ok(TargetPdu::NopIn(nop)) = TargetPdu::parse(&bhs) else { panic!() };
    /// assert_eq!(nop.kind, NopInKind::Update);
    /// bhs[0] = 0x3c;
    /// assert_eq!(TargetPdu::parse(&bhs), Err(FormatError::VendorOpcode(0x3c)));
    /// ```
    TargetPdu {
        /// 0x25.
        DataIn,
        /// 0x21.
        ScsiResponse,
        /// 0x31.
        R2t,
        /// 0x20.
        NopIn,
        /// 0x22.
        TaskManagementResponse,
        /// 0x23.
        LoginResponse,
        /// 0x24.
        TextResponse,
        /// 0x26.
        LogoutResponse,
        /// 0x32.
        AsyncMessage,
        /// 0x3f.
        Reject,
    }
}

pdus! {
    /// A PDU that an initiator sends (RFC 7143 section 11.2.1.2).
    ///
    /// ```
    /// use iscsi_core::wire::{BHS_LEN, FormatError, InitiatorPdu};
    ///
    /// let mut bhs = [0; BHS_LEN];
    /// bhs[0] = 0x01;
    /// bhs[1] = 0x80;
    /// assert!(matches!(InitiatorPdu::parse(&bhs), Ok(InitiatorPdu::ScsiCommand(_))));
    /// bhs[0] = 0x25;
    /// assert_eq!(InitiatorPdu::parse(&bhs), Err(FormatError::WrongDirection(0x25)));
    /// ```
    InitiatorPdu {
        /// 0x01.
        ScsiCommand,
        /// 0x05.
        DataOut,
        /// 0x00.
        NopOut,
        /// 0x02.
        TaskManagementRequest,
        /// 0x03.
        LoginRequest,
        /// 0x04.
        TextRequest,
        /// 0x06.
        LogoutRequest,
        /// 0x10.
        SnackRequest,
    }
}

/// What is wrong with an opcode that this side does not send.
#[cold]
fn foreign(bhs: &Bhs, found: Option<Opcode>) -> FormatError {
    let opcode = bhs[0] & Opcode::MASK;
    match found {
        Some(_) => FormatError::WrongDirection(opcode),
        None if Opcode::is_vendor(opcode) => FormatError::VendorOpcode(opcode),
        None => FormatError::UnassignedOpcode(opcode),
    }
}
