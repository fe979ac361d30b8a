//! One way of a connection: which bytes pass, and how.

use core::time::Duration;
use std::collections::VecDeque;
use std::time::Instant;

use crate::log::Event;
use crate::login::Login;
use crate::plan::{Fault, Flips, Plan, Rng, Way};

/// The most bytes that are taken in at a time.
pub(crate) const CHUNK: usize = 64 << 10;

/// What a random number is for.
const RULES: u64 = 0;
const FLIPS: u64 = 1;
const DELAYS: u64 = 2;

/// The bytes of one way between being received and being sent.
#[derive(Debug)]
pub(crate) struct Pipe {
    way: Way,
    /// Bytes taken in.
    taken: u64,
    /// Faults to come, and the byte before which they happen.
    rules: VecDeque<(u64, Fault)>,
    /// Bytes that are still to disappear.
    skip: u64,
    flipper: Option<Flipper>,
    delay: Option<[Duration; 2]>,
    trickle: Option<(usize, Duration)>,
    delays: Rng,
    out: Vec<u8>,
    sent: usize,
    /// When the bytes at hand may be sent.
    send_at: Option<Instant>,
    /// When more may be taken in.
    take_at: Option<Instant>,
    pub(crate) stalled: bool,
    /// What comes is thrown away: the receiver is told that this was all.
    pub(crate) ending: bool,
    /// The sender has said that this was all.
    pub(crate) eof: bool,
    /// The receiver was told so.
    pub(crate) closed: bool,
}

#[derive(Debug)]
struct Flipper {
    flips: Flips,
    login: Login,
    rng: Rng,
    /// The byte whose bit is flipped next, once it is known where the first one may be.
    next: Option<u64>,
}

impl Pipe {
    /// A pipe without faults if there is no plan for this connection.
    pub(crate) fn new(plan: Option<&Plan>, connection: u64, way: Way) -> Self {
        let seed = plan.map_or(0, |plan| plan.seed);
        let rng = |purpose| Rng::new(seed, connection, purpose * 3 + 1 + way.index() as u64);
        let mut rules: Vec<_> = Vec::new();
        let mut draw = rng(RULES);
        for rule in plan.iter().flat_map(|plan| &plan.rules) {
            if rule.way == Some(way) {
                rules.push((draw.within(rule.after), rule.fault));
            }
        }
        rules.sort_by_key(|(at, _)| *at);
        let flips = plan.and_then(|plan| plan.flips[way.index()]);
        let flipper =
            |flips| Flipper { flips, login: Login::default(), rng: rng(FLIPS), next: None };
        Self {
            way,
            taken: 0,
            rules: rules.into(),
            skip: 0,
            flipper: flips.map(flipper),
            delay: plan.and_then(|plan| plan.delays[way.index()]),
            trickle: plan.and_then(|plan| plan.trickles[way.index()]),
            delays: rng(DELAYS),
            out: Vec::with_capacity(CHUNK),
            sent: 0,
            send_at: None,
            take_at: None,
            stalled: false,
            ending: false,
            eof: false,
            closed: false,
        }
    }

    /// Bytes taken in so far.
    pub(crate) const fn taken(&self) -> u64 {
        self.taken
    }

    /// How many bytes may be taken in now: none while those before have not been sent, or a fault is due.
    pub(crate) fn room(&self, now: Instant) -> usize {
        if self.eof || (self.stalled && !self.ending) {
            return 0;
        }
        if self.ending {
            return CHUNK;
        }
        if self.pending() || self.take_at.is_some_and(|at| at > now) {
            return 0;
        }
        let most = self.trickle.map_or(CHUNK, |(bytes, _)| bytes.min(CHUNK));
        match self.rules.front() {
            Some((at, _)) => most.min(usize::try_from(at - self.taken).unwrap_or(most)),
            None => most,
        }
    }

    /// Takes bytes in, no more than there is [`room`](Self::room) for.
    pub(crate) fn take(&mut self, bytes: &mut [u8], now: Instant, tell: &mut dyn FnMut(Event)) {
        let start = self.taken;
        self.taken += bytes.len() as u64;
        if self.ending {
            return;
        }
        if let Some(flipper) = &mut self.flipper {
            flipper.flip(bytes, start, self.way, tell);
        }
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        self.skip -= skipped as u64;
        self.out.clear();
        self.sent = 0;
        self.out.extend_from_slice(&bytes[skipped..]);
        self.send_at = self.delay.map(|delay| now + self.delays.duration(delay));
        self.take_at = self.trickle.map(|(_, pause)| now + pause);
    }

    /// What may be sent now.
    pub(crate) fn ready(&self, now: Instant) -> &[u8] {
        match self.send_at {
            Some(at) if at > now => &[],
            _ => self.out.get(self.sent..).unwrap_or_default(),
        }
    }

    /// So much of it was sent.
    pub(crate) const fn sent(&mut self, bytes: usize) {
        self.sent += bytes;
    }

    pub(crate) const fn pending(&self) -> bool {
        self.sent < self.out.len()
    }

