//! The other side, PDU by PDU.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::num::NonZeroU32;

use super::disk::Service;
use super::framer::{Framer, Pdu};
use crate::digest::DigestKind;
use crate::text::{
    Key, Limits, Negotiated, Negotiation, Pairs, Phase, Received, Role, SessionType, Writer,
};
use crate::wire::{
    AsyncEvent, AsyncMessage, BHS_LEN, Bhs, Completion, DataIn, DataInStatus, InitiatorPdu,
    LoginOutcome, LoginProgress, LoginRequest, LoginResponse, LogoutRequest, LogoutResponse,
    LogoutResponseCode, NopIn, NopInKind, Opcode, R2t, Reject, RejectReason, ScsiCommand,
    ScsiResponse, ScsiResponseCode, Stage, TargetPdu, TaskManagementRequest,
    TaskManagementResponse, TaskManagementResponseCode, TextRequest, TextResponse, TransferTag,
};
use crate::{CmdSn, DataSn, R2tSn, StatSn, TargetTransferTag};

/// A target that does what it is told.
///
/// It logs an initiator in by itself, checks what it receives (digests, CmdSN within the window and in order, ExpStatSN), puts it
/// into [`inbox`](Self::inbox), and sends what the test makes: the helpers fill in honest numbers, which the test may change. With
/// a [`Service`] it answers by itself.
///
/// ```
/// use iscsi_core::testing::ScriptedTarget;
/// use iscsi_core::text::Limits;
/// use iscsi_core::wire::{NopInKind, TargetPdu};
///
/// let mut target = ScriptedTarget::new(Limits::DEFAULT);
/// let nop = target.nop_in(NopInKind::Update);
/// target.send(nop, &[]);
/// assert_eq!(target.take_output().len(), 48);
/// ```
#[derive(Debug)]
pub struct ScriptedTarget {
    /// What the target offers.
    pub limits: Limits,
    /// PDUs that were received and not looked at.
    pub inbox: VecDeque<(InitiatorPdu, Pdu)>,
    /// The next StatSN.
    pub stat_sn: StatSn,
    /// The next CmdSN that is expected.
    pub exp_cmd_sn: CmdSn,
    /// Commands that the target takes beyond those that it has: MaxCmdSN is ExpCmdSN plus this minus 1.
    pub window: u32,
    /// Checks CmdSN and ExpStatSN of what it receives.
    pub checks: bool,
    /// What answers SCSI commands by itself, if anything.
    pub service: Option<Service>,
    /// The text of the last Login Request.
    pub login_text: Vec<u8>,
    negotiation: Option<Negotiation>,
    negotiated: Option<Negotiated>,
    input: Framer,
    framer: Framer,
    output: Vec<u8>,
    /// The largest MaxCmdSN that was told.
    told_max: Option<CmdSn>,
    sent: Vec<Bhs>,
    received: Vec<Bhs>,
}

impl ScriptedTarget {
    /// A target that waits for a login.
    pub const fn new(limits: Limits) -> Self {
        Self {
            limits,
            inbox: VecDeque::new(),
            stat_sn: StatSn(1),
            exp_cmd_sn: CmdSn(0),
            window: 32,
            checks: true,
            service: None,
            login_text: Vec::new(),
            negotiation: None,
            negotiated: None,
            input: Framer::new(DigestKind::None, DigestKind::None),
            framer: Framer::new(DigestKind::None, DigestKind::None),
            output: Vec::new(),
            told_max: None,
            sent: Vec::new(),
            received: Vec::new(),
        }
    }

    /// A new connection: everything about the old one is forgotten, but for the next StatSN and the window.
    pub fn connected(&mut self) {
        let service = self.service.take().map(Service::restarted);
        *self = Self {
            stat_sn: self.stat_sn,
            window: self.window,
            checks: self.checks,
            service,
            ..Self::new(self.limits)
        };
    }

    /// What was negotiated, once the initiator is logged in.
    ///
    /// # Panics
    /// If it is not.
    pub const fn negotiated(&self) -> &Negotiated {
        self.negotiated.as_ref().expect("the initiator is logged in")
    }

    /// Whether the login is through.
    pub const fn is_logged_in(&self) -> bool {
        self.negotiated.is_some()
    }

    /// The headers of all PDUs sent on this connection.
    pub fn sent(&self) -> &[Bhs] {
        &self.sent
    }

    /// The headers of all PDUs received on this connection.
    pub fn received(&self) -> &[Bhs] {
        &self.received
    }

    /// Bytes to send.
    pub fn take_output(&mut self) -> Vec<u8> {
        core::mem::take(&mut self.output)
    }

    /// A framer for what this target sends now.
    pub const fn framer(&self) -> &Framer {
        &self.framer
    }

