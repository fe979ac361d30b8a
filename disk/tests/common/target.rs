//! A scripted target: PDUs in, PDUs out, commands executed in any order.

use std::collections::VecDeque;

use iscsi_core::digest::DigestKind;
use iscsi_core::driver::Transport;
use iscsi_core::text::{Limits, Negotiation, Pairs, Phase, Role, SessionType, Writer};
use iscsi_core::wire::{
    BHS_LEN, Completion, DataIn, InitiatorPdu, LoginOutcome, LoginProgress, LoginRequest,
    LoginResponse, NopIn, NopInKind, NopOutKind, PduLengths, R2t, Reject, RejectReason, Residual,
    ScsiCommand, ScsiResponse, ScsiResponseCode, ScsiStatus, Stage, TargetPdu,
    TaskManagementFunction, TaskManagementResponse, TaskManagementResponseCode,
};
use iscsi_core::{CmdSn, DataSn, InitiatorTaskTag, R2tSn, StatSn, TargetTransferTag};

use super::device::{Device, Reply};

/// Most bytes asked for by one R2T, and sent in one Data-In.
const BURST: usize = 4096;

struct Task {
    command: ScsiCommand,
    out: Vec<u8>,
    r2t_sn: u32,
}

impl Task {
    fn wanted(&self) -> usize {
        let expected = self.command.expected_data_transfer_length as usize;
        if self.command.write { expected - self.out.len() } else { 0 }
    }
}

/// Target and wire in one.
pub(crate) struct Target {
    pub(crate) device: Device,
    input: Vec<u8>,
    output: VecDeque<u8>,
    /// Commands whose data-out is still awaited, and commands to be executed.
    awaiting: Vec<Task>,
    ready: Vec<Task>,
    /// Commands are kept until `execute` is called.
    pub(crate) hold: bool,
    /// Chooses which command is executed next.
    pub(crate) seed: u64,
    /// The next command is rejected for this reason, and not carried out.
    pub(crate) reject: Option<RejectReason>,
    /// Aborts that were asked for.
    pub(crate) aborts: usize,
    pub(crate) window: u32,
    stat_sn: u32,
    exp_cmd_sn: CmdSn,
}

impl Target {
    pub(crate) fn new(device: Device) -> Self {
        Self {
            device,
            input: Vec::new(),
            output: VecDeque::new(),
            awaiting: Vec::new(),
            ready: Vec::new(),
            hold: false,
            seed: 0,
            reject: None,
            aborts: 0,
            window: 64,
            stat_sn: 0,
            exp_cmd_sn: CmdSn(0),
        }
    }

    /// A new connection: what was under way on the old one is forgotten.
    pub(crate) fn connected(&mut self) {
        self.input.clear();
        self.output.clear();
        self.awaiting.clear();
        self.ready.clear();
    }

    /// Whether the initiator would find something to receive.
    pub(crate) fn has_something_to_do(&self) -> bool {
        !self.output.is_empty() || !self.hold && !self.ready.is_empty()
    }

    /// Commands that wait for execution.
    pub(crate) fn waiting(&self) -> usize {
        self.ready.len()
    }

    /// CDBs of the commands that wait for execution.
    pub(crate) fn waiting_cdbs(&self) -> Vec<[u8; 16]> {
        self.ready.iter().map(|task| task.command.cdb).collect()
    }

    /// Puts a waiting command with another operation code than this first.
    pub(crate) fn put_off(&mut self, not: u8) {
        if let Some(at) = self.ready.iter().position(|task| task.command.cdb[0] != not) {
            self.ready.swap(0, at);
        }
    }

    /// Executes one waiting command: the first without a seed, else any.
    pub(crate) fn execute(&mut self) -> bool {
        if self.ready.is_empty() {
            return false;
        }
        let mut index = 0;
        if self.seed != 0 {
            self.seed = self.seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            index = (self.seed >> 33) as usize % self.ready.len();
        }
        let task = self.ready.remove(index);
        let length = iscsi_disk::scsi::cdb_length(task.command.cdb[0]).unwrap_or(16);
        let reply = self.device.execute(&task.command.cdb[..length], &task.out);
        self.reply(&task.command, &reply);
        true
    }

    fn max_cmd_sn(&self) -> CmdSn {
        CmdSn(self.exp_cmd_sn.0.wrapping_add(self.window).wrapping_sub(1))
    }

    fn next_stat_sn(&mut self) -> StatSn {
        self.stat_sn = self.stat_sn.wrapping_add(1);
        StatSn(self.stat_sn.wrapping_sub(1))
    }

