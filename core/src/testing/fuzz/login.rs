//! The initiator's login, against whatever the target answers.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::time::Duration;

use super::input::Input;
use crate::auth::{Chap, Entropy, Secret};
use crate::config::{Recovery, SecurityStart};
use crate::digest::DigestKind;
use crate::testing::{Clock, Faults, Framer, Link, Memory, Rig, Rng, StrictDriver};
use crate::text::{Digests, Limits, Pairs, TaskReporting, TaskReportings};
use crate::wire::{BHS_LEN, Bhs, InitiatorPdu, LoginRequest};
use crate::{Action, Config, InlineSession, IscsiName, Portal, Session, SessionState};

/// Connections of one login: a target may redirect.
const CONNECTIONS: u32 = 6;

/// The target's answers are taken as they are, and not as [`LoginStep`]s.
const RAW: u8 = 128;

/// One answer of the target.
///
/// ```
/// use iscsi_core::testing::fuzz::{LoginStep, login};
/// let security = LoginStep { flags: 0x81, text: b"AuthMethod=None\0", ..LoginStep::default() };
/// let operational = LoginStep { flags: 0x87, ..LoginStep::default() };
/// login(&[&[0][..], &security.to_bytes(), &operational.to_bytes()].concat());
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct LoginStep<'a> {
    /// T, C, CSG and NSG, as they stand in the header.
    pub flags: u8,
    /// Status-Class and Status-Detail.
    pub status: [u8; 2],
    /// What does not fit the request: bit 0 ISID, 1 task tag, 2 StatSN, 3 TSIH, 4 version, 5 opcode, 6 the window, 7 additional headers.
    pub wrong: u8,
    /// The data segment.
    pub text: &'a [u8],
}

impl<'a> LoginStep<'a> {
    /// As [`login`] reads it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let len = (self.text.len() as u16).to_be_bytes();
        let head = [self.flags, self.status[0], self.status[1], self.wrong, len[0], len[1]];
        [&head[..], self.text].concat()
    }

    fn read(input: &mut Input<'a>) -> Self {
        let flags = input.byte();
        let status = [input.byte(), input.byte()];
        let wrong = input.byte();
        let len = usize::from(input.word());
        Self { flags, status, wrong, text: input.take(len) }
    }

    fn header(&self, request: &LoginRequest, stat_sn: u32) -> Bhs {
        let is = |bit: u8| self.wrong & (1 << bit) != 0;
        let mut bhs = [0; BHS_LEN];
        bhs[0] = if is(5) { 0x20 } else { 0x23 };
        bhs[1] = self.flags;
        bhs[3] = u8::from(is(4));
        bhs[5..8].copy_from_slice(&(self.text.len() as u32).to_be_bytes()[1..]);
        bhs[8..14].copy_from_slice(&request.isid.to_bytes());
        bhs[8] ^= u8::from(is(0));
        // A session has a number when its login is done.
        let done = self.flags & 0x83 == 0x83;
        bhs[14..16].copy_from_slice(&u16::from(done != is(3)).to_be_bytes());
        let tag = request.initiator_task_tag.0 ^ u32::from(is(1));
        bhs[16..20].copy_from_slice(&tag.to_be_bytes());
        let stat_sn = stat_sn.wrapping_add(u32::from(is(2)));
        bhs[24..28].copy_from_slice(&stat_sn.to_be_bytes());
        bhs[28..32].copy_from_slice(&request.cmd_sn.0.to_be_bytes());
        let window = if is(6) {
            request.cmd_sn.0.wrapping_sub(2)
        } else {
            request.cmd_sn.0.wrapping_add(31)
        };
        bhs[32..36].copy_from_slice(&window.to_be_bytes());
        bhs[36..38].copy_from_slice(&self.status);
        if is(7) {
            bhs[4] = 1;
        }
        bhs
    }
}

