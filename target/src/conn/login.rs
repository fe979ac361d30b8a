//! The login phase as the target sees it (RFC 7143 sections 6.3 and 11.12).

use iscsi_core::auth::{Chap, ChapKeys, ChapVerifier, Entropy};
use iscsi_core::digest::DigestKind;
use iscsi_core::text::{
    Digests, Key, Limits, Negotiation, Pairs, Phase, Received, Role, SessionType, TextFull, Writer,
    value,
};
use iscsi_core::wire::{
    BHS_LEN, FormatError, InitiatorPdu, Isid, LoginOutcome, LoginProgress, LoginRequest,
    LoginRequestView, LoginResponse, LoginStatus, Stage,
};
use iscsi_core::{InitiatorTaskTag, Instant, IscsiName};

use super::pages::Run;
use super::ring::Body;
use super::rx::{Place, Placement};
use super::{EndReason, State, TEXT_AREA, TargetConnection};
use crate::target::Target;

/// Requests of one login; whoever needs more negotiates without end (RFC 7143 section 6.2 asks for at least 6).
const MAX_REQUESTS: u8 = 32;

/// What stays the same in all requests of a login (RFC 7143 section 11.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    isid: Isid,
    tsih: u16,
    cid: u16,
    itt: InitiatorTaskTag,
}

impl Identity {
    const fn of(request: &LoginRequest) -> Self {
        Self {
            isid: request.isid,
            tsih: request.tsih,
            cid: request.cid,
            itt: request.initiator_task_tag,
        }
    }
}

/// How far the authentication is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Security {
    /// No method was chosen yet.
    Method {
        proposed: bool,
    },
    /// CHAP_A is to come.
    Algorithm,
    /// CHAP_N and CHAP_R are to come.
    Proof,
    Done,
}

/// The login of a connection.
#[derive(Debug)]
pub(super) struct Acceptor {
    identity: Option<Identity>,
    stage: Option<Stage>,
    security: Security,
    chap: Option<ChapVerifier>,
    initiator: Option<IscsiName>,
    negotiation: Option<Negotiation>,
    /// The own operational keys have been declared.
    declared: bool,
    session_type: SessionType,
    /// Bytes of the request collected so far.
    text_len: usize,
    requests: u8,
}

impl Acceptor {
    pub(super) const IDLE: Self = Self {
        identity: None,
        stage: None,
        security: Security::Method { proposed: false },
        chap: None,
        initiator: None,
        negotiation: None,
        declared: false,
        session_type: SessionType::Normal,
        text_len: 0,
        requests: 0,
    };

    pub(super) fn new(entropy: &Entropy) -> Self {
        Self { chap: Some(ChapVerifier::new(entropy)), ..Self::IDLE }
    }
}

/// What the target answers to a complete request.
enum Answer {
    /// T and the stage to go to, or `None` to go on in this one.
    Proceed(Option<Stage>),
    Refuse(LoginStatus),
    /// Refused, with the portal to go to in the text.
    Redirect(LoginStatus),
}

impl From<LoginStatus> for Answer {
    fn from(status: LoginStatus) -> Self {
        Self::Refuse(status)
    }
}

impl From<TextFull> for Answer {
    fn from(_: TextFull) -> Self {
        Self::Refuse(LoginStatus::OUT_OF_RESOURCES)
    }
}

impl TargetConnection {
    pub(super) fn begin_login(
        &mut self,
        pdu: &InitiatorPdu,
        target: &mut Target<'_>,
        now: Instant,
    ) -> Placement {
        let InitiatorPdu::LoginRequest(request) = pdu else {
            if self.core.acceptor.identity.is_none() {
                self.close(EndReason::NotALogin, target);
            } else {
                self.refuse_login(LoginStatus::INVALID_DURING_LOGIN, target, now);
            }
            return Placement::NOWHERE;
        };
        let at = self.core.acceptor.text_len;
        let room = TEXT_AREA.saturating_sub(at) as u32;
        let place = Place::Text { at: at as u32 };
        Placement { place, room: request.data_segment_length.min(room), task: None }
    }

