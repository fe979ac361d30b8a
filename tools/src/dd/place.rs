//! What the two ends of a copy are by whatever name they were opened: copying something onto itself would destroy it.

use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use iscsi_scsi::inquiry::StandardInquiry;
use iscsi_scsi::vpd::{DeviceIdentification, PageCode, UnitSerialNumber};

use crate::unit::Unit;

/// A file or a block device as the system knows it. Pipes, terminals and the like hold nothing that could be overwritten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    File { device: u64, inode: u64 },
    BlockDevice(u64),
}

impl Place {
    pub(crate) fn of(metadata: &Metadata) -> Option<Self> {
        let kind = metadata.file_type();
        if kind.is_file() {
            Some(Self::File { device: metadata.dev(), inode: metadata.ino() })
        } else {
            kind.is_block_device().then(|| Self::BlockDevice(metadata.rdev()))
        }
    }
}

/// One of the standard streams as a file, which has metadata, and which does not hide that it cannot be read or written: to the
/// standard library such a stream is at its end, or takes everything.
pub(crate) fn as_file(stream: impl AsFd) -> io::Result<File> {
    Ok(stream.as_fd().try_clone_to_owned()?.into())
}

/// Whether a standard stream is `/dev/null`, open for reading and writing.
///
/// That is what the Rust runtime puts in the place of a stream that was closed when the program began; a shell opens
/// `/dev/null` for one direction only.
pub(crate) fn was_closed(stream: &mut File) -> bool {
    let null = std::fs::metadata("/dev/null").ok();
    let is_null = stream.metadata().is_ok_and(|found| {
        found.file_type().is_char_device()
            && null.is_some_and(|null| null.rdev() == found.rdev() && null.rdev() != 0)
    });
    // Nothing is read or written in either case; the system refuses what the mode does not allow.
    is_null && stream.read(&mut [0]).is_ok() && stream.write(&[]).is_ok()
}

/// How a logical unit calls itself. Two paths to one unit give the same answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnitIdentity {
    /// Vendor and product: a serial number is unique among those only.
    product: [String; 2],
    /// The type of its strongest designator, and the designator.
    designator: Option<(u8, Vec<u8>)>,
    serial: Option<String>,
}

impl UnitIdentity {
    /// `None` if the unit does not tell.
    pub(crate) fn ask(unit: &mut Unit) -> Option<Self> {
        let page = unit.inquiry(Some(PageCode::DEVICE_IDENTIFICATION)).unwrap_or_default();
        let names = DeviceIdentification::parse(&page).ok();
        let name = names.and_then(|names| names.unit_name());
        let designator = name.map(|name| (name.kind.code(), name.bytes.to_vec()));
        let page = unit.inquiry(Some(PageCode::UNIT_SERIAL_NUMBER)).unwrap_or_default();
        let serial = UnitSerialNumber::parse(&page).ok();
        let serial = serial.map(|page| page.serial().trimmed().to_string());
        let serial = serial.filter(|serial| !serial.is_empty());
        if designator.is_none() && serial.is_none() {
            return None;
        }
        let data = unit.inquiry(None).ok()?;
        let inquiry = StandardInquiry::parse(&data).ok()?;
        let product = [inquiry.vendor(), inquiry.product()].map(|name| name.trimmed().to_string());
        Some(Self { product, designator, serial })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};

    use super::*;

    #[test]
    fn a_file_is_itself_by_any_name() {
        let name =
            |end| std::env::temp_dir().join(format!("iscsi-place-{end}-{}", std::process::id()));
        let (a, b, c) = (name("a"), name("b"), name("c"));
        fs::write(&a, "x").unwrap();
        fs::hard_link(&a, &b).unwrap();
        fs::write(&c, "x").unwrap();
        let place = |path| Place::of(&fs::metadata(path).unwrap());
        assert!(place(&a).is_some());
        assert_eq!(place(&a), place(&b));
        assert_ne!(place(&a), place(&c));
        for path in [&a, &b, &c] {
            fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn what_holds_nothing_has_no_place() {
        for path in ["/dev/null", "/dev/zero", "/tmp"] {
            assert_eq!(Place::of(&fs::metadata(path).unwrap()), None, "{path}");
        }
    }

    #[test]
    fn null_for_both_directions_was_closed() {
        let open = |path, read, write| {
            let mut options = OpenOptions::new();
            was_closed(&mut options.read(read).write(write).open(path).unwrap())
        };
        assert!(open("/dev/null", true, true));
        assert!(!open("/dev/null", true, false) && !open("/dev/null", false, true));
        assert!(!open("/dev/zero", true, true));
    }
}