/// The configurations by number, each with whether the target has to ask for CHAP, and whether it has to prove itself.
///
/// # Panics
/// Never: they are configurations.
pub fn login_configs() -> [(Config, bool, bool); 8] {
    let secret = |text: &str| Secret::new(text).expect("a secret");
    let chap = Chap::new("alice", secret("sesame, open at once")).expect("credentials");
    let mutual = chap.clone().with_mutual(Some("disk"), secret("who goes there, friend"));
    let mutual = mutual.expect("two secrets");
    let name = IscsiName::new("iqn.2001-04.com.example:host").expect("a name");
    let fence = TaskReportings::new(&[TaskReporting::ResponseFence, TaskReporting::Rfc3720])
        .expect("two values");
    let all = Limits {
        header_digest: Digests::CRC32C,
        data_digest: Digests::CRC32C_NONE,
        error_recovery_level: 1,
        task_reporting: fence,
        iscsi_protocol_level: Some(2),
        ..Limits::DEFAULT
    };
    let never = |builder: crate::ConfigBuilder| {
        builder.recovery(Recovery::NEVER).build().expect("a configuration")
    };
    [
        (never(Rig::config()), false, false),
        (never(Rig::config().security_start(SecurityStart::Skip)), false, false),
        (never(Rig::config().chap(chap.clone())), true, false),
        (never(Rig::config().chap(mutual.clone())), true, true),
        (never(Rig::config().chap(chap.allow_none(true))), false, false),
        (never(Config::discovery(name.clone())), false, false),
        (never(Config::discovery(name).chap(mutual)), true, true),
        (never(Rig::config().limits(all)), false, false),
    ]
}

/// The first byte is the number of a configuration, see [`login_configs`], and in bit 7 whether what follows is a [`LoginStep`] for each
/// request or the target's bytes as they are.
///
/// The initiator sends nothing but Login Requests with whole pairs, comes to an end whatever the target does, is logged in only after the
/// authentication that is configured, and with values that it has offered.
///
/// # Panics
/// If it is not so.
pub fn login(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let how = input.byte();
    let configs = login_configs();
    let (config, chap, mutual) = configs[usize::from(how & 7)].clone();
    let mut bench = Bench::new(config.clone());
    let mut state = bench.run();
    if how & RAW != 0 {
        bench.answer(input.rest());
        state = bench.run();
    }
    while how & RAW == 0 && !input.is_empty() && state == SessionState::LoggingIn {
        let step = LoginStep::read(&mut input);
        let Some(request) = bench.request.take() else { break };
        let bhs = step.header(&request, bench.stat_sn);
        bench.stat_sn = bench.stat_sn.wrapping_add(1);
        bench.answer(&Framer::new(DigestKind::None, DigestKind::None).frame(
            &bhs,
            if bhs[4] == 0 { &[] } else { &[0; 4] },
            step.text,
        ));
        state = bench.run();
    }
    if state == SessionState::LoggedIn {
        assert!(!mutual, "a target was believed that does not know the secret");
        assert!(
            !chap || bench.responded,
            "logged in without the authentication that is configured"
        );
        let (agreed, limits) = (bench.driver.session.negotiated(), config.limits());
        let offered = |kind, digests: Digests| kind == DigestKind::None || digests.contains(kind);
        assert!(offered(agreed.header_digest, limits.header_digest), "{agreed:?}");
        assert!(offered(agreed.data_digest, limits.data_digest), "{agreed:?}");
        assert!(agreed.error_recovery_level <= limits.error_recovery_level, "{agreed:?}");
        assert!(agreed.first_burst_length <= agreed.max_burst_length, "{agreed:?}");
        return;
    }
    bench.wait();
}

/// An initiator without a target.
struct Bench {
    driver: StrictDriver,
    clock: Clock,
    link: Option<Link>,
    framer: Framer,
    rng: Rng,
    connections: u32,
    stat_sn: u32,
    /// The last request, if it was not answered yet.
    request: Option<LoginRequest>,
    /// Text of requests that go on.
    text: Vec<u8>,
    /// A response to a challenge was sent.
    responded: bool,
}

