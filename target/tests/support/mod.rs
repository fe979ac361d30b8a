//! A scripted initiator: builds PDUs with the wire layer, feeds them to connections, and takes what they answer apart.

#![allow(dead_code, reason = "every test uses another part")]

use std::collections::VecDeque;
use std::time::Duration;

use iscsi_core::auth::Entropy;
use iscsi_core::digest::{Crc32c, crc32c, to_wire};
use iscsi_core::wire::{
    self, BHS_LEN, Bhs, DataOut, InitiatorPdu, Isid, LoginOutcome, LoginRequest, LoginResponse,
    ScsiCommand, ScsiResponse, ScsiResponseCode, ScsiStatus, Stage, TargetPdu, TaskAttribute,
    TransferTag,
};
use iscsi_core::{
    CmdSn, DataSn, InitiatorTaskTag, Instant, IscsiName, Lun, StatSn, TargetTransferTag,
};
use iscsi_scsi::{Cdb, Direction, Sense};
use iscsi_target::{
    Disk, InlineTargetConnection, LogicalUnit, NexusSlot, RamDisk, Target, TargetConfig,
    TargetConnection,
};

pub(crate) const TARGET: &str = "iqn.2001-04.com.example:t";
pub(crate) const INITIATOR: &str = "iqn.2001-04.com.example:i";
pub(crate) const ISID: Isid = Isid::random(0x12_3456, 1);

/// Bytes of the usual disk.
pub(crate) const DISK: usize = 1 << 20;

/// One PDU of the target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) bhs: Bhs,
    pub(crate) data: Vec<u8>,
}

impl Received {
    pub(crate) fn pdu(&self) -> TargetPdu {
        TargetPdu::parse(&self.bhs).unwrap_or_else(|error| panic!("{error}: {:02x?}", self.bhs))
    }

    pub(crate) fn text(&self) -> Vec<String> {
        let text = String::from_utf8(self.data.clone()).unwrap();
        text.split_terminator('\0').map(String::from).collect()
    }
}

/// A connection with what an initiator knows of it.
pub(crate) struct Client {
    pub(crate) connection: Box<TargetConnection>,
    pub(crate) cmd_sn: CmdSn,
    pub(crate) stat_sn: StatSn,
    pub(crate) next_itt: u32,
    pub(crate) header_digest: bool,
    pub(crate) data_digest: bool,
    /// Bytes that the target sent and nobody has looked at.
    pub(crate) inbox: Vec<u8>,
    pub(crate) pdus: VecDeque<Received>,
    /// Bytes in one call, as from a slow network.
    pub(crate) chunk: usize,
}

/// A target with any number of connections.
pub(crate) struct Bench {
    pub(crate) target: Target<'static>,
    pub(crate) clients: Vec<Client>,
    pub(crate) now: Instant,
}

/// A boxed disk of zeros.
pub(crate) fn ram(bytes: usize) -> Box<dyn Disk> {
    Box::new(RamDisk::new(vec![0; bytes], 512).unwrap())
}

impl Bench {
    /// A target with one disk of [`DISK`] bytes and one connection that has not logged in.
    pub(crate) fn new(configure: impl FnOnce(&mut TargetConfig)) -> Self {
        Self::with_disks(vec![ram(DISK)], configure)
    }

    pub(crate) fn with_disks(
        disks: Vec<Box<dyn Disk>>,
        configure: impl FnOnce(&mut TargetConfig),
    ) -> Self {
        let mut config = TargetConfig::new(IscsiName::new(TARGET).unwrap());
        config.nop_interval = None;
        configure(&mut config);
        let units: Vec<LogicalUnit<'static>> = disks
            .into_iter()
            .enumerate()
            .map(|(number, disk)| {
                LogicalUnit::new(number as u32, Box::leak(disk), &format!("serial-{number}"))
            })
            .collect();
        let target = Target::new(
            Box::leak(Box::new(config)),
            units.leak(),
            vec![NexusSlot::EMPTY; 4].leak(),
        );
        let mut bench =
            Self { target: target.unwrap(), clients: Vec::new(), now: Instant::from_micros(1) };
        bench.connect();
        bench
    }