    /// A header that breaks a rule.
    pub(super) fn malformed_login(
        &mut self,
        error: Option<FormatError>,
        target: &mut Target<'_>,
        now: Instant,
    ) {
        let other_kind = matches!(
            error,
            Some(
                FormatError::UnassignedOpcode(_)
                    | FormatError::VendorOpcode(_)
                    | FormatError::WrongDirection(_)
            )
        );
        let login = LoginRequestView::new(self.core.rx.bhs());
        if self.core.acceptor.identity.is_none() {
            if other_kind || self.core.rx.bhs()[0] & 0x3f != 0x03 {
                self.close(EndReason::NotALogin, target);
                return;
            }
            self.core.acceptor.identity = Some(Identity {
                isid: login.isid(),
                tsih: login.tsih(),
                cid: login.cid(),
                itt: login.initiator_task_tag(),
            });
        }
        let status = match other_kind {
            true => LoginStatus::INVALID_DURING_LOGIN,
            false => LoginStatus::INITIATOR_ERROR,
        };
        self.refuse_login(status, target, now);
    }

    /// A whole PDU of the login phase.
    pub(super) fn login(&mut self, pdu: &InitiatorPdu, target: &mut Target<'_>, now: Instant) {
        let InitiatorPdu::LoginRequest(request) = pdu else { return };
        let identity = Identity::of(request);
        let acceptor = &mut self.core.acceptor;
        let first = *acceptor.identity.get_or_insert(identity);
        acceptor.requests += 1;
        acceptor.text_len += request.data_segment_length as usize;
        if first != identity
            || acceptor.requests > MAX_REQUESTS
            || acceptor.text_len > TEXT_AREA
            || acceptor.stage.is_some_and(|stage| stage != request.current_stage)
        {
            return self.refuse_login(LoginStatus::INITIATOR_ERROR, target, now);
        }
        if request.version_min > 0 {
            return self.refuse_login(LoginStatus::UNSUPPORTED_VERSION, target, now);
        }
        let Some(run) = self.core.bounce_pages.take(TEXT_AREA) else {
            return self.close(EndReason::Flooded, target);
        };
        if request.is_continued {
            return self.respond(request, Answer::Proceed(None), 0, run, target, now);
        }
        let core = &mut self.core;
        let len = core::mem::replace(&mut core.acceptor.text_len, 0);
        let text = core.text_area.get(..len).unwrap_or_default();
        let out = core.bounce.get_mut(run.at()..run.at() + TEXT_AREA).unwrap_or_default();
        let mut writer = Writer::new(out);
        let answer = match core.acceptor.step(request, text, target, &mut writer) {
            Ok(next) => Answer::Proceed(next),
            Err(answer) => answer,
        };
        let len = writer.len();
        core.session_type = core.acceptor.session_type;
        self.respond(request, answer, len, run, target, now);
    }

    /// Sends a Login Response, and draws the conclusions.
    fn respond(
        &mut self,
        request: &LoginRequest,
        answer: Answer,
        len: usize,
        run: Run,
        target: &mut Target<'_>,
        now: Instant,
    ) {
        let mut tsih = request.tsih;
        let next_stage = match answer {
            Answer::Proceed(next) => next,
            Answer::Refuse(status) => {
                self.core.bounce_pages.give(run);
                return self.refuse_login(status, target, now);
            }
            Answer::Redirect(status) => {
                self.push_login_response(LoginOutcome::Refused(status), tsih, len, Some(run));
                return self.finish(EndReason::LoginRefused(status), target, now);
            }
        };
        let is_done = next_stage == Some(Stage::FullFeaturePhase);
        if is_done {
            match self.complete_login(request, target) {
                Ok(new_tsih) => tsih = new_tsih,
                Err(status) => {
                    self.core.bounce_pages.give(run);
                    return self.refuse_login(status, target, now);
                }
            }
        }
        self.core.acceptor.stage = next_stage.or(Some(request.current_stage));
        self.open_window(request.cmd_sn, target);
        let progress = LoginProgress {
            current_stage: request.current_stage,
            next_stage,
            is_continued: false,
            stat_sn: self.core.stat_sn,
            exp_cmd_sn: self.core.exp_cmd_sn,
            max_cmd_sn: self.core.max_cmd_sn,
        };
        self.push_login_response(LoginOutcome::Proceed(progress), tsih, len, Some(run));
        self.core.stat_sn = self.core.stat_sn.next();
        if is_done {
            self.enter_full_feature(target, now);
        }
    }

