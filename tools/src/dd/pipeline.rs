//! Reading and writing at the same time: two threads, and a fixed set of buffers that goes round between them.

use core::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvError, Sender, TryRecvError, channel};
use std::thread;

use crate::dd::sink::Sink;
use crate::dd::source::Source;
use crate::output::{Outcome, Stop};
use crate::signals::Ending;

/// A part of the copy.
#[derive(Debug)]
pub(crate) struct Piece {
    /// Where it belongs, from the beginning of what is copied.
    pub(crate) at: u64,
    pub(crate) len: usize,
    /// Its bytes are `memory[..len]`; the rest is room for the blocks around them.
    pub(crate) memory: Vec<u8>,
    /// Why it could not be read, or written.
    pub(crate) failed: Option<Fault>,
}

/// Why a piece was not copied.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) why: Stop,
    /// No other piece can be copied either.
    pub(crate) is_final: bool,
}

impl Fault {
    /// The reason to stop, unless the piece may be left out.
    fn skip(self, ignore: bool) -> Outcome<Stop> {
        if ignore && !self.is_final { Ok(self.why) } else { Err(self.why) }
    }
}

/// How the copy is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// Length of the first piece, such that the second one begins at a block of the destination.
    pub(crate) first: usize,
    /// Length of all others.
    pub(crate) size: usize,
    /// Bytes in all, if that is known before.
    pub(crate) total: Option<u64>,
}

impl Cut {
    /// The length of the piece at `at`; 0 at the end.
    pub(crate) fn len(&self, at: u64) -> usize {
        let size = if at == 0 { self.first } else { self.size };
        let left = self.total.map_or(u64::MAX, |total| total.saturating_sub(at));
        usize::try_from(left).map_or(size, |left| left.min(size))
    }
}

/// What is known when the copy has ended, well or not.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Bytes of which it is known that they are in their place: all from the beginning up to here, but for what was skipped. While a round of the copy
    /// is under way, those that were written.
    pub(crate) done: u64,
    /// Bytes behind those that were written, but may be lost.
    pub(crate) unsure: u64,
    /// Bytes that were left out because they could not be read or written.
    pub(crate) skipped: u64,
    /// What is wrong with each piece that was left out, up to [`MAX_KEPT`].
    pub(crate) errors: Vec<(u64, Stop)>,
}

/// How many errors are kept for the report.
const MAX_KEPT: usize = 10;

/// Where a [`Tally`] stood.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    /// Bytes that were in their place then.
    pub(crate) done: u64,
    skipped: u64,
    errors: usize,
}

impl Tally {
    pub(crate) const fn mark(&self) -> Mark {
        Mark { done: self.done, skipped: self.skipped, errors: self.errors.len() }
    }

    /// What was counted since then may be lost.
    pub(crate) fn go_back(&mut self, to: Mark) {
        self.unsure = self.done.saturating_sub(to.done);
        self.done = to.done;
        self.skipped = to.skipped;
        self.errors.truncate(to.errors);
    }

    fn skip(&mut self, at: u64, len: usize, why: Stop) {
        self.skipped += len as u64;
        if self.errors.len() < MAX_KEPT {
            self.errors.push((at, why));
        }
    }
}

/// Copies from where the tally stands up to the first piece that begins at `until` or behind. `depth` commands are under way at each end; with `ignore` a
/// piece that cannot be read or written is left out. Once `ending` wants it nothing more is begun, and what is under way in the sink comes to its end or is
/// given up. It ends early if the sink [was reset](Sink::was_reset).
///
/// True if the source was read to its end. `progress` hears how many bytes are done, `seen` is shown the data in their order.
pub(crate) fn copy(
    source: &mut Source,
    sink: &mut Sink,
    how: &Copying<'_>,
    until: u64,
    tally: &mut Tally,
    seen: &mut (dyn FnMut(&[u8]) + Send),
) -> Outcome<bool> {
    let Copying { cut, options, ending, progress } = *how;
    let from = tally.done;
    let (free_sender, free) = channel();
    for _ in 0..options.depth.saturating_mul(2) {
        let _ = free_sender.send(vec![0; options.memory]);
    }
    let (full_sender, full) = channel();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let full = full_sender;
            let reader = Reader { cut, from, until, options, free, full, stop: &stop, ending };
            reader.run(source, seen)
        });
        let writer = Writer { options, free: free_sender, full, tally, progress, ending };
        let written = writer.run(sink);
        stop.store(true, Ordering::Relaxed);
        // A panic would be a mistake in this program.
        let broken = |_| Err(Stop::failed("the reading thread broke"));
        let read = reader.join().unwrap_or_else(broken);
        // If writing failed, reading was cut short, which is no news.
        written.and(read)
    })
}

