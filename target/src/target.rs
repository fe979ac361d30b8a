//! The target: what all connections share.

use core::fmt;

use iscsi_core::auth::RecentChallenges;
use iscsi_core::text::SessionType;
use iscsi_core::wire::{Isid, LoginStatus};
use iscsi_core::{IscsiName, Lun};
use iscsi_scsi::sense::{AdditionalSense, SenseKey};
use iscsi_scsi::{Command, Sense};

use crate::config::TargetConfig;
use crate::conn::Ending;
use crate::nexus::{Attention, Attentions, MAX_UNITS, NexusId, NexusSlot, SessionIdentity};
use crate::quirks::Quirks;
use crate::unit::{
    Context, LogicalUnit, Start, absent_inquiry, absent_sense, illegal, report_luns,
};

/// An iSCSI target: its settings, its logical units and the sessions that are logged in.
///
/// Every call on a [`TargetConnection`](crate::TargetConnection) gets `&mut Target`: one thread serves all connections of a
/// target, without locks. Units and session slots are the caller's, so nothing is allocated.
///
/// ```
/// use iscsi_core::IscsiName;
/// use iscsi_target::{LogicalUnit, NexusSlot, RamDisk, Target, TargetConfig};
///
/// let config = TargetConfig::new(IscsiName::new("iqn.2001-04.com.example:t").unwrap());
/// let mut disk = RamDisk::new([0; 8192], 512).unwrap();
/// let mut units = [LogicalUnit::new(0, &mut disk, "ram-0")];
/// let mut sessions = [const { NexusSlot::EMPTY }; 4];
/// let target = Target::new(&config, &mut units, &mut sessions).unwrap();
/// assert_eq!(target.sessions().count(), 0);
/// assert_eq!(target.units()[0].number(), 0);
/// ```
#[derive(Debug)]
pub struct Target<'a> {
    pub(crate) config: &'a TargetConfig,
    pub(crate) quirks: Quirks,
    pub(crate) units: &'a mut [LogicalUnit<'a>],
    nexuses: &'a mut [NexusSlot],
    pub(crate) recent: RecentChallenges,
    last_tsih: u16,
    changes: u64,
}

/// Why units and session slots do not make a target.
///
/// ```
/// use iscsi_core::IscsiName;
/// use iscsi_target::{Target, TargetConfig, TargetError};
/// let config = TargetConfig::new(IscsiName::new("iqn.2001-04.com.example:t").unwrap());
/// assert_eq!(Target::new(&config, &mut [], &mut []).unwrap_err(), TargetError::NoSessions);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TargetError {
    /// There is not one session slot.
    NoSessions,
    /// There are more than [`MAX_UNITS`] logical units.
    TooManyUnits,
    /// Two logical units have this number.
    SameNumber(u32),
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoSessions => f.write_str("a target needs at least one session slot"),
            Self::TooManyUnits => write!(f, "a target has at most {MAX_UNITS} logical units"),
            Self::SameNumber(number) => write!(f, "two logical units have the number {number}"),
        }
    }
}

impl core::error::Error for TargetError {}

/// A session that is logged in.
///
/// ```
/// use iscsi_target::{SessionInfo, Target};
/// fn print(target: &Target<'_>) {
///     for SessionInfo { initiator, tsih, .. } in target.sessions() {
///         println!("{tsih}: {initiator}");
///     }
/// }
/// # let _ = print;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionInfo<'t> {
    /// The name of the initiator.
    pub initiator: &'t IscsiName,
    /// The initiator's part of the session identifier.
    pub isid: Isid,
    /// The target's part of the session identifier, never 0.
    pub tsih: u16,
    /// Normal or Discovery.
    pub session_type: SessionType,
}

