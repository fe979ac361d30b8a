//! Asymmetric logical unit access: REPORT and SET TARGET PORT GROUPS (SPC).

use crate::bytes::{Fields, Out, bit, clip32, cut, index, need, u32_at};
use crate::cdb::{Cdb, CdbWriter};
use crate::codes::codes;
use crate::error::{BuildError, CommandError, ParseError};

codes! {
    /// ASYMMETRIC ACCESS STATE of a target port group.
    ///
    /// ```
    /// use iscsi_scsi::alua::AccessState;
    /// assert_eq!(AccessState::ACTIVE_OPTIMIZED.label(), "ACTIVE-OPTIMIZED");
    /// assert_eq!(AccessState::TRANSITIONING.code(), 0xf);
    /// ```
    pub struct AccessState: 4 bits {
        ACTIVE_OPTIMIZED = 0x0 => "ACTIVE-OPTIMIZED",
        ACTIVE_NON_OPTIMIZED = 0x1 => "ACTIVE-NON-OPTIMIZED",
        STANDBY = 0x2 => "STANDBY",
        UNAVAILABLE = 0x3 => "UNAVAILABLE",
        LB_DEPENDENT = 0x4 => "LOGICAL-BLOCK-DEPENDENT",
        OFFLINE = 0xe => "OFFLINE",
        TRANSITIONING = 0xf => "TRANSITIONING",
    }
}

/// REPORT TARGET PORT GROUPS.
///
/// ```
/// use iscsi_scsi::alua::ReportTargetPortGroups;
/// let cdb = ReportTargetPortGroups { extended: true, allocation_length: 512 }.cdb();
/// assert_eq!(cdb.as_bytes(), [0xa3, 0x2a, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportTargetPortGroups {
    /// Ask for the extended header.
    pub extended: bool,
    /// Bytes the caller has room for.
    pub allocation_length: u32,
}

impl ReportTargetPortGroups {
    /// Operation code: MAINTENANCE IN.
    pub const OPCODE: u8 = 0xa3;
    /// Service action.
    pub const SERVICE_ACTION: u8 = 0x0a;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        CdbWriter::new(Self::OPCODE)
            .u8(bit(self.extended, 0x20) | Self::SERVICE_ACTION)
            .zeros::<4>()
            .u32(self.allocation_length)
            .zeros::<2>()
            .bytes_in(self.allocation_length)
    }

    pub(crate) fn parse(f: Fields<'_>) -> Result<Self, CommandError> {
        let extended = match f.u8(1) >> 5 {
            0 => false,
            1 => true,
            _ => return Err(CommandError::Field { byte: 1, bit: 7 }),
        };
        Ok(Self { extended, allocation_length: f.u32(6) })
    }
}

/// A target port group.
///
/// ```
/// use iscsi_scsi::alua::{AccessState, TargetPortGroup};
/// let group = TargetPortGroup {
///     preferred: true,
///     state: AccessState::ACTIVE_OPTIMIZED,
///     supported_states: 0x01,
///     id: 1,
///     status_code: 0,
///     ports: &[0, 0, 0, 1, 0, 0, 0, 2],
/// };
/// assert!(group.port_ids().eq([1, 2]));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetPortGroup<'a> {
    /// PREF: the preferred group.
    pub preferred: bool,
    /// Access state.
    pub state: AccessState,
    /// Supported states: 80h transitioning, 40h offline, 10h block dependent, 08h unavailable,
    /// 04h standby, 02h non-optimized, 01h optimized.
    pub supported_states: u8,
    /// TARGET PORT GROUP.
    pub id: u16,
    /// STATUS CODE: 1 changed by command, 2 by the device.
    pub status_code: u8,
    /// The port descriptors, 4 bytes each; at most 255. [`Self::port_ids`] decodes them.
    pub ports: &'a [u8],
}

impl<'a> TargetPortGroup<'a> {
    /// The relative target port identifiers in order.
    pub fn port_ids(&self) -> impl ExactSizeIterator<Item = u16> + Clone + use<'a> {
        let (ports, _) = self.ports.as_chunks::<4>();
        ports.iter().map(|&[_, _, high, low]| u16::from_be_bytes([high, low]))
    }
}

/// Data of REPORT TARGET PORT GROUPS.
///
/// ```
/// use iscsi_scsi::alua::{TargetPortGroup, TargetPortGroups};
/// let group = TargetPortGroup {
///     id: 1, supported_states: 1, ports: &[0, 0, 0, 7], ..Default::default()
/// };
/// let mut data = [0; 16];
/// assert_eq!(TargetPortGroups::emit([group], &mut data), 16);
/// assert_eq!(data, [0, 0, 0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7]);
/// let parsed = TargetPortGroups::parse(&data, false)?;
/// assert!(parsed.groups().eq([group]));
/// # Ok::<(), iscsi_scsi::ParseError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct TargetPortGroups<'a> {
    /// IMPLICIT TRANSITION TIME in seconds, from the extended header.
    pub transition_time: Option<u8>,
    list: &'a [u8],
}

impl<'a> TargetPortGroups<'a> {
    /// Bytes of the whole data, which may be more than were returned. `None` below 4 bytes.
    pub fn full_size(data: &[u8]) -> Option<usize> {
        u32_at(data, 0).map(|length| index(length).saturating_add(4))
    }

