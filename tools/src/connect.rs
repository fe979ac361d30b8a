//! From a URL to a session, with the environment and the options in between.

use core::fmt;
use core::time::Duration;
use std::io::Write;

use iscsi_core::auth::{Chap, CredentialsError};
use iscsi_core::config::{Recovery, Timeouts};
use iscsi_core::login::LoginError;
use iscsi_core::text::{Key, KeyError, KeyRule};
use iscsi_core::url::{IscsiUrl, PortalUrl, UrlCredentials, UrlError};
use iscsi_core::wire::{Bhs, Pretty};
use iscsi_core::{
    Config, ConfigBuilder, Direction, IscsiName, LostReason, Portal, ProtocolError, Trace,
};
use iscsi_runtime_std::{Client, Discovery, Error, LoginFailure, Options, Watch, discover};

use crate::args::{Common, Negotiation};
use crate::env::Environment;
use crate::output::{Outcome, Stop, complain};
use crate::unit::Unit;

/// From this debug level on PDUs are printed.
const TRACE_LEVEL: u8 = 6;

/// Everything that sessions of one run have in common.
#[derive(Debug)]
pub(crate) struct Setup {
    tool: &'static str,
    name: IscsiName,
    negotiation: Negotiation,
    timeouts: Timeouts,
    recovery: Recovery,
    environment: Environment,
    options: Options,
    debug: u8,
}

impl Setup {
    /// From the options and the environment. Unless it is told otherwise a tool calls itself as libiscsi's tool of that name does:
    /// targets may have been told to let that name in.
    pub(crate) fn new(
        tool: &'static str,
        common: &Common,
        negotiation: &Negotiation,
    ) -> Outcome<Self> {
        let environment = Environment::read()?;
        let default = format!("iqn.2007-10.com.github:sahlberg:libiscsi:{tool}");
        let name = common.initiator_name.as_ref().or(environment.initiator_name.as_ref());
        let name = name.unwrap_or(&default);
        let name = IscsiName::from_typed(name).map_err(|error| {
            let remedy = "a name looks like iqn.2001-04.com.example:host, eui. and 16 hex digits, or naa. and 16 or 32";
            Stop::with_remedy(format!("initiator name {name:?}: {error}"), remedy)
        })?;
        let debug = common.debug.or(environment.debug).unwrap_or(0);
        let mut options = Options::default();
        options.tcp = environment.tcp().clone();
        options.trace = (debug >= TRACE_LEVEL).then_some(trace);
        let timeouts = match common.timeout {
            None => Timeouts::DEFAULT,
            Some(time) => Timeouts {
                connect: time,
                login: time,
                command: Some(time),
                task_management: time,
                text: time,
                logout: time,
                nop_interval: Timeouts::DEFAULT.nop_interval,
                nop_timeout: time,
                progress: time,
                verify: time,
            },
        };
        let negotiation = negotiation.clone();
        let recovery = Recovery::NEVER;
        Ok(Self { tool, name, negotiation, timeouts, recovery, environment, options, debug })
    }

    /// The settings of the runtime, to be changed.
    pub(crate) const fn options_mut(&mut self) -> &mut Options {
        &mut self.options
    }

    /// How long sessions try to replace a connection that is lost, and who is told of each step.
    pub(crate) fn set_recovery(&mut self, time: Duration, watch: Watch) {
        self.recovery = if time.is_zero() { Recovery::NEVER } else { Recovery::lasting(time) };
        self.options.watch = Some(watch);
    }

    /// The name to log in with.
    pub(crate) const fn name(&self) -> &IscsiName {
        &self.name
    }

    /// The time limits.
    pub(crate) const fn timeouts(&self) -> Timeouts {
        self.timeouts
    }

    /// What sees every PDU, if somebody wants to.
    pub(crate) const fn trace(&self) -> Option<Trace> {
        self.options.trace
    }

    /// Asks a portal for its targets.
    pub(crate) fn discover(&self, url: &PortalUrl) -> Outcome<Discovery> {
        let mut builder = url.config(self.name.clone())?;
        if let Some(chap) = url.credentials.chap()? {
            // Many portals have credentials for their targets and none for discovery. Whoever answers in the target's place gains
            // nothing but a wrong list: the sessions with the targets still demand their proof.
            builder = builder.chap(chap.allow_none(true));
        }
        let config = self.config(&builder)?;
        self.say(format_args!("discovery at {}", url.portal));
        let scope = iscsi_core::DiscoveryScope::All;
        discover(config, url.portal.clone(), scope, &self.options)
            .map_err(|error| explain(&error).about(format_args!("discovery at {url}")))
    }