    /// The fault that is to happen now.
    pub(crate) fn due(&mut self, tell: &mut dyn FnMut(Event)) -> Option<Fault> {
        while let Some(&(at, fault)) = self.rules.front() {
            if at > self.taken || self.ending || (self.pending() && fault != Fault::Reset) {
                return None;
            }
            self.rules.pop_front();
            let (way, after) = (self.way, self.taken);
            match fault {
                Fault::Skip(bytes) => {
                    self.skip += bytes;
                    tell(Event::Skipped { way, at, bytes });
                }
                Fault::Stall => {
                    self.stalled = true;
                    tell(Event::Stalled { way, after });
                }
                Fault::HalfClose => {
                    self.ending = true;
                    tell(Event::HalfClosed { way, after });
                }
                Fault::Reset | Fault::Close => return Some(fault),
            }
        }
        None
    }

    /// When time alone lets something happen.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        let at = if self.pending() { self.send_at } else { self.take_at };
        at.filter(|at| *at > now && !self.stalled && !self.eof)
    }

    /// The receiver is to be told that this was all.
    pub(crate) const fn is_over(&self) -> bool {
        (self.eof || self.ending) && !self.pending() && !self.closed
    }
}

impl Flipper {
    fn flip(&mut self, bytes: &mut [u8], start: u64, way: Way, tell: &mut dyn FnMut(Event)) {
        if self.next.is_none() {
            if self.flips.outside_login {
                self.login.feed(bytes);
            }
            let from = match self.login.end() {
                None if self.flips.outside_login => return,
                end => self.flips.from.max(end.unwrap_or(0)),
            };
            // The first distance counts the byte in front.
            self.next = Some(from + self.rng.within(self.flips.every) - 1);
        }
        while let Some(at) = self.next {
            let Some(byte) = at.checked_sub(start).and_then(|at| bytes.get_mut(at as usize)) else {
                return;
            };
            let bit = (self.rng.within(crate::plan::Span { low: 0, high: 7 })) as u8;
            *byte ^= 1 << bit;
            tell(Event::Flipped { way, at, bit });
            self.next = Some(at + self.rng.within(self.flips.every));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::Builder;

    fn builder() -> Builder {
        Builder::new("127.0.0.1:1".parse().unwrap())
    }

    /// What becomes of a stream that comes in chunks, and the log.
    fn pass(builder: &Builder, stream: &[u8], chunk: usize) -> (Vec<u8>, Vec<Event>) {
        let mut pipe = Pipe::new(Some(&builder.plan), 0, Way::ToServer);
        let (now, mut log, mut out) = (Instant::now(), Vec::new(), Vec::new());
        let mut rest = stream;
        while !rest.is_empty() {
            if let Some(fault) = pipe.due(&mut |event| log.push(event)) {
                assert_eq!(fault, Fault::Reset);
                break;
            }
            let len = chunk.min(pipe.room(now)).min(rest.len());
            if len == 0 {
                break;
            }
            let mut bytes = rest[..len].to_vec();
            rest = &rest[len..];
            pipe.take(&mut bytes, now, &mut |event| log.push(event));
            out.extend_from_slice(pipe.ready(now));
            pipe.sent(pipe.ready(now).len());
        }
        (out, log)
    }

    #[test]
    fn chunks_do_not_matter() {
        let stream: Vec<u8> = (0..10_000u32).map(|n| n as u8).collect();
        let builder = builder()
            .seed(3)
            .flip_bits(Way::ToServer, 100..300)
            .from_byte(1000)
            .after_bytes(Way::ToServer, 500..600, Fault::Skip(77))
            .after_bytes(Way::ToServer, 8000..9000, Fault::Stall);
        let whole = pass(&builder, &stream, usize::MAX);
        for chunk in [1, 7, 1000] {
            assert_eq!(pass(&builder, &stream, chunk), whole, "{chunk}");
        }
        let (out, log) = whole;
        assert!((8000 - 77..9000 - 77).contains(&out.len()));
        let flips: Vec<_> = log.iter().filter(|e| matches!(e, Event::Flipped { .. })).collect();
        assert!((25..=90).contains(&flips.len()), "{}", flips.len());
        assert!(matches!(flips[0], Event::Flipped { at: 1000.., .. }));
        let changed = out[1000..].iter().zip(&stream[1077..]).filter(|(a, b)| a != b).count();
        assert!((20..=flips.len()).contains(&changed), "{changed}");
        let other = pass(&builder.seed(4), &stream, usize::MAX);
        assert_ne!(other.1, log);
    }

    #[test]
    fn the_login_is_left_alone() {
        // A Login Request with 100 bytes of text, then something else.
        let mut stream = vec![0; 148 + 48];
        (stream[0], stream[7]) = (0x43, 100);
        stream[148] = 0x01;
        let builder = builder().flip_bits(Way::ToServer, 1..=1).outside_login();
        for chunk in [1, 10, 1000] {
            let (out, log) = pass(&builder, &stream, chunk);
            assert_eq!(out[..148], stream[..148]);
            assert!(out[148..].iter().zip(&stream[148..]).all(|(a, b)| a != b), "every byte");
            assert_eq!(log.len(), 48);
        }
    }

    #[test]
    fn one_way_does_not_have_the_faults_of_the_other() {
        let builder = builder().after_bytes(Way::ToClient, 3..=3, Fault::Reset);
        assert_eq!(pass(&builder, &[1; 10], 4), (vec![1; 10], vec![]));
        let builder = builder.after_bytes(Way::ToServer, 3..=3, Fault::Reset);
        assert_eq!(pass(&builder, &[1; 10], 4).0, [1; 3]);
    }
}
