//! The configuration of a session, checked when it is built.

mod builder;
mod error;
mod recovery;

use core::time::Duration;

pub use builder::ConfigBuilder;
pub use error::{ConfigError, TimeoutKind};
use heapless::{String, Vec};
pub use recovery::{Escalation, Recovery, Retry};

use crate::CmdSn;
use crate::auth::Chap;
use crate::name::IscsiName;
use crate::text::{Limits, SessionType};
use crate::wire::Isid;

/// The largest MaxOutstandingR2T that may be offered: a task's queue of R2Ts has this many places.
pub const MAX_OUTSTANDING_R2T: u16 = 8;

/// The highest ErrorRecoveryLevel that can be offered: 1, recovery within the connection, with the feature `recovery-level-1`, else 0. Level 2 needs
/// a second connection, which a session of this engine has not.
pub const MAX_ERROR_RECOVERY_LEVEL: u8 = cfg!(feature = "recovery-level-1") as u8;

/// The longest alias in bytes (RFC 7143 section 6.1: a simple value).
pub const MAX_ALIAS_LEN: usize = 255;

/// Everything that a session must know before it connects.
///
/// Made by [`Config::normal`] or [`Config::discovery`] and a [`ConfigBuilder`], which checks every value against its
/// range. [`Config::EMPTY`] fills a static until then.
///
/// ```
/// use iscsi_core::{Config, IscsiName};
/// use iscsi_core::text::Digests;
///
/// let initiator = IscsiName::new("iqn.2001-04.com.example:host").unwrap();
/// let target = IscsiName::new("iqn.2001-04.com.example:disk").unwrap();
/// let config = Config::normal(initiator, target)
///     .header_digest(Digests::CRC32C_NONE)
///     .max_burst_length(65_536)
///     .build()
///     .unwrap();
/// assert_eq!(config.limits().max_burst_length, 65_536);
/// // FirstBurstLength must not exceed MaxBurstLength.
/// assert_eq!(config.limits().first_burst_length, 65_536);
/// assert_eq!(config.notices().len(), 1);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    session_type: SessionType,
    initiator_name: IscsiName,
    initiator_alias: String<MAX_ALIAS_LEN>,
    target_name: Option<IscsiName>,
    isid: Option<Isid>,
    initial_cmd_sn: Option<CmdSn>,
    expected_target_portal_group_tag: Option<u16>,
    chap: Option<Chap>,
    security_start: SecurityStart,
    limits: Limits,
    timeouts: Timeouts,
    recovery: Recovery,
    escalation: Escalation,
    login_exchanges: u16,
    redirect_hops: u8,
    lenient_text: bool,
    notices: Vec<Notice, 4>,
}

impl Config {
    /// A configuration without names, for a static: no login can be made with it.
    pub const EMPTY: Self = Self {
        session_type: SessionType::Normal,
        initiator_name: IscsiName::EMPTY,
        initiator_alias: String::new(),
        target_name: None,
        isid: None,
        initial_cmd_sn: None,
        expected_target_portal_group_tag: None,
        chap: None,
        security_start: SecurityStart::Offer,
        limits: Limits::DEFAULT,
        timeouts: Timeouts::DEFAULT,
        recovery: Recovery::NEVER,
        escalation: Escalation::LogicalUnitReset,
        login_exchanges: 32,
        redirect_hops: 8,
        lenient_text: false,
        notices: Vec::new(),
    };

    /// Begins the configuration of a session for SCSI commands.
    pub fn normal(initiator_name: IscsiName, target_name: IscsiName) -> ConfigBuilder {
        ConfigBuilder::new(SessionType::Normal, initiator_name, Some(target_name))
    }

    /// Begins the configuration of a discovery session. No digest is offered unless asked for.
    pub fn discovery(initiator_name: IscsiName) -> ConfigBuilder {
        ConfigBuilder::new(SessionType::Discovery, initiator_name, None)
    }

    /// SessionType.
    pub const fn session_type(&self) -> SessionType {
        self.session_type
    }

    /// InitiatorName.
    pub const fn initiator_name(&self) -> &IscsiName {
        &self.initiator_name
    }

    /// InitiatorAlias, not sent if empty.
    pub fn initiator_alias(&self) -> &str {
        &self.initiator_alias
    }

    /// TargetName; absent only in a discovery session.
    pub const fn target_name(&self) -> Option<&IscsiName> {
        self.target_name.as_ref()
    }

    /// The ISID, if one was chosen; otherwise the runtime draws it at random once per session.
    pub const fn isid(&self) -> Option<Isid> {
        self.isid
    }

    /// The first CmdSN of every login, if one was chosen; otherwise a small one is drawn.
    pub const fn initial_cmd_sn(&self) -> Option<CmdSn> {
        self.initial_cmd_sn
    }

    /// The portal group that the target must name, if one is expected.
    pub const fn expected_target_portal_group_tag(&self) -> Option<u16> {
        self.expected_target_portal_group_tag
    }

    /// Credentials; without them AuthMethod=None is all that is offered.
    pub const fn chap(&self) -> Option<&Chap> {
        self.chap.as_ref()
    }

    /// How the login begins.
    pub const fn security_start(&self) -> SecurityStart {
        self.security_start
    }

