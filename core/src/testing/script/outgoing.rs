//! A PDU on its way out, with what the rules make of it.

use alloc::collections::VecDeque;
use alloc::vec::Vec;
use core::time::Duration;

use super::rule::{Do, End, Extra, When};
use super::{Field, Piece};
use crate::CmdSn;
use crate::StatSn;
use crate::testing::framer::Framer;
use crate::testing::rng::Rng;
use crate::wire::{self, BHS_LEN, Bhs};

/// A PDU that is about to be sent.
#[derive(Debug)]
pub(in crate::testing) struct Outgoing {
    pub(in crate::testing) bhs: Bhs,
    ahs: Vec<u8>,
    pub(in crate::testing) data: Vec<u8>,
    pub(in crate::testing) spread: Vec<usize>,
    pad: u8,
    spoil: [bool; 2],
    reverse: bool,
    flips: Vec<(usize, u8)>,
    append: Vec<u8>,
    pub(in crate::testing) copies: u32,
    pub(in crate::testing) swap: bool,
    pub(in crate::testing) hold: Option<When>,
    late: Option<Duration>,
    split: Vec<usize>,
    each: Option<(usize, Duration)>,
    cut: Option<(usize, End)>,
}

/// Pieces that arrive one after the other are this far apart.
const APART: Duration = Duration::from_micros(1);

impl Outgoing {
    pub(in crate::testing) fn new(bhs: &Bhs, data: &[u8]) -> Self {
        Self {
            bhs: *bhs,
            ahs: Vec::new(),
            data: data.to_vec(),
            spread: Vec::new(),
            pad: 0,
            spoil: [false; 2],
            reverse: false,
            flips: Vec::new(),
            append: Vec::new(),
            copies: 1,
            swap: false,
            hold: None,
            late: None,
            split: Vec::new(),
            each: None,
            cut: None,
        }
    }

    /// Applies what changes a PDU; nothing else.
    pub(in crate::testing) fn apply(&mut self, act: &Do) {
        match act {
            Do::Set(field, value) => field.set(&mut self.bhs, *value),
            Do::Add(field, more) => {
                let value = field.get(&self.bhs).wrapping_add_signed(*more);
                field.set(&mut self.bhs, value);
            }
            Do::Patch(at, bytes) => self.bhs[*at..at + bytes.len()].copy_from_slice(bytes),
            Do::Ahs(bytes) => {
                self.ahs.clone_from(bytes);
                Field::TOTAL_AHS_LENGTH.set(&mut self.bhs, bytes.len() as u64 / 4);
            }
            Do::Data(bytes) => self.set_data(bytes.clone()),
            Do::Key(key, value) => {
                let pair = alloc::format!("{key}={value}\0");
                let mut text = self.without(key);
                text.extend_from_slice(pair.as_bytes());
                self.set_data(text);
            }
            Do::DropKey(key) => {
                let text = self.without(key);
                self.set_data(text);
            }
            Do::Text(bytes) => {
                let text = [&self.data[..], bytes].concat();
                self.set_data(text);
            }
            Do::Spread(places) => self.spread.clone_from(places),
            Do::Pad(byte) => self.pad = *byte,
            Do::SpoilHeaderDigest => self.spoil[0] = true,
            Do::SpoilDataDigest => self.spoil[1] = true,
            Do::ReverseDigests => self.reverse = true,
            Do::Flip { at, mask } => self.flips.push((*at, *mask)),
            Do::Append(bytes) => self.append.extend_from_slice(bytes),
            Do::Drop => self.copies = 0,
            Do::Repeat(times) => self.copies = *times,
            Do::Swap => self.swap = true,
            Do::Hold(until) => self.hold = Some((**until).clone()),
            Do::Late(time) => self.late = Some(*time),
            Do::Split(places) => self.split.clone_from(places),
            Do::SplitEach(bytes) => self.each = Some((*bytes, APART)),
            Do::Trickle { bytes, every } => self.each = Some((*bytes, *every)),
            Do::Cut { at, end } => self.cut = Some((*at, *end)),
            _ => {}
        }
    }

    /// Keeps only the first part of a text; the others, if it is to be spread.
    pub(in crate::testing) fn spread(&mut self) -> Option<VecDeque<Vec<u8>>> {
        if self.spread.is_empty() {
            return None;
        }
        let mut parts = VecDeque::new();
        let mut from = 0;
        for at in core::mem::take(&mut self.spread).into_iter().chain([self.data.len()]) {
            let at = at.clamp(from, self.data.len());
            parts.push_back(self.data[from..at].to_vec());
            from = at;
        }
        let first = parts.pop_front().unwrap_or_default();
        self.set_data(first);
        Some(parts)
    }

