//! What one side can do, and what both agreed upon.

use super::{Digests, TaskReporting, TaskReportings};
use crate::digest::DigestKind;

/// The kind of a session (RFC 7143 section 13.21).
///
/// ```
/// use iscsi_core::text::SessionType;
/// assert_eq!(SessionType::Discovery.as_str(), "Discovery");
/// assert_eq!(SessionType::default(), SessionType::Normal);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum SessionType {
    /// SCSI commands.
    #[default]
    Normal,
    /// SendTargets and logout only.
    Discovery,
}

impl SessionType {
    /// The value of the key SessionType.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Discovery => "Discovery",
        }
    }
}

/// What one side offers and accepts: its end of every operational key (RFC 7143 section 13).
///
/// An initiator offers these values; an acceptor answers an offer from them.
///
/// ```
/// use iscsi_core::text::{Digests, Limits};
/// let limits = Limits { header_digest: Digests::CRC32C_NONE, ..Limits::DEFAULT };
/// assert_eq!(limits.max_recv_data_segment_length, 262_144);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// HeaderDigest, the most wanted first.
    pub header_digest: Digests,
    /// DataDigest, the most wanted first.
    pub data_digest: Digests,
    /// MaxConnections, 1 to 65535.
    pub max_connections: u16,
    /// InitialR2T: `true` forbids unsolicited Data-Out.
    pub initial_r2t: bool,
    /// ImmediateData: `false` forbids data in command PDUs.
    pub immediate_data: bool,
    /// MaxRecvDataSegmentLength that this side declares, 512 to 16777215 bytes.
    pub max_recv_data_segment_length: u32,
    /// MaxBurstLength, 512 to 16777215 bytes.
    pub max_burst_length: u32,
    /// FirstBurstLength, 512 to 16777215 bytes.
    pub first_burst_length: u32,
    /// DefaultTime2Wait, 0 to 3600 seconds.
    pub default_time2wait: u16,
    /// DefaultTime2Retain, 0 to 3600 seconds.
    pub default_time2retain: u16,
    /// MaxOutstandingR2T, 1 to 65535.
    pub max_outstanding_r2t: u16,
    /// DataPDUInOrder.
    pub data_pdu_in_order: bool,
    /// DataSequenceInOrder.
    pub data_sequence_in_order: bool,
    /// ErrorRecoveryLevel, 0 to 2.
    pub error_recovery_level: u8,
    /// TaskReporting; not offered if empty.
    pub task_reporting: TaskReportings,
    /// iSCSIProtocolLevel, 0 to 31; not offered if absent.
    pub iscsi_protocol_level: Option<u8>,
}

impl Limits {
    /// What this project offers unless told otherwise.
    ///
    /// - Digests only if the target wants them: TCP and the link have checksums of their own, and CRC32C costs CPU time.
    /// - ImmediateData and no InitialR2T, so that a small write takes one round trip.
    /// - MaxRecvDataSegmentLength and FirstBurstLength of 256 KiB.
    /// - MaxBurstLength of 1 MiB: the result is the smaller of both sides' values and no buffer here is sized by it, so a
    ///   larger offer costs nothing and spares R2T round trips; beyond 1 MiB the gain is lost in the transfer time while
    ///   other tasks wait.
    /// - MaxOutstandingR2T of 8, which the R2T queue of a task holds.
    /// - TaskReporting and iSCSIProtocolLevel are not offered: targets older than RFC 7143 do not know them.
    pub const DEFAULT: Self = Self {
        header_digest: Digests::NONE_CRC32C,
        data_digest: Digests::NONE_CRC32C,
        max_connections: 1,
        initial_r2t: false,
        immediate_data: true,
        max_recv_data_segment_length: 262_144,
        max_burst_length: 1 << 20,
        first_burst_length: 262_144,
        default_time2wait: 2,
        default_time2retain: 0,
        max_outstanding_r2t: crate::config::MAX_OUTSTANDING_R2T,
        data_pdu_in_order: true,
        data_sequence_in_order: true,
        error_recovery_level: 0,
        task_reporting: TaskReportings::EMPTY,
        iscsi_protocol_level: None,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The operational parameters of a session and of one connection after login (RFC 7143 section 13).
///
/// ```
/// use iscsi_core::text::Negotiated;
/// let defaults = Negotiated::DEFAULT;
/// assert_eq!(defaults.target_max_recv_data_segment_length, 8192);
/// assert_eq!(defaults.unsolicited_data_out(), false);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Negotiated {
    /// HeaderDigest of this connection.
    pub header_digest: DigestKind,
    /// DataDigest of this connection.
    pub data_digest: DigestKind,
    /// The longest data segment that the initiator takes, 512 to 16777215 bytes; declared by the initiator, per connection.
    pub initiator_max_recv_data_segment_length: u32,
    /// The longest data segment that the target takes, 512 to 16777215 bytes; declared by the target, per connection.
    pub target_max_recv_data_segment_length: u32,
    /// The longest Data-In or solicited Data-Out sequence in bytes.
    pub max_burst_length: u32,
    /// The most unsolicited bytes of one command, immediate data included; never above `max_burst_length`.
    pub first_burst_length: u32,
    /// The most R2Ts of one task at a time.
    pub max_outstanding_r2t: u16,
    /// Unsolicited Data-Out PDUs are forbidden.
    pub initial_r2t: bool,
    /// Command PDUs may carry data.
    pub immediate_data: bool,
    /// Seconds to wait before reconnecting after a connection broke.
    pub default_time2wait: u16,
    /// Seconds, after the wait, for which task state is kept.
    pub default_time2retain: u16,
    /// 0 to 2.
    pub error_recovery_level: u8,
    /// Connections that the session may have.
    pub max_connections: u16,
    /// Data PDUs of a sequence come in ascending order.
    pub data_pdu_in_order: bool,
    /// Sequences of a task come in ascending order.
    pub data_sequence_in_order: bool,
    /// Ordering of responses.
    pub task_reporting: TaskReporting,
    /// 2 or more: the features of RFC 7144 may be used.
    pub iscsi_protocol_level: u8,
    /// The portal group of this connection's portal, if the target named it.
    pub target_portal_group_tag: Option<u16>,
}

impl Negotiated {
    /// The default of each key: what holds when nothing is negotiated.
    pub const DEFAULT: Self = Self {
        header_digest: DigestKind::None,
        data_digest: DigestKind::None,
        initiator_max_recv_data_segment_length: 8192,
        target_max_recv_data_segment_length: 8192,
        max_burst_length: 262_144,
        first_burst_length: 65_536,
        max_outstanding_r2t: 1,
        initial_r2t: true,
        immediate_data: true,
        default_time2wait: 2,
        default_time2retain: 20,
        error_recovery_level: 0,
        max_connections: 1,
        data_pdu_in_order: true,
        data_sequence_in_order: true,
        task_reporting: TaskReporting::Rfc3720,
        iscsi_protocol_level: 1,
        target_portal_group_tag: None,
    };

    /// Whether a write may send Data-Out PDUs without an R2T (RFC 7143 section 13.10).
    pub const fn unsolicited_data_out(&self) -> bool {
        !self.initial_r2t
    }
}

impl Default for Negotiated {
    fn default() -> Self {
        Self::DEFAULT
    }
}
