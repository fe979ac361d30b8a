//! The memory of requests: reference-counted bytes, in one piece or in several.

use core::fmt;

use bytes::{Bytes, BytesMut};
use iscsi_runtime::{Failed, Lend, run_of, run_of_mut};

use crate::consumer::Consumer;
use crate::pool::Pooled;

/// Memory for the data of one request. It goes in with the request and comes back with its end, also after an error.
///
/// What is read into is owned alone (`BytesMut`), what is written may be shared (`Bytes`): nobody waits for memory, and nobody copies it.
///
/// ```
/// use bytes::{Bytes, BytesMut};
/// use iscsi_runtime_smol::Memory;
///
/// let memory = Memory::from(BytesMut::zeroed(512));
/// assert_eq!(memory.into_mut().len(), 512);
/// let memory = Memory::from(vec![Bytes::from_static(b"head"), Bytes::from_static(b"body")]);
/// assert_eq!(memory.into_parts()[1], "body");
/// ```
#[derive(Default)]
#[non_exhaustive]
pub enum Memory {
    /// No data.
    #[default]
    None,
    /// Where data from the target go: all of its length, none of its spare capacity.
    In(BytesMut),
    /// Data to the target.
    Out(Bytes),
    /// Both, for bidirectional commands.
    Both {
        /// Data to the target.
        out: Bytes,
        /// Where data from the target go.
        r#in: BytesMut,
    },
    /// Where data from the target go, one part after the other.
    InParts(Parts<BytesMut>),
    /// Data to the target, one part after the other.
    OutParts(Parts<Bytes>),
    /// Where data from the target go: a buffer of a [`Pool`](crate::Pool), from the first byte on.
    Pooled(Pooled),
    /// No memory: data from the target are looked at where they arrive.
    Consumer(Consumer),
}

/// Without the bytes, which may be many.
impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [r#in, out] = self.room();
        f.debug_struct("Memory").field("in", &r#in).field("out", &out).finish_non_exhaustive()
    }
}

