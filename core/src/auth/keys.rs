//! The CHAP keys of one message.

use core::fmt;

use heapless::Vec;

use super::algorithm::Response;
use super::{AuthRule, ChapAlgorithm, MAX_USER_LEN};
use crate::text::{Key, Pair, TextRule, value};

/// The longest challenge in bytes (RFC 7143 section 12.1.3).
const MAX_CHALLENGE_LEN: usize = 1024;

/// The CHAP keys of one login message, unread.
///
/// ```
/// use iscsi_core::auth::ChapKeys;
/// use iscsi_core::text::{Key, Pairs};
/// let mut keys = ChapKeys::default();
/// let pair = Pairs::new(b"CHAP_A=5\0").next().unwrap().unwrap();
/// keys.add(Key::ChapA, &pair).unwrap();
/// assert!(!keys.is_empty());
/// assert_eq!(format!("{keys:?}"), "ChapKeys { CHAP_A }"); // never the values
/// ```
#[derive(Clone, Copy, Default)]
pub struct ChapKeys<'a> {
    a: Option<&'a str>,
    i: Option<&'a str>,
    c: Option<&'a str>,
    n: Option<&'a str>,
    r: Option<&'a str>,
}

impl<'a> ChapKeys<'a> {
    /// Keeps the value of a CHAP key; the caller has made sure that no key comes twice.
    ///
    /// # Errors
    /// The rule for the key if its value is not UTF-8, [`AuthRule::UnexpectedKey`] for a key of another method.
    pub fn add(&mut self, key: Key, pair: &Pair<'a>) -> Result<(), AuthRule> {
        let (place, rule) = match key {
            Key::ChapA => (&mut self.a, AuthRule::AlgorithmMalformed),
            Key::ChapI => (&mut self.i, AuthRule::Identifier),
            Key::ChapC => (&mut self.c, AuthRule::ChallengeMalformed),
            Key::ChapN => (&mut self.n, AuthRule::NameMalformed),
            Key::ChapR => (&mut self.r, AuthRule::ResponseMalformed),
            other => return Err(AuthRule::UnexpectedKey(other)),
        };
        *place = Some(pair.text().map_err(|_| rule)?);
        Ok(())
    }

    /// Whether no key came.
    pub const fn is_empty(&self) -> bool {
        self.a.is_none()
            && self.i.is_none()
            && self.c.is_none()
            && self.n.is_none()
            && self.r.is_none()
    }

    /// Which keys came.
    const fn present(&self) -> [(Key, bool); 5] {
        [
            (Key::ChapA, self.a.is_some()),
            (Key::ChapI, self.i.is_some()),
            (Key::ChapC, self.c.is_some()),
            (Key::ChapN, self.n.is_some()),
            (Key::ChapR, self.r.is_some()),
        ]
    }

    /// Refuses every key but these.
    pub(crate) fn only(&self, expected: &[Key]) -> Result<(), AuthRule> {
        let present = self.present();
        match present.iter().find(|(key, there)| *there && !expected.contains(key)) {
            Some((key, _)) => Err(AuthRule::UnexpectedKey(*key)),
            None => Ok(()),
        }
    }

    /// The members of CHAP_A as it is offered.
    pub(super) fn algorithms(
        &self,
    ) -> Result<impl Iterator<Item = Result<u64, AuthRule>> + 'a, AuthRule> {
        let list = self.a.ok_or(AuthRule::MissingKey(Key::ChapA))?;
        Ok(list
            .split(',')
            .map(|number| value::number(number).map_err(|_| AuthRule::AlgorithmMalformed)))
    }

    /// CHAP_A as it is chosen.
    pub(super) fn algorithm(&self) -> Result<ChapAlgorithm, AuthRule> {
        let number = self.a.ok_or(AuthRule::MissingKey(Key::ChapA))?;
        let number = value::number(number).map_err(|_| AuthRule::AlgorithmMalformed)?;
        ChapAlgorithm::from_number(number).ok_or(AuthRule::AlgorithmNotOffered)
    }

    /// CHAP_I.
    pub(super) fn identifier(&self) -> Result<u8, AuthRule> {
        let number = self.i.ok_or(AuthRule::MissingKey(Key::ChapI))?;
        let number = value::number(number).map_err(|_| AuthRule::Identifier)?;
        u8::try_from(number).map_err(|_| AuthRule::Identifier)
    }

    /// CHAP_C.
    pub(super) fn challenge(&self) -> Result<Challenge, AuthRule> {
        let text = self.c.ok_or(AuthRule::MissingKey(Key::ChapC))?;
        let challenge = binary(text).map_err(|rule| match rule {
            TextRule::BinaryTooLong => AuthRule::ChallengeTooLong,
            _ => AuthRule::ChallengeMalformed,
        })?;
        if challenge.is_empty() { Err(AuthRule::ChallengeEmpty) } else { Ok(challenge) }
    }

    /// Whether the other side demands a proof of this side's identity.
    pub(super) const fn has_challenge(&self) -> bool {
        self.i.is_some() || self.c.is_some()
    }

    /// Whether the other side gave any proof of its identity.
    pub(super) const fn has_proof(&self) -> bool {
        self.n.is_some() || self.r.is_some()
    }

    /// CHAP_N.
    pub(super) fn name(&self) -> Result<&'a str, AuthRule> {
        let name = self.n.ok_or(AuthRule::MissingKey(Key::ChapN))?;
        if name.is_empty() || name.len() > MAX_USER_LEN {
            return Err(AuthRule::NameMalformed);
        }
        Ok(name)
    }

    /// CHAP_R, as long as the hash of `algorithm`.
    pub(super) fn response(&self, algorithm: ChapAlgorithm) -> Result<Response, AuthRule> {
        let text = self.r.ok_or(AuthRule::MissingKey(Key::ChapR))?;
        match binary(text) {
            Ok(response) if response.len() == algorithm.hash_len() => Ok(response),
            _ => Err(AuthRule::ResponseMalformed),
        }
    }
}

impl fmt::Debug for ChapKeys<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChapKeys { ")?;
        for (key, _) in self.present().iter().filter(|(_, there)| *there) {
            write!(f, "{key} ")?;
        }
        f.write_str("}")
    }
}

/// A challenge, decoded.
pub(super) type Challenge = Vec<u8, MAX_CHALLENGE_LEN>;

fn binary<const N: usize>(text: &str) -> Result<Vec<u8, N>, TextRule> {
    let mut bytes = Vec::from_array([0; N]);
    let length = value::binary(text, &mut bytes).map_err(|error| error.rule)?;
    bytes.truncate(length);
    Ok(bytes)
}
