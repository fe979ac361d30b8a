//! Reading URLs.

use core::ops::Range;

use heapless::{String, Vec};

use super::{IscsiUrl, PortalUrl, UrlCredentials, UrlError, UrlErrorKind, UrlOptions};
use crate::auth::{ChapAlgorithm, ChapAlgorithms, MAX_USER_LEN, Secret};
use crate::name::{IscsiName, MAX_NAME_LEN};
use crate::portal::{MAX_HOST_LEN, Portal, PortalError, TargetAddress};
use crate::tag::Lun;
use crate::text::Digests;

const SCHEME: &str = "iscsi://";
const ISER_SCHEME: &str = "iser://";

/// Host, brackets, port and portal group tag.
const MAX_ADDRESS_LEN: usize = MAX_HOST_LEN + 16;

pub(super) fn full(url: &str) -> Result<IscsiUrl, UrlError> {
    let parts = Parts::split(url)?;
    let (portal, mut credentials) = authority(parts.authority)?;
    let (target, lun) = path(parts.path)?;
    let options = arguments(parts.query, &mut credentials)?;
    Ok(IscsiUrl { portal, target, lun, credentials, options })
}

pub(super) fn portal(url: &str) -> Result<PortalUrl, UrlError> {
    let parts = Parts::split(url)?;
    let (portal, mut credentials) = authority(parts.authority)?;
    if !matches!(parts.path.text, "" | "/") {
        return Err(parts.path.error(UrlErrorKind::PathNotExpected));
    }
    let options = arguments(parts.query, &mut credentials)?;
    Ok(PortalUrl { portal, credentials, options })
}

/// Where passwords stand in a URL, as far as that can be told when it is wrong.
pub(super) fn password_ranges(url: &str, error: &UrlErrorKind) -> [Range<usize>; 2] {
    let start = url.find("://").map_or(0, |at| at + 3);
    let rest = url.get(start..).unwrap_or_default();
    let (before_query, query) = match rest.split_once('?') {
        Some((before, query)) => (before, query),
        None => (rest, ""),
    };
    let authority = before_query.split('/').next().unwrap_or_default();
    // A slash in a password ends the authority early, and host and port are garbage then.
    let at_sign = match error {
        UrlErrorKind::Portal(_) => before_query.rfind('@'),
        _ => authority.rfind('@'),
    };
    let user = at_sign.and_then(|at| {
        let separator = separator(rest.get(..at)?)?;
        Some(start + separator + 1..start + at)
    });
    let name = "target_password=";
    let argument = query.find(name).map(|at| {
        let from = start + before_query.len() + 1 + at + name.len();
        let length = url.get(from..).and_then(|rest| rest.find('&'));
        from..length.map_or(url.len(), |length| from + length)
    });
    [user.unwrap_or_default(), argument.unwrap_or_default()]
}

/// A part of the URL and where it begins.
#[derive(Clone, Copy)]
struct Part<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Part<'a> {
    /// The part from `from` to `to`, both counted within this part.
    fn slice(self, from: usize, to: usize) -> Self {
        let text = self.text.get(from..to).unwrap_or_default();
        Self { text, at: self.at + from }
    }

    /// What stands before byte `at` and, one character later, behind it.
    fn split(self, at: usize) -> (Self, Self) {
        (self.slice(0, at), self.slice(at + 1, self.text.len()))
    }

    const fn error(self, kind: UrlErrorKind) -> UrlError {
        UrlError::new(kind, self.at..self.at + self.text.len())
    }

    /// The part with its escapes replaced; `lone` says what a `%` without two digits is. `too_long` is the error beyond `N` bytes.
    fn decode<const N: usize>(
        self,
        lone: Lone,
        too_long: UrlErrorKind,
    ) -> Result<Vec<u8, N>, UrlError> {
        let bytes = self.text.as_bytes();
        let mut decoded = Vec::new();
        let mut at = 0;
        while let Some(byte) = bytes.get(at) {
            let escaped = escape(bytes.get(at..).unwrap_or_default());
            let (byte, length) = match (byte, escaped) {
                (_, Some(byte)) => (byte, 3),
                (b'%', None) if lone == Lone::Error => {
                    return Err(self.slice(at, at + 1).error(UrlErrorKind::Escape));
                }
                (byte, None) => (*byte, 1),
            };
            decoded.push(byte).map_err(|_| self.error(too_long))?;
            at += length;
        }
        Ok(decoded)
    }

    /// As [`Part::decode`], for text; not UTF-8 is the same error as too long.
    fn decode_text<const N: usize>(
        self,
        lone: Lone,
        wrong: UrlErrorKind,
    ) -> Result<String<N>, UrlError> {
        String::from_utf8(self.decode(lone, wrong)?).map_err(|_| self.error(wrong))
    }
}