impl Memory {
    /// What was read into; empty if nothing was, or if it is in parts.
    pub fn into_mut(self) -> BytesMut {
        match self {
            Self::In(r#in) | Self::Both { r#in, .. } => r#in,
            Self::Pooled(pooled) => pooled.into_mut(),
            _ => BytesMut::new(),
        }
    }

    /// What was written; empty if nothing was, or if it is in parts.
    pub fn into_bytes(self) -> Bytes {
        match self {
            Self::Out(out) | Self::Both { out, .. } => out,
            _ => Bytes::new(),
        }
    }

    /// The parts that were read into; none if there are none.
    pub fn into_mut_parts(self) -> Vec<BytesMut> {
        match self {
            Self::InParts(parts) => parts.into_inner(),
            _ => Vec::new(),
        }
    }

    /// The parts that were written; none if there are none.
    pub fn into_parts(self) -> Vec<Bytes> {
        match self {
            Self::OutParts(parts) => parts.into_inner(),
            _ => Vec::new(),
        }
    }
}

impl From<BytesMut> for Memory {
    fn from(memory: BytesMut) -> Self {
        Self::In(memory)
    }
}

impl From<Bytes> for Memory {
    fn from(memory: Bytes) -> Self {
        Self::Out(memory)
    }
}

impl From<Pooled> for Memory {
    fn from(memory: Pooled) -> Self {
        Self::Pooled(memory)
    }
}

impl From<Consumer> for Memory {
    fn from(consumer: Consumer) -> Self {
        Self::Consumer(consumer)
    }
}

impl From<Vec<BytesMut>> for Memory {
    fn from(parts: Vec<BytesMut>) -> Self {
        Self::InParts(parts.into())
    }
}

impl From<Vec<Bytes>> for Memory {
    fn from(parts: Vec<Bytes>) -> Self {
        Self::OutParts(parts.into())
    }
}

impl Lend for Memory {
    fn space(&mut self, at: usize, max: u32) -> &mut [u8] {
        match self {
            Self::In(r#in) | Self::Both { r#in, .. } => run_of_mut(r#in, at, max),
            Self::InParts(parts) => parts.run_mut(at, max),
            Self::Pooled(pooled) => run_of_mut(pooled.space(), at, max),
            Self::None | Self::Out(_) | Self::OutParts(_) | Self::Consumer(_) => &mut [],
        }
    }

    fn bytes(&self, at: usize, max: u32) -> &[u8] {
        match self {
            Self::Out(out) | Self::Both { out, .. } => run_of(out, at, max),
            Self::OutParts(parts) => parts.run(at, max),
            Self::None | Self::In(_) | Self::InParts(_) | Self::Pooled(_) | Self::Consumer(_) => {
                &[]
            }
        }
    }

    fn room(&self) -> [u64; 2] {
        let [r#in, out] = match self {
            Self::None => [0, 0],
            Self::In(r#in) => [r#in.len(), 0],
            Self::Out(out) => [0, out.len()],
            Self::Both { out, r#in } => [r#in.len(), out.len()],
            Self::InParts(parts) => [parts.len(), 0],
            Self::Pooled(pooled) => [pooled.len(), 0],
            Self::OutParts(parts) => [0, parts.len()],
            Self::Consumer(consumer) => [consumer.len(), 0],
        };
        [r#in as u64, out as u64]
    }

    fn consumes(&self) -> bool {
        matches!(self, Self::Consumer(_))
    }

    fn consume(&mut self, at: usize, bytes: &[u8]) {
        if let Self::Consumer(consumer) = self {
            consumer.consume(at, bytes);
        }
    }
}

/// Parts of memory that lie one after the other on the disk. Any number, of any length; empty ones do no harm.
///
/// ```
/// use bytes::Bytes;
/// use iscsi_runtime_smol::Parts;
/// let parts = Parts::from(vec![Bytes::from_static(b"one"), Bytes::new(), Bytes::from_static(b"two")]);
/// assert_eq!((parts.len(), parts.into_inner().len()), (6, 3));
/// ```
#[derive(Default)]
pub struct Parts<B> {
    parts: Vec<B>,
    /// Where each part ends: a run is found by halving, also among thousands of parts.
    ends: Vec<usize>,
}

/// Without the bytes, which may be many.
impl<B> fmt::Debug for Parts<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("ends", &self.ends).finish_non_exhaustive()
    }
}

impl<B: AsRef<[u8]>> From<Vec<B>> for Parts<B> {
    fn from(parts: Vec<B>) -> Self {
        let mut end = 0_usize;
        let ends = parts.iter().map(|part| {
            end = end.saturating_add(part.as_ref().len());
            end
        });
        let ends = ends.collect();
        Self { parts, ends }
    }
}

impl<B> Parts<B> {
    /// Bytes of all parts together.
    pub fn len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Whether there is not one byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The parts.
    pub fn into_inner(self) -> Vec<B> {
        self.parts
    }

    /// The part with byte `at`, and the byte's place in it.
    fn find(&self, at: usize) -> (usize, usize) {
        let index = self.ends.partition_point(|&end| end <= at);
        let start = index.checked_sub(1).and_then(|before| self.ends.get(before));
        (index, at - start.copied().unwrap_or(0))
    }
}

impl<B: AsRef<[u8]>> Parts<B> {
    fn run(&self, at: usize, max: u32) -> &[u8] {
        let (index, at) = self.find(at);
        let part = self.parts.get(index).and_then(|part| part.as_ref().get(at..));
        let run = part.unwrap_or_default();
        run.get(..max as usize).unwrap_or(run)
    }
}

impl<B: AsMut<[u8]>> Parts<B> {
    fn run_mut(&mut self, at: usize, max: u32) -> &mut [u8] {
        let (index, at) = self.find(at);
        let part = self.parts.get_mut(index).and_then(|part| part.as_mut().get_mut(at..));
        let run = part.unwrap_or_default();
        let len = run.len().min(max as usize);
        run.get_mut(..len).unwrap_or_default()
    }
}

/// The same failure with the memory in the shape in which it was handed over.
pub(crate) fn reshape<P>(failed: Failed<Memory>, shape: impl FnOnce(Memory) -> P) -> Failed<P> {
    Failed { error: failed.error, payload: shape(failed.payload) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_end_with_their_part() {
        let parts: Vec<Bytes> = ["", "abc", "", "", "defgh", ""].map(Bytes::from).into();
        let memory = Memory::from(parts);
        assert_eq!(memory.room(), [0, 8]);
        assert_eq!(memory.bytes(0, 8), b"abc");
        assert_eq!(memory.bytes(2, 1), b"c");
        assert_eq!(memory.bytes(3, 2), b"de");
        assert_eq!(memory.bytes(7, 100), b"h");
        assert!(memory.bytes(8, 1).is_empty() && memory.bytes(usize::MAX, 1).is_empty());
    }

    #[test]
    fn every_byte_of_every_part_is_filled_once() {
        let lens = [0, 5, 1, 0, 300, 2];
        let mut memory = Memory::from(lens.map(BytesMut::zeroed).to_vec());
        let mut at = 0;
        loop {
            let run = memory.space(at, 7);
            if run.is_empty() {
                break;
            }
            run.iter_mut().for_each(|byte| *byte += 1);
            at += run.len();
        }
        assert_eq!(at, 308);
        let parts = memory.into_mut_parts();
        assert!(parts.iter().map(BytesMut::len).eq(lens));
        assert!(parts.iter().flatten().all(|byte| *byte == 1));
    }

    #[test]
    fn no_parts_are_no_memory() {
        let mut memory = Memory::from(Vec::<BytesMut>::new());
        assert_eq!(memory.room(), [0, 0]);
        assert!(memory.space(0, 1).is_empty() && memory.bytes(0, 1).is_empty());
    }
}
