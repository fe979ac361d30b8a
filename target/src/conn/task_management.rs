//! Task management (RFC 7143 sections 11.5 and 4.2.3.3).

use core::time::Duration;

use iscsi_core::text::SessionType;
use iscsi_core::wire::{
    RejectReason, TaskManagementFunction as Function, TaskManagementRequest,
    TaskManagementResponseCode as Response,
};
use iscsi_core::{CmdSn, InitiatorTaskTag, Instant, Lun};

use super::command::Arrival;
use super::control::Control;
use super::{EndReason, TargetConnection};
use crate::target::Target;

/// How long the answer to a function that ends several tasks waits for the data that the initiator owes.
const DATA_TIMEOUT: Duration = Duration::from_secs(2);

/// iSCSIProtocolLevel from which on the functions of RFC 7144 exist.
const LEVEL_SAM4: u8 = 2;

/// A function whose answer waits until the aborted tasks owe no data.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    itt: InitiatorTaskTag,
    response: Response,
}

impl TargetConnection {
    pub(super) fn task_management(
        &mut self,
        request: &TaskManagementRequest,
        target: &mut Target<'_>,
        now: Instant,
    ) {
        if self.core.session_type == SessionType::Discovery {
            self.reject(RejectReason::ProtocolError, target, now);
            return;
        }
        let arrival = self.arrive(request.immediate, request.cmd_sn);
        if arrival == Arrival::Ignored {
            return;
        }
        self.answered(arrival);
        // The one before has waited long enough: nothing overtakes.
        self.stop_waiting(target, now);
        let response = self.perform(request, target);
        let itt = request.initiator_task_tag;
        let owing = self
            .tasks
            .live()
            .any(|index| self.tasks[index].aborted && self.tasks[index].awaits_data());
        if owing {
            self.core.waiting = Some(Waiting { itt, response });
            self.core.timers.waiting = Some(now + DATA_TIMEOUT);
        } else {
            // A PDU is only taken while there is room for its answer.
            let _ = self.core.control.push_back(Control::TaskManagement { itt, response });
        }
        match request.function {
            Function::TargetColdReset => {
                target.end_all_sessions();
                self.core.nexus = None;
                self.finish(EndReason::SessionEnded, target, now);
            }
            Function::ItNexusReset if response == Response::FunctionComplete => {
                self.finish(EndReason::SessionEnded, target, now);
            }
            _ => {}
        }
        self.release_held(target, now);
    }

    fn perform(&mut self, request: &TaskManagementRequest, target: &mut Target<'_>) -> Response {
        let function = &request.function;
        let unit = function.lun().map(|lun| target.find_unit(lun));
        let modern = matches!(
            function,
            Function::QueryTask { .. }
                | Function::QueryTaskSet { .. }
                | Function::ItNexusReset
                | Function::QueryAsynchronousEvent { .. }
        );
        if modern && self.core.negotiated.iscsi_protocol_level < LEVEL_SAM4 {
            return Response::FunctionNotSupported;
        }
        let Some(nexus) = self.core.nexus else { return Response::FunctionRejected };
        match (*function, unit) {
            (Function::TaskReassign { .. }, _) => Response::ReassignmentNotSupported,
            (Function::ClearAca { .. }, _) => Response::FunctionNotSupported,
            (Function::AbortTask { lun, referenced_task_tag, ref_cmd_sn }, _) => {
                self.abort_task(lun, referenced_task_tag, ref_cmd_sn, request.cmd_sn)
            }
            (Function::QueryTask { lun, referenced_task_tag, .. }, _) => {
                present(self.find_task(lun, referenced_task_tag).is_some())
            }
            (_, Some(None)) => Response::LunDoesNotExist,
            (Function::AbortTaskSet { .. }, Some(Some(unit))) => {
                self.abort_unit(unit);
                Response::FunctionComplete
            }
            (Function::ClearTaskSet { .. }, Some(Some(unit))) => {
                self.abort_unit(unit);
                target.clear_task_set(unit, nexus);
                self.core.seen = target.changes();
                Response::FunctionComplete
            }
            (Function::LogicalUnitReset { .. }, Some(Some(unit))) => {
                self.abort_unit(unit);
                target.reset_unit(unit);
                self.core.seen = target.changes();
                Response::FunctionComplete
            }
            (Function::TargetWarmReset | Function::TargetColdReset, _) => {
                for unit in 0..target.units().len() as u16 {
                    self.abort_unit(unit);
                    target.reset_unit(unit);
                }
                self.core.seen = target.changes();
                Response::FunctionComplete
            }
            (Function::ItNexusReset, _) => {
                for index in self.tasks.live() {
                    self.abort(index, false);
                }
                Response::FunctionComplete
            }
            (Function::QueryTaskSet { .. }, Some(Some(unit))) => {
                let mut live = self.tasks.live();
                present(live.any(|index| {
                    self.tasks[index].unit == Some(unit) && !self.tasks[index].aborted
                }))
            }
            (Function::QueryAsynchronousEvent { .. }, Some(Some(unit))) => {
                match target.pending_attention(nexus, unit) {
                    // One attention is known of, with the sense key UNIT ATTENTION.
                    Some(sense) => Response::FunctionSucceeded {
                        additional_response_information: [0x16, sense.asc, sense.ascq],
                    },
                    None => Response::FunctionComplete,
                }
            }
            _ => Response::FunctionNotSupported,
        }
    }

