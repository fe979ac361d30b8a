//! From the arguments to the two ends, and to how the copy is cut into pieces.

use std::path::Path;

use super::Arguments;
use super::pipeline::{Cut, Options, Tally};
use super::sink::Sink;
use super::source::Source;
use crate::connect::Setup;
use crate::disk::Disk;
use crate::output::{Outcome, Stop};

/// Length of a piece unless something else is asked for: long enough to make the cost of a command small, short enough that
/// the commands of a whole queue fit into a cache.
const PIECE: u64 = 512 << 10;

/// Memory for all buffers together, in bytes; a queue that would need more is made shorter.
const MAX_MEMORY: usize = 512 << 20;

/// The longest piece.
const MAX_PIECE: u64 = 64 << 20;

/// Whether a place is a URL and not a file.
fn is_url(place: &str) -> bool {
    ["iscsi://", "iser://"].iter().any(|scheme| {
        place.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    })
}

/// Both ends of a copy, open.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) source: Source,
    pub(crate) sink: Sink,
    /// Bytes that the source has behind its offset, if that is known.
    available: Option<u64>,
}

impl Ends {
    /// Opens the source, then the destination: a file is not cut off for a source that is not there.
    pub(crate) fn open(setup: &Setup, arguments: &Arguments) -> Outcome<Self> {
        let from = arguments.src.as_deref().unwrap_or_default();
        let to = arguments.dst.as_deref().unwrap_or_default();
        // URLs are read before anything is connected.
        let from_url = is_url(from).then(|| setup.unit_url(from)).transpose()?;
        let to_url = is_url(to).then(|| setup.unit_url(to)).transpose()?;
        if let (Some(from), Some(to)) = (&from_url, &to_url) {
            let same = from.portal == to.portal && from.target == to.target && from.lun == to.lun;
            let apart = arguments.offset_src.abs_diff(arguments.offset_dst);
            if same && arguments.count.is_none_or(|count| count > apart) {
                return Err(Stop::failed("source and destination are the same blocks"));
            }
        } else if from_url.is_none() && to_url.is_none() && is_same_file(from, to) {
            return Err(Stop::failed("source and destination are the same file"));
        }

        let (source, available) = match from_url {
            None => Source::stream(from, arguments.offset_src)?,
            Some(url) => {
                let disk = Disk::open(setup.open(&url)?, arguments.long_commands)?;
                let bytes = disk.bytes();
                let Some(available) = bytes.checked_sub(arguments.offset_src) else {
                    let offset = arguments.offset_src;
                    return Err(Stop::failed(format!(
                        "{url}: ends at {bytes}, before offset {offset}"
                    )));
                };
                (Source::disk(disk, arguments.offset_src), Some(available))
            }
        };
        if let (Some(count), Some(available)) = (arguments.count, available)
            && count > available
        {
            return Err(Stop::with_remedy(
                format!("{from}: has {available} bytes behind the offset, not {count}"),
                "leave --count out to copy all of them",
            ));
        }
        let sink = match to_url {
            None => Sink::stream(to, arguments.offset_dst, arguments.no_truncate)?,
            Some(url) => {
                let disk = Disk::open(setup.open(&url)?, arguments.long_commands)?;
                check_room(&disk, arguments, arguments.count.or(available))?;
                Sink::disk(disk, arguments.offset_dst)
            }
        };
        Ok(Self { source, sink, available })
    }
}

fn check_room(disk: &Disk, arguments: &Arguments, needed: Option<u64>) -> Outcome<()> {
    let (bytes, offset) = (disk.bytes(), arguments.offset_dst);
    let Some(room) = bytes.checked_sub(offset) else {
        let url = disk.url();
        return Err(Stop::failed(format!("{url}: ends at {bytes}, before offset {offset}")));
    };
    match needed {
        Some(needed) if needed > room => Err(Stop::with_remedy(
            format!(
                "{}: is too small: {needed} bytes are to be copied to offset {offset}, but it ends at {bytes}",
                disk.url()
            ),
            format!("--count {room} copies what fits"),
        )),
        _ => Ok(()),
    }
}

fn is_same_file(a: &str, b: &str) -> bool {
    let real = |path: &str| Path::new(path).canonicalize().ok().filter(|_| path != "-");
    real(a).is_some_and(|a| a.is_file() && Some(a) == real(b))
}

/// How a copy is done.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) cut: Cut,
    pub(crate) options: Options,
    /// The block size that the result is told in.
    pub(crate) block: u64,
}

