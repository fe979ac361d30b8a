//! What is copied from.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;

use crate::dd::input::Input;
use crate::dd::pipeline::{Fault, Piece};
use crate::dd::place::{Place, as_file, was_closed};
use crate::disk::{Disk, Flight, Flights};
use crate::output::{Outcome, Stop};
use crate::signals::Ending;

/// A logical unit, or bytes that come one after the other.
#[derive(Debug)]
pub(crate) enum Source {
    Disk {
        disk: Disk,
        offset: u64,
        flights: Flights<Asked>,
    },
    Stream {
        stream: Input,
        name: String,
        place: Option<Place>,
        ready: Option<Piece>,
        length_known: bool,
        again: Again,
    },
}

/// How a stream is read for a second time.
#[derive(Debug)]
pub(crate) enum Again {
    Never,
    /// It is a file, and the copy begins there.
    Seek(u64),
    /// What was read from this place of the copy on is kept.
    Keep {
        from: u64,
        data: Vec<u8>,
    },
}

/// The most that is kept of a source that cannot be read for a second time, but for a piece that begins before.
const MAX_KEPT: u64 = 64 << 20;

/// A part that was asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    at: u64,
    len: usize,
    /// Where it begins in the blocks that were read.
    head: usize,
}

impl Source {
    pub(crate) const fn disk(disk: Disk, offset: u64) -> Self {
        Self::Disk { disk, offset, flights: Flights::new() }
    }

    /// A file from `offset` on, or standard input for `-`. Also the number of bytes there are, if that can be known.
    pub(crate) fn stream(
        path: &str,
        offset: u64,
        ending: &Arc<Ending>,
    ) -> Outcome<(Self, Option<u64>)> {
        let fail = |error: io::Error| Stop::failed(format!("{path}: {error}"));
        if path == "-" {
            let fail = |error: io::Error| Stop::failed(format!("standard input: {error}"));
            let mut file = as_file(io::stdin()).map_err(fail)?;
            if was_closed(&mut file) {
                return Err(Stop::with_remedy(
                    "standard input is closed",
                    "-s /dev/null copies nothing on purpose",
                ));
            }
            let place = Place::of(&file.metadata().map_err(fail)?);
            skip(&mut file, offset).map_err(fail)?;
            let begin = place.and_then(|_| file.stream_position().ok());
            let input = Input::new(file, ending.clone());
            return Ok((Self::of("standard input".into(), input, place, false, begin), None));
        }
        let mut file = File::open(path).map_err(fail)?;
        let metadata = file.metadata().map_err(fail)?;
        let kind = metadata.file_type();
        if kind.is_dir() {
            return Err(Stop::failed(format!("{path}: is a directory")));
        }
        // A device has a length although its metadata says 0. Character devices take a seek without meaning it.
        let is_character = std::os::unix::fs::FileTypeExt::is_char_device(&kind);
        let end = if is_character { None } else { file.seek(SeekFrom::End(0)).ok() };
        match end {
            None => skip(&mut file, offset).map_err(fail)?,
            Some(end) if offset > end => {
                return Err(Stop::failed(format!("{path}: ends at {end}, before offset {offset}")));
            }
            Some(_) => drop(file.seek(SeekFrom::Start(offset)).map_err(fail)?),
        }
        let length = end.map(|end| end - offset);
        let place = Place::of(&metadata);
        let begin = end.map(|_| offset);
        let input = Input::new(file, ending.clone());
        Ok((Self::of(path.into(), input, place, length.is_some(), begin), length))
    }

    /// A stream; one that can be sought in begins at `begin`.
    fn of(
        name: String,
        stream: Input,
        place: Option<Place>,
        length_known: bool,
        begin: Option<u64>,
    ) -> Self {
        let again = begin.map_or(Again::Never, Again::Seek);
        Self::Stream { stream, name, place, ready: None, length_known, again }
    }

