//! What a [`ScriptedTarget`] keeps to send it again (RFC 7143 section 11.16), and the rules for asking.

use alloc::format;
use alloc::vec::Vec;

use super::script::Field;
use super::scripted::ScriptedTarget;
use crate::wire::{Bhs, Opcode, SnackKind, SnackRequest};
use crate::{InitiatorTaskTag, StatSn};

/// The PDUs of a connection at ErrorRecoveryLevel 1, as an honest target would have sent them.
#[derive(Debug, Default)]
pub(super) struct Kept {
    pdus: Vec<(Bhs, Vec<u8>)>,
    /// The highest ExpStatSN of the initiator.
    acknowledged: Option<StatSn>,
}

impl Kept {
    pub(super) const EMPTY: Self = Self { pdus: Vec::new(), acknowledged: None };

    pub(super) fn acknowledge(&mut self, exp_stat_sn: StatSn) {
        if self.acknowledged.is_none_or(|before| before.lt(exp_stat_sn)) {
            self.acknowledged = Some(exp_stat_sn);
        }
    }

    fn is_acknowledged(&self, stat_sn: StatSn) -> bool {
        self.acknowledged.is_some_and(|next| stat_sn.lt(next))
    }

    /// The status of this task was acknowledged.
    fn is_over(&self, itt: InitiatorTaskTag) -> bool {
        let statuses = self.pdus.iter().filter(|(bhs, _)| tag(bhs) == itt);
        statuses.filter_map(|(bhs, _)| status(bhs)).any(|stat_sn| self.is_acknowledged(stat_sn))
    }
}

fn tag(bhs: &Bhs) -> InitiatorTaskTag {
    InitiatorTaskTag(Field::INITIATOR_TASK_TAG.get(bhs) as u32)
}

/// The StatSN of a PDU that takes one.
fn status(bhs: &Bhs) -> Option<StatSn> {
    let numbered = match Opcode::of(bhs)? {
        Opcode::ScsiResponse
        | Opcode::TaskManagementResponse
        | Opcode::TextResponse
        | Opcode::LogoutResponse
        | Opcode::AsyncMessage
        | Opcode::Reject => true,
        Opcode::DataIn => Field::HAS_STATUS.get(bhs) == 1,
        Opcode::NopIn => !tag(bhs).is_reserved(),
        _ => false,
    };
    numbered.then(|| StatSn(Field::STAT_SN.get(bhs) as u32))
}

impl ScriptedTarget {
    /// Keeps a PDU, if this connection can ask for it again.
    pub(super) fn keep(&mut self, bhs: &Bhs, data: &[u8]) {
        if self.is_logged_in() && self.negotiated().error_recovery_level > 0 {
            self.kept.pdus.push((*bhs, data.to_vec()));
        }
    }

    /// Answers a SNACK: sends what was asked for again, with the counters of now.
    pub(super) fn send_again(&mut self, snack: &SnackRequest) {
        let kept = core::mem::take(&mut self.kept);
        let found = match snack.kind {
            SnackKind::Data { initiator_task_tag: itt, beg_run, run_length } => {
                if kept.is_over(itt) {
                    self.complain(format!("it has acknowledged the status: {snack:?}"));
                }
                let data = |bhs: &Bhs| {
                    let numbered = matches!(Opcode::of(bhs), Some(Opcode::DataIn | Opcode::R2t));
                    (numbered && tag(bhs) == itt).then(|| Field::DATA_SN.get(bhs) as u32)
                };
                self.find_run(&kept, snack, &data, beg_run, run_length)
            }
            SnackKind::Status { beg_run, run_length } => {
                if kept.is_acknowledged(beg_run) {
                    self.complain(format!("it has acknowledged that: {snack:?}"));
                }
                let data = |bhs: &Bhs| status(bhs).map(|stat_sn| stat_sn.0);
                self.find_run(&kept, snack, &data, beg_run.0, run_length)
            }
            SnackKind::DataAck { .. } => Vec::new(),
            SnackKind::ResegmentedData { .. } => {
                self.complain(format!("MaxRecvDataSegmentLength did not change: {snack:?}"));
                Vec::new()
            }
        };
        for at in found {
            let (mut bhs, data) = kept.pdus[at].clone();
            Field::EXP_CMD_SN.set(&mut bhs, self.exp_cmd_sn.0.into());
            Field::MAX_CMD_SN.set(&mut bhs, self.max_cmd_sn().0.into());
            self.put_header(&bhs, &data);
        }
        let since = core::mem::replace(&mut self.kept, kept);
        self.kept.pdus.extend(since.pdus);
    }

    /// Where the PDUs of a run are kept.
    fn find_run(
        &mut self,
        kept: &Kept,
        snack: &SnackRequest,
        number: &dyn Fn(&Bhs) -> Option<u32>,
        beg_run: u32,
        run_length: u32,
    ) -> Vec<usize> {
        let is_in_run = |sn: u32| {
            let ahead = sn.wrapping_sub(beg_run);
            if run_length == 0 { ahead < 1 << 31 } else { ahead < run_length }
        };
        let run = kept.pdus.iter().enumerate();
        let run = run.filter(|(_, (bhs, _))| number(bhs).is_some_and(is_in_run));
        let run: Vec<usize> = run.map(|(at, _)| at).collect();
        if run.is_empty() || run.len() < run_length as usize {
            self.complain(format!("it was never sent: {snack:?}"));
        }
        run
    }
}
