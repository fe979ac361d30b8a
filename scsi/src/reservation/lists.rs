//! Parameter lists of PERSISTENT RESERVE OUT.

use crate::bytes::{Fields, Out, bit, index, need};
use crate::error::{BuildError, ParseError};
use crate::transport_id::{TransportId, transport_ids};

/// The parameter list of every service action but REGISTER AND MOVE.
///
/// ```
/// use iscsi_scsi::reservation::ReserveParameters;
/// let list = ReserveParameters { action_key: 0xabcd, aptpl: true, ..Default::default() };
/// let mut bytes = [0xee; 24];
/// assert_eq!(list.build(&[], &mut bytes)?, 24);
/// assert_eq!(bytes[..16], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xab, 0xcd]);
/// assert_eq!(bytes[16..], [0, 0, 0, 0, 0x01, 0, 0, 0]);
/// let (parsed, mut ports) = ReserveParameters::parse(&bytes).unwrap();
/// assert_eq!((parsed, ports.next()), (list, None));
/// # Ok::<(), iscsi_scsi::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReserveParameters {
    /// RESERVATION KEY: the key of this registrant.
    pub key: u64,
    /// SERVICE ACTION RESERVATION KEY: the new key, or the key to preempt.
    pub action_key: u64,
    /// ALL_TG_PT: register at all target ports.
    pub all_target_ports: bool,
    /// APTPL: keep registrations through power loss.
    pub aptpl: bool,
}

impl ReserveParameters {
    /// Writes the list and returns its length. SPEC_I_PT is set if there are `ports`, other
    /// initiator ports to register.
    ///
    /// # Errors
    /// [`BuildError::BufferTooSmall`] and the errors of [`TransportId::build`].
    pub fn build(&self, ports: &[TransportId<'_>], out: &mut [u8]) -> Result<usize, BuildError> {
        let mut out = Out::new(out);
        out.u64(self.key).u64(self.action_key).zeros(4);
        out.u8(bit(!ports.is_empty(), 0x08)
            | bit(self.all_target_ports, 0x04)
            | bit(self.aptpl, 0x01));
        out.zeros(3);
        if !ports.is_empty() {
            out.zeros(4);
            for port in ports {
                port.write(&mut out)?;
            }
            let len = out.len() - 28;
            let length = u32::try_from(len)
                .map_err(|_| BuildError::TooLong { len, max: index(u32::MAX) })?;
            out.patch(24, &length.to_be_bytes());
        }
        out.complete()
    }

    /// Parses a received list: the parameters and the initiator ports named by SPEC_I_PT.
    ///
    /// # Errors
    /// [`ParseError::Short`] below 24 bytes or if the TransportID list is cut off,
    /// [`ParseError::Length`] for bytes after the list: the device server answers PARAMETER
    /// LIST LENGTH ERROR.
    pub fn parse(
        data: &[u8],
    ) -> Result<(Self, impl Iterator<Item = TransportId<'_>> + Clone), ParseError> {
        need(data, 24)?;
        let f = Fields(data);
        let mut ports: &[u8] = &[];
        let mut expected = 24;
        if f.flag(20, 0x08) {
            need(data, 28)?;
            expected = index(f.u32(24)).saturating_add(28);
            need(data, expected)?;
            ports = f.slice(28, expected - 28);
        }
        if data.len() != expected {
            return Err(ParseError::Length { expected, got: data.len() });
        }
        let parameters = Self {
            key: f.u64(0),
            action_key: f.u64(8),
            all_target_ports: f.flag(20, 0x04),
            aptpl: f.flag(20, 0x01),
        };
        Ok((parameters, transport_ids(ports)))
    }
}

/// The parameter list of REGISTER AND MOVE.
///
/// ```
/// use iscsi_scsi::reservation::RegisterAndMove;
/// use iscsi_scsi::transport_id::TransportId;
/// let port = TransportId::iscsi("iqn.2001-04.com.example");
/// let list = RegisterAndMove {
///     key: 1, action_key: 2, unregister: true, aptpl: false, relative_port: 3, port,
/// };
/// let mut bytes = [0xee; 52];
/// assert_eq!(list.build(&mut bytes)?, 52);
/// assert_eq!(bytes[16..28], [0, 0x02, 0, 3, 0, 0, 0, 28, 0x05, 0, 0, 24]);
/// assert_eq!(RegisterAndMove::parse(&bytes), Ok(list));
/// # Ok::<(), iscsi_scsi::BuildError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RegisterAndMove<'a> {
    /// RESERVATION KEY: the key of this registrant.
    pub key: u64,
    /// SERVICE ACTION RESERVATION KEY: the key to register for the other port, not 0.
    pub action_key: u64,
    /// UNREG: remove this registration.
    pub unregister: bool,
    /// APTPL: keep registrations through power loss.
    pub aptpl: bool,
    /// RELATIVE TARGET PORT IDENTIFIER.
    pub relative_port: u16,
    /// The initiator port that gets the reservation.
    pub port: TransportId<'a>,
}

impl<'a> RegisterAndMove<'a> {
    /// Writes the list and returns its length.
    ///
    /// # Errors
    /// [`BuildError::BufferTooSmall`] and the errors of [`TransportId::build`].
    pub fn build(&self, out: &mut [u8]) -> Result<usize, BuildError> {
        let mut out = Out::new(out);
        out.u64(self.key).u64(self.action_key).zeros(1);
        out.u8(bit(self.unregister, 0x02) | bit(self.aptpl, 0x01)).u16(self.relative_port).zeros(4);
        self.port.write(&mut out)?;
        // A TransportID has at most 65539 bytes.
        let length = u32::try_from(out.len() - 24).unwrap_or(u32::MAX);
        out.patch(20, &length.to_be_bytes());
        out.complete()
    }

    /// Parses a received list.
    ///
    /// # Errors
    /// [`ParseError::Short`], the errors of [`TransportId::parse`], and [`ParseError::Length`] if
    /// the length field does not fit the TransportID or the list.
    pub fn parse(data: &'a [u8]) -> Result<Self, ParseError> {
        need(data, 24)?;
        let f = Fields(data);
        let length = index(f.u32(20));
        need(data, length.saturating_add(24))?;
        let id = f.slice(24, usize::MAX);
        let (port, rest) = TransportId::parse(id)?;
        if !rest.is_empty() || id.len() != length {
            return Err(ParseError::Length { expected: id.len() - rest.len(), got: length });
        }
        Ok(Self {
            key: f.u64(0),
            action_key: f.u64(8),
            unregister: f.flag(17, 0x02),
            aptpl: f.flag(17, 0x01),
            relative_port: f.u16(18),
            port,
        })
    }
}
