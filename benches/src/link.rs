//! A byte stream in memory that copies headers and no payload.

use std::collections::VecDeque;
use std::convert::Infallible;

use iscsi_core::driver::Transport;

/// The longest run that is kept as bytes: headers with their segments, digests, text.
const KEPT: usize = 512;

/// Both directions between two engines, the payload all zeros.
///
/// On a socket the kernel copies the payload. Here it is left out as far as that is possible, so that what is measured is the engine: a run of
/// more than 512 bytes travels as its length. Where a data segment is read in place the zeros are there already; a scratch is filled.
///
/// ```
/// use iscsi_benches::Link;
/// use iscsi_core::driver::Transport;
///
/// let mut link = Link::new();
/// assert_eq!(link.initiator().send(&[b"header", &[0; 1000]]), Ok(Some(1006)));
/// let mut bytes = [1; 2000];
/// assert_eq!(link.target().recv([&mut [], &mut bytes]), Ok(Some(1006)));
/// assert_eq!((&bytes[..6], bytes[1005], bytes[1006]), (&b"header"[..], 0, 1));
/// ```
#[derive(Debug)]
pub struct Link {
    to_target: Stream,
    to_initiator: Stream,
}

impl Link {
    /// Nothing is under way.
    pub fn new() -> Self {
        Self { to_target: Stream::new(), to_initiator: Stream::new() }
    }

    /// The initiator's end.
    pub const fn initiator(&mut self) -> End<'_> {
        End { output: &mut self.to_target, input: &mut self.to_initiator }
    }

    /// The target's end.
    pub const fn target(&mut self) -> End<'_> {
        End { output: &mut self.to_initiator, input: &mut self.to_target }
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.to_target.pieces.is_empty() && self.to_initiator.pieces.is_empty()
    }

    /// Forgets what is under way.
    pub fn clear(&mut self) {
        self.to_target.clear();
        self.to_initiator.clear();
    }
}

impl Default for Link {
    fn default() -> Self {
        Self::new()
    }
}

/// One end of a [`Link`].
///
/// ```
/// use iscsi_benches::Link;
/// use iscsi_core::driver::Transport;
/// assert_eq!(Link::new().initiator().recv([&mut [0; 8], &mut []]), Ok(None));
/// ```
#[derive(Debug)]
pub struct End<'a> {
    output: &'a mut Stream,
    input: &'a mut Stream,
}

impl Transport for End<'_> {
    type Error = Infallible;

    fn send(&mut self, runs: &[&[u8]]) -> Result<Option<usize>, Infallible> {
        runs.iter().for_each(|run| self.output.put(run));
        Ok(Some(runs.iter().map(|run| run.len()).sum()))
    }

    fn recv(&mut self, [place, scratch]: [&mut [u8]; 2]) -> Result<Option<usize>, Infallible> {
        let mut n = self.input.take(place, false);
        if n == place.len() {
            n += self.input.take(scratch, true);
        }
        Ok((n > 0).then_some(n))
    }
}

/// What is under way in one direction.
#[derive(Debug)]
struct Stream {
    pieces: VecDeque<Piece>,
    /// The bytes of the pieces that have some, one behind the other.
    bytes: Vec<u8>,
    /// How many of them were taken.
    taken: usize,
}

#[derive(Debug)]
enum Piece {
    Bytes(usize),
    Zeros(usize),
}

impl Stream {
    /// With room for all that a batch puts out, so that nothing grows while it is measured.
    fn new() -> Self {
        Self { pieces: VecDeque::with_capacity(4096), bytes: Vec::with_capacity(1 << 20), taken: 0 }
    }

    fn clear(&mut self) {
        self.pieces.clear();
        self.bytes.clear();
        self.taken = 0;
    }

    fn put(&mut self, run: &[u8]) {
        if run.len() > KEPT {
            self.pieces.push_back(Piece::Zeros(run.len()));
            return;
        }
        self.bytes.extend_from_slice(run);
        match self.pieces.back_mut() {
            Some(Piece::Bytes(len)) => *len += run.len(),
            _ => self.pieces.push_back(Piece::Bytes(run.len())),
        }
    }

    /// Takes what is there into `space`, and writes zeros only if they are to be written.
    fn take(&mut self, space: &mut [u8], write_zeros: bool) -> usize {
        let mut filled = 0;
        while let Some(piece) = self.pieces.front_mut() {
            let rest = &mut space[filled..];
            let (Piece::Bytes(left) | Piece::Zeros(left)) = piece;
            let n = rest.len().min(*left);
            *left -= n;
            let ended = *left == 0;
            match piece {
                Piece::Bytes(_) => {
                    rest[..n].copy_from_slice(&self.bytes[self.taken..self.taken + n]);
                    self.taken += n;
                }
                Piece::Zeros(_) if write_zeros => rest[..n].fill(0),
                Piece::Zeros(_) => {}
            }
            filled += n;
            if !ended {
                break;
            }
            self.pieces.pop_front();
        }
        if self.pieces.is_empty() {
            self.clear();
        }
        filled
    }
}
