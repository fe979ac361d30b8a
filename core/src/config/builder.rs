//! Building a configuration.

use core::time::Duration;

use heapless::String;

use super::{
    Config, ConfigError, Escalation, MAX_ERROR_RECOVERY_LEVEL, MAX_OUTSTANDING_R2T, Notice,
    Recovery, Retry, SecurityStart, TimeoutKind, Timeouts,
};
use crate::CmdSn;
use crate::auth::Chap;
use crate::name::IscsiName;
use crate::text::{Digests, Key, Limits, SessionType, TaskReporting, TaskReportings, ValueType};
use crate::wire::Isid;

/// The longest data segment that a discovery session takes: a part of the answer that fits into a connection's control area behind
/// the rest of the part before.
const DISCOVERY_SEGMENT: u32 = 8192;

/// Collects the values of a [`Config`]; [`ConfigBuilder::build`] checks them.
///
/// ```
/// use core::time::Duration;
/// use iscsi_core::{Config, IscsiName};
/// use iscsi_core::auth::{Chap, Secret};
/// use iscsi_core::config::Timeouts;
///
/// let initiator = IscsiName::new("iqn.2001-04.com.example:host").unwrap();
/// let target = IscsiName::new("iqn.2001-04.com.example:disk").unwrap();
/// let config = Config::normal(initiator, target)
///     .initiator_alias("the build host")
///     .chap(Chap::new("alice", Secret::new("initiator-secret").unwrap()).unwrap())
///     .timeouts(Timeouts { login: Duration::from_secs(5), ..Timeouts::DEFAULT })
///     .build()
///     .unwrap();
/// assert_eq!(config.chap().unwrap().user(), "alice");
/// assert!(config.notices().is_empty());
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct ConfigBuilder {
    config: Config,
    error: Option<ConfigError>,
}

impl ConfigBuilder {
    pub(super) fn new(
        session_type: SessionType,
        initiator_name: IscsiName,
        target_name: Option<IscsiName>,
    ) -> Self {
        let mut config = Config { session_type, initiator_name, target_name, ..Config::EMPTY };
        if session_type == SessionType::Discovery {
            config.limits.header_digest = Digests::EMPTY;
            config.limits.data_digest = Digests::EMPTY;
            config.limits.max_recv_data_segment_length = DISCOVERY_SEGMENT;
        }
        Self { config, error: None }
    }

    /// InitiatorAlias: a name for people, at most 255 bytes; empty for none.
    pub fn initiator_alias(mut self, alias: &str) -> Self {
        match String::try_from(alias) {
            Ok(alias) if !alias.contains('\0') => self.config.initiator_alias = alias,
            _ => self.refuse(ConfigError::Alias),
        }
        self
    }

    /// TargetName, which a discovery session may name, too.
    pub fn target_name(mut self, name: IscsiName) -> Self {
        self.config.target_name = Some(name);
        self
    }

    /// The ISID to use instead of a random one.
    pub const fn isid(mut self, isid: Isid) -> Self {
        self.config.isid = Some(isid);
        self
    }

    /// The first CmdSN of every login instead of a small random one (RFC 7143 section 4.2.2.1): to see what a target does when it wraps around.
    pub const fn initial_cmd_sn(mut self, cmd_sn: CmdSn) -> Self {
        self.config.initial_cmd_sn = Some(cmd_sn);
        self
    }

    /// Fails the login if the target names another portal group.
    pub const fn expected_target_portal_group_tag(mut self, tag: u16) -> Self {
        self.config.expected_target_portal_group_tag = Some(tag);
        self
    }

    /// Credentials for CHAP.
    pub fn chap(mut self, chap: Chap) -> Self {
        self.config.chap = Some(chap);
        self
    }

    /// How the login begins.
    pub const fn security_start(mut self, start: SecurityStart) -> Self {
        self.config.security_start = start;
        self
    }

    /// All operational keys at once.
    pub const fn limits(mut self, limits: Limits) -> Self {
        self.config.limits = limits;
        self
    }

    /// HeaderDigest, in the order of preference; not offered if empty.
    pub const fn header_digest(mut self, digests: Digests) -> Self {
        self.config.limits.header_digest = digests;
        self
    }

    /// DataDigest, in the order of preference; not offered if empty.
    pub const fn data_digest(mut self, digests: Digests) -> Self {
        self.config.limits.data_digest = digests;
        self
    }

    /// MaxConnections, 1 to 65535.
    pub const fn max_connections(mut self, connections: u16) -> Self {
        self.config.limits.max_connections = connections;
        self
    }