    /// Everything was agreed upon: registers the session. Returns its TSIH.
    fn complete_login(
        &mut self,
        request: &LoginRequest,
        target: &mut Target<'_>,
    ) -> Result<u16, LoginStatus> {
        let core = &mut self.core;
        let negotiated = match &core.acceptor.negotiation {
            Some(negotiation) => negotiation.finish().map_err(|_| LoginStatus::INITIATOR_ERROR)?,
            None => return Err(LoginStatus::MISSING_PARAMETER),
        };
        let Some(initiator) = &core.acceptor.initiator else {
            return Err(LoginStatus::MISSING_PARAMETER);
        };
        // Who did not agree to a digest that is demanded, or never spoke of it, does not come in.
        let limits = target.config.effective_limits();
        let unmet = |wanted: &Digests, agreed| wanted.first().is_some() && !wanted.contains(agreed);
        if core.session_type == SessionType::Normal
            && (unmet(&limits.header_digest, negotiated.header_digest)
                || unmet(&limits.data_digest, negotiated.data_digest))
        {
            return Err(LoginStatus::INITIATOR_ERROR);
        }
        let (nexus, tsih) =
            target.admit(initiator, request.isid, request.tsih, request.cid, core.session_type)?;
        core.seen = target.changes();
        core.nexus = Some(nexus);
        core.cid = request.cid;
        core.negotiated = negotiated;
        Ok(tsih)
    }

    fn enter_full_feature(&mut self, target: &Target<'_>, now: Instant) {
        let core = &mut self.core;
        let negotiated = core.negotiated;
        core.state = State::FullFeature;
        core.stat_sn = core.stat_sn.plus(target.quirks.stat_sn_gap);
        core.max_send = negotiated.initiator_max_recv_data_segment_length;
        core.rx.set_negotiated(
            negotiated.header_digest,
            negotiated.data_digest,
            negotiated.target_max_recv_data_segment_length,
        );
        core.ring.header_digest = negotiated.header_digest;
        core.ring.data_digest = negotiated.data_digest;
        core.level_1 = negotiated.error_recovery_level > 0;
        core.acceptor = Acceptor::IDLE;
        self.start_idle_timer(target, now);
    }

    /// Ends the login with a status that says why.
    pub(super) fn refuse_login(
        &mut self,
        status: LoginStatus,
        target: &mut Target<'_>,
        now: Instant,
    ) {
        let tsih = self.core.acceptor.identity.map_or(0, |identity| identity.tsih);
        self.push_login_response(LoginOutcome::Refused(status), tsih, 0, None);
        self.finish(EndReason::LoginRefused(status), target, now);
    }

    fn push_login_response(
        &mut self,
        outcome: LoginOutcome,
        tsih: u16,
        len: usize,
        run: Option<Run>,
    ) {
        let core = &mut self.core;
        let Some(identity) = core.acceptor.identity else { return };
        if core.ring.is_full() {
            // A flood of requests whose answers are not read.
            return;
        }
        let response = LoginResponse {
            outcome,
            version_max: 0,
            version_active: 0,
            data_segment_length: len as u32,
            isid: identity.isid,
            tsih,
            initiator_task_tag: identity.itt,
        };
        let mut bhs = [0; BHS_LEN];
        response.emit(&mut bhs);
        let body = match run {
            Some(run) => Body::Area { at: run.at(), len, pages: Some(run) },
            None => Body::None,
        };
        self.push(&bhs, body);
    }
}

