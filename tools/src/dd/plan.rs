//! From the arguments to the two ends, and to how the copy is cut into pieces.

use std::sync::Arc;

use iscsi_core::url::IscsiUrl;

use super::Arguments;
use super::pipeline::{Cut, Options, Tally};
use super::place::{Place, UnitIdentity};
use super::sink::Sink;
use super::source::Source;
use crate::connect::Setup;
use crate::disk::Disk;
use crate::output::{Outcome, Stop};
use crate::signals::Ending;
use crate::unit::Unit;
use crate::units::parse_bytes;

/// Length of a piece unless something else is asked for: long enough to make the cost of a command small, short enough that
/// the commands of a whole queue fit into a cache.
const PIECE: u64 = 512 << 10;

/// Memory for all buffers together, in bytes; a queue that would need more is made shorter.
const MAX_MEMORY: usize = 512 << 20;

/// The longest piece.
const MAX_PIECE: u64 = 64 << 20;

/// Reads the length of a piece.
pub(crate) fn parse_piece(text: &str) -> Result<u64, String> {
    match parse_bytes(text)? {
        bytes @ 1..=MAX_PIECE => Ok(bytes),
        _ => Err("write 1 to 64M".into()),
    }
}

/// Whether a place is a URL and not a file.
fn is_url(place: &str) -> bool {
    ["iscsi://", "iser://"].iter().any(|scheme| {
        place.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    })
}

/// Both ends of a copy, open, and what is to be done with them.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) source: Source,
    pub(crate) sink: Sink,
    pub(crate) plan: Plan,
}

impl Ends {
    /// Opens the source, then the destination. A file is not so much as created before everything else is known to be right.
    ///
    /// Both ends hear of `ending`.
    pub(crate) fn open(
        setup: &Setup,
        arguments: &Arguments,
        ending: &Arc<Ending>,
    ) -> Outcome<Self> {
        let from = arguments.src.as_deref().unwrap_or_default();
        let to = arguments.dst.as_deref().unwrap_or_default();
        // URLs are read before anything is connected.
        let from_url = is_url(from).then(|| setup.unit_url(from)).transpose()?;
        let to_url = is_url(to).then(|| setup.unit_url(to)).transpose()?;
        let apart = arguments.offset_src.abs_diff(arguments.offset_dst);
        let overlaps = arguments.count.is_none_or(|count| count > apart);
        let mut same_name = false;
        if let (Some(from), Some(to)) = (&from_url, &to_url) {
            same_name = from.target == to.target && from.lun == to.lun;
            if same_name && from.portal == to.portal && overlaps {
                return Err(Stop::failed(SAME_BLOCKS));
            }
        }
        // One unit may be reached by many names: what it calls itself is asked of both.
        let ask = to_url.is_some() && from_url.is_some() && overlaps && !arguments.distinct_units;
        let open = |url: &IscsiUrl| -> Outcome<_> {
            let identity = |unit: &mut Unit| if ask { UnitIdentity::ask(unit) } else { None };
            let (disk, identity) = Disk::open(setup.open(url)?, arguments.long_commands, identity)?;
            Ok((disk.with_ending(ending), identity))
        };

        let (source, available, from_identity) = match &from_url {
            None => {
                let (source, available) = Source::stream(from, arguments.offset_src, ending)?;
                (source, available, None)
            }
            Some(url) => {
                let (disk, identity) = open(url)?;
                let bytes = disk.bytes();
                let Some(available) = bytes.checked_sub(arguments.offset_src) else {
                    let offset = arguments.offset_src;
                    return Err(Stop::failed(format!(
                        "{url}: ends at {bytes}, before offset {offset}"
                    )));
                };
                (Source::disk(disk, arguments.offset_src), Some(available), identity)
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
        let (sink, plan) = match &to_url {
            None => {
                let plan = Plan::new(arguments, disk_of(&source), None, available)?;
                let sink = Sink::stream(to, arguments.offset_dst, arguments.no_truncate)?;
                match (source.place(), sink.place()) {
                    (Some(from), Some(to)) if from != to => {}
                    (Some(Place::BlockDevice(_)), Some(_)) if overlaps => {
                        return Err(Stop::failed(SAME_BLOCKS));
                    }
                    (Some(Place::File { .. }), Some(_)) => {
                        return Err(Stop::failed("source and destination are the same file"));
                    }
                    _ => {}
                }
                (sink, plan)
            }
            Some(url) => {
                let (disk, identity) = open(url)?;
                if let Some(from) = disk_of(&source).filter(|_| ask) {
                    let size = |disk: &Disk| (disk.bytes(), disk.block_size());
                    let same = from_identity == identity && (identity.is_some() || same_name);
                    if same && size(from) == size(&disk) {
                        return Err(Stop::with_remedy(
                            format!("{SAME_BLOCKS}: both units give the same name"),
                            "--distinct-units copies if they are two units all the same",
                        ));
                    }
                }
                check_room(&disk, arguments, arguments.count.or(available))?;
                let plan = Plan::new(arguments, disk_of(&source), Some(&disk), available)?;
                (Sink::disk(disk, arguments.offset_dst), plan)
            }
        };
        Ok(Self { source, sink, plan })
    }
}

const SAME_BLOCKS: &str = "source and destination are the same blocks";

const fn disk_of(source: &Source) -> Option<&Disk> {
    match source {
        Source::Disk { disk, .. } => Some(disk),
        Source::Stream { .. } => None,
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

/// How a copy is done.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) cut: Cut,
    pub(crate) options: Options,
    /// The block size that the result is told in.
    pub(crate) block: u64,
}

impl Plan {
    /// From the arguments, the units at both ends, and how many bytes the source has if that is known.
    fn new(
        arguments: &Arguments,
        from: Option<&Disk>,
        to: Option<&Disk>,
        available: Option<u64>,
    ) -> Outcome<Self> {
        let block_of = |disk: Option<&Disk>| disk.map(|disk| u64::from(disk.block_size()));
        let block = block_of(from).or_else(|| block_of(to)).unwrap_or(512);
        let asked = match (arguments.block_size, arguments.blocks) {
            (Some(bytes), _) => bytes,
            (None, Some(blocks)) => u64::from(blocks).saturating_mul(block),
            (None, None) => PIECE,
        };
        if asked == 0 || asked > MAX_PIECE {
            return Err(Stop::with_remedy(
                format!("the bytes of one read or write are from 1 to {MAX_PIECE}, not {asked}"),
                format!("-b is in blocks of {block} bytes"),
            ));
        }
        // One block is kept free for pieces that do not begin with a block.
        let limit = |disk: &Disk| disk.max_bytes().saturating_sub(disk.block_size().into());
        let asked = [from, to].into_iter().flatten().map(limit).fold(asked, u64::min);
        let grain = block_of(to).or_else(|| block_of(from)).unwrap_or(1);
        let cut = cut(asked, grain, block_of(to), arguments.offset_dst);
        let total = match (arguments.count, available) {
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
        if tally.unsure > 0 {
            let unsure = tally.unsure;
            advice = format!(
                "{unsure} more bytes were written, but are not known to be on the medium\n  {advice}"
            );
        }
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