    fn set_data(&mut self, data: Vec<u8>) {
        Field::DATA_SEGMENT_LENGTH.set(&mut self.bhs, data.len() as u64);
        self.data = data;
    }

    /// The text without a key.
    fn without(&self, key: &str) -> Vec<u8> {
        let is_other = |pair: &&[u8]| {
            pair.strip_prefix(key.as_bytes()).is_none_or(|rest| rest.first() != Some(&b'='))
        };
        self.data.split_inclusive(|byte| *byte == 0).filter(is_other).flatten().copied().collect()
    }

    /// The bytes of one copy.
    fn bytes(&self, framer: &Framer) -> Vec<u8> {
        let mut out = framer.frame_padded(&self.bhs, &self.ahs, &self.data, self.pad);
        let digests = framer.digest_places(self.ahs.len(), self.data.len());
        for (place, spoil) in digests.into_iter().zip(self.spoil) {
            if let Some(place) = place {
                if self.reverse {
                    out[place..place + 4].reverse();
                }
                if spoil {
                    out[place] ^= 0x01;
                }
            }
        }
        for (at, mask) in &self.flips {
            if let Some(byte) = out.get_mut(*at) {
                *byte ^= mask;
            }
        }
        out.extend_from_slice(&self.append);
        out
    }

    /// Everything that goes out for it.
    pub(in crate::testing) fn finish(&self, framer: &Framer) -> Vec<Piece> {
        let mut pieces = Vec::new();
        if let Some(time) = self.late {
            pieces.push(Piece::Wait(time));
        }
        let whole = self.bytes(framer);
        for _ in 0..self.copies {
            let (bytes, end) = match self.cut {
                Some((at, end)) => (&whole[..at.min(whole.len())], Some(end)),
                None => (&whole[..], None),
            };
            let mut places = self.split.clone();
            let mut apart = APART;
            if let Some((len, every)) = self.each {
                places = (1..).map(|n| n * len.max(1)).take_while(|at| *at < bytes.len()).collect();
                apart = every;
            }
            places.sort_unstable();
            let mut from = 0;
            for at in places.into_iter().filter(|at| *at < bytes.len()) {
                pieces.push(Piece::Bytes(bytes[from..at].to_vec()));
                pieces.push(Piece::Wait(apart));
                from = at;
            }
            pieces.push(Piece::Bytes(bytes[from..].to_vec()));
            if self.each.is_some() || !self.split.is_empty() {
                pieces.push(Piece::Wait(apart));
            }
            if let Some(end) = end {
                pieces.push(Piece::End(end));
                break;
            }
        }
        pieces
    }
}

impl Extra {
    /// Header and data segment. `cause` is the header that led to it.
    pub(in crate::testing) fn build(
        &self,
        cause: Option<&Bhs>,
        stat_sn: StatSn,
        window: (CmdSn, CmdSn),
    ) -> (Bhs, Vec<u8>) {
        let mut bhs = [0; BHS_LEN];
        bhs[0] = self.opcode;
        bhs[1] = 0x80;
        bhs[16..24].fill(0xff);
        Field::STAT_SN.set(&mut bhs, u64::from(stat_sn.0));
        Field::EXP_CMD_SN.set(&mut bhs, u64::from(window.0.0));
        Field::MAX_CMD_SN.set(&mut bhs, u64::from(window.1.0));
        let mut data = Vec::new();
        if let Some(cause) = cause {
            if self.of_task {
                bhs[8..20].copy_from_slice(&cause[8..20]);
            }
            if self.with_header {
                data.extend_from_slice(cause);
            }
        }
        data.extend_from_slice(&self.data);
        Field::DATA_SEGMENT_LENGTH.set(&mut bhs, data.len() as u64);
        for (field, value) in &self.sets {
            field.set(&mut bhs, *value);
        }
        (bhs, data)
    }
}

/// Random bytes.
pub(in crate::testing) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = alloc::vec![0; len];
    Rng::new(seed).fill(&mut bytes);
    bytes
}

/// Whether a header is a Login Response that ends the login.
pub(in crate::testing) fn ends_login(bhs: &Bhs) -> bool {
    wire::Opcode::of(bhs) == Some(wire::Opcode::LoginResponse)
        && bhs[36] == 0
        && bhs[1] & 0x83 == 0x83
}

/// Makes a Login or Text Response one that is continued.
pub(in crate::testing) fn continue_text(bhs: &mut Bhs) {
    if wire::Opcode::of(bhs) == Some(wire::Opcode::TextResponse) {
        bhs[1] = 0x40;
        Field::LUN.set(bhs, 0);
        Field::TARGET_TRANSFER_TAG.set(bhs, 0x7e48);
    } else {
        bhs[1] = bhs[1] & !0x83 | 0x40;
    }
}