impl Acceptor {
    /// Works on a complete request.
    fn step(
        &mut self,
        request: &LoginRequest,
        text: &[u8],
        target: &mut Target<'_>,
        out: &mut Writer<'_>,
    ) -> Result<Option<Stage>, Answer> {
        let is_first = self.negotiation.is_none();
        let limits = target.config.effective_limits();
        if is_first {
            self.session_type = session_type(text)?;
            self.negotiation = Some(Negotiation::leading(Role::Target, self.session_type, limits));
        }
        let mut keys = ChapKeys::default();
        let mut method = None;
        let mut target_name = None;
        let phase = match request.current_stage {
            Stage::SecurityNegotiation => Phase::Security,
            _ => Phase::Operational,
        };
        for pair in Pairs::new(text) {
            let pair = pair.map_err(|_| LoginStatus::INITIATOR_ERROR)?;
            let Some(negotiation) = &mut self.negotiation else { break };
            let received =
                negotiation.receive(&pair, phase, out).map_err(|_| LoginStatus::INITIATOR_ERROR)?;
            let text = || pair.text().map_err(|_| LoginStatus::INITIATOR_ERROR);
            match received {
                Received::Declared(Key::InitiatorName) => {
                    let name = IscsiName::from_peer(text()?);
                    self.initiator = Some(name.map_err(|_| LoginStatus::INITIATOR_ERROR)?);
                }
                Received::Declared(Key::TargetName) => target_name = Some(text()?),
                Received::Security(Key::AuthMethod) => method = Some(text()?),
                Received::Security(key) => {
                    keys.add(key, &pair).map_err(|rule| rule.login_status())?;
                }
                _ => {}
            }
        }
        if is_first {
            self.identify(request, target_name, target, out)?;
        }
        let auth = match self.session_type {
            SessionType::Normal => target.config.auth.as_ref(),
            SessionType::Discovery => target.config.discovery_auth.as_ref(),
        };
        let settled = match request.current_stage {
            Stage::SecurityNegotiation => {
                self.authenticate(method, &keys, request, auth, target, out)?
            }
            _ => {
                let proved = self.security == Security::Done;
                if !proved && auth.is_some_and(|auth| !auth.allows_none()) {
                    return Err(LoginStatus::AUTHENTICATION_FAILURE.into());
                }
                self.declare(&limits, out)?
            }
        };
        Ok(request.next_stage.filter(|_| settled))
    }

    /// Who logs in, and to what: checked once, with the first complete request.
    fn identify(
        &self,
        request: &LoginRequest,
        target_name: Option<&str>,
        target: &Target<'_>,
        out: &mut Writer<'_>,
    ) -> Result<(), Answer> {
        let session_type = self.session_type;
        let Some(initiator) = &self.initiator else {
            return Err(LoginStatus::MISSING_PARAMETER.into());
        };
        if let Some(status) = target.quirks.refuse_login {
            return Err(status.into());
        }
        let config = target.config;
        match target_name {
            Some(name) if name != config.name.as_str() => return Err(LoginStatus::NOT_FOUND.into()),
            None if session_type == SessionType::Normal => {
                return Err(LoginStatus::MISSING_PARAMETER.into());
            }
            _ => {}
        }
        if session_type == SessionType::Normal
            && let Some((portal, permanent)) = &target.quirks.redirect
        {
            out.display(Key::TargetAddress.name(), portal)?;
            return Err(Answer::Redirect(match permanent {
                true => LoginStatus::TARGET_MOVED_PERMANENTLY,
                false => LoginStatus::TARGET_MOVED_TEMPORARILY,
            }));
        }
        if request.tsih != 0 {
            if session_type == SessionType::Discovery {
                return Err(LoginStatus::SESSION_DOES_NOT_EXIST.into());
            }
            target.check_tsih(initiator, request.isid, request.tsih, request.cid)?;
        }
        if session_type == SessionType::Normal {
            let tag = config.target_portal_group_tag;
            out.number(Key::TargetPortalGroupTag.name(), tag.into())?;
        }
        if let Some(alias) = &config.alias {
            out.text(Key::TargetAlias.name(), alias)?;
        }
        Ok(())
    }

