//! The Login Phase of one connection, as the initiator sees it (RFC 7143 section 6.3).
//!
//! Pure logic: it sees parsed headers and joined text, and says what to send.
//!
//! ```text
//! start ----> [SecurityNegotiation: AuthMethod, CHAP] --T--> [LoginOperationalNegotiation: keys] --T--> Done
//!                     |                                              |
//!                     +-- Redirect, Refused, LoginError -------------+
//! ```
//!
//! The login begins in SecurityNegotiation unless the configuration says otherwise, see
//! [`SecurityStart`]. With CHAP required, T stays 0 until the response to the target's challenge is
//! sent, so that a target cannot pass on early.

mod error;
mod security;

use core::ops::Range;

pub use error::{LoginError, LoginRule};
use heapless::String;
use security::Security;

use crate::auth::{ChapInitiator, ChapKeys, Entropy, RecentChallenges};
use crate::config::{Config, SecurityStart};
use crate::portal::{Portal, TargetAddress};
use crate::text::{
    Key, Limits, Negotiated, Negotiation, Pairs, Phase, Received, Role, SessionType, Termination,
    Writer,
};
use crate::wire::{
    Isid, LoginOutcome, LoginProgress, LoginRequest, LoginResponse, LoginStatus, Stage,
};
use crate::{CmdSn, InitiatorTaskTag, StatSn};

/// Bytes of text in one login PDU: the default of MaxRecvDataSegmentLength, which holds in the Login Phase.
pub const MAX_LOGIN_SEGMENT: usize = 8192;

/// Bytes of joined text that a login takes from the target at most.
pub const MAX_LOGIN_TEXT: usize = 65536;

/// What stays the same in all requests of a Login Phase (RFC 7143 section 11.12).
///
/// ```
/// use iscsi_core::login::Identity;
/// use iscsi_core::wire::Isid;
/// use iscsi_core::{CmdSn, InitiatorTaskTag};
///
/// let identity = Identity {
///     isid: Isid::random(0x12_3456, 0),
///     tsih: 0, // a new session
///     cid: 0,
///     cmd_sn: CmdSn(1),
///     initiator_task_tag: InitiatorTaskTag(0),
/// };
/// assert!(identity.is_new_session());
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The initiator's part of the session identifier.
    pub isid: Isid,
    /// 0 for a new session, else the session that the connection joins.
    pub tsih: u16,
    /// The connection within the session.
    pub cid: u16,
    /// The first CmdSN of a new session, else the current one.
    pub cmd_sn: CmdSn,
    /// One tag for the whole Login Phase.
    pub initiator_task_tag: InitiatorTaskTag,
}

impl Identity {
    /// Whether the login makes a session or reinstates one.
    pub const fn is_new_session(&self) -> bool {
        self.tsih == 0
    }
}

/// One login request to send; [`Login::header`] makes its header.
///
/// ```
/// use iscsi_core::login::Request;
/// use iscsi_core::wire::Stage;
/// let request = Request {
///     current_stage: Stage::SecurityNegotiation,
///     next_stage: None,
///     is_continued: false,
///     text: 0..17,
/// };
/// assert!(!request.is_transit());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// CSG.
    pub current_stage: Stage,
    /// NSG; T is set if it is present.
    pub next_stage: Option<Stage>,
    /// C: the text continues in the next request.
    pub is_continued: bool,
    /// Where the text stands in the area that was lent.
    pub text: Range<usize>,
}

impl Request {
    /// T: this side is ready for the next stage.
    pub const fn is_transit(&self) -> bool {
        self.next_stage.is_some()
    }
}

/// What a login response leads to.
///
/// ```
/// use iscsi_core::login::Step;
/// use iscsi_core::wire::LoginStatus;
/// assert_ne!(Step::Refused(LoginStatus::NOT_FOUND), Step::Redirect { permanent: false });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Send this request and wait for the next response.
    Send(Request),
    /// The connection is in the Full Feature Phase.
    Done {
        /// The agreed values.
        negotiated: Negotiated,
        /// The target's part of the session identifier.
        tsih: u16,
    },
    /// Close the connection and log in at [`Login::redirect`], with everything from the start, authentication included.
    Redirect {
        /// Remember the new address in place of the old.
        permanent: bool,
    },
    /// Close the connection: the target refuses. Only class 3, a target error, may go away by trying again.
    Refused(LoginStatus),
}