/// What a `%` without two hexadecimal digits is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lone {
    Error,
    Literal,
}

/// The byte that an escape at the start of `bytes` stands for.
fn escape(bytes: &[u8]) -> Option<u8> {
    let [b'%', high, low] = bytes.first_chunk::<3>()? else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

struct Parts<'a> {
    authority: Part<'a>,
    /// With its leading slash, if there is one.
    path: Part<'a>,
    /// Behind the question mark, if there is one.
    query: Option<Part<'a>>,
}

impl<'a> Parts<'a> {
    fn split(url: &'a str) -> Result<Self, UrlError> {
        let whole = Part { text: url, at: 0 };
        let begins = |scheme: &str| {
            url.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
        };
        if begins(ISER_SCHEME) {
            return Err(whole.slice(0, ISER_SCHEME.len()).error(UrlErrorKind::Iser));
        }
        if !begins(SCHEME) {
            let end = url.find("://").map_or(0, |at| at + 3);
            return Err(whole.slice(0, end).error(UrlErrorKind::Scheme));
        }
        let rest = whole.slice(SCHEME.len(), url.len());
        let (rest, query) = match rest.text.find('?') {
            Some(at) => {
                let (rest, query) = rest.split(at);
                (rest, Some(query))
            }
            None => (rest, None),
        };
        let end = rest.text.find('/').unwrap_or(rest.text.len());
        Ok(Self { authority: rest.slice(0, end), path: rest.slice(end, rest.text.len()), query })
    }
}

/// `[user[:password]@]host[:port][,tag]`
fn authority(part: Part<'_>) -> Result<(Portal, UrlCredentials), UrlError> {
    let mut credentials = UrlCredentials::default();
    let address = match part.text.rfind('@') {
        None => part,
        Some(at) => {
            let (login, address) = part.split(at);
            let user = match separator(login.text) {
                None => login,
                Some(at) => {
                    let (user, password) = login.split(at);
                    credentials.password = Some(secret(password)?);
                    user
                }
            };
            credentials.user = Some(user_name(user)?);
            address
        }
    };
    let wrong = |error| address.error(UrlErrorKind::Portal(error));
    let text: String<MAX_ADDRESS_LEN> =
        address.decode_text(Lone::Literal, UrlErrorKind::Portal(PortalError::HostTooLong))?;
    Ok((TargetAddress::parse(&text).map_err(wrong)?.portal, credentials))
}

/// Where the user ends: at the first `:`, or at a `%` that begins no escape.
fn separator(login: &str) -> Option<usize> {
    let bytes = login.as_bytes();
    let ends = |at: usize| match bytes.get(at) {
        Some(b':') => true,
        Some(b'%') => escape(bytes.get(at..).unwrap_or_default()).is_none(),
        _ => false,
    };
    (0..bytes.len()).find(|at| ends(*at))
}

fn user_name(part: Part<'_>) -> Result<String<MAX_USER_LEN>, UrlError> {
    let user: String<MAX_USER_LEN> = part.decode_text(Lone::Error, UrlErrorKind::User)?;
    if user.is_empty() || user.contains('\0') {
        return Err(part.error(UrlErrorKind::User));
    }
    Ok(user)
}

fn secret(part: Part<'_>) -> Result<Secret, UrlError> {
    let bytes: Vec<u8, { crate::auth::MAX_SECRET_LEN }> =
        part.decode(Lone::Error, UrlErrorKind::Password)?;
    Secret::new(&bytes).map_err(|_| part.error(UrlErrorKind::Password))
}