    /// InitialR2T: `true` forbids unsolicited Data-Out.
    pub const fn initial_r2t(mut self, initial_r2t: bool) -> Self {
        self.config.limits.initial_r2t = initial_r2t;
        self
    }

    /// ImmediateData.
    pub const fn immediate_data(mut self, immediate_data: bool) -> Self {
        self.config.limits.immediate_data = immediate_data;
        self
    }

    /// MaxRecvDataSegmentLength of this side, 512 to 16777215 bytes.
    pub const fn max_recv_data_segment_length(mut self, bytes: u32) -> Self {
        self.config.limits.max_recv_data_segment_length = bytes;
        self
    }

    /// MaxBurstLength, 512 to 16777215 bytes.
    pub const fn max_burst_length(mut self, bytes: u32) -> Self {
        self.config.limits.max_burst_length = bytes;
        self
    }

    /// FirstBurstLength, 512 to 16777215 bytes; lowered to MaxBurstLength with a notice.
    pub const fn first_burst_length(mut self, bytes: u32) -> Self {
        self.config.limits.first_burst_length = bytes;
        self
    }

    /// DefaultTime2Wait, 0 to 3600 seconds.
    pub const fn default_time2wait(mut self, seconds: u16) -> Self {
        self.config.limits.default_time2wait = seconds;
        self
    }

    /// DefaultTime2Retain, 0 to 3600 seconds.
    pub const fn default_time2retain(mut self, seconds: u16) -> Self {
        self.config.limits.default_time2retain = seconds;
        self
    }

    /// MaxOutstandingR2T, 1 to [`MAX_OUTSTANDING_R2T`].
    pub const fn max_outstanding_r2t(mut self, count: u16) -> Self {
        self.config.limits.max_outstanding_r2t = count;
        self
    }

    /// DataPDUInOrder.
    pub const fn data_pdu_in_order(mut self, in_order: bool) -> Self {
        self.config.limits.data_pdu_in_order = in_order;
        self
    }

    /// DataSequenceInOrder.
    pub const fn data_sequence_in_order(mut self, in_order: bool) -> Self {
        self.config.limits.data_sequence_in_order = in_order;
        self
    }

    /// ErrorRecoveryLevel, 0 (the default) or, with the feature `recovery-level-1`, 1; the target may answer with 0. Level 1 is of use with a data digest: PDUs that arrive damaged are
    /// asked for again. [`MAX_ERROR_RECOVERY_LEVEL`] says why there is no level 2.
    pub const fn error_recovery_level(mut self, level: u8) -> Self {
        self.config.limits.error_recovery_level = level;
        self
    }

    /// TaskReporting, in the order of preference; not offered if empty.
    pub const fn task_reporting(mut self, reporting: TaskReportings) -> Self {
        self.config.limits.task_reporting = reporting;
        self
    }

    /// iSCSIProtocolLevel, 0 to 31; not offered if absent.
    pub const fn iscsi_protocol_level(mut self, level: Option<u8>) -> Self {
        self.config.limits.iscsi_protocol_level = level;
        self
    }

    /// The time limits.
    pub const fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.config.timeouts = timeouts;
        self
    }

    /// What happens when the connection of a session that was logged in is lost; [`Recovery::NEVER`] unless set.
    pub const fn recovery(mut self, recovery: Recovery) -> Self {
        self.config.recovery = recovery;
        self
    }

    /// What follows if a task that missed its deadline cannot be aborted; [`Escalation::LogicalUnitReset`] unless set.
    pub const fn escalation(mut self, escalation: Escalation) -> Self {
        self.config.escalation = escalation;
        self
    }

    /// Login requests that one login may take, 6 at least; 32 unless set.
    pub const fn login_exchanges(mut self, exchanges: u16) -> Self {
        self.config.login_exchanges = exchanges;
        self
    }

    /// Redirects that are followed one after the other; 8 unless set, 0 to follow none.
    pub const fn redirect_hops(mut self, hops: u8) -> Self {
        self.config.redirect_hops = hops;
        self
    }

    /// Accepts text whose last pair lacks its zero byte, which some targets send.
    pub const fn lenient_text(mut self, lenient: bool) -> Self {
        self.config.lenient_text = lenient;
        self
    }

    /// Checks everything.
    ///
    /// # Errors
    /// [`ConfigError`] for the first value that is out of range.
    pub fn build(mut self) -> Result<Config, ConfigError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        check_limits(&self.config.limits)?;
        check_timeouts(&self.config.timeouts)?;
        check_recovery(&self.config.recovery)?;
        if self.config.login_exchanges < 6 {
            return Err(ConfigError::TooFewLoginExchanges);
        }
        if self.config.chap.is_some() && self.config.security_start == SecurityStart::Skip {
            return Err(ConfigError::SkipsSecurityWithCredentials);
        }
        self.adjust();
        Ok(self.config)
    }

    /// Keeps the first error.
    fn refuse(&mut self, error: ConfigError) {
        self.error.get_or_insert(error);
    }

    /// The rules between keys, and advice.
    fn adjust(&mut self) {
        let limits = &mut self.config.limits;
        let notices = &mut self.config.notices;
        // One place for each kind of notice: a push cannot fail.
        if limits.first_burst_length > limits.max_burst_length {
            let asked = limits.first_burst_length;
            limits.first_burst_length = limits.max_burst_length;
            let _ = notices.push(Notice::FirstBurstLengthClamped { asked });
        }
        if self.config.session_type == SessionType::Discovery
            && limits.max_recv_data_segment_length > DISCOVERY_SEGMENT
        {
            let asked = limits.max_recv_data_segment_length;
            limits.max_recv_data_segment_length = DISCOVERY_SEGMENT;
            let _ = notices.push(Notice::MaxRecvDataSegmentLengthClamped { asked });
        }
        if let Some(chap) = &self.config.chap {
            if chap.secret().is_short() {
                let _ = notices.push(Notice::ShortSecret);
            }
            if chap.mutual().is_some_and(|mutual| mutual.secret().is_short()) {
                let _ = notices.push(Notice::ShortMutualSecret);
            }
        }
    }
}

