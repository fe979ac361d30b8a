//! The environment variables that libiscsi's tools read.

use core::time::Duration;

use iscsi_core::auth::{CredentialsError, Secret};
use iscsi_core::url::UrlCredentials;
use iscsi_runtime_std::{KeepAlive, TcpOptions};

use crate::output::{Outcome, Stop};

/// What the environment says, checked.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    /// Who this is, for all tools: `ISCSI_INITIATOR_NAME`.
    pub(crate) initiator_name: Option<String>,
    /// `LIBISCSI_DEBUG`.
    pub(crate) debug: Option<u8>,
    credentials: UrlCredentials,
    tcp: TcpOptions,
}

impl Environment {
    /// Reads the process's environment.
    pub(crate) fn read() -> Outcome<Self> {
        Self::read_from(|name| match std::env::var(name) {
            Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
            Err(std::env::VarError::NotPresent) => Ok(None),
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(Stop::failed(format!("the environment variable {name} is not UTF-8")))
            }
        })
    }

    fn read_from(get: impl Fn(&str) -> Outcome<Option<String>>) -> Outcome<Self> {
        let secret = |name: &str| match get(name)? {
            None => Ok(None),
            Some(value) => match Secret::new(value) {
                Ok(secret) => Ok(Some(secret)),
                Err(error) => Err(Stop::failed(format!("environment variable {name}: {error}"))),
            },
        };
        let user = |name: &str| match get(name)? {
            None => Ok(None),
            Some(value) => match value.as_str().try_into() {
                Ok(user) => Ok(Some(user)),
                Err(_) => Err(Stop::failed(format!(
                    "environment variable {name}: {}",
                    CredentialsError::UserTooLong
                ))),
            },
        };
        let number = |name: &str, max: u64| match get(name)? {
            None => Ok(None),
            Some(value) => match value.parse::<u64>() {
                Ok(number) if number <= max => Ok(Some(number)),
                _ => Err(Stop::with_remedy(
                    format!("environment variable {name}: {value:?} is no number up to {max}"),
                    format!("unset {name} or correct it"),
                )),
            },
        };
        let mut environment = Self {
            initiator_name: get("ISCSI_INITIATOR_NAME")?,
            debug: number("LIBISCSI_DEBUG", 10)?.and_then(|level| u8::try_from(level).ok()),
            ..Self::default()
        };
        environment.credentials.user = user("LIBISCSI_CHAP_USERNAME")?;
        environment.credentials.password = secret("LIBISCSI_CHAP_PASSWORD")?;
        environment.credentials.target_user = user("LIBISCSI_CHAP_TARGET_USERNAME")?;
        environment.credentials.target_password = secret("LIBISCSI_CHAP_TARGET_PASSWORD")?;

        let tcp = &mut environment.tcp;
        let day = 24 * 60 * 60;
        tcp.user_timeout =
            number("LIBISCSI_TCP_USER_TIMEOUT", day * 1000)?.map(Duration::from_millis);
        let idle = number("LIBISCSI_TCP_KEEPIDLE", day)?;
        let interval = number("LIBISCSI_TCP_KEEPINTVL", day)?;
        let count = number("LIBISCSI_TCP_KEEPCNT", 127)?;
        if idle.is_some() || interval.is_some() || count.is_some() {
            let default = KeepAlive::default();
            tcp.keepalive = Some(KeepAlive {
                idle: idle.map_or(default.idle, Duration::from_secs),
                interval: interval.map_or(default.interval, Duration::from_secs),
                count: count.and_then(|n| u32::try_from(n).ok()).unwrap_or(default.count),
            });
        }
        tcp.attempt_timeout = number("LIBISCSI_TCP_SYNCNT", 15)?
            .and_then(|retries| u8::try_from(retries).ok())
            .map(TcpOptions::syn_retries);
        if let Some(names) = get("LIBISCSI_BIND_INTERFACES")? {
            tcp.interfaces =
                names.split(',').filter(|name| !name.is_empty()).map(String::from).collect();
        }
        Ok(environment)
    }

    /// Settings of the sockets.
    pub(crate) const fn tcp(&self) -> &TcpOptions {
        &self.tcp
    }

    /// Fills in what a URL does not say. A user in the URL makes the environment's user void, and its password with it unless the
    /// user is the same: a password belongs to a user.
    pub(crate) fn complete(&self, credentials: &mut UrlCredentials) {
        let own = &self.credentials;
        fill((&mut credentials.user, &mut credentials.password), (&own.user, &own.password));
        // Without a user of this side nobody asks the target for anything.
        if credentials.user.is_some() {
            let target = (&mut credentials.target_user, &mut credentials.target_password);
            fill(target, (&own.target_user, &own.target_password));
        }
    }
}

