//! The security stage: AuthMethod and the steps of CHAP (RFC 7143 section 12.1).

use crate::auth::{AuthRule, Chap, ChapInitiator, ChapKeys, RecentChallenges};
use crate::config::{Config, SecurityStart};
use crate::text::{Key, Writer, value};

const CHAP: &str = "CHAP";
const NONE: &str = "None";

/// Where the security stage stands.
#[derive(Debug, Clone)]
pub(super) struct Security {
    state: State,
    chap: ChapInitiator,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No AuthMethod is agreed.
    Method,
    /// CHAP_A was sent.
    Challenge,
    /// CHAP_R was sent.
    Proof,
    /// Done: CHAP was completed.
    Authenticated,
    /// Done: AuthMethod=None.
    Unauthenticated,
}

impl Security {
    pub(super) const fn new(chap: ChapInitiator) -> Self {
        Self { state: State::Method, chap }
    }

    pub(super) const fn is_authenticated(&self) -> bool {
        matches!(self.state, State::Authenticated)
    }

    /// Writes the AuthMethod offer.
    pub(super) fn start(&self, config: &Config, out: &mut Writer<'_>) -> Result<(), AuthRule> {
        if config.security_start() == SecurityStart::AwaitOffer {
            return Ok(());
        }
        let methods: &[&str] = match config.chap() {
            None => &[NONE],
            Some(chap) if chap.allows_none() => &[CHAP, NONE],
            Some(_) => &[CHAP],
        };
        out.list(Key::AuthMethod.name(), methods).map_err(|_| AuthRule::AnswerTooLong)
    }

    /// Whether the next request may have T=1.
    pub(super) fn may_leave(&self, config: &Config) -> bool {
        match self.state {
            State::Method => none_is_accepted(config),
            State::Challenge => false,
            State::Proof | State::Authenticated | State::Unauthenticated => true,
        }
    }

    /// Takes the security keys of one complete text and writes the next step's. `transit` says that the target leaves the stage with
    /// this response.
    pub(super) fn step(
        &mut self,
        method: Option<&str>,
        keys: &ChapKeys<'_>,
        transit: bool,
        config: &Config,
        recent: &mut RecentChallenges,
        out: &mut Writer<'_>,
    ) -> Result<(), AuthRule> {
        self.state = match (self.state, config.chap()) {
            (State::Method, chap) => {
                keys.only(&[])?;
                self.method(method, transit, chap, config, out)?
            }
            (State::Challenge, Some(chap)) => {
                self.chap.respond(keys, chap, recent, out)?;
                State::Proof
            }
            (State::Proof, Some(chap)) if transit || !keys.is_empty() => {
                self.chap.verify(keys, chap)?;
                State::Authenticated
            }
            // The target takes its time.
            (State::Proof, _) => State::Proof,
            (state, _) => {
                keys.only(&[])?;
                state
            }
        };
        let settled = matches!(self.state, State::Authenticated | State::Unauthenticated);
        if transit && !settled { Err(AuthRule::Skipped) } else { Ok(()) }
    }

    /// The target's AuthMethod, or its absence.
    fn method(
        &self,
        method: Option<&str>,
        transit: bool,
        chap: Option<&Chap>,
        config: &Config,
        out: &mut Writer<'_>,
    ) -> Result<State, AuthRule> {
        let accepted = |method: &str| match method {
            CHAP => chap.is_some(),
            NONE => none_is_accepted(config),
            _ => false,
        };
        let Some(method) = method else {
            return match transit {
                true if none_is_accepted(config) => Ok(State::Unauthenticated),
                true => Err(AuthRule::Skipped),
                false => Ok(State::Method),
            };
        };
        let chosen = if config.security_start() == SecurityStart::AwaitOffer {
            // The target proposes; the answer goes out with the first keys of the method.
            let chosen = value::list(method).find(|method| accepted(method));
            let chosen = chosen.ok_or(AuthRule::NoCommonMethod)?;
            out.text(Key::AuthMethod.name(), chosen).map_err(|_| AuthRule::AnswerTooLong)?;
            chosen
        } else if method == value::Special::Reject.as_str() {
            return Err(AuthRule::MethodRejected);
        } else if accepted(method) {
            method
        } else {
            return Err(AuthRule::MethodNotOffered);
        };
        match chap {
            Some(chap) if chosen == CHAP => {
                self.chap.offer(chap, out)?;
                Ok(State::Challenge)
            }
            _ => Ok(State::Unauthenticated),
        }
    }
}

/// Whether the login may go on without authentication.
fn none_is_accepted(config: &Config) -> bool {
    config.chap().is_none_or(Chap::allows_none)
}