/// What stays the same for the whole copy.
#[derive(Clone, Copy)]
pub(crate) struct Copying<'a> {
    pub(crate) cut: Cut,
    pub(crate) options: Options,
    pub(crate) ending: &'a Ending,
    pub(crate) progress: &'a dyn Fn(u64),
}

/// How to copy.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Options {
    /// Commands under way at each end.
    pub(crate) depth: usize,
    /// Length of a buffer: a piece and the blocks around it.
    pub(crate) memory: usize,
    /// Leave out what cannot be read or written.
    pub(crate) ignore: bool,
}

struct Reader<'a> {
    cut: Cut,
    from: u64,
    until: u64,
    options: Options,
    free: Receiver<Vec<u8>>,
    full: Sender<Piece>,
    stop: &'a AtomicBool,
    ending: &'a Ending,
}

impl Reader<'_> {
    /// True if the source has ended.
    fn run(self, source: &mut Source, seen: &mut (dyn FnMut(&[u8]) + Send)) -> Outcome<bool> {
        let depth = source.depth(self.options.depth);
        let (mut at, mut ended, mut complete) = (self.from, false, false);
        loop {
            while !ended && source.under_way() < depth {
                let len = self.cut.len(at);
                complete = len == 0;
                if complete || at >= self.until || self.stop.load(Ordering::Relaxed) {
                    ended = true;
                    break;
                }
                // A buffer is waited for only if nothing else is to be waited for.
                let memory = match source.under_way() {
                    0 => self.free.recv().ok(),
                    _ => self.free.try_recv().ok(),
                };
                let Some(memory) = memory else {
                    // If none will come any more, the other end has failed.
                    ended = source.under_way() == 0;
                    break;
                };
                source.start(at, len, memory)?;
                at += len as u64;
            }
            let Some(mut piece) = source.finish() else { return Ok(complete) };
            if self.ending.is_wanted() {
                return Err(Stop::failed("interrupted"));
            }
            match piece.failed.take() {
                None => seen(piece.memory.get(..piece.len).unwrap_or_default()),
                Some(fault) => {
                    let why = fault.skip(self.options.ignore)?;
                    piece.failed = Some(Fault { why, is_final: false });
                }
            }
            // A source whose length was not known has ended.
            let wanted = self.cut.len(piece.at);
            let (is_last, end) = (piece.len < wanted, piece.at + piece.len as u64);
            ended |= is_last;
            complete |= is_last;
            if piece.len > 0 && self.full.send(piece).is_err() {
                return Ok(false);
            }
            if let (true, Some(total)) = (is_last, self.cut.total) {
                let name = source.name();
                return Err(Stop::failed(format!("{name}: ended after {end} of {total} bytes")));
            }
        }
    }
}

struct Writer<'a> {
    options: Options,
    free: Sender<Vec<u8>>,
    full: Receiver<Piece>,
    tally: &'a mut Tally,
    progress: &'a dyn Fn(u64),
    ending: &'a Ending,
}

impl Writer<'_> {
    fn run(mut self, sink: &mut Sink) -> Outcome<()> {
        let depth = sink.depth(self.options.depth);
        loop {
            if sink.was_reset() {
                // All of it has to be written again. Memory that is lent comes back first.
                while self.finish_one(sink)? {}
                return Ok(());
            }
            let next = match sink.under_way() {
                0 => self.full.recv().map_err(|RecvError| TryRecvError::Disconnected),
                n if n < depth => self.full.try_recv(),
                _ => Err(TryRecvError::Empty),
            };
            if let Ok(piece) = next {
                let started = match self.ending.is_wanted() {
                    true => Err(Stop::failed("interrupted")),
                    false => sink.start(piece),
                };
                if let Err(why) = started {
                    // What is under way may still arrive, and counts then.
                    while self.finish_one(sink)? {}
                    return Err(why);
                }
            } else if !self.finish_one(sink)? {
                return Ok(());
            }
        }
    }

    /// Waits for the oldest piece and counts it; `false` if nothing is under way.
    fn finish_one(&mut self, sink: &mut Sink) -> Outcome<bool> {
        let Some(mut piece) = sink.finish() else { return Ok(false) };
        if let Some(fault) = piece.failed.take() {
            self.tally.skip(piece.at, piece.len, fault.skip(self.options.ignore)?);
        }
        self.tally.done = piece.at + piece.len as u64;
        (self.progress)(self.tally.done);
        // The reader may have ended.
        let _ = self.free.send(piece.memory);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_lost_is_not_counted() {
        let mut tally = Tally { done: 100, ..Tally::default() };
        tally.skip(10, 5, Stop::failed("first"));
        let mark = tally.mark();
        tally.done = 300;
        tally.skip(200, 7, Stop::failed("second"));
        tally.go_back(mark);
        assert_eq!((tally.done, tally.unsure, tally.skipped), (100, 200, 5));
        assert_eq!(tally.errors.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [10]);
    }
}