    /// Opens a session with the target of a URL.
    pub(crate) fn open(&self, url: &IscsiUrl) -> Outcome<Unit> {
        let client = self.open_client(url)?;
        let unit = Unit::new(client, url.lun, url.to_string());
        match &url.options.force_usn {
            Some(serial) => unit.with_serial(serial),
            None => Ok(unit),
        }
    }

    /// Opens a session with the target of a URL, whatever its logical units are.
    pub(crate) fn open_client(&self, url: &IscsiUrl) -> Outcome<Client> {
        self.log_in(self.session_config(url)?, &url.portal).map_err(|stop| stop.about(url))
    }

    /// What a session with the target of a URL is configured with.
    pub(crate) fn session_config(&self, url: &IscsiUrl) -> Outcome<Config> {
        let mut builder = url.config(self.name.clone())?;
        if let Some(chap) = url.credentials.chap()? {
            builder = builder.chap(allow_none(chap));
        }
        self.config(&builder)
    }

    /// What sessions of any runtime are opened with.
    pub(crate) const fn options(&self) -> &Options {
        &self.options
    }

    /// Opens a session with a discovered target, with the credentials that discovery was made with.
    pub(crate) fn open_target(
        &self,
        target: IscsiName,
        portal: &Portal,
        discovery: &PortalUrl,
    ) -> Outcome<Client> {
        let mut builder = Config::normal(self.name.clone(), target);
        if let Some(chap) = discovery.credentials.chap()? {
            builder = builder.chap(allow_none(chap));
        }
        if let Some(digests) = discovery.options.header_digest {
            builder = builder.header_digest(digests);
        }
        if let Some(digests) = discovery.options.data_digest {
            builder = builder.data_digest(digests);
        }
        let config = self.config(&builder)?;
        self.log_in(config, portal)
    }

    /// Reads the URL of a portal, with the environment's credentials where it has none.
    pub(crate) fn portal_url(&self, text: &str) -> Outcome<PortalUrl> {
        let mut url = PortalUrl::parse(text).map_err(|error| {
            wrong_url(text, error, "a portal's URL is iscsi://[user[%password]@]host[:port]")
        })?;
        self.complete(&mut url.credentials)?;
        Ok(url)
    }

    /// Reads the URL of a logical unit.
    pub(crate) fn unit_url(&self, text: &str) -> Outcome<IscsiUrl> {
        let mut url = IscsiUrl::parse(text).map_err(|error| {
            let form = "a unit's URL is iscsi://[user[%password]@]host[:port]/target/lun";
            wrong_url(text, error, form)
        })?;
        self.complete(&mut url.credentials)?;
        Ok(url)
    }

    fn complete(&self, credentials: &mut UrlCredentials) -> Outcome<()> {
        self.environment.complete(credentials);
        // What is missing or does not fit is said before anything is connected.
        credentials.chap()?;
        Ok(())
    }

    fn config(&self, builder: &ConfigBuilder) -> Outcome<Config> {
        let builder = self.negotiation.apply(builder.clone());
        let builder = builder.timeouts(self.timeouts).recovery(self.recovery);
        let config = builder.build()?;
        for notice in config.notices() {
            self.say(format_args!("note: {notice}"));
        }
        Ok(config)
    }

    fn log_in(&self, config: Config, portal: &Portal) -> Outcome<Client> {
        self.say(format_args!("connecting to {portal} as {}", self.name));
        let who = config.chap().map(|chap| {
            let demand = if chap.mutual().is_some() {
                ", which wants the target to prove itself"
            } else {
                ""
            };
            format!("CHAP user {:?}{demand}", chap.user())
        });
        let client = Client::connect_with(config, portal.clone(), &self.options).map_err(
            |error| match (&error, who) {
                (Error::Login(LoginFailure::CredentialsRefused(_)), Some(who)) => {
                    explain(&error).about(who)
                }
                _ => explain(&error),
            },
        )?;
        let negotiated = client.negotiated();
        self.say(format_args!("logged in: {}", Parameters(negotiated)));
        Ok(client)
    }

    /// Prints what happens, if that was asked for.
    fn say(&self, message: fmt::Arguments<'_>) {
        if self.debug > 0 {
            complain(self.tool, message);
        }
    }
}

/// Like libiscsi, lets a target in that asks for no credentials although there are some, unless it is to prove who it is.
fn allow_none(chap: Chap) -> Chap {
    let one_way = chap.mutual().is_none();
    chap.allow_none(one_way)
}

/// The negotiated parameters in one line, by their names in RFC 7143.
pub(crate) struct Parameters<'a>(pub(crate) &'a iscsi_core::Negotiated);

