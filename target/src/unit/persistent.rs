//! Reservations: who may do what (SPC, SPC-2).
//!
//! Persistent reservations are kept in memory: they outlive sessions, not the target.

use core::fmt::Write as _;

use heapless::{String, Vec};
use iscsi_core::IscsiName;
use iscsi_core::wire::Isid;
use iscsi_scsi::command::BlockAction;
use iscsi_scsi::reservation::{
    FullStatus, FullStatusDescriptor, PersistentReserveIn, PersistentReserveOut, Reservation,
    ReservationCapabilities, ReservationKeys, ReservationType, ReserveInAction, ReserveOutAction,
    ReserveParameters, Scope,
};
use iscsi_scsi::sense::{AdditionalSense, SenseKey};
use iscsi_scsi::transport_id::TransportId;
use iscsi_scsi::{Command, Sense};

use super::{CONFLICT, Context, LogicalUnit, bad_field, bad_parameter, illegal};
use crate::conn::Ending;
use crate::nexus::{Attention, SessionIdentity};

/// Initiator ports that can be registered with a unit.
const MAX_REGISTRATIONS: usize = 16;

/// Bytes of the parameter list of all service actions served here.
const PARAMETERS: u32 = 24;

#[derive(Debug, Clone)]
struct Registration {
    initiator: IscsiName,
    isid: Isid,
    key: u64,
}

impl Registration {
    fn is_of(&self, session: &SessionIdentity) -> bool {
        self.initiator == session.initiator && self.isid == session.isid
    }
}

#[derive(Debug, Clone, Copy)]
struct Held {
    kind: ReservationType,
    /// Index of the registration; it means nothing for the "all registrants" types.
    holder: usize,
}

impl Held {
    fn by_all(self) -> bool {
        matches!(
            self.kind,
            ReservationType::WRITE_EXCLUSIVE_ALL | ReservationType::EXCLUSIVE_ACCESS_ALL
        )
    }

    fn registrants_pass(self) -> bool {
        self.by_all()
            || matches!(
                self.kind,
                ReservationType::WRITE_EXCLUSIVE_REGISTRANTS
                    | ReservationType::EXCLUSIVE_ACCESS_REGISTRANTS
            )
    }

    fn reads_pass(self) -> bool {
        matches!(
            self.kind,
            ReservationType::WRITE_EXCLUSIVE
                | ReservationType::WRITE_EXCLUSIVE_REGISTRANTS
                | ReservationType::WRITE_EXCLUSIVE_ALL
        )
    }
}

/// The persistent reservation of a unit.
#[derive(Debug, Clone)]
pub(super) struct Persistent {
    generation: u32,
    registrations: Vec<Registration, MAX_REGISTRATIONS>,
    held: Option<Held>,
}

/// What a command wants, as far as reservations care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// Passes every reservation.
    Free,
    /// Passes persistent reservations, not the one of SPC-2.
    Unless2,
    Read,
    Write,
}

fn access(command: &Command) -> Access {
    if let Some(range) = command.block_range() {
        return match range.action {
            BlockAction::Read | BlockAction::Verify | BlockAction::PreFetch => Access::Read,
            _ => Access::Write,
        };
    }
    match command {
        Command::Inquiry(_)
        | Command::ReportLuns(_)
        | Command::RequestSense(_)
        | Command::Release6(_)
        | Command::Release10(_) => Access::Free,
        Command::TestUnitReady(_)
        | Command::ReadCapacity10(_)
        | Command::ReadCapacity16(_)
        | Command::ReportTargetPortGroups(_)
        | Command::ReportSupportedOpcodes(_)
        | Command::ReportSupportedTmfs(_)
        | Command::PersistentReserveIn(_)
        | Command::PersistentReserveOut(_) => Access::Unless2,
        Command::StartStopUnit(command) if command.start => Access::Unless2,
        Command::GetLbaStatus(_) | Command::ModeSense6(_) | Command::ModeSense10(_) => Access::Read,
        _ => Access::Write,
    }
}

