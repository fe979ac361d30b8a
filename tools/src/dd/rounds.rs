//! A copy in rounds. Each ends with everything on the medium; if the unit may have lost what it took in a round, that is copied again.
//!
//! A unit with a volatile write cache answers a write before the data are on its medium. When it loses them, because it lost its power, all that it
//! tells is a unit attention to some later command, perhaps after a new login, and then it is as good as ever. So what counts is that no such unit
//! attention came between the first write of a round and the end of the SYNCHRONIZE CACHE that follows the last one.

use sha2_std::{Digest, Sha256};

use super::TOOL;
use super::pipeline::{self, Copying, Tally};
use super::sink::Sink;
use super::source::Source;
use crate::output::{Outcome, Stop, complain};

/// The most bytes of a round, for a unit with a volatile write cache: what a reset costs, against the pauses that the rounds make.
const ROUND: u64 = 1 << 30;

/// How often in a row a round is copied again.
const MAX_AGAIN: u32 = 8;

/// Copies everything, and brings it to the medium. What was written comes there also if the rest fails.
pub(crate) fn copy(
    source: &mut Source,
    sink: &mut Sink,
    how: &Copying<'_>,
    hash: &mut Option<Sha256>,
) -> (Tally, Outcome<()>) {
    let mut tally = Tally::default();
    let longest = if sink.may_cache() { source.keep().min(ROUND) } else { u64::MAX };
    let (mut length, mut again) = (longest, 0);
    loop {
        let (begin, hash_before) = (tally.mark(), hash.clone());
        sink.begin_round();
        let until = begin.done.saturating_add(length);
        let mut seen = |data: &[u8]| {
            if let Some(hash) = hash {
                hash.update(data);
            }
        };
        let copied = pipeline::copy(source, sink, how, until, &mut tally, &mut seen);
        let flushed = match (&copied, sink.was_reset()) {
            // All of it is written again anyway.
            (Ok(_), true) => Ok(()),
            _ => sink.flush(matches!(copied, Ok(true))),
        };
        // Asked again: the answer to SYNCHRONIZE CACHE may be what told of it.
        let was_reset = sink.was_reset();
        let deferred = copied.is_err() && sink.was_deferred();
        if was_reset || deferred || flushed.as_ref().is_err_and(|unflushed| unflushed.lost) {
            tally.go_back(begin);
        }
        let ended = match (copied, flushed) {
            (Err(stop), _) => return (tally, Err(stop)),
            (Ok(_), Err(unflushed)) => return (tally, Err(unflushed.why)),
            (Ok(ended), Ok(())) => ended,
        };
        if was_reset {
            again += 1;
            if let Err(stop) = start_again(source, sink, &tally, again) {
                return (tally, Err(stop));
            }
            *hash = hash_before;
            // Whatever makes the unit lose its cache, the next round is short enough to come between.
            length = (core::mem::take(&mut tally.unsure) / 2).max(1);
        } else if ended {
            return (tally, Ok(()));
        } else {
            source.forget(tally.done);
            (length, again) = (length.saturating_mul(2).min(longest), 0);
        }
    }
}

/// Goes back to what is known to be on the medium.
fn start_again(source: &mut Source, sink: &Sink, tally: &Tally, again: u32) -> Outcome<()> {
    let what = format!(
        "{}: the unit was reset or powered on, and may have lost what was in its write cache",
        sink.name()
    );
    if again > MAX_AGAIN {
        return Err(Stop::failed(format!("{what}; that was {again} times in a row")));
    }
    source.go_back(tally.done).map_err(|stop| stop.about(&what))?;
    let from = tally.done;
    complain(TOOL, format_args!("{what}; copying again from byte {from} of the copy"));
    Ok(())
}
