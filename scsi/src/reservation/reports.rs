//! Data of PERSISTENT RESERVE IN.

use super::{ReservationType, Scope};
use crate::bytes::{Fields, Out, bit, clip32, cut, index, need, u32_at};
use crate::error::ParseError;
use crate::transport_id::TransportId;

/// The first 8 bytes of READ KEYS, READ RESERVATION and READ FULL STATUS.
///
/// ```
/// use iscsi_scsi::reservation::ReservationHeader;
/// let header = ReservationHeader::parse(&[0, 0, 0, 5, 0, 0, 0, 16])?;
/// assert_eq!(header.generation, 5);
/// assert_eq!(header.full_size(), 24);
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReservationHeader {
    /// PRGENERATION: counts the changes of registrations.
    pub generation: u32,
    /// ADDITIONAL LENGTH: bytes after the header, returned or not.
    pub additional_length: u32,
}

impl ReservationHeader {
    /// Parses the header.
    ///
    /// # Errors
    /// [`ParseError::Short`] below 8 bytes.
    pub fn parse(data: &[u8]) -> Result<Self, ParseError> {
        need(data, 8)?;
        let f = Fields(data);
        Ok(Self { generation: f.u32(0), additional_length: f.u32(4) })
    }

    /// Bytes of the whole data, which may be more than were returned.
    pub fn full_size(&self) -> usize {
        index(self.additional_length).saturating_add(8)
    }

    /// The bytes after the header that were returned.
    fn body<'a>(&self, data: &'a [u8]) -> &'a [u8] {
        Fields(data).slice(8, index(self.additional_length))
    }
}

/// Writes the header with the length of what `body` writes, and returns the full size.
fn report(generation: u32, out: &mut [u8], body: impl FnOnce(&mut Out<'_>)) -> usize {
    let mut out = Out::new(out);
    out.u32(generation).zeros(4);
    body(&mut out);
    let length = clip32(out.len() - 8);
    out.patch(4, &length.to_be_bytes());
    out.len()
}

/// Data of READ KEYS.
///
/// ```
/// use iscsi_scsi::reservation::ReservationKeys;
/// let mut data = [0; 24];
/// assert_eq!(ReservationKeys::emit(7, [0xabcd, 1], &mut data), 24);
/// let keys = ReservationKeys::parse(&data)?;
/// assert_eq!(keys.header.generation, 7);
/// assert!(keys.keys().eq([0xabcd, 1]));
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ReservationKeys<'a> {
    /// Generation and length.
    pub header: ReservationHeader,
    keys: &'a [u8],
}

impl<'a> ReservationKeys<'a> {
    /// Parses the data, as far as it was returned.
    ///
    /// # Errors
    /// [`ParseError::Short`] below 8 bytes.
    pub fn parse(data: &'a [u8]) -> Result<Self, ParseError> {
        let header = ReservationHeader::parse(data)?;
        Ok(Self { header, keys: header.body(data) })
    }

    /// The keys, one for each registered I_T nexus.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = u64> + Clone + use<'a> {
        let (keys, _) = self.keys.as_chunks::<8>();
        keys.iter().map(|&key| u64::from_be_bytes(key))
    }

    /// Writes the data, truncated to the buffer, and returns the full size.
    pub fn emit(generation: u32, keys: impl IntoIterator<Item = u64>, out: &mut [u8]) -> usize {
        report(generation, out, |out| {
            for key in keys {
                out.u64(key);
            }
        })
    }
}

/// Data of READ RESERVATION.
///
/// ```
/// use iscsi_scsi::reservation::{Reservation, ReservationType, Scope};
/// let held = Reservation {
///     key: 0xabcd, scope: Scope::default(), kind: ReservationType::WRITE_EXCLUSIVE,
/// };
/// let mut data = [0; 24];
/// assert_eq!(Reservation::emit(3, Some(held), &mut data), 24);
/// assert_eq!(data[4..8], [0, 0, 0, 16]);
/// assert_eq!(data[21], 0x01);
/// assert_eq!(Reservation::parse(&data)?, Some(held));
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reservation {
    /// Key of the holder; 0 if all registrants hold it.
    pub key: u64,
    /// Scope.
    pub scope: Scope,
    /// Type.
    pub kind: ReservationType,
}

