//! What each PDU of the initiator means: where its data segment goes, and what changes once it is whole.

use iscsi_core::wire::{InitiatorPdu, RejectReason};
use iscsi_core::{Instant, StatSn};

use super::command::damaged_data;
use super::rx::Placement;
use super::{CONTROL_QUEUE, State, TargetConnection};
use crate::target::Target;

impl TargetConnection {
    /// Judges a header and says where its data segment goes; `None` if the PDU has to wait until something was sent.
    #[inline]
    pub(super) fn begin(
        &mut self,
        pdu: &InitiatorPdu,
        target: &mut Target<'_>,
        now: Instant,
    ) -> Option<Placement> {
        if self.core.state != State::FullFeature {
            return Some(self.begin_login(pdu, target, now));
        }
        if self.core.control.is_full() {
            // It may have to be answered or refused.
            return None;
        }
        match pdu {
            InitiatorPdu::ScsiCommand(command) => Some(self.begin_command(command, target, now)),
            InitiatorPdu::DataOut(data_out) => Some(self.begin_data_out(data_out, target, now)),
            InitiatorPdu::NopOut(nop) => self.begin_nop_out(nop),
            InitiatorPdu::TextRequest(text) => self.begin_text(text),
            InitiatorPdu::SnackRequest(_) if self.core.again.is_full() => None,
            // It ends the wait of the one before, and both are answered.
            InitiatorPdu::TaskManagementRequest(_)
                if self.core.waiting.is_some() && self.core.control.len() + 1 >= CONTROL_QUEUE =>
            {
                None
            }
            _ => Some(Placement::NOWHERE),
        }
    }

    /// A whole PDU; `intact` is false if its data digest does not match.
    #[inline]
    pub(super) fn process(
        &mut self,
        pdu: &InitiatorPdu,
        placement: &Placement,
        intact: bool,
        target: &mut Target<'_>,
        now: Instant,
    ) {
        if self.core.state == State::Login {
            self.login(pdu, target, now);
            return;
        }
        if self.core.state != State::FullFeature {
            return;
        }
        if !intact {
            self.reject(RejectReason::DataDigestError, target, now);
            match (pdu, placement.task) {
                (_, Some(index)) if self.core.level_1 => self.data_out_lost(pdu, index),
                (_, Some(index)) => self.fail_task(index, damaged_data()),
                // Everything else was not received at all.
                _ => {
                    self.forget(pdu);
                    return;
                }
            }
        }
        if self.core.level_1 {
            let bhs = self.core.rx.bhs();
            self.acknowledge(StatSn(u32::from_be_bytes([bhs[28], bhs[29], bhs[30], bhs[31]])));
        }
        match pdu {
            InitiatorPdu::ScsiCommand(command) => {
                // A command that was refused or ignored has no task.
                if let Some(index) = self.tasks.find(command.initiator_task_tag) {
                    if self.tasks[index].cmd_sn == command.cmd_sn {
                        self.advance(index, target, now);
                    }
                    self.release_held(target, now);
                }
            }
            InitiatorPdu::DataOut(data_out) => {
                if let Some(index) = placement.task {
                    self.data_out(data_out, index, target, now);
                }
            }
            InitiatorPdu::NopOut(nop) => self.nop_out(nop, target, now),
            InitiatorPdu::TaskManagementRequest(request) => {
                self.task_management(request, target, now);
            }
            InitiatorPdu::TextRequest(request) => self.text(request, target, now),
            InitiatorPdu::LogoutRequest(request) => self.logout(request, target, now),
            InitiatorPdu::SnackRequest(snack) => self.snack(snack, target, now),
            InitiatorPdu::LoginRequest(_) => {
                self.reject(RejectReason::ProtocolError, target, now);
            }
        }
    }

    /// A PDU without a task arrived damaged: what was prepared for it is given back.
    fn forget(&mut self, pdu: &InitiatorPdu) {
        if let (InitiatorPdu::NopOut(_), Some((run, _))) = (pdu, self.core.echo.take()) {
            self.core.bounce_pages.give(run);
        }
    }
}
