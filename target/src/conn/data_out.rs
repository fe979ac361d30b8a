//! Data-Out: bursts, solicited and unsolicited (RFC 7143 sections 4.2.5.2 and 11.7).

use iscsi_core::Instant;
use iscsi_core::wire::{DataOut, RejectReason};

use super::TargetConnection;
use super::command::{unexpected_unsolicited_data, wrong_amount_of_data};
use super::rx::Placement;
use super::task::{Burst, Task};
use crate::target::Target;

impl TargetConnection {
    /// A Data-Out: checks that it is what its burst expects, and gives it its place.
    #[inline]
    pub(super) fn begin_data_out(
        &mut self,
        data_out: &DataOut,
        target: &mut Target<'_>,
        now: Instant,
    ) -> Placement {
        let itt = data_out.initiator_task_tag;
        let index = match data_out.transfer {
            Some(transfer) => self.tasks.find_tag(transfer.target_transfer_tag),
            None => self.tasks.find(itt),
        };
        // Data of a task that has ended are thrown away.
        let Some(index) = index else { return Placement::NOWHERE };
        if self.tasks[index].itt != itt {
            self.reject(RejectReason::InvalidPduField, target, now);
            return Placement::NOWHERE;
        }
        let in_order = self.core.negotiated.data_pdu_in_order;
        let (offset, len) = (data_out.buffer_offset, data_out.data_segment_length);
        let Some(burst) = self.tasks[index].burst(data_out) else {
            let unexpected = match data_out.transfer {
                Some(_) => wrong_amount_of_data(),
                None => unexpected_unsolicited_data(),
            };
            self.fail_task(index, unexpected);
            return Placement { task: Some(index), ..Placement::NOWHERE };
        };
        let end = offset.saturating_add(len);
        let inside = burst.start <= offset && end <= burst.end;
        let expected = data_out.data_sn.0 == burst.data_sn && (!in_order || offset == burst.at);
        if !inside || !expected {
            self.fail_task(index, wrong_amount_of_data());
        }
        self.place_of_task(index, offset, len)
    }

    /// A whole Data-Out.
    #[inline]
    pub(super) fn data_out(
        &mut self,
        data_out: &DataOut,
        index: u16,
        target: &mut Target<'_>,
        now: Instant,
    ) {
        let Some(burst) = self.tasks[index].burst(data_out) else {
            // A failure that has already been noticed. It may have been all that the task waited for.
            if data_out.is_final {
                self.advance(index, target, now);
            }
            return;
        };
        let len = data_out.data_segment_length;
        burst.got = burst.got.saturating_add(len);
        burst.at = data_out.buffer_offset.saturating_add(len);
        burst.data_sn = burst.data_sn.wrapping_add(1);
        if !data_out.is_final {
            return;
        }
        let complete = burst.got == burst.end - burst.start;
        self.tasks[index].end_burst(data_out);
        if !complete {
            self.fail_task(index, wrong_amount_of_data());
        }
        self.advance(index, target, now);
    }
}

impl Task {
    /// The burst that a Data-Out belongs to.
    #[inline]
    pub(super) fn burst(&mut self, data_out: &DataOut) -> Option<&mut Burst> {
        match data_out.transfer {
            None => self.unsolicited.as_mut(),
            Some(transfer) => {
                self.bursts.iter_mut().find(|burst| burst.tag == transfer.target_transfer_tag)
            }
        }
    }

    fn end_burst(&mut self, data_out: &DataOut) {
        match data_out.transfer {
            None => self.unsolicited = None,
            Some(transfer) => {
                self.bursts.retain(|burst| burst.tag != transfer.target_transfer_tag);
            }
        }
    }
}
