//! The other side, PDU by PDU.

use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::num::NonZeroU32;

use super::disk::Service;
use super::framer::{Framer, Pdu};
use super::kept::Kept;
use super::login::{LoginState, TargetChap};
use super::nodes::Node;
use super::script::{
    Do, Extra, Field, Happening, Outgoing, Piece, Script, continue_text, ends_login, noise,
};
use crate::digest::DigestKind;
use crate::text::{Limits, Negotiated};
use crate::wire::{
    AsyncEvent, AsyncMessage, BHS_LEN, Bhs, Completion, DataIn, DataInStatus, InitiatorPdu,
    LogoutRequest, LogoutResponse, LogoutResponseCode, NopIn, NopInKind, Opcode, R2t, Reject,
    RejectReason, ScsiCommand, ScsiResponse, ScsiResponseCode, SnackRequest, TargetPdu,
    TaskManagementRequest, TaskManagementResponse, TaskManagementResponseCode, TextRequest,
    TextResponse, TransferTag,
};
use crate::{CmdSn, DataSn, Direction, Instant, R2tSn, StatSn, TargetTransferTag};

/// What becomes of the initiator's wish to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Connecting {
    Made,
    Refused,
    Ignored,
}

/// One PDU of a [`ScriptedTarget`]'s record.
///
/// ```
/// use iscsi_core::testing::{Entry, Field};
/// use iscsi_core::{Direction, Instant};
/// let entry = Entry {
///     at: Instant::ZERO,
///     connection: 0,
///     direction: Direction::Received,
///     bhs: [0x20; 48],
///     ahs: vec![],
///     data: vec![],
/// };
/// assert_eq!(Field::OPCODE.get(&entry.bhs), 0x20);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When the target received or made it.
    pub at: Instant,
    /// On which connection, the first being 0.
    pub connection: u32,
    /// `Sent` by the initiator, or `Received` by it: as it went out, with what a script changed.
    pub direction: Direction,
    /// Its header.
    pub bhs: Bhs,
    /// Additional header segments; not those that a script added.
    pub ahs: Vec<u8>,
    /// Its data segment without padding.
    pub data: Vec<u8>,
}