    fn send(&mut self, pdu: impl Into<TargetPdu>, data: &[u8]) {
        let mut bhs = [0; BHS_LEN];
        pdu.into().emit(&mut bhs);
        self.output.extend(bhs);
        self.output.extend(data);
        self.output.extend(core::iter::repeat_n(0, data.len().wrapping_neg() & 3));
    }

    /// Takes the PDUs that are complete.
    fn parse(&mut self) {
        while let Some(bhs) = self.input.first_chunk::<BHS_LEN>().copied() {
            let lengths = PduLengths::new(&bhs, DigestKind::None, DigestKind::None);
            let total = BHS_LEN + lengths.total();
            if self.input.len() < total {
                return;
            }
            let pdu: Vec<u8> = self.input.drain(..total).collect();
            let start = BHS_LEN + lengths.before_data();
            let data = &pdu[start..start + lengths.data];
            self.take(&InitiatorPdu::parse(&bhs).expect("the initiator sends valid PDUs"), data);
        }
    }

    fn take(&mut self, pdu: &InitiatorPdu, data: &[u8]) {
        match pdu {
            InitiatorPdu::LoginRequest(request) => self.login(request, data),
            InitiatorPdu::ScsiCommand(command) => self.command(command, data),
            InitiatorPdu::DataOut(pdu) => {
                let itt = pdu.initiator_task_tag;
                let index = self
                    .awaiting
                    .iter()
                    .position(|task| task.command.initiator_task_tag == itt)
                    .expect("Data-Out for a task that awaits it");
                let task = &mut self.awaiting[index];
                assert_eq!(pdu.buffer_offset as usize, task.out.len());
                task.out.extend(data);
                if pdu.is_final {
                    let task = self.awaiting.remove(index);
                    self.data_or_execution(task);
                }
            }
            InitiatorPdu::NopOut(nop) => {
                if let NopOutKind::Ping { initiator_task_tag, .. } = nop.kind {
                    let answer = NopIn {
                        kind: NopInKind::PingResponse(initiator_task_tag),
                        data_segment_length: data.len() as u32,
                        stat_sn: self.next_stat_sn(),
                        exp_cmd_sn: self.exp_cmd_sn,
                        max_cmd_sn: self.max_cmd_sn(),
                    };
                    self.send(answer, data);
                }
            }
            InitiatorPdu::TaskManagementRequest(request) => {
                match request.function {
                    TaskManagementFunction::AbortTask { referenced_task_tag, .. } => {
                        self.abort(referenced_task_tag);
                    }
                    TaskManagementFunction::LogicalUnitReset { .. } => {
                        self.awaiting.clear();
                        self.ready.clear();
                    }
                    _ => panic!("{request:?}"),
                }
                let answer = TaskManagementResponse {
                    response: TaskManagementResponseCode::FunctionComplete,
                    initiator_task_tag: request.initiator_task_tag,
                    stat_sn: self.next_stat_sn(),
                    exp_cmd_sn: self.exp_cmd_sn,
                    max_cmd_sn: self.max_cmd_sn(),
                };
                self.send(answer, &[]);
            }
            other => panic!("{other:?}"),
        }
    }

    fn abort(&mut self, itt: InitiatorTaskTag) {
        self.aborts += 1;
        self.ready.retain(|task| task.command.initiator_task_tag != itt);
        self.awaiting.retain(|task| task.command.initiator_task_tag != itt);
    }

    fn login(&mut self, request: &LoginRequest, text: &[u8]) {
        let limits = Limits {
            initial_r2t: true,
            first_burst_length: BURST as u32,
            max_burst_length: BURST as u32,
            max_recv_data_segment_length: BURST as u32,
            default_time2wait: 0,
            ..Limits::DEFAULT
        };
        let mut negotiation = Negotiation::leading(Role::Target, SessionType::Normal, limits);
        let mut area = [0; 4096];
        let mut out = Writer::new(&mut area);
        for pair in Pairs::new(text) {
            negotiation.receive(&pair.unwrap(), Phase::Operational, &mut out).unwrap();
        }
        out.number("TargetPortalGroupTag", 1).unwrap();
        if !negotiation.is_settled(iscsi_core::text::Key::MaxRecvDataSegmentLength) {
            out.number("MaxRecvDataSegmentLength", BURST as u64).unwrap();
        }
        let answer = out.written().to_vec();
        self.exp_cmd_sn = request.cmd_sn;
        self.awaiting.clear();
        self.ready.clear();
        let progress = LoginProgress {
            current_stage: request.current_stage,
            next_stage: Some(Stage::FullFeaturePhase),
            is_continued: false,
            stat_sn: self.next_stat_sn(),
            exp_cmd_sn: self.exp_cmd_sn,
            max_cmd_sn: self.max_cmd_sn(),
        };
        let response = LoginResponse {
            outcome: LoginOutcome::Proceed(progress),
            version_max: 0,
            version_active: 0,
            data_segment_length: answer.len() as u32,
            isid: request.isid,
            tsih: 1,
            initiator_task_tag: request.initiator_task_tag,
        };
        self.send(response, &answer);
    }