impl LogicalUnit<'_> {
    pub(super) fn check_reservations(
        &self,
        command: &Command,
        context: &Context<'_>,
    ) -> Result<(), Ending> {
        let access = access(command);
        if access == Access::Free {
            return Ok(());
        }
        if self.reserved_by.is_some_and(|holder| holder != context.nexus) {
            return Err(CONFLICT);
        }
        if access == Access::Unless2 {
            return Ok(());
        }
        let reserve = matches!(command, Command::Reserve6(_) | Command::Reserve10(_));
        if reserve && !self.persistent.registrations.is_empty() {
            return Err(CONFLICT);
        }
        let Some(held) = self.persistent.held else { return Ok(()) };
        let registration = context.session().and_then(|session| self.persistent.find(session));
        let passes = match registration {
            Some(index) if index == held.holder || held.registrants_pass() => true,
            _ => access == Access::Read && held.reads_pass(),
        };
        if passes { Ok(()) } else { Err(CONFLICT) }
    }

    pub(super) fn persistent_reserve_out(
        &mut self,
        command: &PersistentReserveOut,
        data: &[u8],
        context: &mut Context<'_>,
    ) -> Result<(), Ending> {
        if command.parameter_list_length != PARAMETERS || data.len() != PARAMETERS as usize {
            return Err(illegal(AdditionalSense::PARAMETER_LIST_LENGTH_ERROR));
        }
        let (parameters, _) = ReserveParameters::parse(data).map_err(|_| bad_parameter(20))?;
        if parameters.aptpl || parameters.all_target_ports {
            return Err(bad_parameter(20));
        }
        let Some(session) = context.session().cloned() else { return Err(CONFLICT) };
        let (action, key) = (command.action, parameters.key);
        let own = self.persistent.find(&session);
        match action {
            ReserveOutAction::REGISTER | ReserveOutAction::REGISTER_AND_IGNORE => {
                let ignore = action == ReserveOutAction::REGISTER_AND_IGNORE;
                self.persistent.register(own, &session, key, parameters.action_key, ignore, context)
            }
            _ => {
                // Everything else needs a registration with the right key.
                let registered = own.and_then(|own| self.persistent.registrations.get(own));
                let (Some(own), Some(true)) = (own, registered.map(|own| own.key == key)) else {
                    return Err(CONFLICT);
                };
                match action {
                    ReserveOutAction::RESERVE => {
                        self.persistent.reserve(own, command.scope, command.kind)
                    }
                    ReserveOutAction::RELEASE => {
                        self.persistent.release(own, command.scope, command.kind, context)
                    }
                    ReserveOutAction::CLEAR => {
                        self.persistent.clear(&session, context);
                        Ok(())
                    }
                    ReserveOutAction::PREEMPT | ReserveOutAction::PREEMPT_AND_ABORT => {
                        self.persistent.preempt(own, command, parameters.action_key, context)?;
                        if action == ReserveOutAction::PREEMPT_AND_ABORT {
                            self.epoch = self.epoch.wrapping_add(1);
                        }
                        Ok(())
                    }
                    _ => Err(bad_field(1, 4)),
                }
            }
        }
    }
}

impl Persistent {
    pub(super) const NONE: Self = Self { generation: 0, registrations: Vec::new(), held: None };

    pub(super) fn is_empty(&self) -> bool {
        self.registrations.is_empty()
    }

    fn find(&self, session: &SessionIdentity) -> Option<usize> {
        self.registrations.iter().position(|registration| registration.is_of(session))
    }

