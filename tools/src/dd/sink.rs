//! What is copied to.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};

use crate::dd::pipeline::{Fault, Piece};
use crate::dd::place::{Place, as_file, was_closed};
use crate::disk::{Disk, Flight};
use crate::output::{Outcome, Stop};

/// Runs of zeros of this length are left out of a file that has nothing there.
const HOLE: usize = 64 << 10;

/// A logical unit, a file, or bytes that go one after the other.
#[derive(Debug)]
pub(crate) enum Sink {
    Disk {
        disk: Disk,
        offset: u64,
        flights: VecDeque<(Piece, Option<Flight>)>,
        round: Round,
    },
    File {
        file: File,
        name: String,
        place: Option<Place>,
        /// It is cut off where the copy begins, so that zeros need not be written.
        holes: bool,
        /// Nothing was changed so far.
        untouched: bool,
        end: u64,
        written: Option<Piece>,
    },
    Standard {
        file: File,
        place: Option<Place>,
        written: Option<Piece>,
    },
}

/// What happened to a unit since everything before was on its medium.
#[derive(Debug, Default)]
pub(crate) struct Round {
    /// The unit's resets when it began.
    resets: u32,
    /// The unit had a volatile cache then, or may have had one.
    cached: bool,
    was_reset: bool,
    /// An error of a write that had ended well was told later.
    deferred: bool,
}

/// Why it is not known that everything is on the medium.
#[derive(Debug)]
pub(crate) struct Unflushed {
    pub(crate) why: Stop,
    /// What was written may be lost by that.
    pub(crate) lost: bool,
}

impl Sink {
    pub(crate) fn disk(disk: Disk, offset: u64) -> Self {
        Self::Disk { disk, offset, flights: VecDeque::new(), round: Round::default() }
    }

    /// What it is called in messages.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Disk { disk, .. } => disk.url(),
            Self::File { name, .. } => name,
            Self::Standard { .. } => "standard output",
        }
    }

    /// It may lose what was written before a [`flush`](Self::flush), and tell that it has.
    pub(crate) fn may_cache(&self) -> bool {
        matches!(self, Self::Disk { disk, .. } if disk.may_cache())
    }

    /// Everything so far is on the medium, or nothing was written: [`was_reset`](Self::was_reset) and [`was_deferred`](Self::was_deferred) are
    /// about what follows.
    pub(crate) fn begin_round(&mut self) {
        if let Self::Disk { disk, round, .. } = self {
            // This may ask the unit, which may tell of a reset that has nothing to do with the round.
            let cached = disk.may_cache();
            *round = Round { resets: disk.resets(), cached, ..Round::default() };
        }
    }

    /// The unit was powered on or reset since, and may have lost what it had not brought to its medium.
    pub(crate) fn was_reset(&mut self) -> bool {
        let Self::Disk { disk, round, .. } = self else { return false };
        // The unit may have come back with another cache setting than before.
        round.was_reset |= disk.resets() != round.resets && (round.cached || disk.may_cache());
        round.was_reset
    }

    /// The unit has told since that it could not write what it had taken before, and not which part of it.
    pub(crate) const fn was_deferred(&self) -> bool {
        matches!(self, Self::Disk { round: Round { deferred: true, .. }, .. })
    }

    /// A file, written from `offset` on, or standard output for `-`. A regular file is cut off at `offset` unless `keep`, but not
    /// before there is something to write.
    pub(crate) fn stream(path: &str, offset: u64, keep: bool) -> Outcome<Self> {
        if path == "-" {
            if offset > 0 {
                return Err(Stop::failed("standard output has no offset"));
            }
            let mut file = as_file(io::stdout())?;
            if was_closed(&mut file) {
                return Err(Stop::with_remedy(
                    "standard output is closed",
                    "-d /dev/null reads without keeping anything",
                ));
            }
            let place = Place::of(&file.metadata()?);
            return Ok(Self::Standard { file, place, written: None });
        }
        let fail = |error: io::Error| Stop::failed(format!("{path}: {error}"));
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(false).open(path).map_err(fail)?;
        let place = Place::of(&file.metadata().map_err(fail)?);
        if offset > 0 {
            file.seek(SeekFrom::Start(offset)).map_err(fail)?;
        }
        let holes = matches!(place, Some(Place::File { .. })) && !keep;
        let name = path.into();
        Ok(Self::File { file, name, place, holes, untouched: true, end: offset, written: None })
    }

    /// What it is to the system, if it is a file or a device.
    pub(crate) const fn place(&self) -> Option<Place> {
        match self {
            Self::Disk { .. } => None,
            Self::File { place, .. } | Self::Standard { place, .. } => *place,
        }
    }

    /// How many pieces to have under way: a stream is written where it is started, and holds one for its end to be heard of.
    pub(crate) const fn depth(&self, wanted: usize) -> usize {
        match self {
            Self::Disk { .. } => wanted,
            Self::File { .. } | Self::Standard { .. } => 1,
        }
    }

    pub(crate) fn under_way(&self) -> usize {
        match self {
            Self::Disk { flights, .. } => flights.len(),
            Self::File { written, .. } | Self::Standard { written, .. } => {
                usize::from(written.is_some())
            }
        }
    }

    /// Starts to write a piece; one that could not be read leaves its place as it is.
    pub(crate) fn start(&mut self, mut piece: Piece) -> Outcome<()> {
        match self {
            Self::Disk { disk, offset, flights, .. } => {
                let flight = match piece.failed {
                    None => Some(depart(disk, *offset, &mut piece)?),
                    Some(_) => None,
                };
                flights.push_back((piece, flight));
            }
            Self::File { file, name, holes, untouched, end, written, .. } => {
                let data = piece.memory.get(..piece.len).unwrap_or_default();
                let ready = touch(file, *holes, untouched, *end);
                let result = ready.and_then(|()| match (&piece.failed, *holes) {
                    (Some(_), _) => pass(file, data.len()),
                    (None, true) => write_sparsely(file, data),
                    (None, false) => file.write_all(data),
                });
                result.map_err(|error| Stop::failed(format!("{name}: {error}")))?;
                *end += piece.len as u64;
                *written = Some(piece);
            }
            Self::Standard { file, written, .. } => {
                let data = piece.memory.get_mut(..piece.len).unwrap_or_default();
                if piece.failed.is_some() {
                    // What follows stays at its place.
                    data.fill(0);
                }
                file.write_all(data)?;
                *written = Some(piece);
            }
        }
        Ok(())
    }

    /// Waits for the oldest piece; `None` if nothing is under way.
    pub(crate) fn finish(&mut self) -> Option<Piece> {
        match self {
            Self::Disk { disk, offset, flights, round } => {
                let (mut piece, flight) = flights.pop_front()?;
                if let Some(flight) = flight {
                    let (memory, result) = disk.finish(flight);
                    piece.memory = memory;
                    let (place, len) = (*offset + piece.at, piece.len);
                    piece.failed = result.err().map(|trouble| {
                        let is_final = trouble.is_final();
                        round.deferred |= trouble.is_deferred();
                        let about = format!("{} at {place}, {len} bytes", disk.url());
                        Fault { why: trouble.stop("writing").about(about), is_final }
                    });
                }
                Some(piece)
            }
            Self::File { written, .. } | Self::Standard { written, .. } => written.take(),
        }
    }

    /// Brings everything to the medium. If nothing was written, a file is changed only by a copy that is `complete`.
    pub(crate) fn flush(&mut self, complete: bool) -> Result<(), Unflushed> {
        let flushed = match self {
            Self::Disk { disk, round, .. } => {
                return disk.flush().map_err(|trouble| {
                    // A session that has ended takes nothing away from a unit without a cache.
                    let lost = round.cached || !trouble.is_final();
                    Unflushed { why: disk.not_flushed(trouble), lost }
                });
            }
            Self::File { untouched: true, .. } if !complete => Ok(()),
            Self::File { file, name, place, holes, untouched, end, .. } => {
                let ready = touch(file, *holes, untouched, *end);
                // A hole at the end has not made the file longer.
                let length = if *holes { file.set_len(*end) } else { Ok(()) };
                let result = ready.and(length).and_then(|()| on_medium(file.sync_all(), *place));
                result.map_err(|error| Stop::failed(format!("{name}: {error}")))
            }
            Self::Standard { file, place, .. } => {
                on_medium(file.sync_all(), *place).map_err(Stop::from)
            }
        };
        flushed.map_err(|why| Unflushed { why, lost: true })
    }

    /// Ends the session, if there is one.
    pub(crate) fn close(self) {
        if let Self::Disk { disk, flights, .. } = self {
            drop(flights);
            disk.close();
        }
    }
}

