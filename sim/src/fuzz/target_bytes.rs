//! The target's engine against whatever an initiator sends.

use core::time::Duration;

use iscsi_core::auth::{Chap, Entropy, Secret};
use iscsi_core::digest::DigestKind;
use iscsi_core::testing::Framer;
use iscsi_core::testing::fuzz::Input;
use iscsi_core::text::SessionType;
use iscsi_core::wire::{
    BHS_LEN, InitiatorPdu, Isid, LoginOutcome, LoginRequest, Opcode, Stage, TargetPdu,
};
use iscsi_core::{CmdSn, InitiatorTaskTag, Instant, IscsiName, StatSn};
use iscsi_target::{
    InlineTargetConnection, LogicalUnit, NexusSlot, Quirks, RamDisk, Target, TargetConfig,
    TargetConnection,
};

/// HeaderDigest; bit 1 is DataDigest.
const HEADER_DIGEST: u8 = 1;
const DATA_DIGEST: u8 = 2;
/// A command window of two.
const SMALL_WINDOW: u8 = 4;
/// The bytes begin with the login; bit 4 asks for CHAP.
pub const LOGIN_FIRST: u8 = 8;
const CHAP: u8 = 16;
/// Unsolicited Data-Out may come.
const UNSOLICITED: u8 = 32;
/// Each command gets the CmdSN that is expected, so that a change of one does not lose the others.
const NUMBERED: u8 = 64;
/// The bytes are sent as they are.
const RAW: u8 = 128;

/// CmdSN of the first command after the login.
const FIRST: u32 = 0xffff_fffe;

/// The first byte says what is negotiated, see the constants; the second how many bytes come at once; then come the initiator's
/// PDUs, as [`Input::pdu`] reads them, to a disk of 64 KiB.
///
/// The target shows the same bytes when it is asked twice, sends nothing but PDUs that can be read, never waits for nothing, believes no
/// response to a challenge, and serves somebody else afterwards.
///
/// # Panics
/// If it is not so.
pub fn target_bytes(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let (how, chunk) = (input.byte(), usize::from(input.byte()).max(1));
    let name = |name| IscsiName::new(name).expect("a name");
    let mut config = TargetConfig::new(name("iqn.2001-04.com.example:t"));
    config.nop_interval = None;
    if how & LOGIN_FIRST != 0 && how & CHAP != 0 {
        let secret = Secret::new("what nobody can guess").expect("a secret");
        let chap = Chap::new("user", secret).expect("credentials");
        config.discovery_auth = Some(chap.clone());
        config.auth = Some(chap);
    }
    let mut disk = RamDisk::new(vec![0; 65_536], 512).expect("whole blocks");
    let mut units = [LogicalUnit::new(0, &mut disk, "fuzz-0")];
    let mut sessions = [const { NexusSlot::EMPTY }; 3];
    let mut target = Target::new(&config, &mut units, &mut sessions).expect("session slots");
    if how & SMALL_WINDOW != 0 {
        *target.quirks_mut() = Quirks { window: Some(2), ..Quirks::default() };
    }
    let mut client = Client::new(&target, chunk);
    if how & LOGIN_FIRST == 0 {
        client.log_in("iqn.2001-04.com.example:i", how, &mut target);
    }
    client.feed(&client.stream(how, &mut input), &mut target);
    if config.auth.is_some() {
        let normal = target.sessions().filter(|it| it.session_type == SessionType::Normal);
        assert_eq!(normal.count(), 0, "bytes were believed");
    }
    client.wait(&mut target);
    // Somebody else is served as if nothing had happened.
    if config.auth.is_none() {
        *target.quirks_mut() = Quirks::default();
        let mut other = Client::new(&target, usize::MAX);
        other.now = client.now;
        other.log_in("iqn.2001-04.com.example:other", 0, &mut target);
    }
}

/// One connection, and what its initiator knows of it.
struct Client {
    connection: Box<TargetConnection>,
    framer: Framer,
    answers: Vec<(TargetPdu, Vec<u8>)>,
    chunk: usize,
    now: Instant,
}

impl Client {
    fn new(target: &Target<'_>, chunk: usize) -> Self {
        let mut connection: Box<TargetConnection> = Box::new(InlineTargetConnection::<130>::new());
        let now = Instant::from_micros(1);
        connection.opened(target, Entropy::new([7; 64]), None, now);
        let framer = Framer::new(DigestKind::None, DigestKind::None);
        Self { connection, framer, answers: Vec::new(), chunk, now }
    }

    /// What the initiator sends.
    fn stream(&self, how: u8, input: &mut Input<'_>) -> Vec<u8> {
        if how & RAW != 0 {
            return input.rest().to_vec();
        }
        let mut stream = Vec::new();
        let mut cmd_sn = FIRST;
        while let Some(mut pdu) = input.pdu() {
            let opcode = Opcode::of(&pdu.bhs);
            let numbered = matches!(
                opcode,
                Some(
                    Opcode::ScsiCommand
                        | Opcode::TaskManagementRequest
                        | Opcode::TextRequest
                        | Opcode::LogoutRequest
                        | Opcode::NopOut
                )
            );
            if how & NUMBERED != 0 && numbered {
                pdu.bhs[24..28].copy_from_slice(&cmd_sn.to_be_bytes());
                if pdu.bhs[0] & 0x40 == 0 {
                    cmd_sn = cmd_sn.wrapping_add(1);
                }
            }
            stream.extend(self.framer.frame(&pdu.bhs, pdu.ahs, pdu.data));
        }
        stream
    }