impl<'a> Target<'a> {
    /// A target with these units; as many sessions can be logged in at once as there are slots. Slots in use are emptied.
    ///
    /// # Errors
    /// [`TargetError`]
    pub fn new(
        config: &'a TargetConfig,
        units: &'a mut [LogicalUnit<'a>],
        sessions: &'a mut [NexusSlot],
    ) -> Result<Self, TargetError> {
        if sessions.is_empty() {
            return Err(TargetError::NoSessions);
        }
        if units.len() > MAX_UNITS {
            return Err(TargetError::TooManyUnits);
        }
        for (at, unit) in units.iter().enumerate() {
            if units.iter().take(at).any(|other| other.number() == unit.number()) {
                return Err(TargetError::SameNumber(unit.number()));
            }
        }
        for slot in sessions.iter_mut() {
            slot.session = None;
        }
        Ok(Self {
            config,
            quirks: Quirks::default(),
            units,
            nexuses: sessions,
            recent: RecentChallenges::new(),
            last_tsih: 0,
            changes: 0,
        })
    }

    /// The settings.
    pub const fn config(&self) -> &TargetConfig {
        self.config
    }

    /// What the target does differently, to be changed at any time.
    pub const fn quirks_mut(&mut self) -> &mut Quirks {
        &mut self.quirks
    }

    /// The logical units, in the order given.
    pub fn units(&self) -> &[LogicalUnit<'a>] {
        self.units
    }

    /// A logical unit to be worked with from outside.
    pub fn unit_mut(&mut self, number: u32) -> Option<&mut LogicalUnit<'a>> {
        self.units.iter_mut().find(|unit| unit.number() == number)
    }

    /// The sessions that are logged in.
    pub fn sessions(&self) -> impl Iterator<Item = SessionInfo<'_>> {
        self.nexuses.iter().filter_map(|slot| {
            let session = slot.session.as_ref()?;
            Some(SessionInfo {
                initiator: &session.initiator,
                isid: session.isid,
                tsih: session.tsih,
                session_type: session.session_type,
            })
        })
    }

    /// Counts the events that connections other than the one being served have to notice: a session was taken over, tasks were
    /// ended from elsewhere. When it has changed, every connection should be
    /// [served](crate::TargetConnection::handle_timeout) once.
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// The size of a unit's disk may have changed: measures it, and tells all sessions if so.
    pub fn capacity_changed(&mut self, number: u32) {
        for (index, unit) in self.units.iter_mut().enumerate() {
            if unit.number() == number && unit.measure() {
                for nexus in self.nexuses.iter_mut() {
                    raise(nexus, index, Attention::CapacityChanged);
                }
            }
        }
    }

    /// A unit was without power for a moment: all sessions are told (UNIT ATTENTION, POWER ON OCCURRED). What its disk has lost by that, and the end of
    /// the connections, is up to the caller.
    pub fn powered_on(&mut self, number: u32) {
        for (index, unit) in self.units.iter().enumerate() {
            if unit.number() == number {
                for nexus in self.nexuses.iter_mut() {
                    raise(nexus, index, Attention::PowerOn);
                }
            }
        }
    }

    /// Flushes all disks, as far as they can be flushed.
    pub fn flush_all(&mut self) {
        for unit in self.units.iter_mut() {
            // A disk that cannot be flushed would have failed its commands, too.
            let _ = unit.flush();
        }
    }

    pub(crate) fn initiator(&self, nexus: NexusId) -> Option<&IscsiName> {
        let slot = self.nexuses.get(usize::from(nexus.index))?;
        let session = slot.session.as_ref().filter(|_| slot.generation == nexus.generation)?;
        Some(&session.initiator)
    }

    /// The index of the unit behind a LUN.
    #[inline]
    pub(crate) fn find_unit(&self, lun: Lun) -> Option<u16> {
        let number = u32::try_from(lun.number()?).ok()?;
        // Units are mostly numbered from 0 in order.
        if self.units.get(number as usize).is_some_and(|unit| unit.number() == number) {
            return Some(number as u16);
        }
        let index = self.units.iter().position(|unit| unit.number() == number)?;
        Some(index as u16)
    }

    pub(crate) fn unit_epoch(&self, unit: u16) -> u32 {
        self.units.get(usize::from(unit)).map_or(0, |unit| unit.epoch)
    }

    /// The unit's attentions of one session.
    fn attentions(&mut self, nexus: NexusId, unit: u16) -> Option<&mut Attentions> {
        let slot = self.nexuses.get_mut(usize::from(nexus.index))?;
        slot.attentions.get_mut(usize::from(unit))
    }

    /// The unit with everything around it.
    fn unit_and_context(
        &mut self,
        unit: u16,
        nexus: NexusId,
    ) -> Option<(&mut LogicalUnit<'a>, Context<'_>)> {
        let context = Context {
            nexus,
            unit: usize::from(unit),
            nexuses: self.nexuses,
            target_name: self.config.name.as_str(),
            target_portal_group_tag: self.config.target_portal_group_tag,
        };
        Some((self.units.get_mut(usize::from(unit))?, context))
    }
}