    /// The operational keys.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The time limits.
    pub const fn timeouts(&self) -> &Timeouts {
        &self.timeouts
    }

    /// What happens when the connection is lost.
    pub const fn recovery(&self) -> &Recovery {
        &self.recovery
    }

    /// What follows if a task cannot be aborted.
    pub const fn escalation(&self) -> Escalation {
        self.escalation
    }

    /// Login requests that one login may take.
    pub const fn login_exchanges(&self) -> u16 {
        self.login_exchanges
    }

    /// Redirects that are followed one after the other.
    pub const fn redirect_hops(&self) -> u8 {
        self.redirect_hops
    }

    /// Whether text whose last pair lacks its zero byte is accepted.
    pub const fn lenient_text(&self) -> bool {
        self.lenient_text
    }

    /// What the builder changed, and what it advises against.
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::EMPTY
    }
}

/// Something that the builder changed or advises against, instead of refusing it.
///
/// ```
/// use iscsi_core::config::Notice;
/// let notice = Notice::FirstBurstLengthClamped { asked: 262_144 };
/// assert_eq!(notice.to_string(), "FirstBurstLength 262144 was lowered to MaxBurstLength");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// FirstBurstLength was lowered to MaxBurstLength (RFC 7143 section 13.14).
    FirstBurstLengthClamped {
        /// The value that was asked for.
        asked: u32,
    },
    /// MaxRecvDataSegmentLength was lowered to 8192: a discovery session takes its answer in parts of that size.
    MaxRecvDataSegmentLengthClamped {
        /// The value that was asked for.
        asked: u32,
    },
    /// The initiator's secret has fewer than 12 bytes (RFC 7143 section 9.2.1).
    ShortSecret,
    /// The target's secret has fewer than 12 bytes (RFC 7143 section 9.2.1).
    ShortMutualSecret,
}

impl core::fmt::Display for Notice {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::FirstBurstLengthClamped { asked } => {
                write!(f, "FirstBurstLength {asked} was lowered to MaxBurstLength")
            }
            Self::MaxRecvDataSegmentLengthClamped { asked } => {
                write!(f, "MaxRecvDataSegmentLength {asked} was lowered to 8192 for discovery")
            }
            Self::ShortSecret => f.write_str("the CHAP secret has fewer than 12 bytes"),
            Self::ShortMutualSecret => {
                f.write_str("the CHAP secret of the target has fewer than 12 bytes")
            }
        }
    }
}

/// How a login begins (RFC 7143 section 6.3).
///
/// ```
/// use iscsi_core::config::SecurityStart;
/// assert_eq!(SecurityStart::default(), SecurityStart::Offer);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum SecurityStart {
    /// In SecurityNegotiation with an AuthMethod offer, also when that is only None.
    ///
    /// The common initiators begin so, hence every target has met it. It costs one round trip more than [`Self::Skip`], once per
    /// connection, and a target that insists on authentication can say so with its own AuthMethod instead of a bare
    /// "authentication failure".
    #[default]
    Offer,
    /// In SecurityNegotiation without AuthMethod: the target makes the offer.
    AwaitOffer,
    /// In LoginOperationalNegotiation. Refused by the builder if credentials are set.
    Skip,
}

/// Time limits. Every one must be above zero, so that nothing waits for ever.
///
/// ```
/// use core::time::Duration;
/// use iscsi_core::config::Timeouts;
/// let timeouts = Timeouts { login: Duration::from_secs(5), ..Timeouts::DEFAULT };
/// assert_eq!(timeouts.nop_interval, Some(Duration::from_secs(5)));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For the TCP connection to be made.
    pub connect: Duration,
    /// For the whole Login Phase.
    pub login: Duration,
    /// For a task that names no limit of its own; `None` for no limit.
    pub command: Option<Duration>,
    /// For the answer to a task management function; and for a closed command window to move, once a command could not be sent in its time although the target
    /// had none of the session's. If the next command cannot be sent in its time either, after that, the connection goes.
    pub task_management: Duration,
    /// For the answer to a text request.
    pub text: Duration,
    /// For the answer to a logout.
    pub logout: Duration,
    /// Silence after which a ping is sent; `None` for no pings.
    pub nop_interval: Option<Duration>,
    /// For the answer to a ping.
    pub nop_timeout: Duration,
    /// For the next byte of a PDU that has begun, in either direction.
    pub progress: Duration,
    /// For the devices to be verified after a new login of a session that recovers.
    pub verify: Duration,
}

impl Timeouts {
    /// 10 s to connect, 15 s for login and logout, 60 s for a command, 30 s for task management, text, progress and verification, a
    /// ping after 5 s of silence with 5 s for its answer.
    pub const DEFAULT: Self = Self {
        connect: Duration::from_secs(10),
        login: Duration::from_secs(15),
        command: Some(Duration::from_secs(60)),
        task_management: Duration::from_secs(30),
        text: Duration::from_secs(30),
        logout: Duration::from_secs(15),
        nop_interval: Some(Duration::from_secs(5)),
        nop_timeout: Duration::from_secs(5),
        progress: Duration::from_secs(30),
        verify: Duration::from_secs(30),
    };
}

impl Default for Timeouts {
    fn default() -> Self {
        Self::DEFAULT
    }
}
