//! A login with a scripted target.

use iscsi_core::auth::{Entropy, RecentChallenges};
use iscsi_core::config::ConfigBuilder;
use iscsi_core::login::{Identity, Login, LoginError, Request, Step};
use iscsi_core::wire::{Isid, LoginOutcome, LoginProgress, LoginResponse, LoginStatus, Stage};
use iscsi_core::{CmdSn, Config, InitiatorTaskTag, IscsiName, Negotiated, StatSn};

pub(crate) const SECURITY: Stage = Stage::SecurityNegotiation;
pub(crate) const OPERATIONAL: Stage = Stage::LoginOperationalNegotiation;
pub(crate) const FULL_FEATURE: Stage = Stage::FullFeaturePhase;

/// The initiator's entropy, all bytes the same.
pub(crate) const ENTROPY: u8 = 0x5a;

pub(crate) fn name(name: &str) -> IscsiName {
    IscsiName::new(name).unwrap()
}

pub(crate) fn normal() -> ConfigBuilder {
    Config::normal(name("iqn.2001-04.com.example:host"), name("iqn.2001-04.com.example:disk"))
}

pub(crate) fn identity() -> Identity {
    Identity {
        isid: Isid::random(0x12_3456, 7),
        tsih: 0,
        cid: 0,
        cmd_sn: CmdSn(100),
        initiator_task_tag: InitiatorTaskTag(5),
    }
}

/// One login, the text of its last request, and the next StatSN of the target.
pub(crate) struct Script {
    pub(crate) login: Login,
    pub(crate) config: Config,
    pub(crate) recent: RecentChallenges,
    pub(crate) stat_sn: u32,
    pub(crate) request: Request,
    /// The text of the last request, `;` standing for the zero byte.
    pub(crate) sent: String,
    area: Vec<u8>,
}

impl Script {
    /// Starts a login for a new session.
    pub(crate) fn start(config: Config) -> Self {
        let login = Login::new(identity(), Entropy::new([ENTROPY; 64]));
        Self::start_with(login, config, 65_536 + 8192)
    }

    pub(crate) fn start_with(mut login: Login, config: Config, area: usize) -> Self {
        let mut area = vec![0; area];
        let request = login.start(&config, &mut area).unwrap();
        let sent = readable(&area[request.text.clone()]);
        let recent = RecentChallenges::new();
        Self { login, config, recent, stat_sn: 0x1000, request, sent, area }
    }

    /// A response that fits the last request.
    pub(crate) fn fitting(&self, next_stage: Option<Stage>) -> LoginResponse {
        let identity = self.login.identity();
        LoginResponse {
            outcome: LoginOutcome::Proceed(LoginProgress {
                current_stage: self.request.current_stage,
                next_stage,
                is_continued: false,
                stat_sn: StatSn(self.stat_sn),
                exp_cmd_sn: identity.cmd_sn,
                max_cmd_sn: identity.cmd_sn.plus(31),
            }),
            version_max: 0,
            version_active: 0,
            data_segment_length: 0,
            isid: identity.isid,
            tsih: if next_stage == Some(FULL_FEATURE) { 9 } else { identity.tsih },
            initiator_task_tag: identity.initiator_task_tag,
        }
    }

    /// Hands `response` with `text` to the login.
    pub(crate) fn take(&mut self, response: LoginResponse, text: &str) -> Result<Step, LoginError> {
        self.take_bytes(response, text.replace(';', "\0").as_bytes())
    }

    pub(crate) fn take_bytes(
        &mut self,
        response: LoginResponse,
        text: &[u8],
    ) -> Result<Step, LoginError> {
        let Self { login, config, recent, area, .. } = self;
        let step = login.response(&response, text, config, recent, area)?;
        self.stat_sn = self.stat_sn.wrapping_add(1);
        if let Step::Send(request) = &step {
            self.sent = readable(&self.area[request.text.clone()]);
            self.request = request.clone();
        }
        Ok(step)
    }

    /// A fitting answer; the request that follows is in `request` and `sent`.
    pub(crate) fn answer(
        &mut self,
        next_stage: Option<Stage>,
        text: &str,
    ) -> Result<Step, LoginError> {
        self.take(self.fitting(next_stage), text)
    }

    /// A fitting answer with C=1, of which `text` is what came up to now.
    pub(crate) fn continued(&mut self, text: &str) -> Result<Step, LoginError> {
        let mut response = self.fitting(None);
        if let LoginOutcome::Proceed(progress) = &mut response.outcome {
            progress.is_continued = true;
        }
        self.take(response, text)
    }

    /// A refusal.
    pub(crate) fn refuse(&mut self, class: u8, detail: u8, text: &str) -> Result<Step, LoginError> {
        let mut response = self.fitting(None);
        response.outcome = LoginOutcome::Refused(LoginStatus { class, detail });
        self.take(response, text)
    }

    /// Ends the operational stage with this text.
    pub(crate) fn done(&mut self, text: &str) -> Negotiated {
        match self.answer(Some(FULL_FEATURE), text) {
            Ok(Step::Done { negotiated, tsih: 9 }) => negotiated,
            other => panic!("{other:?}"),
        }
    }
}

/// Text with `;` in place of zero bytes.
pub(crate) fn readable(text: &[u8]) -> String {
    String::from_utf8(text.to_vec()).unwrap().replace('\0', ";")
}