    fn log_in(&mut self, initiator: &str, how: u8, target: &mut Target<'_>) {
        let digest = |bit| if how & bit == 0 { "None" } else { "CRC32C" };
        let (header, data) = (digest(HEADER_DIGEST), digest(DATA_DIGEST));
        let initial_r2t = if how & UNSOLICITED == 0 { "Yes" } else { "No" };
        let text = format!(
            "InitiatorName={initiator}\0TargetName={}\0HeaderDigest={header}\0DataDigest={data}\0\
             InitialR2T={initial_r2t}\0MaxOutstandingR2T=3\0",
            target.config().name.as_str(),
        );
        let request = LoginRequest {
            current_stage: Stage::LoginOperationalNegotiation,
            next_stage: Some(Stage::FullFeaturePhase),
            is_continued: false,
            version_max: 0,
            version_min: 0,
            data_segment_length: text.len() as u32,
            isid: Isid::random(0x12_3456, 1),
            tsih: 0,
            initiator_task_tag: InitiatorTaskTag(0),
            cid: 1,
            cmd_sn: CmdSn(FIRST),
            exp_stat_sn: StatSn(0),
        };
        let mut bhs = [0; BHS_LEN];
        InitiatorPdu::from(request).emit(&mut bhs);
        self.feed(&self.framer.frame(&bhs, &[], text.as_bytes()), target);
        let answer = self.answers.pop();
        let done = matches!(
            &answer,
            Some((TargetPdu::LoginResponse(response), _))
                if matches!(response.outcome, LoginOutcome::Proceed(progress) if progress.is_done())
        );
        assert!(done, "an honest initiator is not served: {answer:?}");
        let negotiated = *self.connection.negotiated();
        self.framer.set_digests(negotiated.header_digest, negotiated.data_digest);
    }

    /// Bytes as they come from the network, answered as far as the target wants.
    fn feed(&mut self, bytes: &[u8], target: &mut Target<'_>) {
        for piece in bytes.chunks(self.chunk.min(bytes.len()).max(1)) {
            let mut rest = piece;
            while !rest.is_empty() && !self.connection.is_closed() {
                let used = self.connection.receive(rest, &mut { usize::MAX }, target, self.now);
                rest = &rest[used..];
                let sent = self.take(target);
                assert!(
                    used > 0 || sent > 0 || self.connection.is_closed(),
                    "takes and sends nothing"
                );
            }
        }
        self.take(target);
        let wants = self.connection.wants();
        assert!(self.connection.is_closed() || wants.read || wants.write, "waits for nothing");
    }

    /// Takes everything that there is to send. How many bytes there were.
    fn take(&mut self, target: &mut Target<'_>) -> usize {
        let mut all = 0;
        loop {
            let shown = self.look(target);
            if shown.is_empty() {
                return all;
            }
            assert!(shown == self.look(target), "shows other bytes when asked again");
            all += shown.len();
            self.connection.transmitted(shown.len());
            if self.connection.is_full_feature() {
                let negotiated = *self.connection.negotiated();
                self.framer.set_digests(negotiated.header_digest, negotiated.data_digest);
            }
            self.framer.push(&shown);
            while let Some(pdu) = self.framer.next() {
                // A refusal returns the tag of the request, which may be none.
                if pdu.bhs[0] == 0x23 && pdu.bhs[36] != 0 && pdu.bhs[16..20] == [0xff; 4] {
                    continue;
                }
                let parsed = TargetPdu::parse(&pdu.bhs);
                let parsed = parsed.unwrap_or_else(|error| panic!("{error}: {:02x?}", pdu.bhs));
                assert!(pdu.digests_match, "a wrong digest: {parsed:?}");
                self.answers.push((parsed, pdu.data));
            }
        }
    }

    fn look(&mut self, target: &mut Target<'_>) -> Vec<u8> {
        let mut runs: [&[u8]; 32] = [&[]; 32];
        let shown = self.connection.poll_transmit(target, &mut runs, self.now);
        runs[..shown].concat()
    }

    /// Time ends whatever is left hanging.
    fn wait(&mut self, target: &mut Target<'_>) {
        for _ in 0..8 {
            self.now = self.now + Duration::from_secs(10);
            self.connection.handle_timeout(target, self.now);
            self.take(target);
        }
        let wants = self.connection.wants();
        assert!(self.connection.is_closed() || wants.read || wants.write, "waits for nothing");
        assert!(self.connection.is_closed() || self.connection.is_full_feature());
        self.connection.received_eof(target);
        self.connection.closed(target);
    }
}