    /// Keeps what is read, if it could not be read for a second time. Returns the most that may be read before the next [`forget`](Self::forget).
    pub(crate) fn keep(&mut self) -> u64 {
        match self {
            Self::Disk { .. } | Self::Stream { again: Again::Seek(_), .. } => u64::MAX,
            Self::Stream { again, .. } => {
                *again = Again::Keep { from: 0, data: Vec::new() };
                MAX_KEPT
            }
        }
    }

    /// Nothing before this place of the copy, which was read, will be wanted again.
    pub(crate) fn forget(&mut self, before: u64) {
        if let Self::Stream { again: Again::Keep { from, data }, .. } = self {
            let past = usize::try_from(before.saturating_sub(*from)).unwrap_or(usize::MAX);
            // After going back there is more than what was copied since.
            drop(data.drain(..past.min(data.len())));
            *from = before;
        }
    }

    /// Goes back: the next piece is the one at this place of the copy.
    pub(crate) fn go_back(&mut self, to: u64) -> Outcome<()> {
        match self {
            Self::Disk { flights, .. } => {
                while let Some((_, flight)) = flights.pop() {
                    drop(flight);
                }
            }
            Self::Stream { stream, name, ready, again, .. } => {
                *ready = None;
                match again {
                    Again::Never => {
                        return Err(Stop::failed(format!("{name}: cannot be read again")));
                    }
                    Again::Seek(begin) => {
                        let place = SeekFrom::Start(begin.saturating_add(to));
                        stream.seek(place).map_err(|e| Stop::failed(format!("{name}: {e}")))?;
                    }
                    // A piece is looked for by its place.
                    Again::Keep { .. } => {}
                }
            }
        }
        Ok(())
    }

    /// What it is called in messages.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Disk { disk, .. } => disk.url(),
            Self::Stream { name, .. } => name,
        }
    }

    /// What it is to the system, if it is a file or a device.
    pub(crate) const fn place(&self) -> Option<Place> {
        match self {
            Self::Disk { .. } => None,
            Self::Stream { place, .. } => *place,
        }
    }

    /// How many pieces to have under way: a stream is read where it is started.
    pub(crate) const fn depth(&self, wanted: usize) -> usize {
        match self {
            Self::Disk { .. } => wanted,
            Self::Stream { .. } => 1,
        }
    }

    pub(crate) fn under_way(&self) -> usize {
        match self {
            Self::Disk { flights, .. } => flights.len(),
            Self::Stream { ready, .. } => usize::from(ready.is_some()),
        }
    }

    /// Starts to read a piece.
    pub(crate) fn start(&mut self, at: u64, len: usize, mut memory: Vec<u8>) -> Outcome<()> {
        match self {
            Self::Disk { disk, offset, flights } => {
                let (run, head) = disk.cover(*offset + at, len);
                flights.push(Asked { at, len, head }, disk.read(run, memory));
            }
            Self::Stream { stream, name, ready, length_known, again, .. } => {
                let room = memory.get_mut(..len).unwrap_or_default();
                let got = match again {
                    Again::Never | Again::Seek(_) => fill(stream, room),
                    Again::Keep { from, data } => {
                        recall(stream, data, at.saturating_sub(*from), room)
                    }
                };
                let got = got.map_err(|e| Stop::failed(format!("{name}: {e}")))?;
                if *length_known && got < len {
                    return Err(Stop::failed(format!("{name}: became shorter while it was read")));
                }
                *ready = Some(Piece { at, len: got, memory, failed: None });
            }
        }
        Ok(())
    }

    /// Waits for the oldest piece; `None` if nothing is under way.
    pub(crate) fn finish(&mut self) -> Option<Piece> {
        match self {
            Self::Disk { disk, offset, flights } => {
                let (asked, flight) = flights.pop()?;
                Some(arrive(disk, *offset, asked, flight))
            }
            Self::Stream { ready, .. } => ready.take(),
        }
    }

    /// Ends the session, if there is one.
    pub(crate) fn close(self) {
        if let Self::Disk { disk, mut flights, .. } = self {
            while let Some((_, flight)) = flights.pop() {
                drop(flight);
            }
            disk.close();
        }
    }
}

