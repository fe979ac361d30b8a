//! CHAP as the target sees it.

use core::fmt;

use subtle::ConstantTimeEq as _;

use super::entropy::CHALLENGE_LEN;
use super::{AuthRule, ChapAlgorithm, ChapAlgorithms, ChapKeys, Entropy, RecentChallenges, Secret};
use crate::text::{Key, Writer};

/// The target's two steps: issue a challenge, verify the response and, if asked, answer the initiator's challenge.
///
/// ```
/// use iscsi_core::auth::{ChapAlgorithms, ChapKeys, ChapVerifier, Entropy, RecentChallenges};
/// use iscsi_core::text::{Key, Pairs, Writer};
///
/// let mut verifier = ChapVerifier::new(&Entropy::new([2; 64]));
/// let pair = Pairs::new(b"CHAP_A=7,5\0").next().unwrap().unwrap();
/// let mut keys = ChapKeys::default();
/// keys.add(Key::ChapA, &pair).unwrap();
/// let mut area = [0; 256];
/// let mut out = Writer::new(&mut area);
/// let mut recent = RecentChallenges::new();
/// verifier.challenge(&keys, &ChapAlgorithms::MD5, &mut recent, &mut out).unwrap();
/// assert!(out.written().starts_with(b"CHAP_A=5\0CHAP_I=2\0CHAP_C=0x0202"));
/// ```
#[derive(Clone)]
pub struct ChapVerifier {
    challenge: [u8; CHALLENGE_LEN],
    identifier: u8,
    algorithm: Option<ChapAlgorithm>,
}

impl ChapVerifier {
    /// A machine for one connection; `entropy` must not serve another one.
    pub const fn new(entropy: &Entropy) -> Self {
        let (challenge, identifier) = entropy.challenge();
        Self { challenge, identifier, algorithm: None }
    }

    /// Reads the initiator's CHAP_A and writes CHAP_A, CHAP_I and CHAP_C for the first algorithm that is in `accepted`.
    ///
    /// # Errors
    /// The rule that the initiator broke.
    pub fn challenge(
        &mut self,
        keys: &ChapKeys<'_>,
        accepted: &ChapAlgorithms,
        recent: &mut RecentChallenges,
        out: &mut Writer<'_>,
    ) -> Result<(), AuthRule> {
        keys.only(&[Key::ChapA])?;
        let mut chosen = None;
        for number in keys.algorithms()? {
            // The rest of the list is still read: garbage in it is an error.
            let number = number?;
            if chosen.is_none() {
                chosen = ChapAlgorithm::from_number(number)
                    .filter(|algorithm| algorithm.is_available() && accepted.contains(*algorithm));
            }
        }
        let algorithm = chosen.ok_or(AuthRule::NoCommonAlgorithm)?;
        self.algorithm = Some(algorithm);
        recent.record(&self.challenge);
        self.identifier = recent.next_identifier(self.identifier);
        out.number(Key::ChapA.name(), u64::from(algorithm.number()))
            .and_then(|()| out.number(Key::ChapI.name(), u64::from(self.identifier)))
            .and_then(|()| out.binary(Key::ChapC.name(), &self.challenge))
            .map_err(|_| AuthRule::AnswerTooLong)
    }

    /// The user that the initiator wants to be: by this name the caller finds the secret.
    ///
    /// # Errors
    /// [`AuthRule::MissingKey`] or [`AuthRule::NameMalformed`]
    pub fn user<'a>(&self, keys: &ChapKeys<'a>) -> Result<&'a str, AuthRule> {
        keys.name()
    }

    /// Verifies the initiator's CHAP_R against `secret`, and if the initiator asks for it, writes CHAP_N and CHAP_R with the
    /// target's name and secret `own`. Nothing is written unless the initiator's response is right.
    ///
    /// # Errors
    /// The rule that the initiator broke: it is not authenticated.
    pub fn verify(
        &self,
        keys: &ChapKeys<'_>,
        secret: &Secret,
        own: Option<(&str, &Secret)>,
        recent: &RecentChallenges,
        out: &mut Writer<'_>,
    ) -> Result<Verified, AuthRule> {
        keys.only(&[Key::ChapN, Key::ChapR, Key::ChapI, Key::ChapC])?;
        let algorithm = self.algorithm.ok_or(AuthRule::UnexpectedKey(Key::ChapR))?;
        keys.name()?;
        let response = keys.response(algorithm)?;
        let replayed = own.is_some_and(|(_, own)| {
            let own = algorithm.response(self.identifier, own, &self.challenge);
            response.ct_eq(&own).into()
        });
        if replayed {
            return Err(AuthRule::ReplayedResponse);
        }
        let expected = algorithm.response(self.identifier, secret, &self.challenge);
        if !bool::from(response.ct_eq(&expected)) {
            return Err(AuthRule::WrongResponse);
        }
        if !keys.has_challenge() {
            return Ok(Verified::OneWay);
        }
        let (identifier, challenge) = (keys.identifier()?, keys.challenge()?);
        if recent.contains(&challenge) || challenge == self.challenge {
            return Err(AuthRule::ChallengeReflected);
        }
        let (name, own) = own.ok_or(AuthRule::MutualNotConfigured)?;
        let answer = algorithm.response(identifier, own, &challenge);
        out.text(Key::ChapN.name(), name)
            .and_then(|()| out.binary(Key::ChapR.name(), &answer))
            .map_err(|_| AuthRule::AnswerTooLong)?;
        Ok(Verified::Mutual)
    }
}

impl fmt::Debug for ChapVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChapVerifier").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Who is authenticated now.
///
/// ```
/// use iscsi_core::auth::Verified;
/// assert_ne!(Verified::OneWay, Verified::Mutual);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verified {
    /// The initiator.
    OneWay,
    /// The initiator; and it asked for the target's proof, which was written.
    Mutual,
}