    /// A target with a client that has logged in, with these keys proposed on top of the defaults.
    pub(crate) fn logged_in(keys: &[&str]) -> Self {
        let mut bench = Self::new(|_| {});
        bench.login(0, keys);
        bench
    }

    /// Another connection.
    pub(crate) fn connect(&mut self) -> usize {
        let mut connection: Box<TargetConnection> = Box::new(InlineTargetConnection::<130>::new());
        let entropy = Entropy::new([self.clients.len() as u8 + 1; 64]);
        let local = "127.0.0.1:3260".parse().unwrap();
        connection.opened(&self.target, entropy, Some(local), self.now);
        self.clients.push(Client {
            connection,
            cmd_sn: CmdSn(0xffff_fffe),
            stat_sn: StatSn(0),
            next_itt: 1,
            header_digest: false,
            data_digest: false,
            inbox: Vec::new(),
            pdus: VecDeque::new(),
            chunk: usize::MAX,
        });
        self.clients.len() - 1
    }

    pub(crate) fn client(&mut self, n: usize) -> &mut Client {
        &mut self.clients[n]
    }

    /// Logs in through the operational stage, in one exchange.
    pub(crate) fn login(&mut self, n: usize, keys: &[&str]) -> Vec<String> {
        self.login_as(n, INITIATOR, ISID, keys)
    }

    pub(crate) fn login_as(
        &mut self,
        n: usize,
        initiator: &str,
        isid: Isid,
        keys: &[&str],
    ) -> Vec<String> {
        let names = [format!("InitiatorName={initiator}"), format!("TargetName={TARGET}")];
        let mut text: Vec<&str> = names.iter().map(String::as_str).collect();
        text.extend(keys);
        let request =
            LoginRequest { isid, ..self.login_request(n, Stage::LoginOperationalNegotiation) };
        let request = LoginRequest { next_stage: Some(Stage::FullFeaturePhase), ..request };
        self.send_login(n, request, &text);
        let answer = self.receive(n);
        let TargetPdu::LoginResponse(response) = answer.pdu() else { panic!("{answer:?}") };
        let LoginOutcome::Proceed(progress) = response.outcome else { panic!("{response:?}") };
        assert!(progress.is_done());
        assert_ne!(response.tsih, 0);
        let client = self.client(n);
        client.stat_sn = progress.stat_sn.next();
        let text = answer.text();
        client.header_digest = text.contains(&"HeaderDigest=CRC32C".into());
        client.data_digest = text.contains(&"DataDigest=CRC32C".into());
        text
    }

    pub(crate) fn login_request(&mut self, n: usize, stage: Stage) -> LoginRequest {
        let client = self.client(n);
        LoginRequest {
            current_stage: stage,
            next_stage: None,
            is_continued: false,
            version_max: 0,
            version_min: 0,
            data_segment_length: 0,
            isid: ISID,
            tsih: 0,
            initiator_task_tag: InitiatorTaskTag(0),
            cid: 1,
            cmd_sn: client.cmd_sn,
            exp_stat_sn: client.stat_sn,
        }
    }

    pub(crate) fn send_login(&mut self, n: usize, request: LoginRequest, keys: &[&str]) {
        let text: String = keys.iter().map(|key| format!("{key}\0")).collect();
        let request = LoginRequest { data_segment_length: text.len() as u32, ..request };
        self.send(n, request, text.as_bytes());
    }

    /// Sends a request of a login and returns the response with its text.
    pub(crate) fn exchange_login(
        &mut self,
        n: usize,
        request: LoginRequest,
        keys: &[&str],
    ) -> (LoginResponse, Vec<String>) {
        self.send_login(n, request, keys);
        let answer = self.receive(n);
        match answer.pdu() {
            TargetPdu::LoginResponse(response) => (response, answer.text()),
            other => panic!("{other:?}"),
        }
    }