    /// Bytes that arrived.
    ///
    /// # Panics
    /// If they break a rule: this is a test of the one who sent them.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.input.push(bytes);
        while let Some(pdu) = self.input.next() {
            let parsed = InitiatorPdu::parse(&pdu.bhs)
                .unwrap_or_else(|error| panic!("the initiator sent a bad header: {error}"));
            assert!(pdu.digests_match, "the initiator sent a bad digest: {parsed:?}");
            assert!(pdu.padding.iter().all(|byte| *byte == 0), "padding is not zero: {parsed:?}");
            self.received.push(pdu.bhs);
            self.check(&parsed);
            match (parsed, self.service.take()) {
                (InitiatorPdu::LoginRequest(request), service) => {
                    self.service = service;
                    self.log_in(&request, &pdu.data);
                }
                (parsed, Some(mut service)) => {
                    if !service.serve(self, &parsed, &pdu) {
                        self.inbox.push_back((parsed, pdu));
                    }
                    self.service = Some(service);
                }
                (parsed, None) => self.inbox.push_back((parsed, pdu)),
            }
        }
    }

    fn check(&mut self, pdu: &InitiatorPdu) {
        let (cmd_sn, numbered, exp_stat_sn) = match pdu {
            InitiatorPdu::ScsiCommand(c) => (Some(c.cmd_sn), !c.immediate, c.exp_stat_sn),
            InitiatorPdu::TaskManagementRequest(r) => (Some(r.cmd_sn), !r.immediate, r.exp_stat_sn),
            InitiatorPdu::TextRequest(r) => (Some(r.cmd_sn), !r.immediate, r.exp_stat_sn),
            InitiatorPdu::LogoutRequest(r) => (Some(r.cmd_sn), !r.immediate, r.exp_stat_sn),
            InitiatorPdu::NopOut(n) => (Some(n.cmd_sn), !n.immediate(), n.exp_stat_sn),
            InitiatorPdu::DataOut(d) => (None, false, d.exp_stat_sn),
            InitiatorPdu::SnackRequest(s) => (None, false, s.exp_stat_sn),
            InitiatorPdu::LoginRequest(_) => return,
        };
        if self.checks {
            assert!(self.is_logged_in(), "before the full feature phase: {pdu:?}");
            assert!(exp_stat_sn.le(self.stat_sn), "ExpStatSN beyond {}: {pdu:?}", self.stat_sn);
        }
        let Some(cmd_sn) = cmd_sn else { return };
        if self.checks {
            assert_eq!(cmd_sn, self.exp_cmd_sn, "CmdSN out of order: {pdu:?}");
            let open = self.told_max.is_some_and(|max| cmd_sn.le(max));
            assert!(!numbered || open, "CmdSN beyond MaxCmdSN: {pdu:?}");
        }
        if numbered {
            self.exp_cmd_sn = cmd_sn.next();
        }
    }

    /// The next PDU of the inbox.
    ///
    /// # Panics
    /// If there is none.
    pub fn expect(&mut self) -> (InitiatorPdu, Pdu) {
        self.inbox.pop_front().expect("the initiator sent nothing")
    }

    /// The next PDU of the inbox, which is a SCSI Command, and its immediate data.
    ///
    /// # Panics
    /// If it is not.
    pub fn expect_command(&mut self) -> (ScsiCommand, Vec<u8>) {
        match self.expect() {
            (InitiatorPdu::ScsiCommand(command), pdu) => (command, pdu.data),
            (other, _) => panic!("not a SCSI Command: {other:?}"),
        }
    }

    /// The next PDU of the inbox, which is a Data-Out, and its data.
    ///
    /// # Panics
    /// If it is not.
    pub fn expect_data_out(&mut self) -> (crate::wire::DataOut, Vec<u8>) {
        match self.expect() {
            (InitiatorPdu::DataOut(data_out), pdu) => (data_out, pdu.data),
            (other, _) => panic!("not a Data-Out: {other:?}"),
        }
    }

    /// The next PDU of the inbox, which is a Task Management Function Request.
    ///
    /// # Panics
    /// If it is not.
    pub fn expect_task_management(&mut self) -> TaskManagementRequest {
        match self.expect().0 {
            InitiatorPdu::TaskManagementRequest(request) => request,
            other => panic!("not a Task Management Function Request: {other:?}"),
        }
    }

    /// The next PDU of the inbox, which is a NOP-Out.
    ///
    /// # Panics
    /// If it is not.
    pub fn expect_nop_out(&mut self) -> crate::wire::NopOut {
        match self.expect().0 {
            InitiatorPdu::NopOut(nop) => nop,
            other => panic!("not a NOP-Out: {other:?}"),
        }
    }

    /// The next PDU of the inbox, which is a Text Request, and its text.
    ///
    /// # Panics
    /// If it is not.
    pub fn expect_text(&mut self) -> (TextRequest, Vec<u8>) {
        match self.expect() {
            (InitiatorPdu::TextRequest(request), pdu) => (request, pdu.data),
            (other, _) => panic!("not a Text Request: {other:?}"),
        }
    }

    /// The next PDU of the inbox, which is a Logout Request.
    ///
    /// # Panics
    /// If it is not.
    pub fn expect_logout(&mut self) -> LogoutRequest {
        match self.expect().0 {
            InitiatorPdu::LogoutRequest(request) => request,
            other => panic!("not a Logout Request: {other:?}"),
        }
    }

    /// Sends a PDU with this data segment; the header's DataSegmentLength is set.
    pub fn send(&mut self, pdu: impl Into<TargetPdu>, data: &[u8]) {
        let mut bhs = [0; BHS_LEN];
        pdu.into().emit(&mut bhs);
        bhs[5..8].copy_from_slice(&(data.len() as u32).to_be_bytes()[1..]);
        self.send_header(&bhs, data);
    }

    /// Sends any header with this data segment; digests are added.
    pub fn send_header(&mut self, bhs: &Bhs, data: &[u8]) {
        if !matches!(Opcode::of(bhs), Some(Opcode::LoginResponse)) || bhs[36] == 0 {
            let max = CmdSn(u32::from_be_bytes([bhs[32], bhs[33], bhs[34], bhs[35]]));
            if self.told_max.is_none_or(|told| told.lt(max)) {
                self.told_max = Some(max);
            }
        }
        self.sent.push(*bhs);
        let bytes = self.framer.frame(bhs, &[], data);
        self.output.extend_from_slice(&bytes);
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// The StatSN for a PDU that carries one; the next is one higher.
    pub const fn take_stat_sn(&mut self) -> StatSn {
        let stat_sn = self.stat_sn;
        self.stat_sn = stat_sn.next();
        stat_sn
    }

    /// MaxCmdSN now.
    pub const fn max_cmd_sn(&self) -> CmdSn {
        self.exp_cmd_sn.plus(self.window).minus(1)
    }

    /// Data-In of a command, without status and not final.
    pub const fn data_in(&self, command: &ScsiCommand, data_sn: u32, buffer_offset: u32) -> DataIn {
        DataIn {
            is_final: false,
            acknowledge: None,
            status: None,
            data_segment_length: 0,
            initiator_task_tag: command.initiator_task_tag,
            exp_cmd_sn: self.exp_cmd_sn,
            max_cmd_sn: self.max_cmd_sn(),
            data_sn: DataSn(data_sn),
            buffer_offset,
        }
    }

    /// The last Data-In of a command, with status GOOD.
    pub const fn last_data_in(
        &mut self,
        command: &ScsiCommand,
        data_sn: u32,
        buffer_offset: u32,
    ) -> DataIn {
        let good = Completion::GOOD;
        let status = DataInStatus {
            status: good.status,
            residual: good.residual,
            stat_sn: self.take_stat_sn(),
        };
        let mut data_in = self.data_in(command, data_sn, buffer_offset);
        data_in.is_final = true;
        data_in.status = Some(status);
        data_in
    }

    /// The response to a command.
    pub const fn response(
        &mut self,
        command: &ScsiCommand,
        completion: Completion,
    ) -> ScsiResponse {
        ScsiResponse {
            response: ScsiResponseCode::CompletedAtTarget(completion),
            data_segment_length: 0,
            initiator_task_tag: command.initiator_task_tag,
            snack_tag: None::<NonZeroU32>,
            stat_sn: self.take_stat_sn(),
            exp_cmd_sn: self.exp_cmd_sn,
            max_cmd_sn: self.max_cmd_sn(),
        }
    }

    /// An R2T for a command.
    pub const fn r2t(&self, command: &ScsiCommand, r2t_sn: u32, offset: u32, length: u32) -> R2t {
        R2t {
            lun: command.lun,
            initiator_task_tag: command.initiator_task_tag,
            target_transfer_tag: TargetTransferTag(0x7000 + r2t_sn),
            stat_sn: self.stat_sn,
            exp_cmd_sn: self.exp_cmd_sn,
            max_cmd_sn: self.max_cmd_sn(),
            r2t_sn: R2tSn(r2t_sn),
            buffer_offset: offset,
            desired_data_transfer_length: length,
        }
    }

    /// A NOP-In.
    pub const fn nop_in(&mut self, kind: NopInKind) -> NopIn {
        let stat_sn = match kind {
            NopInKind::PingResponse(_) => self.take_stat_sn(),
            NopInKind::Ping(_) | NopInKind::Update => self.stat_sn,
        };
        NopIn {
            kind,
            data_segment_length: 0,
            stat_sn,
            exp_cmd_sn: self.exp_cmd_sn,
            max_cmd_sn: self.max_cmd_sn(),
        }
    }

    /// An Asynchronous Message.
    pub const fn async_message(&mut self, event: AsyncEvent) -> AsyncMessage {
        AsyncMessage {
            event,
            data_segment_length: 0,
            stat_sn: self.take_stat_sn(),
            exp_cmd_sn: self.exp_cmd_sn,
            max_cmd_sn: self.max_cmd_sn(),
        }
    }

    /// A Reject; the rejected header is its data segment.
    pub const fn reject(&mut self, reason: RejectReason) -> Reject {
        Reject {
            reason,
            data_segment_length: 0,
            stat_sn: self.take_stat_sn(),
            exp_cmd_sn: self.exp_cmd_sn,
            max_cmd_sn: self.max_cmd_sn(),
            data_sn: DataSn(0),
        }
    }

    /// The response to a task management function.
    pub const fn managed(
        &mut self,
        request: &TaskManagementRequest,
        response: TaskManagementResponseCode,
    ) -> TaskManagementResponse {
        TaskManagementResponse {
            response,
            initiator_task_tag: request.initiator_task_tag,
            stat_sn: self.take_stat_sn(),
            exp_cmd_sn: self.exp_cmd_sn,
            max_cmd_sn: self.max_cmd_sn(),
        }
    }

    /// The response to a logout.
    pub const fn logged_out(&mut self, request: &LogoutRequest) -> LogoutResponse {
        LogoutResponse {
            response: LogoutResponseCode::Success,
            initiator_task_tag: request.initiator_task_tag,
            stat_sn: self.take_stat_sn(),
            exp_cmd_sn: self.exp_cmd_sn,
            max_cmd_sn: self.max_cmd_sn(),
            time2wait: 0,
            time2retain: 0,
        }
    }

    /// The response to a text request; with a tag it is not the last one.
    pub const fn text_response(
        &mut self,
        request: &TextRequest,
        transfer: Option<TransferTag>,
    ) -> TextResponse {
        TextResponse {
            transfer,
            is_continued: false,
            data_segment_length: 0,
            initiator_task_tag: request.initiator_task_tag,
            stat_sn: self.take_stat_sn(),
            exp_cmd_sn: self.exp_cmd_sn,
            max_cmd_sn: self.max_cmd_sn(),
        }
    }

    /// Answers a Login Request, without authentication.
    fn log_in(&mut self, request: &LoginRequest, text: &[u8]) {
        self.login_text = text.to_vec();
        let discovery = text.windows(21).any(|w| w == b"SessionType=Discovery");
        let session_type = if discovery { SessionType::Discovery } else { SessionType::Normal };
        let limits = self.limits;
        let negotiation = self
            .negotiation
            .get_or_insert_with(|| Negotiation::leading(Role::Target, session_type, limits));
        let mut area = [0; 8192];
        let mut out = Writer::new(&mut area);
        let security = request.current_stage == Stage::SecurityNegotiation;
        let phase = if security { Phase::Security } else { Phase::Operational };
        for pair in Pairs::new(text) {
            let pair = pair.expect("login text is a list of pairs");
            if pair.key == Key::AuthMethod.name() {
                out.text("AuthMethod", "None").expect("room");
                continue;
            }
            let received: Received =
                negotiation.receive(&pair, phase, &mut out).expect("keys follow the rules");
            let _ = received;
        }
        if text.windows(14).any(|w| w == b"InitiatorName=") && !discovery {
            out.number("TargetPortalGroupTag", 1).expect("room");
        }
        if !security {
            negotiation.offer(Key::MaxRecvDataSegmentLength, &mut out).expect("room");
        }
        let done = request.next_stage == Some(Stage::FullFeaturePhase);
        if done {
            self.negotiated = Some(negotiation.finish().expect("the keys agree"));
        }
        self.exp_cmd_sn = request.cmd_sn;
        let response = LoginResponse {
            outcome: LoginOutcome::Proceed(LoginProgress {
                current_stage: request.current_stage,
                next_stage: request.next_stage,
                is_continued: false,
                stat_sn: self.take_stat_sn(),
                exp_cmd_sn: self.exp_cmd_sn,
                max_cmd_sn: self.max_cmd_sn(),
            }),
            version_max: 0,
            version_active: 0,
            data_segment_length: 0,
            isid: request.isid,
            tsih: if done { 1 } else { request.tsih },
            initiator_task_tag: request.initiator_task_tag,
        };
        let text = out.written().to_vec();
        self.send(response, &text);
        if let Some(negotiated) = self.negotiated {
            self.input.set_digests(negotiated.header_digest, negotiated.data_digest);
            self.framer.set_digests(negotiated.header_digest, negotiated.data_digest);
        }
    }
}
