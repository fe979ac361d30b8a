//! How a range of blocks is cut into commands: pure arithmetic.

/// What bounds one command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PieceLimit {
    /// Most blocks; at least 1.
    pub(crate) max: u32,
    /// Where a range is cut, in blocks: `first + n * granularity`. 1 is anywhere.
    pub(crate) granularity: u32,
    pub(crate) first: u32,
}

impl PieceLimit {
    /// How many of the `remaining` blocks from `lba` the next command takes: at least 1 if there are any, at most `max`. If not all,
    /// the cut is at a multiple of the granularity wherever that leaves anything.
    pub(crate) fn piece(&self, lba: u64, remaining: u64) -> u32 {
        let max = self.max.max(1);
        if remaining <= u64::from(max) {
            return remaining as u32;
        }
        let granularity = u64::from(self.granularity.max(1));
        if granularity == 1 {
            return max;
        }
        // Blocks between the last possible cut and the end of the longest piece.
        let first = u64::from(self.first) % granularity;
        let end = lba.saturating_add(max.into());
        let excess = (end % granularity + granularity - first) % granularity;
        match u32::try_from(excess).ok().and_then(|excess| max.checked_sub(excess)) {
            None | Some(0) => max,
            Some(blocks) => blocks,
        }
    }
}

/// The blocks that a byte range touches, as first and end.
pub(crate) const fn covering(offset: u64, len: u64, block_size: u32) -> (u64, u64) {
    let size = block_size as u64;
    (offset / size, offset.saturating_add(len).div_ceil(size))
}

/// The blocks that lie in a byte range as a whole, as first and end; the end is never before the first.
pub(crate) const fn covered(offset: u64, len: u64, block_size: u32) -> (u64, u64) {
    let size = block_size as u64;
    let first = offset.div_ceil(size);
    let end = offset.saturating_add(len) / size;
    (first, if end < first { first } else { end })
}

/// Which part of a request's memory a command over blocks from byte `start` on moves: bytes of the command before it, and its place and length in
/// the memory. `offset..offset + len` is the request's range.
pub(crate) fn overlap(start: u64, bytes: u32, offset: u64, len: u64) -> (u32, u64, u32) {
    let from = start.max(offset);
    let to = start.saturating_add(bytes.into()).min(offset.saturating_add(len));
    let skip = from.saturating_sub(start).min(bytes.into()) as u32;
    (skip, from.saturating_sub(offset), to.saturating_sub(from) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cuts_are_aligned() {
        let limit = PieceLimit { max: 16, granularity: 8, first: 2 };
        assert_eq!(limit.piece(0, 100), 10, "up to block 10 = 2 + 8");
        assert_eq!(limit.piece(10, 90), 16);
        assert_eq!(limit.piece(10, 16), 16);
        assert_eq!(limit.piece(95, 5), 5, "the end needs no alignment");
        let coarse = PieceLimit { max: 4, granularity: 64, first: 0 };
        assert_eq!(coarse.piece(1, 100), 4, "no cut in reach");
        assert_eq!(coarse.piece(62, 100), 2);
    }

    #[test]
    fn ranges_in_blocks() {
        assert_eq!(covering(511, 2, 512), (0, 2));
        assert_eq!(covering(512, 512, 512), (1, 2));
        assert_eq!(covered(511, 2, 512), (1, 1));
        assert_eq!(covered(1, 1535, 512), (1, 3));
        assert_eq!(covered(100, 10, 512), (1, 1));
    }

    proptest! {
        #[test]
        fn pieces_cover_a_range_exactly_once(
            offset in 0_u64..1 << 50,
            len in 1_u64..1 << 22,
            block in prop_oneof![Just(512_u32), Just(520), Just(4096)],
            max in 1_u32..5000,
            granularity in 0_u32..300,
            first in 0_u32..300,
        ) {
            let limit = PieceLimit { max, granularity, first };
            let (mut lba, end) = covering(offset, len, block);
            prop_assert!(lba * u64::from(block) <= offset);
            prop_assert!(end * u64::from(block) >= offset + len);
            let mut at = 0;
            while lba < end {
                let blocks = limit.piece(lba, end - lba);
                prop_assert!(blocks >= 1 && blocks <= max && u64::from(blocks) <= end - lba);
                let bytes = blocks * block;
                let (skip, base, user) = overlap(lba * u64::from(block), bytes, offset, len);
                // Runs of the memory follow each other without gap or overlap.
                prop_assert_eq!(base, at);
                prop_assert!(user > 0 && skip + user <= bytes);
                prop_assert_eq!(lba * u64::from(block) + u64::from(skip), offset + base);
                at += u64::from(user);
                lba += u64::from(blocks);
            }
            prop_assert_eq!(at, len);
        }

        #[test]
        fn extreme_values_do_not_overflow(
            lba: u64, remaining: u64, max: u32, granularity: u32, first: u32, offset: u64, len: u64,
        ) {
            let blocks = PieceLimit { max, granularity, first }.piece(lba, remaining);
            prop_assert!(u64::from(blocks) <= remaining);
            let (start, end) = covered(offset, len, 512);
            prop_assert!(start <= end);
            let (skip, _, user) = overlap(lba, max, offset, len);
            prop_assert!(skip <= max && user <= max);
        }
    }
}