impl Reservation {
    /// Parses the data; `None` if nothing is reserved.
    ///
    /// # Errors
    /// [`ParseError::Short`] below 8 bytes, or below 24 if something is reserved.
    pub fn parse(data: &[u8]) -> Result<Option<Self>, ParseError> {
        let header = ReservationHeader::parse(data)?;
        if header.additional_length == 0 {
            return Ok(None);
        }
        need(cut(data, header.full_size()), 24)?;
        let f = Fields(data);
        Ok(Some(Self {
            key: f.u64(8),
            scope: Scope::from_bits(f.u8(21) >> 4),
            kind: ReservationType::from_bits(f.u8(21)),
        }))
    }

    /// Writes the data, truncated to the buffer, and returns the full size.
    pub fn emit(generation: u32, held: Option<Self>, out: &mut [u8]) -> usize {
        report(generation, out, |out| {
            if let Some(held) = held {
                let scope_type = held.scope.code() << 4 | held.kind.code();
                out.u64(held.key).zeros(5).u8(scope_type).zeros(2);
            }
        })
    }
}

/// Data of REPORT CAPABILITIES.
///
/// ```
/// use iscsi_scsi::reservation::{ReservationCapabilities, ReservationType};
/// let mut all = ReservationCapabilities { tmv: true, ..Default::default() };
/// all.allow(ReservationType::EXCLUSIVE_ACCESS_ALL);
/// all.allow(ReservationType::WRITE_EXCLUSIVE);
/// let mut data = [0; 8];
/// assert_eq!(all.emit(&mut data), 8);
/// assert_eq!(data, [0, 8, 0, 0x80, 0x02, 0x01, 0, 0]);
/// assert_eq!(ReservationCapabilities::parse(&data)?, all);
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReservationCapabilities {
    /// RLR_C: REPLACE LOST RESERVATION.
    pub rlr_c: bool,
    /// CRH: RESERVE and RELEASE are compatible with registrations.
    pub crh: bool,
    /// SIP_C: SPEC_I_PT.
    pub sip_c: bool,
    /// ATP_C: ALL_TG_PT.
    pub atp_c: bool,
    /// PTPL_C: registrations can survive power loss.
    pub ptpl_c: bool,
    /// TMV: the type mask is valid.
    pub tmv: bool,
    /// ALLOW COMMANDS, 0 to 7.
    pub allow_commands: u8,
    /// PTPL_A: registrations survive power loss now.
    pub ptpl_a: bool,
    /// PERSISTENT RESERVATION TYPE MASK as on the wire; see [`Self::allows`].
    pub type_mask: u16,
}

impl ReservationCapabilities {
    /// Bit of a type in the mask: the low byte of the wire holds types 8 to 15.
    fn mask(kind: ReservationType) -> u16 {
        match kind.code() {
            code @ 0..=7 => 0x0100 << code,
            code => 1 << (code - 8),
        }
    }

    /// Whether the type is supported. Meaningful if `tmv`.
    pub fn allows(&self, kind: ReservationType) -> bool {
        self.type_mask & Self::mask(kind) != 0
    }

    /// Adds a type to the mask.
    pub fn allow(&mut self, kind: ReservationType) {
        self.type_mask |= Self::mask(kind);
    }

    /// Bytes of the whole data, which may be more than were returned. `None` below 2 bytes.
    pub fn full_size(data: &[u8]) -> Option<usize> {
        crate::bytes::u16_at(data, 0).map(usize::from)
    }

    /// Parses the data.
    ///
    /// # Errors
    /// [`ParseError::Short`] below 6 bytes.
    pub fn parse(data: &[u8]) -> Result<Self, ParseError> {
        need(data, 6)?;
        let f = Fields(data);
        Ok(Self {
            rlr_c: f.flag(2, 0x80),
            crh: f.flag(2, 0x10),
            sip_c: f.flag(2, 0x08),
            atp_c: f.flag(2, 0x04),
            ptpl_c: f.flag(2, 0x01),
            tmv: f.flag(3, 0x80),
            allow_commands: f.u8(3) >> 4 & 0x07,
            ptpl_a: f.flag(3, 0x01),
            type_mask: f.u16(4),
        })
    }

    /// Writes the data of 8 bytes, truncated to the buffer, and returns 8.
    pub fn emit(&self, out: &mut [u8]) -> usize {
        Out::new(out)
            .u16(8)
            .u8(bit(self.rlr_c, 0x80)
                | bit(self.crh, 0x10)
                | bit(self.sip_c, 0x08)
                | bit(self.atp_c, 0x04)
                | bit(self.ptpl_c, 0x01))
            .u8(bit(self.tmv, 0x80) | (self.allow_commands & 0x07) << 4 | bit(self.ptpl_a, 0x01))
            .u16(self.type_mask)
            .zeros(2)
            .len()
    }
}