    /// Sends a PDU whose header says how long `data` is.
    pub(crate) fn send(&mut self, n: usize, pdu: impl Into<InitiatorPdu>, data: &[u8]) {
        let mut bhs = [0; BHS_LEN];
        pdu.into().emit(&mut bhs);
        self.send_raw(n, &bhs, &[], data);
    }

    pub(crate) fn send_raw(&mut self, n: usize, bhs: &Bhs, ahs: &[u8], data: &[u8]) {
        let client = self.client(n);
        let mut bytes = bhs.to_vec();
        bytes.extend_from_slice(ahs);
        if client.header_digest {
            bytes.extend_from_slice(&to_wire(crc32c(&bytes)));
        }
        let start = bytes.len();
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len() + wire::padding(data.len()), 0);
        if client.data_digest && !data.is_empty() {
            let digest = to_wire(crc32c(&bytes[start..]));
            bytes.extend_from_slice(&digest);
        }
        self.feed(n, &bytes);
    }

    /// Feeds bytes, in as many calls as the connection wants.
    pub(crate) fn feed(&mut self, n: usize, bytes: &[u8]) {
        let chunk = self.clients[n].chunk;
        for piece in bytes.chunks(chunk.min(bytes.len()).max(1)) {
            let mut rest = piece;
            while !rest.is_empty() && !self.clients[n].connection.is_closed() {
                let (target, now) = (&mut self.target, self.now);
                let connection = &mut self.clients[n].connection;
                let used = connection.receive(rest, &mut { usize::MAX }, target, now);
                rest = &rest[used..];
                if used == 0 && !connection.is_closed() {
                    assert!(self.flush(n) > 0, "neither takes nor sends");
                }
            }
        }
    }

    /// Takes everything that a connection has to send. How many bytes there were.
    pub(crate) fn flush(&mut self, n: usize) -> usize {
        let mut all = 0;
        loop {
            let client = &mut self.clients[n];
            let mut runs: [&[u8]; 16] = [&[]; 16];
            let shown = client.connection.poll_transmit(&mut self.target, &mut runs, self.now);
            let mut bytes: Vec<u8> = runs[..shown].concat();
            bytes.truncate(client.chunk);
            if bytes.is_empty() {
                return all;
            }
            all += bytes.len();
            client.inbox.extend_from_slice(&bytes);
            client.connection.transmitted(bytes.len());
        }
    }

    /// The next PDU of the target, if there is one.
    pub(crate) fn poll(&mut self, n: usize) -> Option<Received> {
        self.flush(n);
        let client = &mut self.clients[n];
        while let Some((received, used)) = client.parse() {
            client.inbox.drain(..used);
            client.pdus.push_back(received);
        }
        client.pdus.pop_front()
    }

    pub(crate) fn receive(&mut self, n: usize) -> Received {
        let reason = self.clients[n].connection.end_reason();
        self.poll(n).unwrap_or_else(|| panic!("the target is silent: {reason:?}"))
    }

    pub(crate) fn assert_silent(&mut self, n: usize) {
        if let Some(pdu) = self.poll(n) {
            panic!("{:?}", pdu.pdu());
        }
    }

    pub(crate) fn assert_closed(&mut self, n: usize) {
        self.assert_silent(n);
        assert!(self.clients[n].connection.is_closed());
    }

    /// The reason of a Reject.
    pub(crate) fn rejected(&mut self, n: usize) -> wire::RejectReason {
        let received = self.receive(n);
        let TargetPdu::Reject(reject) = received.pdu() else { panic!("{received:?}") };
        assert_eq!(received.data.len(), BHS_LEN);
        self.clients[n].take_status(reject.stat_sn);
        reject.reason
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        self.now = self.now + by;
        for client in &mut self.clients {
            client.connection.handle_timeout(&mut self.target, self.now);
        }
    }

    /// Builds a SCSI Command for `cdb` that expects what the CDB says, for blocks of 512 bytes.
    pub(crate) fn command(&mut self, n: usize, cdb: &Cdb) -> ScsiCommand {
        let client = self.client(n);
        let cmd_sn = client.cmd_sn;
        client.cmd_sn = cmd_sn.next();
        let itt = InitiatorTaskTag(client.next_itt);
        client.next_itt += 1;
        ScsiCommand {
            immediate: false,
            is_final: true,
            read: cdb.direction() == Direction::In,
            write: cdb.direction() == Direction::Out,
            attribute: TaskAttribute::Simple,
            priority: 0,
            total_ahs_length: Default::default(),
            data_segment_length: 0,
            lun: Lun::ZERO,
            initiator_task_tag: itt,
            expected_data_transfer_length: cdb.expected_bytes(512) as u32,
            cmd_sn,
            exp_stat_sn: client.stat_sn,
            cdb: cdb.first_16(),
        }
    }

    /// Sends a command without data-out and collects its data and its end.
    pub(crate) fn read(&mut self, n: usize, cdb: &Cdb) -> (Vec<u8>, End) {
        let command = self.command(n, cdb);
        self.send(n, command, &[]);
        self.finish_read(n, &command)
    }

    pub(crate) fn finish_read(&mut self, n: usize, command: &ScsiCommand) -> (Vec<u8>, End) {
        let mut data = vec![0; command.expected_data_transfer_length as usize];
        let mut next = DataSn(0);
        loop {
            let received = self.receive(n);
            match received.pdu() {
                TargetPdu::DataIn(data_in) => {
                    assert_eq!(data_in.initiator_task_tag, command.initiator_task_tag);
                    assert_eq!(data_in.data_sn, next);
                    next = next.next();
                    let at = data_in.buffer_offset as usize;
                    data[at..at + received.data.len()].copy_from_slice(&received.data);
                    if let Some(status) = data_in.status {
                        self.clients[n].take_status(status.stat_sn);
                        return (
                            data,
                            End { status: status.status, residual: status.residual, sense: None },
                        );
                    }
                }
                TargetPdu::ScsiResponse(response) => {
                    return (data, self.clients[n].end_of(&response, command, &received.data));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Sends a command with all its data, as the negotiated parameters and the target's R2Ts allow, cut into `piece` bytes.
    pub(crate) fn write(&mut self, n: usize, cdb: &Cdb, data: &[u8], piece: usize) -> End {
        let negotiated = *self.clients[n].connection.negotiated();
        let expected = data.len() as u32;
        let limit = negotiated.first_burst_length.min(expected);
        let max = (negotiated.target_max_recv_data_segment_length).min(piece as u32);
        let immediate = if negotiated.immediate_data { limit.min(max) } else { 0 };
        let unsolicited = if negotiated.initial_r2t { immediate } else { limit };
        let command = ScsiCommand {
            write: true,
            is_final: immediate == unsolicited,
            data_segment_length: immediate,
            expected_data_transfer_length: expected,
            ..self.command(n, cdb)
        };
        self.send(n, command, &data[..immediate as usize]);
        self.send_burst(n, &command, None, data, immediate, unsolicited, piece);
        self.finish_write(n, &command, data, piece)
    }

    pub(crate) fn finish_write(
        &mut self,
        n: usize,
        command: &ScsiCommand,
        data: &[u8],
        piece: usize,
    ) -> End {
        let mut r2t_sn = 0;
        loop {
            let received = self.receive(n);
            match received.pdu() {
                TargetPdu::R2t(r2t) => {
                    assert_eq!(r2t.initiator_task_tag, command.initiator_task_tag);
                    assert_eq!(r2t.lun, command.lun);
                    assert_eq!(r2t.r2t_sn.0, r2t_sn);
                    assert_eq!(r2t.stat_sn, self.clients[n].stat_sn);
                    r2t_sn += 1;
                    let (from, len) = (r2t.buffer_offset, r2t.desired_data_transfer_length);
                    let transfer = Some(r2t.transfer());
                    self.send_burst(n, command, transfer, data, from, from + len, piece);
                }
                TargetPdu::ScsiResponse(response) => {
                    return self.clients[n].end_of(&response, command, &received.data);
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "all of them vary")]
    pub(crate) fn send_burst(
        &mut self,
        n: usize,
        command: &ScsiCommand,
        transfer: Option<TransferTag>,
        data: &[u8],
        from: u32,
        to: u32,
        piece: usize,
    ) {
        let mut at = from;
        let mut data_sn = DataSn(0);
        while at < to {
            let len = (to - at).min(piece as u32);
            let pdu = data_out(command, transfer, at, len, data_sn, at + len == to);
            self.send(n, pdu, &data[at as usize..(at + len) as usize]);
            at += len;
            data_sn = data_sn.next();
        }
    }
}

/// A Data-Out of a command.
pub(crate) fn data_out(
    command: &ScsiCommand,
    transfer: Option<TransferTag>,
    at: u32,
    len: u32,
    data_sn: DataSn,
    is_final: bool,
) -> DataOut {
    DataOut {
        is_final,
        transfer,
        data_segment_length: len,
        initiator_task_tag: command.initiator_task_tag,
        exp_stat_sn: StatSn(0),
        data_sn,
        buffer_offset: at,
    }
}

impl Client {
    /// The first whole PDU of the inbox and its length, digests checked.
    fn parse(&self) -> Option<(Received, usize)> {
        let bhs: Bhs = *self.inbox.first_chunk()?;
        let len = wire::data_segment_length(&bhs) as usize;
        let mut at = BHS_LEN;
        if self.header_digest && bhs[0] != 0x23 {
            let digest = self.inbox.get(at..at + 4)?;
            assert_eq!(digest, to_wire(crc32c(&bhs)), "header digest");
            at += 4;
        }
        let padded = len + wire::padding(len);
        let data = self.inbox.get(at..at + padded)?;
        at += padded;
        if self.data_digest && len > 0 && bhs[0] != 0x23 {
            let mut crc = Crc32c::new();
            crc.update(data);
            let digest = self.inbox.get(at..at + 4)?;
            assert_eq!(digest, to_wire(crc.finish()), "data digest");
            at += 4;
        }
        Some((Received { bhs, data: data[..len].to_vec() }, at))
    }

    pub(crate) fn take_status(&mut self, stat_sn: StatSn) {
        assert_eq!(stat_sn, self.stat_sn);
        self.stat_sn = stat_sn.next();
    }

    fn end_of(&mut self, response: &ScsiResponse, command: &ScsiCommand, data: &[u8]) -> End {
        assert_eq!(response.initiator_task_tag, command.initiator_task_tag);
        self.take_status(response.stat_sn);
        let ScsiResponseCode::CompletedAtTarget(completion) = response.response else {
            panic!("{response:?}")
        };
        let sense = data.get(2..).map(|sense| {
            assert_eq!(usize::from(u16::from_be_bytes([data[0], data[1]])), sense.len());
            Sense::parse(sense).unwrap()
        });
        End { status: completion.status, residual: completion.residual, sense }
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct End {
    pub(crate) status: ScsiStatus,
    pub(crate) residual: wire::Residual,
    pub(crate) sense: Option<Sense>,
}

impl End {
    #[track_caller]
    pub(crate) fn assert_good(&self) {
        assert_eq!((self.status, self.residual), (ScsiStatus::Good, wire::Residual::None));
    }

    /// Sense key, ASC and ASCQ of a CHECK CONDITION.
    #[track_caller]
    pub(crate) fn check(&self) -> (u8, u8, u8) {
        assert_eq!(self.status, ScsiStatus::CheckCondition);
        let sense = self.sense.expect("CHECK CONDITION has sense");
        (sense.key.code(), sense.additional.asc, sense.additional.ascq)
    }
}

/// Bytes that differ everywhere.
pub(crate) fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len)
        .map(|n| (n as u32).wrapping_mul(0x9e37_79b1).to_be_bytes()[0] ^ n as u8 ^ seed)
        .collect()
}

pub(crate) const NO_TAG: TargetTransferTag = TargetTransferTag::RESERVED;