/// A target that does what it is told.
///
/// It logs an initiator in by itself, checks what it receives (digests, CmdSN within the window and in order, ExpStatSN), puts it
/// into [`inbox`](Self::inbox), and sends what the test makes: the helpers fill in honest numbers, which the test may change. With
/// a [`Service`] it answers by itself, and with a [`script`](super::script) it does otherwise than an honest target would.
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
    /// Panics if the initiator breaks a rule; otherwise it is put down in [`complaints`](Self::complaints). For scripts under which the
    /// target's own idea of the connection is wrong.
    pub checks: bool,
    /// What the initiator did that it must not do, with `checks` off.
    pub complaints: Vec<String>,
    /// What it does otherwise than an honest target.
    pub script: Script,
    /// What it demands of an initiator that logs in; without it AuthMethod=None.
    pub chap: Option<TargetChap>,
    /// The targets that SendTargets tells of; without them Text Requests go to the [`inbox`](Self::inbox).
    pub nodes: Option<Vec<Node>>,
    /// Every PDU of every connection, if there is to be a record.
    pub journal: Option<Vec<Entry>>,
    /// What answers SCSI commands by itself, if anything.
    pub service: Option<Service>,
    /// The text of the last Login Request.
    pub login_text: Vec<u8>,
    pub(super) login: LoginState,
    pub(super) negotiated: Option<Negotiated>,
    /// The rest of an answer to a text request.
    pub(super) text: VecDeque<u8>,
    /// What may have to be sent again.
    pub(super) kept: Kept,
    /// A response whose text is spread over several, and the parts that were not sent.
    parts: Option<(Bhs, VecDeque<Vec<u8>>)>,
    input: Framer,
    framer: Framer,
    /// The last SCSI Command, and what was received last.
    last_command: Option<Bhs>,
    cause: Option<Bhs>,
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
            complaints: Vec::new(),
            script: Script::EMPTY,
            chap: None,
            nodes: None,
            journal: None,
            service: None,
            login_text: Vec::new(),
            login: LoginState::NEW,
            negotiated: None,
            text: VecDeque::new(),
            kept: Kept::EMPTY,
            parts: None,
            input: Framer::new(DigestKind::None, DigestKind::None),
            framer: Framer::new(DigestKind::None, DigestKind::None),
            last_command: None,
            cause: None,
            told_max: None,
            sent: Vec::new(),
            received: Vec::new(),
        }
    }

    /// A new connection: everything about the old one is forgotten, but for the next StatSN and the window.
    pub fn connected(&mut self) {
        let service = self.service.take().map(Service::restarted);
        let mut script = core::mem::take(&mut self.script);
        script.connected();
        *self = Self {
            stat_sn: self.stat_sn,
            window: self.window,
            checks: self.checks,
            complaints: core::mem::take(&mut self.complaints),
            script,
            chap: self.chap.take(),
            nodes: self.nodes.take(),
            journal: self.journal.take(),
            login: self.login.restarted(),
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

    /// Bytes to send, without the pauses that a script puts between them.
    pub fn take_output(&mut self) -> Vec<u8> {
        self.script.take_bytes()
    }

    /// The initiator wants to connect. What becomes of it; the rules for the new connection are asked.
    pub(super) fn connects(&mut self) -> Connecting {
        let acts = self.script.happens(Happening::Connects);
        if acts.contains(&Do::Refuse) {
            return Connecting::Refused;
        }
        if acts.contains(&Do::Ignore) {
            return Connecting::Ignored;
        }
        self.connected();
        self.act(&acts, None);
        Connecting::Made
    }

    /// Time has come this far.
    pub(super) fn tick(&mut self, now: Instant) {
        self.script.set_now(now);
        let acts = self.script.happens(Happening::Time);
        self.act(&acts, None);
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
            self.note(Direction::Sent, &pdu.bhs, &pdu.ahs, &pdu.data);
            if matches!(parsed, InitiatorPdu::ScsiCommand(_)) {
                self.last_command = Some(pdu.bhs);
            }
            let acts = self.script.happens(Happening::Receives(&pdu.bhs));
            if !acts.contains(&Do::Lose) {
                self.check(&parsed);
            }
            let ignored = acts.contains(&Do::Ignore) || acts.contains(&Do::Lose);
            self.act(&acts, Some(&pdu.bhs));
            if ignored {
                continue;
            }
            self.cause = Some(pdu.bhs);
            self.answer(parsed, pdu);
        }
    }

    fn answer(&mut self, parsed: InitiatorPdu, pdu: Pdu) {
        match (parsed, self.service.take()) {
            (InitiatorPdu::LoginRequest(request), service) => {
                self.service = service;
                self.log_in(&request, &pdu.data);
            }
            (InitiatorPdu::TextRequest(request), service) if self.nodes.is_some() => {
                self.service = service;
                self.tell(&request, &pdu.data);
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

    /// The initiator broke a rule.
    pub(super) fn complain(&mut self, what: String) {
        assert!(!self.checks, "{what}");
        self.complaints.push(what);
    }

    fn note(&mut self, direction: Direction, bhs: &Bhs, ahs: &[u8], data: &[u8]) {
        let (connection, at) = (self.script.connections().saturating_sub(1), self.script.now());
        if let Some(journal) = &mut self.journal {
            let (bhs, ahs, data) = (*bhs, ahs.to_vec(), data.to_vec());
            journal.push(Entry { at, connection, direction, bhs, ahs, data });
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
        if !self.is_logged_in() {
            self.complain(format!("before the full feature phase: {pdu:?}"));
        }
        if !exp_stat_sn.le(self.stat_sn) {
            self.complain(format!("ExpStatSN beyond {}: {pdu:?}", self.stat_sn));
        }
        self.kept.acknowledge(exp_stat_sn);
        let Some(cmd_sn) = cmd_sn else { return };
        if cmd_sn != self.exp_cmd_sn {
            self.complain(format!("CmdSN out of order: {pdu:?}"));
        }
        if numbered && !self.told_max.is_some_and(|max| cmd_sn.le(max)) {
            self.complain(format!("CmdSN beyond MaxCmdSN: {pdu:?}"));
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

    /// The next PDU of the inbox, which is a SNACK Request.
    ///
    /// # Panics
    /// If it is not.
    pub fn expect_snack(&mut self) -> SnackRequest {
        match self.expect().0 {
            InitiatorPdu::SnackRequest(request) => request,
            other => panic!("not a SNACK Request: {other:?}"),
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

    /// Sends any header with this data segment; digests are added, and the script has its say.
    pub fn send_header(&mut self, bhs: &Bhs, data: &[u8]) {
        let mut honest = *bhs;
        let stat_sn = self.put_header(bhs, data);
        Field::STAT_SN.set(&mut honest, stat_sn);
        self.keep(&honest, data);
    }

    /// The same without keeping it. The StatSN that it shows honestly: PDUs that the script puts in front of it may take its own.
    pub(super) fn put_header(&mut self, bhs: &Bhs, data: &[u8]) -> u64 {
        let mut honest = Field::STAT_SN.get(bhs);
        let acts = self.script.happens(Happening::Sends(bhs));
        let mut pdu = Outgoing::new(bhs, data);
        for act in &acts {
            match act {
                Do::SendBefore(extra) => {
                    if extra.numbered {
                        // It takes the number of the PDU behind it.
                        let number = Field::STAT_SN.get(&pdu.bhs) as u32;
                        let (next, stat_sn) = (self.stat_sn.next(), StatSn(number));
                        self.stat_sn = stat_sn;
                        self.send_extra(extra, None);
                        self.stat_sn = next;
                        honest = u64::from(stat_sn.next().0);
                        Field::STAT_SN.set(&mut pdu.bhs, honest);
                    } else {
                        self.send_extra(extra, None);
                    }
                }
                act => pdu.apply(act),
            }
        }
        if Opcode::of(bhs) == Some(Opcode::LoginResponse) {
            self.login.sent.get_or_insert_with(|| pdu.data.clone());
        }
        let whole = pdu.bhs;
        if let Some(parts) = pdu.spread() {
            continue_text(&mut pdu.bhs);
            self.parts = Some((whole, parts));
        }
        let last_login = ends_login(&pdu.bhs);
        if pdu.copies > 0 {
            self.show(&pdu.bhs, &pdu.data);
            let pieces = pdu.finish(&self.framer);
            self.script.put_pdu(pdu.swap, pdu.hold.take(), pieces);
            if last_login {
                self.enter_full_feature();
            }
        }
        let cause = self.cause;
        self.act(&acts, cause.as_ref());
        if last_login {
            let acts = self.script.happens(Happening::LoggedIn);
            self.act(&acts, None);
        }
        honest
    }

    /// Sends the next part of a text that a script spreads over several responses; false if there is none.
    pub(super) fn send_part(&mut self) -> bool {
        let Some((mut bhs, mut parts)) = self.parts.take() else { return false };
        let Some(part) = parts.pop_front() else { return false };
        if !parts.is_empty() {
            self.parts = Some((bhs, parts));
            continue_text(&mut bhs);
        }
        let stat_sn = self.take_stat_sn();
        Field::STAT_SN.set(&mut bhs, u64::from(stat_sn.0));
        Field::DATA_SEGMENT_LENGTH.set(&mut bhs, part.len() as u64);
        self.send_header(&bhs, &part);
        true
    }

    /// Keeps in mind what goes out.
    fn show(&mut self, bhs: &Bhs, data: &[u8]) {
        if !matches!(Opcode::of(bhs), Some(Opcode::LoginResponse)) || bhs[36] == 0 {
            let max = CmdSn(u32::from_be_bytes([bhs[32], bhs[33], bhs[34], bhs[35]]));
            if self.told_max.is_none_or(|told| told.lt(max)) {
                self.told_max = Some(max);
            }
        }
        self.sent.push(*bhs);
        self.note(Direction::Received, bhs, &[], data);
    }

    /// Does what needs no PDU.
    fn act(&mut self, acts: &[Do], cause: Option<&Bhs>) {
        for act in acts {
            match act {
                Do::Send(extra) => self.send_extra(extra, cause),
                Do::Raw(bytes) => self.send_raw(bytes),
                Do::Noise { seed, len } => self.send_raw(&noise(*seed, *len)),
                Do::End(end) => self.script.put(vec![Piece::End(*end)]),
                Do::Window(window) => self.window = *window,
                Do::NextStatSn(next) => self.stat_sn = StatSn(*next),
                Do::Trust => self.checks = false,
                Do::Offer(limits) => self.limits = **limits,
                _ => {}
            }
        }
    }

    fn send_extra(&mut self, extra: &Extra, cause: Option<&Bhs>) {
        let stat_sn = if extra.numbered { self.take_stat_sn() } else { self.stat_sn };
        let cause = cause.copied().or(self.last_command);
        let window = (self.exp_cmd_sn, self.max_cmd_sn());
        let (bhs, data) = extra.build(cause.as_ref(), stat_sn, window);
        self.show(&bhs, &data);
        if extra.numbered {
            self.keep(&bhs, &data);
        }
        let mut bytes = self.framer.frame(&bhs, &[], &data);
        for (at, mask) in &extra.flips {
            bytes[*at] ^= mask;
        }
        self.send_raw(&bytes);
    }

    /// Sends a PDU with this data segment, and turns over one bit behind its header: of data, padding or data digest.
    ///
    /// # Panics
    /// If there are not so many bits.
    pub fn send_damaged(&mut self, pdu: impl Into<TargetPdu>, data: &[u8], bit: usize) {
        let mut bhs = [0; BHS_LEN];
        pdu.into().emit(&mut bhs);
        bhs[5..8].copy_from_slice(&(data.len() as u32).to_be_bytes()[1..]);
        self.show(&bhs, data);
        let mut bytes = self.framer.frame(&bhs, &[], data);
        let header = if self.negotiated().header_digest == DigestKind::Crc32c { 52 } else { 48 };
        let byte = bytes.get_mut(header + bit / 8).expect("the PDU has such a bit");
        *byte ^= 1 << (bit % 8);
        self.send_raw(&bytes);
    }

    /// Sends bytes as they are.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.script.put(vec![Piece::Bytes(bytes.to_vec())]);
    }

    /// The login is through: digests begin.
    fn enter_full_feature(&mut self) {
        let Some(negotiated) = self.login.take_agreed() else { return };
        self.negotiated = Some(negotiated);
        self.input.set_digests(negotiated.header_digest, negotiated.data_digest);
        self.framer.set_digests(negotiated.header_digest, negotiated.data_digest);
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
}
