//! Big-endian access that never indexes past the bytes at hand.

use crate::error::{BuildError, ParseError};

/// Reads fields of a byte string; a field beyond the end reads as zero.
///
/// Use it where the length was checked before, or where the standard gives a missing field the
/// meaning of zero (pages that grew from one version to the next).
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn array<const N: usize>(self, at: usize) -> [u8; N] {
        array_at(self.0, at).unwrap_or([0; N])
    }

    pub(crate) fn u8(self, at: usize) -> u8 {
        self.0.get(at).copied().unwrap_or(0)
    }

    /// True if any bit of `mask` is set in the byte.
    pub(crate) fn flag(self, at: usize, mask: u8) -> bool {
        self.u8(at) & mask != 0
    }

    pub(crate) fn u16(self, at: usize) -> u16 {
        u16::from_be_bytes(self.array(at))
    }

    pub(crate) fn u24(self, at: usize) -> u32 {
        let [a, b, c] = self.array(at);
        u32::from_be_bytes([0, a, b, c])
    }

    pub(crate) fn u32(self, at: usize) -> u32 {
        u32::from_be_bytes(self.array(at))
    }

    pub(crate) fn u64(self, at: usize) -> u64 {
        u64::from_be_bytes(self.array(at))
    }

    /// The bytes from `at`, at most `len`, fewer if the data ends before.
    pub(crate) fn slice(self, at: usize, len: usize) -> &'a [u8] {
        let rest = self.0.get(at..).unwrap_or_default();
        cut(rest, len)
    }
}

pub(crate) fn array_at<const N: usize>(data: &[u8], at: usize) -> Option<[u8; N]> {
    data.get(at..)?.first_chunk::<N>().copied()
}

pub(crate) fn u16_at(data: &[u8], at: usize) -> Option<u16> {
    array_at(data, at).map(u16::from_be_bytes)
}

pub(crate) fn u32_at(data: &[u8], at: usize) -> Option<u32> {
    array_at(data, at).map(u32::from_be_bytes)
}

/// A wire length as an index. On a 16-bit machine an absurd length saturates.
pub(crate) fn index(length: u32) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

/// The first `len` bytes, or all if there are fewer.
pub(crate) fn cut(data: &[u8], len: usize) -> &[u8] {
    data.get(..len).unwrap_or(data)
}

/// Fails unless `data` has at least `needed` bytes.
pub(crate) fn need(data: &[u8], needed: usize) -> Result<(), ParseError> {
    if data.len() < needed {
        return Err(ParseError::Short { needed, got: data.len() });
    }
    Ok(())
}

/// Writes a data format in order. Bytes beyond the end of the buffer are counted and dropped.
///
/// That is what SCSI asks of data-in (an allocation length truncates); a parameter list must not be
/// truncated, so its builders end with [`Out::complete`].
pub(crate) struct Out<'a> {
    buffer: &'a mut [u8],
    at: usize,
}

impl<'a> Out<'a> {
    pub(crate) fn new(buffer: &'a mut [u8]) -> Self {
        Self { buffer, at: 0 }
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        if let Some(space) = self.buffer.get_mut(self.at..) {
            for (to, from) in space.iter_mut().zip(bytes) {
                *to = *from;
            }
        }
        self.at = self.at.saturating_add(bytes.len());
        self
    }

    pub(crate) fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes(&[value])
    }

    pub(crate) fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    /// The low 24 bits; callers check the range.
    pub(crate) fn u24(&mut self, value: u32) -> &mut Self {
        let [_, a, b, c] = value.to_be_bytes();
        self.bytes(&[a, b, c])
    }

    pub(crate) fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(crate) fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes(&value.to_be_bytes())
    }

    pub(crate) fn fill(&mut self, count: usize, value: u8) -> &mut Self {
        for _ in 0..count {
            self.u8(value);
        }
        self
    }

    pub(crate) fn zeros(&mut self, count: usize) -> &mut Self {
        self.fill(count, 0)
    }

    /// `text` cut or padded with spaces to `width` bytes.
    pub(crate) fn padded(&mut self, text: &[u8], width: usize) -> &mut Self {
        let text = cut(text, width);
        self.bytes(text).fill(width.saturating_sub(text.len()), b' ')
    }

    /// Overwrites bytes written before (a length known only at the end).
    pub(crate) fn patch(&mut self, at: usize, bytes: &[u8]) {
        let end = self.at;
        self.at = at;
        self.bytes(bytes);
        self.at = end;
    }

    /// The length so far, dropped bytes included.
    pub(crate) fn len(&self) -> usize {
        self.at
    }

    /// The length, if nothing was dropped.
    pub(crate) fn complete(&self) -> Result<usize, BuildError> {
        if self.at > self.buffer.len() {
            return Err(BuildError::BufferTooSmall { needed: self.at, got: self.buffer.len() });
        }
        Ok(self.at)
    }
}

/// A length as a 16-bit field, or an error if it does not fit.
pub(crate) fn len16(len: usize) -> Result<u16, BuildError> {
    u16::try_from(len).map_err(|_| BuildError::TooLong { len, max: 0xffff })
}

/// A length as a 16-bit field of data-in, where the largest value stands for "that or more".
pub(crate) fn clip16(len: usize) -> u16 {
    u16::try_from(len).unwrap_or(u16::MAX)
}

/// A length as a 32-bit field of data-in.
pub(crate) fn clip32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// `mask` if `on`.
pub(crate) const fn bit(on: bool, mask: u8) -> u8 {
    if on { mask } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_beyond_the_end_are_zero() {
        let f = Fields(&[1, 2, 3]);
        assert_eq!(f.u16(1), 0x0203);
        assert_eq!(f.u16(2), 0, "a field that is half there is not there");
        assert_eq!(f.u24(0), 0x0001_0203);
        assert_eq!(f.u64(usize::MAX), 0);
        assert_eq!(f.slice(2, 10), &[3]);
        assert_eq!(f.slice(4, 1), &[] as &[u8]);
    }

    #[test]
    fn out_counts_what_it_drops() {
        let mut buffer = [0; 3];
        let mut out = Out::new(&mut buffer);
        out.u16(0x0102).u32(0x0304_0506);
        out.patch(0, &[9]);
        assert_eq!(out.len(), 6);
        assert_eq!(out.complete(), Err(BuildError::BufferTooSmall { needed: 6, got: 3 }));
        assert_eq!(buffer, [9, 2, 3]);
    }
}
