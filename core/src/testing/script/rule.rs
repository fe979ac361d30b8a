//! Rules: when something happens, and what is done then.

use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::time::Duration;

use super::field::Field;
use crate::text::Limits;
use crate::wire::Opcode;

/// One deviation of the target: what to do, and when.
///
/// ```
/// use iscsi_core::testing::{Do, Field, Rule, When};
/// use iscsi_core::wire::Opcode;
/// // The second Login Response of every connection claims protocol version 1.
/// let rule = Rule::new(When::sends_nth(Opcode::LoginResponse, 1), Do::Set(Field::VERSION_ACTIVE, 1));
/// // The same, but only on the first connection.
/// assert_eq!(rule.clone().on(0).connection, Some(0));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// When it applies.
    pub when: When,
    /// What is done.
    pub act: Do,
    /// Only on this connection, the first being 0.
    pub connection: Option<u32>,
    /// How often it applies at most.
    pub most: u32,
}

impl Rule {
    /// A rule for every connection, as often as it fits.
    pub const fn new(when: When, act: Do) -> Self {
        Self { when, act, connection: None, most: u32::MAX }
    }

    /// Only on this connection, the first being 0.
    #[must_use]
    pub const fn on(mut self, connection: u32) -> Self {
        self.connection = Some(connection);
        self
    }

    /// At most this often.
    #[must_use]
    pub const fn times(mut self, most: u32) -> Self {
        self.most = most;
        self
    }
}

/// Which PDUs.
///
/// ```
/// use iscsi_core::{testing::Kind, wire::Opcode};
/// assert_ne!(Kind::Of(Opcode::LoginResponse), Kind::LastLogin);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Every kind.
    Any,
    /// PDUs with this opcode.
    Of(Opcode),
    /// The Login Response that honestly ends the login: T is set and NSG is FullFeaturePhase.
    LastLogin,
    /// Every PDU after the login.
    FullFeature,
}

/// Which of several, counted from 0 on each connection.
///
/// ```
/// use iscsi_core::testing::Nth;
/// assert!(Nth::From(2).fits(3) && !Nth::Is(2).fits(3) && Nth::Each.fits(0));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nth {
    /// This one.
    Is(u32),
    /// This one and all that follow.
    From(u32),
    /// All.
    Each,
}

impl Nth {
    /// Whether it means the one with this number.
    pub const fn fits(self, number: u32) -> bool {
        match self {
            Self::Is(n) => n == number,
            Self::From(n) => n <= number,
            Self::Each => true,
        }
    }
}

/// When a rule applies.
///
/// ```
/// use iscsi_core::testing::{Kind, Nth, When};
/// use iscsi_core::wire::Opcode;
/// assert_eq!(When::sends(Opcode::R2t), When::Sends(Kind::Of(Opcode::R2t), Nth::Is(0)));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// A PDU is about to be sent. PDUs that rules insert do not count.
    Sends(Kind, Nth),
    /// A PDU was received.
    Receives(Kind, Nth),
    /// The initiator connects; with [`Do::Refuse`], [`Do::Ignore`], or what is to happen at once.
    Connects,
    /// The Login Response that ends the login was just sent.
    LoggedIn,
    /// The connection has carried this many bytes towards the initiator: cuts in the middle of anything.
    Bytes(u64),
    /// This much time has passed since the run began.
    At(Duration),
}

impl When {
    /// The first PDU of this kind on a connection is about to be sent.
    pub const fn sends(opcode: Opcode) -> Self {
        Self::Sends(Kind::Of(opcode), Nth::Is(0))
    }

    /// The PDU of this kind with this number, from 0, is about to be sent.
    pub const fn sends_nth(opcode: Opcode, number: u32) -> Self {
        Self::Sends(Kind::Of(opcode), Nth::Is(number))
    }

    /// Any PDU of this kind is about to be sent.
    pub const fn sends_each(opcode: Opcode) -> Self {
        Self::Sends(Kind::Of(opcode), Nth::Each)
    }

    /// Any PDU of any kind is about to be sent.
    pub const fn sends_any() -> Self {
        Self::Sends(Kind::Any, Nth::Each)
    }

    /// The Login Response that ends the login is about to be sent.
    pub const fn sends_last_login() -> Self {
        Self::Sends(Kind::LastLogin, Nth::Each)
    }

    /// The first PDU of this kind on a connection was received.
    pub const fn receives(opcode: Opcode) -> Self {
        Self::Receives(Kind::Of(opcode), Nth::Is(0))
    }

