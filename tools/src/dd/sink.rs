//! What is copied to.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};

use crate::dd::pipeline::{Fault, Piece};
use crate::disk::{Disk, Flight};
use crate::output::{Outcome, Stop};

/// Runs of zeros of this length are left out of a file that has nothing there.
const HOLE: usize = 64 << 10;

/// A logical unit, a file, or bytes that go one after the other.
#[derive(Debug)]
pub(crate) enum Sink {
    Disk { disk: Disk, offset: u64, flights: VecDeque<(Piece, Option<Flight>)> },
    File { file: File, name: String, holes: bool, regular: bool, end: u64, written: Option<Piece> },
    Standard { written: Option<Piece> },
}

impl Sink {
    pub(crate) const fn disk(disk: Disk, offset: u64) -> Self {
        Self::Disk { disk, offset, flights: VecDeque::new() }
    }

    /// A file, written from `offset` on, or standard output for `-`. A regular file is cut off at `offset` unless `keep`.
    pub(crate) fn stream(path: &str, offset: u64, keep: bool) -> Outcome<Self> {
        if path == "-" {
            if offset > 0 {
                return Err(Stop::failed("standard output has no offset"));
            }
            return Ok(Self::Standard { written: None });
        }
        let fail = |error: io::Error| Stop::failed(format!("{path}: {error}"));
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(false).open(path).map_err(fail)?;
        let regular = file.metadata().map_err(fail)?.is_file();
        if regular && !keep {
            file.set_len(offset).map_err(fail)?;
        }
        if offset > 0 {
            file.seek(SeekFrom::Start(offset)).map_err(fail)?;
        }
        let (name, holes) = (path.into(), regular && !keep);
        Ok(Self::File { file, name, holes, regular, end: offset, written: None })
    }

    pub(crate) fn under_way(&self) -> usize {
        match self {
            Self::Disk { flights, .. } => flights.len(),
            Self::File { written, .. } | Self::Standard { written } => {
                usize::from(written.is_some())
            }
        }
    }

    /// Starts to write a piece; one that could not be read leaves its place as it is.
    pub(crate) fn start(&mut self, mut piece: Piece) -> Outcome<()> {
        match self {
            Self::Disk { disk, offset, flights } => {
                let flight = match piece.failed {
                    None => Some(depart(disk, *offset, &mut piece)?),
                    Some(_) => None,
                };
                flights.push_back((piece, flight));
            }
            Self::File { file, name, holes, end, written, .. } => {
                let data = piece.memory.get(..piece.len).unwrap_or_default();
                let result = match (&piece.failed, *holes) {
                    (Some(_), _) => pass(file, data.len()),
                    (None, true) => write_sparsely(file, data),
                    (None, false) => file.write_all(data),
                };
                result.map_err(|error| Stop::failed(format!("{name}: {error}")))?;
                *end += piece.len as u64;
                *written = Some(piece);
            }
            Self::Standard { written } => {
                let data = piece.memory.get_mut(..piece.len).unwrap_or_default();
                if piece.failed.is_some() {
                    // What follows stays at its place.
                    data.fill(0);
                }
                io::stdout().write_all(data)?;
                *written = Some(piece);
            }
        }
        Ok(())
    }

    /// Waits for the oldest piece; `None` if nothing is under way.
    pub(crate) fn finish(&mut self) -> Option<Piece> {
        match self {
            Self::Disk { disk, offset, flights } => {
                let (mut piece, flight) = flights.pop_front()?;
                if let Some(flight) = flight {
                    let (memory, result) = disk.finish(flight);
                    piece.memory = memory;
                    let (place, len) = (*offset + piece.at, piece.len);
                    piece.failed = result.err().map(|trouble| {
                        let is_final = trouble.is_final();
                        let about = format!("{} at {place}, {len} bytes", disk.url());
                        Fault { why: trouble.stop("writing").about(about), is_final }
                    });
                }
                Some(piece)
            }
            Self::File { written, .. } | Self::Standard { written } => written.take(),
        }
    }

    /// Brings everything to the medium.
    pub(crate) fn flush(&mut self) -> Outcome<()> {
        match self {
            Self::Disk { disk, .. } => disk.flush(),
            Self::File { file, name, holes, regular, end, .. } => {
                // A hole at the end has not made the file longer.
                let length = if *holes { file.set_len(*end) } else { Ok(()) };
                let result = length.and_then(|()| match file.sync_all() {
                    // Pipes and the like have no medium.
                    Err(error) if *regular => Err(error),
                    _ => Ok(()),
                });
                result.map_err(|error| Stop::failed(format!("{name}: {error}")))
            }
            Self::Standard { .. } => Ok(io::stdout().flush()?),
        }
    }

    /// Ends the session, if there is one.
    pub(crate) fn close(self) {
        if let Self::Disk { disk, flights, .. } = self {
            drop(flights);
            disk.close();
        }
    }
}