    /// A task that is there to be managed.
    fn find_task(&self, lun: Lun, itt: InitiatorTaskTag) -> Option<u16> {
        let index = self.tasks.find(itt)?;
        (self.tasks[index].lun == lun && !self.tasks[index].aborted).then_some(index)
    }

    /// A task that never arrived counts as received from now on, so that its number leaves no hole (RFC 7143 section 11.6.1).
    fn abort_task(
        &mut self,
        lun: Lun,
        itt: InitiatorTaskTag,
        ref_cmd_sn: CmdSn,
        cmd_sn: CmdSn,
    ) -> Response {
        if let Some(index) = self.find_task(lun, itt) {
            self.abort(index, false);
            return Response::FunctionComplete;
        }
        let missing = ref_cmd_sn.lt(cmd_sn)
            && self.core.exp_cmd_sn.le(ref_cmd_sn)
            && ref_cmd_sn.le(self.core.max_cmd_sn);
        if missing {
            let arrival = self.arrive(false, ref_cmd_sn);
            if arrival != Arrival::Ignored {
                self.answered(arrival);
                return Response::FunctionComplete;
            }
        }
        Response::TaskDoesNotExist
    }

    /// Ends all tasks of this session on a unit. Those that are owed data stay until the data have come.
    fn abort_unit(&mut self, unit: u16) {
        for index in self.tasks.live() {
            if self.tasks[index].unit == Some(unit) {
                self.abort(index, true);
            }
        }
    }

    /// One aborted task less: was it the last one that the answer waits for?
    pub(super) fn aborted_task_gone(&mut self, target: &mut Target<'_>, now: Instant) {
        let owing = self
            .tasks
            .live()
            .any(|index| self.tasks[index].aborted && self.tasks[index].awaits_data());
        if !owing {
            self.stop_waiting(target, now);
        }
    }

    /// Answers a function that waits, and forgets what its tasks are owed.
    pub(super) fn stop_waiting(&mut self, target: &mut Target<'_>, now: Instant) {
        let Some(Waiting { itt, response }) = self.core.waiting.take() else { return };
        self.core.timers.waiting = None;
        for index in self.tasks.live() {
            if self.tasks[index].aborted {
                self.abort(index, false);
            }
        }
        if self.core.control.push_back(Control::TaskManagement { itt, response }).is_err() {
            self.finish(EndReason::Dropped, target, now);
        }
    }
}

/// FUNCTION SUCCEEDED says "there is one", FUNCTION COMPLETE "there is none" (RFC 7144 section 6).
const fn present(is_there: bool) -> Response {
    match is_there {
        true => Response::FunctionSucceeded { additional_response_information: [0; 3] },
        false => Response::FunctionComplete,
    }
}
