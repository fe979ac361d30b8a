//! What is copied from.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use crate::dd::pipeline::{Fault, Piece};
use crate::dd::place::{Place, as_file, was_closed};
use crate::disk::{Disk, Flight, Flights};
use crate::output::{Outcome, Stop};

/// A logical unit, or bytes that come one after the other.
#[derive(Debug)]
pub(crate) enum Source {
    Disk {
        disk: Disk,
        offset: u64,
        flights: Flights<Asked>,
    },
    Stream {
        stream: Box<dyn Stream>,
        name: String,
        place: Option<Place>,
        ready: Option<Piece>,
        length_known: bool,
    },
}

/// A part that was asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    at: u64,
    len: usize,
    /// Where it begins in the blocks that were read.
    head: usize,
}

/// A file, or standard input.
pub(crate) trait Stream: Read + Send + core::fmt::Debug {}
impl<T: Read + Send + core::fmt::Debug> Stream for T {}

impl Source {
    pub(crate) const fn disk(disk: Disk, offset: u64) -> Self {
        Self::Disk { disk, offset, flights: Flights::new() }
    }

    /// A file from `offset` on, or standard input for `-`. Also the number of bytes there are, if that can be known.
    pub(crate) fn stream(path: &str, offset: u64) -> Outcome<(Self, Option<u64>)> {
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
            return Ok((Self::of("standard input".into(), file, place, false), None));
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
        Ok((Self::of(path.into(), file, place, length.is_some()), length))
    }

    fn of(
        name: String,
        stream: impl Stream + 'static,
        place: Option<Place>,
        length_known: bool,
    ) -> Self {
        Self::Stream { stream: Box::new(stream), name, place, ready: None, length_known }
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
            Self::Stream { stream, name, ready, length_known, .. } => {
                let room = memory.get_mut(..len).unwrap_or_default();
                let got = fill(stream, room).map_err(|e| Stop::failed(format!("{name}: {e}")))?;
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
    let (mut memory, result) = disk.finish(flight);
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
    fn missing_files_are_named() {
        let Err(Stop::Failed { message, .. }) = Source::stream("/no/such/file", 0) else {
            panic!()
        };
        assert!(message.starts_with("/no/such/file: "), "{message}");
    }

    #[test]
    fn an_offset_behind_the_end_is_an_error() {
        let path = std::env::temp_dir().join(format!("iscsi-source-{}", std::process::id()));
        std::fs::write(&path, [1; 100]).unwrap();
        let text = path.to_str().unwrap();
        assert_eq!(Source::stream(text, 40).unwrap().1, Some(60));
        assert!(Source::stream(text, 101).is_err());
        std::fs::remove_file(&path).unwrap();
    }
}