impl Plan {
    pub(crate) fn new(arguments: &Arguments, ends: &Ends) -> Outcome<Self> {
        let from = match &ends.source {
            Source::Disk { disk, .. } => Some(disk),
            Source::Stream { .. } => None,
        };
        let to = match &ends.sink {
            Sink::Disk { disk, .. } => Some(disk),
            Sink::File { .. } | Sink::Standard { .. } => None,
        };
        let block_of = |disk: Option<&Disk>| disk.map(|disk| u64::from(disk.block_size()));
        let block = block_of(from).or_else(|| block_of(to)).unwrap_or(512);
        let asked = match (arguments.block_size, arguments.blocks) {
            (Some(bytes), _) => bytes,
            (None, Some(blocks)) => u64::from(blocks).saturating_mul(block),
            (None, None) => PIECE,
        };
        if asked == 0 || asked > MAX_PIECE {
            return Err(Stop::failed(format!(
                "the bytes of one read or write are from 1 to {MAX_PIECE}, not {asked}"
            )));
        }
        // One block is kept free for pieces that do not begin with a block.
        let limit = |disk: &Disk| disk.max_bytes().saturating_sub(disk.block_size().into());
        let asked = [from, to].into_iter().flatten().map(limit).fold(asked, u64::min);
        let grain = block_of(to).or_else(|| block_of(from)).unwrap_or(1);
        let cut = cut(asked, grain, block_of(to), arguments.offset_dst);
        let total = match (arguments.count, ends.available) {
            (Some(count), Some(available)) => Some(count.min(available)),
            (count, available) => available.or(count),
        };
        let slack = 2 * block_of(from).unwrap_or(0).max(block_of(to).unwrap_or(0));
        let memory = cut.size + usize::try_from(slack).unwrap_or(0);
        // Each end has buffers of its own.
        let most = (MAX_MEMORY / 2 / memory.max(1)).max(1);
        let options = Options {
            depth: usize::from(arguments.queue_depth).min(most),
            memory,
            ignore: arguments.ignore_errors,
        };
        Ok(Self { cut: Cut { total, ..cut }, options, block })
    }

    /// A failure with how far the copy came, and how to go on from there.
    pub(crate) fn partial(&self, arguments: &Arguments, tally: &Tally, stop: Stop) -> Stop {
        let Stop::Failed { message, remedy } = stop else { return stop };
        let done = tally.done;
        let all = self.cut.total.map_or_else(String::new, |total| format!(" of {total}"));
        let source = arguments.offset_src.saturating_add(done);
        let sink = arguments.offset_dst.saturating_add(done);
        let mut advice = format!(
            "{done}{all} bytes were copied; --offset-src {source} --offset-dst {sink} goes on from there"
        );
        if let Some(remedy) = remedy {
            advice = format!("{remedy}\n  {advice}");
        }
        Stop::with_remedy(message, advice)
    }
}

/// Pieces of whole grains, the first one such that the others begin with a block of the destination.
fn cut(asked: u64, grain: u64, destination: Option<u64>, offset: u64) -> Cut {
    let size = (asked / grain * grain).max(grain);
    let head = destination.map_or(0, |block| offset % block);
    let length = |bytes| usize::try_from(bytes).unwrap_or(usize::MAX);
    Cut { first: length(size - head), size: length(size), total: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_and_files() {
        assert!(is_url("iscsi://host/iqn.2001-04.com.example/0") && is_url("ISCSI://h"));
        assert!(is_url("iser://host"), "the URL's own error says more than a missing file");
        assert!(!is_url("-") && !is_url("iscsi:") && !is_url("./iscsi://x") && !is_url("é"));
    }

    #[test]
    fn pieces_begin_with_blocks_of_the_destination() {
        let lengths = |asked, grain, destination, offset| {
            let cut = cut(asked, grain, destination, offset);
            (cut.first, cut.size)
        };
        assert_eq!(lengths(524_288, 512, Some(512), 0), (524_288, 524_288));
        assert_eq!(lengths(75_536, 512, Some(512), 1024), (75_264, 75_264));
        assert_eq!(lengths(1_000_000, 4096, Some(4096), 100), (999_424 - 100, 999_424));
        assert_eq!(lengths(100, 512, Some(512), 0), (512, 512));
        assert_eq!(lengths(1000, 1, None, 7), (1000, 1000));
    }

    #[test]
    fn lengths_of_pieces() {
        let cut = Cut { first: 300, size: 512, total: Some(1000) };
        assert_eq!([0, 300, 812, 1000].map(|at| cut.len(at)), [300, 512, 188, 0]);
        let cut = Cut { total: None, ..cut };
        assert_eq!([0, 300, u64::MAX - 5].map(|at| cut.len(at)), [300, 512, 512]);
    }
}