/// One registration in READ FULL STATUS.
///
/// ```
/// use iscsi_scsi::reservation::{FullStatusDescriptor, ReservationType, Scope};
/// use iscsi_scsi::transport_id::TransportId;
/// let registration = FullStatusDescriptor {
///     key: 1,
///     all_target_ports: false,
///     holder: Some((Scope::default(), ReservationType::EXCLUSIVE_ACCESS)),
///     relative_port: 1,
///     port: TransportId::iscsi("iqn.2001-04.com.example"),
/// };
/// assert!(registration.holder.is_some());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FullStatusDescriptor<'a> {
    /// Reservation key.
    pub key: u64,
    /// ALL_TG_PT: registered at all target ports.
    pub all_target_ports: bool,
    /// Scope and type of the reservation, if this nexus holds it.
    pub holder: Option<(Scope, ReservationType)>,
    /// RELATIVE TARGET PORT IDENTIFIER.
    pub relative_port: u16,
    /// The initiator port.
    pub port: TransportId<'a>,
}

/// Data of READ FULL STATUS.
///
/// ```
/// use iscsi_scsi::reservation::{FullStatus, FullStatusDescriptor};
/// use iscsi_scsi::transport_id::TransportId;
/// let one = FullStatusDescriptor {
///     key: 0xabcd,
///     all_target_ports: true,
///     holder: None,
///     relative_port: 1,
///     port: TransportId::iscsi("iqn.2001-04.com.example"),
/// };
/// let mut data = [0; 64];
/// let len = FullStatus::emit(2, [one], &mut data);
/// assert_eq!(len, 8 + 24 + 28);
/// let status = FullStatus::parse(&data[..len])?;
/// assert!(status.registrations().eq([one]));
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct FullStatus<'a> {
    /// Generation and length.
    pub header: ReservationHeader,
    list: &'a [u8],
}

impl<'a> FullStatus<'a> {
    /// Parses the data, as far as it was returned.
    ///
    /// # Errors
    /// [`ParseError::Short`] below 8 bytes.
    pub fn parse(data: &'a [u8]) -> Result<Self, ParseError> {
        let header = ReservationHeader::parse(data)?;
        Ok(Self { header, list: header.body(data) })
    }

    /// The registrations in order. One that was not returned in full, or whose TransportID is
    /// malformed, ends the iteration.
    pub fn registrations(
        &self,
    ) -> impl Iterator<Item = FullStatusDescriptor<'a>> + Clone + use<'a> {
        let mut rest = self.list;
        core::iter::from_fn(move || {
            let length = u32_at(rest, 20)?;
            let (descriptor, after) = rest.split_at_checked(index(length).saturating_add(24))?;
            rest = after;
            let f = Fields(descriptor);
            let scope_type = f.u8(13);
            Some(FullStatusDescriptor {
                key: f.u64(0),
                all_target_ports: f.flag(12, 0x02),
                holder: f.flag(12, 0x01).then(|| {
                    (Scope::from_bits(scope_type >> 4), ReservationType::from_bits(scope_type))
                }),
                relative_port: f.u16(18),
                port: TransportId::parse(f.slice(24, usize::MAX)).ok()?.0,
            })
        })
    }

    /// Writes the data, truncated to the buffer, and returns the full size. A registration whose
    /// TransportID cannot be written is left out.
    pub fn emit<'d>(
        generation: u32,
        registrations: impl IntoIterator<Item = FullStatusDescriptor<'d>>,
        out: &mut [u8],
    ) -> usize {
        report(generation, out, |out| {
            for registration in registrations {
                // Measure first: the length stands before the TransportID.
                let mut measure = Out::new(&mut []);
                if registration.port.write(&mut measure).is_err() {
                    continue;
                }
                let (scope, kind) = registration.holder.unwrap_or_default();
                out.u64(registration.key)
                    .zeros(4)
                    .u8(bit(registration.all_target_ports, 0x02)
                        | bit(registration.holder.is_some(), 0x01))
                    .u8(scope.code() << 4 | kind.code())
                    .zeros(4)
                    .u16(registration.relative_port)
                    .u32(clip32(measure.len()));
                // Cannot fail: it was measured with success.
                let _ = registration.port.write(out);
            }
        })
    }
}