/// Starts to write a piece to a unit. If it does not begin or end with a block, the rest of that block is read first and written again.
fn depart(disk: &Disk, offset: u64, piece: &mut Piece) -> Outcome<Flight> {
    let (run, head) = disk.cover(offset + piece.at, piece.len);
    let size = disk.block_size() as usize;
    let end = offset.saturating_add(piece.at).saturating_add(piece.len as u64);
    if end > disk.bytes() {
        return Err(Stop::failed(format!("{}: is full: it ends at {}", disk.url(), disk.bytes())));
    }
    let whole = run.blocks as usize * size;
    let mut memory = core::mem::take(&mut piece.memory);
    if memory.len() < whole {
        return Err(Stop::failed("a piece is longer than its buffer"));
    }
    let (begin, end) = (head, head + piece.len);
    if begin > 0 {
        memory.copy_within(0..piece.len, begin);
    }
    let old = |lba| {
        let run = crate::disk::Run { lba, blocks: 1 };
        let (block, result) = disk.finish(disk.read(run, vec![0; size]));
        let why = |trouble: crate::unit::Trouble| {
            trouble.stop("reading the rest of a block").about(disk.url())
        };
        result.map(|()| block).map_err(why)
    };
    if begin > 0 {
        let block = old(run.lba)?;
        copy_part(&mut memory, 0, block.get(..begin));
    }
    if end < whole {
        let block = old(run.lba + u64::from(run.blocks) - 1)?;
        copy_part(&mut memory, end, block.get(end + size - whole..));
    }
    Ok(disk.write(run, memory))
}

fn copy_part(memory: &mut [u8], at: usize, part: Option<&[u8]>) {
    let part = part.unwrap_or_default();
    if let Some(place) = memory.get_mut(at..at + part.len()) {
        place.copy_from_slice(part);
    }
}

/// Writes all but the zeros, which a file without anything in this place has by itself.
fn write_sparsely(file: &mut File, data: &[u8]) -> io::Result<()> {
    let mut rest = data;
    while !rest.is_empty() {
        // Data show in the first bytes, nearly always; only what may be a hole is looked at whole.
        let is_zero = |run: &[u8]| run.iter().fold(0, |all, byte| all | byte) == 0;
        let is_hole = |run: &[u8]| is_zero(run.get(..64).unwrap_or(run)) && is_zero(run);
        let holes: usize = rest.chunks(HOLE).take_while(|run| is_hole(run)).map(<[u8]>::len).sum();
        let (hole, tail) = rest.split_at_checked(holes).unwrap_or((&[], rest));
        pass(file, hole.len())?;
        let full: usize = tail.chunks(HOLE).take_while(|run| !is_hole(run)).map(<[u8]>::len).sum();
        let (data, tail) = tail.split_at_checked(full).unwrap_or((tail, &[]));
        file.write_all(data)?;
        rest = tail;
    }
    Ok(())
}

/// Goes on behind so many bytes.
fn pass(file: &mut File, bytes: usize) -> io::Result<()> {
    if bytes > 0 {
        let bytes = i64::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput)?;
        file.seek(SeekFrom::Current(bytes))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    fn path(name: &str) -> String {
        let name = format!("iscsi-sink-{name}-{}", std::process::id());
        std::env::temp_dir().join(name).to_str().unwrap().into()
    }

    fn write(sink: &mut Sink, at: u64, data: &[u8]) {
        let piece = Piece { at, len: data.len(), memory: data.into(), failed: None };
        sink.start(piece).unwrap();
        assert_eq!(sink.under_way(), 1);
        assert_eq!(sink.finish().unwrap().memory, data);
    }

    #[test]
    fn zeros_become_holes() {
        let path = path("holes");
        let mut data = vec![0; 5 << 20];
        data[(1 << 20) + 5] = 7;
        data[(3 << 20) - 1] = 8;
        std::fs::write(&path, vec![0xff; 6 << 20]).unwrap();
        let mut sink = Sink::stream(&path, 4096, false).unwrap();
        let (a, b) = data.split_at((2 << 20) + 100);
        write(&mut sink, 0, a);
        write(&mut sink, a.len() as u64, b);
        sink.flush().unwrap();
        let read = std::fs::read(&path).unwrap();
        assert!(read[..4096] == [0xff; 4096] && read[4096..] == data, "length {}", read.len());
        let stored = std::fs::metadata(&path).unwrap().blocks() * 512;
        assert!(stored < 1 << 20, "{stored} bytes are stored");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn kept_files_get_their_zeros() {
        let path = path("kept");
        std::fs::write(&path, vec![0xff; 300_000]).unwrap();
        let mut sink = Sink::stream(&path, 1000, true).unwrap();
        write(&mut sink, 0, &[0; 200_000]);
        sink.flush().unwrap();
        let read = std::fs::read(&path).unwrap();
        assert_eq!(read.len(), 300_000);
        assert!(read[1000..201_000].iter().all(|byte| *byte == 0));
        assert!(read[201_000..].iter().all(|byte| *byte == 0xff));
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn what_could_not_be_read_leaves_a_gap() {
        let path = path("gap");
        let mut sink = Sink::stream(&path, 0, false).unwrap();
        write(&mut sink, 0, &[1; 10]);
        let failed = Some(Fault { why: Stop::failed("medium error"), is_final: false });
        sink.start(Piece { at: 10, len: 10, memory: vec![9; 10], failed }).unwrap();
        assert!(sink.finish().unwrap().failed.is_some());
        write(&mut sink, 20, &[2; 10]);
        sink.flush().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [[1; 10], [0; 10], [2; 10]].concat());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn standard_output_has_no_offset() {
        assert!(Sink::stream("-", 1, false).is_err());
    }
}
