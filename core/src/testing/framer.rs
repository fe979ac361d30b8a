//! Cutting a byte stream into PDUs.

use alloc::vec::Vec;

use crate::digest::{DigestKind, crc32c, to_wire};
use crate::wire::{BHS_LEN, Bhs, Opcode, PduLengths};

/// A PDU cut out of a byte stream.
///
/// ```
/// use iscsi_core::digest::DigestKind;
/// use iscsi_core::testing::Framer;
/// let mut framer = Framer::new(DigestKind::None, DigestKind::None);
/// framer.push(&[0; 48]);
/// let pdu = framer.next().unwrap();
/// assert!(pdu.data.is_empty() && pdu.digests_match);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pdu {
    /// The header.
    pub bhs: Bhs,
    /// Additional header segments.
    pub ahs: Vec<u8>,
    /// The data segment without padding.
    pub data: Vec<u8>,
    /// The padding.
    pub padding: Vec<u8>,
    /// Both digests, as far as there are any, are right.
    pub digests_match: bool,
}

/// Cuts a byte stream into PDUs. Those of the login phase have no digests, whatever the stream has later.
///
/// ```
/// use iscsi_core::digest::DigestKind;
/// use iscsi_core::testing::Framer;
/// let mut framer = Framer::new(DigestKind::None, DigestKind::None);
/// let mut bytes = [0; 52];
/// bytes[7] = 3; // DataSegmentLength
/// framer.push(&bytes[..50]);
/// assert!(framer.next().is_none());
/// framer.push(&bytes[50..]);
/// assert_eq!(framer.next().unwrap().data.len(), 3);
/// ```
#[derive(Debug, Clone)]
pub struct Framer {
    bytes: Vec<u8>,
    /// Where the next PDU begins.
    start: usize,
    header: DigestKind,
    data: DigestKind,
}

impl Framer {
    /// For a stream with these digests.
    pub const fn new(header: DigestKind, data: DigestKind) -> Self {
        Self { bytes: Vec::new(), start: 0, header, data }
    }

    /// Other digests from the next PDU on.
    pub const fn set_digests(&mut self, header: DigestKind, data: DigestKind) {
        self.header = header;
        self.data = data;
    }

    pub(super) const fn digests(&self) -> (DigestKind, DigestKind) {
        (self.header, self.data)
    }

    /// More of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.start);
        self.start = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes of a PDU that is not whole yet.
    pub const fn pending(&self) -> usize {
        self.bytes.len() - self.start
    }

    fn lengths(&self, bhs: &Bhs) -> PduLengths {
        let (header, data) = digests_of(bhs, self.header, self.data);
        PduLengths::new(bhs, header, data)
    }

    /// All bytes of the next PDU, once they are there.
    pub fn next_bytes(&mut self) -> Option<Vec<u8>> {
        let rest = &self.bytes[self.start..];
        let bhs = rest.first_chunk::<BHS_LEN>()?;
        let total = BHS_LEN + self.lengths(bhs).total();
        let pdu = rest.get(..total)?.to_vec();
        self.start += total;
        Some(pdu)
    }

    /// The next PDU, once it is whole.
    #[expect(clippy::should_implement_trait, reason = "a stream that pauses is no iterator")]
    pub fn next(&mut self) -> Option<Pdu> {
        let bytes = self.next_bytes()?;
        let bhs = *bytes.first_chunk::<BHS_LEN>()?;
        let lengths = self.lengths(&bhs);
        let (head, rest) = bytes.split_at(BHS_LEN + lengths.ahs);
        let (header_digest, rest) = rest.split_at(lengths.header_digest);
        let (segment, data_digest) = rest.split_at(lengths.data + lengths.padding);
        let matches =
            |covered: &[u8], digest: &[u8]| digest.is_empty() || to_wire(crc32c(covered)) == digest;
        Some(Pdu {
            bhs,
            ahs: head[BHS_LEN..].to_vec(),
            data: segment[..lengths.data].to_vec(),
            padding: segment[lengths.data..].to_vec(),
            digests_match: matches(head, header_digest) && matches(segment, data_digest),
        })
    }

    /// The bytes of a PDU with padding and digests, for a stream like this one.
    pub fn frame(&self, bhs: &Bhs, ahs: &[u8], data: &[u8]) -> Vec<u8> {
        self.frame_padded(bhs, ahs, data, 0)
    }

    /// As [`frame`](Self::frame), with padding of this byte.
    pub fn frame_padded(&self, bhs: &Bhs, ahs: &[u8], data: &[u8], pad: u8) -> Vec<u8> {
        let (header, data_digest) = digests_of(bhs, self.header, self.data);
        let mut out = bhs.to_vec();
        out.extend_from_slice(ahs);
        if header == DigestKind::Crc32c {
            let digest = to_wire(crc32c(&out));
            out.extend_from_slice(&digest);
        }
        let start = out.len();
        out.extend_from_slice(data);
        out.resize(out.len() + crate::wire::padding(data.len()), pad);
        if data_digest == DigestKind::Crc32c && !data.is_empty() {
            let digest = to_wire(crc32c(&out[start..]));
            out.extend_from_slice(&digest);
        }
        out
    }

    /// Where the header digest and the data digest of such a PDU are, if it has them.
    pub(super) fn digest_places(&self, ahs: usize, data: usize) -> [Option<usize>; 2] {
        let header = (self.header == DigestKind::Crc32c).then_some(BHS_LEN + ahs);
        let segment = BHS_LEN + ahs + header.map_or(0, |_| 4);
        let end = segment + data + crate::wire::padding(data);
        [header, (self.data == DigestKind::Crc32c && data > 0).then_some(end)]
    }
}

/// The digests of one PDU on a connection with these digests: the login phase has none.
pub(super) fn digests_of(
    bhs: &Bhs,
    header: DigestKind,
    data: DigestKind,
) -> (DigestKind, DigestKind) {
    match Opcode::of(bhs) {
        Some(Opcode::LoginRequest | Opcode::LoginResponse) => (DigestKind::None, DigestKind::None),
        _ => (header, data),
    }
}