    /// The PDU of this kind with this number, from 0, was received.
    pub const fn receives_nth(opcode: Opcode, number: u32) -> Self {
        Self::Receives(Kind::Of(opcode), Nth::Is(number))
    }

    /// Any PDU of this kind was received.
    pub const fn receives_each(opcode: Opcode) -> Self {
        Self::Receives(Kind::Of(opcode), Nth::Each)
    }
}

/// What is done.
///
/// Those of the first group change the PDU that is about to be sent, in the order of the rules; they need [`When::Sends`]. Header, text and data
/// come first, whatever the order: digests are computed over what is sent, and what is done to bytes is done to the finished PDU.
///
/// ```
/// use iscsi_core::testing::{Do, Field};
/// assert_eq!(Do::key("MaxBurstLength", "511"), Do::Key("MaxBurstLength".into(), "511".into()));
/// assert!(Do::Set(Field::STAT_SN, 1).needs_pdu() && !Do::CLOSE.needs_pdu());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Do {
    // The header and what follows it.
    /// Sets a field.
    Set(Field, u64),
    /// Adds to a field, with wrap-around within its width.
    Add(Field, i64),
    /// Overwrites header bytes from this offset on.
    Patch(usize, Vec<u8>),
    /// Additional header segments; TotalAHSLength follows.
    Ahs(Vec<u8>),
    /// Another data segment; DataSegmentLength follows.
    Data(Vec<u8>),
    /// Sets the value of a text key, or adds the pair.
    Key(String, String),
    /// Takes a text key away.
    DropKey(String),
    /// Adds these bytes to the text as they are.
    Text(Vec<u8>),
    /// The text of a Login or Text Response is cut at these places and sent in as many responses, all but the last with C set; the initiator
    /// has to ask for each.
    Spread(Vec<usize>),
    /// Fills the padding with this byte instead of zeros.
    Pad(u8),

    // The finished PDU.
    /// The header digest is wrong, if there is one.
    SpoilHeaderDigest,
    /// The data digest is wrong, if there is one.
    SpoilDataDigest,
    /// Both digests are sent with their bytes in the other order.
    ReverseDigests,
    /// Inverts the bits of `mask` in the byte at `at`, digests and padding counted.
    Flip {
        /// Which byte of the finished PDU.
        at: usize,
        /// Which bits.
        mask: u8,
    },
    /// Adds these bytes behind the PDU.
    Append(Vec<u8>),
    /// It is not sent.
    Drop,
    /// It is sent this often.
    Repeat(u32),
    /// It is sent after the PDU that follows.
    Swap,
    /// It is held back until then, while others pass.
    Hold(Box<When>),
    /// It and everything behind it is sent this much later.
    Late(Duration),
    /// It arrives in pieces that are cut at these places.
    Split(Vec<usize>),
    /// It arrives in pieces of this many bytes.
    SplitEach(usize),
    /// It arrives in pieces of this many bytes, one in each period.
    Trickle {
        /// Bytes of a piece.
        bytes: usize,
        /// The time between two pieces.
        every: Duration,
    },
    /// Only this many bytes of it are sent; the connection ends so.
    Cut {
        /// How many bytes are sent.
        at: usize,
        /// What follows.
        end: End,
    },

    // At any time.
    /// Sends a PDU more: behind the one that is about to be sent, or now.
    Send(Extra),
    /// Sends a PDU more in front of the one that is about to be sent.
    SendBefore(Extra),
    /// Sends these bytes: behind the PDU that is about to be sent, or now.
    Raw(Vec<u8>),
    /// Sends this many random bytes, drawn from this seed.
    Noise {
        /// Where they come from.
        seed: u64,
        /// How many.
        len: usize,
    },
    /// Ends the connection: behind the PDU that is about to be sent, or now.
    End(End),
    /// What was received is not answered; or the connection is neither made nor refused.
    Ignore,
    /// What was received never came: it is neither counted nor answered.
    Lose,
    /// The connection is refused.
    Refuse,
    /// From now on the target takes this many commands beyond those that it has.
    Window(u32),
    /// The next StatSN.
    NextStatSn(u32),
    /// From now on the target does not complain about what the initiator sends.
    Trust,
    /// From the next login on the target offers this.
    Offer(Box<Limits>),
}

/// How a connection ends from the target's side.
///
/// ```
/// assert_ne!(iscsi_core::testing::End::Close, iscsi_core::testing::End::Reset);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// FIN: the initiator reads the end.
    Close,
    /// RST: the initiator gets an error.
    Reset,
    /// Nothing more is ever sent, and the connection stays.
    Silence,
}

