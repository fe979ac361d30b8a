//! What is wrong with a URL, and where.

use core::fmt;
use core::ops::Range;

use super::parse::password_ranges;
use crate::name::NameRule;
use crate::portal::PortalError;

/// Why a URL was refused, and which bytes of it are to blame.
///
/// ```
/// use iscsi_core::url::{IscsiUrl, UrlErrorKind};
///
/// let url = "iscsi://host:99999/iqn.2001-04.com.example:disk/0";
/// let error = IscsiUrl::parse(url).unwrap_err();
/// assert_eq!(&url[error.range()], "host:99999");
/// assert_eq!(
///     error.show(url).to_string(),
///     "a port is a number from 1 to 65535\n\
///      iscsi://host:99999/iqn.2001-04.com.example:disk/0\n\
///      \x20       ^^^^^^^^^^"
/// );
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct UrlError {
    /// The rule that is broken.
    pub kind: UrlErrorKind,
    start: usize,
    end: usize,
}

impl UrlError {
    pub(super) const fn new(kind: UrlErrorKind, range: Range<usize>) -> Self {
        Self { kind, start: range.start, end: range.end }
    }

    /// The bytes of the URL that are wrong; empty where something is missing.
    pub const fn range(&self) -> Range<usize> {
        self.start..self.end
    }

    /// Displays the error, the URL that was parsed, and a line of carets under the wrong part. Passwords show as asterisks.
    pub const fn show<'a>(&self, url: &'a str) -> UrlDiagnostic<'a> {
        UrlDiagnostic { error: *self, url }
    }
}

impl fmt::Display for UrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl core::error::Error for UrlError {}

/// The rules for URLs.
///
/// ```
/// use iscsi_core::url::{PortalUrl, UrlErrorKind};
/// let kind = |url| PortalUrl::parse(url).unwrap_err().kind;
/// assert_eq!(kind("http://host"), UrlErrorKind::Scheme);
/// assert_eq!(kind("iscsi://host?colour=red"), UrlErrorKind::UnknownArgument);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum UrlErrorKind {
    /// The URL does not begin with `iscsi://`.
    Scheme,
    /// `iser://`, or an argument for iSER: only TCP is implemented.
    Iser,
    /// Host or port are wrong.
    Portal(PortalError),
    /// The user is empty, longer than 255 bytes or not UTF-8.
    User,
    /// The password is empty or longer than 256 bytes.
    Password,
    /// A `%` without two hexadecimal digits; a percent sign itself is `%25`.
    Escape,
    /// There is no `/target/lun`.
    TargetMissing,
    /// The target's name is wrong.
    Target(NameRule),
    /// There is no `/lun` behind the target.
    LunMissing,
    /// The LUN is not a number below 2^40, nor `0x` and 16 digits.
    Lun,
    /// A portal URL ends behind the port.
    PathNotExpected,
    /// No such argument.
    UnknownArgument,
    /// The argument stands there twice.
    RepeatedArgument,
    /// The argument has no value.
    ValueMissing,
    /// The value is none of those that the argument can have.
    Value,
    /// This build lacks the algorithm.
    AlgorithmUnavailable,
}

impl fmt::Display for UrlErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Scheme => "the URL does not begin with iscsi://",
            Self::Iser => "iSER is not implemented, only iSCSI over TCP",
            Self::Portal(error) => return error.fmt(f),
            Self::User => "the user is empty, longer than 255 bytes or not UTF-8",
            Self::Password => "the password is empty or longer than 256 bytes",
            Self::Escape => "a percent sign needs two hexadecimal digits (%25 is itself)",
            Self::TargetMissing => "the target is missing: iscsi://host/target/lun",
            Self::Target(NameRule::UnknownType) => "a target name begins with iqn., eui. or naa.",
            Self::Target(_) => "this is no iSCSI name",
            Self::LunMissing => "the LUN is missing: iscsi://host/target/lun",
            Self::Lun => "a LUN is a number below 2^40, or 0x and 16 digits",
            Self::PathNotExpected => "the URL of a portal ends behind the port",
            Self::UnknownArgument => "there is no such argument",
            Self::RepeatedArgument => "the argument is given twice",
            Self::ValueMissing => "the argument needs a value",
            Self::Value => "the argument cannot have this value",
            Self::AlgorithmUnavailable => "this build lacks the algorithm (feature chap-sha)",
        })
    }
}

/// Displays a [`UrlError`] with the URL and a line of carets. Made by [`UrlError::show`].
///
/// ```
/// use iscsi_core::url::PortalUrl;
/// let url = "iscsi://alice:secret@host?x=1";
/// let shown = PortalUrl::parse(url).unwrap_err().show(url).to_string();
/// assert!(shown.contains("iscsi://alice:******@host?x=1"));
/// ```
#[derive(Clone, Copy)]
pub struct UrlDiagnostic<'a> {
    error: UrlError,
    url: &'a str,
}

impl fmt::Display for UrlDiagnostic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.error)?;
        let secrets = password_ranges(self.url, &self.error.kind);
        for (at, c) in self.url.char_indices() {
            let shown = match c {
                _ if secrets.iter().any(|range| range.contains(&at)) => '*',
                c if c.is_control() => '\u{fffd}',
                c => c,
            };
            write!(f, "{shown}")?;
        }
        writeln!(f)?;
        let Range { start, end } = self.error.range();
        for (at, _) in self.url.char_indices().take_while(|(at, _)| *at < end.max(start)) {
            f.write_str(if at < start { " " } else { "^" })?;
        }
        if start >= end { f.write_str("^") } else { Ok(()) }
    }
}

impl fmt::Debug for UrlDiagnostic<'_> {
    /// Not the URL: it may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UrlDiagnostic").field("error", &self.error).finish_non_exhaustive()
    }
}