/// Commands.
impl Target<'_> {
    /// Judges a command for a unit, or for a LUN without one.
    #[inline]
    pub(crate) fn start(
        &mut self,
        nexus: NexusId,
        unit: Option<u16>,
        cdb: &[u8; 16],
    ) -> Result<Start, Ending> {
        let command = Command::parse(cdb);
        let Some(unit) = unit else {
            return match command? {
                Command::Inquiry(_) | Command::ReportLuns(_) | Command::RequestSense(_) => {
                    Ok(Start::Reply)
                }
                _ => Err(illegal(AdditionalSense::LOGICAL_UNIT_NOT_SUPPORTED)),
            };
        };
        let tells = matches!(
            command,
            Ok(Command::Inquiry(_) | Command::ReportLuns(_) | Command::RequestSense(_))
        );
        if !tells && let Some(attention) = self.attentions(nexus, unit).and_then(Attentions::take) {
            return Err(Sense::new(SenseKey::UNIT_ATTENTION, attention.additional_sense()).into());
        }
        let command = command?;
        if matches!(command, Command::ReportLuns(_)) {
            return Ok(Start::Reply);
        }
        match self.unit_and_context(unit, nexus) {
            Some((unit, context)) => unit.start(&command, &context),
            None => Err(illegal(AdditionalSense::LOGICAL_UNIT_NOT_SUPPORTED)),
        }
    }

    /// Makes Data-In that is not on a disk.
    pub(crate) fn reply(
        &mut self,
        nexus: NexusId,
        unit: Option<u16>,
        cdb: &[u8; 16],
        out: &mut [u8],
    ) -> Result<usize, Ending> {
        let command = Command::parse(cdb)?;
        match (&command, unit) {
            (Command::ReportLuns(command), _) => {
                if let Some(attentions) = unit.and_then(|unit| self.attentions(nexus, unit)) {
                    attentions.clear(Attention::LunsChanged);
                }
                report_luns(command, self.units, out)
            }
            (Command::Inquiry(command), None) => absent_inquiry(command, out),
            (Command::RequestSense(command), None) => Ok(absent_sense(command, out)),
            (command, Some(unit)) => match self.unit_and_context(unit, nexus) {
                Some((unit, mut context)) => unit.reply(command, &mut context, out),
                None => Err(illegal(AdditionalSense::LOGICAL_UNIT_NOT_SUPPORTED)),
            },
            _ => Err(illegal(AdditionalSense::LOGICAL_UNIT_NOT_SUPPORTED)),
        }
    }

    /// Carries out a command whose Data-Out is complete.
    pub(crate) fn finish(
        &mut self,
        nexus: NexusId,
        unit: Option<u16>,
        cdb: &[u8; 16],
        data: &[u8],
    ) -> Result<(), Ending> {
        let command = Command::parse(cdb)?;
        let unit = unit.and_then(|unit| self.unit_and_context(unit, nexus));
        let Some((unit, mut context)) = unit else {
            return Err(illegal(AdditionalSense::LOGICAL_UNIT_NOT_SUPPORTED));
        };
        let before = unit.epoch;
        let result = unit.finish(&command, data, &mut context);
        if unit.epoch != before {
            self.changes += 1;
        }
        result
    }
}

