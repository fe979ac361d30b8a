//! iSCSI URLs: `iscsi://[user[:password]@]host[:port][/target/lun][?arguments]`.
//!
//! The grammar is libiscsi's, read strictly:
//!
//! - Every part may be percent-encoded (`%40` is `@`). The authority ends at the first `/` or `?`; within it the last `@` ends
//!   the user, so a target name may hold an `@`.
//! - User and password are separated by the first `:`, or by the first `%` that two hexadecimal digits do not follow: `user%password@`
//!   means the same as `user:password@`, and `user%40host:password@` is the user `user@host`. A password that
//!   begins with two hexadecimal digits needs the `:`. Behind the separator a `%` always begins an escape.
//! - IPv6 addresses stand in brackets; a portal group tag (`,1`) behind the port is ignored.
//! - The LUN is a decimal number, or `0x` and 16 digits for the eight bytes of any LUN.
//! - Arguments: `target_user`, `target_password`, `header_digest` and `data_digest` (`crc32c` or `none`), `auth` (`md5`,
//!   `sha1`, `sha-256`, `sha3-256`), `force_usn`. Unknown and repeated ones are errors.

mod error;
mod parse;

use core::fmt;

pub use error::{UrlDiagnostic, UrlError, UrlErrorKind};
use heapless::String;

use crate::auth::{Chap, ChapAlgorithms, CredentialsError, MAX_USER_LEN, Secret};
use crate::config::{Config, ConfigBuilder};
use crate::name::IscsiName;
use crate::portal::Portal;
use crate::tag::Lun;
use crate::text::Digests;

/// A URL that names a logical unit.
///
/// It displays without password and arguments.
///
/// ```
/// use iscsi_core::url::IscsiUrl;
///
/// let url = "iscsi://alice%secret-of-alice@[2001:db8::1]/iqn.2001-04.com.example:a@b/7?auth=md5";
/// let url: IscsiUrl = url.parse().unwrap();
/// assert_eq!(url.portal.to_string(), "[2001:db8::1]:3260");
/// assert_eq!(url.target.as_str(), "iqn.2001-04.com.example:a@b");
/// assert_eq!(url.lun.number(), Some(7));
/// assert_eq!(url.credentials.user.as_deref(), Some("alice"));
/// assert_eq!(
///     url.to_string(),
///     "iscsi://alice@[2001:db8::1]:3260/iqn.2001-04.com.example:a@b/7"
/// );
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IscsiUrl {
    /// Where to connect to.
    pub portal: Portal,
    /// The target's name.
    pub target: IscsiName,
    /// The logical unit.
    pub lun: Lun,
    /// User names and passwords.
    pub credentials: UrlCredentials,
    /// The other arguments.
    pub options: UrlOptions,
}

impl IscsiUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`UrlError`] with the part of `url` that is wrong.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        parse::full(url)
    }

    /// Begins the configuration of a session with this URL's target.
    ///
    /// # Errors
    /// [`CredentialsError`] if the credentials are incomplete or contradict each other.
    pub fn config(&self, initiator_name: IscsiName) -> Result<ConfigBuilder, CredentialsError> {
        let builder = Config::normal(initiator_name, self.target.clone());
        configure(builder, &self.credentials, &self.options)
    }
}

impl core::str::FromStr for IscsiUrl {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        Self::parse(url)
    }
}

impl fmt::Display for IscsiUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_authority(f, &self.credentials, &self.portal)?;
        write!(f, "/{}/", Encoded(self.target.as_str()))?;
        match self.lun.number().filter(|number| Lun::new(*number) == Some(self.lun)) {
            Some(number) => write!(f, "{number}"),
            // The number alone would be read as other bytes.
            None => write!(f, "{:#018x}", u64::from_be_bytes(self.lun.to_bytes())),
        }
    }
}

/// A URL that names a portal, for discovery.
///
/// ```
/// use iscsi_core::url::PortalUrl;
/// let url = PortalUrl::parse("iscsi://storage.example.com:3261").unwrap();
/// assert_eq!((url.portal.host(), url.portal.port()), ("storage.example.com", 3261));
/// assert_eq!(url.to_string(), "iscsi://storage.example.com:3261");
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PortalUrl {
    /// Where to connect to.
    pub portal: Portal,
    /// User names and passwords.
    pub credentials: UrlCredentials,
    /// The other arguments.
    pub options: UrlOptions,
}

impl PortalUrl {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`UrlError`] with the part of `url` that is wrong.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        parse::portal(url)
    }

    /// Begins the configuration of a discovery session at this portal.
    ///
    /// # Errors
    /// [`CredentialsError`] if the credentials are incomplete or contradict each other.
    pub fn config(&self, initiator_name: IscsiName) -> Result<ConfigBuilder, CredentialsError> {
        configure(Config::discovery(initiator_name), &self.credentials, &self.options)
    }
}

impl core::str::FromStr for PortalUrl {
    type Err = UrlError;

