//! The login phase on the wire: requests from the stage machine into the ring, text of responses back to it.

use super::ring::{Body, Draft, NoBuffer};
use super::{Connection, ConnectionState, RECEIVE_AREA};
use crate::Instant;
use crate::auth::Entropy;
use crate::buffers::Buffers;
use crate::digest::DigestKind;
use crate::error::{LostReason, ProtocolError};
use crate::login::{Identity, Login, Step};
use crate::session::{Core, Session};
use crate::wire::{BHS_LEN, LoginOutcome, LoginResponse};

impl Connection {
    pub(super) fn start_login(
        &mut self,
        identity: Identity,
        session: &mut Session,
        entropy: Entropy,
        now: Instant,
    ) {
        self.core.login = Login::new(identity, entropy);
        let area = self.control.get_mut(RECEIVE_AREA..).unwrap_or_default();
        match self.core.login.start(session.config(), area) {
            Ok(request) => self.core.login_out = Some(request),
            Err(error) => self.fail(ProtocolError::Login(error).into(), session, now),
        }
    }

    /// Freezes the Login Request that waits, if one does.
    pub(super) fn fill_login(&mut self, buffers: &(impl Buffers + ?Sized)) -> Result<(), NoBuffer> {
        if self.core.ring.is_full() {
            return Ok(());
        }
        let Some(request) = self.core.login_out.take() else { return Ok(()) };
        let header = self.core.login.header(&request);
        let body_len = header.data_segment_length;
        let body = Body::Control { at: request.text.start as u16 };
        let body = if body_len > 0 { body } else { Body::None };
        let mut bhs = [0; BHS_LEN];
        header.emit(&mut bhs);
        self.freeze(&Draft { bhs: &bhs, task: None, ahs: &[], body, body_len }, buffers)
    }

    pub(super) fn login_response(
        &mut self,
        response: &LoginResponse,
        session: &mut Session,
        now: Instant,
    ) -> Result<(), LostReason> {
        self.core.login_text += response.data_segment_length as usize;
        let (received, transmit) = self.control.split_at_mut(RECEIVE_AREA.min(self.control.len()));
        let text = received.get(..self.core.login_text).unwrap_or_default();
        let Core { config, challenges, .. } = &mut session.core;
        let step = self
            .core
            .login
            .response(response, text, config, challenges, transmit)
            .map_err(ProtocolError::Login)?;
        let continued = matches!(
            &response.outcome,
            LoginOutcome::Proceed(progress) if progress.is_continued
        );
        if !continued {
            self.core.login_text = 0;
        }
        match step {
            Step::Send(request) => {
                self.core.login_out = Some(request);
                Ok(())
            }
            Step::Done { negotiated, tsih } => {
                // Targets leave the counters empty in earlier responses.
                if let LoginOutcome::Proceed(progress) = &response.outcome {
                    session.core.window.update(progress.exp_cmd_sn, progress.max_cmd_sn);
                    let ours = session.core.window.cmd_sn;
                    self.core.doubted = (progress.exp_cmd_sn != ours).then_some(ours);
                }
                self.full_feature(&negotiated);
                session.logged_in(negotiated, tsih, now);
                self.heard(session, now);
                if self.core.doubted.is_some() {
                    // Counters that acknowledge what was never sent are ignored, and the window stays closed; counters behind ours wait for what
                    // will never be sent. The echo of a ping brings others.
                    self.ping(session);
                }
                Ok(())
            }
            Step::Redirect { permanent } => {
                let Some(portal) = self.core.login.redirect().cloned() else {
                    return Err(LostReason::RedirectFailed);
                };
                self.close();
                session.redirected(portal, permanent, now);
                Ok(())
            }
            Step::Refused(status) => Err(LostReason::LoginRefused(status)),
        }
    }

    fn full_feature(&mut self, negotiated: &crate::Negotiated) {
        let core = &mut self.core;
        core.state = ConnectionState::FullFeature;
        core.exp_stat_sn = core.login.exp_stat_sn();
        core.recovery.enable(negotiated.error_recovery_level > 0);
        core.timers.login = None;
        core.max_send = negotiated.target_max_recv_data_segment_length;
        let header_digest = negotiated.header_digest == DigestKind::Crc32c;
        let data_digest = negotiated.data_digest == DigestKind::Crc32c;
        core.ring.header_digest = header_digest;
        core.ring.data_digest = data_digest;
        core.rx.header_digest = header_digest;
        core.rx.data_digest = data_digest;
        core.rx.max_segment = negotiated.initiator_max_recv_data_segment_length;
    }
}
