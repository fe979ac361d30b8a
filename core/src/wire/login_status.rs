//! Why a login goes on or ends (RFC 7143 section 11.13.5).

use core::fmt;

use super::bhs::Bhs;
use super::field::{Field, codes, field};

/// Status-Class and Status-Detail of a Login Response (RFC 7143 section 11.13.5).
///
/// ```
/// use iscsi_core::wire::{LoginStatus, LoginStatusClass};
///
/// let status = LoginStatus { class: 2, detail: 0x0a };
/// assert_eq!(status, LoginStatus::SESSION_DOES_NOT_EXIST);
/// assert_eq!(status.to_string(), "Session does not exist (0x020a)");
/// assert_eq!(status.kind(), LoginStatusClass::InitiatorError);
/// let unknown = LoginStatus { class: 3, detail: 0x77 };
/// assert_eq!(unknown.to_string(), "Target error (0x0377)"); // the class decides
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LoginStatus {
    /// Status-Class.
    pub class: u8,
    /// Status-Detail.
    pub detail: u8,
}

codes! { open
    /// What a Status-Class means (RFC 7143 section 11.13.5).
    ///
    /// ```
    /// use iscsi_core::wire::LoginStatusClass;
    /// assert_eq!(LoginStatusClass::from_byte(3), LoginStatusClass::TargetError);
    /// ```
    LoginStatusClass {
        /// The login goes on, or is done.
        Success = 0, "Success";
        /// The target is elsewhere: the text has its TargetAddress.
        Redirection = 1, "Redirection";
        /// The initiator is at fault; the same request would fail again.
        InitiatorError = 2, "Initiator error";
        /// The target cannot now; the same request may succeed later.
        TargetError = 3, "Target error";
    }
}

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident = $class:literal, $detail:literal, $text:literal;)*) => {
        impl LoginStatus {
            $($(#[$doc])* pub const $name: Self = Self { class: $class, detail: $detail };)*

            /// The RFC's name, `None` for an unassigned status.
            pub const fn name(self) -> Option<&'static str> {
                match (self.class, self.detail) {
                    $(($class, $detail) => Some($text),)*
                    _ => None,
                }
            }
        }
    };
}

statuses! {
    /// The login goes on, or is done.
    SUCCESS = 0x00, 0x00, "Success";
    /// The target is elsewhere for now.
    TARGET_MOVED_TEMPORARILY = 0x01, 0x01, "Target moved temporarily";
    /// The target is elsewhere for good.
    TARGET_MOVED_PERMANENTLY = 0x01, 0x02, "Target moved permanently";
    /// An error of the initiator that has no other code.
    INITIATOR_ERROR = 0x02, 0x00, "Initiator error";
    /// The initiator could not prove who it is, or was required to.
    AUTHENTICATION_FAILURE = 0x02, 0x01, "Authentication failure";
    /// The initiator is not allowed to use this target.
    AUTHORIZATION_FAILURE = 0x02, 0x02, "Authorization failure";
    /// There is no such target here.
    NOT_FOUND = 0x02, 0x03, "Not found";
    /// The target was removed and has no new address.
    TARGET_REMOVED = 0x02, 0x04, "Target removed";
    /// The target speaks none of the offered versions.
    UNSUPPORTED_VERSION = 0x02, 0x05, "Unsupported version";
    /// The session has no room for another connection.
    TOO_MANY_CONNECTIONS = 0x02, 0x06, "Too many connections";
    /// A key that the target needs is missing.
    MISSING_PARAMETER = 0x02, 0x07, "Missing parameter";
    /// The target cannot make this connection part of that session.
    CANNOT_INCLUDE_IN_SESSION = 0x02, 0x08, "Can't include in session";
    /// The target has no sessions of this type.
    SESSION_TYPE_NOT_SUPPORTED = 0x02, 0x09, "Session type not supported";
    /// The TSIH names no session of this initiator.
    SESSION_DOES_NOT_EXIST = 0x02, 0x0a, "Session does not exist";
    /// A request that has no place in a login.
    INVALID_DURING_LOGIN = 0x02, 0x0b, "Invalid during login";
    /// An error of the target that has no other code.
    TARGET_ERROR = 0x03, 0x00, "Target error";
    /// The target does not serve now.
    SERVICE_UNAVAILABLE = 0x03, 0x01, "Service unavailable";
    /// The target has no room for another session or connection.
    OUT_OF_RESOURCES = 0x03, 0x02, "Out of resources";
}

impl LoginStatus {
    /// What the class means: it decides where the detail is unknown.
    pub const fn kind(self) -> LoginStatusClass {
        LoginStatusClass::from_byte(self.class)
    }
}

field! {
    LoginStatus,
    |[class, detail]: [u8; 2]| LoginStatus { class, detail },
    |status: LoginStatus| [status.class, status.detail];
}

impl fmt::Display for LoginStatus {
    /// The RFC's name, or that of the class, with both bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name)?,
            None => match self.kind() {
                LoginStatusClass::Other(_) => f.write_str("Unknown class")?,
                class => fmt::Display::fmt(&class, f)?,
            },
        }
        write!(f, " (0x{:02x}{:02x})", self.class, self.detail)
    }
}
