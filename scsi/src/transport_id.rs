//! The iSCSI TransportID: the name of an initiator port in reservations (SPC).

use crate::bytes::{Out, array_at, len16};
use crate::error::{BuildError, ParseError};
use crate::vpd::ProtocolIdentifier;

/// A TransportID.
///
/// ```
/// use iscsi_scsi::transport_id::TransportId;
///
/// let port = TransportId::iscsi_port("iqn.2001-04.com.example:host,i,0x00023d000001");
/// let mut bytes = [0; 64];
/// let len = port.build(&mut bytes)?;
/// assert_eq!(bytes[..4], [0x45, 0, 0, 48]);
/// assert_eq!(len, 52);
///
/// let (parsed, rest) = TransportId::parse(&bytes[..len]).unwrap();
/// assert_eq!(parsed, port);
/// assert!(rest.is_empty());
/// assert_eq!(parsed.iscsi_name(), Some(&b"iqn.2001-04.com.example:host"[..]));
/// # Ok::<(), iscsi_scsi::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportId<'a> {
    /// Format 0: the iSCSI name of an initiator, any port of it.
    IscsiName(&'a [u8]),
    /// Format 1: the iSCSI name, `,i,0x` and the ISID in hexadecimal: one port.
    IscsiPort(&'a [u8]),
    /// Another protocol: all 24 bytes.
    Other([u8; 24]),
}

impl<'a> TransportId<'a> {
    /// The TransportID of an iSCSI initiator.
    pub const fn iscsi(name: &'a str) -> Self {
        Self::IscsiName(name.as_bytes())
    }

    /// The TransportID of an iSCSI initiator port, `name,i,0xISID`.
    pub const fn iscsi_port(port: &'a str) -> Self {
        Self::IscsiPort(port.as_bytes())
    }

    /// The protocol.
    pub fn protocol(&self) -> ProtocolIdentifier {
        match self {
            Self::IscsiName(_) | Self::IscsiPort(_) => ProtocolIdentifier::ISCSI,
            Self::Other([first, ..]) => ProtocolIdentifier::from_bits(*first),
        }
    }

    /// The iSCSI name without an ISID.
    pub fn iscsi_name(&self) -> Option<&'a [u8]> {
        match *self {
            Self::IscsiName(name) => Some(name),
            Self::IscsiPort(port) => {
                let end = port.windows(5).position(|part| part == b",i,0x").unwrap_or(port.len());
                port.get(..end)
            }
            Self::Other(_) => None,
        }
    }

    /// Takes a TransportID off the front of a list.
    ///
    /// # Errors
    /// [`ParseError::Short`] if the list ends before, [`ParseError::Format`] for an iSCSI
    /// format other than 0 and 1.
    pub fn parse(data: &'a [u8]) -> Result<(Self, &'a [u8]), ParseError> {
        let short = |needed| ParseError::Short { needed, got: data.len() };
        let [first, _, high, low] = array_at(data, 0).ok_or_else(|| short(4))?;
        if first & 0x0f != ProtocolIdentifier::ISCSI.code() {
            let (&other, rest) = data.split_first_chunk().ok_or_else(|| short(24))?;
            return Ok((Self::Other(other), rest));
        }
        let full = usize::from(u16::from_be_bytes([high, low])).saturating_add(4);
        let (id, rest) = data.split_at_checked(full).ok_or_else(|| short(full))?;
        let text = id.get(4..).unwrap_or_default();
        let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
        let text = text.get(..end).unwrap_or_default();
        match first >> 6 {
            0 => Ok((Self::IscsiName(text), rest)),
            1 => Ok((Self::IscsiPort(text), rest)),
            got => Err(ParseError::Format { got }),
        }
    }

    /// Writes the TransportID and returns its length.
    ///
    /// # Errors
    /// [`BuildError::BufferTooSmall`], [`BuildError::TooLong`], [`BuildError::TooShort`] for an
    /// empty name.
    pub fn build(&self, out: &mut [u8]) -> Result<usize, BuildError> {
        let mut out = Out::new(out);
        self.write(&mut out)?;
        out.complete()
    }

    pub(crate) fn write(&self, out: &mut Out<'_>) -> Result<(), BuildError> {
        let (first, text) = match self {
            Self::IscsiName(name) => (0x05, *name),
            Self::IscsiPort(port) => (0x45, *port),
            Self::Other(bytes) => {
                out.bytes(bytes);
                return Ok(());
            }
        };
        if text.is_empty() {
            return Err(BuildError::TooShort { len: 0, min: 1 });
        }
        // At least one NUL, then to a multiple of 4, and at least 20.
        let length = text.len().saturating_add(4) / 4 * 4;
        let length = length.max(20);
        out.u8(first).zeros(1).u16(len16(length)?).bytes(text).zeros(length - text.len());
        Ok(())
    }
}

/// The TransportIDs of a list in order. The first that is malformed ends the iteration.
pub(crate) fn transport_ids<'a>(
    mut rest: &'a [u8],
) -> impl Iterator<Item = TransportId<'a>> + Clone {
    core::iter::from_fn(move || {
        let (id, after) = TransportId::parse(rest).ok()?;
        rest = after;
        Some(id)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding() {
        let mut bytes = [0xee; 64];
        // 19 bytes and the NUL fill 20; 20 bytes need 24.
        let len = TransportId::iscsi("iqn.2001-04.com.exa").build(&mut bytes).unwrap();
        assert_eq!((len, bytes[3]), (24, 20));
        assert_eq!(bytes[23], 0);
        let len = TransportId::iscsi("iqn.2001-04.com.exam").build(&mut bytes).unwrap();
        assert_eq!((len, bytes[3]), (28, 24));
        assert_eq!(bytes[24..28], [0; 4]);
        let len = TransportId::iscsi("iqn").build(&mut bytes).unwrap();
        assert_eq!((len, bytes[3]), (24, 20));
        assert_eq!(
            TransportId::iscsi("").build(&mut bytes),
            Err(BuildError::TooShort { len: 0, min: 1 })
        );
        assert_eq!(
            TransportId::iscsi("iqn").build(&mut bytes[..23]),
            Err(BuildError::BufferTooSmall { needed: 24, got: 23 })
        );
    }

    #[test]
    fn hostile() {
        assert_eq!(TransportId::parse(&[5, 0, 0]), Err(ParseError::Short { needed: 4, got: 3 }));
        assert_eq!(
            TransportId::parse(&[5, 0, 0xff, 0xff, 1]),
            Err(ParseError::Short { needed: 65539, got: 5 })
        );
        assert_eq!(TransportId::parse(&[0x85, 0, 0, 0]), Err(ParseError::Format { got: 2 }));
        assert_eq!(TransportId::parse(&[0; 23]), Err(ParseError::Short { needed: 24, got: 23 }));
        // No NUL at the end, and bytes after a NUL.
        assert_eq!(
            TransportId::parse(b"\x05\0\0\x04abcd").unwrap().0,
            TransportId::IscsiName(b"abcd")
        );
        assert_eq!(
            TransportId::parse(b"\x05\0\0\x04a\0cd").unwrap().0,
            TransportId::IscsiName(b"a")
        );
        let list = [5, 0, 0, 4, b'a', 0, 0, 0, 0x85, 0, 0, 0];
        assert_eq!(transport_ids(&list).count(), 1);
    }
}