    /// Makes the answer to PERSISTENT RESERVE IN and returns its full size.
    pub(super) fn report(&self, command: &PersistentReserveIn, out: &mut [u8]) -> usize {
        match command.action {
            ReserveInAction::READ_KEYS => {
                let keys = self.registrations.iter().map(|registration| registration.key);
                ReservationKeys::emit(self.generation, keys, out)
            }
            ReserveInAction::READ_RESERVATION => {
                let held = self.held.map(|held| Reservation {
                    key: match held.by_all() {
                        true => 0,
                        false => self.registrations.get(held.holder).map_or(0, |holder| holder.key),
                    },
                    scope: Scope::LOGICAL_UNIT,
                    kind: held.kind,
                });
                Reservation::emit(self.generation, held, out)
            }
            ReserveInAction::REPORT_CAPABILITIES => {
                let mut capabilities =
                    ReservationCapabilities { tmv: true, ..ReservationCapabilities::default() };
                for kind in KINDS {
                    capabilities.allow(kind);
                }
                capabilities.emit(out)
            }
            _ => self.full_status(out),
        }
    }

    fn full_status(&self, out: &mut [u8]) -> usize {
        // Name, ",i,0x" and 12 digits.
        let ports: Vec<String<240>, MAX_REGISTRATIONS> = self
            .registrations
            .iter()
            .map(|registration| {
                let mut port = String::new();
                let _ = write!(port, "{},i,0x{}", registration.initiator, registration.isid);
                port
            })
            .collect();
        let descriptors = self.registrations.iter().zip(&ports).enumerate();
        let descriptors = descriptors.map(|(index, (registration, port))| FullStatusDescriptor {
            key: registration.key,
            all_target_ports: false,
            holder: self
                .held
                .filter(|held| held.by_all() || held.holder == index)
                .map(|held| (Scope::LOGICAL_UNIT, held.kind)),
            relative_port: 1,
            port: TransportId::iscsi_port(port),
        });
        FullStatus::emit(self.generation, descriptors, out)
    }

    fn register(
        &mut self,
        own: Option<usize>,
        session: &SessionIdentity,
        key: u64,
        new_key: u64,
        ignore: bool,
        context: &mut Context<'_>,
    ) -> Result<(), Ending> {
        let expected = own.and_then(|own| self.registrations.get(own)).map_or(0, |own| own.key);
        if !ignore && key != expected {
            return Err(CONFLICT);
        }
        match own {
            None if new_key == 0 => {}
            None => {
                let registration = Registration {
                    initiator: session.initiator.clone(),
                    isid: session.isid,
                    key: new_key,
                };
                self.registrations
                    .push(registration)
                    .map_err(|_| illegal(AdditionalSense::INSUFFICIENT_REGISTRATION_RESOURCES))?;
            }
            Some(own) if new_key == 0 => self.remove(own, context),
            Some(own) => {
                if let Some(own) = self.registrations.get_mut(own) {
                    own.key = new_key;
                }
            }
        }
        self.generation = self.generation.wrapping_add(1);
        Ok(())
    }

    /// Takes a registration away, and the reservation with its last holder.
    fn remove(&mut self, index: usize, context: &mut Context<'_>) {
        self.registrations.remove(index);
        let Some(held) = &mut self.held else { return };
        if held.by_all() {
            if self.registrations.is_empty() {
                self.held = None;
            }
        } else if held.holder == index {
            let registrants = held.registrants_pass();
            self.held = None;
            if registrants {
                self.raise_for_registered(Attention::ReservationsReleased, context);
            }
        } else if held.holder > index {
            held.holder -= 1;
        }
    }

    fn raise_for_registered(&self, attention: Attention, context: &mut Context<'_>) {
        let own = context.session().cloned();
        context.raise_for(attention, |session| {
            own.as_ref() != Some(session) && self.find(session).is_some()
        });
    }

    fn reserve(&mut self, own: usize, scope: Scope, kind: ReservationType) -> Result<(), Ending> {
        if scope != Scope::LOGICAL_UNIT || !KINDS.contains(&kind) {
            return Err(bad_field(2, 7));
        }
        match self.held {
            None => {
                self.held = Some(Held { kind, holder: own });
                Ok(())
            }
            Some(held) if held.kind == kind && (held.by_all() || held.holder == own) => Ok(()),
            Some(_) => Err(CONFLICT),
        }
    }

