//! What a target is called, where it can be reached, whom it trusts, and what it offers.

use core::time::Duration;

use heapless::{String, Vec};
use iscsi_core::auth::Chap;
use iscsi_core::text::{Limits, TaskReportings};
use iscsi_core::{IscsiName, Portal};

use crate::conn::MAX_OUTSTANDING_R2T;

/// The most addresses that a target announces.
pub const MAX_PORTALS: usize = 8;

/// The longest alias in bytes (RFC 7143 section 13.6).
pub const MAX_ALIAS_LEN: usize = 255;

/// The settings of a target. They do not change while it runs.
///
/// ```
/// use iscsi_core::IscsiName;
/// use iscsi_target::TargetConfig;
///
/// let mut config = TargetConfig::new(IscsiName::new("iqn.2001-04.com.example:disks").unwrap());
/// config.limits.max_burst_length = 65_536;
/// config.portals.push("192.0.2.1:3260".parse().unwrap()).unwrap();
/// assert_eq!(config.target_portal_group_tag, 1);
/// assert!(config.auth.is_none());
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TargetConfig {
    /// The iSCSI name.
    pub name: IscsiName,
    /// A name for people, told at login.
    pub alias: Option<String<MAX_ALIAS_LEN>>,
    /// The tag of the one portal group, told at login and by SendTargets (RFC 7143 section 13.9).
    pub target_portal_group_tag: u16,
    /// The addresses that SendTargets tells. If there are none, initiators use the address that they are connected to
    /// (RFC 7143 appendix C).
    pub portals: Vec<Portal, MAX_PORTALS>,
    /// What an initiator has to prove in order to use the disks, and with [`Chap::with_mutual`] what it may ask to be proved;
    /// `None` lets everybody in.
    pub auth: Option<Chap>,
    /// The same for discovery.
    pub discovery_auth: Option<Chap>,
    /// The operational parameters offered. The engine has one connection per session, whatever stands here. ErrorRecoveryLevel is 0 unless set
    /// to 1: then what was lost or damaged is sent and asked for again.
    pub limits: Limits,
    /// How long a login may take.
    pub login_timeout: Duration,
    /// After this time of silence the target sends a NOP-In ping; `None` for never.
    pub nop_interval: Option<Duration>,
    /// How long the answer to a ping may take before the connection is dropped.
    pub nop_timeout: Duration,
    /// How long a discovery session may be silent.
    pub discovery_timeout: Duration,
}

impl TargetConfig {
    /// A target with this name that lets everybody in.
    pub fn new(name: IscsiName) -> Self {
        Self {
            name,
            alias: None,
            target_portal_group_tag: 1,
            portals: Vec::new(),
            auth: None,
            discovery_auth: None,
            limits: Limits { iscsi_protocol_level: Some(2), ..Limits::DEFAULT },
            login_timeout: Duration::from_secs(15),
            nop_interval: Some(Duration::from_secs(30)),
            nop_timeout: Duration::from_secs(15),
            discovery_timeout: Duration::from_secs(60),
        }
    }

    /// The limits with what the engine cannot do taken out.
    pub(crate) fn effective_limits(&self) -> Limits {
        Limits {
            max_connections: 1,
            error_recovery_level: self.limits.error_recovery_level.min(1),
            max_outstanding_r2t: self.limits.max_outstanding_r2t.clamp(1, MAX_OUTSTANDING_R2T),
            task_reporting: TaskReportings::EMPTY,
            iscsi_protocol_level: self.limits.iscsi_protocol_level.map(|level| level.min(2)),
            ..self.limits
        }
    }
}