/// The stage machine of one Login Phase.
///
/// [`Login::start`] gives the first request; then each response goes to [`Login::response`]. One `Login` serves one connection
/// once.
///
/// ```
/// use iscsi_core::auth::{Entropy, RecentChallenges};
/// use iscsi_core::login::{Identity, Login, Step};
/// use iscsi_core::wire::{Isid, LoginOutcome, LoginProgress, LoginResponse, Stage};
/// use iscsi_core::{CmdSn, Config, InitiatorTaskTag, IscsiName, StatSn};
///
/// let name = |name| IscsiName::new(name).unwrap();
/// let config =
///     Config::normal(name("iqn.2001-04.com.example:host"), name("iqn.2001-04.com.example:disk"))
///         .build()
///         .unwrap();
/// let identity = Identity {
///     isid: Isid::random(1, 0),
///     tsih: 0,
///     cid: 0,
///     cmd_sn: CmdSn(1),
///     initiator_task_tag: InitiatorTaskTag(0),
/// };
/// let (mut area, mut recent) = ([0; 8192], RecentChallenges::new());
/// let mut login = Login::new(identity, Entropy::new([0x5a; 64]));
///
/// let request = login.start(&config, &mut area).unwrap();
/// assert!(area[request.text].starts_with(b"InitiatorName=iqn.2001-04.com.example:host\0"));
///
/// let mut answer = |stage, next, stat_sn, text: &[u8]| {
///     let response = LoginResponse {
///         outcome: LoginOutcome::Proceed(LoginProgress {
///             current_stage: stage,
///             next_stage: Some(next),
///             is_continued: false,
///             stat_sn: StatSn(stat_sn),
///             exp_cmd_sn: CmdSn(1),
///             max_cmd_sn: CmdSn(32),
///         }),
///         version_max: 0,
///         version_active: 0,
///         data_segment_length: text.len() as u32,
///         isid: identity.isid,
///         tsih: 7,
///         initiator_task_tag: identity.initiator_task_tag,
///     };
///     login.response(&response, text, &config, &mut recent, &mut area).unwrap()
/// };
/// use Stage::{FullFeaturePhase, LoginOperationalNegotiation, SecurityNegotiation};
/// let text = b"AuthMethod=None\0TargetPortalGroupTag=1\0";
/// let step = answer(SecurityNegotiation, LoginOperationalNegotiation, 1, text);
/// assert!(matches!(step, Step::Send(_)));
/// let step = answer(LoginOperationalNegotiation, FullFeaturePhase, 2, b"MaxBurstLength=65536\0");
/// let Step::Done { negotiated, tsih: 7 } = step else { panic!() };
/// assert_eq!(negotiated.max_burst_length, 65_536);
/// assert_eq!(negotiated.target_portal_group_tag, Some(1));
/// ```
#[derive(Debug, Clone)]
pub struct Login {
    identity: Identity,
    established: Option<Negotiated>,
    running: bool,
    stage: Stage,
    security: Security,
    negotiation: Negotiation,
    /// T and NSG of the outstanding request.
    requested: Option<Stage>,
    /// Text of this side that waits behind a request with C=1.
    unsent: Range<usize>,
    exchanges: u16,
    last_stat_sn: Option<StatSn>,
    target_alias: String<{ crate::config::MAX_ALIAS_LEN }>,
    redirect: Option<TargetAddress>,
}

impl Login {
    /// A login that will never start, to fill a place until there is one to make.
    pub const IDLE: Self = {
        let identity = Identity {
            isid: Isid::from_bytes([0; 6]),
            tsih: 0,
            cid: 0,
            cmd_sn: CmdSn(0),
            initiator_task_tag: InitiatorTaskTag::RESERVED,
        };
        let mut idle = Self::new(identity, Entropy::new([0; 64]));
        idle.exchanges = u16::MAX;
        idle
    };

    /// The login of a new session, or one that reinstates it. `entropy` must not serve another connection.
    pub const fn new(identity: Identity, entropy: Entropy) -> Self {
        Self {
            identity,
            established: None,
            running: false,
            stage: Stage::SecurityNegotiation,
            security: Security::new(ChapInitiator::new(&entropy)),
            negotiation: Negotiation::leading(
                Role::Initiator,
                SessionType::Normal,
                Limits::DEFAULT,
            ),
            requested: None,
            unsent: 0..0,
            exchanges: 0,
            last_stat_sn: None,
            target_alias: String::new(),
            redirect: None,
        }
    }

