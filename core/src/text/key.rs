//! The table of keys: what RFC 7143 section 13 says about each, as data.

use core::fmt;

/// The type of a key's value and its range (RFC 7143 section 6.1).
///
/// ```
/// use iscsi_core::text::{Key, ValueType};
/// assert_eq!(Key::ErrorRecoveryLevel.value_type(), ValueType::Number { min: 0, max: 2 });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ValueType {
    /// `Yes` or `No`.
    Boolean,
    /// A number from `min` to `max`.
    Number {
        /// The smallest admissible value.
        min: u32,
        /// The largest admissible value.
        max: u32,
    },
    /// Two numbers, `a~b`.
    Range,
    /// A comma-separated list in an offer, one of its members in an answer.
    List,
    /// UTF-8 of at most this many bytes.
    Text {
        /// The longest value in bytes.
        max_len: u16,
    },
    /// A binary item of at most this many bytes.
    Binary {
        /// The longest item in bytes, decoded.
        max_len: u32,
    },
}

/// How two values become one (RFC 7143 section 6.2).
///
/// ```
/// use iscsi_core::text::{Key, ResultFunction};
/// assert_eq!(Key::DefaultTime2Wait.result(), ResultFunction::Maximum);
/// assert_eq!(Key::InitialR2T.result(), ResultFunction::Or);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResultFunction {
    /// The smaller number.
    Minimum,
    /// The larger number.
    Maximum,
    /// `Yes` if both say so.
    And,
    /// `Yes` if one says so.
    Or,
    /// The first offered value that the acceptor supports.
    FirstSupported,
    /// No negotiation: one side declares its value.
    Declared,
    /// A request, not a parameter.
    Command,
    /// A step of an authentication method.
    Authentication,
    /// The answer is always `No`: the function is absent here.
    AlwaysNo,
    /// The answer is always `Reject`: the key is obsolete.
    AlwaysReject,
    /// The answer is always `Irrelevant`: it belongs to a function that is absent here.
    AlwaysIrrelevant,
}

/// Who may send a key first (RFC 7143 section 13).
///
/// ```
/// use iscsi_core::text::{Key, Senders};
/// assert_eq!(Key::TargetAlias.senders(), Senders::Target);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Senders {
    /// The initiator only.
    Initiator,
    /// The target only.
    Target,
    /// Either side.
    Both,
}

/// When a key may be sent (RFC 7143 section 13).
///
/// ```
/// use iscsi_core::text::{Key, Use};
/// assert_eq!(Key::MaxBurstLength.usage(), Use::LeadingLogin);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Use {
    /// In the login of a session's first connection (LO).
    LeadingLogin,
    /// In every login (IO).
    Login,
    /// In every login and in the Full Feature Phase (ALL).
    Any,
    /// In the Full Feature Phase only (FFPO).
    FullFeature,
}

/// What a key's value holds for (RFC 7143 section 13).
///
/// ```
/// use iscsi_core::text::{Key, Scope};
/// assert_eq!(Key::HeaderDigest.scope(), Scope::Connection);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All connections of the session (SW).
    Session,
    /// One connection (CO).
    Connection,
}

/// The value that holds without negotiation (RFC 7143 section 13).
///
/// ```
/// use iscsi_core::text::{DefaultValue, Key};
/// assert_eq!(Key::MaxBurstLength.default_value(), DefaultValue::Number(262_144));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DefaultValue {
    /// There is none.
    Absent,
    /// A number.
    Number(u32),
    /// `Yes` (true) or `No`.
    Boolean(bool),
    /// A word, or a range as it is written.
    Text(&'static str),
}

/// One row of the table.
struct Row {
    name: &'static str,
    value_type: ValueType,
    default: DefaultValue,
    result: ResultFunction,
    senders: Senders,
    usage: Use,
    scope: Scope,
    /// May also appear while CSG is SecurityNegotiation.
    in_security: bool,
    /// Has no meaning in a discovery session.
    irrelevant_in_discovery: bool,
    section: &'static str,
}