impl Do {
    /// Sets the value of a text key, or adds the pair.
    pub fn key(key: &str, value: &str) -> Self {
        Self::Key(key.to_string(), value.to_string())
    }

    /// Takes a text key away.
    pub fn drop_key(key: &str) -> Self {
        Self::DropKey(key.to_string())
    }

    /// Another data segment that is text: each pair without its zero byte.
    pub fn pairs(pairs: &[&str]) -> Self {
        Self::Data(joined(pairs))
    }

    /// Adds pairs to the text: each without its zero byte.
    pub fn add_pairs(pairs: &[&str]) -> Self {
        Self::Text(joined(pairs))
    }

    /// Holds a PDU back until then.
    pub fn hold(until: When) -> Self {
        Self::Hold(Box::new(until))
    }

    /// Ends the connection with FIN.
    pub const CLOSE: Self = Self::End(End::Close);

    /// Ends the connection with RST.
    pub const RESET: Self = Self::End(End::Reset);

    /// Nothing more is ever sent on the connection.
    pub const SILENCE: Self = Self::End(End::Silence);

    /// Whether it changes a PDU that is about to be sent.
    pub const fn needs_pdu(&self) -> bool {
        !matches!(
            self,
            Self::Send(_)
                | Self::Raw(_)
                | Self::Noise { .. }
                | Self::End(_)
                | Self::Ignore
                | Self::Refuse
                | Self::Window(_)
                | Self::NextStatSn(_)
                | Self::Trust
                | Self::Lose
                | Self::Offer(_)
        )
    }
}

fn joined(pairs: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for pair in pairs {
        bytes.extend_from_slice(pair.as_bytes());
        bytes.push(0);
    }
    bytes
}

/// A PDU that a rule sends: F set, both tags reserved, the target's honest numbers; all of it can be set.
///
/// ```
/// use iscsi_core::testing::{Extra, Field};
/// use iscsi_core::wire::Opcode;
/// let ping = Extra::new(Opcode::NopIn).set(Field::TARGET_TRANSFER_TAG, 5);
/// assert!(!ping.numbered);
/// let event = Extra::new(Opcode::AsyncMessage).numbered().set(Field::ASYNC_EVENT, 1);
/// assert!(event.numbered);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Extra {
    /// The opcode, assigned or not.
    pub opcode: u8,
    /// Fields to set at the end.
    pub sets: Vec<(Field, u64)>,
    /// The data segment.
    pub data: Vec<u8>,
    /// It takes a StatSN; otherwise it shows the next one.
    pub numbered: bool,
    /// Initiator Task Tag and LUN are those of the PDU that led to it.
    pub of_task: bool,
    /// The data segment begins with the header that led to it, as in a Reject.
    pub with_header: bool,
    /// Bits that are inverted in bytes of the finished PDU, digests and padding counted.
    pub flips: Vec<(usize, u8)>,
}

impl Extra {
    /// A PDU with this opcode.
    pub const fn new(opcode: Opcode) -> Self {
        Self::with_opcode(opcode.to_byte())
    }

    /// A PDU with any opcode, which may have no meaning.
    pub const fn with_opcode(opcode: u8) -> Self {
        Self {
            opcode,
            sets: Vec::new(),
            data: Vec::new(),
            numbered: false,
            of_task: false,
            with_header: false,
            flips: Vec::new(),
        }
    }

    /// Sets a field.
    #[must_use]
    pub fn set(mut self, field: Field, value: u64) -> Self {
        self.sets.push((field, value));
        self
    }

    /// Gives it a data segment.
    #[must_use]
    pub fn data(mut self, data: &[u8]) -> Self {
        self.data = data.to_vec();
        self
    }

    /// Makes it take a StatSN.
    #[must_use]
    pub const fn numbered(mut self) -> Self {
        self.numbered = true;
        self
    }

    /// Makes it belong to the task of the PDU that led to it.
    #[must_use]
    pub const fn of_task(mut self) -> Self {
        self.of_task = true;
        self
    }

    /// Inverts the bits of `mask` in the byte at `at` of the finished PDU, digests and padding counted. One that is sent again is whole.
    #[must_use]
    pub fn flip(mut self, at: usize, mask: u8) -> Self {
        self.flips.push((at, mask));
        self
    }

    /// Makes it carry the header that led to it.
    #[must_use]
    pub const fn with_header(mut self) -> Self {
        self.with_header = true;
        self
    }
}