fn check_limits(limits: &Limits) -> Result<(), ConfigError> {
    let numbers = [
        (Key::MaxConnections, u32::from(limits.max_connections)),
        (Key::MaxRecvDataSegmentLength, limits.max_recv_data_segment_length),
        (Key::MaxBurstLength, limits.max_burst_length),
        (Key::FirstBurstLength, limits.first_burst_length),
        (Key::DefaultTime2Wait, u32::from(limits.default_time2wait)),
        (Key::DefaultTime2Retain, u32::from(limits.default_time2retain)),
        (Key::MaxOutstandingR2T, u32::from(limits.max_outstanding_r2t)),
        (Key::ErrorRecoveryLevel, u32::from(limits.error_recovery_level)),
        (Key::IscsiProtocolLevel, u32::from(limits.iscsi_protocol_level.unwrap_or_default())),
    ];
    for (key, value) in numbers {
        if let ValueType::Number { min, max } = key.value_type() {
            let max = match key {
                Key::MaxOutstandingR2T => u32::from(MAX_OUTSTANDING_R2T),
                Key::ErrorRecoveryLevel => u32::from(MAX_ERROR_RECOVERY_LEVEL),
                _ => max,
            };
            if value < min || value > max {
                return Err(ConfigError::OutOfRange { key, min, max });
            }
        }
    }
    let reporting = &limits.task_reporting;
    if reporting.contains(TaskReporting::FastAbort) {
        return Err(ConfigError::FastAbort);
    }
    let required = [TaskReporting::Rfc3720, TaskReporting::ResponseFence];
    if reporting.is_empty() || required.into_iter().all(|value| reporting.contains(value)) {
        Ok(())
    } else {
        Err(ConfigError::TaskReportingIncomplete)
    }
}

fn check_recovery(recovery: &Recovery) -> Result<(), ConfigError> {
    let Recovery { retry, first_delay, longest_delay, .. } = *recovery;
    let lasts = retry != Retry::For(Duration::ZERO);
    let delays = !first_delay.is_zero() && longest_delay >= first_delay;
    if retry == Retry::Never || lasts && delays { Ok(()) } else { Err(ConfigError::RecoveryDelay) }
}

fn check_timeouts(timeouts: &Timeouts) -> Result<(), ConfigError> {
    let limits = [
        (TimeoutKind::Connect, Some(timeouts.connect)),
        (TimeoutKind::Login, Some(timeouts.login)),
        (TimeoutKind::Command, timeouts.command),
        (TimeoutKind::TaskManagement, Some(timeouts.task_management)),
        (TimeoutKind::Text, Some(timeouts.text)),
        (TimeoutKind::Logout, Some(timeouts.logout)),
        (TimeoutKind::NopInterval, timeouts.nop_interval),
        (TimeoutKind::NopTimeout, Some(timeouts.nop_timeout)),
        (TimeoutKind::Progress, Some(timeouts.progress)),
        (TimeoutKind::Verify, Some(timeouts.verify)),
    ];
    match limits.into_iter().find(|(_, limit)| *limit == Some(Duration::ZERO)) {
        Some((kind, _)) => Err(ConfigError::ZeroTimeout(kind)),
        None => Ok(()),
    }
}