macro_rules! keys {
    ($($(#[$doc:meta])* $key:ident, $name:literal: $value:expr, $default:expr, $result:ident, $senders:ident,
        $usage:ident, $scope:ident, $security:literal, $discovery:literal, $section:literal;)*) => {
        /// A key that RFC 7143 (or RFC 7145, for iSER) defines.
        ///
        /// The methods give the row of the key in the table of section 13.
        ///
        /// ```
        /// use iscsi_core::text::Key;
        /// assert_eq!(Key::from_name("MaxBurstLength"), Some(Key::MaxBurstLength));
        /// assert_eq!(Key::from_name("maxburstlength"), None); // case counts
        /// assert_eq!(Key::MaxOutstandingR2T.to_string(), "MaxOutstandingR2T");
        /// assert!(Key::MaxBurstLength.is_irrelevant_in_discovery());
        /// ```
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Key { $($(#[$doc])* $key,)* }

        impl Key {
            /// Every key.
            pub const ALL: &'static [Self] = &[$(Self::$key,)*];

            const fn row(self) -> &'static Row {
                match self {
                    $(Self::$key => const {
                        &Row {
                            name: $name,
                            value_type: $value,
                            default: $default,
                            result: ResultFunction::$result,
                            senders: Senders::$senders,
                            usage: Use::$usage,
                            scope: Scope::$scope,
                            in_security: $security,
                            irrelevant_in_discovery: $discovery,
                            section: $section,
                        }
                    },)*
                }
            }
        }
    };
}

const LIST: ValueType = ValueType::List;
const BOOLEAN: ValueType = ValueType::Boolean;
const LENGTH: ValueType = ValueType::Number { min: 512, max: 0xff_ffff };
const SECONDS: ValueType = ValueType::Number { min: 0, max: 3600 };
const COUNT: ValueType = ValueType::Number { min: 1, max: 65535 };
const TAG: ValueType = ValueType::Number { min: 0, max: 65535 };
const NUMBER: ValueType = ValueType::Number { min: 0, max: u32::MAX };
const NAME: ValueType = ValueType::Text { max_len: 223 };
const TEXT: ValueType = ValueType::Text { max_len: 255 };
const ITEM: ValueType = ValueType::Binary { max_len: 1024 };
const TICKET: ValueType = ValueType::Binary { max_len: 65536 };
const ABSENT: DefaultValue = DefaultValue::Absent;
const NONE: DefaultValue = DefaultValue::Text("None");
const YES: DefaultValue = DefaultValue::Boolean(true);
const NO: DefaultValue = DefaultValue::Boolean(false);

#[rustfmt::skip]
keys! {
    /// HeaderDigest.
    HeaderDigest, "HeaderDigest": LIST, NONE, FirstSupported, Both, Login, Connection, false, false, "13.1";
    /// DataDigest.
    DataDigest, "DataDigest": LIST, NONE, FirstSupported, Both, Login, Connection, false, false, "13.1";
    /// MaxConnections.
    MaxConnections, "MaxConnections": COUNT, DefaultValue::Number(1), Minimum, Both, LeadingLogin, Session, false, true, "13.2";
    /// SendTargets.
    SendTargets, "SendTargets": TEXT, ABSENT, Command, Initiator, FullFeature, Session, false, false, "13.3";
    /// TargetName: from the initiator in login, from the target in answers to SendTargets.
    TargetName, "TargetName": NAME, ABSENT, Declared, Both, Login, Session, true, false, "13.4";
    /// InitiatorName.
    InitiatorName, "InitiatorName": NAME, ABSENT, Declared, Initiator, Login, Session, true, false, "13.5";
    /// TargetAlias.
    TargetAlias, "TargetAlias": TEXT, ABSENT, Declared, Target, Any, Session, true, false, "13.6";
    /// InitiatorAlias.
    InitiatorAlias, "InitiatorAlias": TEXT, ABSENT, Declared, Initiator, Any, Session, true, false, "13.7";
    /// TargetAddress; may be repeated.
    TargetAddress, "TargetAddress": ValueType::Text { max_len: 300 }, ABSENT, Declared, Target, Any, Session, true, false, "13.8";
    /// TargetPortalGroupTag.
    TargetPortalGroupTag, "TargetPortalGroupTag": TAG, ABSENT, Declared, Target, Login, Session, true, false, "13.9";
    /// InitialR2T.
    InitialR2T, "InitialR2T": BOOLEAN, YES, Or, Both, LeadingLogin, Session, false, true, "13.10";
    /// ImmediateData.
    ImmediateData, "ImmediateData": BOOLEAN, YES, And, Both, LeadingLogin, Session, false, true, "13.11";
    /// MaxRecvDataSegmentLength: each side declares its own.
    MaxRecvDataSegmentLength, "MaxRecvDataSegmentLength": LENGTH, DefaultValue::Number(8192), Declared, Both, Any, Connection, false, false, "13.12";
    /// MaxBurstLength.
    MaxBurstLength, "MaxBurstLength": LENGTH, DefaultValue::Number(262_144), Minimum, Both, LeadingLogin, Session, false, true, "13.13";
    /// FirstBurstLength.
    FirstBurstLength, "FirstBurstLength": LENGTH, DefaultValue::Number(65_536), Minimum, Both, LeadingLogin, Session, false, true, "13.14";
    /// DefaultTime2Wait.
    DefaultTime2Wait, "DefaultTime2Wait": SECONDS, DefaultValue::Number(2), Maximum, Both, LeadingLogin, Session, false, false, "13.15";
    /// DefaultTime2Retain.
    DefaultTime2Retain, "DefaultTime2Retain": SECONDS, DefaultValue::Number(20), Minimum, Both, LeadingLogin, Session, false, false, "13.16";
    /// MaxOutstandingR2T.
    MaxOutstandingR2T, "MaxOutstandingR2T": COUNT, DefaultValue::Number(1), Minimum, Both, LeadingLogin, Session, false, true, "13.17";
    /// DataPDUInOrder.
    DataPduInOrder, "DataPDUInOrder": BOOLEAN, YES, Or, Both, LeadingLogin, Session, false, true, "13.18";
    /// DataSequenceInOrder.
    DataSequenceInOrder, "DataSequenceInOrder": BOOLEAN, YES, Or, Both, LeadingLogin, Session, false, true, "13.19";
    /// ErrorRecoveryLevel; 0 in a discovery session.
    ErrorRecoveryLevel, "ErrorRecoveryLevel": ValueType::Number { min: 0, max: 2 }, DefaultValue::Number(0), Minimum, Both, LeadingLogin, Session, false, false, "13.20";
    /// SessionType.
    SessionType, "SessionType": LIST, DefaultValue::Text("Normal"), Declared, Initiator, LeadingLogin, Session, true, false, "13.21";
    /// TaskReporting.
    TaskReporting, "TaskReporting": LIST, DefaultValue::Text("RFC3720"), FirstSupported, Both, LeadingLogin, Session, false, true, "13.23";
    /// iSCSIProtocolLevel (RFC 7144 section 7.1.1).
    IscsiProtocolLevel, "iSCSIProtocolLevel": ValueType::Number { min: 0, max: 31 }, DefaultValue::Number(1), Minimum, Both, LeadingLogin, Session, false, true, "13.24";
    /// X#NodeArchitecture: informational.
    NodeArchitecture, "X#NodeArchitecture": TEXT, NONE, Declared, Both, LeadingLogin, Session, false, false, "13.26";
    /// IFMarker, obsolete.
    IfMarker, "IFMarker": BOOLEAN, NO, AlwaysNo, Both, Login, Connection, false, false, "13.25";
    /// OFMarker, obsolete.
    OfMarker, "OFMarker": BOOLEAN, NO, AlwaysNo, Both, Login, Connection, false, false, "13.25";
    /// IFMarkInt, obsolete.
    IfMarkInt, "IFMarkInt": ValueType::Range, DefaultValue::Text("2048~2048"), AlwaysReject, Both, Login, Connection, false, false, "13.25";
    /// OFMarkInt, obsolete.
    OfMarkInt, "OFMarkInt": ValueType::Range, DefaultValue::Text("2048~2048"), AlwaysReject, Both, Login, Connection, false, false, "13.25";
    /// RDMAExtensions (iSER).
    RdmaExtensions, "RDMAExtensions": BOOLEAN, NO, AlwaysNo, Both, LeadingLogin, Session, false, false, "13.22";
    /// TargetRecvDataSegmentLength (iSER).
    TargetRecvDataSegmentLength, "TargetRecvDataSegmentLength": LENGTH, DefaultValue::Number(8192), AlwaysIrrelevant, Both, Login, Connection, false, false, "13.22";
    /// InitiatorRecvDataSegmentLength (iSER).
    InitiatorRecvDataSegmentLength, "InitiatorRecvDataSegmentLength": LENGTH, DefaultValue::Number(8192), AlwaysIrrelevant, Both, Login, Connection, false, false, "13.22";
    /// MaxOutstandingUnexpectedPDUs (iSER).
    MaxOutstandingUnexpectedPdus, "MaxOutstandingUnexpectedPDUs": NUMBER, DefaultValue::Number(0), AlwaysIrrelevant, Both, LeadingLogin, Connection, false, false, "13.22";
    /// MaxAHSLength (iSER).
    MaxAhsLength, "MaxAHSLength": NUMBER, DefaultValue::Number(256), AlwaysIrrelevant, Both, LeadingLogin, Connection, false, false, "13.22";
    /// TaggedBufferForSolicitedDataOnly (iSER).
    TaggedBufferForSolicitedDataOnly, "TaggedBufferForSolicitedDataOnly": BOOLEAN, NO, AlwaysIrrelevant, Both, LeadingLogin, Session, false, false, "13.22";
    /// iSERHelloRequired (iSER).
    IserHelloRequired, "iSERHelloRequired": BOOLEAN, NO, AlwaysIrrelevant, Both, LeadingLogin, Session, false, false, "13.22";
    /// AuthMethod.
    AuthMethod, "AuthMethod": LIST, ABSENT, FirstSupported, Both, Login, Connection, true, false, "12.1";
    /// CHAP_A: the algorithms.
    ChapA, "CHAP_A": LIST, ABSENT, Authentication, Both, Login, Connection, true, false, "12.1.3";
    /// CHAP_I: the identifier of a challenge.
    ChapI, "CHAP_I": ValueType::Number { min: 0, max: 255 }, ABSENT, Authentication, Both, Login, Connection, true, false, "12.1.3";
    /// CHAP_C: a challenge.
    ChapC, "CHAP_C": ITEM, ABSENT, Authentication, Both, Login, Connection, true, false, "12.1.3";
    /// CHAP_N: a user name.
    ChapN, "CHAP_N": TEXT, ABSENT, Authentication, Both, Login, Connection, true, false, "12.1.3";
    /// CHAP_R: the response to a challenge.
    ChapR, "CHAP_R": ITEM, ABSENT, Authentication, Both, Login, Connection, true, false, "12.1.3";
    /// SRP_U.
    SrpU, "SRP_U": TEXT, ABSENT, Authentication, Initiator, Login, Connection, true, false, "12.1.2";
    /// TargetAuth.
    TargetAuth, "TargetAuth": BOOLEAN, ABSENT, Authentication, Initiator, Login, Connection, true, false, "12.1.2";
    /// SRP_GROUP.
    SrpGroup, "SRP_GROUP": LIST, ABSENT, Authentication, Both, Login, Connection, true, false, "12.1.2";
    /// SRP_s.
    SrpS, "SRP_s": ITEM, ABSENT, Authentication, Target, Login, Connection, true, false, "12.1.2";
    /// SRP_A.
    SrpA, "SRP_A": ITEM, ABSENT, Authentication, Initiator, Login, Connection, true, false, "12.1.2";
    /// SRP_B.
    SrpB, "SRP_B": ITEM, ABSENT, Authentication, Target, Login, Connection, true, false, "12.1.2";
    /// SRP_M.
    SrpM, "SRP_M": ITEM, ABSENT, Authentication, Initiator, Login, Connection, true, false, "12.1.2";
    /// SRP_HM.
    SrpHm, "SRP_HM": ITEM, ABSENT, Authentication, Target, Login, Connection, true, false, "12.1.2";
    /// KRB_AP_REQ.
    KrbApReq, "KRB_AP_REQ": TICKET, ABSENT, Authentication, Initiator, Login, Connection, true, false, "12.1.1";
    /// KRB_AP_REP.
    KrbApRep, "KRB_AP_REP": TICKET, ABSENT, Authentication, Target, Login, Connection, true, false, "12.1.1";
}

impl Key {
    /// The key of this name; case counts.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|key| key.name() == name)
    }

    /// The name as it travels.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// The type of the value.
    pub const fn value_type(self) -> ValueType {
        self.row().value_type
    }

    /// The value that holds without negotiation.
    pub const fn default_value(self) -> DefaultValue {
        self.row().default
    }

    /// How two values become one.
    pub const fn result(self) -> ResultFunction {
        self.row().result
    }

    /// Who may send the key first.
    pub const fn senders(self) -> Senders {
        self.row().senders
    }

    /// When the key may be sent.
    pub const fn usage(self) -> Use {
        self.row().usage
    }

    /// What the value holds for.
    pub const fn scope(self) -> Scope {
        self.row().scope
    }

    /// Whether the key may appear in SecurityNegotiation (RFC 7143 section 12).
    pub const fn is_allowed_in_security(self) -> bool {
        self.row().in_security
    }

    /// Whether the key is AuthMethod or belongs to an authentication method.
    pub const fn is_security_key(self) -> bool {
        matches!(self, Self::AuthMethod) || matches!(self.result(), ResultFunction::Authentication)
    }

    /// Whether the key has no meaning in a discovery session.
    pub const fn is_irrelevant_in_discovery(self) -> bool {
        self.row().irrelevant_in_discovery
    }

    /// Whether a peer that follows RFC 3720 may answer this key with NotUnderstood (RFC 7143 section 4.2.2.3.4, RFC 7144
    /// section 7.1.1), or a peer without iSER.
    pub const fn may_be_unknown(self) -> bool {
        matches!(self, Self::TaskReporting | Self::IscsiProtocolLevel | Self::NodeArchitecture)
            || self.is_iser()
    }

    /// Whether the key belongs to iSER (RFC 7145 section 6).
    pub const fn is_iser(self) -> bool {
        matches!(
            self,
            Self::RdmaExtensions
                | Self::TargetRecvDataSegmentLength
                | Self::InitiatorRecvDataSegmentLength
                | Self::MaxOutstandingUnexpectedPdus
                | Self::MaxAhsLength
                | Self::TaggedBufferForSolicitedDataOnly
                | Self::IserHelloRequired
        )
    }

    /// The section of RFC 7143 that defines the key (13.22, the rule for private and extension keys, for those of iSER).
    pub const fn section(self) -> &'static str {
        self.row().section
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A set of keys, one bit each.
///
/// ```
/// use iscsi_core::text::{Key, KeySet};
/// let mut seen = KeySet::EMPTY;
/// assert!(seen.insert(Key::TargetAlias));
/// assert!(!seen.insert(Key::TargetAlias)); // again
/// assert!(seen.contains(Key::TargetAlias) && !seen.contains(Key::ChapA));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeySet(u64);

const _: () = assert!(Key::ALL.len() <= 64);

impl KeySet {
    /// No key.
    pub const EMPTY: Self = Self(0);

    const fn bit(key: Key) -> u64 {
        1 << (key as u8)
    }

    /// Adds a key; whether it is new.
    pub const fn insert(&mut self, key: Key) -> bool {
        let new = !self.contains(key);
        self.0 |= Self::bit(key);
        new
    }

    /// Whether the key is in the set.
    pub const fn contains(&self, key: Key) -> bool {
        self.0 & Self::bit(key) != 0
    }

    /// Whether there is no key.
    pub const fn is_empty(&self) -> bool {
        self.0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_legal() {
        for (at, key) in Key::ALL.iter().enumerate() {
            assert_eq!(Key::from_name(key.name()), Some(*key));
            assert_eq!(*key as usize, at);
            assert!(key.name().len() <= 63);
        }
    }

    #[test]
    fn rows_of_the_rfc() {
        let numbers = [
            (Key::MaxConnections, 1, 65535, 1, ResultFunction::Minimum),
            (Key::MaxRecvDataSegmentLength, 512, 16_777_215, 8192, ResultFunction::Declared),
            (Key::MaxBurstLength, 512, 16_777_215, 262_144, ResultFunction::Minimum),
            (Key::FirstBurstLength, 512, 16_777_215, 65_536, ResultFunction::Minimum),
            (Key::DefaultTime2Wait, 0, 3600, 2, ResultFunction::Maximum),
            (Key::DefaultTime2Retain, 0, 3600, 20, ResultFunction::Minimum),
            (Key::MaxOutstandingR2T, 1, 65535, 1, ResultFunction::Minimum),
            (Key::ErrorRecoveryLevel, 0, 2, 0, ResultFunction::Minimum),
            (Key::IscsiProtocolLevel, 0, 31, 1, ResultFunction::Minimum),
        ];
        for (key, min, max, default, result) in numbers {
            assert_eq!(key.value_type(), ValueType::Number { min, max }, "{key}");
            assert_eq!(key.default_value(), DefaultValue::Number(default), "{key}");
            assert_eq!(key.result(), result, "{key}");
        }
        for (key, default, result) in [
            (Key::InitialR2T, true, ResultFunction::Or),
            (Key::ImmediateData, true, ResultFunction::And),
            (Key::DataPduInOrder, true, ResultFunction::Or),
            (Key::DataSequenceInOrder, true, ResultFunction::Or),
        ] {
            assert_eq!(key.value_type(), ValueType::Boolean, "{key}");
            assert_eq!(key.default_value(), DefaultValue::Boolean(default), "{key}");
            assert_eq!(key.result(), result, "{key}");
        }
    }

    #[test]
    fn keys_of_the_security_stage() {
        let open = [
            Key::SessionType,
            Key::InitiatorName,
            Key::TargetName,
            Key::TargetAddress,
            Key::InitiatorAlias,
            Key::TargetAlias,
            Key::TargetPortalGroupTag,
        ];
        for key in Key::ALL {
            let allowed = open.contains(key) || key.is_security_key();
            assert_eq!(key.is_allowed_in_security(), allowed, "{key}");
        }
    }
}
