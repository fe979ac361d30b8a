//! Network addresses of targets: `host:port` and the value of TargetAddress (RFC 7143 section 13.8).

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use heapless::String;

/// The longest host name in bytes.
pub const MAX_HOST_LEN: usize = 255;

/// A host and a TCP port.
///
/// The host is a DNS name, a dotted IPv4 address or an IPv6 address; brackets are put around the last one when the portal is
/// written. An IPv6 address may carry a zone (`fe80::1%eth0`).
///
/// ```
/// use iscsi_core::Portal;
///
/// let portal = Portal::parse("[2001:db8::1]:860").unwrap();
/// assert_eq!((portal.host(), portal.port()), ("2001:db8::1", 860));
/// assert_eq!(portal.to_string(), "[2001:db8::1]:860");
/// assert_eq!(Portal::parse("storage.example.com").unwrap().port(), Portal::DEFAULT_PORT);
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Portal {
    host: String<MAX_HOST_LEN>,
    port: u16,
}

impl Portal {
    /// The port of iSCSI targets where none is given (RFC 7143 section 15).
    pub const DEFAULT_PORT: u16 = 3260;

    /// A portal from its parts; an IPv6 `host` is given without brackets.
    ///
    /// # Errors
    /// [`PortalError`] if the host is no name or address, or the port is 0.
    pub fn new(host: &str, port: u16) -> Result<Self, PortalError> {
        if host.contains(':') {
            check_v6(host)?;
        } else {
            check_name(host)?;
        }
        if port == 0 {
            return Err(PortalError::Port);
        }
        Ok(Self { host: String::try_from(host).map_err(|_| PortalError::HostTooLong)?, port })
    }

    /// Parses `host`, `host:port`, `[v6]` or `[v6]:port`.
    ///
    /// # Errors
    /// [`PortalError`]
    pub fn parse(text: &str) -> Result<Self, PortalError> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, tail) = rest.split_once(']').ok_or(PortalError::Brackets)?;
                check_v6(host)?;
                match tail {
                    "" => (host, None),
                    _ => (host, Some(tail.strip_prefix(':').ok_or(PortalError::Brackets)?)),
                }
            }
            None => match text.split_once(':') {
                Some((_, port)) if port.contains(':') => return Err(PortalError::Brackets),
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let port = port.map_or(Ok(Self::DEFAULT_PORT), |port| {
            decimal(port, u32::from(u16::MAX)).ok_or(PortalError::Port)
        })?;
        Self::new(host, port)
    }

    /// The name or address, an IPv6 address without brackets.
    pub fn host(&self) -> &str {
        self.host.as_str()
    }

    /// The TCP port, never 0.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// The host as an address, `None` if it is a name to resolve. A zone is dropped.
    ///
    /// Whoever follows addresses that an unauthenticated portal announced can look here for loopback, link-local and
    /// multicast ones.
    pub fn ip(&self) -> Option<IpAddr> {
        let address = self.host.split('%').next().unwrap_or_default();
        address.parse().ok()
    }
}

impl From<core::net::SocketAddr> for Portal {
    /// A port of 0 becomes [`Portal::DEFAULT_PORT`]; a zone is dropped.
    fn from(address: core::net::SocketAddr) -> Self {
        use fmt::Write as _;
        let mut host = String::new();
        // An address has at most 45 characters.
        let _ = write!(host, "{}", address.ip());
        let port = if address.port() == 0 { Self::DEFAULT_PORT } else { address.port() };
        Self { host, port }
    }
}

impl fmt::Display for Portal {
    /// `host:port`, with brackets around an IPv6 address. The port is always written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for Portal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Portal({self})")
    }
}

impl core::str::FromStr for Portal {
    type Err = PortalError;

    fn from_str(text: &str) -> Result<Self, PortalError> {
        Self::parse(text)
    }
}

