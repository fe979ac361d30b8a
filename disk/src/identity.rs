//! Which device this is.

use core::fmt;

use iscsi_scsi::Ascii;
use iscsi_scsi::inquiry::StandardInquiry;
use iscsi_scsi::vpd::{
    Association, CodeSet, Designator, DesignatorType, DeviceIdentification, UnitSerialNumber,
};

/// Bytes kept of the serial number.
const SERIAL: usize = 64;
/// Bytes kept of the designators of the logical unit: the largest has 4 + 255.
const NAMES: usize = 384;

/// Names of a device: what INQUIRY, the unit serial number (page 80h) and the device identification (page 83h) say.
///
/// Only names of the logical unit are kept, not those of ports; they tell whether the device behind a session is still the same one.
///
/// ```
/// use iscsi_disk::Identity;
/// use iscsi_disk::scsi::inquiry::StandardInquiry;
/// use iscsi_disk::scsi::vpd::{Designator, DesignatorType};
///
/// let mut inquiry = StandardInquiry::default();
/// inquiry.set_names("ACME", "DISK", "1");
/// let naa = [0x50, 0, 0, 0, 0, 0, 0, 1];
/// let identity = Identity::new(&inquiry)
///     .with_serial(b" 42 ")
///     .with_designators([Designator::binary(DesignatorType::NAA, &naa)]);
/// assert_eq!(identity.to_string(), "ACME DISK 1, serial 42");
/// assert_eq!(identity.unit_name().unwrap().bytes, naa);
/// assert!(identity.is_same_device(&identity));
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    vendor: [u8; 8],
    product: [u8; 16],
    revision: [u8; 4],
    serial: [u8; SERIAL],
    serial_len: u8,
    /// Designation descriptors as they stand in page 83h.
    names: [u8; NAMES],
    names_len: u16,
}

impl Identity {
    /// The names in standard INQUIRY data.
    pub const fn new(inquiry: &StandardInquiry) -> Self {
        Self {
            vendor: inquiry.vendor,
            product: inquiry.product,
            revision: inquiry.revision,
            serial: [0; SERIAL],
            serial_len: 0,
            names: [0; NAMES],
            names_len: 0,
        }
    }

    /// The same with a serial number; blanks around it are dropped, and what exceeds 64 bytes.
    #[must_use]
    pub fn with_serial(mut self, serial: &[u8]) -> Self {
        let serial = Ascii::new(serial).trimmed().as_bytes();
        let len = serial.len().min(SERIAL);
        for (to, from) in self.serial.iter_mut().zip(serial) {
            *to = *from;
        }
        self.serial_len = len as u8;
        self
    }

