//! The records in an answer to SendTargets (RFC 7143 appendix C).

use core::fmt;
use core::str::Utf8Error;

use super::value::Special;
use super::{Key, Pair};
use crate::name::{IscsiName, NameError, NameRule};
use crate::portal::{PortalError, TargetAddress};

/// Reads the pairs of an answer to SendTargets, one after the other.
///
/// Each record begins with a TargetName; its TargetAddress pairs follow. A record without an address means the portal of the
/// connection that was asked.
///
/// ```
/// use iscsi_core::text::{Pairs, SendTargets, TargetItem};
///
/// let text = b"TargetName=iqn.2001-04.com.example:a\0TargetAddress=[2001:db8::1]:3260,1\0";
/// let mut records = SendTargets::new();
/// let mut pairs = Pairs::new(text).map(|pair| records.item(&pair.unwrap()).unwrap());
/// assert!(matches!(pairs.next(), Some(TargetItem::Name(name)) if name.as_str().ends_with(":a")));
/// let Some(TargetItem::Address(address)) = pairs.next() else { panic!() };
/// assert_eq!(address.target_portal_group_tag, Some(1));
/// ```
#[derive(Debug, Clone, Default)]
pub struct SendTargets {
    record: Record,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Record {
    /// No TargetName has come.
    #[default]
    None,
    /// The addresses belong to a name that was passed on.
    Good,
    /// The addresses belong to a name that was refused.
    Bad,
}

impl SendTargets {
    /// Before the first pair.
    pub const fn new() -> Self {
        Self { record: Record::None }
    }

    /// The meaning of the next pair.
    ///
    /// # Errors
    /// [`SendTargetsError`] if the target refuses, or an address comes before any name: the answer makes no sense then. A bad name or address is
    /// no error but an item, so that the other records can be used.
    pub fn item(&mut self, pair: &Pair<'_>) -> Result<TargetItem, SendTargetsError> {
        // Bytes that are not UTF-8 are in no valid name or address.
        let text = core::str::from_utf8(pair.value);
        let name = || {
            let not_text =
                |error: Utf8Error| NameError { rule: NameRule::Character, at: error.valid_up_to() };
            IscsiName::from_peer(text.map_err(not_text)?)
        };
        match Key::from_name(pair.key) {
            Some(Key::SendTargets) => match text.ok().and_then(Special::parse) {
                Some(answer) => Err(SendTargetsError::Refused(answer)),
                None => Ok(TargetItem::Ignored),
            },
            Some(Key::TargetName) => match name() {
                Ok(name) => {
                    self.record = Record::Good;
                    Ok(TargetItem::Name(name))
                }
                Err(error) => {
                    self.record = Record::Bad;
                    Ok(TargetItem::BadName(error))
                }
            },
            Some(Key::TargetAddress) => match self.record {
                Record::None => Err(SendTargetsError::AddressBeforeName),
                Record::Bad => Ok(TargetItem::Ignored),
                Record::Good => match TargetAddress::parse(text.unwrap_or_default()) {
                    Ok(address) => Ok(TargetItem::Address(address)),
                    Err(error) => Ok(TargetItem::BadAddress(error)),
                },
            },
            _ => Ok(TargetItem::Ignored),
        }
    }
}

/// One item of an answer to SendTargets.
///
/// ```
/// use iscsi_core::text::{Pairs, SendTargets, TargetItem};
/// let pair = Pairs::new(b"MaxBurstLength=512\0").next().unwrap().unwrap();
/// assert_eq!(SendTargets::new().item(&pair), Ok(TargetItem::Ignored));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetItem {
    /// A record begins.
    Name(IscsiName),
    /// An address of the record. Without a portal group tag the target broke a rule, yet the address is usable.
    Address(TargetAddress),
    /// A record with a name that is none; its addresses are skipped.
    BadName(NameError),
    /// An address that is none.
    BadAddress(PortalError),
    /// Another key, or an address of a record with a bad name. It has no effect.
    Ignored,
}

/// Why an answer to SendTargets makes no sense.
///
/// ```
/// use iscsi_core::text::{Pairs, SendTargets, SendTargetsError};
/// let pair = Pairs::new(b"TargetAddress=192.0.2.1,1\0").next().unwrap().unwrap();
/// assert_eq!(SendTargets::new().item(&pair), Err(SendTargetsError::AddressBeforeName));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendTargetsError {
    /// A TargetAddress comes before the first TargetName.
    AddressBeforeName,
    /// The target lists nothing: it answers the key itself, with NotUnderstood, Irrelevant or Reject.
    Refused(Special),
}

impl SendTargetsError {
    /// The section of RFC 7143 that holds the rule.
    pub const fn section(&self) -> &'static str {
        match self {
            Self::AddressBeforeName => "Appendix C",
            Self::Refused(_) => "6.2",
        }
    }
}

impl fmt::Display for SendTargetsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AddressBeforeName => f.write_str("TargetAddress before any TargetName"),
            Self::Refused(answer) => {
                write!(f, "the target refuses to list targets: SendTargets={}", answer.as_str())
            }
        }
    }
}

impl core::error::Error for SendTargetsError {}
