//! The scratch of a connection: bytes that were read and not yet taken.

use core::fmt;

const PAGE: usize = 4096;

/// What a read of whole pages is short of them.
const SHIFT: usize = 64;

/// A buffer that one runtime keeps for the life of one connection.
///
/// Small PDUs are parsed out of it. Bytes stay in it while input has to wait; after a reconnect it must be
/// [cleared](Self::clear). Functions take the unsized view `&mut RecvBuf`; 16 KiB suit most links, 4 KiB for each command under way the
/// fastest: large reads go straight to their place anyway. A length of 0 works too.
///
/// ```
/// use iscsi_core::driver::RecvBuf;
/// let mut storage = RecvBuf::new([0; 4]);
/// let scratch: &mut RecvBuf = &mut storage;
/// scratch.space(usize::MAX)[..3].copy_from_slice(b"abc");
/// scratch.filled_by(3);
/// assert_eq!(scratch.filled(), b"abc");
/// scratch.consume(2);
/// assert_eq!(scratch.filled(), b"c");
/// assert_eq!(scratch.space(usize::MAX).len(), 1);
/// ```
#[derive(Clone)]
pub struct RecvBuf<B: ?Sized = [u8]> {
    start: usize,
    end: usize,
    bytes: B,
}

/// Without the bytes, which may be proofs of CHAP or the data of a disk.
impl<B: ?Sized> fmt::Debug for RecvBuf<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, end) = (self.start, self.end);
        f.debug_struct("RecvBuf").field("filled", &(start..end)).finish_non_exhaustive()
    }
}

impl<const N: usize> RecvBuf<[u8; N]> {
    #[cfg(feature = "alloc")]
    const EMPTY: Self = Self::new([0; N]);

    /// An empty scratch over `bytes`.
    pub const fn new(bytes: [u8; N]) -> Self {
        Self { start: 0, end: 0, bytes }
    }
}

impl RecvBuf {
    /// Bytes that were read and not taken.
    pub fn filled(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    /// Whether nothing waits to be taken.
    pub const fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The size of the scratch.
    pub const fn capacity(&self) -> usize {
        self.bytes.len()
    }

    /// Room for reading, at most `most` bytes. Whole pages are offered less 64 bytes.
    ///
    /// Reads of whole pages, one after the other, keep the distance of source and destination modulo 4 KiB, and some processors copy several times
    /// slower at one of 1 to 31 bytes (`REP MOVSB` of AMD Zen 3): a stream would stay slow that is slow once.
    pub fn space(&mut self, most: usize) -> &mut [u8] {
        if self.is_empty() {
            self.start = 0;
            self.end = 0;
        }
        let free = self.bytes.get_mut(self.end..).unwrap_or_default();
        let mut len = free.len().min(most);
        if len > 0 && len.is_multiple_of(PAGE) {
            len -= SHIFT;
        }
        &mut free[..len]
    }

    /// `n` bytes were read into [`space`](Self::space).
    pub fn filled_by(&mut self, n: usize) {
        self.end = self.end.saturating_add(n).min(self.bytes.len());
    }

    /// `n` bytes were taken.
    pub fn consume(&mut self, n: usize) {
        self.start = self.start.saturating_add(n).min(self.end);
    }

    /// Forgets everything: the bytes of an old connection mean nothing to a new one.
    pub const fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }
}

#[cfg(feature = "alloc")]
impl RecvBuf {
    /// The longest scratch that [`with_room`](Self::with_room) makes, in bytes: 1 MiB.
    pub const MAX_ROOM: usize = 1 << 20;

    /// A 16 KiB scratch on the heap.
    ///
    /// ```
    /// assert_eq!(iscsi_core::driver::RecvBuf::boxed().capacity(), 16_384);
    /// ```
    pub fn boxed() -> alloc::boxed::Box<Self> {
        Self::with_room(0)
    }

    /// A scratch on the heap of `len` bytes, rounded up to a power of two from 16 KiB to 1 MiB, which is [the most](Self::MAX_ROOM).
    ///
    /// ```
    /// use iscsi_core::driver::RecvBuf;
    /// assert_eq!(RecvBuf::with_room(60_000).capacity(), 64 << 10);
    /// assert_eq!(RecvBuf::with_room(usize::MAX).capacity(), RecvBuf::MAX_ROOM);
    /// ```
    pub fn with_room(len: usize) -> alloc::boxed::Box<Self> {
        use alloc::boxed::Box;
        // A constant goes to the heap with one stop on the stack of a build without optimization, an argument with three.
        match len.min(Self::MAX_ROOM).next_power_of_two() {
            0x8000 => Box::new(RecvBuf::<[u8; 32 << 10]>::EMPTY),
            0x1_0000 => Box::new(RecvBuf::<[u8; 64 << 10]>::EMPTY),
            0x2_0000 => Box::new(RecvBuf::<[u8; 128 << 10]>::EMPTY),
            0x4_0000 => Box::new(RecvBuf::<[u8; 256 << 10]>::EMPTY),
            0x8_0000 => Box::new(RecvBuf::<[u8; 512 << 10]>::EMPTY),
            Self::MAX_ROOM => Box::new(RecvBuf::<[u8; Self::MAX_ROOM]>::EMPTY),
            _ => Box::new(RecvBuf::<[u8; 16 << 10]>::EMPTY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_that_fill_their_room_move_against_the_pages() {
        let mut storage = RecvBuf::new([0; 8192]);
        let scratch: &mut RecvBuf = &mut storage;
        let full = scratch.space(usize::MAX).len();
        assert_eq!(full, 8192 - 64);
        scratch.filled_by(full);
        assert_eq!(scratch.space(usize::MAX).len(), 64, "what is left is room all the same");
        scratch.filled_by(64);
        assert!(scratch.space(usize::MAX).is_empty());
        scratch.consume(8192);
        assert_eq!((scratch.space(4096).len(), scratch.space(4095).len()), (4032, 4095));
    }
}