    /// The login of a connection that joins or is reinstated in a session: its session-wide values are `established`, and only
    /// the values of the connection are negotiated.
    pub const fn joining(identity: Identity, entropy: Entropy, established: Negotiated) -> Self {
        let mut login = Self::new(identity, entropy);
        login.established = Some(Negotiated {
            header_digest: Negotiated::DEFAULT.header_digest,
            data_digest: Negotiated::DEFAULT.data_digest,
            initiator_max_recv_data_segment_length: Negotiated::DEFAULT
                .initiator_max_recv_data_segment_length,
            target_max_recv_data_segment_length: Negotiated::DEFAULT
                .target_max_recv_data_segment_length,
            target_portal_group_tag: None,
            ..established
        });
        login
    }

    /// The first request. `out` is the area for this side's text: 8192 bytes do unless the target is verbose, and what stands in it
    /// must stay until the next call.
    ///
    /// # Errors
    /// [`LoginRule::RequestTooLong`] if `out` is too short, [`LoginRule::NotRunning`] if the login was started before.
    pub fn start(&mut self, config: &Config, out: &mut [u8]) -> Result<Request, LoginError> {
        if self.running || self.exchanges > 0 {
            return Err(LoginRule::NotRunning.into());
        }
        let (session_type, limits) = (config.session_type(), *config.limits());
        self.negotiation = match self.established {
            None => Negotiation::leading(Role::Initiator, session_type, limits),
            Some(values) => Negotiation::following(Role::Initiator, session_type, limits, values),
        };
        let mut writer = Writer::new(out);
        self.write_names(config, &mut writer).map_err(|_| LoginRule::RequestTooLong)?;
        if config.security_start() == SecurityStart::Skip {
            self.stage = Stage::LoginOperationalNegotiation;
            self.negotiation.offer_all(&mut writer).map_err(|_| LoginRule::RequestTooLong)?;
        } else {
            self.security.start(config, &mut writer)?;
        }
        self.running = true;
        let length = writer.len();
        self.request(length, config)
    }

    /// Takes a login response and says what to do next.
    ///
    /// `text` holds all data segments since the last response with C=0, joined by the caller; while `response` has C=1 it is
    /// not looked at. `out` is the area of [`Login::start`] again; `recent` holds the challenges that this node issued lately, to which the login adds
    /// its own.
    ///
    /// # Errors
    /// [`LoginError`] with the rule that the target broke. The login has failed then: close the connection.
    pub fn response(
        &mut self,
        response: &LoginResponse,
        text: &[u8],
        config: &Config,
        recent: &mut RecentChallenges,
        out: &mut [u8],
    ) -> Result<Step, LoginError> {
        if !self.running {
            return Err(LoginRule::NotRunning.into());
        }
        let step = self.step(response, text, config, recent, out);
        self.running = matches!(step, Ok(Step::Send(_)));
        step
    }

    /// The header of a request.
    pub fn header(&self, request: &Request) -> LoginRequest {
        LoginRequest {
            current_stage: request.current_stage,
            next_stage: request.next_stage,
            is_continued: request.is_continued,
            version_max: 0,
            version_min: 0,
            data_segment_length: u32::try_from(request.text.len()).unwrap_or(u32::MAX),
            isid: self.identity.isid,
            tsih: self.identity.tsih,
            initiator_task_tag: self.identity.initiator_task_tag,
            cid: self.identity.cid,
            cmd_sn: self.identity.cmd_sn,
            exp_stat_sn: self.exp_stat_sn(),
        }
    }

    /// The next StatSN of the connection; 0 before the first response.
    pub fn exp_stat_sn(&self) -> StatSn {
        self.last_stat_sn.map_or(StatSn(0), StatSn::next)
    }

    /// What this login is about.
    pub const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// TargetAlias, if the target gave one. For display only; it may hold control characters, so show it with
    /// [`str::escape_debug`] or the like.
    pub fn target_alias(&self) -> Option<&str> {
        (!self.target_alias.is_empty()).then_some(self.target_alias.as_str())
    }

    /// Where the target redirected to. Nobody vouches for this address: the login there must authenticate in full.
    pub fn redirect(&self) -> Option<&Portal> {
        self.redirect.as_ref().map(|address| &address.portal)
    }