    /// Parses the data, as far as it was returned. `extended` says what was asked for; a device
    /// that does not know the extended header returns the short one.
    ///
    /// # Errors
    /// [`ParseError::Short`] below 4 bytes.
    pub fn parse(data: &'a [u8], extended: bool) -> Result<Self, ParseError> {
        need(data, 4)?;
        let f = Fields(cut(data, Self::full_size(data).unwrap_or(0)));
        // The extended header names itself: format type 1 in bits 6 to 4.
        let extended = extended && f.u8(4) & 0x70 == 0x10;
        Ok(Self {
            transition_time: extended.then(|| f.u8(5)),
            list: f.slice(if extended { 8 } else { 4 }, usize::MAX),
        })
    }

    /// The groups in order. One that was not returned in full ends the iteration.
    pub fn groups(&self) -> impl Iterator<Item = TargetPortGroup<'a>> + Clone + use<'a> {
        let mut rest = self.list;
        core::iter::from_fn(move || {
            let (descriptor, after) = rest.split_first_chunk::<8>()?;
            let f = Fields(descriptor);
            let (ports, after) = after.split_at_checked(usize::from(f.u8(7)) * 4)?;
            rest = after;
            Some(TargetPortGroup {
                preferred: f.flag(0, 0x80),
                state: AccessState::from_bits(f.u8(0)),
                supported_states: f.u8(1),
                id: f.u16(2),
                status_code: f.u8(5),
                ports,
            })
        })
    }

    /// Writes the data with the short header, truncated to the buffer, and returns the full size.
    pub fn emit<'g>(
        groups: impl IntoIterator<Item = TargetPortGroup<'g>>,
        out: &mut [u8],
    ) -> usize {
        let mut out = Out::new(out);
        out.zeros(4);
        for group in groups {
            let (ports, _) = group.ports.as_chunks::<4>();
            let ports = ports.get(..255).unwrap_or(ports);
            out.u8(bit(group.preferred, 0x80) | group.state.code())
                .u8(group.supported_states)
                .u16(group.id)
                .zeros(1)
                .u8(group.status_code)
                .zeros(1)
                .u8(u8::try_from(ports.len()).unwrap_or(u8::MAX))
                .bytes(ports.as_flattened());
        }
        let length = clip32(out.len() - 4);
        out.patch(0, &length.to_be_bytes());
        out.len()
    }
}

/// SET TARGET PORT GROUPS, a service action of MAINTENANCE OUT.
///
/// ```
/// use iscsi_scsi::alua::SetTargetPortGroups;
/// let cdb = SetTargetPortGroups { parameter_list_length: 8 }.cdb();
/// assert_eq!(cdb.as_bytes(), [0xa4, 0x0a, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0]);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SetTargetPortGroups {
    /// Bytes of the parameter list.
    pub parameter_list_length: u32,
}

impl SetTargetPortGroups {
    /// Operation code: MAINTENANCE OUT.
    pub const OPCODE: u8 = 0xa4;
    /// Service action.
    pub const SERVICE_ACTION: u8 = 0x0a;

    /// The CDB.
    pub fn cdb(&self) -> Cdb {
        CdbWriter::new(Self::OPCODE)
            .u8(Self::SERVICE_ACTION)
            .zeros::<4>()
            .u32(self.parameter_list_length)
            .zeros::<2>()
            .bytes_out(self.parameter_list_length)
    }

    pub(crate) fn parse(f: Fields<'_>) -> Result<Self, CommandError> {
        Ok(Self { parameter_list_length: f.u32(6) })
    }

    /// Writes the parameter list, pairs of a state and a group, and returns its length.
    ///
    /// # Errors
    /// [`BuildError::BufferTooSmall`].
    ///
    /// ```
    /// use iscsi_scsi::alua::{AccessState, SetTargetPortGroups};
    /// let mut list = [0xee; 8];
    /// let len = SetTargetPortGroups::build_list(&[(AccessState::STANDBY, 0x0102)], &mut list)?;
    /// assert_eq!((len, list), (8, [0, 0, 0, 0, 0x02, 0, 1, 2]));
    /// # Ok::<(), iscsi_scsi::BuildError>(())
    /// ```
    pub fn build_list(groups: &[(AccessState, u16)], out: &mut [u8]) -> Result<usize, BuildError> {
        let mut out = Out::new(out);
        out.zeros(4);
        for &(state, group) in groups {
            out.u8(state.code()).zeros(1).u16(group);
        }
        out.complete()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_header() {
        let data = [
            0, 0, 0, 16, 0x10, 9, 0, 0, // extended header, 9 seconds
            0x81, 0x83, 0, 2, 0, 1, 0, 1, 0, 0, 0, 3,
        ];
        let parsed = TargetPortGroups::parse(&data, true).unwrap();
        assert_eq!(parsed.transition_time, Some(9));
        let group = parsed.groups().next().unwrap();
        assert!(group.preferred);
        assert_eq!(group.state, AccessState::ACTIVE_NON_OPTIMIZED);
        assert_eq!((group.id, group.status_code), (2, 1));
        assert!(group.port_ids().eq([3]));
        // Asked for, but the device answered with the short header.
        let short = [0, 0, 0, 8, 0x01, 0x83, 0, 2, 0, 0, 0, 0];
        let parsed = TargetPortGroups::parse(&short, true).unwrap();
        assert_eq!(parsed.transition_time, None);
        assert_eq!(parsed.groups().count(), 1);
    }

    #[test]
    fn port_count_beyond_the_data() {
        let data = [0, 0, 0, 12, 0, 0, 0, 1, 0, 0, 0, 255, 0, 0, 0, 1];
        assert_eq!(TargetPortGroups::parse(&data, false).unwrap().groups().count(), 0);
    }
}