    /// The same with these designators, as far as they name the logical unit. What exceeds 384 bytes is dropped.
    #[must_use]
    pub fn with_designators<'d>(
        mut self,
        designators: impl IntoIterator<Item = Designator<'d>>,
    ) -> Self {
        self.names_len = 0;
        for designator in designators {
            let start = usize::from(self.names_len);
            let size = designator.size();
            if designator.association != Association::LOGICAL_UNIT || designator.bytes.len() > 255 {
                continue;
            }
            let Some(place) = self.names.get_mut(start..start + size) else { continue };
            let Some((head, name)) = place.split_first_chunk_mut::<4>() else { continue };
            *head = [
                designator.code_set.code(),
                designator.kind.code(),
                0,
                designator.bytes.len() as u8,
            ];
            name.copy_from_slice(designator.bytes);
            self.names_len += size as u16;
        }
        self
    }

    pub(crate) fn set_serial(&mut self, page: UnitSerialNumber<'_>) {
        *self = self.with_serial(page.serial().as_bytes());
    }

    pub(crate) fn set_designators(&mut self, page: DeviceIdentification<'_>) {
        *self = self.with_designators(page.designators());
    }

    /// T10 vendor identification without padding.
    pub fn vendor(&self) -> Ascii<'_> {
        Ascii::new(&self.vendor).trimmed()
    }

    /// Product identification without padding.
    pub fn product(&self) -> Ascii<'_> {
        Ascii::new(&self.product).trimmed()
    }

    /// Product revision level without padding.
    pub fn revision(&self) -> Ascii<'_> {
        Ascii::new(&self.revision).trimmed()
    }

    /// Unit serial number without padding, empty if there is none.
    pub fn serial(&self) -> Ascii<'_> {
        Ascii::new(self.serial.get(..usize::from(self.serial_len)).unwrap_or_default())
    }

    /// The names of the logical unit in the order of page 83h.
    pub fn designators(&self) -> impl Iterator<Item = Designator<'_>> + Clone {
        let mut rest = self.names.get(..usize::from(self.names_len)).unwrap_or_default();
        core::iter::from_fn(move || {
            let (&[code_set, kind, _, len], after) = rest.split_first_chunk()?;
            let (bytes, after) = after.split_at_checked(len.into())?;
            rest = after;
            Some(Designator {
                code_set: CodeSet::new(code_set)?,
                ..Designator::binary(DesignatorType::new(kind)?, bytes)
            })
        })
    }

    /// The strongest name of the logical unit: world-wide unique ones first.
    pub fn unit_name(&self) -> Option<Designator<'_>> {
        RANKS.iter().find_map(|&kind| self.designators().find(|d| d.kind == kind))
    }

    /// Whether this is the device that `before` describes.
    ///
    /// The strongest kind of name that both have decides: one of these names must be common to both. Without such a kind, vendor, product and
    /// serial number must be equal, and the kinds of names too: a device that lost its name is not trusted. The revision may change.
    pub fn is_same_device(&self, before: &Self) -> bool {
        for kind in RANKS {
            let of_kind = |d: &Designator<'_>| d.kind == kind;
            let mut mine = self.designators().filter(of_kind).peekable();
            let mut theirs = before.designators().filter(of_kind).peekable();
            if mine.peek().is_some() && theirs.peek().is_some() {
                return mine.any(|m| theirs.clone().any(|t| t.bytes == m.bytes));
            }
        }
        self.unit_name().is_none()
            && before.unit_name().is_none()
            && self.vendor == before.vendor
            && self.product == before.product
            && self.serial() == before.serial()
    }
}

/// Kinds of names, strongest first.
const RANKS: [DesignatorType; 7] = [
    DesignatorType::NAA,
    DesignatorType::EUI64,
    DesignatorType::UUID,
    DesignatorType::SCSI_NAME,
    DesignatorType::T10,
    DesignatorType::MD5,
    DesignatorType::VENDOR,
];

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.vendor(), self.product(), self.revision())?;
        if self.serial_len > 0 { write!(f, ", serial {}", self.serial()) } else { Ok(()) }
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(names: &[Designator<'_>], serial: &[u8]) -> Identity {
        Identity::new(&StandardInquiry::default())
            .with_serial(serial)
            .with_designators(names.iter().copied())
    }

    #[test]
    fn the_strongest_common_kind_decides() {
        let naa = |bytes| Designator::binary(DesignatorType::NAA, bytes);
        let t10 = Designator::t10;
        let a = device(&[t10(b"ACME    1"), naa(&[1; 8]), naa(&[2; 8])], b"s");
        assert!(device(&[naa(&[2; 8])], b"other").is_same_device(&a), "one common name");
        assert!(!device(&[t10(b"ACME    1"), naa(&[3; 8])], b"s").is_same_device(&a));
        assert!(device(&[t10(b"ACME    1")], b"").is_same_device(&a), "next kind");
        assert!(!device(&[], b"s").is_same_device(&a), "lost its names");
        assert!(device(&[], b"s").is_same_device(&device(&[], b" s ")));
        assert!(!device(&[], b"s").is_same_device(&device(&[], b"t")));
    }

    #[test]
    fn names_of_ports_and_overlong_lists_are_dropped() {
        let port = Designator::scsi_name(Association::TARGET_PORT, b"iqn.x,t,0x0001");
        let long = [7; 255];
        let big = Designator::binary(DesignatorType::VENDOR, &long);
        let small = Designator::binary(DesignatorType::NAA, &[9; 16]);
        let identity = device(&[port, big, big, small], &[b'x'; 100]);
        assert!(identity.designators().eq([big, small]));
        assert_eq!(identity.serial().as_bytes(), [b'x'; 64]);
        assert_eq!(identity.unit_name(), Some(small));
    }
}
