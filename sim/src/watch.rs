//! What must hold for the headers on the wire, as the initiator's end sees them.

use std::collections::BTreeMap;

use iscsi_core::wire::{Bhs, InitiatorPdu, LoginOutcome, NopOutKind, TargetPdu};
use iscsi_core::{CmdSn, Direction};

use crate::Finding;

/// The numbers of one connection.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    /// The CmdSN of the next command.
    next: Option<CmdSn>,
    /// The highest MaxCmdSN that the target has told.
    max: Option<CmdSn>,
    /// PDUs sent and received.
    pub(crate) pdus: [u64; 2],
    /// Tags of the commands so far, where the same command may be sent again on the same connection: at ErrorRecoveryLevel 1.
    again: Option<BTreeMap<u32, CmdSn>>,
    /// Tags of commands, and the number of the connection on which they were sent.
    tags: BTreeMap<u32, u32>,
    connection: u32,
    /// The devices are not verified: the bits of a tag that are its index, and the first index that may be sent.
    pub(crate) unverified: Option<(u32, u32)>,
}

impl Watch {
    /// For the connection after this one.
    pub(crate) fn next(&mut self, level_1: bool, unverified: Option<(u32, u32)>) -> Self {
        Self {
            again: level_1.then(BTreeMap::new),
            tags: core::mem::take(&mut self.tags),
            connection: self.connection + 1,
            unverified,
            ..Self::default()
        }
    }

    /// A command must not have a tag of an earlier connection, and must wait until the devices are verified.
    fn command(&mut self, tag: u32) -> Result<(), Finding> {
        if let Some((mask, first)) = self.unverified
            && tag & mask < first
        {
            return Err(format!("the command {tag:#x} was sent to a device that is not verified"));
        }
        match self.tags.insert(tag, self.connection) {
            Some(before) if before != self.connection => {
                Err(format!("the tag {tag:#x} was used on an earlier connection"))
            }
            _ => Ok(()),
        }
    }

    /// Looks at one header. A header of the target is only judged if it can have come as it was sent.
    pub(crate) fn header(
        &mut self,
        direction: Direction,
        bhs: &Bhs,
        damaged: bool,
    ) -> Result<(), Finding> {
        if direction == Direction::Sent {
            self.pdus[0] += 1;
            let pdu = InitiatorPdu::parse(bhs).map_err(|e| format!("the initiator sent: {e}"))?;
            return self.sent(&pdu);
        }
        self.pdus[1] += 1;
        match TargetPdu::parse(bhs) {
            Ok(pdu) => self.received(&pdu),
            Err(_) if damaged => {}
            Err(e) => return Err(format!("the target sent: {e}")),
        }
        Ok(())
    }

    fn sent(&mut self, pdu: &InitiatorPdu) -> Result<(), Finding> {
        if let InitiatorPdu::ScsiCommand(pdu) = pdu {
            self.command(pdu.initiator_task_tag.0)?;
        }
        let (immediate, cmd_sn) = match pdu {
            InitiatorPdu::LoginRequest(login) => {
                self.next = Some(login.cmd_sn);
                return Ok(());
            }
            InitiatorPdu::ScsiCommand(pdu) => (pdu.immediate, pdu.cmd_sn),
            InitiatorPdu::TaskManagementRequest(pdu) => (pdu.immediate, pdu.cmd_sn),
            InitiatorPdu::TextRequest(pdu) => (pdu.immediate, pdu.cmd_sn),
            InitiatorPdu::LogoutRequest(pdu) => (pdu.immediate, pdu.cmd_sn),
            InitiatorPdu::NopOut(pdu) => match pdu.kind {
                NopOutKind::Ping { immediate, .. } => (immediate, pdu.cmd_sn),
                _ => (true, pdu.cmd_sn),
            },
            InitiatorPdu::DataOut(_) | InitiatorPdu::SnackRequest(_) => return Ok(()),
        };
        if let (InitiatorPdu::ScsiCommand(pdu), Some(again)) = (pdu, &mut self.again) {
            match again.insert(pdu.initiator_task_tag.0, cmd_sn) {
                Some(before) if before == cmd_sn => return Ok(()),
                Some(before) => return Err(format!("CmdSN {cmd_sn} after {before}: {pdu:?}")),
                None => {}
            }
        }
        let next = self.next.ok_or("a request before the login")?;
        if cmd_sn != next {
            return Err(format!("CmdSN {cmd_sn} instead of {next}"));
        }
        if immediate {
            return Ok(());
        }
        if !self.max.is_some_and(|max| cmd_sn.le(max)) {
            return Err(format!("CmdSN {cmd_sn} passes MaxCmdSN {:?}", self.max));
        }
        self.next = Some(next.next());
        Ok(())
    }

    const fn received(&mut self, pdu: &TargetPdu) {
        let (exp, max) = match pdu {
            TargetPdu::LoginResponse(pdu) => match pdu.outcome {
                LoginOutcome::Proceed(progress) if progress.is_done() => {
                    (progress.exp_cmd_sn, progress.max_cmd_sn)
                }
                _ => return,
            },
            TargetPdu::DataIn(pdu) => (pdu.exp_cmd_sn, pdu.max_cmd_sn),
            TargetPdu::ScsiResponse(pdu) => (pdu.exp_cmd_sn, pdu.max_cmd_sn),
            TargetPdu::R2t(pdu) => (pdu.exp_cmd_sn, pdu.max_cmd_sn),
            TargetPdu::NopIn(pdu) => (pdu.exp_cmd_sn, pdu.max_cmd_sn),
            TargetPdu::TaskManagementResponse(pdu) => (pdu.exp_cmd_sn, pdu.max_cmd_sn),
            TargetPdu::TextResponse(pdu) => (pdu.exp_cmd_sn, pdu.max_cmd_sn),
            TargetPdu::LogoutResponse(pdu) => (pdu.exp_cmd_sn, pdu.max_cmd_sn),
            TargetPdu::AsyncMessage(pdu) => (pdu.exp_cmd_sn, pdu.max_cmd_sn),
            TargetPdu::Reject(pdu) => (pdu.exp_cmd_sn, pdu.max_cmd_sn),
        };
        let rises = match self.max {
            Some(before) => before.lt(max),
            None => true,
        };
        if rises && !max.lt(exp.minus(1)) {
            self.max = Some(max);
        }
    }
}

#[cfg(test)]
mod tests {
    use iscsi_core::StatSn;
    use iscsi_core::wire::{BHS_LEN, NopIn, NopInKind};

    use super::*;

    #[test]
    fn a_command_beyond_the_window_is_found() {
        let mut watch = Watch { next: Some(CmdSn(5)), max: Some(CmdSn(5)), ..Watch::default() };
        let mut bhs = [0; BHS_LEN];
        (bhs[0], bhs[1], bhs[27]) = (0x01, 0x80, 5);
        watch.header(Direction::Sent, &bhs, false).unwrap();
        bhs[27] = 6;
        assert!(watch.header(Direction::Sent, &bhs, false).unwrap_err().contains("MaxCmdSN"));
        let (stat_sn, exp_cmd_sn, max_cmd_sn) = (StatSn(1), CmdSn(6), CmdSn(6));
        let kind = NopInKind::Update;
        let update = NopIn { kind, data_segment_length: 0, stat_sn, exp_cmd_sn, max_cmd_sn };
        let mut told = [0; BHS_LEN];
        update.emit(&mut told);
        watch.header(Direction::Received, &told, false).unwrap();
        watch.header(Direction::Sent, &bhs, false).unwrap();
        assert!(watch.header(Direction::Sent, &bhs, false).unwrap_err().contains("instead of"));
    }
}
