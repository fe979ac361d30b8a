//! Header and data digests: CRC32C (RFC 7143 section 13.1).
//!
//! With the feature `std` the checksum is computed by the `crc32c` crate, which uses the CPU's instruction where there is one.
//! Without it the `crc` crate computes it with one table of 1 KiB; its faster variant needs 16 KiB of flash, which small devices
//! would rather keep.

/// The digest that a connection uses for headers or for data (RFC 7143 section 13.1).
///
/// ```
/// use iscsi_core::digest::DigestKind;
/// assert_eq!((DigestKind::None.len(), DigestKind::Crc32c.len()), (0, 4));
/// assert_eq!(DigestKind::Crc32c.as_str(), "CRC32C");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DigestKind {
    /// No digest; always so in the Login Phase.
    #[default]
    None,
    /// CRC32C, four bytes.
    Crc32c,
}

impl DigestKind {
    /// The value of the keys HeaderDigest and DataDigest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Crc32c => "CRC32C",
        }
    }

    /// Bytes that a digest takes on the wire.
    #[inline]
    #[expect(clippy::len_without_is_empty, reason = "a length on the wire, not a container's")]
    pub const fn len(self) -> usize {
        match self {
            Self::None => 0,
            Self::Crc32c => 4,
        }
    }
}

/// A CRC32C over bytes that come in pieces.
///
/// ```
/// use iscsi_core::digest::{Crc32c, crc32c, to_wire};
///
/// let mut crc = Crc32c::new();
/// crc.update(b"1234");
/// crc.update(b"56789");
/// assert_eq!(crc.finish(), 0xe306_9283);
/// assert_eq!(crc32c(b"123456789"), 0xe306_9283);
/// assert_eq!(to_wire(0xe306_9283), [0x83, 0x92, 0x06, 0xe3]);
/// ```
#[derive(Clone)]
pub struct Crc32c(imp::State);

impl Crc32c {
    /// The checksum of no bytes.
    #[inline]
    pub const fn new() -> Self {
        Self(imp::NEW)
    }

    /// Goes on with `bytes`.
    #[inline]
    pub fn update(&mut self, bytes: &[u8]) {
        imp::update(&mut self.0, bytes);
    }

    /// The checksum of everything so far.
    #[inline]
    pub fn finish(self) -> u32 {
        imp::finish(self.0)
    }
}

impl Default for Crc32c {
    fn default() -> Self {
        Self::new()
    }
}

impl core::fmt::Debug for Crc32c {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Crc32c({:#010x})", self.clone().finish())
    }
}

/// The CRC32C of `bytes`.
#[inline]
pub fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = Crc32c::new();
    crc.update(bytes);
    crc.finish()
}

/// A checksum as it travels: least significant byte first, unlike every other number of a PDU.
#[inline]
pub const fn to_wire(checksum: u32) -> [u8; 4] {
    checksum.to_le_bytes()
}

#[cfg(feature = "std")]
mod imp {
    pub(super) type State = u32;

    pub(super) const NEW: State = 0;

    pub(super) fn update(state: &mut State, bytes: &[u8]) {
        *state = crc32c::crc32c_append(*state, bytes);
    }

    pub(super) fn finish(state: State) -> u32 {
        state
    }
}

#[cfg(not(feature = "std"))]
mod imp {
    use crc::{CRC_32_ISCSI, Crc, Digest, Table};

    static CRC: Crc<u32, Table<1>> = Crc::<u32, Table<1>>::new(&CRC_32_ISCSI);

    pub(super) type State = Digest<'static, u32, Table<1>>;

    pub(super) const NEW: State = CRC.digest();

    pub(super) fn update(state: &mut State, bytes: &[u8]) {
        state.update(bytes);
    }

    pub(super) fn finish(state: State) -> u32 {
        state.finalize()
    }
}