fn fill<U: Clone + PartialEq>(
    url: (&mut Option<U>, &mut Option<Secret>),
    own: (&Option<U>, &Option<Secret>),
) {
    let (user, password) = url;
    if user.is_none() && password.is_none() {
        user.clone_from(own.0);
        password.clone_from(own.1);
    } else if password.is_none() && (own.0.is_none() || user == own.0) {
        password.clone_from(own.1);
    }
}

#[cfg(test)]
mod tests {
    use iscsi_core::url::PortalUrl;

    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Outcome<Environment> {
        Environment::read_from(|name| {
            Ok(variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).into()))
        })
    }

    fn credentials(url: &str, variables: &[(&str, &str)]) -> UrlCredentials {
        let mut credentials = PortalUrl::parse(url).unwrap().credentials;
        environment(variables).unwrap().complete(&mut credentials);
        credentials
    }

    const ALICE: [(&str, &str); 2] =
        [("LIBISCSI_CHAP_USERNAME", "alice"), ("LIBISCSI_CHAP_PASSWORD", "secret-of-alice")];

    #[test]
    fn the_url_wins() {
        let found = credentials("iscsi://h", &ALICE);
        assert_eq!(found.user.as_deref(), Some("alice"));
        assert_eq!(found.password, Secret::new("secret-of-alice").ok());
        let found = credentials("iscsi://bob%other@h", &ALICE);
        assert_eq!(found.user.as_deref(), Some("bob"));
        assert_eq!(found.password, Secret::new("other").ok());
        let found = credentials("iscsi://bob@h", &ALICE);
        assert_eq!(found.password, None, "alice's password is not bob's");
        let found = credentials("iscsi://alice@h", &ALICE);
        assert_eq!(found.password, Secret::new("secret-of-alice").ok());
        let found = credentials("iscsi://bob@h", &ALICE[1..]);
        assert_eq!(found.password, Secret::new("secret-of-alice").ok());
    }

    #[test]
    fn mutual_credentials_need_a_user() {
        let target = [
            ("LIBISCSI_CHAP_TARGET_USERNAME", "disk"),
            ("LIBISCSI_CHAP_TARGET_PASSWORD", "secret-of-disk"),
        ];
        let found = credentials("iscsi://h", &target);
        assert_eq!((found.target_user, found.target_password), (None, None));
        let found = credentials("iscsi://alice%x@h", &target);
        assert_eq!(found.target_user.as_deref(), Some("disk"));
        assert_eq!(found.target_password, Secret::new("secret-of-disk").ok());
    }

    #[test]
    fn socket_options() {
        let environment = environment(&[
            ("LIBISCSI_TCP_USER_TIMEOUT", "1500"),
            ("LIBISCSI_TCP_KEEPCNT", "5"),
            ("LIBISCSI_TCP_KEEPIDLE", "60"),
            ("LIBISCSI_TCP_SYNCNT", "2"),
            ("LIBISCSI_BIND_INTERFACES", "eth0,eth1"),
            ("LIBISCSI_DEBUG", "6"),
        ])
        .unwrap();
        let tcp = environment.tcp();
        assert_eq!(tcp.user_timeout, Some(Duration::from_millis(1500)));
        let keepalive = tcp.keepalive.unwrap();
        assert_eq!((keepalive.count, keepalive.idle), (5, Duration::from_secs(60)));
        assert_eq!(keepalive.interval, KeepAlive::default().interval);
        assert_eq!(tcp.attempt_timeout, Some(Duration::from_secs(7)));
        assert_eq!(tcp.interfaces, ["eth0", "eth1"]);
        assert_eq!(environment.debug, Some(6));
    }

    #[test]
    fn nonsense_is_named() {
        for variable in [("LIBISCSI_DEBUG", "much"), ("LIBISCSI_TCP_KEEPCNT", "-1")] {
            let Err(Stop::Failed { message, .. }) = environment(&[variable]) else { panic!() };
            assert!(message.contains(variable.0) && message.contains(variable.1), "{message}");
        }
    }
}