/// Cuts a file off where the copy begins, the first time.
fn touch(file: &File, holes: bool, untouched: &mut bool, begin: u64) -> io::Result<()> {
    if core::mem::take(untouched) && holes { file.set_len(begin) } else { Ok(()) }
}

/// The result of fsync, which is where errors of writing behind show. Only what has no medium need not know it: pipes,
/// terminals and some character devices.
fn on_medium(synced: io::Result<()>, place: Option<Place>) -> io::Result<()> {
    use io::ErrorKind::{InvalidInput, ReadOnlyFilesystem, Unsupported};
    match synced {
        Err(error)
            if place.is_none()
                && matches!(error.kind(), InvalidInput | ReadOnlyFilesystem | Unsupported) =>
        {
            Ok(())
        }
        result => result,
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
        sink.flush(true).unwrap();
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
        sink.flush(true).unwrap();
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
        sink.flush(true).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [[1; 10], [0; 10], [2; 10]].concat());
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_file_is_cut_off_with_the_first_write() {
        let path = path("late");
        std::fs::write(&path, [0xff; 100]).unwrap();
        let mut sink = Sink::stream(&path, 5, false).unwrap();
        sink.flush(false).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [0xff; 100], "nothing was copied");
        write(&mut sink, 0, &[1; 5]);
        sink.flush(false).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [[0xff; 5], [1; 5]].concat());
        // A copy of nothing is complete, too.
        let mut sink = Sink::stream(&path, 3, false).unwrap();
        sink.flush(true).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [0xff; 3]);
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn errors_of_the_medium_count() {
        let file = Some(Place::File { device: 1, inode: 1 });
        let device = Some(Place::BlockDevice(0x810));
        // EIO, EINVAL, ENOSPC, EROFS.
        for (code, of_a_pipe) in [(5, Err(5)), (22, Ok(())), (28, Err(28)), (30, Ok(()))] {
            let result = |place| {
                let error = io::Error::from_raw_os_error(code);
                on_medium(Err(error), place).map_err(|error| error.raw_os_error().unwrap())
            };
            assert_eq!(result(file), Err(code));
            assert_eq!(result(device), Err(code));
            assert_eq!(result(None), of_a_pipe);
        }
        on_medium(Ok(()), device).unwrap();
    }

    #[test]
    fn standard_output_has_no_offset() {
        assert!(Sink::stream("-", 1, false).is_err());
    }
}
