//! The login as a [`ScriptedTarget`] sees it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::rng::Rng;
use super::scripted::ScriptedTarget;
use crate::auth::{
    Chap, ChapAlgorithms, ChapInitiator, ChapKeys, ChapVerifier, Entropy, RecentChallenges, Secret,
};
use crate::text::{
    Key, Negotiated, Negotiation, Pairs, Phase, Received, Role, SessionType, Writer,
};
use crate::wire::{LoginOutcome, LoginProgress, LoginRequest, LoginResponse, LoginStatus, Stage};

/// What a [`ScriptedTarget`] demands of an initiator, and how it proves itself.
///
/// ```
/// use iscsi_core::auth::Secret;
/// use iscsi_core::testing::TargetChap;
/// let chap = TargetChap::new(Secret::new("initiator-secret").unwrap());
/// assert!(chap.own.is_none());
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetChap {
    /// What the initiator must know.
    pub secret: Secret,
    /// The target's name and secret, for initiators that ask for its proof.
    pub own: Option<(String, Secret)>,
    /// The algorithms that it takes.
    pub algorithms: ChapAlgorithms,
}

impl TargetChap {
    /// One-way CHAP with every algorithm.
    pub fn new(secret: Secret) -> Self {
        Self { secret, own: None, algorithms: ChapAlgorithms::available() }
    }
}

/// Where the security stage stands.
#[derive(Debug)]
enum Auth {
    /// No method is agreed.
    Start,
    /// CHAP is agreed, CHAP_A is to come.
    Agreed,
    /// The challenge was sent.
    Challenged(ChapVerifier),
    Done,
}

/// The login of one connection.
#[derive(Debug)]
pub(super) struct LoginState {
    negotiation: Option<Negotiation>,
    /// What was agreed upon, until the last response is on its way.
    agreed: Option<Negotiated>,
    auth: Auth,
    /// Text of requests with C set.
    text: Vec<u8>,
    /// The text of the last response as it was written, and as the script let it out.
    written: Vec<u8>,
    pub(super) sent: Option<Vec<u8>>,
    challenges: RecentChallenges,
    logins: u64,
}

impl LoginState {
    pub(super) const NEW: Self = Self {
        negotiation: None,
        agreed: None,
        auth: Auth::Start,
        text: Vec::new(),
        written: Vec::new(),
        sent: None,
        challenges: RecentChallenges::new(),
        logins: 0,
    };

    /// For the next connection.
    pub(super) fn restarted(&self) -> Self {
        let challenges = self.challenges.clone();
        Self { challenges, logins: self.logins + 1, ..Self::NEW }
    }

    pub(super) const fn take_agreed(&mut self) -> Option<Negotiated> {
        self.agreed.take()
    }
}

impl ScriptedTarget {
    /// Answers a Login Request.
    pub(super) fn log_in(&mut self, request: &LoginRequest, text: &[u8]) {
        self.exp_cmd_sn = request.cmd_sn;
        if self.send_part() {
            return;
        }
        self.login.text.extend_from_slice(text);
        if request.is_continued {
            self.send_login(request, None, &[]);
            return;
        }
        let text = core::mem::take(&mut self.login.text);
        self.login_text.clone_from(&text);
        let mut area = [0; 16384];
        let mut out = Writer::new(&mut area);
        match self.negotiate(request, &text, &mut out) {
            Err(status) => self.refuse_login(request, status),
            Ok(ready) => {
                let next = request.next_stage.filter(|_| ready);
                if next == Some(Stage::FullFeaturePhase) {
                    let negotiation = self.login.negotiation.as_ref();
                    let agreed = negotiation.and_then(|n| n.finish().ok());
                    self.login.agreed = Some(agreed.expect("the keys agree"));
                }
                let text = out.written().to_vec();
                self.send_login(request, next, &text);
            }
        }
    }

    /// Reads the text of a whole request and writes the answers. Whether the stage may end.
    fn negotiate(
        &mut self,
        request: &LoginRequest,
        text: &[u8],
        out: &mut Writer<'_>,
    ) -> Result<bool, LoginStatus> {
        let discovery = text.windows(21).any(|w| w == b"SessionType=Discovery");
        let session_type = if discovery { SessionType::Discovery } else { SessionType::Normal };
        let limits = self.limits;
        let negotiation = self
            .login
            .negotiation
            .get_or_insert_with(|| Negotiation::leading(Role::Target, session_type, limits));
        let security = request.current_stage == Stage::SecurityNegotiation;
        let phase = if security { Phase::Security } else { Phase::Operational };
        let mut method = None;
        let mut keys = ChapKeys::default();
        let mut named = false;
        let mut broken = Vec::new();
        for pair in Pairs::new(text) {
            let pair = pair.expect("login text is a list of pairs");
            let received = match negotiation.receive(&pair, phase, out) {
                Ok(received) => received,
                // An answer, perhaps, to what only a script has asked.
                Err(error) => {
                    broken.push(format!("in the login: {error}"));
                    continue;
                }
            };
            match received {
                Received::Security(Key::AuthMethod) => method = pair.text().ok(),
                Received::Security(key) => keys.add(key, &pair).expect("keys of CHAP"),
                Received::Declared(Key::InitiatorName) => named = true,
                _ => {}
            }
        }
        for what in broken {
            self.complain(what);
        }
        let negotiation = self.login.negotiation.as_mut().expect("made above");
        if !security {
            negotiation.offer(Key::MaxRecvDataSegmentLength, out).expect("room");
        }
        let ready = if security {
            self.authenticate(method, &keys, out)?
        } else if self.chap.is_some() && !matches!(self.login.auth, Auth::Done) {
            return Err(LoginStatus::AUTHENTICATION_FAILURE);
        } else {
            true
        };
        if named && !discovery {
            out.number("TargetPortalGroupTag", 1).expect("room");
        }
        Ok(ready)
    }