    /// Whether CHAP was completed, in both directions if mutual CHAP is configured.
    pub const fn is_authenticated(&self) -> bool {
        self.security.is_authenticated()
    }

    fn step(
        &mut self,
        response: &LoginResponse,
        text: &[u8],
        config: &Config,
        recent: &mut RecentChallenges,
        out: &mut [u8],
    ) -> Result<Step, LoginError> {
        if response.initiator_task_tag != self.identity.initiator_task_tag {
            return Err(LoginRule::InitiatorTaskTag.into());
        }
        match response.outcome {
            LoginOutcome::Refused(status) => self.refused(status, text, config),
            LoginOutcome::Proceed(progress) => {
                self.check_header(response, &progress)?;
                self.proceed(response, &progress, text, config, recent, out)
            }
        }
    }

    /// A redirect or a refusal. Text of a redirect is read leniently: only the address counts.
    fn refused(
        &mut self,
        status: LoginStatus,
        text: &[u8],
        config: &Config,
    ) -> Result<Step, LoginError> {
        let permanent = status == LoginStatus::TARGET_MOVED_PERMANENTLY;
        if !permanent && status != LoginStatus::TARGET_MOVED_TEMPORARILY {
            return Ok(Step::Refused(status));
        }
        self.redirect = Pairs::new(text)
            .termination(termination(config))
            .map_while(Result::ok)
            .filter(|pair| pair.key == Key::TargetAddress.name())
            .find_map(|pair| TargetAddress::parse(pair.text().ok()?).ok());
        match self.redirect {
            Some(_) => Ok(Step::Redirect { permanent }),
            None => Err(LoginRule::RedirectAddress.into()),
        }
    }

    /// What a response must have in common with its request.
    fn check_header(
        &mut self,
        response: &LoginResponse,
        progress: &LoginProgress,
    ) -> Result<(), LoginRule> {
        if response.version_active != 0 {
            return Err(LoginRule::Version);
        }
        if response.isid != self.identity.isid {
            return Err(LoginRule::Isid);
        }
        // A new session's TSIH counts in the last response only; some targets give it earlier.
        if !self.identity.is_new_session() && response.tsih != self.identity.tsih {
            return Err(LoginRule::Tsih);
        }
        if progress.current_stage != self.stage {
            return Err(LoginRule::CurrentStage);
        }
        if let Some(next) = progress.next_stage {
            let requested = self.requested.ok_or(LoginRule::TransitNotRequested)?;
            if next > requested || next <= self.stage {
                return Err(LoginRule::NextStage);
            }
        }
        if self.last_stat_sn.is_some_and(|last| last.next() != progress.stat_sn) {
            return Err(LoginRule::StatSn);
        }
        self.last_stat_sn = Some(progress.stat_sn);
        Ok(())
    }

    fn proceed(
        &mut self,
        response: &LoginResponse,
        progress: &LoginProgress,
        text: &[u8],
        config: &Config,
        recent: &mut RecentChallenges,
        out: &mut [u8],
    ) -> Result<Step, LoginError> {
        if !self.unsent.is_empty() {
            let idle = text.is_empty() && !progress.is_continued && progress.next_stage.is_none();
            if !idle {
                return Err(LoginRule::TextNotAwaited.into());
            }
            return self.piece(config).map(Step::Send);
        }
        if text.len() > MAX_LOGIN_TEXT {
            return Err(LoginRule::TextTooLong.into());
        }
        if progress.is_continued {
            return self.acknowledge(config).map(Step::Send);
        }
        let transit = progress.next_stage.is_some();
        let length = self.read(text, transit, config, recent, &mut *out)?;
        match progress.next_stage {
            None => self.request(length, config).map(Step::Send),
            Some(Stage::FullFeaturePhase) => self.finish(response.tsih, config),
            Some(next) => {
                self.stage = next;
                // Answers to unknown keys are dropped with the stage they belong to.
                let mut writer = Writer::new(out);
                self.negotiation.offer_all(&mut writer).map_err(|_| LoginRule::RequestTooLong)?;
                let length = writer.len();
                self.request(length, config).map(Step::Send)
            }
        }
    }