    fn command(&mut self, command: &ScsiCommand, data: &[u8]) {
        assert_eq!(command.cmd_sn, self.exp_cmd_sn);
        self.exp_cmd_sn = self.exp_cmd_sn.next();
        assert!(command.is_final, "no unsolicited Data-Out was agreed upon");
        if let Some(reason) = self.reject.take() {
            let mut header = [0; BHS_LEN];
            command.emit(&mut header);
            let reject = Reject {
                reason,
                data_segment_length: header.len() as u32,
                stat_sn: self.next_stat_sn(),
                exp_cmd_sn: self.exp_cmd_sn,
                max_cmd_sn: self.max_cmd_sn(),
                data_sn: DataSn(0),
            };
            return self.send(reject, &header);
        }
        self.data_or_execution(Task { command: *command, out: data.to_vec(), r2t_sn: 0 });
    }

    fn data_or_execution(&mut self, mut task: Task) {
        let wanted = task.wanted();
        if wanted == 0 {
            self.ready.push(task);
            return;
        }
        let r2t = R2t {
            lun: task.command.lun,
            initiator_task_tag: task.command.initiator_task_tag,
            target_transfer_tag: TargetTransferTag(task.command.initiator_task_tag.0 ^ 0x55),
            stat_sn: StatSn(self.stat_sn),
            exp_cmd_sn: self.exp_cmd_sn,
            max_cmd_sn: self.max_cmd_sn(),
            r2t_sn: R2tSn(task.r2t_sn),
            buffer_offset: task.out.len() as u32,
            desired_data_transfer_length: wanted.min(BURST) as u32,
        };
        task.r2t_sn += 1;
        self.awaiting.push(task);
        self.send(r2t, &[]);
    }

    fn reply(&mut self, command: &ScsiCommand, reply: &Reply) {
        let expected = command.expected_data_transfer_length as usize;
        let mut residual = Residual::None;
        let mut data = &reply.data_in[..];
        if command.read && reply.status == ScsiStatus::Good {
            if data.len() > expected {
                residual = Residual::Overflow((data.len() - expected) as u32);
                data = &data[..expected];
            } else if data.len() < expected {
                residual = Residual::Underflow((expected - data.len()) as u32);
            }
        }
        let mut data_sn = 0;
        for (index, chunk) in data.chunks(BURST).enumerate() {
            let pdu = DataIn {
                is_final: true,
                acknowledge: None,
                status: None,
                data_segment_length: chunk.len() as u32,
                initiator_task_tag: command.initiator_task_tag,
                exp_cmd_sn: self.exp_cmd_sn,
                max_cmd_sn: self.max_cmd_sn(),
                data_sn: DataSn(data_sn),
                buffer_offset: (index * BURST) as u32,
            };
            data_sn += 1;
            self.send(pdu, chunk);
        }
        let mut segment = Vec::new();
        if !reply.sense.is_empty() {
            segment.extend((reply.sense.len() as u16).to_be_bytes());
            segment.extend(&reply.sense);
        }
        let completion = Completion {
            status: reply.status,
            residual: reply.residual.unwrap_or(residual),
            exp_data_sn: DataSn(data_sn),
            ..Completion::GOOD
        };
        let response = ScsiResponse {
            response: ScsiResponseCode::CompletedAtTarget(completion),
            data_segment_length: segment.len() as u32,
            initiator_task_tag: command.initiator_task_tag,
            snack_tag: None,
            stat_sn: self.next_stat_sn(),
            exp_cmd_sn: self.exp_cmd_sn,
            max_cmd_sn: self.max_cmd_sn(),
        };
        self.send(response, &segment);
    }
}

impl Transport for Target {
    type Error = core::convert::Infallible;

    fn send(&mut self, runs: &[&[u8]]) -> Result<Option<usize>, Self::Error> {
        for run in runs {
            self.input.extend_from_slice(run);
        }
        self.parse();
        Ok(Some(runs.iter().map(|run| run.len()).sum()))
    }

    fn recv(&mut self, space: [&mut [u8]; 2]) -> Result<Option<usize>, Self::Error> {
        if self.output.is_empty() && !self.hold {
            self.execute();
        }
        let mut count = 0;
        for byte in space.into_iter().flatten() {
            let Some(next) = self.output.pop_front() else { break };
            *byte = next;
            count += 1;
        }
        Ok((count > 0).then_some(count))
    }
}