    fn from_str(url: &str) -> Result<Self, UrlError> {
        Self::parse(url)
    }
}

impl fmt::Display for PortalUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_authority(f, &self.credentials, &self.portal)
    }
}

/// User names and passwords of a URL. What is absent may be filled in from elsewhere before [`UrlCredentials::chap`].
///
/// ```
/// use iscsi_core::auth::Secret;
/// use iscsi_core::url::PortalUrl;
///
/// let mut url = PortalUrl::parse("iscsi://alice@host").unwrap();
/// assert!(url.credentials.chap().is_err()); // no password
/// url.credentials.password = Secret::new("from-elsewhere").ok();
/// assert_eq!(url.credentials.chap().unwrap().unwrap().user(), "alice");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct UrlCredentials {
    /// The initiator's name.
    pub user: Option<String<MAX_USER_LEN>>,
    /// The initiator's secret.
    pub password: Option<Secret>,
    /// `target_user`: the name that the target must prove.
    pub target_user: Option<String<MAX_USER_LEN>>,
    /// `target_password`: the target's secret.
    pub target_password: Option<Secret>,
    /// `auth`: the one algorithm to offer instead of all.
    pub algorithms: Option<ChapAlgorithms>,
}

impl UrlCredentials {
    /// The credentials for a configuration; `None` if there is no user, and none for the target either.
    ///
    /// # Errors
    /// [`CredentialsError`] if a part is missing or both secrets are the same.
    pub fn chap(&self) -> Result<Option<Chap>, CredentialsError> {
        let wants_mutual = self.target_user.is_some() || self.target_password.is_some();
        let Some(user) = &self.user else {
            return match wants_mutual || self.password.is_some() {
                true => Err(CredentialsError::UserMissing),
                false => Ok(None),
            };
        };
        let password = self.password.clone().ok_or(CredentialsError::SecretMissing)?;
        let mut chap = Chap::new(user, password)?;
        if let Some(algorithms) = self.algorithms {
            chap = chap.with_algorithms(algorithms)?;
        }
        if wants_mutual {
            let secret = self.target_password.clone();
            let secret = secret.ok_or(CredentialsError::MutualSecretMissing)?;
            chap = chap.with_mutual(self.target_user.as_deref(), secret)?;
        }
        Ok(Some(chap))
    }
}

/// The arguments of a URL that are not about authentication.
///
/// ```
/// use iscsi_core::text::Digests;
/// use iscsi_core::url::PortalUrl;
/// let url = PortalUrl::parse("iscsi://host?header_digest=crc32c&force_usn=0815").unwrap();
/// assert_eq!(url.options.header_digest, Some(Digests::CRC32C));
/// assert_eq!(url.options.force_usn.as_deref(), Some("0815"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct UrlOptions {
    /// `header_digest`: the one value to offer.
    pub header_digest: Option<Digests>,
    /// `data_digest`: the one value to offer.
    pub data_digest: Option<Digests>,
    /// `force_usn`: the unit serial number that the logical unit must have.
    pub force_usn: Option<String<255>>,
}

fn configure(
    mut builder: ConfigBuilder,
    credentials: &UrlCredentials,
    options: &UrlOptions,
) -> Result<ConfigBuilder, CredentialsError> {
    if let Some(chap) = credentials.chap()? {
        builder = builder.chap(chap);
    }
    if let Some(digests) = options.header_digest {
        builder = builder.header_digest(digests);
    }
    if let Some(digests) = options.data_digest {
        builder = builder.data_digest(digests);
    }
    Ok(builder)
}

fn write_authority(
    f: &mut fmt::Formatter<'_>,
    credentials: &UrlCredentials,
    portal: &Portal,
) -> fmt::Result {
    f.write_str("iscsi://")?;
    if let Some(user) = &credentials.user {
        // A colon would end the user, and an at sign is left for the host.
        for part in user.split_inclusive([':', '@']) {
            match part.strip_suffix([':', '@']) {
                Some(text) if part.ends_with(':') => write!(f, "{}%3A", Encoded(text))?,
                Some(text) => write!(f, "{}%40", Encoded(text))?,
                None => write!(f, "{}", Encoded(part))?,
            }
        }
        f.write_str("@")?;
    }
    // The zone of an IPv6 address is set off by an escaped percent sign (RFC 6874).
    match portal.host().split_once('%') {
        Some((address, zone)) => write!(f, "[{address}%25{zone}]:{}", portal.port()),
        None => write!(f, "{portal}"),
    }
}

/// Text with everything percent-encoded that has a meaning in a URL.
struct Encoded<'a>(&'a str);

impl fmt::Display for Encoded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => write!(f, "{}", char::from(byte))?,
                b'-' | b'.' | b'_' | b'~' | b':' | b'@' | b'+' => {
                    write!(f, "{}", char::from(byte))?;
                }
                _ => write!(f, "%{byte:02X}")?,
            }
        }
        Ok(())
    }
}