impl Bench {
    fn new(config: Config) -> Self {
        let mut session: Box<Session> = Box::<InlineSession<2>>::default();
        session.configure(config).expect("the session is new");
        let portal = Portal::parse("192.0.2.2:3260").expect("a portal");
        let clock = Clock::new();
        session.open(portal, clock.now()).expect("the session is new");
        Self {
            driver: StrictDriver::new(session, crate::driver::RecvBuf::boxed(), 1),
            clock,
            link: None,
            framer: Framer::new(DigestKind::None, DigestKind::None),
            rng: Rng::new(1),
            connections: 0,
            stat_sn: 0x1000,
            request: None,
            text: Vec::new(),
            responded: false,
        }
    }

    fn answer(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(link) = &mut self.link
            && !rest.is_empty()
        {
            match link.to_initiator.write(rest, self.clock.now()) {
                Ok(Some(n)) if n > 0 => rest = &rest[n..],
                _ => return,
            }
            self.run();
        }
    }

    /// Runs until nothing more happens.
    fn run(&mut self) -> SessionState {
        for _ in 0..100_000 {
            let turned = self.driver.turn(&mut Memory::new(), self.link.as_mut(), &self.clock);
            let acted = self.act();
            let mut told = false;
            while self.driver.session.poll_event().is_some() {
                told = true;
            }
            if told {
                self.driver.touch();
            }
            let listened = self.listen();
            if !turned && !acted && !told && !listened {
                return self.driver.session.state();
            }
        }
        panic!("the login runs in circles: {:?}", self.driver.wants());
    }

    fn act(&mut self) -> bool {
        let Some(action) = self.driver.session.poll_action() else { return false };
        match action {
            Action::Disconnect => {
                self.link = None;
                self.driver.disconnected(&self.clock);
            }
            Action::Connect if self.connections >= CONNECTIONS => {
                self.driver.session.connect_failed(self.clock.now());
                self.driver.touch();
            }
            Action::Connect => {
                self.connections += 1;
                self.link = Some(Link::new(Faults::NONE, Faults::NONE, &mut self.rng));
                self.framer = Framer::new(DigestKind::None, DigestKind::None);
                self.text.clear();
                self.request = None;
                self.stat_sn = 0x1000;
                let mut bytes = [0; 64];
                self.rng.fill(&mut bytes);
                self.driver.opened(Entropy::new(bytes), &self.clock);
            }
        }
        true
    }

    fn listen(&mut self) -> bool {
        let Some(link) = &mut self.link else { return false };
        let mut bytes = [0; 4096];
        let mut heard = false;
        while let Ok(Some(n)) = link.to_target.read(&mut bytes, self.clock.now()) {
            if n == 0 {
                break;
            }
            heard = true;
            self.framer.push(&bytes[..n]);
        }
        while let Some(pdu) = self.framer.next() {
            let Ok(InitiatorPdu::LoginRequest(request)) = InitiatorPdu::parse(&pdu.bhs) else {
                panic!("sent in a login: {:02x?}", pdu.bhs);
            };
            self.text.extend_from_slice(&pdu.data);
            if !request.is_continued {
                for pair in Pairs::new(&self.text) {
                    let pair = pair.expect("whole pairs are sent");
                    self.responded |= pair.key == "CHAP_R";
                }
                self.text.clear();
            }
            self.request = Some(request);
        }
        heard
    }

    /// A login that is not answered ends by time.
    fn wait(&mut self) {
        for _ in 0..50 {
            if matches!(self.driver.session.state(), SessionState::Failed(_)) {
                return;
            }
            let deadline = self.driver.deadline().or_else(|| self.driver.session.poll_timeout());
            let Some(at) = deadline else { break };
            self.clock.jump_to(at);
            self.clock.advance(Duration::from_micros(1));
            self.run();
        }
        panic!("the login does not end: {:?}", self.driver.session.state());
    }
}
