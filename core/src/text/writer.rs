//! Writing pairs into a bounded area.

use core::fmt;

/// Writes `key=value` pairs, each ended by a zero byte (RFC 7143 section 6.1).
///
/// A pair that does not fit leaves nothing behind.
///
/// ```
/// use iscsi_core::text::Writer;
///
/// let mut area = [0; 64];
/// let mut writer = Writer::new(&mut area);
/// writer.text("InitiatorName", "iqn.2001-04.com.example").unwrap();
/// writer.boolean("ImmediateData", true).unwrap();
/// assert!(writer.number("MaxBurstLength", 262_144).is_err()); // the area is full
/// assert_eq!(writer.written(), b"InitiatorName=iqn.2001-04.com.example\0ImmediateData=Yes\0");
/// ```
#[derive(Debug)]
pub struct Writer<'a> {
    area: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    /// Writes from the start of `area`.
    pub const fn new(area: &'a mut [u8]) -> Self {
        Self { area, len: 0 }
    }

    /// Bytes written so far.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing was written.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// What was written.
    pub fn written(&self) -> &[u8] {
        self.area.get(..self.len).unwrap_or_default()
    }

    /// A text value.
    ///
    /// # Errors
    /// [`TextFull`]
    pub fn text(&mut self, key: &str, value: &str) -> Result<(), TextFull> {
        self.pair(key, |writer| writer.bytes(value.as_bytes()))
    }

    /// A value as it displays.
    ///
    /// # Errors
    /// [`TextFull`]
    pub fn display(&mut self, key: &str, value: impl fmt::Display) -> Result<(), TextFull> {
        self.pair(key, |writer| {
            fmt::Write::write_fmt(writer, format_args!("{value}")).map_err(|_| TextFull)
        })
    }

    /// A number, in decimal.
    ///
    /// # Errors
    /// [`TextFull`]
    pub fn number(&mut self, key: &str, value: u64) -> Result<(), TextFull> {
        self.display(key, value)
    }

    /// `Yes` or `No`.
    ///
    /// # Errors
    /// [`TextFull`]
    pub fn boolean(&mut self, key: &str, value: bool) -> Result<(), TextFull> {
        self.text(key, if value { "Yes" } else { "No" })
    }

    /// A list, comma separated, in the order given.
    ///
    /// # Errors
    /// [`TextFull`]
    pub fn list<T: fmt::Display>(
        &mut self,
        key: &str,
        values: impl IntoIterator<Item = T>,
    ) -> Result<(), TextFull> {
        self.pair(key, |writer| {
            for (at, value) in values.into_iter().enumerate() {
                let comma = if at == 0 { "" } else { "," };
                fmt::Write::write_fmt(writer, format_args!("{comma}{value}"))
                    .map_err(|_| TextFull)?;
            }
            Ok(())
        })
    }

    /// A binary item, in hexadecimal with an even count of digits.
    ///
    /// # Errors
    /// [`TextFull`]
    pub fn binary(&mut self, key: &str, value: &[u8]) -> Result<(), TextFull> {
        self.pair(key, |writer| {
            writer.bytes(b"0x")?;
            for byte in value {
                let digits = [byte >> 4, byte & 0xf];
                writer.bytes(&digits.map(|digit| match digit {
                    0..10 => b'0' + digit,
                    _ => b'a' + (digit - 10),
                }))?;
            }
            Ok(())
        })
    }

    /// A pair whose value is written by `value`; taken back if that fails.
    fn pair(
        &mut self,
        key: &str,
        value: impl FnOnce(&mut Self) -> Result<(), TextFull>,
    ) -> Result<(), TextFull> {
        let start = self.len;
        let result = self
            .bytes(key.as_bytes())
            .and_then(|()| self.bytes(b"="))
            .and_then(|()| value(self))
            .and_then(|()| self.bytes(&[0]));
        if result.is_err() {
            self.len = start;
        }
        result
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), TextFull> {
        let end = self.len.checked_add(bytes.len()).ok_or(TextFull)?;
        self.area.get_mut(self.len..end).ok_or(TextFull)?.copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }
}

impl fmt::Write for Writer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes(text.as_bytes()).map_err(|_| fmt::Error)
    }
}

/// A pair does not fit into the area.
///
/// ```
/// use iscsi_core::text::{TextFull, Writer};
/// assert_eq!(Writer::new(&mut []).text("A", "1"), Err(TextFull));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextFull;

impl fmt::Display for TextFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the text does not fit into its area")
    }
}

impl core::error::Error for TextFull {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_value() {
        let mut area = [0xee; 128];
        let mut writer = Writer::new(&mut area);
        assert!(writer.is_empty());
        writer.list("HeaderDigest", ["CRC32C", "None"]).unwrap();
        writer.list("A", [5]).unwrap();
        writer.number("B", u64::MAX).unwrap();
        writer.boolean("C", false).unwrap();
        writer.binary("D", &[0x00, 0x9a, 0xff]).unwrap();
        writer.binary("E", &[]).unwrap();
        writer.text("F", "").unwrap();
        let expected: &[u8] =
            b"HeaderDigest=CRC32C,None\0A=5\0B=18446744073709551615\0C=No\0D=0x009aff\0E=0x\0F=\0";
        assert_eq!(writer.written(), expected);
        assert_eq!(writer.len(), expected.len());
    }

    #[test]
    fn a_pair_that_does_not_fit_leaves_nothing() {
        // "A=1\0" needs four bytes, so every shorter area refuses it.
        for size in 0..4 {
            let mut area = [0; 4];
            let mut writer = Writer::new(&mut area[..size]);
            assert_eq!(writer.text("A", "1"), Err(TextFull));
            assert_eq!(writer.number("A", 1), Err(TextFull));
            assert_eq!(writer.binary("A", &[1]), Err(TextFull));
            assert_eq!(writer.list("A", [1]), Err(TextFull));
            assert_eq!(writer.written(), b"");
        }
    }
}
