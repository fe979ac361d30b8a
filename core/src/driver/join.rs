//! Several short runs as one.

use core::ops::Deref;

/// Up to here runs are joined: 32 commands with digests.
const MOST: usize = 2048;

/// Runs of bytes as one, see [`joined`].
#[derive(Debug, Clone)]
pub struct Joined {
    bytes: [u8; MOST],
    len: usize,
}

impl Deref for Joined {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// The runs in one piece if they have at most 2048 bytes together, else `None`: for a [`Transport`](super::Transport) whose system takes one
/// piece for less than many. Commands and other headers are worth the copy.
///
/// ```
/// use iscsi_core::driver::joined;
/// assert_eq!(&*joined(&[b"he", b"ad", b"er"]).unwrap(), b"header");
/// assert!(joined(&[b"header", &[0; 2048]]).is_none());
/// ```
pub fn joined(runs: &[&[u8]]) -> Option<Joined> {
    if runs.iter().map(|run| run.len()).sum::<usize>() > MOST {
        return None;
    }
    let mut joined = Joined { bytes: [0; MOST], len: 0 };
    for run in runs {
        let end = joined.len + run.len();
        joined.bytes.get_mut(joined.len..end)?.copy_from_slice(run);
        joined.len = end;
    }
    Some(joined)
}