/// The value of a TargetAddress key: a portal and, in answers to SendTargets, a portal group tag
/// (RFC 7143 section 13.8).
///
/// ```
/// use iscsi_core::TargetAddress;
///
/// let address = TargetAddress::parse("192.0.2.7:3261,1").unwrap();
/// assert_eq!((address.portal.host(), address.portal.port()), ("192.0.2.7", 3261));
/// assert_eq!(address.target_portal_group_tag, Some(1));
/// assert_eq!(address.to_string(), "192.0.2.7:3261,1");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TargetAddress {
    /// Where the target listens.
    pub portal: Portal,
    /// The portal group, 0 to 65535; absent in a redirect.
    pub target_portal_group_tag: Option<u16>,
}

impl TargetAddress {
    /// Parses `host[:port][,tag]`; the tag is decimal or hexadecimal.
    ///
    /// # Errors
    /// [`PortalError`]
    pub fn parse(text: &str) -> Result<Self, PortalError> {
        let (portal, tag) = match text.split_once(',') {
            Some((portal, tag)) => (portal, Some(tag)),
            None => (text, None),
        };
        let target_portal_group_tag = match tag {
            None => None,
            Some(tag) => {
                let number = crate::text::value::number(tag).map_err(|_| PortalError::GroupTag)?;
                Some(u16::try_from(number).map_err(|_| PortalError::GroupTag)?)
            }
        };
        Ok(Self { portal: Portal::parse(portal)?, target_portal_group_tag })
    }
}

impl fmt::Display for TargetAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.target_portal_group_tag {
            Some(tag) => write!(f, "{},{tag}", self.portal),
            None => write!(f, "{}", self.portal),
        }
    }
}

/// Why an address was refused.
///
/// ```
/// use iscsi_core::{Portal, PortalError};
/// assert_eq!(Portal::parse("[::1"), Err(PortalError::Brackets));
/// assert_eq!(Portal::parse("host:0"), Err(PortalError::Port));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PortalError {
    /// There is no host.
    HostMissing,
    /// The host has more than [`MAX_HOST_LEN`] bytes.
    HostTooLong,
    /// The host holds a character that neither names nor IPv4 addresses have, or is a bad IPv4 address.
    Host,
    /// What stands in brackets is not an IPv6 address.
    Ipv6,
    /// A bracket is missing, or an IPv6 address stands without brackets.
    Brackets,
    /// The port is not a decimal number from 1 to 65535.
    Port,
    /// The portal group tag is not a number from 0 to 65535.
    GroupTag,
}

impl PortalError {
    /// The section of RFC 7143 that holds the rule.
    pub const fn section(&self) -> &'static str {
        match self {
            Self::GroupTag => "13.9",
            _ => "13.8",
        }
    }
}

impl fmt::Display for PortalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HostMissing => "the host is missing",
            Self::HostTooLong => "the host has more than 255 bytes",
            Self::Host => "this is neither a host name nor an IPv4 address",
            Self::Ipv6 => "this is not an IPv6 address",
            Self::Brackets => "an IPv6 address stands in brackets: [2001:db8::1]:3260",
            Self::Port => "a port is a number from 1 to 65535",
            Self::GroupTag => "a portal group tag is a number from 0 to 65535",
        })
    }
}

impl core::error::Error for PortalError {}

/// A decimal number without sign, at most `max`, in at most ten digits.
fn decimal<T: TryFrom<u32>>(text: &str, max: u32) -> Option<T> {
    if text.is_empty() || text.len() > 10 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number = text.parse::<u32>().ok().filter(|number| *number <= max)?;
    T::try_from(number).ok()
}

fn check_v6(host: &str) -> Result<(), PortalError> {
    let (address, zone) = match host.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (host, None),
    };
    let zone_ok = |zone: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        !zone.is_empty() && zone.len() <= 64 && zone.bytes().all(allowed)
    };
    if address.parse::<Ipv6Addr>().is_err() || !zone.is_none_or(zone_ok) {
        return Err(PortalError::Ipv6);
    }
    Ok(())
}