    fn release(
        &mut self,
        own: usize,
        scope: Scope,
        kind: ReservationType,
        context: &mut Context<'_>,
    ) -> Result<(), Ending> {
        let Some(held) = self.held.filter(|held| held.by_all() || held.holder == own) else {
            return Ok(());
        };
        if held.kind != kind || scope != Scope::LOGICAL_UNIT {
            let additional = AdditionalSense::INVALID_RELEASE_OF_PERSISTENT_RESERVATION;
            return Err(Sense::new(SenseKey::ILLEGAL_REQUEST, additional).into());
        }
        self.held = None;
        if held.registrants_pass() {
            self.raise_for_registered(Attention::ReservationsReleased, context);
        }
        Ok(())
    }

    fn clear(&mut self, own: &SessionIdentity, context: &mut Context<'_>) {
        context.raise_for(Attention::ReservationsPreempted, |session| {
            session != own && self.find(session).is_some()
        });
        self.registrations.clear();
        self.held = None;
        self.generation = self.generation.wrapping_add(1);
    }

    fn preempt(
        &mut self,
        own: usize,
        command: &PersistentReserveOut,
        victim: u64,
        context: &mut Context<'_>,
    ) -> Result<(), Ending> {
        let held = self.held;
        let holds = |key: u64| match held {
            Some(held) if held.by_all() => key == 0,
            Some(held) => self.registrations.get(held.holder).is_some_and(|it| it.key == key),
            None => false,
        };
        let takes_over = holds(victim);
        if victim == 0 && !takes_over {
            return Err(bad_parameter(8));
        }
        if takes_over && (command.scope != Scope::LOGICAL_UNIT || !KINDS.contains(&command.kind)) {
            return Err(bad_field(2, 7));
        }
        let everybody = victim == 0;
        let is_victim = |key: u64| everybody || key == victim;
        if !takes_over && !self.registrations.iter().any(|it| it.key == victim) {
            return Err(CONFLICT);
        }
        let me = self.registrations.get(own).cloned();
        let is_me = |session: &SessionIdentity| me.as_ref().is_some_and(|me| me.is_of(session));
        let preempted = |session: &SessionIdentity| {
            !is_me(session)
                && self
                    .find(session)
                    .and_then(|index| self.registrations.get(index))
                    .is_some_and(|it| is_victim(it.key))
        };
        context.raise_for(Attention::RegistrationsPreempted, preempted);
        if takes_over {
            self.held = None;
        }
        let mut index = 0;
        while let Some(registration) = self.registrations.get(index) {
            let mine = me.as_ref().is_some_and(|me| {
                me.initiator == registration.initiator && me.isid == registration.isid
            });
            if !mine && is_victim(registration.key) {
                self.remove(index, context);
            } else {
                index += 1;
            }
        }
        if takes_over {
            let own = me.as_ref().and_then(|me| {
                let same = |it: &Registration| it.initiator == me.initiator && it.isid == me.isid;
                self.registrations.iter().position(same)
            });
            self.held = own.map(|holder| Held { kind: command.kind, holder });
            if held.is_some_and(|held| held.kind != command.kind) {
                self.raise_for_registered(Attention::ReservationsReleased, context);
            }
        }
        self.generation = self.generation.wrapping_add(1);
        Ok(())
    }
}

const KINDS: [ReservationType; 6] = [
    ReservationType::WRITE_EXCLUSIVE,
    ReservationType::EXCLUSIVE_ACCESS,
    ReservationType::WRITE_EXCLUSIVE_REGISTRANTS,
    ReservationType::EXCLUSIVE_ACCESS_REGISTRANTS,
    ReservationType::WRITE_EXCLUSIVE_ALL,
    ReservationType::EXCLUSIVE_ACCESS_ALL,
];