impl fmt::Display for Parameters<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let p = self.0;
        let yes_no = |yes| if yes { "Yes" } else { "No" };
        let (header, data) = (p.header_digest.as_str(), p.data_digest.as_str());
        write!(f, "HeaderDigest={header} DataDigest={data}")?;
        write!(f, " ImmediateData={}", yes_no(p.immediate_data))?;
        write!(f, " InitialR2T={}", yes_no(p.initial_r2t))?;
        write!(f, " FirstBurstLength={}", p.first_burst_length)?;
        write!(f, " MaxBurstLength={}", p.max_burst_length)?;
        write!(f, " MaxRecvDataSegmentLength={}", p.initiator_max_recv_data_segment_length)?;
        write!(f, " (target {})", p.target_max_recv_data_segment_length)?;
        write!(f, " MaxOutstandingR2T={}", p.max_outstanding_r2t)
    }
}

/// Prints the header of a PDU.
fn trace(direction: Direction, bhs: &Bhs) {
    let arrow = match direction {
        Direction::Sent => "->",
        Direction::Received => "<-",
    };
    let _ = writeln!(std::io::stderr(), "{arrow} {}", Pretty::new(bhs));
}

fn wrong_url(text: &str, error: UrlError, form: &str) -> Stop {
    Stop::with_remedy(error.show(text).to_string(), form)
}

impl From<CredentialsError> for Stop {
    fn from(error: CredentialsError) -> Self {
        Self::with_remedy(error.to_string(), CREDENTIALS)
    }
}

impl From<iscsi_core::ConfigError> for Stop {
    fn from(error: iscsi_core::ConfigError) -> Self {
        Self::failed(error.to_string())
    }
}

const CREDENTIALS: &str = "credentials stand in the URL (iscsi://user%password@host/..., for the target \
                           ?target_user=...&target_password=...) or in LIBISCSI_CHAP_USERNAME, _PASSWORD, \
                           _TARGET_USERNAME and _TARGET_PASSWORD";

/// A failure of the runtime, with what can be done about it.
pub(crate) fn explain(error: &Error) -> Stop {
    let remedy = match error {
        Error::Connect(_) => {
            "check host and port (3260 unless the URL names one), and that the target is running"
        }
        Error::Login(
            LoginFailure::CredentialsMissing(_)
            | LoginFailure::CredentialsRefused(_)
            | LoginFailure::TargetSecret(_)
            | LoginFailure::TargetUser
            | LoginFailure::TargetUnproven(_),
        ) => CREDENTIALS,
        Error::Login(LoginFailure::NotAllowed(_)) => {
            "the target lets only certain initiators in: name one with -i or ISCSI_INITIATOR_NAME"
        }
        Error::Login(LoginFailure::NoSuchTarget(_)) => "iscsi-ls shows the targets of a portal",
        Error::Login(LoginFailure::Protocol(LoginError::Key(KeyError {
            key: Some(Key::HeaderDigest | Key::DataDigest),
            rule: KeyRule::NotOffered,
        }))) => {
            "the target wants another digest, probably none: crc32c,none accepts that (--header-digest, --data-digest)"
        }
        Error::Login(LoginFailure::Protocol(LoginError::Key(_)))
        | Error::Lost(LostReason::Protocol(ProtocolError::Login(LoginError::Key(_)))) => {
            "the target broke a rule of the negotiation; other values may spare it that (--help, Negotiation)"
        }
        Error::GaveUp(_) => "check the network and the target; --retry-for SECONDS waits longer",
        Error::Lost(LostReason::TimedOut(_)) => "--timeout SECONDS allows more time",
        _ => return Stop::failed(error.to_string()),
    };
    Stop::with_remedy(error.to_string(), remedy)
}

#[cfg(test)]
mod tests {
    use iscsi_core::login::LoginRule;

    use super::*;

    #[test]
    fn what_another_offer_may_mend_is_explained() {
        let remedy = |error| match explain(&Error::Login(LoginFailure::Protocol(error))) {
            Stop::Failed { remedy, .. } => remedy.unwrap_or_default(),
            Stop::Unread => panic!(),
        };
        let not_offered =
            |key| LoginError::Key(KeyError { key: Some(key), rule: KeyRule::NotOffered });
        assert!(remedy(not_offered(Key::HeaderDigest)).contains("crc32c,none"));
        assert!(remedy(not_offered(Key::DataDigest)).contains("crc32c,none"));
        assert!(remedy(not_offered(Key::AuthMethod)).contains("broke a rule"));
        assert_eq!(remedy(LoginError::Rule(LoginRule::TsihZero)), "");
    }
}