/// A DNS name (also with underscores, which private networks use) or an IPv4 address.
fn check_name(host: &str) -> Result<(), PortalError> {
    if host.is_empty() {
        return Err(PortalError::HostMissing);
    }
    if host.len() > MAX_HOST_LEN {
        return Err(PortalError::HostTooLong);
    }
    // Letters outside ASCII pass: a resolver may know internationalized names.
    let allowed = |c: char| {
        c.is_ascii_alphanumeric()
            || matches!(c, '-' | '.' | '_')
            || !c.is_ascii() && !c.is_whitespace() && !c.is_control()
    };
    if !host.chars().all(allowed) {
        return Err(PortalError::Host);
    }
    // The last label of a name is never all digits, so this is meant as an address.
    let last = host.rsplit('.').next().unwrap_or_default();
    let numeric = !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit());
    if numeric && host.contains('.') && host.parse::<Ipv4Addr>().is_err() {
        return Err(PortalError::Host);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Result<(String<MAX_HOST_LEN>, u16, Option<u16>), PortalError> {
        let address = TargetAddress::parse(text)?;
        Ok((
            address.portal.host().try_into().unwrap(),
            address.portal.port(),
            address.target_portal_group_tag,
        ))
    }

    #[test]
    fn every_form_of_target_address_is_read() {
        for (text, host, port, tag) in [
            ("host", "host", 3260, None),
            ("host.example.com:860", "host.example.com", 860, None),
            ("192.0.2.1", "192.0.2.1", 3260, None),
            ("192.0.2.1,1", "192.0.2.1", 3260, Some(1)),
            ("192.0.2.1:65535,65535", "192.0.2.1", 65535, Some(65535)),
            ("[2001:db8::1]", "2001:db8::1", 3260, None),
            ("[2001:db8::1],0", "2001:db8::1", 3260, Some(0)),
            ("[::ffff:192.0.2.1]:3261,0x10", "::ffff:192.0.2.1", 3261, Some(16)),
            ("[fe80::1%eth0]:3260,2", "fe80::1%eth0", 3260, Some(2)),
        ] {
            assert_eq!(address(text), Ok((host.try_into().unwrap(), port, tag)), "{text}");
            let parsed = TargetAddress::parse(text).unwrap();
            let written = std::format!("{parsed}");
            assert_eq!(TargetAddress::parse(&written), Ok(parsed), "{text} -> {written}");
        }
    }

    #[test]
    fn bad_addresses_are_refused_by_rule() {
        for (text, error) in [
            ("", PortalError::HostMissing),
            (":3260", PortalError::HostMissing),
            (",1", PortalError::HostMissing),
            ("[::1", PortalError::Brackets),
            ("[::1]3260", PortalError::Brackets),
            ("::1", PortalError::Brackets),
            ("a:b:c", PortalError::Brackets),
            ("[]", PortalError::Ipv6),
            ("[host]", PortalError::Ipv6),
            ("[fe80::1%]", PortalError::Ipv6),
            ("[fe80::1%a b]", PortalError::Ipv6),
            ("host:", PortalError::Port),
            ("host:0", PortalError::Port),
            ("host:65536", PortalError::Port),
            ("host:+1", PortalError::Port),
            ("host:99999999999999999999", PortalError::Port),
            ("host,", PortalError::GroupTag),
            ("host,65536", PortalError::GroupTag),
            ("host,-1", PortalError::GroupTag),
            ("host,1,2", PortalError::GroupTag),
            ("a b", PortalError::Host),
            ("ho\u{1}st", PortalError::Host),
            ("192.0.2.256", PortalError::Host),
            ("1.2.3", PortalError::Host),
        ] {
            assert_eq!(address(text), Err(error), "{text}");
        }
        let long = "x".repeat(256);
        assert_eq!(address(&long), Err(PortalError::HostTooLong));
        assert!(address(&long[..255]).is_ok());
    }

    #[test]
    fn addresses_are_told_from_names() {
        assert!(Portal::parse("[::1]").unwrap().ip().unwrap().is_loopback());
        assert_eq!(Portal::parse("host").unwrap().ip(), None);
        let socket = "[2001:db8::2]:3270".parse::<core::net::SocketAddr>().unwrap();
        assert_eq!(std::format!("{}", Portal::from(socket)), "[2001:db8::2]:3270");
    }
}
