//! Text fields that a device should fill with ASCII and may not.

use core::fmt::{self, Write};

/// A text field as the device sent it: printable ASCII by the standard, any bytes in practice.
///
/// `Display` shows printable ASCII and a dot for any other byte, so that a device cannot send
/// escape sequences to a terminal.
///
/// ```
/// use iscsi_scsi::Ascii;
/// let vendor = Ascii::new(b"IET\x1b    ");
/// assert_eq!(vendor.trimmed().as_bytes(), b"IET\x1b");
/// assert_eq!(format!("{}", vendor.trimmed()), "IET.");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ascii<'a>(&'a [u8]);

impl<'a> Ascii<'a> {
    /// The text in these bytes.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// The text, if all of it is UTF-8.
    pub fn as_str(&self) -> Option<&'a str> {
        str::from_utf8(self.0).ok()
    }

    /// Without spaces and NULs at either end.
    pub fn trimmed(&self) -> Self {
        let blank = |byte: &u8| matches!(byte, b' ' | 0);
        let start = self.0.iter().position(|byte| !blank(byte)).unwrap_or(self.0.len());
        let end = self.0.iter().rposition(|byte| !blank(byte)).map_or(start, |last| last + 1);
        Self(self.0.get(start..end).unwrap_or_default())
    }
}

impl fmt::Display for Ascii<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in self.0 {
            f.write_char(if matches!(byte, 0x20..=0x7e) { byte.into() } else { '.' })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trim() {
        let trim = |text| Ascii::new(text).trimmed().as_bytes();
        assert_eq!(trim(b"  a b \0"), b"a b");
        assert_eq!(trim(b"   "), b"");
        assert_eq!(trim(b""), b"");
    }
}