fn arrive(disk: &Disk, offset: u64, asked: Asked, flight: Flight) -> Piece {
    let Asked { at, len, head } = asked;
    let (mut memory, result) = disk.finish_if_wanted(flight);
    if head > 0 && memory.len() >= head + len {
        memory.copy_within(head..head + len, 0);
    }
    let failed = result.err().map(|trouble| {
        let (place, is_final) = (offset + at, trouble.is_final());
        let about = format!("{} at {place}, {len} bytes", disk.url());
        Fault { why: trouble.stop("reading").about(about), is_final }
    });
    Piece { at, len, memory, failed }
}

/// Reads until the memory is full or the stream ends; how much came.
fn fill(stream: &mut impl Read, mut room: &mut [u8]) -> io::Result<usize> {
    let whole = room.len();
    while !room.is_empty() {
        match stream.read(room) {
            Ok(0) => break,
            Ok(got) => room = room.get_mut(got..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(whole - room.len())
}

/// Takes what was kept from `at` on, reads the rest, and keeps that, too; how much there was.
fn recall(
    stream: &mut impl Read,
    kept: &mut Vec<u8>,
    at: u64,
    room: &mut [u8],
) -> io::Result<usize> {
    let old = usize::try_from(at).ok().and_then(|at| kept.get(at..)).unwrap_or_default();
    let known = old.len().min(room.len());
    let (first, rest) = room.split_at_mut(known);
    first.copy_from_slice(old.get(..known).unwrap_or_default());
    let got = fill(stream, rest)?;
    kept.extend_from_slice(rest.get(..got).unwrap_or_default());
    Ok(known + got)
}

/// Reads and forgets so many bytes.
fn skip(stream: &mut impl Read, bytes: u64) -> io::Result<()> {
    let skipped = io::copy(&mut stream.take(bytes), &mut io::sink())?;
    if skipped == bytes { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_fills_pieces_across_short_reads() {
        struct Slow(u8);
        impl Read for Slow {
            fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
                if self.0 == 10 {
                    return Ok(0);
                }
                self.0 += 1;
                room[0] = self.0;
                Ok(1)
            }
        }
        let (mut stream, mut room) = (Slow(0), [0; 7]);
        assert_eq!(fill(&mut stream, &mut room).unwrap(), 7);
        assert_eq!(room, [1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(fill(&mut stream, &mut room).unwrap(), 3);
        assert_eq!(fill(&mut stream, &mut room).unwrap(), 0);
    }

    #[test]
    fn what_is_kept_comes_again() {
        let (mut stream, mut kept, mut room) = (&[1, 2, 3, 4, 5, 6, 7][..], Vec::new(), [0; 3]);
        for at in [0, 3] {
            assert_eq!(recall(&mut stream, &mut kept, at, &mut room).unwrap(), 3);
        }
        assert_eq!(room, [4, 5, 6]);
        // Back to the first byte but one: three kept ones, then two of those and one of the stream, and nothing more.
        for (at, expected) in [(1, &[2, 3, 4][..]), (4, &[5, 6, 7]), (7, &[])] {
            let got = recall(&mut stream, &mut kept, at, &mut room).unwrap();
            assert_eq!(&room[..got], expected);
        }
        assert_eq!(kept, [1, 2, 3, 4, 5, 6, 7]);
    }

    #[test]
    fn missing_files_are_named() {
        let Err(Stop::Failed { message, .. }) = Source::stream("/no/such/file", 0, &Arc::default())
        else {
            panic!()
        };
        assert!(message.starts_with("/no/such/file: "), "{message}");
    }

    #[test]
    fn an_offset_behind_the_end_is_an_error() {
        let path = std::env::temp_dir().join(format!("iscsi-source-{}", std::process::id()));
        std::fs::write(&path, [1; 100]).unwrap();
        let text = path.to_str().unwrap();
        assert_eq!(Source::stream(text, 40, &Arc::default()).unwrap().1, Some(60));
        assert!(Source::stream(text, 101, &Arc::default()).is_err());
        std::fs::remove_file(&path).unwrap();
    }
}