    /// Reads the pairs of a complete text and writes the answers to `out`; their length.
    fn read(
        &mut self,
        text: &[u8],
        transit: bool,
        config: &Config,
        recent: &mut RecentChallenges,
        out: &mut [u8],
    ) -> Result<usize, LoginError> {
        let phase = match self.stage {
            Stage::SecurityNegotiation => Phase::Security,
            _ => Phase::Operational,
        };
        let mut writer = Writer::new(out);
        let mut method = None;
        let mut chap_keys = ChapKeys::default();
        for pair in Pairs::new(text).termination(termination(config)) {
            let pair = pair?;
            match self.negotiation.receive(&pair, phase, &mut writer)? {
                Received::Proposal { answer_required: true, .. } if transit => {
                    return Err(LoginRule::AnswerOwed.into());
                }
                Received::Security(Key::AuthMethod) => method = Some(pair.text()?),
                Received::Security(key) => chap_keys.add(key, &pair)?,
                Received::Declared(Key::TargetAlias) => {
                    let alias = pair.text().unwrap_or_default();
                    self.target_alias = String::try_from(alias).unwrap_or_default();
                }
                _ => {}
            }
        }
        let tag = self.negotiation.values().target_portal_group_tag;
        if let (Some(expected), Some(tag)) = (config.expected_target_portal_group_tag(), tag)
            && expected != tag
        {
            return Err(LoginRule::PortalGroup.into());
        }
        if self.stage == Stage::SecurityNegotiation {
            self.security.step(method, &chap_keys, transit, config, recent, &mut writer)?;
        }
        Ok(writer.len())
    }

    fn finish(&self, tsih: u16, config: &Config) -> Result<Step, LoginError> {
        if tsih == 0 {
            return Err(LoginRule::TsihZero.into());
        }
        // The security stage cannot be left without authentication; this is the second lock on the same door.
        let required = config.chap().is_some_and(|chap| !chap.allows_none());
        if required && !self.is_authenticated() {
            return Err(crate::auth::AuthRule::Skipped.into());
        }
        Ok(Step::Done { negotiated: self.negotiation.finish()?, tsih })
    }

    /// The request that carries the first `length` bytes of the area.
    fn request(&mut self, length: usize, config: &Config) -> Result<Request, LoginError> {
        self.unsent = 0..length;
        self.piece(config)
    }

    /// As much of the unsent text as one PDU takes.
    fn piece(&mut self, config: &Config) -> Result<Request, LoginError> {
        self.count(config)?;
        let Range { start, end } = self.unsent;
        let is_continued = end - start > MAX_LOGIN_SEGMENT;
        let cut = if is_continued { start + MAX_LOGIN_SEGMENT } else { end };
        self.unsent = cut..end;
        self.requested = match self.stage {
            _ if is_continued => None,
            Stage::SecurityNegotiation => {
                self.security.may_leave(config).then_some(Stage::LoginOperationalNegotiation)
            }
            _ => Some(Stage::FullFeaturePhase),
        };
        Ok(Request {
            current_stage: self.stage,
            next_stage: self.requested,
            is_continued,
            text: start..cut,
        })
    }

    /// The empty request that asks for more text. T stays as it was: the target may set it with the last piece.
    fn acknowledge(&mut self, config: &Config) -> Result<Request, LoginError> {
        self.count(config)?;
        Ok(Request {
            current_stage: self.stage,
            next_stage: self.requested,
            is_continued: false,
            text: 0..0,
        })
    }

    const fn count(&mut self, config: &Config) -> Result<(), LoginError> {
        if self.exchanges >= config.login_exchanges() {
            return Err(LoginError::Rule(LoginRule::TooManyExchanges));
        }
        self.exchanges += 1;
        Ok(())
    }

    /// The declarations of the first request: each is made once on a connection.
    fn write_names(
        &self,
        config: &Config,
        out: &mut Writer<'_>,
    ) -> Result<(), crate::text::TextFull> {
        out.text(Key::InitiatorName.name(), config.initiator_name().as_str())?;
        if !config.initiator_alias().is_empty() {
            out.text(Key::InitiatorAlias.name(), config.initiator_alias())?;
        }
        if let Some(target) = config.target_name() {
            out.text(Key::TargetName.name(), target.as_str())?;
        }
        if self.established.is_none() {
            out.text(Key::SessionType.name(), config.session_type().as_str())?;
        }
        Ok(())
    }
}

const fn termination(config: &Config) -> Termination {
    match config.lenient_text() {
        true => Termination::Lenient,
        false => Termination::Strict,
    }
}