/// Sessions.
impl Target<'_> {
    /// Whether the session has neither ended nor been taken over.
    #[inline]
    pub(crate) fn is_current(&self, nexus: NexusId) -> bool {
        self.nexuses
            .get(usize::from(nexus.index))
            .is_some_and(|slot| slot.generation == nexus.generation && slot.session.is_some())
    }

    /// A login that wants to be part of a session that exists, before it has proved anything (RFC 7143 section 6.3.1).
    pub(crate) fn check_tsih(
        &self,
        initiator: &IscsiName,
        isid: Isid,
        tsih: u16,
        cid: u16,
    ) -> Result<(), LoginStatus> {
        if tsih == 0 {
            return Ok(());
        }
        match self.find_session(initiator, isid, SessionType::Normal) {
            Some((_, session)) if session.tsih == tsih && session.cid == cid => Ok(()),
            // One connection per session was negotiated.
            Some((_, session)) if session.tsih == tsih => Err(LoginStatus::TOO_MANY_CONNECTIONS),
            _ => Err(LoginStatus::SESSION_DOES_NOT_EXIST),
        }
    }

    fn find_session(
        &self,
        initiator: &IscsiName,
        isid: Isid,
        session_type: SessionType,
    ) -> Option<(u16, &SessionIdentity)> {
        self.nexuses.iter().enumerate().find_map(|(index, slot)| {
            let session = slot.session.as_ref().filter(|session| {
                session.initiator == *initiator
                    && session.isid == isid
                    && session.session_type == session_type
            })?;
            Some((index as u16, session))
        })
    }

    /// A login has succeeded: its session is new, or takes the place of an old one of the same initiator port, whose tasks end
    /// without notice (RFC 7143 section 6.3.5). Returns the session and its TSIH.
    pub(crate) fn admit(
        &mut self,
        initiator: &IscsiName,
        isid: Isid,
        tsih: u16,
        cid: u16,
        session_type: SessionType,
    ) -> Result<(NexusId, u16), LoginStatus> {
        self.check_tsih(initiator, isid, tsih, cid)?;
        let old = self.find_session(initiator, isid, session_type).map(|(index, _)| index);
        let free = || self.nexuses.iter().position(|slot| slot.session.is_none());
        let index = match old {
            Some(index) => usize::from(index),
            None if session_type == SessionType::Discovery && !self.takes_discovery() => {
                return Err(LoginStatus::OUT_OF_RESOURCES);
            }
            None => free().ok_or(LoginStatus::OUT_OF_RESOURCES)?,
        };
        let tsih = if tsih == 0 { self.new_tsih() } else { tsih };
        if old.is_some() {
            self.changes += 1;
            self.release_units(index);
        }
        let power_on = self.quirks.power_on_attention;
        let units = self.units.len();
        let Some(slot) = self.nexuses.get_mut(index) else {
            return Err(LoginStatus::TARGET_ERROR);
        };
        slot.generation = slot.generation.wrapping_add(1);
        slot.session =
            Some(SessionIdentity { initiator: initiator.clone(), isid, tsih, cid, session_type });
        if old.is_none() {
            slot.attentions = [Attentions::NONE; MAX_UNITS];
        }
        for attentions in slot.attentions.iter_mut().take(units) {
            if old.is_some() {
                attentions.raise(Attention::CommandsClearedByEvent);
            } else if power_on {
                attentions.raise(Attention::PowerOn);
            }
        }
        Ok((NexusId { index: index as u16, generation: slot.generation }, tsih))
    }

    /// Discovery sessions, which may need no credentials, get a quarter of the places, so that they cannot keep others out.
    fn takes_discovery(&self) -> bool {
        let of_discovery = |slot: &&NexusSlot| {
            slot.session.as_ref().is_some_and(|s| s.session_type == SessionType::Discovery)
        };
        self.nexuses.iter().filter(of_discovery).count() < (self.nexuses.len() / 4).max(1)
    }

    /// A number that no session has.
    fn new_tsih(&mut self) -> u16 {
        loop {
            self.last_tsih = self.last_tsih.wrapping_add(1);
            let taken = |slot: &NexusSlot| {
                slot.session.as_ref().is_some_and(|session| session.tsih == self.last_tsih)
            };
            if self.last_tsih != 0 && !self.nexuses.iter().any(taken) {
                return self.last_tsih;
            }
        }
    }

    /// The session ends with its only connection.
    pub(crate) fn end_session(&mut self, nexus: NexusId) {
        if !self.is_current(nexus) {
            return;
        }
        self.release_units(usize::from(nexus.index));
        if let Some(slot) = self.nexuses.get_mut(usize::from(nexus.index)) {
            slot.session = None;
            slot.generation = slot.generation.wrapping_add(1);
        }
    }

    fn release_units(&mut self, index: usize) {
        let Some(slot) = self.nexuses.get(index) else { return };
        let nexus = NexusId { index: index as u16, generation: slot.generation };
        for unit in self.units.iter_mut() {
            unit.nexus_lost(nexus);
        }
    }

    /// Ends every session, for example before the target goes down.
    pub fn end_all_sessions(&mut self) {
        for index in 0..self.nexuses.len() {
            let generation = self.nexuses.get(index).map_or(0, |slot| slot.generation);
            self.end_session(NexusId { index: index as u16, generation });
        }
        self.changes += 1;
    }
}

/// Task management.
impl Target<'_> {
    /// LOGICAL UNIT RESET: ends all tasks of the unit, and everybody is told.
    pub(crate) fn reset_unit(&mut self, unit: u16) {
        if let Some(unit) = self.units.get_mut(usize::from(unit)) {
            unit.reset();
        }
        for nexus in self.nexuses.iter_mut() {
            raise(nexus, usize::from(unit), Attention::Reset);
        }
        self.changes += 1;
    }

    /// CLEAR TASK SET: ends all tasks of the unit; the other sessions are told.
    pub(crate) fn clear_task_set(&mut self, unit: u16, nexus: NexusId) {
        if let Some(unit) = self.units.get_mut(usize::from(unit)) {
            unit.epoch = unit.epoch.wrapping_add(1);
        }
        for (index, other) in self.nexuses.iter_mut().enumerate() {
            if index != usize::from(nexus.index) {
                raise(other, usize::from(unit), Attention::CommandsCleared);
            }
        }
        self.changes += 1;
    }

    /// The attention that is reported next, left where it is.
    pub(crate) fn pending_attention(
        &mut self,
        nexus: NexusId,
        unit: u16,
    ) -> Option<AdditionalSense> {
        Some(self.attentions(nexus, unit)?.first()?.additional_sense())
    }
}

fn raise(nexus: &mut NexusSlot, unit: usize, attention: Attention) {
    if let Some(attentions) = nexus.attentions.get_mut(unit) {
        attentions.raise(attention);
    }
}
