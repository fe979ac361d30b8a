//! PDUs with everything that belongs to them.

use alloc::vec::Vec;

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::Framer;
use crate::digest::DigestKind;
use crate::wire::{AhsWriter, BHS_LEN, Bhs, InitiatorPdu, Opcode, TargetPdu, data_segment_length};

/// A PDU with its additional headers and data, for a connection with these digests. Its lengths are true.
///
/// ```
/// use iscsi_core::digest::DigestKind;
/// use iscsi_core::testing::strategies::Whole;
/// let (ahs, data) = (Vec::new(), b"A=1\0".to_vec());
/// let (header_digest, data_digest) = (DigestKind::Crc32c, DigestKind::None);
/// let mut bhs = [0; 48];
/// (bhs[0], bhs[1], bhs[7]) = (0x04, 0x80, 4);
/// let whole = Whole { bhs, ahs, data, header_digest, data_digest };
/// assert_eq!(whole.to_bytes().len(), 48 + 4 + 4);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// The header.
    pub bhs: Bhs,
    /// The additional header segments.
    pub ahs: Vec<u8>,
    /// The data segment without padding.
    pub data: Vec<u8>,
    /// HeaderDigest of the connection.
    pub header_digest: DigestKind,
    /// DataDigest of the connection.
    pub data_digest: DigestKind,
}

impl Whole {
    /// As it travels, with padding and digests; a PDU of the login has none.
    pub fn to_bytes(&self) -> Vec<u8> {
        let framer = Framer::new(self.header_digest, self.data_digest);
        framer.frame(&self.bhs, &self.ahs, &self.data)
    }
}

/// What an initiator sends, whole. A data segment is shortened to less than 512 bytes.
///
/// ```
/// use iscsi_core::testing::strategies::{data_out, whole_initiator_pdu};
/// use proptest::{strategy::Strategy, test_runner::TestRunner};
/// let strategy = whole_initiator_pdu(data_out());
/// let whole = strategy.new_tree(&mut TestRunner::deterministic()).unwrap();
/// # use proptest::strategy::ValueTree;
/// assert!(whole.current().to_bytes().len() >= 48);
/// ```
pub fn whole_initiator_pdu<P: Into<InitiatorPdu>>(
    pdus: impl Strategy<Value = P>,
) -> impl Strategy<Value = Whole> {
    whole(pdus.prop_map(|pdu| {
        let mut bhs = [0; BHS_LEN];
        pdu.into().emit(&mut bhs);
        bhs
    }))
}

/// What a target sends, whole. A data segment is shortened to less than 512 bytes.
pub fn whole_target_pdu<P: Into<TargetPdu>>(
    pdus: impl Strategy<Value = P>,
) -> impl Strategy<Value = Whole> {
    whole(pdus.prop_map(|pdu| {
        let mut bhs = [0; BHS_LEN];
        pdu.into().emit(&mut bhs);
        bhs
    }))
}

fn whole(headers: impl Strategy<Value = Bhs>) -> impl Strategy<Value = Whole> {
    (headers, digest(), digest()).prop_flat_map(|(bhs, header_digest, data_digest)| {
        let len = shortened(data_segment_length(&bhs));
        (additional(&bhs), vec(any::<u8>(), len)).prop_map(move |(ahs, data)| {
            let mut bhs = bhs;
            bhs[4] = (ahs.len() / 4) as u8;
            bhs[5..8].copy_from_slice(&(len as u32).to_be_bytes()[1..]);
            Whole { bhs, ahs, data, header_digest, data_digest }
        })
    })
}

/// A length that is right wherever the longer one is: a Reject has a header, at least.
const fn shortened(len: u32) -> usize {
    (if len < 512 { len } else { 256 + len % 256 }) as usize
}

fn digest() -> impl Strategy<Value = DigestKind> {
    prop_oneof![Just(DigestKind::None), Just(DigestKind::Crc32c)]
}

/// Additional headers where there may be some: those of a command, or as many bytes as the header says, with whatever in them.
fn additional(bhs: &Bhs) -> BoxedStrategy<Vec<u8>> {
    if Opcode::of(bhs) != Some(Opcode::ScsiCommand) {
        return Just(Vec::new()).boxed();
    }
    let garbage = vec(any::<u8>(), usize::from(bhs[4]) * 4);
    prop_oneof![Just(Vec::new()), garbage, command_ahs()].boxed()
}

/// The additional headers of a command with a CDB of more than 16 bytes and, if it is bidirectional, a read length (RFC 7143 section 11.2.2).
pub fn command_ahs() -> impl Strategy<Value = Vec<u8>> {
    (vec(any::<u8>(), 0..=244), any::<Option<u32>>()).prop_map(|(rest, length)| {
        let mut image = [0; 1020];
        let mut writer = AhsWriter::new(&mut image);
        // There is room for both.
        if !rest.is_empty() {
            let _ = writer.extended_cdb(&rest);
        }
        if let Some(length) = length {
            let _ = writer.bidi_read_length(length);
        }
        let len = writer.finish().bytes();
        image[..len].to_vec()
    })
}