    /// One step of the security stage. Whether the stage may be left.
    fn authenticate(
        &mut self,
        method: Option<&str>,
        keys: &ChapKeys<'_>,
        request: &LoginRequest,
        auth: Option<&Chap>,
        target: &mut Target<'_>,
        out: &mut Writer<'_>,
    ) -> Result<bool, Answer> {
        let none_accepted = auth.is_none_or(Chap::allows_none);
        if let Security::Method { proposed } = self.security {
            let Some(offer) = method else {
                if !keys.is_empty() {
                    return Err(LoginStatus::INITIATOR_ERROR.into());
                }
                if none_accepted {
                    // Nothing to negotiate is fine if the initiator wants to go on.
                    return Ok(request.next_stage.is_some());
                }
                if proposed {
                    return Err(LoginStatus::AUTHENTICATION_FAILURE.into());
                }
                out.text(Key::AuthMethod.name(), CHAP)?;
                self.security = Security::Method { proposed: true };
                return Ok(false);
            };
            let accepted = |method: &str| match method {
                CHAP => auth.is_some(),
                NONE => none_accepted,
                _ => false,
            };
            let chosen = value::list(offer).find(|method| accepted(method));
            let chosen = chosen.ok_or(LoginStatus::AUTHENTICATION_FAILURE)?;
            if !proposed {
                out.text(Key::AuthMethod.name(), chosen)?;
            }
            self.security = if chosen == CHAP { Security::Algorithm } else { Security::Done };
            if self.security == Security::Algorithm && keys.is_empty() {
                return Ok(false);
            }
        } else if method.is_some() {
            return Err(LoginStatus::INITIATOR_ERROR.into());
        }
        let (Some(auth), Some(chap)) = (auth, &mut self.chap) else {
            // Without CHAP there is nothing to be said but to go on.
            return match keys.is_empty() {
                true => Ok(self.security == Security::Done),
                false => Err(LoginStatus::INITIATOR_ERROR.into()),
            };
        };
        match self.security {
            Security::Algorithm => {
                chap.challenge(keys, auth.algorithms(), &mut target.recent, out)
                    .map_err(|rule| rule.login_status())?;
                self.security = Security::Proof;
                Ok(false)
            }
            Security::Proof => {
                let user = chap.user(keys).map_err(|rule| rule.login_status())?;
                if user != auth.user() {
                    return Err(LoginStatus::AUTHENTICATION_FAILURE.into());
                }
                let own = auth.mutual().map(|mutual| {
                    (mutual.user().unwrap_or(target.config.name.as_str()), mutual.secret())
                });
                chap.verify(keys, auth.secret(), own, &target.recent, out)
                    .map_err(|rule| rule.login_status())?;
                self.security = Security::Done;
                Ok(true)
            }
            Security::Method { .. } | Security::Done => match keys.is_empty() {
                true => Ok(true),
                false => Err(LoginStatus::INITIATOR_ERROR.into()),
            },
        }
    }

    /// Tells the own parameters, once. Whether the stage may be left: not while an answer is owed.
    fn declare(&mut self, limits: &Limits, out: &mut Writer<'_>) -> Result<bool, Answer> {
        let Some(negotiation) = &mut self.negotiation else { return Ok(true) };
        if self.declared {
            return Ok(true);
        }
        self.declared = true;
        negotiation.offer(Key::MaxRecvDataSegmentLength, out)?;
        let mut settled = true;
        for (key, digests) in
            [(Key::HeaderDigest, &limits.header_digest), (Key::DataDigest, &limits.data_digest)]
        {
            // Without an offer the default would hold, which is no digest.
            let required = !digests.is_empty() && !digests.contains(DigestKind::None);
            if required && !negotiation.is_settled(key) && negotiation.offer(key, out)? {
                settled = false;
            }
        }
        Ok(settled)
    }
}

const CHAP: &str = "CHAP";
const NONE: &str = "None";

/// The type of the session that the first request asks for.
fn session_type(text: &[u8]) -> Result<SessionType, LoginStatus> {
    for pair in Pairs::new(text).flatten() {
        if pair.key == Key::SessionType.name() {
            return match pair.value {
                b"Normal" => Ok(SessionType::Normal),
                b"Discovery" => Ok(SessionType::Discovery),
                _ => Err(LoginStatus::SESSION_TYPE_NOT_SUPPORTED),
            };
        }
    }
    Ok(SessionType::Normal)
}