/// `/target/lun`
fn path(part: Part<'_>) -> Result<(IscsiName, Lun), UrlError> {
    if matches!(part.text, "" | "/") {
        return Err(part.error(UrlErrorKind::TargetMissing));
    }
    let (target, lun) = match part.text.rfind('/') {
        Some(at) if at > 0 => {
            let (target, lun) = part.split(at);
            (target.slice(1, target.text.len()), lun)
        }
        _ => {
            let end = part.text.len();
            return Err(part.slice(end, end).error(UrlErrorKind::LunMissing));
        }
    };
    let too_long = UrlErrorKind::Target(crate::name::NameRule::TooLong);
    let name: String<MAX_NAME_LEN> = target.decode_text(Lone::Error, too_long)?;
    let name = IscsiName::from_peer(&name)
        .map_err(|error| target.error(UrlErrorKind::Target(error.rule)))?;
    let number: String<32> = lun.decode_text(Lone::Error, UrlErrorKind::Lun)?;
    let lun = parse_lun(&number).ok_or_else(|| lun.error(UrlErrorKind::Lun))?;
    Ok((name, lun))
}

fn parse_lun(text: &str) -> Option<Lun> {
    if let Some(digits) = text.strip_prefix("0x") {
        let all_digits = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let value = u64::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 16)?;
        return all_digits.then_some(Lun::from_bytes(value.to_be_bytes()));
    }
    let all_digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| all_digits).and_then(Lun::new)
}

fn arguments(
    query: Option<Part<'_>>,
    credentials: &mut UrlCredentials,
) -> Result<UrlOptions, UrlError> {
    let mut options = UrlOptions::default();
    let Some(query) = query.filter(|query| !query.text.is_empty()) else { return Ok(options) };
    let mut at = 0;
    for text in query.text.split('&') {
        argument(query.slice(at, at + text.len()), credentials, &mut options)?;
        at += text.len() + 1;
    }
    Ok(options)
}

/// `name=value`
fn argument(
    part: Part<'_>,
    credentials: &mut UrlCredentials,
    options: &mut UrlOptions,
) -> Result<(), UrlError> {
    let (name, value) = match part.text.find('=') {
        Some(at) => {
            let (name, value) = part.split(at);
            (name, Some(value))
        }
        None => (part, None),
    };
    let repeated = match name.text {
        "target_user" => credentials.target_user.is_some(),
        "target_password" => credentials.target_password.is_some(),
        "auth" => credentials.algorithms.is_some(),
        "header_digest" => options.header_digest.is_some(),
        "data_digest" => options.data_digest.is_some(),
        "force_usn" => options.force_usn.is_some(),
        "iser" | "LIBISCSI_RDMA_ACK_TIMEOUT" => return Err(part.error(UrlErrorKind::Iser)),
        _ => return Err(name.error(UrlErrorKind::UnknownArgument)),
    };
    if repeated {
        return Err(name.error(UrlErrorKind::RepeatedArgument));
    }
    let value = value
        .filter(|value| !value.text.is_empty())
        .ok_or_else(|| part.error(UrlErrorKind::ValueMissing))?;
    match name.text {
        "target_user" => credentials.target_user = Some(user_name(value)?),
        "target_password" => credentials.target_password = Some(secret(value)?),
        "auth" => credentials.algorithms = Some(algorithms(value)?),
        "header_digest" => options.header_digest = Some(digests(value)?),
        "data_digest" => options.data_digest = Some(digests(value)?),
        _ => {
            options.force_usn = Some(value.decode_text(Lone::Error, UrlErrorKind::Value)?);
        }
    }
    Ok(())
}

fn digests(value: Part<'_>) -> Result<Digests, UrlError> {
    match value.text {
        "crc32c" => Ok(Digests::CRC32C),
        "none" => Ok(Digests::NONE),
        _ => Err(value.error(UrlErrorKind::Value)),
    }
}

fn algorithms(value: Part<'_>) -> Result<ChapAlgorithms, UrlError> {
    let algorithm = match value.text {
        "md5" => ChapAlgorithm::Md5,
        "sha1" => ChapAlgorithm::Sha1,
        "sha-256" => ChapAlgorithm::Sha256,
        "sha3-256" => ChapAlgorithm::Sha3_256,
        _ => return Err(value.error(UrlErrorKind::Value)),
    };
    if !algorithm.is_available() {
        return Err(value.error(UrlErrorKind::AlgorithmUnavailable));
    }
    ChapAlgorithms::new(&[algorithm]).ok_or_else(|| value.error(UrlErrorKind::Value))
}