    /// One step of the security stage. Whether it may end.
    fn authenticate(
        &mut self,
        method: Option<&str>,
        keys: &ChapKeys<'_>,
        out: &mut Writer<'_>,
    ) -> Result<bool, LoginStatus> {
        const FAILURE: LoginStatus = LoginStatus::AUTHENTICATION_FAILURE;
        let Some(chap) = &self.chap else {
            let offers_none = method.is_none_or(|list| list.split(',').any(|m| m == "None"));
            if !offers_none {
                return Err(FAILURE);
            }
            if method.is_some() {
                out.text("AuthMethod", "None").expect("room");
            }
            return Ok(true);
        };
        let login = &mut self.login;
        if let Auth::Start = login.auth {
            match method {
                Some(list) if !list.split(',').any(|m| m == "CHAP") => return Err(FAILURE),
                Some(_) if keys.is_empty() => {
                    out.text("AuthMethod", "CHAP").expect("room");
                    login.auth = Auth::Agreed;
                    return Ok(false);
                }
                // The initiator chose from our offer, and goes on.
                Some(_) => login.auth = Auth::Agreed,
                None => {
                    out.text("AuthMethod", "CHAP").expect("room");
                    return Ok(false);
                }
            }
        }
        match core::mem::replace(&mut login.auth, Auth::Done) {
            Auth::Start => unreachable!("handled above"),
            Auth::Agreed => {
                let mut bytes = [0; 64];
                Rng::new(0xc4a9 + login.logins).fill(&mut bytes);
                let mut verifier = ChapVerifier::new(&Entropy::new(bytes));
                verifier
                    .challenge(keys, &chap.algorithms, &mut login.challenges, out)
                    .map_err(|_| FAILURE)?;
                login.auth = Auth::Challenged(verifier);
                Ok(false)
            }
            Auth::Challenged(_) if login.sent.as_ref() != Some(&login.written) => {
                let own = chap.own.as_ref().map(|(name, secret)| (name.as_str(), secret));
                let (sent, received) =
                    (login.sent.as_deref().unwrap_or_default(), &self.login_text);
                let expected = response_to(sent, sent, "initiator", &chap.secret);
                let given = Pairs::new(received).flatten().find(|p| p.key == Key::ChapR.name());
                if given.is_none_or(|pair| Some(pair.value) != expected.as_deref()) {
                    return Err(FAILURE);
                }
                if let Some((name, secret)) = own
                    && let Some(proof) = response_to(sent, received, name, secret)
                {
                    let proof = core::str::from_utf8(&proof).expect("digits");
                    out.text(Key::ChapN.name(), name).expect("room");
                    out.text(Key::ChapR.name(), proof).expect("room");
                }
                Ok(true)
            }
            Auth::Challenged(verifier) => {
                let own = chap.own.as_ref().map(|(name, secret)| (name.as_str(), secret));
                verifier
                    .verify(keys, &chap.secret, own, &login.challenges, out)
                    .map_err(|_| FAILURE)?;
                Ok(true)
            }
            Auth::Done => Ok(true),
        }
    }

    fn send_login(&mut self, request: &LoginRequest, next: Option<Stage>, text: &[u8]) {
        let progress = LoginProgress {
            current_stage: request.current_stage,
            next_stage: next,
            is_continued: false,
            stat_sn: self.take_stat_sn(),
            exp_cmd_sn: self.exp_cmd_sn,
            max_cmd_sn: self.max_cmd_sn(),
        };
        let done = next == Some(Stage::FullFeaturePhase);
        self.respond(request, LoginOutcome::Proceed(progress), done, text);
    }

    fn refuse_login(&mut self, request: &LoginRequest, status: LoginStatus) {
        self.respond(request, LoginOutcome::Refused(status), false, &[]);
    }

    fn respond(&mut self, request: &LoginRequest, outcome: LoginOutcome, done: bool, text: &[u8]) {
        let response = LoginResponse {
            outcome,
            version_max: 0,
            version_active: 0,
            data_segment_length: 0,
            isid: request.isid,
            tsih: if done { 1 } else { request.tsih },
            initiator_task_tag: request.initiator_task_tag,
        };
        self.login.written = text.to_vec();
        self.login.sent = None;
        self.send(response, text);
    }
}

/// CHAP_R, as it is written, of someone who knows `secret`: with the algorithm of one text, to the challenge in another. `None` if
/// there is no challenge that can be answered.
///
/// For a challenge that a script has made of another, which a [`ChapVerifier`] does not know.
fn response_to(algorithm: &[u8], challenge: &[u8], name: &str, secret: &Secret) -> Option<Vec<u8>> {
    let mut keys = ChapKeys::default();
    for (text, wanted) in [(algorithm, &[Key::ChapA][..]), (challenge, &[Key::ChapI, Key::ChapC])] {
        for pair in Pairs::new(text).flatten() {
            if let Some(key) = Key::from_name(pair.key).filter(|key| wanted.contains(key)) {
                keys.add(key, &pair).ok()?;
            }
        }
    }
    let chap = Chap::new(name, secret.clone()).ok()?;
    let mut area = [0; 1024];
    let mut out = Writer::new(&mut area);
    let mut responder = ChapInitiator::new(&Entropy::new([0x5a; 64]));
    responder.respond(&keys, &chap, &mut RecentChallenges::new(), &mut out).ok()?;
    let response = Pairs::new(out.written()).flatten().find(|p| p.key == Key::ChapR.name())?;
    Some(response.value.to_vec())
}
